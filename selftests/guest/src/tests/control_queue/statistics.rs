// SPDX-License-Identifier: GPL-2.0

//! Statistics by the control queue: they can be taken apart, and they count.

use super::{data::statistics, ready};
use crate::{
    check, check_eq,
    device::MAC,
    harness::{Context, Test},
    inet::Packet,
    outcome::{Outcome, While},
    tests::{delivery::looped, rings::both},
    vhost::{LoopPlan, Net},
};
use rvdpa_virtio::{
    features::Features,
    net::{
        control::{
            stats::{CLASS, GET, QUERY},
            OK,
        },
        NetHeader,
    },
};
use std::collections::BTreeMap;

pub const TESTS: &[Test] = both! {
    "statistics_by_command", count;
    "statistics_of_what_was_negotiated", negotiated;
};

/// Types of statistics, by the number in their replies.
const RX_BASIC: u8 = 0;
const RX_CSUM: u8 = 1;
const TX_BASIC: u8 = 16;
const TX_CSUM: u8 = 17;
const TX_GSO: u8 = 18;
const CONTROL: u8 = 32;

/// All types that the device has.
fn query(net: &mut Net) -> Outcome<u64> {
    let reply = net.query(CLASS, QUERY, &[], 8)?;
    check_eq!(reply.answer, OK, "answer to QUERY");
    let result: Result<[u8; 8], _> = reply.result.try_into();
    Ok(u64::from_le_bytes(
        result.ok().when("eight bytes of result")?,
    ))
}

/// How many counters a type has.
fn counters(kind: u8) -> usize {
    match kind {
        RX_BASIC | TX_BASIC | TX_GSO => 6,
        RX_CSUM | 2 => 4,
        _ => 2,
    }
}

/// Asks for statistics. Returns the counters by virtqueue and type.
fn get(net: &mut Net, requests: &[(u16, u64)]) -> Outcome<BTreeMap<(u16, u8), Vec<u64>>> {
    let reply = net.query(CLASS, GET, &statistics(requests), 0x4000)?;
    check_eq!(reply.answer, OK, "answer to GET");
    let mut all = BTreeMap::new();
    let mut rest = &reply.result[..];
    while let Some((&[kind, 0, q0, q1, 0, 0, s0, s1], _)) = rest.split_first_chunk::<8>() {
        let queue = u16::from_le_bytes([q0, q1]);
        let size = usize::from(u16::from_le_bytes([s0, s1]));
        check_eq!(size, 8 + 8 * counters(kind), "bytes of type {kind}");
        let numbers = rest.get(8..size).when("a whole reply")?;
        let numbers = numbers
            .chunks_exact(8)
            .map(|number| u64::from_le_bytes(number.try_into().expect("eight bytes")))
            .collect();
        let twice = all.insert((queue, kind), numbers);
        check!(twice.is_none(), "type {kind} of virtqueue {queue} twice");
        rest = &rest[size..];
    }
    check!(rest.is_empty(), "bytes at the end: {rest:x?}");
    Ok(all)
}

