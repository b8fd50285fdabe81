// SPDX-License-Identifier: GPL-2.0

//! Split rings: buffers of the wrong direction, and where there are none.

use super::attacks::{frame_descriptor, offer, try_all, Attack, SIZE};
use crate::{
    frame,
    harness::{Context, Test},
    outcome::Outcome,
    tests::rings::both,
    vhost::{Format, Net, RX, TX},
};
use rvdpa_virtio::{
    layout::{flags, Descriptor},
    mock::DriverMemory,
};

pub const TESTS: &[Test] = both! {
    "hostile_directions", directions;
    "hostile_addresses", addresses;
};

fn directions(context: &mut Context) -> Outcome {
    try_all(
        context,
        Format::Split,
        &[
            Attack::new(
                "a frame that is for writing",
                TX,
                "descriptor 0: write-only in a queue that the device reads",
                |net| {
                    let mut descriptor = frame_descriptor(net);
                    descriptor.flags = flags::WRITE;
                    offer(net, descriptor);
                },
            ),
            Attack::new(
                "a frame that is for writing at its end",
                TX,
                "descriptor 1: write-only in a queue that the device reads",
                |net| {
                    let descriptor = frame_descriptor(net);
                    let second = Descriptor {
                        flags: flags::WRITE,
                        ..descriptor
                    };
                    net.tx.driver.split().write_descriptor(1, second);
                    let first = Descriptor {
                        flags: flags::NEXT,
                        next: 1,
                        ..descriptor
                    };
                    offer(net, first);
                },
            ),
            Attack::new(
                "a receive buffer that is for reading",
                RX,
                "read-only in a queue that the device writes",
                |net| {
                    for index in 0..SIZE {
                        let descriptor = Descriptor {
                            address: net.rx.buffers,
                            len: 2048,
                            flags: 0,
                            next: 0,
                        };
                        net.rx.driver.split().write_descriptor(index, descriptor);
                    }
                    let descriptor = frame_descriptor(net);
                    offer(net, descriptor);
                },
            ),
        ],
    )
}

fn addresses(context: &mut Context) -> Outcome {
    fn at(net: &mut Net, address: u64, len: u32) {
        let mut descriptor = frame_descriptor(net);
        descriptor.address = address;
        descriptor.len = len;
        offer(net, descriptor);
    }
    try_all(
        context,
        Format::Split,
        &[
            Attack::new("at zero", TX, "at 0x0: not mapped", |net| at(net, 0, 100)),
            Attack::new("around the end", TX, "go beyond the address space", |net| {
                at(net, u64::MAX - 50, 100);
            }),
            Attack::new(
                "as far as can be",
                TX,
                "go beyond the address space",
                |net| {
                    at(net, u64::MAX, u32::MAX);
                },
            ),
            Attack::new("at the end", TX, "not mapped", |net| {
                at(net, u64::MAX - 99, 100)
            }),
            Attack::new("just before the mapping", TX, "not mapped", |net| {
                let start = net.memory.iova();
                at(net, start - 1, 100);
            }),
            Attack::new("over the mapping's end", TX, "not mapped", |net| {
                // To the device itself: of frames to others it reads the start only.
                let end = net.memory.iova() + net.memory.len() as u64;
                let start = frame::make(38, net.mac, net.mac, 1);
                net.memory.write(end - 50, &[0; 12]);
                net.memory.write(end - 38, &start);
                at(net, end - 50, 100);
            }),
            Attack::new("receive buffer over the end", RX, "not mapped", |net| {
                let end = net.memory.iova() + net.memory.len() as u64;
                for index in 0..SIZE {
                    let descriptor = Descriptor {
                        address: end - 50,
                        len: 2048,
                        flags: flags::WRITE,
                        next: 0,
                    };
                    net.rx.driver.split().write_descriptor(index, descriptor);
                }
                let descriptor = frame_descriptor(net);
                offer(net, descriptor);
            }),
        ],
    )
}
