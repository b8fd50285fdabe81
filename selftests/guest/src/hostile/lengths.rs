// SPDX-License-Identifier: GPL-2.0

//! Directions of buffers; buffers that are short, or empty.

use super::{
    case::{Case, Chain, Expect::*, Link},
    scene::Scene,
};
use crate::vhost::{RX, TX};
use rvdpa_virtio::{features::Features, layout::flags};

const WRITE_ONLY: &str = "write-only in a queue that the device reads";
const READ_ONLY: &str = "read-only in a queue that the device writes";

pub const DIRECTIONS: &[Case] = &[
    Case::send(
        6,
        "transmit: a frame for writing",
        Fault(
            TX,
            "descriptor 0: write-only in a queue that the device reads",
        ),
        |_, c| writable(c),
    ),
    Case::send(
        6,
        "transmit: a header for writing",
        Faults(
            TX,
            "descriptor 0: write-only in a queue that the device reads",
            "descriptor 1: read-only after a write-only one",
        ),
        |_, c| c.links[0].flags |= flags::WRITE,
    ),
    Case::send(
        6,
        "transmit: the end of a frame for writing",
        Fault(
            TX,
            "descriptor 1: write-only in a queue that the device reads",
        ),
        |_, c| c.links[1].flags |= flags::WRITE,
    ),
    Case::send_table(
        6,
        "transmit: an entry of a table for writing",
        Fault(TX, WRITE_ONLY),
        |_, c| c.table[1].flags |= flags::WRITE,
    )
    .needs(Features::INDIRECT_DESC),
    Case::receive(
        6,
        "receive: a buffer for reading",
        Fault(
            RX,
            "descriptor 0: read-only in a queue that the device writes",
        ),
        |_, c| readable(c),
    ),
    Case::receive(
        6,
        "receive: the start of a buffer for reading",
        Fault(
            RX,
            "descriptor 0: read-only in a queue that the device writes",
        ),
        |_, c| c.links[0].flags &= !flags::WRITE,
    ),
    Case::receive(
        6,
        "receive: the end of a buffer for reading",
        Faults(
            RX,
            "descriptor 1: read-only in a queue that the device writes",
            "descriptor 1: read-only after a write-only one",
        ),
        |_, c| c.links[1].flags &= !flags::WRITE,
    ),
    Case::receive_table(
        6,
        "receive: an entry of a table for reading",
        Fault(RX, READ_ONLY),
        |_, c| c.table[0].flags &= !flags::WRITE,
    )
    .needs(Features::INDIRECT_DESC),
];

pub const CASES: &[Case] = &[
    runt("transmit: an empty buffer", |s, c| pieces(s, c, &[0])),
    runt("transmit: three empty buffers", |s, c| {
        pieces(s, c, &[0, 0, 0]);
    }),
    runt("transmit: one byte", |s, c| pieces(s, c, &[1])),
    runt("transmit: all but one byte of a header", |s, c| {
        pieces(s, c, &[11]);
    }),
    runt("transmit: a header and nothing else", |s, c| {
        pieces(s, c, &[12]);
    }),
    runt(
        "transmit: all but one byte of an Ethernet header",
        |s, c| {
            pieces(s, c, &[12, 13]);
        },
    ),
    runt(
        "transmit: an empty buffer where nothing is mapped",
        |s, c| {
            pieces(s, c, &[0, 11]);
            c.links[0].address = 0x9999_0000;
        },
    ),
    Case::send(
        7,
        "transmit: empty buffers in a frame",
        Delivered,
        |s, c| {
            pieces(s, c, &[0, 12, 0, 0, 100, 0]);
        },
    ),
    Case::send(7, "transmit: header and frame in one", Delivered, |s, c| {
        pieces(s, c, &[112]);
    }),
    Case::send(
        7,
        "transmit: a header in twelve buffers",
        Delivered,
        |s, c| pieces(s, c, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 100]),
    ),
    Case::send(
        7,
        "transmit: a header with the start of the frame",
        Delivered,
        |s, c| pieces(s, c, &[13, 99]),
    ),
    Case::receive(
        7,
        "receive: a header in twelve buffers",
        Harmless,
        |s, c| {
            into(s, c, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 100]);
        },
    ),
    Case::receive(7, "receive: empty buffers in between", Harmless, |s, c| {
        into(s, c, &[0, 12, 0, 0, 100, 0]);
    }),
    Case::receive(7, "receive: a buffer of no bytes", Harmless, |s, c| {
        into(s, c, &[0]);
    }),
    Case::receive(7, "receive: a buffer of one byte", Harmless, |s, c| {
        into(s, c, &[1]);
    }),
    Case::receive(
        7,
        "receive: all but one byte of a header",
        Harmless,
        |s, c| into(s, c, &[11]),
    ),
    Case::receive(7, "receive: a header and nothing else", Harmless, |s, c| {
        into(s, c, &[12]);
    }),
];

const fn runt(name: &'static str, change: fn(&Scene<'_>, &mut Chain)) -> Case {
    Case::send(7, name, Dropped(TX, "tx drops runt"), change)
}

/// A chain of pieces of these lengths, side by side.
fn chain(start: u64, lens: &[u32], bits: u16) -> Vec<Link> {
    let mut at = start;
    let mut links = Vec::new();
    for (index, &len) in lens.iter().enumerate() {
        let last = index + 1 == lens.len();
        links.push(Link {
            address: at,
            len,
            flags: if last { bits } else { bits | flags::NEXT },
            next: index as u16 + 1,
            id: 0,
        });
        at += u64::from(len);
    }
    links
}

/// The frame in pieces.
fn pieces(s: &Scene<'_>, c: &mut Chain, lens: &[u32]) {
    c.links = chain(s.net.tx.buffers, lens, 0);
}

/// A receive buffer in pieces.
fn into(s: &Scene<'_>, c: &mut Chain, lens: &[u32]) {
    c.links = chain(s.net.rx.buffers, lens, flags::WRITE);
}

/// Sets the flag of each link that makes it writable.
fn writable(chain: &mut Chain) {
    for link in &mut chain.links {
        link.flags |= flags::WRITE;
    }
}

/// Clears it.
fn readable(chain: &mut Chain) {
    for link in &mut chain.links {
        link.flags &= !flags::WRITE;
    }
}
