// SPDX-License-Identifier: GPL-2.0

//! Frames made of their parts, and checksums done the slow way.

use rvdpa_net::frame::{
    Headers,
    ETH_P_8021Q,
    ETH_P_IP,
    ETH_P_IPV6,
    IPPROTO_TCP,
    IPPROTO_UDP, //
};

/// Flags of TCP.
pub mod tcp {
    /// The last byte.
    pub const FIN: u8 = 0x01;
    /// The first byte.
    pub const SYN: u8 = 0x02;
    /// The connection is reset.
    pub const RST: u8 = 0x04;
    /// The receiver should not wait for more.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
    /// The congestion window was reduced.
    pub const CWR: u8 = 0x80;
}

/// A TCP or UDP packet in an Ethernet frame.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Type and content of each tag.
    pub tags: Vec<(u16, u16)>,
    /// Whether it is one of IPv6.
    pub v6: bool,
    /// Options of IPv4: a multiple of four bytes.
    pub ip_options: Vec<u8>,
    /// Extension headers of IPv6: type, and all but the first byte.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// Identification of IPv4.
    pub id: u16,
    /// Whether it is one of TCP; else UDP.
    pub tcp: bool,
    /// Options of TCP: a multiple of four bytes.
    pub tcp_options: Vec<u8>,
    /// Flags of TCP.
    pub flags: u8,
    /// Sequence number of TCP.
    pub sequence: u32,
    /// Urgent pointer of TCP.
    pub urgent: u16,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// The addresses of packets of IPv4.
pub const V4: ([u8; 4], [u8; 4]) = ([192, 0, 2, 1], [198, 51, 100, 7]);
/// The addresses of packets of IPv6.
pub const V6: ([u8; 16], [u8; 16]) = (
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    [0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0, 2],
);
/// The ports of packets.
pub const PORTS: (u16, u16) = (40000, 443);

