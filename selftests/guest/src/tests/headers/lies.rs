// SPDX-License-Identifier: GPL-2.0

//! Headers that lie: the frame is dropped and counted, nobody gets any of it, and the device
//! goes on. What the specification has the device ignore is ignored.

use super::{ready, Large, GUEST, HOST};
use crate::{
    check, check_eq,
    device::{Device, MAC},
    frame,
    harness::{Context, Test},
    inet::{sum, Packet},
    outcome::{Outcome, While},
    tests::{delivery::looped, rings::each_ring},
    vhost::{Format, LoopPlan, Net},
};
use rvdpa_virtio::{features::Features, net::NetHeader};

pub const TESTS: &[Test] = each_ring! {
    "headers_that_lie", lies;
    "packets_that_lie", packets;
    "headers_of_other_features", not_negotiated;
    "header_fields_ignored", ignored;
};

/// Asserts that a frame is dropped.
fn dropped(device: &Device, net: &mut Net, header: NetHeader, frame: &[u8]) -> Outcome {
    match looped(device, net, 0, header, frame)? {
        None => Ok(()),
        Some((_, got)) => crate::fail!("it came, with {:x?}", got.header),
    }
}

/// Asserts that the device still does what it has to.
fn goes_on(net: &mut Net) -> Outcome {
    net.loop_frames(LoopPlan {
        count: 10,
        size: 100,
        in_flight: 4,
    })
    .map(drop)
}

fn tcp4() -> Packet {
    Large::new(false, false, false).packet(3000)
}

