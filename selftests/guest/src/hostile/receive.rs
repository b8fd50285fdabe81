// SPDX-License-Identifier: GPL-2.0

//! Receive buffers that do not suffice: a frame comes whole or not at all.

use super::{
    case::{Case, Expect::*},
    look::count,
    scene::{Scene, PLAIN},
};
use crate::{
    check, check_eq, frame,
    outcome::{Outcome, While},
    sys::{wait_for, SOON},
    vhost::RX,
};
use rvdpa_virtio::{
    features::Features,
    mock::{Buffer, DriverMemory, Form},
};

const SEVERAL: Features = Features::NET_MRG_RXBUF;

pub const CASES: &[Case] = &[
    case("one buffer of several that a frame needs", |s| {
        too_few(s, &[300], "rx drops no buffer")
    })
    .needs(SEVERAL),
    case("all buffers but one that a frame needs", |s| {
        too_few(s, &[300, 300, 300], "rx drops no buffer")
    })
    .needs(SEVERAL),
    case("buffers of one byte, too few of them", |s| {
        too_few(s, &[1; 20], "rx drops no buffer")
    })
    .needs(SEVERAL),
    case("buffers that are as long as a header", |s| {
        too_few(s, &[12; 20], "rx drops no buffer")
    })
    .needs(SEVERAL),
    case("an empty buffer among those that a frame needs", |s| {
        too_few(s, &[300, 0, 300], "rx drops no buffer")
    })
    .needs(SEVERAL),
    case("no buffer at all", |s| {
        too_few(s, &[], "rx drops no buffer")
    }),
    case("a buffer that is a byte too short", |s| {
        too_few(s, &[1011], "rx drops too large")
    })
    .without(SEVERAL),
    case("a buffer that is as long as a header", |s| {
        too_few(s, &[12], "rx drops too large")
    })
    .without(SEVERAL),
    case("a buffer that is shorter than a header", |s| {
        too_few(s, &[5], "rx drops too large")
    })
    .without(SEVERAL),
    case("an empty buffer and no other", |s| {
        too_few(s, &[0], "rx drops too large")
    })
    .without(SEVERAL),
    Case::before(
        20,
        "a second buffer that breaks a rule, behind a good one",
        Fault(RX, "read-only in a queue that the device writes"),
        |s| {
            post(s, &[Buffer::writable(s.net.rx.buffers, 300)])?;
            post(s, &[Buffer::readable(s.net.rx.buffers + 2048, 2048)])?;
            s.net.go()?;
            large(s)
        },
    )
    .needs(SEVERAL),
    Case::before(
        20,
        "a second buffer that is not mapped, behind a good one",
        Fault(RX, "not mapped"),
        |s| {
            post(s, &[Buffer::writable(s.net.rx.buffers, 300)])?;
            post(s, &[Buffer::writable(super::tables::NOWHERE, 2048)])?;
            s.net.go()?;
            large(s)
        },
    )
    .needs(SEVERAL),
];

const fn case(name: &'static str, act: fn(&mut Scene<'_>) -> Outcome) -> Case {
    Case::before(20, name, Harmless, act)
}

/// Gives the device a receive buffer.
fn post(s: &mut Scene<'_>, buffers: &[Buffer]) -> Outcome {
    let added = s.net.rx.driver.add(buffers, Form::Direct);
    check!(added.is_ok(), "no room in the receive queue");
    s.net.rx.driver.publish();
    Ok(())
}

/// Sends a frame of 1000 bytes.
fn large(s: &mut Scene<'_>) -> Outcome {
    let sent = frame::make(1000, s.net.mac, s.net.mac, 5);
    s.net.add_frame_to(0, PLAIN, &sent);
    s.net.tx.driver.publish();
    s.kick()
}

/// With receive buffers of these lengths a frame of 1000 bytes is dropped, and they stay;
/// when there is room, the next one comes.
fn too_few(s: &mut Scene<'_>, lens: &[u32], counter: &str) -> Outcome {
    for (at, len) in lens.iter().enumerate() {
        let start = s.net.rx.buffers + 2048 * at as u64;
        post(s, &[Buffer::writable(start, *len)])?;
    }
    s.net.go()?;
    let (room, parent) = (s.room, s.room.parent);
    let before = count(&room.device, parent, 0, counter)?;
    large(s)?;
    wait_for("the frame is used", SOON, || {
        Ok((s.net.tx.used() == 1).then_some(()))
    })?;
    check_eq!(s.net.rx.used(), 0, "receive buffers used");
    let after = count(&room.device, parent, 0, counter)?;
    check_eq!(after, before.map(|count| count + 1), "{counter}");
    s.net.reap()?;
    // Enough of it.
    if lens.len() < 10 && s.net.has(SEVERAL) {
        for at in 40..44 {
            let start = s.net.rx.buffers + 2048 * at;
            post(s, &[Buffer::writable(start, 2048)])?;
        }
        large(s)?;
        wait_for("a frame", SOON, || Ok((s.net.rx.used() > 0).then_some(())))
            .when("with more buffers")?;
        let first = s.net.rx.take_used().when("a buffer")?;
        check!(first.len > 0, "nothing was written");
        let mut header = [0; 12];
        let start = match lens.len() {
            0 => s.net.rx.buffers + 2048 * 40,
            _ => s.net.rx.buffers,
        };
        s.net.memory.read(start, &mut header);
        if lens.first().is_none_or(|len| *len >= 12) {
            check!(header[10] >= 1, "a frame of no buffers");
        }
    }
    Ok(())
}
