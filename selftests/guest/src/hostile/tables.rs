// SPDX-License-Identifier: GPL-2.0

//! Indirect tables.

use super::{
    case::{Case, Chain, Expect::*, Link},
    scene::{Scene, PLAIN},
};
use crate::{
    arena::View,
    ioctl::Permission,
    vhost::{RX, TX},
};
use rvdpa_virtio::{
    features::Features,
    layout::{flags, Descriptor},
    mock::DriverMemory,
};

const NEEDED: Features = Features::INDIRECT_DESC;
const NOT_NEGOTIATED: &str = "descriptor 0: indirect, but VIRTIO_F_INDIRECT_DESC is not negotiated";
const NESTED: &str = "indirect within an indirect table";
const UNMAPPED: &str = "indirect table of descriptor 0: read of";

/// Where nothing is mapped.
pub const NOWHERE: u64 = 0x12_3456_0000;

pub const CASES: &[Case] = &[
    Case::send_table(
        4,
        "transmit: a table without the feature",
        Fault(TX, NOT_NEGOTIATED),
        |_, _| {},
    )
    .without(NEEDED),
    Case::receive_table(
        4,
        "receive: a table without the feature",
        Fault(RX, NOT_NEGOTIATED),
        |_, _| {},
    )
    .without(NEEDED),
    Case::send_table(
        4,
        "transmit: a table in a table",
        Fault(TX, NESTED),
        |s, c| {
            c.table[0] = Link {
                address: s.net.tx.tables,
                len: 16,
                flags: flags::INDIRECT,
                ..Link::default()
            };
        },
    )
    .needs(NEEDED),
    Case::send_table(
        4,
        "transmit: a table in a table, behind a buffer",
        Fault(TX, NESTED),
        |s, c| {
            c.table[1] = Link {
                address: s.net.tx.tables,
                len: 16,
                flags: flags::INDIRECT,
                ..Link::default()
            };
        },
    )
    .needs(NEEDED),
    Case::receive_table(
        4,
        "receive: a table in a table",
        Fault(RX, NESTED),
        |s, c| {
            c.table[0] = Link {
                address: s.net.rx.tables,
                len: 16,
                flags: flags::INDIRECT | flags::WRITE,
                ..Link::default()
            };
        },
    )
    .needs(NEEDED),
    Case::send_table(
        4,
        "transmit: a table that goes on at the next descriptor",
        Fault(TX, "both indirect and chained"),
        |s, c| {
            c.links[0].flags |= flags::NEXT;
            c.links[0].next = 1;
            c.links.push(Link {
                address: s.net.tx.buffers,
                len: 8,
                ..Link::default()
            });
        },
    )
    .needs(NEEDED),
    Case::send_table(
        4,
        "transmit: a table that goes on at itself",
        Fault(TX, "both indirect and chained"),
        |_, c| {
            c.links[0].flags |= flags::NEXT;
            c.links[0].next = 0;
        },
    )
    .split()
    .needs(NEEDED),
    Case::send_table(
        4,
        "transmit: tables that go on at each other",
        Fault(TX, "both indirect and chained"),
        |_, c| {
            c.links[0].flags |= flags::NEXT;
            c.links[0].next = 1;
            let second = Link {
                next: 0,
                ..c.links[0]
            };
            c.links.push(second);
            c.table.truncate(1);
            c.table[0].flags = 0;
            c.links[0].len = 16;
            c.links[1].len = 16;
        },
    )
    .split()
    .needs(NEEDED),
    Case::send_table(
        4,
        "transmit: a table for writing, which is ignored",
        Delivered,
        |_, c| c.links[0].flags |= flags::WRITE,
    )
    .split()
    .needs(NEEDED),
    Case::send_table(4, "transmit: a table behind a buffer", Delivered, |_, c| {
        behind(c)
    })
    .split()
    .needs(NEEDED),
    Case::send_table(
        4,
        "transmit: a table behind a buffer of a packed ring",
        Fault(TX, "both indirect and chained"),
        |_, c| behind(c),
    )
    .packed()
    .needs(NEEDED),
    Case::send_table(
        4,
        "transmit: an entry goes on behind the table",
        Fault(TX, "descriptor 0, entry 1 of its table: goes on at 2 of 2"),
        |_, c| {
            c.table[1].flags |= flags::NEXT;
            c.table[1].next = 2;
        },
    )
    .split()
    .needs(NEEDED),
    Case::send_table(
        4,
        "transmit: an entry goes on at itself",
        Fault(TX, "chain has a loop or more than 64"),
        |_, c| c.table[0].next = 0,
    )
    .split()
    .needs(NEEDED),
    Case::send_table(
        4,
        "transmit: a table that is its own buffer",
        Dropped(TX, "tx drops malformed"),
        |s, c| {
            // Its first bytes are an address, and no header of a frame that can be.
            c.table[0].address = s.net.tx.tables;
            c.table[0].len = 12;
        },
    )
    .needs(NEEDED),
];

/// The first entry before the table instead of in it.
fn behind(c: &mut Chain) {
    let first = c.table.remove(0);
    let mut reference = c.links[0];
    reference.len = 16;
    let first = Link {
        flags: flags::NEXT,
        next: 1,
        ..first
    };
    c.links = vec![first, reference];
}

