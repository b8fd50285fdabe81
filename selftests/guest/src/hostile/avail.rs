// SPDX-License-Identifier: GPL-2.0

//! Split rings: the available ring.

use super::{
    case::{Case, Expect::*},
    scene::{Scene, SIZE},
};
use crate::{
    check_eq,
    outcome::Outcome,
    sys::{wait_for, SOON},
    vhost::{Queue, RX, TX},
};
use rvdpa_virtio::mock::DriverMemory;

/// The control queue of a driver without several queue pairs, and its size.
pub const CVQ: usize = 2;
const CVQ_SIZE: u16 = 64;

pub const CASES: &[Case] = &[
    Case::run(
        1,
        "transmit: one further than the ring is long",
        Fault(TX, "available index 65 is not within 64"),
        |s| index(s, TX, SIZE + 1),
    )
    .split(),
    Case::run(
        1,
        "transmit: half of all numbers ahead",
        Fault(TX, "available index 32768"),
        |s| index(s, TX, 0x8000),
    )
    .split(),
    Case::run(
        1,
        "transmit: one back",
        Fault(TX, "available index 65535"),
        |s| index(s, TX, 0xffff),
    )
    .split(),
    Case::run(
        1,
        "transmit: back behind frames that were sent",
        Fault(TX, "available index 1 is not within 64 of the next one, 3"),
        |s| {
            s.frames_pass(3)?;
            index(s, TX, 1)
        },
    )
    .split(),
    Case::run(
        1,
        "transmit: too far over the end of numbers",
        Fault(
            TX,
            "available index 49 is not within 64 of the next one, 65520",
        ),
        |s| index(s, TX, 49),
    )
    .base(0xfff0)
    .split(),
    Case::run(
        1,
        "receive: one further than the ring is long",
        Fault(RX, "available index 65 is not within 64"),
        |s| received(s, SIZE + 1),
    )
    .split(),
    Case::run(
        1,
        "receive: one back",
        Fault(RX, "available index 65535"),
        |s| received(s, 0xffff),
    )
    .split(),
    Case::run(
        1,
        "commands: further than the ring is long",
        Fault(CVQ, "available index 65 is not within 64"),
        |s| {
            let control = s.net.control()?;
            control.driver.split().write_available_index(CVQ_SIZE + 1);
            control.kick()
        },
    )
    .split(),
    Case::run(
        2,
        "transmit: the first head that there is not",
        Fault(TX, "names descriptor 64 of 64"),
        |s| head(s, SIZE),
    )
    .split(),
    Case::run(
        2,
        "transmit: the greatest head",
        Fault(TX, "names descriptor 65535 of 64"),
        |s| head(s, 0xffff),
    )
    .split(),
    Case::run(
        2,
        "transmit: a head that there is not behind a good one",
        Fault(TX, "names descriptor 999 of 64"),
        |s| {
            // To nobody: none is to be delivered.
            let chain = s.sent(false);
            s.net
                .memory
                .write(s.net.tx.buffers + 12, &[2, 9, 9, 9, 9, 9]);
            s.offer(&chain);
            head(s, 999)
        },
    )
    .split(),
    Case::run(
        2,
        "receive: the first head that there is not",
        Fault(RX, "names descriptor 64 of 64"),
        |s| first_received(s, SIZE),
    )
    .split(),
    Case::run(
        2,
        "receive: the greatest head",
        Fault(RX, "names descriptor 65535 of 64"),
        |s| first_received(s, 0xffff),
    )
    .split(),
    Case::run(
        2,
        "commands: a head that there is not",
        Fault(CVQ, "names descriptor 64 of 64"),
        |s| {
            let control = s.net.control()?;
            control.driver.split_mut().add_head(CVQ_SIZE);
            control.driver.publish();
            control.kick()
        },
    )
    .split(),
    Case::run(2, "transmit: the same head twice", Harmless, |s| same(s, 2)).split(),
    Case::run(2, "transmit: all heads the same", Harmless, |s| {
        same(s, SIZE)
    })
    .split(),
    Case::run(2, "receive: all heads the same", Harmless, |s| {
        for slot in 0..SIZE {
            s.net.rx.driver.split().write_available_entry(slot, 0);
        }
        for number in 0..8 {
            s.send_plain(number)?;
        }
        used(&s.net.rx, 8)?;
        for slot in 0..8 {
            let head = s.net.rx.driver.split().read_used_element(slot).head;
            check_eq!(head, 0, "head of used element {slot}");
        }
        Ok(())
    })
    .split(),
];

/// Says that the index is this, with a good frame in the ring.
fn index(s: &mut Scene<'_>, queue: usize, index: u16) -> Outcome {
    let queue = if queue == TX { &s.net.tx } else { &s.net.rx };
    queue.driver.split().write_available_index(index);
    s.kick()
}

fn received(s: &mut Scene<'_>, value: u16) -> Outcome {
    index(s, RX, value)?;
    s.send_plain(1)
}

fn head(s: &mut Scene<'_>, head: u16) -> Outcome {
    let driver = s.net.tx.driver.split_mut();
    driver.add_head(head);
    driver.publish();
    s.kick()
}

fn first_received(s: &mut Scene<'_>, head: u16) -> Outcome {
    s.net.rx.driver.split().write_available_entry(0, head);
    s.send_plain(1)
}

/// Waits until so many chains were used, whatever they were.
fn used(queue: &Queue, count: u16) -> Outcome {
    wait_for("all are used", SOON, || {
        Ok((queue.driver.split().read_used_index() == count).then_some(()))
    })
}

/// Makes the same frame available several times. The specification forbids it, but it harms
/// nobody: it is sent each time.
fn same(s: &mut Scene<'_>, count: u16) -> Outcome {
    let chain = s.sent(false);
    s.offer(&chain);
    for _ in 1..count {
        s.net.tx.driver.split_mut().add_head(0);
    }
    s.net.tx.driver.publish();
    s.kick()?;
    used(&s.net.tx, count)
}
