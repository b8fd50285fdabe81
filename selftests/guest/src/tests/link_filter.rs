// SPDX-License-Identifier: GPL-2.0

//! Which frames the filters that the kernel's driver sets let pass: exactly those.

use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    pcap::Capture,
    sys::{modprobe, wait_for, SOON},
    wire::{self, Spec, Wire},
};
use rvdpa_virtio::features::Features;

pub const TESTS: &[Test] = &[
    Test::new("link_filter.vlans", vlans).seconds(60),
    Test::new("link_filter.vlans_without_the_feature", vlans_unfiltered),
    Test::new("link_filter.vlans_survive_a_rebind", vlans_rebound).seconds(40),
    Test::new("link_filter.strangers_and_promiscuous_mode", strangers),
    Test::new("link_filter.further_addresses", further),
    Test::new("link_filter.groups_by_membership", groups),
    Test::new("link_filter.many_groups", many_groups).seconds(40),
    Test::new("link_filter.own_frames_do_not_come_back", no_echo),
];

/// Sends a frame to each address, from a to b. Returns which of them came. One to port b
/// itself ends the run, and must come.
fn passes(wire: &Wire, to: &[[u8; 6]]) -> Outcome<Vec<[u8; 6]>> {
    let (a, mut b) = (wire.a.socket(2048)?, wire.b.socket(2048)?);
    let (dropped, delivered) = (wire.b.total(0, FILTERED)?, wire.b.total(0, "rx packets")?);
    for (number, address) in to.iter().enumerate() {
        a.send(&frame::make(60, *address, wire.a.mac, number as u64))?;
    }
    let end = frame::make(61, wire.b.mac, wire.a.mac, u64::MAX);
    a.send(&end)?;
    let mut come = Vec::new();
    'all: loop {
        let frames = b.receive()?;
        check!(!frames.is_empty(), "the frame to port b did not come");
        for got in frames {
            if got == end {
                break 'all;
            }
            let number = frame::number(got).when("the frame's number")?;
            let address = to.get(number as usize).when("the frame's address")?;
            check_eq!(got[..6], address[..], "destination of frame {number}");
            come.push(*address);
        }
    }
    // What did not come was filtered, and nothing else was.
    check_eq!(
        wire.b.total(0, "rx packets")? - delivered,
        come.len() as u64 + 1,
        "frames delivered"
    );
    check_eq!(
        wire.b.total(0, FILTERED)? - dropped,
        (to.len() - come.len()) as u64,
        "frames filtered"
    );
    Ok(come)
}

/// The counter of what a filter drops.
const FILTERED: &str = "rx drops filtered";

/// A frame from a to b with a tag, or without one.
fn tagged(wire: &Wire, tag: Option<u16>) -> Vec<u8> {
    let mut made = frame::make(64, wire.b.mac, wire.a.mac, tag.unwrap_or(0xffff).into());
    if let Some(tag) = tag {
        let [high, low] = tag.to_be_bytes();
        made.splice(12..12, [0x81, 0, high, low]);
    }
    made
}

/// Sends frames of every VLAN. Returns those that come, with any other one.
fn vlans_that_pass(wire: &Wire) -> Outcome<Vec<Option<u16>>> {
    let capture = Capture::start(&wire.b, false)?;
    let a = wire.a.socket(2048)?;
    let dropped = wire.b.total(0, FILTERED)?;
    let tags: Vec<_> = std::iter::once(None).chain((0..4095).map(Some)).collect();
    for tag in &tags {
        a.send(&tagged(wire, *tag))?;
    }
    let end = frame::make(63, wire.b.mac, wire.a.mac, 0);
    a.send(&end)?;
    let mut frames = capture.until(&end)?;
    frames.retain(|frame| *frame != end);
    let come: Vec<_> = tags
        .iter()
        .filter(|tag| frames.contains(&tagged(wire, **tag)))
        .copied()
        .collect();
    check_eq!(
        frames.len(),
        come.len(),
        "frames, and frames that were sent"
    );
    check_eq!(
        wire.b.total(0, FILTERED)? - dropped,
        (tags.len() - come.len()) as u64,
        "frames filtered"
    );
    Ok(come)
}