/// A header, and a change to it that makes it a lie.
type Lie = (&'static str, fn(&mut NetHeader));

fn lies(context: &mut Context, format: Format) -> Outcome {
    const SEGMENTATION: &[Lie] = &[
        ("gso_size 0", |h| h.gso_size = 0),
        ("gso_type 2", |h| h.gso_type = 2),
        ("UDP fragmentation", |h| h.gso_type = NetHeader::GSO_UDP),
        ("gso_type 6", |h| h.gso_type = 6),
        ("gso_type 0x7f", |h| h.gso_type = 0x7f),
        ("ECN and nothing else", |h| h.gso_type = NetHeader::GSO_ECN),
        ("UDP with ECN", |h| {
            h.gso_type = NetHeader::GSO_UDP_L4 | NetHeader::GSO_ECN
        }),
        ("no checksum", |h| h.flags = 0),
        ("IPv6 that is IPv4", |h| h.gso_type = NetHeader::GSO_TCPV6),
        ("UDP that is TCP", |h| h.gso_type = NetHeader::GSO_UDP_L4),
        ("a checksum of the IP header on", |h| h.csum_start = 14),
        ("a checksum of the payload", |h| h.csum_start = 54),
        ("a checksum at UDP's place", |h| h.csum_offset = 6),
        ("a checksum far beyond", |h| h.csum_start = 0xffff),
        ("a checksum over the end of numbers", |h| {
            h.csum_start = 0xffff;
            h.csum_offset = 0xffff;
        }),
    ];
    const CHECKSUM: &[Lie] = &[
        ("from the end on", |h| h.csum_start = 3054),
        ("just beyond the end", |h| h.csum_start = 3055),
        ("far beyond the end", |h| h.csum_start = 0xffff),
        ("half behind the end", |h| h.csum_offset = 3054 - 34 - 1),
        ("just behind the end", |h| h.csum_offset = 3054 - 34),
        ("far behind the end", |h| h.csum_offset = 0xffff),
        ("over the end of numbers", |h| {
            h.csum_start = 0xffff;
            h.csum_offset = 1;
        }),
        ("in the Ethernet header", |h| h.csum_start = 0),
        ("in the end of the Ethernet header", |h| h.csum_start = 13),
    ];
    // Whether the receiver takes them or the device would have to do the work.
    for guest in [GUEST, Features::NONE] {
        let (device, mut net) = ready(context, format, HOST | guest)?;
        let packet = tcp4();
        check_eq!(packet.partial().len(), 3054, "bytes of the frame");
        for (start, changes) in [
            (packet.segmentation_header(1400), SEGMENTATION),
            (packet.checksum_header(), CHECKSUM),
        ] {
            for (what, change) in changes {
                let mut header = start;
                change(&mut header);
                dropped(&device, &mut net, header, &packet.partial()).when(what)?;
            }
        }
        // Segments of what is no packet.
        for len in [14, 33, 53, 100, 3054] {
            let plain = frame::make(len, MAC, MAC, 1);
            dropped(&device, &mut net, packet.segmentation_header(1400), &plain)
                .when(format_args!("segments of {len} bytes that are no packet"))?;
        }
        goes_on(&mut net)?;
        drop(net);
        device.delete()?;
    }
    Ok(())
}

/// The IPv4 header's checksum once more.
fn mend(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let len = usize::from(frame[14] & 15) * 4;
    if let Some(header) = frame.get(14..14 + len) {
        let checksum = !sum(header, 0);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// What is done to a packet.
type Change = fn(&mut Vec<u8>);

/// The header is right for what the packet should be, and the packet is something else.
fn packets(context: &mut Context, format: Format) -> Outcome {
    const CHANGES: &[(&str, Change)] = &[
        ("IP version 6", |p| p[14] = 0x65),
        ("an IP header of 16 bytes", |p| p[14] = 0x44),
        ("a longer IP header", |p| p[14] = 0x46),
        ("the longest IP header", |p| p[14] = 0x4f),
        ("IP length 0", |p| p[16..18].fill(0)),
        ("IP length of the headers", |p| {
            p[16..18].copy_from_slice(&[0, 40])
        }),
        ("IP length 65535", |p| p[16..18].fill(0xff)),
        ("a first fragment", |p| p[20] = 0x20),
        ("a later fragment", |p| p[21] = 1),
        ("UDP", |p| p[23] = 17),
        ("ICMP", |p| p[23] = 1),
        ("a TCP header of 16 bytes", |p| p[46] = 0x40),
        ("a TCP header of no bytes", |p| p[46] = 0),
        ("no IP at all", |p| p[12..14].copy_from_slice(&[0x88, 0xb5])),
        ("no payload", |p| {
            p.truncate(54);
            p[16..18].copy_from_slice(&[0, 40]);
        }),
        ("half a TCP header", |p| p.truncate(44)),
        ("half an IP header", |p| p.truncate(24 + 2)),
        ("a TCP header longer than the packet", |p| {
            p.truncate(54 + 8);
            p[16..18].copy_from_slice(&[0, 48]);
            p[46] = 0xf0;
        }),
    ];
    for guest in [GUEST, Features::NONE] {
        let (device, mut net) = ready(context, format, HOST | guest)?;
        let packet = tcp4();
        for (what, change) in CHANGES {
            let mut bytes = packet.partial();
            change(&mut bytes);
            mend(&mut bytes);
            let header = packet.segmentation_header(1400);
            dropped(&device, &mut net, header, &bytes).when(what)?;
        }
        goes_on(&mut net)?;
        drop(net);
        device.delete()?;
    }
    Ok(())
}

/// What was not negotiated must not be asked for.
fn not_negotiated(context: &mut Context, format: Format) -> Outcome {
    type F = Features;
    let all_host = HOST;
    let segments = F::NET_HOST_TSO4 | F::NET_HOST_TSO6 | F::NET_HOST_ECN | F::NET_HOST_USO;
    let checksum = tcp4().checksum_header();
    let large = |v6, udp, ecn| Large::new(v6, udp, ecn).packet(3000);
    for (what, without, packet, header) in [
        ("a checksum", all_host, tcp4(), Some(checksum)),
        (
            "TCP over IPv4",
            F::NET_HOST_TSO4 | F::NET_HOST_ECN,
            large(false, false, false),
            None,
        ),
        (
            "TCP over IPv6",
            F::NET_HOST_TSO6 | F::NET_HOST_ECN,
            large(true, false, false),
            None,
        ),
        ("ECN", F::NET_HOST_ECN, large(false, false, true), None),
        (
            "UDP over IPv4",
            F::NET_HOST_USO,
            large(false, true, false),
            None,
        ),
        (
            "UDP over IPv6",
            F::NET_HOST_USO,
            large(true, true, false),
            None,
        ),
        ("any segments", segments, large(false, false, false), None),
    ] {
        let (device, mut net) = ready(context, format, all_host.without(without) | GUEST)?;
        let header = header.unwrap_or_else(|| packet.segmentation_header(1000));
        dropped(&device, &mut net, header, &packet.partial()).when(what)?;
        goes_on(&mut net).when(what)?;
        drop(net);
        device.delete()?;
    }
    Ok(())
}

/// Hints, flags that are not known, and fields of what is not asked for (5.1.6.2.2).
fn ignored(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = ready(context, format, HOST | GUEST)?;
    let packet = tcp4();
    let large = packet.segmentation_header(1400);
    let partial = packet.checksum_header();
    let none = NetHeader::default();
    let junk = NetHeader {
        hdr_len: 0xffff,
        gso_size: 0xffff,
        csum_start: 0xffff,
        csum_offset: 0xffff,
        num_buffers: 0xffff,
        ..none
    };
    let cases = [
        (
            "hdr_len 0",
            NetHeader {
                hdr_len: 0,
                ..large
            },
            large,
        ),
        (
            "hdr_len 1",
            NetHeader {
                hdr_len: 1,
                ..large
            },
            large,
        ),
        (
            "hdr_len 65535",
            NetHeader {
                hdr_len: 0xffff,
                ..large
            },
            large,
        ),
        (
            "num_buffers 65535",
            NetHeader {
                num_buffers: 0xffff,
                ..large
            },
            large,
        ),
        (
            "unknown flags",
            NetHeader {
                flags: 0xff,
                ..large
            },
            large,
        ),
        (
            "unknown flags of a checksum",
            NetHeader {
                flags: 0xff,
                ..partial
            },
            partial,
        ),
        (
            "gso_size without a type",
            NetHeader {
                gso_size: 9,
                ..partial
            },
            partial,
        ),
        (
            "hdr_len without a type",
            NetHeader {
                hdr_len: 9,
                ..partial
            },
            partial,
        ),
        ("fields without a flag", junk, none),
        (
            "flags that are not known",
            NetHeader {
                flags: 0xfe,
                ..junk
            },
            none,
        ),
    ];
    for (what, sent, wanted) in cases {
        let come = looped(&device, &mut net, 0, sent, &packet.partial()).when(what)?;
        let (_, got) = come.when(what)?;
        let wanted = NetHeader {
            num_buffers: 1,
            ..wanted
        };
        check_eq!(got.header, wanted, "header that came: {what}");
        check!(
            got.frame == packet.partial(),
            "the frame was changed: {what}"
        );
    }
    drop(net);
    device.delete()
}
