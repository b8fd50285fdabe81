// SPDX-License-Identifier: GPL-2.0

//! Chains that do not end, or go nowhere.

use super::{
    avail::CVQ,
    case::{Case, Chain, Expect::*, Link},
    scene::{Scene, SIZE},
};
use crate::vhost::{RX, TX};
use rvdpa_virtio::layout::flags;

const LOOP: &str = "chain has a loop or more than 64 descriptors";

pub const CASES: &[Case] = &[
    Case::send(
        3,
        "transmit: goes on at the first descriptor that there is not",
        Fault(TX, "descriptor 0: goes on at 64 of 64"),
        |_, c| c.links[0].next = SIZE,
    )
    .split(),
    Case::send(
        3,
        "transmit: goes on at the greatest number",
        Fault(TX, "goes on at 65535 of 64"),
        |_, c| c.links[0].next = 0xffff,
    )
    .split(),
    Case::send(3, "transmit: goes on at itself", Fault(TX, LOOP), |_, c| {
        c.links[0].next = 0
    })
    .split(),
    Case::send(3, "transmit: a loop of two", Fault(TX, LOOP), |_, c| {
        c.links[1].flags = flags::NEXT;
        c.links[1].next = 0;
    })
    .split(),
    Case::send(
        3,
        "transmit: a loop behind the head",
        Fault(TX, LOOP),
        |_, c| {
            c.links[1].flags = flags::NEXT;
            c.links[1].next = 1;
        },
    )
    .split(),
    Case::send(
        3,
        "transmit: a loop of empty buffers",
        Fault(TX, LOOP),
        |_, c| {
            c.links[0].len = 0;
            c.links[0].next = 0;
        },
    )
    .split(),
    Case::send(
        3,
        "transmit: a loop of all descriptors",
        Fault(TX, LOOP),
        |s, c| ring(s, c, 1, true),
    )
    .split(),
    Case::send(
        3,
        "transmit: a chain of all descriptors",
        Delivered,
        |s, c| ring(s, c, 2, false),
    ),
    Case::send(
        3,
        "transmit: ends at a descriptor that nobody has written",
        Dropped(TX, "tx drops runt"),
        |_, c| c.links[0].next = 40,
    )
    .split(),
    Case::send(3, "transmit: goes on for ever", Fault(TX, LOOP), |s, c| {
        ring(s, c, 1, true)
    })
    .packed(),
    Case::send(
        3,
        "transmit: the second descriptor is not available",
        Fault(TX, "descriptor 1: not available, but its chain is"),
        |_, c| c.links.truncate(1),
    )
    .packed(),
    Case::receive(
        3,
        "receive: goes on at a descriptor that there is not",
        Fault(RX, "descriptor 0: goes on at 64 of 64"),
        |_, c| c.links[0].next = SIZE,
    )
    .split(),
    Case::receive(3, "receive: goes on at itself", Fault(RX, LOOP), |_, c| {
        // As small as can be, so that the frame needs them all.
        c.links[0].len = 1;
        c.links[0].next = 0;
    })
    .split(),
    Case::receive(
        3,
        "receive: a loop of empty buffers",
        Fault(RX, LOOP),
        |_, c| {
            c.links[0].len = 0;
            c.links[0].next = 0;
        },
    )
    .split(),
    Case::run(
        3,
        "commands: goes on at itself",
        Fault(CVQ, "chain has a loop or more than"),
        |s| {
            let control = s.net.control()?;
            let descriptor = rvdpa_virtio::layout::Descriptor {
                address: control.buffers,
                len: 1,
                flags: flags::NEXT,
                next: 0,
            };
            control.driver.split().write_descriptor(0, descriptor);
            control.driver.split_mut().add_head(0);
            control.driver.publish();
            control.kick()
        },
    )
    .split(),
];

/// A frame in as many descriptors as the ring has, of `len` bytes each but for the last.
fn ring(s: &Scene<'_>, c: &mut Chain, len: u32, endless: bool) {
    let mut links = Vec::new();
    let mut at = 0;
    for index in 1..=SIZE {
        let last = index == SIZE;
        let now = if last {
            112_u32.saturating_sub(at)
        } else {
            len.min(112 - at)
        };
        links.push(Link {
            address: s.net.tx.buffers + u64::from(at),
            len: now,
            flags: if last && !endless { 0 } else { flags::NEXT },
            next: if last { 0 } else { index },
            id: 0,
        });
        at += now;
    }
    c.links = links;
}
