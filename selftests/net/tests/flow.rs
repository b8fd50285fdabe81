// SPDX-License-Identifier: GPL-2.0

//! Hashes of flows: the published vectors, and the rules for what is hashed.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_net::{
    flow::{
        spread,
        symmetric,
        Hash,
        HashTypes,
        Toeplitz,
        KEY_LEN,
        SUMS, //
    },
    frame::Headers,
};
use std::{
    collections::BTreeSet,
    net::{
        IpAddr,
        SocketAddr, //
    },
};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The key of the vectors.
const KEY: [u8; KEY_LEN] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// "Verifying the RSS hash calculation" of Microsoft's documentation of network drivers:
/// destination, source, the hash of the addresses, and that with the ports.
const VECTORS: [(&str, &str, u32, u32); 8] = [
    (
        "161.142.100.80:1766",
        "66.9.149.187:2794",
        0x323e8fc2,
        0x51ccc178,
    ),
    (
        "65.69.140.83:4739",
        "199.92.111.2:14230",
        0xd718262a,
        0xc626b0ea,
    ),
    (
        "12.22.207.184:38024",
        "24.19.198.95:12898",
        0xd2d0a5de,
        0x5c2b394a,
    ),
    (
        "209.142.163.6:2217",
        "38.27.205.30:48228",
        0x82989176,
        0xafc7327f,
    ),
    (
        "202.188.127.2:1303",
        "153.39.163.191:44251",
        0x5d1809c5,
        0x10e828a2,
    ),
    (
        "[3ffe:2501:200:3::1]:1766",
        "[3ffe:2501:200:1fff::7]:2794",
        0x2cc18cd5,
        0x40207d3d,
    ),
    (
        "[ff02::1]:4739",
        "[3ffe:501:8::260:97ff:fe40:efab]:14230",
        0x0f0c461c,
        0xdde51bbf,
    ),
    (
        "[fe80::200:f8ff:fe21:67cf]:38024",
        "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
        0x4b61e985,
        0x02d1feef,
    ),
];

/// A frame from `source` to `destination`: TCP, UDP or something else over IP.
fn frame(source: SocketAddr, destination: SocketAddr, protocol: u8, fragment: bool) -> Vec<u8> {
    let mut payload = [
        source.port().to_be_bytes(),
        destination.port().to_be_bytes(),
    ]
    .concat();
    payload.resize(20, 0);
    if protocol == TCP {
        payload[12] = 5 << 4;
    } else {
        payload[4..6].copy_from_slice(&20_u16.to_be_bytes());
    }
    let mut frame = [[4; 6], [2; 6]].concat();
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([0x08, 0, 0x45, 0, 0, 40, 0, 0]);
            frame.extend([if fragment { 0x20 } else { 0 }, 0, 64, protocol, 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let next = if fragment { 44 } else { protocol };
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0]);
            frame.extend([if fragment { 28 } else { 20 }, next, 64]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
            if fragment {
                frame.extend([protocol, 0, 0, 1, 0, 0, 0, 9]);
            }
        }
        _ => panic!("two kinds of addresses"),
    }
    frame.extend(payload);
    frame
}

fn headers(source: SocketAddr, destination: SocketAddr, protocol: u8, fragment: bool) -> Headers {
    Headers::parse(&frame(source, destination, protocol, fragment)).expect("a whole frame")
}

/// Each vector with its addresses taken apart.
fn vectors() -> impl Iterator<Item = (SocketAddr, SocketAddr, u32, u32)> {
    VECTORS.into_iter().map(|(destination, source, ip, ports)| {
        let address = |text: &str| text.parse().expect("an address");
        (address(destination), address(source), ip, ports)
    })
}

/// The types for addresses, TCP and UDP of one kind of IP, and what they are reported as.
fn types(v6: bool) -> [(HashTypes, u16); 3] {
    type T = HashTypes;
    if v6 {
        [(T::IPV6, 4), (T::TCPV6, 5), (T::UDPV6, 6)]
    } else {
        [(T::IPV4, 1), (T::TCPV4, 2), (T::UDPV4, 3)]
    }
}

/// The hash with a key.
fn hash_with(key: &[u8]) -> Toeplitz {
    Toeplitz::new([[0; 16]; SUMS], key)
}

