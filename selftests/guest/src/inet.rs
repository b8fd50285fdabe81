// SPDX-License-Identifier: GPL-2.0

//! TCP and UDP packets in Ethernet frames: made, taken apart and checked here with the
//! plainest code there is, as a measure for what a device does to them.

use crate::{
    fail,
    outcome::{Outcome, While},
};
use rvdpa_virtio::net::NetHeader;

/// TCP flags.
pub mod tcp {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

const ETHERNET: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Source and destination of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

impl Ends {
    /// Two of a network of this version.
    pub fn some(v6: bool) -> Self {
        if v6 {
            let end = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, last];
            Self::V6(end(1), end(2))
        } else {
            Self::V4([10, 1, 2, 3], [10, 1, 2, 200])
        }
    }

    pub fn is_v6(&self) -> bool {
        matches!(self, Self::V6(..))
    }

    /// The other way round.
    pub fn reversed(self) -> Self {
        match self {
            Self::V4(from, to) => Self::V4(to, from),
            Self::V6(from, to) => Self::V6(to, from),
        }
    }

    /// The bytes of both, the source first.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::V4(from, to) => [*from, *to].concat(),
            Self::V6(from, to) => [*from, *to].concat(),
        }
    }
}

/// A TCP or UDP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub to: [u8; 6],
    pub from: [u8; 6],
    pub vlan: Option<u16>,
    pub ends: Ends,
    /// Whether it is UDP.
    pub udp: bool,
    pub source_port: u16,
    pub destination_port: u16,
    /// The IPv4 identification.
    pub id: u16,
    /// The TCP sequence number.
    pub sequence: u32,
    /// The TCP flags, see [`tcp`].
    pub flags: u8,
    pub payload: Vec<u8>,
}

