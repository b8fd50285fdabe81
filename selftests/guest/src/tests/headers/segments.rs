// SPDX-License-Identifier: GPL-2.0

//! Large packets: whole to a receiver that takes them, in segments to one that does not.

use super::{ready, Large, GUEST, GUEST_SEGMENTS, HOST};
use crate::{
    check, check_eq,
    device::Device,
    harness::{Context, Test},
    inet::Packet,
    outcome::{Outcome, While},
    tests::rings::each_ring,
    vhost::{Format, Net, Received},
};
use rvdpa_virtio::{features::Features, net::NetHeader};

pub const TESTS: &[Test] = each_ring! {
    "large_packets_whole", whole;
    "large_packets_in_segments", cut;
    "large_packets_by_the_receivers_choice", choice;
};

/// Sizes of segments, and of the payload that is cut to them: shortest and longest, one that
/// fills all its segments and one that leaves a byte over; and a single segment.
fn sizes(kind: Large) -> [(u16, usize); 6] {
    [
        (1448, kind.longest()),
        (1400, 14_000),
        (1400, 14_001),
        (1460, 1461),
        (536, 3000),
        (60_000, 5000),
    ]
}

/// Asserts that a large packet came whole.
fn is_whole(got: &Received, packet: &Packet, size: u16) -> Outcome {
    // One that is a single segment as it is has only its checksum left out.
    let header = if packet.payload.len() > usize::from(size) {
        packet.segmentation_header(size)
    } else {
        packet.checksum_header()
    };
    let wanted = NetHeader {
        num_buffers: 1,
        ..header
    };
    check_eq!(got.header, wanted, "header");
    check!(got.frame == packet.partial(), "the frame was changed");
    Ok(())
}

/// Asserts that a frame is a complete packet, or one whose checksum is left to a receiver
/// that takes such.
fn is_segment(net: &Net, got: &Received, wanted: &Packet) -> Outcome {
    if got.header.flags & NetHeader::NEEDS_CSUM != 0 {
        check!(
            net.has(Features::NET_GUEST_CSUM),
            "NEEDS_CSUM without the feature"
        );
        let header = NetHeader {
            num_buffers: 1,
            ..wanted.checksum_header()
        };
        check_eq!(got.header, header, "header");
        check!(
            got.frame == wanted.partial(),
            "another frame than {wanted:?}"
        );
        return Ok(());
    }
    check_eq!(got.header.gso_type, NetHeader::GSO_NONE, "gso_type");
    let parsed = Packet::parse(&got.frame)?;
    check_eq!(
        parsed.payload.len(),
        wanted.payload.len(),
        "bytes of payload"
    );
    check!(
        got.frame == wanted.complete(),
        "another frame than {wanted:?}"
    );
    Ok(())
}

/// Sends a large packet, which has to come in segments.
fn sent_in_segments(net: &mut Net, packet: &Packet, size: u16) -> Outcome {
    net.fill_rx()?;
    net.send_frame(0, packet.segmentation_header(size), &packet.partial())?;
    let wanted = packet.segments(size.into());
    for (number, segment) in wanted.iter().enumerate() {
        let got = net.wait_receive_from(0)?;
        is_segment(net, &got, segment)
            .when(format_args!("segment {number} of {}", wanted.len()))?;
    }
    check!(net.receive_from(0)?.is_none(), "a segment too many");
    Ok(())
}

/// Sends a large packet, which has to come whole.
fn sent_whole(net: &mut Net, packet: &Packet, size: u16) -> Outcome {
    net.fill_rx()?;
    net.send_frame(0, packet.segmentation_header(size), &packet.partial())?;
    let got = net.wait_receive_from(0)?;
    is_whole(&got, packet, size)
}

fn done(device: Device, net: Net) -> Outcome {
    let (rx, tx) = (device.statistics(0)?, device.statistics(1)?);
    for numbers in [rx, tx] {
        for name in numbers.names() {
            if name.contains("drops") || name.contains("errors") {
                check_eq!(numbers.get(name)?, 0, "{name}");
            }
        }
    }
    drop(net);
    device.delete()
}

fn whole(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = ready(context, format, HOST | GUEST)?;
    for kind in Large::ALL {
        for (size, len) in sizes(kind) {
            sent_whole(&mut net, &kind.packet(len), size)
                .when(format_args!("{kind:?}, {len} bytes by {size}"))?;
        }
        let tagged = Packet {
            vlan: Some(5),
            ..kind.packet(4000)
        };
        sent_whole(&mut net, &tagged, 1000).when(format_args!("{kind:?} in a VLAN"))?;
    }
    done(device, net)
}

fn cut(context: &mut Context, format: Format) -> Outcome {
    for guest in [Features::NONE, Features::NET_GUEST_CSUM] {
        let (device, mut net) = ready(context, format, HOST | guest)?;
        for kind in Large::ALL {
            for (size, len) in sizes(kind) {
                // No more of them than there are receive buffers.
                let len = len.min(60 * usize::from(size));
                sent_in_segments(&mut net, &kind.packet(len), size)
                    .when(format_args!("{kind:?}, {len} bytes by {size}, {guest}"))?;
            }
            let tagged = Packet {
                vlan: Some(5),
                ..kind.packet(4000)
            };
            sent_in_segments(&mut net, &tagged, 1000)
                .when(format_args!("{kind:?} in a VLAN, {guest}"))?;
        }
        done(device, net)?;
    }
    Ok(())
}

/// One kind is taken, another is not.
fn choice(context: &mut Context, format: Format) -> Outcome {
    type F = Features;
    for (taken, ecn) in [
        (F::NET_GUEST_TSO4, false),
        (F::NET_GUEST_TSO6, false),
        (F::NET_GUEST_TSO4 | F::NET_GUEST_ECN, true),
        (F::NET_GUEST_USO4, false),
        (F::NET_GUEST_USO6, false),
        (GUEST_SEGMENTS, true),
    ] {
        let (device, mut net) = ready(context, format, HOST | F::NET_GUEST_CSUM | taken)?;
        for kind in Large::ALL {
            let needs = match (kind.udp, kind.v6) {
                (false, false) => F::NET_GUEST_TSO4,
                (false, true) => F::NET_GUEST_TSO6,
                (true, false) => F::NET_GUEST_USO4,
                (true, true) => F::NET_GUEST_USO6,
            };
            let packet = kind.packet(5000);
            let taken = taken.contains(needs) && (ecn || !kind.ecn);
            let send = if taken { sent_whole } else { sent_in_segments };
            send(&mut net, &packet, 1300).when(format_args!("{kind:?}, taken: {taken}"))?;
        }
        done(device, net)?;
    }
    Ok(())
}