fn count(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 2, Features(u64::MAX).without(Features::NET_RSS))?;
    let types = query(&mut net)?;
    for kind in [RX_BASIC, RX_CSUM, TX_BASIC, TX_CSUM, TX_GSO, CONTROL] {
        check!((types >> kind) & 1 != 0, "no type {kind} among {types:#x}");
    }
    // A frame for which there is no buffer yet.
    let own = crate::frame::make(100, MAC, MAC, 1);
    net.send_frame(0, NetHeader::default(), &own)?;
    net.loop_frames(LoopPlan {
        count: 50,
        size: 200,
        in_flight: 8,
    })?;
    // A stranger's frame, one with half a checksum, and a large one.
    let stranger = crate::frame::make(100, [2, 5, 5, 5, 5, 5], MAC, 1);
    let come = looped(&device, &mut net, 0, NetHeader::default(), &stranger)?;
    check!(come.is_none(), "a stranger's frame came");
    let packet = Packet::new(MAC, [2, 1, 1, 1, 1, 1], false, false, 1000);
    let header = packet.checksum_header();
    looped(&device, &mut net, 0, header, &packet.partial())?.when("the frame")?;
    let header = packet.segmentation_header(400);
    looped(&device, &mut net, 0, header, &packet.partial())?.when("the large frame")?;

    let receive = types & 0xffff;
    let transmit = types & 0xffff_0000;
    let all = get(
        &mut net,
        &[
            (0, receive),
            (1, transmit),
            (2, receive),
            (3, transmit),
            (4, 1 << CONTROL),
        ],
    )?;
    let wanted = 2 * (receive.count_ones() + transmit.count_ones()) + 1;
    check_eq!(all.len(), wanted as usize, "replies");
    let of = |queue: u16, kind: u8| all.get(&(queue, kind)).when("a reply");
    let len = packet.partial().len() as u64;
    let bytes = 50 * 200 + 2 * len;
    let rx = of(0, RX_BASIC)?;
    check_eq!((rx[1], rx[2]), (52, bytes), "packets and bytes received");
    // The stranger's was not for this driver.
    check_eq!(
        (rx[4], rx[5]),
        (1, 1),
        "packets not received, and without a buffer"
    );
    let tx = of(1, TX_BASIC)?;
    check_eq!((tx[1], tx[2]), (54, bytes + 200), "packets and bytes sent");
    check_eq!((tx[4], tx[5]), (0, 0), "packets not sent");
    check!(tx[0] > 0, "no kick was counted");
    let vstats = (device.statistics(0)?, device.statistics(1)?);
    check_eq!(
        rx[3],
        vstats.0.get("interrupts raised")?,
        "interrupts of rx"
    );
    check_eq!(
        tx[3],
        vstats.1.get("interrupts raised")?,
        "interrupts of tx"
    );
    check_eq!(tx[0], vstats.1.get("kicks")?, "kicks of tx");
    check_eq!(of(1, TX_CSUM)?[1], 2, "packets sent with half a checksum");
    check_eq!(
        of(0, RX_CSUM)?[1],
        2,
        "packets received with half a checksum"
    );
    check_eq!(
        of(1, TX_GSO)?[..2],
        [1, len],
        "large packets sent, and bytes"
    );
    check_eq!(
        of(2, RX_BASIC)?[1..3],
        [0, 0],
        "packets and bytes of the other pair"
    );
    // Both that asked, this one included.
    check_eq!(of(4, CONTROL)?[..], [2, 2], "commands, and those done");

    // Only what was asked for.
    let some = get(&mut net, &[(1, 1 << TX_BASIC)])?;
    check_eq!(some.len(), 1, "replies");
    // A refused command counts, but not as done.
    net.refuse_command(CLASS, GET, &statistics(&[(17, 1)]))?;
    let again = get(&mut net, &[(4, 1 << CONTROL)])?;
    check_eq!(again[&(4, CONTROL)], [5, 4], "commands, and those done");
    drop(net);
    device.delete()
}

/// Types whose features are not negotiated are not there.
fn negotiated(context: &mut Context) -> Outcome {
    type F = Features;
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    let guest = F::NET_GUEST_CSUM
        | F::NET_GUEST_TSO4
        | F::NET_GUEST_TSO6
        | F::NET_GUEST_ECN
        | F::NET_GUEST_USO4
        | F::NET_GUEST_USO6;
    let host =
        F::NET_CSUM | F::NET_HOST_TSO4 | F::NET_HOST_TSO6 | F::NET_HOST_ECN | F::NET_HOST_USO;
    for (what, without, gone) in [
        ("receive offloads", guest, (1 << 1) | (1 << 2)),
        ("transmit offloads", host, (1 << 17) | (1 << 18)),
        ("the speed", F::NET_SPEED_DUPLEX, (1 << 3) | (1 << 19)),
    ] {
        net.plan.features = Features(u64::MAX).without(without);
        net = net.restart().when(what)?;
        let types = query(&mut net)?;
        check_eq!(types & gone, 0, "types without {what}");
        // One of receiving, if there is one among them.
        let (queue, types) = match gone & 0xffff {
            0 => (1, gone),
            types => (0, types),
        };
        net.refuse_command(CLASS, GET, &statistics(&[(queue, types)]))
            .when(what)?;
    }
    drop(net);
    device.delete()
}