fn hash(headers: &Headers, types: HashTypes) -> Option<(u32, u16)> {
    hash_with(&KEY)
        .hash(headers, types)
        .map(|Hash { value, report }| (value, report))
}

#[test]
fn the_published_vectors_come_out() {
    for (destination, source, of_addresses, of_ports) in vectors() {
        let [(ip, ip_report), (tcp, tcp_report), (udp, udp_report)] = types(source.is_ipv6());
        let headers = |protocol| headers(source, destination, protocol, false);
        assert_eq!(hash(&headers(TCP), ip), Some((of_addresses, ip_report)));
        assert_eq!(hash(&headers(TCP), tcp), Some((of_ports, tcp_report)));
        assert_eq!(hash(&headers(UDP), udp), Some((of_ports, udp_report)));
        let all = HashTypes::ALL;
        assert_eq!(hash(&headers(TCP), all), Some((of_ports, tcp_report)));
        assert_eq!(hash(&headers(UDP), all), Some((of_ports, udp_report)));
    }
}

#[test]
fn what_is_not_wanted_falls_back_to_addresses_or_nothing() {
    for (destination, source, of_addresses, _) in vectors() {
        let [(ip, report), (tcp, _), (udp, _)] = types(source.is_ipv6());
        let headers = |protocol| headers(source, destination, protocol, false);
        let both = |one: HashTypes, other: HashTypes| HashTypes(one.0 | other.0);
        assert_eq!(
            hash(&headers(TCP), both(ip, udp)),
            Some((of_addresses, report))
        );
        assert_eq!(
            hash(&headers(UDP), both(ip, tcp)),
            Some((of_addresses, report))
        );
        // ICMP.
        assert_eq!(
            hash(&headers(1), HashTypes::ALL),
            Some((of_addresses, report))
        );
        assert_eq!(hash(&headers(TCP), udp), None);
        assert_eq!(hash(&headers(UDP), tcp), None);
        assert_eq!(hash(&headers(1), both(tcp, udp)), None);
        // The types of the other kind of IP.
        let others = HashTypes(HashTypes::ALL.0 & !(ip.0 | tcp.0 | udp.0));
        assert_eq!(hash(&headers(TCP), others), None);
        assert_eq!(hash(&headers(TCP), HashTypes(0)), None);
    }
}

#[test]
fn fragments_are_hashed_by_their_addresses() {
    for (destination, source, of_addresses, _) in vectors() {
        let [(_, report), (tcp, _), _] = types(source.is_ipv6());
        let headers = headers(source, destination, TCP, true);
        assert_eq!(hash(&headers, HashTypes::ALL), Some((of_addresses, report)));
        assert_eq!(hash(&headers, tcp), None);
    }
}

#[test]
fn what_is_no_ip_has_no_hash() {
    let arp = [[0xff; 6], [2; 6], [8, 6, 0, 1, 8, 0]].concat();
    let headers = Headers::parse(&arp).expect("a whole frame");
    assert_eq!(hash(&headers, HashTypes(u32::MAX)), None);
}

#[test]
fn a_key_can_be_changed() {
    let mut changed = hash_with(&[0xff; KEY_LEN]);
    changed.set_key(&KEY);
    let input = [0x5a; 36];
    assert_eq!(
        changed.hash_bytes(&input),
        hash_with(&KEY).hash_bytes(&input)
    );
    changed.set_key(&[]);
    assert_eq!(changed.hash_bytes(&input), 0);
    assert_eq!(hash_with(&[]).hash_bytes(&input), 0);
}

/// The Toeplitz hash bit for bit, as it is defined.
fn bit_for_bit(key: &[u8], input: &[u8]) -> u32 {
    let bit = |bytes: &[u8], at: usize| {
        bytes
            .get(at / 8)
            .is_some_and(|byte| (byte >> (7 - at % 8)) & 1 != 0)
    };
    (0..input.len() * 8)
        .filter(|at| bit(input, *at))
        .flat_map(|at| (0..32).map(move |place| (at + place, 31 - place)))
        .filter(|(at, _)| bit(key, *at))
        .fold(0, |sum, (_, place)| sum ^ (1 << place))
}