impl Packet {
    /// A packet without anything special.
    pub fn new(v6: bool, tcp: bool, payload: usize) -> Self {
        Self {
            tags: Vec::new(),
            v6,
            ip_options: Vec::new(),
            extensions: Vec::new(),
            id: 0xfffe,
            tcp,
            tcp_options: Vec::new(),
            flags: tcp::ACK,
            sequence: 0xffff_f000,
            urgent: 0,
            payload: (0..payload)
                .map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8)
                .collect(),
        }
    }

    /// With a tag of this VLAN.
    pub fn tagged(mut self, vlan: u16) -> Self {
        self.tags.push((ETH_P_8021Q, vlan));
        self
    }

    /// Where the IP header starts.
    pub fn network(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// Where the transport header starts.
    pub fn transport(&self) -> usize {
        let network = match self.v6 {
            true => {
                let extensions = self.extensions.iter();
                40 + extensions.map(|(_, rest)| 1 + rest.len()).sum::<usize>()
            }
            false => 20 + self.ip_options.len(),
        };
        self.network() + network
    }

    /// Where the payload starts.
    pub fn header_len(&self) -> usize {
        self.transport()
            + match self.tcp {
                true => 20 + self.tcp_options.len(),
                false => 8,
            }
    }

    /// Where the transport checksum is, from the start of its header.
    pub fn checksum_offset(&self) -> u16 {
        match self.tcp {
            true => 16,
            false => 6,
        }
    }

    /// The protocol over IP.
    pub fn protocol(&self) -> u8 {
        match self.tcp {
            true => IPPROTO_TCP,
            false => IPPROTO_UDP,
        }
    }

    /// The frame, with a transport checksum that is only prepared.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for (ethertype, tag) in &self.tags {
            frame.extend(ethertype.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        let segment_len = self.header_len() - self.transport() + self.payload.len();
        match self.v6 {
            true => self.ipv6(&mut frame, segment_len),
            false => self.ipv4(&mut frame, segment_len),
        }
        assert_eq!(frame.len(), self.transport());
        frame.extend(PORTS.0.to_be_bytes());
        frame.extend(PORTS.1.to_be_bytes());
        let prepared = match self.v6 {
            true => naive(&pseudo_v6(self.protocol(), segment_len)),
            false => naive(&pseudo_v4(self.protocol(), segment_len)),
        };
        if self.tcp {
            frame.extend(self.sequence.to_be_bytes());
            frame.extend([1, 2, 3, 4]);
            let words = 5 + self.tcp_options.len() / 4;
            frame.extend([(words as u8) << 4, self.flags, 0x20, 0]);
            frame.extend(prepared.to_be_bytes());
            frame.extend(self.urgent.to_be_bytes());
            frame.extend(&self.tcp_options);
        } else {
            frame.extend((segment_len as u16).to_be_bytes());
            frame.extend(prepared.to_be_bytes());
        }
        assert_eq!(frame.len(), self.header_len());
        frame.extend(&self.payload);
        frame
    }

    fn ipv4(&self, frame: &mut Vec<u8>, segment_len: usize) {
        frame.extend(ETH_P_IP.to_be_bytes());
        let words = 5 + self.ip_options.len() / 4;
        let mut header = vec![0x40 | words as u8, 0];
        header.extend(((words * 4 + segment_len) as u16).to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend([0x40, 0, 64, self.protocol(), 0, 0]);
        header.extend(V4.0);
        header.extend(V4.1);
        header.extend(&self.ip_options);
        let checksum = !naive(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(header);
    }

    fn ipv6(&self, frame: &mut Vec<u8>, segment_len: usize) {
        frame.extend(ETH_P_IPV6.to_be_bytes());
        let extensions = self.transport() - self.network() - 40;
        let mut types = self.extensions.iter().map(|(kind, _)| *kind);
        frame.extend([0x60, 1, 2, 3]);
        frame.extend(((extensions + segment_len) as u16).to_be_bytes());
        frame.extend([types.next().unwrap_or(self.protocol()), 64]);
        frame.extend(V6.0);
        frame.extend(V6.1);
        for (_, rest) in &self.extensions {
            frame.push(types.next().unwrap_or(self.protocol()));
            frame.extend(rest);
        }
    }
}

/// The sum of bytes, two by two, the slow way.
pub fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += (u32::from(pair[0]) << 8) | u32::from(*pair.get(1).unwrap_or(&0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    sum as u16
}

/// The pseudo header of IPv4.
pub fn pseudo_v4(protocol: u8, len: usize) -> Vec<u8> {
    let mut header = [V4.0, V4.1].concat();
    header.extend([0, protocol]);
    header.extend((len as u16).to_be_bytes());
    header
}

/// The pseudo header of IPv6.
pub fn pseudo_v6(protocol: u8, len: usize) -> Vec<u8> {
    let mut header = [V6.0, V6.1].concat();
    header.extend((len as u32).to_be_bytes());
    header.extend([0, 0, 0, protocol]);
    header
}

/// The headers of a frame of a [`Packet`], all checksums and lengths of which must be
/// right.
#[track_caller]
pub fn verify(frame: &[u8]) -> Headers {
    let headers = Headers::parse(frame).expect("no Ethernet header");
    let network = headers.network.expect("no IP header");
    let transport = headers.transport.expect("no transport header");
    assert_eq!(network.end as usize, frame.len(), "length of the packet");
    let (start, at) = (usize::from(network.offset), usize::from(transport.offset));
    let segment = &frame[at..];
    let mut sum = match network.addresses.is_v6() {
        true => pseudo_v6(transport.protocol, segment.len()),
        false => {
            assert_eq!(
                naive(&frame[start..at]),
                0xffff,
                "checksum of the IP header"
            );
            pseudo_v4(transport.protocol, segment.len())
        }
    };
    sum.extend(segment);
    assert_eq!(naive(&sum), 0xffff, "transport checksum");
    if transport.protocol == IPPROTO_UDP {
        let len = u16::from_be_bytes([segment[4], segment[5]]);
        assert_eq!(usize::from(len), segment.len(), "length of the UDP packet");
        assert_ne!([segment[6], segment[7]], [0; 2], "no UDP checksum");
    }
    headers
}
