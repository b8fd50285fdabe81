// SPDX-License-Identifier: GPL-2.0

//! Hash reports: the header of a frame has the hash of what it is, and says of what
//! (5.1.6.4.3). Published vectors first, then the same computed here bit by bit.

use super::{data::hash, ready};
use crate::{
    check_eq,
    device::{Device, MAC},
    frame,
    harness::{Context, Test},
    inet::{payload, Ends, Packet},
    outcome::{Outcome, While},
    tests::{delivery::looped, rings::both},
    toeplitz,
    vhost::{LoopPlan, Net},
};
use rvdpa_virtio::{
    features::Features,
    net::{
        control::{
            mq::{CLASS, HASH_CONFIG},
            vlan,
        },
        NetHeader,
    },
};

pub const TESTS: &[Test] = both! {
    "hash_reports_of_published_vectors", published;
    "hash_reports_of_any_key", any_key;
    "hash_reports_of_what_has_no_ports", no_ports;
    "hash_reports_with_offloads", offloads;
};

/// Types of hashes, as bits.
const IPV4: u32 = 1 << 0;
const TCPV4: u32 = 1 << 1;
const UDPV4: u32 = 1 << 2;
const IPV6: u32 = 1 << 3;
const TCPV6: u32 = 1 << 4;
const UDPV6: u32 = 1 << 5;
const ALL: u32 = 0x3f;

/// What a hash was taken of, in the report.
const OF_NOTHING: u16 = 0;
const OF_IPV4: u16 = 1;
const OF_TCPV4: u16 = 2;
const OF_UDPV4: u16 = 3;
const OF_IPV6: u16 = 4;
const OF_TCPV6: u16 = 5;
const OF_UDPV6: u16 = 6;

/// The key of the published vectors.
const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// The hash of a frame, as the device reports it.
fn report(device: &Device, net: &mut Net, frame: &[u8]) -> Outcome<(u32, u16)> {
    let come = looped(device, net, 0, NetHeader::default(), frame)?;
    let (_, got) = come.when("the frame")?;
    got.hash.when("a hash in the header")
}

fn packet(ends: Ends, ports: (u16, u16), udp: bool) -> Packet {
    Packet {
        ends,
        source_port: ports.0,
        destination_port: ports.1,
        ..Packet::new(MAC, [2, 1, 1, 1, 1, 1], ends.is_v6(), udp, 100)
    }
}

fn v6(text: &str) -> [u8; 16] {
    let address: std::net::Ipv6Addr = text.parse().expect("an address");
    address.octets()
}

