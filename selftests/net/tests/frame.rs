// SPDX-License-Identifier: GPL-2.0

//! Which headers are found in a frame.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_net::frame::{
    Addresses,
    Headers,
    ETH_P_8021AD,
    ETH_P_8021Q,
    ETH_P_IP,
    ETH_P_IPV6,
    MAX_HEADERS, //
};
use selftests_net::packets::*;

fn parse(packet: &Packet) -> Headers {
    Headers::parse(&packet.frame()).unwrap()
}

/// An extension header without content, of so many times eight bytes.
fn extension(kind: u8, eights: usize) -> (u8, Vec<u8>) {
    let mut rest = vec![0; eights * 8 - 1];
    rest[0] = eights as u8 - 1;
    (kind, rest)
}

const HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

#[test]
fn a_plain_packet_of_each_kind() {
    for v6 in [false, true] {
        for tcp in [false, true] {
            let packet = Packet::new(v6, tcp, 100);
            let headers = parse(&packet);
            assert_eq!(headers.destination, [2, 0, 0, 0, 0, 2]);
            assert_eq!(headers.source, [2, 0, 0, 0, 0, 1]);
            assert_eq!(headers.vlan, None);
            assert_eq!(headers.ethertype, if v6 { ETH_P_IPV6 } else { ETH_P_IP });
            let network = headers.network.unwrap();
            assert_eq!(network.offset, 14);
            assert_eq!(
                network.addresses,
                match v6 {
                    true => Addresses::V6(V6.0, V6.1),
                    false => Addresses::V4(V4.0, V4.1),
                }
            );
            assert_eq!(network.addresses.is_v6(), v6);
            assert_eq!(network.protocol, packet.protocol());
            assert!(!network.fragment);
            assert!(!network.source_routed);
            assert_eq!(network.end as usize, packet.frame().len());
            let transport = headers.transport.unwrap();
            assert_eq!(transport.protocol, packet.protocol());
            assert_eq!(transport.offset, if v6 { 54 } else { 34 });
            assert_eq!(transport.len, if tcp { 20 } else { 8 });
            assert_eq!(transport.source_port, PORTS.0);
            assert_eq!(transport.destination_port, PORTS.1);
        }
    }
}

#[test]
fn shorter_than_an_ethernet_header() {
    let frame = Packet::new(false, true, 0).frame();
    for len in 0..14 {
        assert_eq!(Headers::parse(&frame[..len]), None);
    }
    let headers = Headers::parse(&frame[..14]).unwrap();
    assert_eq!(headers.ethertype, ETH_P_IP);
    assert_eq!((headers.network, headers.transport), (None, None));
}

#[test]
fn tags() {
    let mut packet = Packet::new(false, true, 10);
    let mut check = |tags: &[(u16, u16)], vlan, ethertype, found: bool| {
        packet.tags = tags.to_vec();
        let headers = parse(&packet);
        assert_eq!(headers.vlan, vlan, "{tags:x?}");
        assert_eq!(headers.ethertype, ethertype, "{tags:x?}");
        assert_eq!(headers.transport.is_some(), found, "{tags:x?}");
    };
    check(&[(ETH_P_8021Q, 0x1064)], Some(100), ETH_P_IP, true);
    check(&[(ETH_P_8021Q, 0xffff)], Some(4095), ETH_P_IP, true);
    // A priority alone.
    check(&[(ETH_P_8021Q, 0xe000)], Some(0), ETH_P_IP, true);
    check(&[(ETH_P_8021AD, 7)], Some(7), ETH_P_IP, true);
    let two = [(ETH_P_8021AD, 7), (ETH_P_8021Q, 8)];
    check(&two, Some(7), ETH_P_IP, true);
    check(
        &[(ETH_P_8021Q, 0), (ETH_P_8021Q, 8)],
        Some(0),
        ETH_P_IP,
        true,
    );
    let three = [(ETH_P_8021AD, 7), (ETH_P_8021Q, 8), (ETH_P_8021Q, 9)];
    check(&three, Some(7), ETH_P_8021Q, false);
}

#[test]
fn a_tag_that_is_cut_off() {
    let frame = Packet::new(false, true, 10).tagged(9).frame();
    for len in 14..18 {
        let headers = Headers::parse(&frame[..len]).unwrap();
        assert_eq!((headers.vlan, headers.ethertype), (None, ETH_P_8021Q));
    }
    let headers = Headers::parse(&frame[..18]).unwrap();
    assert_eq!((headers.vlan, headers.ethertype), (Some(9), ETH_P_IP));
}

