// SPDX-License-Identifier: GPL-2.0

//! Chains of the control queue that the device cannot answer: they stop the queue.

use super::attacks::{try_all, Attack};
use crate::{
    harness::{Context, Test},
    outcome::Outcome,
    tests::rings::each_ring,
    vhost::{
        control::{ANSWER, DATA},
        Format, Net,
    },
};
use rvdpa_virtio::{mock::Buffer, net::control::mac};

pub const TESTS: &[Test] = each_ring! {
    "hostile_control_chains", chains;
    "hostile_control_buffers", buffers;
};

/// Where nothing is mapped, from the start of the queue's buffers on.
const NOWHERE: u64 = 0x1_2340_0000;

/// A command to set the device's address, in a chain of these buffers.
fn submit(net: &mut Net, buffers: &[Buffer]) {
    net.write_command(mac::CLASS, mac::ADDR_SET, &[2, 0, 0, 0, 0, 9])
        .and_then(|()| net.submit(buffers))
        .expect("a control queue with room");
}

fn chains(context: &mut Context, format: Format) -> Outcome {
    try_all(
        context,
        format,
        &[
            Attack::new(
                "reading after writing",
                2,
                "read-only after a write-only one",
                |net| {
                    submit(
                        net,
                        &[
                            Buffer::readable(0, 2),
                            Buffer::writable(ANSWER, 1),
                            Buffer::readable(DATA, 6),
                        ],
                    );
                },
            ),
            Attack::new("no room for an answer", 2, "", |net| {
                submit(net, &[Buffer::readable(0, 2), Buffer::readable(DATA, 6)]);
            }),
            Attack::new("the answer's byte is for reading", 2, "", |net| {
                submit(
                    net,
                    &[
                        Buffer::readable(0, 2),
                        Buffer::readable(DATA, 6),
                        Buffer::readable(ANSWER, 1),
                    ],
                );
            }),
            Attack::new("room of no bytes for an answer", 2, "", |net| {
                submit(
                    net,
                    &[
                        Buffer::readable(0, 2),
                        Buffer::readable(DATA, 6),
                        Buffer::writable(ANSWER, 0),
                    ],
                );
            }),
            Attack::new("a chain of one empty buffer", 2, "", |net| {
                submit(net, &[Buffer::readable(0, 0)]);
            }),
        ],
    )
}

fn buffers(context: &mut Context, format: Format) -> Outcome {
    try_all(
        context,
        format,
        &[
            Attack::new("an answer that is not mapped", 2, "not mapped", |net| {
                submit(
                    net,
                    &[
                        Buffer::readable(0, 2),
                        Buffer::readable(DATA, 6),
                        Buffer::writable(NOWHERE, 1),
                    ],
                );
            }),
            Attack::new("a command that is not mapped", 2, "not mapped", |net| {
                submit(
                    net,
                    &[Buffer::readable(NOWHERE, 2), Buffer::writable(ANSWER, 1)],
                );
            }),
            Attack::new("data that are not mapped", 2, "not mapped", |net| {
                submit(
                    net,
                    &[
                        Buffer::readable(0, 2),
                        Buffer::readable(NOWHERE, 6),
                        Buffer::writable(ANSWER, 1),
                    ],
                );
            }),
        ],
    )
}
