// SPDX-License-Identifier: GPL-2.0

//! Buffers that go beyond what is mapped, or beyond all numbers.

use super::{
    case::{Case, Chain, Expect::*},
    scene::{Scene, SIZE},
    tables::NOWHERE,
};
use crate::{
    arena::{Kind, View},
    check, check_eq,
    ioctl::Permission,
    outcome::{Outcome, While},
    parent::Parent,
    vhost::{RX, TX},
};
use rvdpa_virtio::{
    features::Features,
    layout::{Descriptor, QueueLayout},
    mock::DriverMemory,
};
use std::{fs::File, os::unix::fs::FileExt};

const BEYOND: &str = "go beyond the address space";

pub const CASES: &[Case] = &[
    Case::send(
        8,
        "transmit: more than 4 GiB in all",
        Fault(TX, "chain has more than 4294967295 bytes"),
        |_, c| c.links[1].len = u32::MAX,
    ),
    Case::send_table(
        8,
        "transmit: more than 4 GiB in a table",
        Fault(TX, "chain has more than 4294967295 bytes"),
        |_, c| c.table[1].len = u32::MAX,
    )
    .needs(Features::INDIRECT_DESC),
    transmit("transmit: at zero", "at 0x0: not mapped", |_, c| at(c, 0)),
    transmit("transmit: where nothing is mapped", "not mapped", |_, c| {
        at(c, NOWHERE);
    }),
    transmit(
        "transmit: around the end of all addresses",
        BEYOND,
        |_, c| {
            at(c, u64::MAX - 50);
        },
    ),
    transmit(
        "transmit: at the last address, as long as can be",
        BEYOND,
        |_, c| {
            at(c, u64::MAX);
            c.links[1].len = u32::MAX - 12;
        },
    ),
    transmit("transmit: up to the last address", "not mapped", |_, c| {
        at(c, u64::MAX - 99);
    }),
    transmit(
        "transmit: one byte before the mapping",
        "not mapped",
        |s, c| {
            at(c, s.mapped().0 - 1);
        },
    ),
    transmit(
        "transmit: from the end of the mapping on",
        "not mapped",
        |s, c| {
            at(c, s.end());
        },
    ),
    transmit(
        "transmit: over the end of the mapping",
        "not mapped",
        |s, c| {
            let start = s.end() - 50;
            s.net.memory.write(start, &s.frame(1)[..50]);
            at(c, start);
        },
    ),
    transmit("transmit: 2 GiB of it", "not mapped", |_, c| {
        c.links[1].len = 0x8000_0000;
    }),
    transmit(
        "transmit: where the kernel has its memory",
        "not mapped",
        |_, c| {
            at(c, 0xffff_8880_0000_1000);
        },
    ),
    transmit(
        "transmit: an address of the process",
        "not mapped",
        |s, c| {
            let own = s.net.memory.pointer(s.net.tx.buffers, 1) as u64;
            at(c, own);
        },
    ),
    transmit(
        "transmit: over a hole between mappings",
        "not mapped",
        |s, c| {
            at(c, hole(s, Permission::Read));
        },
    ),
    transmit(
        "transmit: what is the control queue's",
        "not mapped",
        |s, c| {
            at(c, s.net.control_memory.iova());
        },
    ),
    receive("receive: at zero", "at 0x0: not mapped", |_, c| at(c, 0)),
    receive("receive: where nothing is mapped", "not mapped", |_, c| {
        at(c, NOWHERE);
    }),
    receive(
        "receive: around the end of all addresses",
        BEYOND,
        |_, c| {
            at(c, u64::MAX - 50);
        },
    ),
    receive(
        "receive: one byte before the mapping",
        "not mapped",
        |s, c| {
            at(c, s.mapped().0 - 1);
        },
    ),
    receive(
        "receive: over the end of the mapping",
        "not mapped",
        |s, c| {
            at(c, s.end() - 50);
        },
    ),
    receive(
        "receive: where the kernel has its memory",
        "not mapped",
        |_, c| {
            at(c, 0xffff_8880_0000_1000);
        },
    ),
    receive(
        "receive: over a hole between mappings",
        "not mapped",
        |s, c| {
            at(c, hole(s, Permission::Write));
        },
    ),
    receive(
        "receive: a header that is not mapped",
        "not mapped",
        |_, c| {
            c.links[0].address = NOWHERE;
        },
    ),
    Case::receive(8, "receive: more than 4 GiB in all", Harmless, |_, c| {
        c.links[1].len = u32::MAX;
    }),
    Case::before(
        8,
        "nothing is mapped at all",
        Fault(TX, "descriptor area: read"),
        |s| {
            s.start()?;
            let frame = s.sent(false);
            s.offer(&frame);
            s.kick()
        },
    )
    .unmapped(),
    Case::before(
        8,
        "rings at addresses of the machine's memory",
        Harmless,
        machine,
    )
    .unmapped(),
];

