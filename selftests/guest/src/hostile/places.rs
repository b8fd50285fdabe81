// SPDX-License-Identifier: GPL-2.0

//! Rings at odd places: on each other, on buffers, not aligned. A driver that does so harms
//! itself only.

use super::{
    case::{Case, Expect::*},
    scene::{Scene, SIZE},
};
use crate::{
    check,
    outcome::Outcome,
    vhost::{Format, RX, TX},
};
use rvdpa_virtio::{layout::QueueLayout, mock::DriverMemory};
use std::{thread::sleep, time::Duration};

pub const CASES: &[Case] = &[
    shaped("the used ring on the available ring", |s| {
        shape(s, [0, 0x1000, 0x1000])
    }),
    shaped("all parts of a ring in one place", |s| shape(s, [0, 0, 0])),
    shaped("the used ring on the descriptors", |s| {
        shape(s, [0, 0x1000, 0])
    }),
    shaped("the available ring on the descriptors", |s| {
        shape(s, [0, 0, 0x2000])
    }),
    shaped("the receive queue on the transmit queue", |s| {
        let layout = s.net.tx.layout;
        s.net.client.set_addresses(RX, &layout)?;
        tried(s)
    }),
    shaped("the used ring in a receive buffer", |s| {
        let layout = QueueLayout {
            device: s.net.rx.buffers,
            ..s.net.tx.layout
        };
        s.net.client.set_addresses(TX, &layout)?;
        tried(s)
    }),
    shaped("the descriptors in a receive buffer", |s| {
        let layout = QueueLayout {
            descriptor: s.net.rx.buffers,
            ..s.net.tx.layout
        };
        s.net.client.set_addresses(TX, &layout)?;
        tried(s)
    }),
    shaped("the available ring in a receive buffer", |s| {
        let layout = QueueLayout {
            driver: s.net.rx.buffers,
            ..s.net.tx.layout
        };
        s.net.client.set_addresses(TX, &layout)?;
        tried(s)
    }),
    Case::receive(
        10,
        "a receive buffer on its own descriptors",
        Harmless,
        |s, c| c.links[1].address = s.net.rx.layout.descriptor,
    ),
    Case::receive(
        10,
        "a receive buffer on its own used ring",
        Harmless,
        |s, c| c.links[1].address = s.net.rx.layout.device,
    ),
    Case::receive(
        10,
        "a receive buffer on the sender's descriptors",
        Harmless,
        |s, c| c.links[1].address = s.net.tx.layout.descriptor,
    ),
    Case::receive(
        10,
        "a receive buffer on the sender's available ring",
        Harmless,
        |s, c| c.links[1].address = s.net.tx.layout.driver,
    ),
    Case::receive(
        10,
        "a receive buffer on the frame that is sent",
        Harmless,
        |s, c| c.links[1].address = s.net.tx.buffers + 20,
    ),
    refused("descriptors that are not aligned", |s| {
        misplaced(s, [8, 0, 0])
    }),
    refused("an available ring that is not aligned", |s| {
        misplaced(s, [0, 1, 0])
    }),
    refused("a used ring that is not aligned", |s| {
        misplaced(s, [0, 0, 2])
    }),
    refused("a ring around the end of all addresses", |s| {
        let layout = s.net.tx.layout;
        let around = QueueLayout {
            descriptor: u64::MAX - 15,
            ..layout
        };
        // That it is refused is not asked for: it must reach nothing.
        if s.net.client.set_addresses(TX, &around).is_ok() {
            s.net.client.set_addresses(TX, &layout)?;
        }
        s.start()
    }),
];

const fn shaped(name: &'static str, act: fn(&mut Scene<'_>) -> Outcome) -> Case {
    Case::before(10, name, Harmless, act)
}

const fn refused(name: &'static str, act: fn(&mut Scene<'_>) -> Outcome) -> Case {
    Case::before(10, name, GoesOn, act)
}

/// The parts of the transmit queue so far from its start.
fn shape(s: &mut Scene<'_>, [descriptor, driver, device]: [u64; 3]) -> Outcome {
    let start = s.net.tx.layout.descriptor;
    let layout = QueueLayout {
        size: SIZE,
        descriptor: start + descriptor,
        driver: start + driver,
        device: start + device,
    };
    s.net.client.set_addresses(TX, &layout)?;
    if s.room.format == Format::Split {
        s.net.memory.store_u16(layout.driver + 2, 1);
    }
    tried(s)
}

/// Starts the device and has it look, some times.
fn tried(s: &mut Scene<'_>) -> Outcome {
    let frame = s.sent(false);
    s.net.fill_rx()?;
    s.offer(&frame);
    s.start()?;
    for _ in 0..50 {
        s.kick()?;
    }
    sleep(Duration::from_millis(10));
    Ok(())
}

/// The device does not take the parts of the transmit queue so many bytes from where they
/// are.
fn misplaced(s: &mut Scene<'_>, offsets: [u64; 3]) -> Outcome {
    let good = s.net.tx.layout;
    let bad = QueueLayout {
        descriptor: good.descriptor + offsets[0],
        driver: good.driver + offsets[1],
        device: good.device + offsets[2],
        ..good
    };
    let set = s.net.client.set_addresses(TX, &bad);
    let text = set.as_ref().map_or_else(|stop| stop.text(), |()| "");
    check!(text.contains("Invalid argument"), "it was taken: '{text}'");
    s.net.client.set_addresses(TX, &good)?;
    s.start()
}