/// The sum of 16-bit words, folded, not complemented.
pub fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = u64::from(start);
    for word in bytes.chunks(2) {
        let low = word.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_be_bytes([word[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Bytes that are different everywhere.
pub fn payload(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 0x9e37_79b9_7f4a_7c15;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

impl Packet {
    /// A packet with so many bytes of payload.
    pub fn new(to: [u8; 6], from: [u8; 6], v6: bool, udp: bool, len: usize) -> Self {
        Self {
            to,
            from,
            vlan: None,
            ends: Ends::some(v6),
            udp,
            source_port: 40_001,
            destination_port: 5_201,
            id: 0x1234,
            sequence: 0xffff_f000,
            flags: tcp::ACK,
            payload: payload(len, 1),
        }
    }

    fn protocol(&self) -> u8 {
        if self.udp {
            UDP
        } else {
            TCP
        }
    }

    /// Where the IP header starts.
    fn network(&self) -> usize {
        ETHERNET + if self.vlan.is_some() { 4 } else { 0 }
    }

    /// Where the TCP or UDP header starts.
    pub fn transport(&self) -> usize {
        self.network() + if self.ends.is_v6() { 40 } else { 20 }
    }

    /// Length of all headers.
    pub fn headers(&self) -> usize {
        self.transport() + if self.udp { 8 } else { 20 }
    }

    /// Where the checksum is, from the TCP or UDP header on.
    pub fn checksum_offset(&self) -> usize {
        if self.udp {
            6
        } else {
            16
        }
    }

    /// The sum of the pseudo header of a TCP or UDP packet of this length.
    fn pseudo_sum(&self, len: usize) -> u16 {
        sum(
            &self.ends.bytes(),
            u32::from(self.protocol()) + (len as u32 & 0xffff) + (len as u32 >> 16),
        )
    }

    /// The frame, with only the pseudo header's sum where the checksum is to be. What is too
    /// long for a length field is cut off there.
    pub fn partial(&self) -> Vec<u8> {
        let mut frame = [self.to, self.from].concat();
        if let Some(vlan) = self.vlan {
            frame.extend(0x8100_u16.to_be_bytes());
            frame.extend(vlan.to_be_bytes());
        }
        let transport_len = self.headers() - self.transport() + self.payload.len();
        match self.ends {
            Ends::V4(..) => {
                let mut header = [0; 20];
                header[0] = 0x45;
                header[2..4].copy_from_slice(&((20 + transport_len) as u16).to_be_bytes());
                header[4..6].copy_from_slice(&self.id.to_be_bytes());
                // Not to be fragmented.
                header[6] = 0x40;
                header[8] = 64;
                header[9] = self.protocol();
                header[12..].copy_from_slice(&self.ends.bytes());
                let checksum = !sum(&header, 0);
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
                frame.extend(0x0800_u16.to_be_bytes());
                frame.extend(header);
            }
            Ends::V6(..) => {
                frame.extend(0x86dd_u16.to_be_bytes());
                frame.extend([0x60, 0, 0, 0]);
                frame.extend((transport_len as u16).to_be_bytes());
                frame.extend([self.protocol(), 64]);
                frame.extend(self.ends.bytes());
            }
        }
        let partial = self.pseudo_sum(transport_len).to_be_bytes();
        frame.extend(self.source_port.to_be_bytes());
        frame.extend(self.destination_port.to_be_bytes());
        if self.udp {
            frame.extend((transport_len as u16).to_be_bytes());
            frame.extend(partial);
        } else {
            frame.extend(self.sequence.to_be_bytes());
            frame.extend(0x0102_0304_u32.to_be_bytes());
            frame.extend([0x50, self.flags, 0x40, 0]);
            frame.extend(partial);
            frame.extend([0, 0]);
        }
        frame.extend(&self.payload);
        frame
    }

    /// The frame, with its checksum.
    pub fn complete(&self) -> Vec<u8> {
        let mut frame = self.partial();
        let start = self.transport();
        let mut checksum = !sum(&frame[start..], 0);
        if checksum == 0 && self.udp {
            checksum = 0xffff;
        }
        let at = start + self.checksum_offset();
        frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        frame
    }

    /// The header that leaves the checksum to the device.
    pub fn checksum_header(&self) -> NetHeader {
        NetHeader {
            flags: NetHeader::NEEDS_CSUM,
            csum_start: self.transport() as u16,
            csum_offset: self.checksum_offset() as u16,
            ..NetHeader::default()
        }
    }

    /// The header that leaves segmentation to the device, and the checksums.
    pub fn segmentation_header(&self, size: u16) -> NetHeader {
        let kind = match (self.udp, self.ends) {
            (true, _) => NetHeader::GSO_UDP_L4,
            (false, Ends::V4(..)) => NetHeader::GSO_TCPV4,
            (false, Ends::V6(..)) => NetHeader::GSO_TCPV6,
        };
        let ecn = if !self.udp && self.flags & tcp::CWR != 0 {
            NetHeader::GSO_ECN
        } else {
            0
        };
        NetHeader {
            gso_type: kind | ecn,
            gso_size: size,
            hdr_len: self.headers() as u16,
            ..self.checksum_header()
        }
    }

    /// The segments that a packet is to be cut to.
    pub fn segments(&self, size: usize) -> Vec<Self> {
        let count = self.payload.len().div_ceil(size);
        let mut segments = Vec::new();
        for (at, payload) in self.payload.chunks(size).enumerate() {
            let mut flags = self.flags;
            if at + 1 < count {
                flags &= !(tcp::FIN | tcp::PSH);
            }
            if at > 0 {
                flags &= !tcp::CWR;
            }
            segments.push(Self {
                id: self.id.wrapping_add(at as u16),
                sequence: self.sequence.wrapping_add((at * size) as u32),
                flags,
                payload: payload.to_owned(),
                ..self.clone()
            });
        }
        segments
    }

    /// Takes a frame apart that this module could have made, with all its checksums right.
    pub fn parse(frame: &[u8]) -> Outcome<Self> {
        let get = |at: usize, len: usize| frame.get(at..at + len).when("a whole frame");
        let word = |at: usize| get(at, 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        let mac = |at: usize| -> Outcome<[u8; 6]> { Ok(get(at, 6)?.try_into()?) };
        let tagged = word(12)? == 0x8100;
        let vlan = if tagged { Some(word(14)?) } else { None };
        let network = if tagged { 18 } else { 14 };
        let (ends, protocol, id, transport, len) = match word(network - 2)? {
            0x0800 => {
                let header = get(network, 20)?;
                if header[0] != 0x45 || sum(header, 0) != 0xffff {
                    fail!("an IPv4 header with a wrong checksum: {header:x?}");
                }
                let ends = Ends::V4(header[12..16].try_into()?, header[16..].try_into()?);
                let len = usize::from(word(network + 2)?).checked_sub(20);
                (ends, header[9], word(network + 4)?, network + 20, len)
            }
            0x86dd => {
                let header = get(network, 40)?;
                let ends = Ends::V6(header[8..24].try_into()?, header[24..].try_into()?);
                let len = Some(usize::from(word(network + 4)?));
                (ends, header[6], 0, network + 40, len)
            }
            other => fail!("a frame of type {other:#x}"),
        };
        let rest = &frame[transport..];
        if len != Some(rest.len()) {
            fail!("{len:?} bytes by the IP header, and {}", rest.len());
        }
        let udp = match protocol {
            TCP => false,
            UDP => true,
            other => fail!("protocol {other}"),
        };
        if udp && usize::from(word(transport + 4)?) != rest.len() {
            fail!(
                "{} bytes by the UDP header, and {}",
                word(transport + 4)?,
                rest.len()
            );
        }
        let headers = transport + if udp { 8 } else { 20 };
        let mut packet = Self {
            to: mac(0)?,
            from: mac(6)?,
            vlan,
            ends,
            udp,
            source_port: word(transport)?,
            destination_port: word(transport + 2)?,
            id,
            sequence: 0,
            flags: 0,
            payload: frame.get(headers..).when("a whole header")?.to_owned(),
        };
        if !udp {
            packet.sequence =
                (u32::from(word(transport + 4)?) << 16) | u32::from(word(transport + 6)?);
            packet.flags = get(transport + 13, 1)?[0];
        }
        if sum(rest, u32::from(packet.pseudo_sum(rest.len()))) != 0xffff {
            fail!("a wrong checksum: {:x?}", &frame[..headers]);
        }
        if udp && word(transport + 6)? == 0 {
            fail!("a UDP packet without a checksum");
        }
        Ok(packet)
    }

    /// What the hash of the packet is taken of (5.1.6.4.3.1): the addresses, and the ports
    /// if they count.
    pub fn hash_input(&self, ports: bool) -> Vec<u8> {
        let mut bytes = self.ends.bytes();
        if ports {
            bytes.extend(self.source_port.to_be_bytes());
            bytes.extend(self.destination_port.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_can_be_taken_apart() {
        for (v6, udp) in [(false, false), (false, true), (true, false), (true, true)] {
            for len in [0, 1, 2, 1400, 1401] {
                let mut packet = Packet::new([2; 6], [4; 6], v6, udp, len);
                if v6 {
                    packet.id = 0;
                    packet.vlan = Some(77);
                }
                if udp {
                    packet.sequence = 0;
                    packet.flags = 0;
                }
                assert_eq!(Packet::parse(&packet.complete()).unwrap(), packet);
                assert!(Packet::parse(&packet.partial()).is_err());
            }
        }
    }
}