fn published(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    let from_v4 = |from, to| Ends::V4(from, to);
    let from_v6 = |from, to| Ends::V6(v6(from), v6(to));
    let vectors = [
        (
            from_v4([66, 9, 149, 187], [161, 142, 100, 80]),
            (2794, 1766),
            0x323e_8fc2,
            0x51cc_c178,
        ),
        (
            from_v4([199, 92, 111, 2], [65, 69, 140, 83]),
            (14230, 4739),
            0xd718_262a,
            0xc626_b0ea,
        ),
        (
            from_v4([24, 19, 198, 95], [12, 22, 207, 184]),
            (12898, 38024),
            0xd2d0_a5de,
            0x5c2b_394a,
        ),
        (
            from_v4([38, 27, 205, 30], [209, 142, 163, 6]),
            (48228, 2217),
            0x8298_9176,
            0xafc7_327f,
        ),
        (
            from_v4([153, 39, 163, 191], [202, 188, 127, 2]),
            (44251, 1303),
            0x5d18_09c5,
            0x10e8_28a2,
        ),
        (
            from_v6("3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1"),
            (2794, 1766),
            0x2cc1_8cd5,
            0x4020_7d3d,
        ),
        (
            from_v6("3ffe:501:8::260:97ff:fe40:efab", "ff02::1"),
            (14230, 4739),
            0x0f0c_461c,
            0xdde5_1bbf,
        ),
        (
            from_v6(
                "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
                "fe80::200:f8ff:fe21:67cf",
            ),
            (44251, 38024),
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];
    for (types, ports_count) in [(IPV4 | IPV6, false), (ALL, true), (TCPV4 | TCPV6, true)] {
        net.do_command(CLASS, HASH_CONFIG, &hash(types, &KEY))?;
        for (ends, ports, addresses_hash, ports_hash) in vectors {
            let got = report(&device, &mut net, &packet(ends, ports, false).complete())?;
            let wanted = match (ports_count, ends.is_v6()) {
                (false, false) => (addresses_hash, OF_IPV4),
                (false, true) => (addresses_hash, OF_IPV6),
                (true, false) => (ports_hash, OF_TCPV4),
                (true, true) => (ports_hash, OF_TCPV6),
            };
            check_eq!(got, wanted, "hash of {ends:?} by types {types:#x}");
        }
    }
    drop(net);
    device.delete()
}

fn any_key(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    for (seed, len) in [(1, 40), (2, 40), (3, 16)] {
        let key = payload(len, seed);
        net.do_command(CLASS, HASH_CONFIG, &hash(ALL, &key))?;
        for (is_v6, udp, kind) in [
            (false, false, OF_TCPV4),
            (false, true, OF_UDPV4),
            (true, false, OF_TCPV6),
            (true, true, OF_UDPV6),
        ] {
            for number in 0..4 {
                let packet = packet(Ends::some(is_v6), (1000 + number, 80), udp);
                let wanted = (toeplitz::hash(&key, &packet.hash_input(true)), kind);
                let got = report(&device, &mut net, &packet.complete())?;
                check_eq!(got, wanted, "hash with a key of {len} bytes, kind {kind}");
            }
            // Behind a VLAN tag too, for whoever does not filter them.
            net.do_command(vlan::CLASS, vlan::ADD, &9_u16.to_le_bytes())?;
            let tagged = Packet {
                vlan: Some(9),
                ..packet(Ends::some(is_v6), (7, 8), udp)
            };
            let wanted = (toeplitz::hash(&key, &tagged.hash_input(true)), kind);
            let got = report(&device, &mut net, &tagged.complete())?;
            check_eq!(got, wanted, "hash behind a tag, kind {kind}");
        }
    }
    drop(net);
    device.delete()
}

/// What is hashed by addresses alone, and what is not hashed at all.
fn no_ports(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    let tcp4 = packet(Ends::some(false), (1, 2), false);
    let udp4 = packet(Ends::some(false), (1, 2), true);
    let udp6 = packet(Ends::some(true), (1, 2), true);
    let addresses4 = toeplitz::hash(&KEY, &tcp4.hash_input(false));
    let addresses6 = toeplitz::hash(&KEY, &udp6.hash_input(false));
    let nothing = (0, OF_NOTHING);
    // Before any command there is no hash.
    check_eq!(
        report(&device, &mut net, &tcp4.complete())?,
        nothing,
        "before any command"
    );
    // A fragment has no ports, not even the first one.
    let mut fragment = udp4.complete();
    fragment[20] = 0x20;
    let checksum = 0_u16;
    fragment[24..26].copy_from_slice(&checksum.to_be_bytes());
    let checksum = !crate::inet::sum(&fragment[14..34], 0);
    fragment[24..26].copy_from_slice(&checksum.to_be_bytes());
    // ICMP has none at all.
    let mut icmp = tcp4.complete();
    icmp[23] = 1;
    icmp[24..26].copy_from_slice(&0_u16.to_be_bytes());
    let checksum = !crate::inet::sum(&icmp[14..34], 0);
    icmp[24..26].copy_from_slice(&checksum.to_be_bytes());
    let other = frame::make(100, MAC, MAC, 3);
    for (what, types, sent, wanted) in [
        ("TCP", UDPV4 | IPV6 | UDPV6, tcp4.complete(), nothing),
        (
            "TCP by addresses",
            IPV4 | UDPV4,
            tcp4.complete(),
            (addresses4, OF_IPV4),
        ),
        (
            "UDP by addresses",
            IPV4 | TCPV4,
            udp4.complete(),
            (addresses4, OF_IPV4),
        ),
        (
            "UDP over IPv6",
            IPV6 | TCPV6,
            udp6.complete(),
            (addresses6, OF_IPV6),
        ),
        (
            "IPv6 where only IPv4 counts",
            IPV4 | TCPV4 | UDPV4,
            udp6.complete(),
            nothing,
        ),
        ("a fragment", ALL, fragment.clone(), (addresses4, OF_IPV4)),
        ("a fragment without addresses", UDPV4, fragment, nothing),
        ("ICMP", ALL, icmp, (addresses4, OF_IPV4)),
        ("no IP", ALL, other, nothing),
        ("nothing any more", 0, tcp4.complete(), nothing),
    ] {
        net.do_command(CLASS, HASH_CONFIG, &hash(types, &KEY))
            .when(what)?;
        check_eq!(
            report(&device, &mut net, &sent).when(what)?,
            wanted,
            "hash of {what}"
        );
    }
    // The longer header disturbs nothing else.
    net.plan.pieces = 5;
    let mut net = net.restart()?;
    net.do_command(CLASS, HASH_CONFIG, &hash(ALL, &KEY))?;
    net.loop_frames(LoopPlan {
        count: 200,
        size: 300,
        in_flight: 32,
    })?;
    drop(net);
    device.delete()
}

/// A large frame is hashed as what it is, and so is each of its segments.
fn offloads(context: &mut Context) -> Outcome {
    type F = Features;
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    let large = packet(Ends::some(false), (3, 4), false);
    let header = large.segmentation_header(40);
    let wanted = Some((toeplitz::hash(&KEY, &large.hash_input(true)), OF_TCPV4));
    net.do_command(CLASS, HASH_CONFIG, &hash(ALL, &KEY))?;
    let come = looped(&device, &mut net, 0, header, &large.partial())?;
    let (_, got) = come.when("the large frame")?;
    check_eq!(got.hash, wanted, "hash of the large frame");
    check_eq!(got.header.gso_size, 40, "gso_size");

    net.plan = net.plan.without(F::NET_GUEST_TSO4 | F::NET_GUEST_ECN);
    net = net.restart()?;
    net.do_command(CLASS, HASH_CONFIG, &hash(ALL, &KEY))?;
    let come = looped(&device, &mut net, 0, header, &large.partial())?;
    let (_, mut got) = come.when("the first segment")?;
    for segment in 0..3 {
        check_eq!(got.hash, wanted, "hash of segment {segment}");
        if segment < 2 {
            got = net.wait_receive_from(0)?;
        }
    }
    drop(net);
    device.delete()
}
