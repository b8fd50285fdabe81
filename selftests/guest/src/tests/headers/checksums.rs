// SPDX-License-Identifier: GPL-2.0

//! Checksums that the sender has left out: carried through to a receiver that takes such
//! frames, filled in for one that does not.

use super::{ready, Large, GUEST, HOST};
use crate::{
    check, check_eq,
    device::MAC,
    frame,
    harness::{Context, Test},
    inet::{sum, Packet},
    outcome::{Outcome, While},
    tests::rings::each_ring,
    vhost::{Format, Net, Received},
};
use rvdpa_virtio::{features::Features, net::NetHeader};

pub const TESTS: &[Test] = each_ring! {
    "checksums_carried_through", carried;
    "checksums_filled_in", filled;
    "checksums_of_anything", anything;
};

const KINDS: [Large; 4] = [
    Large::new(false, false, false),
    Large::new(true, false, false),
    Large::new(false, true, false),
    Large::new(true, true, false),
];

const SIZES: [usize; 8] = [0, 1, 2, 3, 100, 1459, 1460, 9001];

fn sent(net: &mut Net, header: NetHeader, frame: &[u8]) -> Outcome<Received> {
    net.fill_rx()?;
    net.send_frame(0, header, frame)?;
    net.wait_receive_from(0)
}

fn carried(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = ready(context, format, HOST | GUEST)?;
    for kind in KINDS {
        for len in SIZES {
            let packet = kind.packet(len);
            let header = packet.checksum_header();
            let got = sent(&mut net, header, &packet.partial())?;
            let wanted = NetHeader {
                num_buffers: 1,
                ..header
            };
            check_eq!(got.header, wanted, "header of {kind:?} with {len} bytes");
            check!(
                got.frame == packet.partial(),
                "{kind:?} with {len} bytes was changed"
            );
            // What is complete stays so.
            let got = sent(&mut net, NetHeader::default(), &packet.complete())?;
            check_eq!(
                got.header.flags & NetHeader::NEEDS_CSUM,
                0,
                "flags of {kind:?}"
            );
            check!(
                got.frame == packet.complete(),
                "{kind:?} with {len} bytes was changed"
            );
        }
    }
    drop(net);
    device.delete()
}

fn filled(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = ready(context, format, HOST)?;
    let look = |net: &mut Net, packet: &Packet| -> Outcome {
        let got = sent(net, packet.checksum_header(), &packet.partial())?;
        check_eq!(got.header.flags & NetHeader::NEEDS_CSUM, 0, "flags");
        check_eq!(got.header.gso_type, NetHeader::GSO_NONE, "gso_type");
        check!(
            got.frame == packet.complete(),
            "another frame than {packet:?}: {:x?}",
            got.frame
        );
        Ok(())
    };
    for pieces in [1, 7] {
        // Cut at other places, the sum is the same.
        net.plan.pieces = pieces;
        net.plan.size = 256;
        net = net.restart()?;
        for kind in KINDS {
            for len in SIZES {
                let mut packet = kind.packet(len);
                look(&mut net, &packet).when(format_args!("{kind:?} with {len} bytes"))?;
                packet.vlan = Some(3);
                look(&mut net, &packet).when(format_args!("{kind:?} in a VLAN"))?;
            }
        }
    }
    // A UDP checksum is never zero, for that would be none.
    for v6 in [false, true] {
        let mut packet = Large::new(v6, true, false).packet(64);
        let at = packet.transport() + 6;
        packet.payload[..2].fill(0);
        // The word that makes the sum of all 0xffff.
        let rest = u16::from_be_bytes(packet.complete()[at..at + 2].try_into()?);
        packet.payload[..2].copy_from_slice(&rest.to_be_bytes());
        check_eq!(
            packet.complete()[at..at + 2],
            [0xff; 2],
            "the checksum wanted"
        );
        look(&mut net, &packet).when("a checksum that would be zero")?;
    }
    drop(net);
    device.delete()
}

/// The device needs not know the protocol to fill in a checksum.
fn anything(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = ready(context, format, HOST)?;
    for (len, start, offset) in [
        (100, 14, 0),
        (100, 14, 84),
        (1514, 34, 16),
        (61, 15, 3),
        (99, 60, 2),
    ] {
        let plain = frame::make(len, MAC, MAC, 7);
        let header = NetHeader {
            flags: NetHeader::NEEDS_CSUM,
            csum_start: start as u16,
            csum_offset: offset as u16,
            ..NetHeader::default()
        };
        let mut wanted = plain.clone();
        let checksum = !sum(&plain[start..], 0);
        wanted[start + offset..start + offset + 2].copy_from_slice(&checksum.to_be_bytes());
        let got = sent(&mut net, header, &plain)?;
        if let Some(difference) = frame::difference(&got.frame, &wanted) {
            crate::fail!("{len} bytes, from {start} on, at {offset}: {difference}");
        }
        check_eq!(got.header.flags & NetHeader::NEEDS_CSUM, 0, "flags");
    }
    check!(
        !net.has(Features::NET_GUEST_CSUM),
        "the receiver takes partial checksums"
    );
    drop(net);
    device.delete()
}
