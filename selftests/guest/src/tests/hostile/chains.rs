// SPDX-License-Identifier: GPL-2.0

//! Split rings: the available ring, and chains.

use super::attacks::{chained, frame_descriptor, offer, try_all, Attack, SIZE};
use crate::{
    frame,
    harness::{Context, Test},
    outcome::Outcome,
    tests::rings::both,
    vhost::{Format, RX, TX},
};
use rvdpa_virtio::layout::{flags, Descriptor};

pub const TESTS: &[Test] = both! {
    "hostile_available_ring", available;
    "hostile_chains", chains;
};

fn available(context: &mut Context) -> Outcome {
    let index = "available index";
    let names = "available ring names descriptor";
    try_all(
        context,
        Format::Split,
        &[
            Attack::new(
                "index too far ahead",
                TX,
                "available index 257 is not within 256",
                |net| {
                    net.tx.driver.split().write_available_index(SIZE + 1);
                },
            ),
            Attack::new("index far ahead", TX, index, |net| {
                net.tx.driver.split().write_available_index(0x8000);
            }),
            Attack::new("index backwards", TX, "available index 65535", |net| {
                net.tx.driver.split().write_available_index(0xffff);
            }),
            Attack::new("receive index backwards", RX, index, |net| {
                let index = net.rx.driver.split().added().wrapping_sub(SIZE + 1);
                net.rx.driver.split().write_available_index(index);
                let descriptor = frame_descriptor(net);
                offer(net, descriptor);
            }),
            Attack::new(
                "head just too large",
                TX,
                "names descriptor 256 of 256",
                |net| {
                    net.tx.driver.split_mut().add_head(SIZE);
                    net.tx.driver.publish();
                },
            ),
            Attack::new("head far too large", TX, names, |net| {
                net.tx.driver.split_mut().add_head(0xffff);
                net.tx.driver.publish();
            }),
            Attack::new("receive head too large", RX, names, |net| {
                net.rx.driver.split().write_available_entry(0, SIZE);
                let descriptor = frame_descriptor(net);
                offer(net, descriptor);
            }),
        ],
    )
}

fn chains(context: &mut Context) -> Outcome {
    let looped = "chain has a loop or more than 256 descriptors";
    try_all(
        context,
        Format::Split,
        &[
            Attack::new(
                "next just too large",
                TX,
                "descriptor 0: goes on at 256 of 256",
                |net| {
                    let descriptor = chained(SIZE)(frame_descriptor(net));
                    offer(net, descriptor);
                },
            ),
            Attack::new("next far too large", TX, "goes on at 65535 of 256", |net| {
                let descriptor = chained(0xffff)(frame_descriptor(net));
                offer(net, descriptor);
            }),
            Attack::new("a loop of one", TX, looped, |net| {
                let descriptor = chained(0)(frame_descriptor(net));
                offer(net, descriptor);
            }),
            Attack::new("a loop of two", TX, looped, |net| {
                let descriptor = frame_descriptor(net);
                net.tx
                    .driver
                    .split()
                    .write_descriptor(1, chained(0)(descriptor));
                offer(net, chained(1)(descriptor));
            }),
            Attack::new("a loop through all", TX, looped, |net| {
                let descriptor = frame_descriptor(net);
                for index in 1..SIZE {
                    let next = (index + 1) % SIZE;
                    net.tx
                        .driver
                        .split()
                        .write_descriptor(index, chained(next)(descriptor));
                }
                offer(net, chained(1)(descriptor));
            }),
            Attack::new("a loop of empty buffers", TX, looped, |net| {
                let mut descriptor = chained(0)(frame_descriptor(net));
                descriptor.len = 0;
                offer(net, descriptor);
            }),
            Attack::new("a loop in the receive queue", RX, looped, |net| {
                let descriptor = Descriptor {
                    address: net.rx.buffers,
                    len: 1,
                    flags: flags::WRITE | flags::NEXT,
                    next: 3,
                };
                for index in 0..SIZE {
                    net.rx.driver.split().write_descriptor(index, descriptor);
                }
                let sent = frame::make(1500, net.mac, net.mac, 1);
                net.add_frame(&sent);
                net.tx.driver.publish();
            }),
            Attack::new(
                "more than 4 GiB",
                TX,
                "chain has more than 4294967295 bytes",
                |net| {
                    let first = frame_descriptor(net);
                    let second = Descriptor {
                        len: u32::MAX,
                        flags: 0,
                        ..first
                    };
                    net.tx.driver.split().write_descriptor(1, second);
                    let first = Descriptor {
                        flags: flags::NEXT,
                        next: 1,
                        ..first
                    };
                    offer(net, first);
                },
            ),
        ],
    )
}