fn vlans(context: &mut Context) -> Outcome {
    // With it, the driver lets VLAN 0 pass, which is priority alone.
    modprobe(&["8021q"])?;
    let wire = Wire::new(Spec::default())?;
    context.step("without VLANs");
    check_eq!(vlans_that_pass(&wire)?, [None, Some(0)], "VLANs that pass");

    context.step("with three VLANs");
    for id in [5, 64, 4094] {
        wire.b
            .ip(&format!("link add link DEV name v{id} type vlan id {id}"))?;
    }
    check_eq!(
        vlans_that_pass(&wire)?,
        [None, Some(0), Some(5), Some(64), Some(4094)],
        "VLANs that pass"
    );

    context.step("with one less");
    wire.b.ip("link del v64")?;
    check_eq!(
        vlans_that_pass(&wire)?,
        [None, Some(0), Some(5), Some(4094)],
        "VLANs that pass"
    );

    // Priority bits are not the VLAN's.
    context.step("with priority");
    let capture = Capture::start(&wire.b, false)?;
    let a = wire.a.socket(2048)?;
    for tag in [0xe005, 0xe006, 0x1ffe, 0xb005] {
        a.send(&tagged(&wire, Some(tag)))?;
    }
    // VLANs 5, 4094 and 5.
    let wanted = [0xe005, 0x1ffe, 0xb005].map(|tag| tagged(&wire, Some(tag)));
    check_eq!(capture.until(&wanted[2])?, wanted, "frames with priority");
    for id in [5, 4094] {
        wire.b.ip(&format!("link del v{id}"))?;
    }
    wire.delete()
}

fn vlans_unfiltered(_: &mut Context) -> Outcome {
    modprobe(&["8021q"])?;
    let wire = Wire::new(Spec {
        features: Some(wire::plain()),
        ..Spec::default()
    })?;
    let capture = Capture::start(&wire.b, false)?;
    let a = wire.a.socket(2048)?;
    let sent = [None, Some(0), Some(1), Some(5), Some(4094)].map(|tag| tagged(&wire, tag));
    for frame in &sent {
        a.send(frame)?;
    }
    // In any order: what the kernel receives at once, it hands on in groups.
    let got = capture.count(sent.len())?;
    check_eq!(got.len(), sent.len(), "frames of any VLAN");
    check!(sent.iter().all(|frame| got.contains(frame)), "other frames");
    wire.delete()
}

/// A reset forgets the VLANs; a driver that knows some tells them again.
fn vlans_rebound(_: &mut Context) -> Outcome {
    modprobe(&["8021q"])?;
    let mut wire = Wire::new(Spec::default())?;
    wire.b.ip("link add link DEV name v5 type vlan id 5")?;
    let passes = |wire: &Wire| -> Outcome<bool> {
        let capture = Capture::start(&wire.b, false)?;
        let a = wire.a.socket(2048)?;
        let end = tagged(wire, None);
        a.send(&tagged(wire, Some(5)))?;
        a.send(&end)?;
        Ok(capture.until(&end)?.len() == 2)
    };
    check!(passes(&wire)?, "VLAN 5 does not pass");
    wire.b.device.unbind()?;
    wire.b.device.bind(crate::device::Driver::Virtio)?;
    wire.b = wire.b.again()?;
    check!(!passes(&wire)?, "VLAN 5 passes after a reset");
    wire.b.ip("link add link DEV name v5 type vlan id 5")?;
    check!(
        passes(&wire)?,
        "VLAN 5 does not pass after it was added again"
    );
    wire.b.ip("link del v5")?;
    wire.delete()
}

fn strangers(_: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    let own = wire.b.mac;
    let mut to = vec![own, [0xff; 6]];
    for byte in 0..6 {
        for bit in [2, 0x80] {
            let mut near = own;
            near[byte] ^= bit;
            to.push(near);
        }
    }
    check_eq!(passes(&wire, &to)?, to[..2], "addresses that pass");
    for round in 0..2 {
        wire.b
            .changes_filter(|| wire.b.ip("link set DEV promisc on"))?;
        check_eq!(
            passes(&wire, &to)?,
            to,
            "addresses that pass, promiscuous {round}"
        );
        wire.b
            .changes_filter(|| wire.b.ip("link set DEV promisc off"))?;
        check_eq!(passes(&wire, &to)?, to[..2], "addresses that pass after it");
    }
    wire.delete()
}

fn further(_: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    let to: Vec<_> = (1..=8).map(|last| [2, 0x77, 0, 0, 0, last]).collect();
    check_eq!(passes(&wire, &to)?, [[0; 6]; 0], "addresses that pass");
    let bridge = |verb: &str, address: [u8; 6]| {
        let line = format!("fdb {verb} {} dev DEV self", frame::display(address));
        wire.b.changes_filter(|| wire.b.batch("bridge", &line))
    };
    bridge("add", to[2])?;
    bridge("add", to[5])?;
    check_eq!(passes(&wire, &to)?, [to[2], to[5]], "addresses that pass");
    bridge("del", to[2])?;
    check_eq!(passes(&wire, &to)?, [to[5]], "addresses that pass");
    wire.delete()
}

