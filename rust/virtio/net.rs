// SPDX-License-Identifier: GPL-2.0

//! The network device's structures and numbers (clause 5.1).

use super::features::Features;
use core::fmt;

pub mod coalescing;
pub mod control;
pub mod offload;
pub mod rss;
pub mod stats;

/// The device ID of a network device (5.1.1).
pub const DEVICE_ID: u32 = 1;

/// Smallest MTU that a device may offer (5.1.4.1).
pub const MIN_MTU: u16 = 68;

/// Largest number of queue pairs (5.1.4.1).
pub const MAX_QUEUE_PAIRS: u16 = 0x8000;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address of everyone.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether this is the address of everyone.
    #[inline]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether this is the address of a group, everyone included.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// Whether this is no address at all.
    #[inline]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Whether this can be the address of one station: neither a group's nor zero.
    #[inline]
    pub fn is_unicast(self) -> bool {
        !self.is_multicast() && !self.is_zero()
    }

    /// Makes six random bytes an address of one station, marked as locally administered.
    pub const fn local(random: [u8; 6]) -> Self {
        let [first, b, c, d, e, f] = random;
        Self([(first & !1) | 2, b, c, d, e, f])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The device's configuration as the driver reads it: `struct virtio_net_config` (5.1.4).
///
/// It ends with `supported_hash_types`, as Linux has it; the specification's
/// `supported_tunnel_types` behind that exists only with a feature that Linux does not
/// know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetConfig([u8; NetConfig::LEN]);

impl NetConfig {
    /// Length of the configuration in bytes.
    pub const LEN: usize = 24;

    /// Bit of [`status`](Self::status): the link is up.
    pub const LINK_UP: u16 = 1;
    /// Bit of [`status`](Self::status): the driver is to announce its addresses.
    pub const ANNOUNCE: u16 = 2;
    /// Value of [`speed`](Self::speed) when it is not known.
    pub const SPEED_UNKNOWN: u32 = u32::MAX;
    /// Value of [`duplex`](Self::duplex): one direction at a time.
    pub const DUPLEX_HALF: u8 = 0;
    /// Value of [`duplex`](Self::duplex): both directions at once.
    pub const DUPLEX_FULL: u8 = 1;
    /// Value of [`duplex`](Self::duplex) when it is not known.
    pub const DUPLEX_UNKNOWN: u8 = 0xff;

    /// A configuration of zeroes.
    pub const fn new() -> Self {
        Self([0; Self::LEN])
    }

    /// The bytes as the driver reads them.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The `N` bytes at `AT`.
    #[inline]
    fn get<const AT: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(AT + N <= Self::LEN) };
        // The assertion above makes the default unreachable.
        self.0
            .get(AT..)
            .and_then(|tail| tail.first_chunk())
            .copied()
            .unwrap_or([0; N])
    }

    /// Changes the `N` bytes at `AT`.
    #[inline]
    fn set<const AT: usize, const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(AT + N <= Self::LEN) };
        if let Some(field) = self.0.get_mut(AT..).and_then(|t| t.first_chunk_mut()) {
            *field = bytes;
        }
    }

    /// The MAC address; valid with `VIRTIO_NET_F_MAC`.
    pub fn mac(&self) -> MacAddress {
        MacAddress(self.get::<0, 6>())
    }

    /// Changes [`mac`](Self::mac).
    pub fn set_mac(&mut self, mac: MacAddress) {
        self.set::<0, 6>(mac.0);
    }

    /// Link status bits; valid with `VIRTIO_NET_F_STATUS`.
    pub fn status(&self) -> u16 {
        u16::from_le_bytes(self.get::<6, 2>())
    }

    /// Changes [`status`](Self::status).
    pub fn set_status(&mut self, status: u16) {
        self.set::<6, 2>(status.to_le_bytes());
    }

    /// Largest number of queue pairs; valid with `VIRTIO_NET_F_MQ` or `VIRTIO_NET_F_RSS`.
    pub fn max_virtqueue_pairs(&self) -> u16 {
        u16::from_le_bytes(self.get::<8, 2>())
    }

    /// Changes [`max_virtqueue_pairs`](Self::max_virtqueue_pairs).
    pub fn set_max_virtqueue_pairs(&mut self, pairs: u16) {
        self.set::<8, 2>(pairs.to_le_bytes());
    }

    /// Largest payload of a frame in bytes; valid with `VIRTIO_NET_F_MTU`.
    pub fn mtu(&self) -> u16 {
        u16::from_le_bytes(self.get::<10, 2>())
    }

    /// Changes [`mtu`](Self::mtu).
    pub fn set_mtu(&mut self, mtu: u16) {
        self.set::<10, 2>(mtu.to_le_bytes());
    }

    /// Speed in Mbit/s; valid with `VIRTIO_NET_F_SPEED_DUPLEX`.
    pub fn speed(&self) -> u32 {
        u32::from_le_bytes(self.get::<12, 4>())
    }

    /// Changes [`speed`](Self::speed).
    pub fn set_speed(&mut self, speed: u32) {
        self.set::<12, 4>(speed.to_le_bytes());
    }

    /// Duplex; valid with `VIRTIO_NET_F_SPEED_DUPLEX`.
    pub fn duplex(&self) -> u8 {
        let [duplex] = self.get::<16, 1>();
        duplex
    }

    /// Changes [`duplex`](Self::duplex).
    pub fn set_duplex(&mut self, duplex: u8) {
        self.set::<16, 1>([duplex]);
    }

    /// Longest hash key in bytes; valid with `VIRTIO_NET_F_RSS` or
    /// `VIRTIO_NET_F_HASH_REPORT`.
    pub fn rss_max_key_size(&self) -> u8 {
        let [size] = self.get::<17, 1>();
        size
    }

    /// Changes [`rss_max_key_size`](Self::rss_max_key_size).
    pub fn set_rss_max_key_size(&mut self, size: u8) {
        self.set::<17, 1>([size]);
    }

    /// Longest indirection table in entries; valid with `VIRTIO_NET_F_RSS`.
    pub fn rss_max_indirection_table_length(&self) -> u16 {
        u16::from_le_bytes(self.get::<18, 2>())
    }

    /// Changes [`rss_max_indirection_table_length`](Self::rss_max_indirection_table_length).
    pub fn set_rss_max_indirection_table_length(&mut self, length: u16) {
        self.set::<18, 2>(length.to_le_bytes());
    }

    /// Bits of the hash types; valid with `VIRTIO_NET_F_RSS` or
    /// `VIRTIO_NET_F_HASH_REPORT`.
    pub fn supported_hash_types(&self) -> u32 {
        u32::from_le_bytes(self.get::<20, 4>())
    }

    /// Changes [`supported_hash_types`](Self::supported_hash_types).
    pub fn set_supported_hash_types(&mut self, types: u32) {
        self.set::<20, 4>(types.to_le_bytes());
    }
}

