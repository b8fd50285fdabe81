// SPDX-License-Identifier: GPL-2.0

//! Which ports get a frame.

use super::{delete, passes, three, Port, EVERYONE};
use crate::{
    check, check_eq,
    harness::{Context, Test},
    inet::{Ends, Packet},
    outcome::{Outcome, While},
    tests::rings::both,
    vhost::{Format, NewDevice, SWITCH},
};
use rvdpa_virtio::{
    features::Features,
    net::{
        control::{mac, vlan},
        NetHeader,
    },
};

pub const TESTS: &[Test] = both! {
    "switch_floods_the_unknown", flood;
    "switch_learns", learn;
    "switch_stations_that_move", moves;
    "switch_filters_of_each_port", filters;
    "switch_between_formats", formats;
    "switch_completes_for_each_port", offloads;
};

const NOBODY: [u8; 6] = [2, 0, 0, 0, 0x99, 0x99];

fn flood(context: &mut Context) -> Outcome {
    let mut ports = three(context, Features(u64::MAX))?;
    let group = [1, 0, 0x5e, 0, 0, 9];
    let [one, two, three] = &mut ports;
    // To everyone, to a group, and to a station that nobody has seen: all but the sender.
    for (number, to) in [EVERYONE, group, NOBODY].into_iter().enumerate() {
        one.send(to, number as u64)?;
    }
    one.mark()?;
    for port in [&mut *two, &mut *three] {
        check_eq!(port.seen()?, [0, 1, 2], "frames of {}", port.device.name());
    }
    one.sees_nothing()?;
    // A frame from nobody, or from a group, is none: it goes nowhere and teaches nothing.
    two.send_as([0; 6], EVERYONE, 3)?;
    two.send_as(group, EVERYONE, 4)?;
    two.mark()?;
    check_eq!(one.seen()?, [0_u64; 0], "frames of port1");
    check_eq!(three.seen()?, [0_u64; 0], "frames of port3");
    one.send([0; 6], 5)?;
    one.send(group, 6)?;
    one.mark()?;
    check_eq!(two.seen()?, [5, 6], "frames of port2");
    check_eq!(three.seen()?, [5, 6], "frames of port3");
    delete(ports)
}

fn learn(context: &mut Context) -> Outcome {
    let mut ports = three(context, Features(u64::MAX))?;
    let [one, two, three] = &mut ports;
    // It has seen the address of the second port, and of a station behind the third.
    two.send(EVERYONE, 1)?;
    three.send_as(NOBODY, EVERYONE, 2)?;
    two.mark()?;
    three.mark()?;
    // The first mark, and the second one.
    check_eq!(one.seen()?, [1, 2], "frames of port1");
    check_eq!(one.seen()?, [0_u64; 0], "frames of port1");
    check_eq!(two.seen()?, [2], "frames of port2");
    check_eq!(three.seen()?, [1], "frames of port3");

    one.send(two.mac(), 3)?;
    one.send(NOBODY, 4)?;
    one.mark()?;
    check_eq!(two.seen()?, [3], "frames of port2");
    check_eq!(three.seen()?, [4], "frames of port3");
    // Never back to where it came from, not even to a station there.
    three.send(NOBODY, 5)?;
    three.mark()?;
    check_eq!(one.seen()?, [0_u64; 0], "frames of port1");
    check_eq!(two.seen()?, [0_u64; 0], "frames of port2");
    three.sees_nothing()?;
    passes(one, two)?;
    delete(ports)
}

fn moves(context: &mut Context) -> Outcome {
    let mut ports = three(context, Features(u64::MAX))?;
    let [one, two, three] = &mut ports;
    for round in 0..6 {
        let (here, there) = if round % 2 == 0 {
            (&mut *two, &mut *three)
        } else {
            (&mut *three, &mut *two)
        };
        here.send_as(NOBODY, one.mac(), 1)?;
        here.mark()?;
        check_eq!(one.seen()?, [1], "frames of port1");
        let seen = there.seen()?;
        // The first port was not known at first.
        check!(round == 0 || seen.is_empty(), "{seen:?} in round {round}");
        one.send(NOBODY, 2)?;
        one.mark()?;
        check_eq!(
            here.seen()?,
            [2],
            "frames where the station is, round {round}"
        );
        check_eq!(
            there.seen()?,
            [0_u64; 0],
            "frames where it was, round {round}"
        );
    }
    delete(ports)
}

