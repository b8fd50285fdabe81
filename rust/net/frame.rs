// SPDX-License-Identifier: GPL-2.0

//! Which headers a frame has, and where.

mod parse;

/// Most bytes of a frame that [`Headers`] are looked for in.
pub const MAX_HEADERS: usize = 256;

/// Length of an Ethernet header without tags in bytes.
pub const ETHERNET_LEN: u16 = 14;

/// Type of a frame: IPv4.
pub const ETH_P_IP: u16 = 0x0800;
/// Type of a frame: a VLAN tag (802.1Q).
pub const ETH_P_8021Q: u16 = 0x8100;
/// Type of a frame: IPv6.
pub const ETH_P_IPV6: u16 = 0x86dd;
/// Type of a frame: a provider's VLAN tag (802.1ad).
pub const ETH_P_8021AD: u16 = 0x88a8;

/// Protocol over IP: TCP.
pub const IPPROTO_TCP: u8 = 6;
/// Protocol over IP: UDP.
pub const IPPROTO_UDP: u8 = 17;

/// Which headers a frame has, as far as they were understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// To whom the frame is sent.
    pub destination: [u8; 6],
    /// Who sent it.
    pub source: [u8; 6],
    /// The VLAN ID of the outermost tag, from 0 to 4095; 0 for a tag that has only a
    /// priority.
    pub vlan: Option<u16>,
    /// The type of what follows the tags.
    pub ethertype: u16,
    /// The IP header, if there is a whole and sound one.
    pub network: Option<Network>,
    /// The TCP or UDP header, if there is a whole and sound one, and the packet is no
    /// fragment.
    pub transport: Option<Transport>,
}

/// An IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Where it starts, in bytes from the start of the frame.
    pub offset: u16,
    /// The addresses.
    pub addresses: Addresses,
    /// What follows it, after all extension headers (`IPPROTO_*`). The type of the first
    /// extension header that was not understood, if there is one.
    pub protocol: u8,
    /// Whether the packet is a fragment. One of IPv6 with a fragment header counts even
    /// if it is the only fragment.
    pub fragment: bool,
    /// Whether the packet has stops left on its way (an IPv6 routing header, an IPv4
    /// source route), so that the destination is not the last one.
    pub source_routed: bool,
    /// Where the packet ends as its length has it, in bytes from the start of the frame:
    /// the frame is longer if it is padded, and shorter if it lacks something.
    pub end: u32,
}

/// Source and destination of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Those of IPv4.
    V4([u8; 4], [u8; 4]),
    /// Those of IPv6.
    V6([u8; 16], [u8; 16]),
}

impl Addresses {
    /// Whether they are those of IPv6.
    #[inline]
    pub const fn is_v6(&self) -> bool {
        matches!(self, Self::V6(..))
    }
}

/// A TCP or UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub protocol: u8,
    /// Where it starts, in bytes from the start of the frame.
    pub offset: u16,
    /// Its length with options, in bytes.
    pub len: u16,
    /// From which port.
    pub source_port: u16,
    /// To which port.
    pub destination_port: u16,
}