#[test]
fn options_of_ipv4_and_tcp() {
    let mut packet = Packet::new(false, true, 10).tagged(1).tagged(2);
    for words in 0..=10 {
        packet.ip_options = vec![1; words * 4];
        packet.tcp_options = vec![1; (10 - words) * 4];
        let headers = parse(&packet);
        let transport = headers.transport.unwrap();
        assert_eq!(usize::from(transport.offset), 22 + 20 + words * 4);
        assert_eq!(usize::from(transport.len), 20 + (10 - words) * 4);
        assert!(!headers.network.unwrap().source_routed);
    }
}

#[test]
fn source_routes() {
    let mut packet = Packet::new(false, false, 10);
    let mut check = |options: &[u8], routed| {
        packet.ip_options = options.to_vec();
        let network = parse(&packet).network.unwrap();
        assert_eq!(network.source_routed, routed, "{options:?}");
    };
    check(&[131, 7, 4, 10, 0, 0, 1, 0], true);
    check(&[1, 137, 7, 4, 10, 0, 0, 1], true);
    check(&[7, 3, 4, 131], true);
    // Behind the end, in another option, after a wrong length, record route.
    check(&[0, 131, 7, 4], false);
    check(&[7, 4, 131, 137], false);
    check(&[7, 1, 131, 137], false);
    check(&[7, 0, 131, 137], false);
    check(&[7, 40, 131, 137], false);
    check(&[1, 1, 1, 7], false);

    let mut packet = Packet::new(true, false, 10);
    packet.extensions = vec![extension(ROUTING, 3)];
    assert!(!parse(&packet).network.unwrap().source_routed);
    packet.extensions[0].1[2] = 1;
    assert!(parse(&packet).network.unwrap().source_routed);
    assert!(parse(&packet).transport.is_some());
}

#[test]
fn extension_headers() {
    let mut packet = Packet::new(true, true, 10);
    let mut check = |extensions: &[(u8, usize)], protocol, found: bool| {
        let extensions = extensions.iter().map(|&(kind, len)| extension(kind, len));
        packet.extensions = extensions.collect();
        let headers = parse(&packet);
        let network = headers.network.unwrap();
        assert_eq!(network.protocol, protocol);
        assert!(!network.fragment);
        assert_eq!(headers.transport.is_some(), found);
        if let Some(transport) = headers.transport {
            assert_eq!(usize::from(transport.offset), packet.transport());
        }
    };
    check(&[(HOP, 1)], 6, true);
    check(&[(HOP, 1), (DESTINATION, 2), (ROUTING, 3)], 6, true);
    check(&[(DESTINATION, 1); 8], 6, true);
    check(&[(DESTINATION, 1); 9], DESTINATION, false);
    // Only the first one can be for each hop.
    check(&[(DESTINATION, 1), (HOP, 1)], HOP, false);
    // AH is not understood.
    check(&[(51, 2)], 51, false);
    // Just within the bytes that are looked at, and not.
    check(&[(DESTINATION, 22)], 6, true);
    check(&[(DESTINATION, 23)], 6, false);
    check(&[(DESTINATION, 26)], DESTINATION, false);
}

#[test]
fn fragments() {
    let packet = Packet::new(false, false, 40);
    let mut frame = packet.frame();
    for (bits, fragment) in [
        (0x0000, false),
        (0x4000, false),
        (0x8000, false),
        (0x2000, true),
        (0x0001, true),
        (0x1fff, true),
    ] {
        frame[20..22].copy_from_slice(&u16::to_be_bytes(bits));
        let headers = Headers::parse(&frame).unwrap();
        let network = headers.network.unwrap();
        assert_eq!(network.fragment, fragment, "{bits:#x}");
        assert_eq!(network.protocol, 17);
        assert_eq!(headers.transport.is_none(), fragment, "{bits:#x}");
    }

    let mut packet = Packet::new(true, false, 40);
    for bits in [0x0000_u16, 0x0001, 0x0008] {
        let mut fragment = vec![0; 7];
        fragment[1..3].copy_from_slice(&bits.to_be_bytes());
        packet.extensions = vec![extension(HOP, 1), (FRAGMENT, fragment)];
        let headers = parse(&packet);
        let network = headers.network.unwrap();
        assert!(network.fragment);
        assert_eq!(network.protocol, 17);
        assert_eq!(headers.transport, None);
    }
}

/// Changes one byte of a frame, and tells what is still found: IP header, transport header.
fn changed(packet: &Packet, at: usize, value: u8) -> (bool, bool) {
    let mut frame = packet.frame();
    frame[at] = value;
    let headers = Headers::parse(&frame).unwrap();
    (headers.network.is_some(), headers.transport.is_some())
}