fn socket() -> impl Strategy<Value = SocketAddr> {
    (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn socket_v6() -> impl Strategy<Value = SocketAddr> {
    (any::<[u8; 16]>(), any::<u16>()).prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn it_is_the_hash_as_defined(
        key in vec(any::<u8>(), 0..50),
        input in vec(any::<u8>(), 0..=36),
    ) {
        // What a key has beyond its 40 bytes never matters.
        let used = &key[..key.len().min(KEY_LEN)];
        prop_assert_eq!(
            hash_with(&key).hash_bytes(&input),
            bit_for_bit(used, &input)
        );
    }

    #[test]
    fn both_directions_have_the_same_flow(
        (one, other) in prop_oneof![(socket(), socket()), (socket_v6(), socket_v6())],
        // ICMP and SCTP, too.
        protocol in prop_oneof![Just(TCP), Just(UDP), Just(1), Just(132)],
        fragment in any::<bool>(),
    ) {
        let there = headers(one, other, protocol, fragment);
        let back = headers(other, one, protocol, fragment);
        prop_assert_eq!(symmetric(&there), symmetric(&back));
    }

    #[test]
    fn fragments_of_a_packet_have_the_same_flow(
        one in socket(), other in socket(), port in any::<u16>(),
    ) {
        // What lies where the first fragment has ports is data in the others.
        let first = headers(one, other, UDP, true);
        let next = headers(SocketAddr::new(one.ip(), port), other, UDP, true);
        prop_assert_eq!(symmetric(&first), symmetric(&next));
    }

    #[test]
    fn no_bytes_do_harm(bytes in vec(any::<u8>(), 14..120), types in any::<u32>()) {
        if let Some(headers) = Headers::parse(&bytes) {
            symmetric(&headers);
            let hash = hash(&headers, HashTypes(types));
            let none = types & HashTypes::ALL.0 == 0;
            prop_assert!(hash.is_none() || !none);
        }
    }

    #[test]
    fn a_share_is_below_the_count(hash in any::<u32>(), count in 1..=u16::MAX) {
        prop_assert!(spread(hash, count) < count);
    }
}

#[test]
fn shares_begin_and_end_with_the_hashes() {
    assert_eq!(spread(u32::MAX, 0), 0);
    assert_eq!([0, u32::MAX].map(|hash| spread(hash, 64)), [0, 63]);
    assert_eq!(
        [0, u32::MAX].map(|hash| spread(hash, u16::MAX)),
        [0, u16::MAX - 1]
    );
}

#[test]
fn flows_are_spread_evenly() {
    let server = SocketAddr::from(([10, 0, 0, 1], 5201));
    let server_v6 = SocketAddr::from(([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 5201));
    for server in [server, server_v6] {
        let mut counts = [0; 8];
        for port in 32768..32768 + 1024 {
            let mut client = server;
            client.set_port(port);
            let headers = headers(client, server, TCP, false);
            counts[usize::from(spread(symmetric(&headers), 8))] += 1;
        }
        // 128 each, give or take.
        assert!(
            counts.iter().all(|count| (90..170).contains(count)),
            "{counts:?}"
        );
    }
}

#[test]
fn flows_differ_in_every_part() {
    let one = SocketAddr::from(([10, 0, 0, 1], 1000));
    let mut hashes = BTreeSet::new();
    let mut count = 0;
    let mut add = |headers: Headers| {
        hashes.insert(symmetric(&headers));
        count += 1;
    };
    for (ip, port) in [
        ([10, 0, 0, 2], 1000),
        ([10, 0, 0, 2], 1001),
        ([10, 0, 0, 3], 1000),
    ] {
        add(headers(one, SocketAddr::from((ip, port)), TCP, false));
        add(headers(one, SocketAddr::from((ip, port)), UDP, false));
    }
    for (half, value) in [(0, 0), (0, 1), (8, 1)] {
        let mut ip = [0; 16];
        ip[half] = value;
        let other = SocketAddr::from(([7; 16], 1000));
        add(headers(SocketAddr::from((ip, 1000)), other, TCP, false));
    }
    for (destination, source, kind) in [(1, 2, 6), (1, 3, 6), (4, 2, 6), (1, 2, 7)] {
        let frame = [[destination; 6], [source; 6], [8, kind, 0, 0, 0, 0]].concat();
        add(Headers::parse(&frame).expect("a whole frame"));
    }
    assert_eq!(hashes.len(), count);
}