/// Each port has its driver's own filters.
fn filters(context: &mut Context) -> Outcome {
    let mut ports = three(context, Features(u64::MAX))?;
    let [one, two, three] = &mut ports;
    let group = [1, 0, 0x5e, 0, 0, 9];
    two.promiscuous(false)?;
    three.promiscuous(false)?;
    let mut table = vec![0; 4];
    table.extend(1_u32.to_le_bytes());
    table.extend(group);
    two.net.do_command(mac::CLASS, mac::TABLE_SET, &table)?;
    three.net.do_command(mac::CLASS, mac::TABLE_SET, &[0; 8])?;
    for (number, to) in [EVERYONE, group, NOBODY, two.mac(), three.mac()]
        .into_iter()
        .enumerate()
    {
        one.send(to, number as u64)?;
    }
    one.mark()?;
    check_eq!(two.seen()?, [0, 1, 3], "frames of port2");
    check_eq!(three.seen()?, [0, 4], "frames of port3");

    // VLANs too.
    two.net
        .do_command(vlan::CLASS, vlan::ADD, &5_u16.to_le_bytes())?;
    for id in [5, 6] {
        let mut tagged = crate::frame::make(100, EVERYONE, one.mac(), id);
        // The number moves behind the tag.
        tagged.splice(12..12, [0x81, 0, 0, id as u8]);
        one.net.send_frame(0, NetHeader::default(), &tagged)?;
    }
    one.mark()?;
    let got = two.net.wait_receive()?;
    check_eq!(got[12..16], [0x81, 0, 0, 5], "tag of the frame of port2");
    check_eq!(two.seen()?, [0_u64; 0], "frames of port2");
    check_eq!(three.seen()?, [0_u64; 0], "frames of port3");
    delete(ports)
}

/// Rings of one format meet rings of the other.
fn formats(context: &mut Context) -> Outcome {
    let more = Features::NET_CTRL_RX | Features::NET_MRG_RXBUF;
    let new = |name, number, format, more| NewDevice {
        mgmtdev: SWITCH,
        mac: [2, 0, 0, 0, 0x50, number],
        ..NewDevice::named(name).format(format, more)
    };
    let all = Features(u64::MAX);
    let mut ports = [
        Port::of(context, new("port1", 1, Format::Split, more), all)?,
        Port::of(context, new("port2", 2, Format::Packed, more), all)?,
        Port::of(
            context,
            new("port3", 3, Format::Packed, more | Features::IN_ORDER),
            all,
        )?,
    ];
    let [one, two, three] = &mut ports;
    check_eq!(one.net.format(), Format::Split, "format of port1");
    check_eq!(two.net.format(), Format::Packed, "format of port2");
    for (a, b, c) in [(0, 1, 2), (1, 2, 0), (2, 0, 1)] {
        let all = [&mut *one, &mut *two, &mut *three];
        for number in 0..50 {
            all[a].send(EVERYONE, number)?;
        }
        all[a].mark()?;
        let wanted: Vec<u64> = (0..50).collect();
        check_eq!(all[b].seen()?, wanted, "frames of port{}", b + 1);
        check_eq!(all[c].seen()?, wanted, "frames of port{}", c + 1);
    }
    delete(ports)
}

/// One frame for two ports: whole for the one whose driver takes it, in segments with all
/// checksums for the other.
fn offloads(context: &mut Context) -> Outcome {
    type F = Features;
    let all = Features(u64::MAX);
    let none = all.without(
        F::NET_GUEST_CSUM
            | F::NET_GUEST_TSO4
            | F::NET_GUEST_TSO6
            | F::NET_GUEST_ECN
            | F::NET_GUEST_USO4
            | F::NET_GUEST_USO6,
    );
    let mut ports = [
        Port::new(context, "port1", 1, all)?,
        Port::new(context, "port2", 2, all)?,
        Port::new(context, "port3", 3, none)?,
    ];
    let [one, two, three] = &mut ports;
    for (v6, udp) in [(false, false), (true, false), (false, true), (true, true)] {
        let packet = Packet::new(EVERYONE, one.mac(), v6, udp, 10_000);
        let what = format!("{}, UDP: {udp}", if v6 { "IPv6" } else { "IPv4" });
        let header = packet.segmentation_header(1400);
        one.net.send_frame(0, header, &packet.partial())?;
        let got = two.net.wait_receive_from(0).when(&what)?;
        let wanted = NetHeader {
            num_buffers: got.header.num_buffers,
            ..header
        };
        check_eq!(got.header, wanted, "header of the whole packet, {what}");
        check!(
            got.frame == packet.partial(),
            "the packet was changed, {what}"
        );
        for (number, segment) in packet.segments(1400).iter().enumerate() {
            let got = three
                .net
                .wait_receive_from(0)
                .when(format_args!("segment {number}, {what}"))?;
            check_eq!(got.header.flags & NetHeader::NEEDS_CSUM, 0, "flags, {what}");
            check!(
                got.frame == segment.complete(),
                "segment {number} is wrong, {what}"
            );
        }
        two.net.fill_rx()?;
        three.net.fill_rx()?;
        let small = Packet {
            ends: Ends::some(v6),
            ..Packet::new(EVERYONE, one.mac(), v6, udp, 101)
        };
        let header = small.checksum_header();
        one.net.send_frame(0, header, &small.partial())?;
        let got = two.net.wait_receive_from(0).when(&what)?;
        check_eq!(
            got.header.csum_start,
            header.csum_start,
            "csum_start, {what}"
        );
        check!(
            got.frame == small.partial(),
            "the frame was changed, {what}"
        );
        let got = three.net.wait_receive_from(0).when(&what)?;
        check!(
            got.frame == small.complete(),
            "the checksum is wrong, {what}"
        );
        two.net.fill_rx()?;
        three.net.fill_rx()?;
    }
    delete(ports)
}