pub const LENGTHS: &[Case] = &[
    length("a table of no bytes", "0 bytes are not 1 to", |_, c| {
        c.links[0].len = 0;
    }),
    length("a table of one byte", "1 bytes are not 1 to", |_, c| {
        c.links[0].len = 1;
    }),
    length("a table of 15 bytes", "15 bytes are not 1 to", |_, c| {
        c.links[0].len = 15;
    }),
    length("a table of 17 bytes", "17 bytes are not 1 to", |_, c| {
        c.links[0].len = 17;
    }),
    length(
        "a table of 65536 entries",
        "1048576 bytes are not 1 to 65535",
        |_, c| c.links[0].len = 65536 * 16,
    ),
    length(
        "a table as long as can be",
        "4294967280 bytes are not",
        |_, c| c.links[0].len = u32::MAX - 15,
    ),
    length(
        "a table of the greatest length",
        "4294967295 bytes are not",
        |_, c| c.links[0].len = u32::MAX,
    ),
    length("a table that is not mapped", UNMAPPED, |_, c| {
        c.links[0].address = NOWHERE;
    }),
    length(
        "a table at the end of all addresses",
        "descriptor 0",
        |_, c| {
            c.links[0].address = u64::MAX - 7;
        },
    ),
    length(
        "a table around the end of all addresses",
        "descriptor 0",
        |_, c| {
            c.links[0].address = u64::MAX - 23;
        },
    ),
    length("a table at zero", UNMAPPED, |_, c| c.links[0].address = 0),
    length("a table behind the mapping", UNMAPPED, |s, c| {
        c.links[0].address = s.end();
    }),
    length("a table half behind the mapping", UNMAPPED, |s, c| {
        let at = s.end() - 16;
        let first = c.table[0];
        let bytes = Descriptor {
            address: first.address,
            len: first.len,
            flags: first.flags,
            next: 1,
        }
        .to_bytes();
        // The place of the flags differs, which are zero in a table of a packed ring.
        s.net.memory.write(at, &bytes);
        if s.net.format() == crate::vhost::Format::Packed {
            s.net.memory.write(at + 12, &[0; 4]);
        }
        c.links[0].address = at;
    }),
    length(
        "a table of more entries than a chain may have",
        "more than 64 descriptors",
        |s, c| {
            let packed = s.net.format() == crate::vhost::Format::Packed;
            let entry = |at: u16| Link {
                address: s.net.tx.buffers + u64::from(at),
                len: 1,
                flags: if at < 64 && !packed { flags::NEXT } else { 0 },
                next: at + 1,
                id: 0,
            };
            c.table = (0..65).map(entry).collect();
            c.links[0].len = 65 * 16;
        },
    ),
    Case::send_table(
        5,
        "transmit: a table whose first entry ends the chain, and 65535 entries",
        Harmless,
        |_, c| c.links[0].len = 65535 * 16,
    )
    .needs(NEEDED),
    Case::send_table(5, "transmit: a table in two mappings", Delivered, |s, c| {
        // Its second entry lies in both.
        let view = View::new(s.net.plan.kind, 0x66_0000_0000, 0x2000);
        let Ok(view) = view else { return };
        let middle = view.iova() + 0x1000;
        for start in [view.iova(), middle] {
            let _ = s.net.client.map(0, &view, start, 0x1000, Permission::Read);
        }
        let mut bytes = vec![0; 32];
        for (at, link) in c.table.iter().enumerate() {
            let entry = Descriptor {
                address: link.address,
                len: link.len,
                flags: link.flags,
                next: link.next,
            };
            let mut entry = entry.to_bytes();
            if s.net.format() == crate::vhost::Format::Packed {
                entry[12..].fill(0);
            }
            bytes[16 * at..16 * at + 16].copy_from_slice(&entry);
        }
        view.write(middle - 24, &bytes);
        c.links[0].address = middle - 24;
        // It stays as long as the process.
        std::mem::forget(view);
    })
    .needs(NEEDED),
    Case::receive_table(
        5,
        "receive: a table of 17 bytes",
        Fault(RX, "17 bytes are not 1 to"),
        |_, c| c.links[0].len = 17,
    )
    .needs(NEEDED),
    Case::receive_table(
        5,
        "receive: a table that is not mapped",
        Fault(RX, UNMAPPED),
        |_, c| c.links[0].address = NOWHERE,
    )
    .needs(NEEDED),
    Case::receive_table(
        5,
        "receive: a table that lies in its own buffer",
        Harmless,
        |s, c| {
            let at = s.net.rx.tables;
            c.table[0].address = at;
            c.table[1].address = at + 12;
            s.net.memory.write(at, &PLAIN.to_bytes());
        },
    )
    .needs(NEEDED),
];

/// A length or place of a table of the transmit queue that stops it.
const fn length(
    name: &'static str,
    text: &'static str,
    change: fn(&Scene<'_>, &mut Chain),
) -> Case {
    Case::send_table(5, name, Fault(TX, text), change).needs(NEEDED)
}