/// Where the frame of a chain, or the room for one, is.
fn at(c: &mut Chain, address: u64) {
    c.links[1].address = address;
}

const fn transmit(
    name: &'static str,
    text: &'static str,
    change: fn(&Scene<'_>, &mut Chain),
) -> Case {
    Case::send(8, name, Fault(TX, text), change)
}

const fn receive(
    name: &'static str,
    text: &'static str,
    change: fn(&Scene<'_>, &mut Chain),
) -> Case {
    Case::receive(8, name, Fault(RX, text), change)
}

/// Two pages with one between them that is not mapped. Returns an address 50 bytes before
/// that one.
fn hole(s: &Scene<'_>, permission: Permission) -> u64 {
    let Ok(view) = View::new(s.net.plan.kind, 0x66_0000_0000, 0x3000) else {
        return 0;
    };
    let first = view.iova();
    for start in [first, first + 0x2000] {
        let _ = s.net.client.map(0, &view, start, 0x1000, permission);
    }
    view.write(first + 0x1000 - 50, &s.frame(1)[..50]);
    // It stays as long as the process.
    std::mem::forget(view);
    first + 0x1000 - 50
}

/// A device that has no mappings reaches nothing, least of all what the machine has there. A
/// transmit queue whose descriptors and rings are physical memory that is full of zeroes is
/// not seen to be a ring, so it is one that this process has: by its physical addresses.
fn machine(s: &mut Scene<'_>) -> Outcome {
    let view = View::new(Kind::Anonymous, 0, 0x4000)?;
    view.write(0, &[0; 0x4000]);
    let place = |page: u64| physical(view.pointer(page * 0x1000, 1));
    let layout = QueueLayout {
        size: SIZE,
        descriptor: place(0)?,
        driver: place(1)?,
        device: place(2)?,
    };
    // One available chain, whose buffer is there, too.
    view.write(
        0,
        &Descriptor {
            address: place(3)?,
            len: 64,
            flags: 0,
            next: 0,
        }
        .to_bytes(),
    );
    view.store_u16(0x1002, 1);
    s.net.client.set_addresses(TX, &layout)?;
    s.start()?;
    s.kick()?;
    let told = s.net.client.wait_for_needs_reset();
    check_eq!(
        view.load_u16(0x2002),
        0,
        "used index in memory of the machine that is not mapped"
    );
    match s.room.parent {
        Parent::Rvdpa => told,
        Parent::Peer => Ok(()),
    }
}

/// Where a byte of this process is in the machine's memory.
fn physical(pointer: *const u8) -> Outcome<u64> {
    let page = pointer as u64 / 4096;
    let mut entry = [0; 8];
    let map = File::open("/proc/self/pagemap").when("pagemap")?;
    map.read_exact_at(&mut entry, page * 8).when("pagemap")?;
    let frame = u64::from_le_bytes(entry) & ((1 << 55) - 1);
    check!(frame != 0, "the page's place is not told");
    Ok(frame * 4096 + pointer as u64 % 4096)
}