impl Default for NetConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// What precedes each frame in a buffer: `struct virtio_net_hdr_v1` (5.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetHeader {
    /// See [`NetHeader::NEEDS_CSUM`] and the others.
    pub flags: u8,
    /// See [`NetHeader::GSO_NONE`] and the others.
    pub gso_type: u8,
    /// Length of all headers of the frame in bytes; a hint unless
    /// `VIRTIO_NET_F_GUEST_HDRLEN` is negotiated.
    pub hdr_len: u16,
    /// Largest payload of a segment in bytes.
    pub gso_size: u16,
    /// Where the checksum starts, in bytes from the start of the frame.
    pub csum_start: u16,
    /// Where the checksum is to be put, in bytes from `csum_start`.
    pub csum_offset: u16,
    /// Number of receive buffers that the frame takes; 1 without
    /// `VIRTIO_NET_F_MRG_RXBUF`, and zero in a transmit buffer (5.1.6.2.1).
    pub num_buffers: u16,
}

impl NetHeader {
    /// Length of the header in bytes.
    pub const LEN: usize = 12;

    /// Where `num_buffers` lies in the header.
    pub const NUM_BUFFERS_OFFSET: usize = 10;

    /// Flag: the checksum is only prepared, and has to be filled in.
    pub const NEEDS_CSUM: u8 = 1;
    /// Flag: the checksum has been checked.
    pub const DATA_VALID: u8 = 2;
    /// Flag: the fields of the checksum count coalesced segments.
    pub const RSC_INFO: u8 = 4;

    /// Type of segmentation: none.
    pub const GSO_NONE: u8 = 0;
    /// Type of segmentation: TCP over IPv4.
    pub const GSO_TCPV4: u8 = 1;
    /// Type of segmentation: UDP fragmentation.
    pub const GSO_UDP: u8 = 3;
    /// Type of segmentation: TCP over IPv6.
    pub const GSO_TCPV6: u8 = 4;
    /// Type of segmentation: UDP segmentation.
    pub const GSO_UDP_L4: u8 = 5;
    /// Bit of the type of segmentation: TCP with ECN.
    pub const GSO_ECN: u8 = 0x80;

    /// Length in bytes of what precedes a frame with these negotiated features: the header,
    /// and with `VIRTIO_NET_F_HASH_REPORT` the fields of the hash.
    #[inline]
    pub const fn len_with(features: Features) -> usize {
        if features.contains(Features::NET_HASH_REPORT) {
            Self::LEN + rss::HASH_FIELDS_LEN
        } else {
            Self::LEN
        }
    }

    /// Takes the header from its bytes in memory.
    #[inline]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1, n0, n1] = bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_le_bytes([h0, h1]),
            gso_size: u16::from_le_bytes([g0, g1]),
            csum_start: u16::from_le_bytes([s0, s1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
            num_buffers: u16::from_le_bytes([n0, n1]),
        }
    }

    /// The header of a packet that is complete and one frame, in one buffer.
    pub const PLAIN: Self = Self {
        flags: 0,
        gso_type: Self::GSO_NONE,
        hdr_len: 0,
        gso_size: 0,
        csum_start: 0,
        csum_offset: 0,
        num_buffers: 1,
    };

    /// Whether the packet is complete and one frame: nothing is left to be done to it.
    #[inline(always)]
    pub const fn is_plain(&self) -> bool {
        self.flags & Self::NEEDS_CSUM == 0 && self.gso_type == Self::GSO_NONE
    }

    /// The bytes of the header in memory.
    #[inline]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [h0, h1] = self.hdr_len.to_le_bytes();
        let [g0, g1] = self.gso_size.to_le_bytes();
        let [s0, s1] = self.csum_start.to_le_bytes();
        let [o0, o1] = self.csum_offset.to_le_bytes();
        let [n0, n1] = self.num_buffers.to_le_bytes();
        [
            self.flags,
            self.gso_type,
            h0,
            h1,
            g0,
            g1,
            s0,
            s1,
            o0,
            o1,
            n0,
            n1,
        ]
    }
}