#[test]
fn unsound_headers() {
    let v4 = Packet::new(false, true, 40);
    assert_eq!(changed(&v4, 14, 0x45), (true, true));
    // Version, header length.
    assert_eq!(changed(&v4, 14, 0x55), (false, false));
    assert_eq!(changed(&v4, 14, 0x65), (false, false));
    assert_eq!(changed(&v4, 14, 0x44), (false, false));
    // Total length: of the IP header, below it, of both headers, below them.
    assert_eq!(changed(&v4, 17, 20), (true, false));
    assert_eq!(changed(&v4, 17, 19), (false, false));
    assert_eq!(changed(&v4, 17, 40), (true, true));
    assert_eq!(changed(&v4, 17, 39), (true, false));
    // The length of the TCP header.
    assert_eq!(changed(&v4, 34 + 12, 0x40), (true, false));
    assert_eq!(changed(&v4, 34 + 12, 0x50), (true, true));
    assert_eq!(changed(&v4, 34 + 12, 0xf0), (true, true));
    let short = Packet::new(false, true, 39);
    assert_eq!(changed(&short, 34 + 12, 0xf0), (true, false));
    // The length of the UDP packet.
    let udp = Packet::new(false, false, 40);
    assert_eq!(changed(&udp, 34 + 5, 48), (true, true));
    assert_eq!(changed(&udp, 34 + 5, 49), (true, false));
    assert_eq!(changed(&udp, 34 + 5, 8), (true, true));
    assert_eq!(changed(&udp, 34 + 5, 7), (true, false));
    // IPv6: version, payload length.
    let v6 = Packet::new(true, true, 40);
    assert_eq!(changed(&v6, 14, 0x45), (false, false));
    assert_eq!(changed(&v6, 19, 20), (true, true));
    assert_eq!(changed(&v6, 19, 19), (true, false));
    assert_eq!(changed(&v6, 19, 0), (true, false));
    let mut v6 = Packet::new(true, true, 0);
    v6.extensions = vec![extension(DESTINATION, 1)];
    // The extension header ends behind the packet, and is not looked behind.
    for (len, protocol) in [(7, DESTINATION), (8, 6)] {
        let mut frame = v6.frame();
        frame[19] = len;
        let headers = Headers::parse(&frame).unwrap();
        assert_eq!(headers.network.unwrap().protocol, protocol);
        assert_eq!(headers.transport, None);
    }
}

#[test]
fn cut_off_anywhere() {
    for (v6, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut packet = Packet::new(v6, tcp, 10);
        match v6 {
            true => packet.extensions = vec![extension(HOP, 1), extension(ROUTING, 2)],
            false => packet.ip_options = vec![1; 8],
        }
        if tcp {
            packet.tcp_options = vec![1; 12];
        }
        let frame = packet.frame();
        let whole = Headers::parse(&frame).unwrap();
        for len in 14..frame.len() {
            let headers = Headers::parse(&frame[..len]).unwrap();
            let least = if v6 { 54 } else { packet.transport() };
            assert_eq!(headers.network.is_some(), len >= least);
            let transport = (len >= packet.header_len()).then_some(whole.transport.unwrap());
            assert_eq!(headers.transport, transport, "{len}");
        }
    }
}

proptest! {
    /// What is found lies within the bytes that were looked at.
    #[test]
    fn random_bytes(
        bytes in vec(any::<u8>(), 0..300),
        ethertype in prop::sample::select(vec![ETH_P_IP, ETH_P_IPV6, ETH_P_8021Q, 0]),
        first in prop::sample::select(vec![0x45, 0x60, 0x4f, 0]),
        protocol in prop::sample::select(vec![0, 6, 17, 43, 44, 60]),
    ) {
        let mut bytes = bytes;
        for (at, value) in [
            (12, (ethertype >> 8) as u8),
            (13, ethertype as u8),
            (14, first),
            (if first == 0x60 { 20 } else { 23 }, protocol),
        ] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let Some(headers) = Headers::parse(&bytes) else {
            prop_assert!(bytes.len() < 14);
            return Ok(());
        };
        prop_assert!(headers.vlan.unwrap_or(0) < 4096);
        if let Some(transport) = headers.transport {
            let network = headers.network.unwrap();
            let end = transport.offset + transport.len;
            prop_assert!(usize::from(end) <= bytes.len().min(MAX_HEADERS));
            prop_assert!(u32::from(end) <= network.end);
            prop_assert!(network.offset < transport.offset);
            prop_assert!(!network.fragment);
            prop_assert_eq!(network.protocol, transport.protocol);
        }
        // What is behind the limit changes nothing.
        let limit = bytes.get(..MAX_HEADERS).unwrap_or(&bytes);
        prop_assert_eq!(Headers::parse(limit), Some(headers));
    }
}
