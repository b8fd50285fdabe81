// SPDX-License-Identifier: GPL-2.0

//! Split rings: indirect tables.

use super::attacks::{chained, frame_descriptor, offer, table, try_all, Attack};
use crate::{
    harness::{Context, Test},
    outcome::Outcome,
    tests::rings::both,
    vhost::{Format, Net, TX},
};
use rvdpa_virtio::{
    features::Features,
    layout::{flags, Descriptor},
    mock::DriverMemory,
};

pub const TESTS: &[Test] = both! {
    "hostile_indirect_tables", indirect;
    "hostile_indirect_lengths", indirect_lengths;
};

fn indirect(context: &mut Context) -> Outcome {
    let mut not_negotiated = Attack::new(
        "a table without the feature",
        TX,
        "descriptor 0: indirect, but VIRTIO_F_INDIRECT_DESC is not negotiated",
        |net| {
            let entry = frame_descriptor(net);
            let descriptor = table(net, &[entry]);
            offer(net, descriptor);
        },
    );
    not_negotiated.features = Features(u64::MAX).without(Features::INDIRECT_DESC);
    try_all(
        context,
        Format::Split,
        &[
            not_negotiated,
            Attack::new(
                "a table in a table",
                TX,
                "descriptor 0, entry 0 of its table: indirect within an indirect table",
                |net| {
                    let inner = table(net, &[frame_descriptor(net)]);
                    let descriptor = table(net, &[inner]);
                    offer(net, descriptor);
                },
            ),
            Attack::new(
                "a table that goes on",
                TX,
                "both indirect and chained",
                |net| {
                    let mut descriptor = table(net, &[frame_descriptor(net)]);
                    descriptor.flags |= flags::NEXT;
                    descriptor.next = 1;
                    offer(net, descriptor);
                },
            ),
            Attack::new("next beyond the table", TX, "goes on at 2 of 2", |net| {
                let first = chained(1)(frame_descriptor(net));
                let second = chained(2)(first);
                let descriptor = table(net, &[first, second]);
                offer(net, descriptor);
            }),
            Attack::new("a loop in a table", TX, "chain has a loop", |net| {
                let entry = chained(0)(frame_descriptor(net));
                let descriptor = table(net, &[entry]);
                offer(net, descriptor);
            }),
            Attack::new(
                "a table that is not mapped",
                TX,
                "indirect table of descriptor 0: read of",
                |net| {
                    let mut descriptor = table(net, &[frame_descriptor(net)]);
                    descriptor.address = 0x1234_5678_0000;
                    offer(net, descriptor);
                },
            ),
            Attack::new("a table at the end of all", TX, "descriptor 0", |net| {
                let mut descriptor = table(net, &[frame_descriptor(net)]);
                descriptor.address = u64::MAX - 7;
                offer(net, descriptor);
            }),
            Attack::new(
                "the table's end is not mapped",
                TX,
                "indirect table of descriptor 0: read of",
                |net| {
                    let end = net.memory.iova() + net.memory.len() as u64;
                    let entry = chained(1)(frame_descriptor(net));
                    net.memory.write(end - 16, &entry.to_bytes());
                    let descriptor = Descriptor {
                        address: end - 16,
                        len: 32,
                        flags: flags::INDIRECT,
                        next: 0,
                    };
                    offer(net, descriptor);
                },
            ),
        ],
    )
}

fn indirect_lengths(context: &mut Context) -> Outcome {
    fn with_len(net: &mut Net, len: u32) {
        let mut descriptor = table(net, &[frame_descriptor(net)]);
        descriptor.len = len;
        offer(net, descriptor);
    }
    try_all(
        context,
        Format::Split,
        &[
            Attack::new("0", TX, "descriptor 0: 0 bytes are not 1 to", |net| {
                with_len(net, 0)
            }),
            Attack::new("1", TX, "1 bytes are not 1 to", |net| with_len(net, 1)),
            Attack::new("15", TX, "15 bytes are not 1 to", |net| with_len(net, 15)),
            Attack::new("17", TX, "17 bytes are not 1 to", |net| with_len(net, 17)),
            Attack::new(
                "65536 entries",
                TX,
                "1048576 bytes are not 1 to 65535",
                |net| {
                    with_len(net, 65536 * 16);
                },
            ),
            Attack::new("as long as can be", TX, "4294967280 bytes are not", |net| {
                with_len(net, u32::MAX - 15);
            }),
        ],
    )
}