fn groups(_: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    let to = [
        [1, 0, 0x5e, 0x7f, 0, 1],
        [1, 0, 0x5e, 0x7f, 0, 2],
        [0x33, 0x33, 0, 0, 0x12, 0x34],
        [0x33, 0x33, 0, 0, 0x12, 0x35],
        [3, 2, 1, 0, 0, 0],
    ];
    let none = [[0; 6]; 0];
    check_eq!(
        passes(&wire, &to)?,
        none,
        "groups that pass without membership"
    );
    let member = |verb: &str, address: [u8; 6]| {
        let line = format!("maddress {verb} {} dev DEV", frame::display(address));
        wire.b.changes_filter(|| wire.b.ip(&line))
    };
    member("add", to[0])?;
    member("add", to[3])?;
    check_eq!(passes(&wire, &to)?, [to[0], to[3]], "groups that pass");
    member("del", to[0])?;
    check_eq!(passes(&wire, &to)?, [to[3]], "groups that pass");
    wire.b
        .changes_filter(|| wire.b.ip("link set DEV allmulticast on"))?;
    check_eq!(
        passes(&wire, &to)?,
        to,
        "groups that pass with allmulticast"
    );
    // Groups only.
    check_eq!(
        passes(&wire, &[[2, 1, 2, 3, 4, 5]])?,
        none,
        "strangers that pass"
    );
    wire.b
        .changes_filter(|| wire.b.ip("link set DEV allmulticast off"))?;
    check_eq!(passes(&wire, &to)?, [to[3]], "groups that pass");
    wire.delete()
}

/// More groups than a device may be able to remember: it may let more pass, but never less.
fn many_groups(context: &mut Context) -> Outcome {
    for count in [16_u16, 300] {
        let wire = Wire::new(Spec::default())?;
        let to: Vec<_> = (0..count)
            .map(|number| {
                let [high, low] = number.to_be_bytes();
                [1, 0, 0x5e, 0x10, high, low]
            })
            .collect();
        let lines: Vec<_> = to
            .iter()
            .map(|address| format!("fdb add {} dev DEV self", frame::display(*address)))
            .collect();
        wire.b
            .changes_filter(|| wire.b.batch("bridge", &lines.join("\n")))?;
        // The driver tells several changes at once, or one after the other.
        let mut missing = 0;
        wait_for("all groups pass", SOON, || {
            missing = to.len() - passes(&wire, &to)?.len();
            Ok((missing == 0).then_some(()))
        })
        .when(format_args!("{missing} of {count} groups do not pass"))?;
        context.note(format_args!("{count} groups pass"));
        wire.delete()?;
    }
    Ok(())
}

/// A switch does not send a frame back to the port that it came from, whatever this takes.
fn no_echo(_: &mut Context) -> Outcome {
    let spec = Spec {
        features: Some(wire::plain() | Features::NET_CTRL_RX.0),
        ..Spec::default()
    };
    let wire = Wire::new(spec)?;
    for port in [&wire.a, &wire.b] {
        port.changes_filter(|| port.ip("link set DEV promisc on"))?;
    }
    let to = [
        [0xff; 6],
        [1, 0, 0x5e, 0, 0, 1],
        [2, 1, 2, 3, 4, 5],
        wire.a.mac,
        wire.b.mac,
    ];
    let (mut a, mut b) = (wire.a.socket(2048)?, wire.b.socket(2048)?);
    for (number, address) in to.iter().enumerate() {
        a.send(&frame::make(60, *address, wire.a.mac, number as u64))?;
    }
    // The switch knows where a is: what a sends to itself goes nowhere.
    let come = b.receive_count(4)?;
    let numbers: Vec<_> = come
        .iter()
        .filter_map(|frame| frame::number(frame))
        .collect();
    check_eq!(numbers, [0, 1, 2, 4], "frames that came to the other port");
    check!(b.is_silent()?, "more frames at the other port");
    let of_a = wire.a.total(0, "rx packets")?;
    check_eq!(of_a, 0, "frames that came back to their port");
    check!(a.is_silent()?, "a frame came back to its port");
    wire.delete()
}
