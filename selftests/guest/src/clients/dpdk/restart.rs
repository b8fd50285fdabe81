// SPDX-License-Identifier: GPL-2.0

//! testpmd ends, in one way or the other, and comes back to the same device.

use super::{count::Pair, make, start, test};
use crate::{
    clients::ClientTest,
    harness::Context,
    outcome::{Outcome, While},
    parent::Parent,
    testpmd::{Options, Testpmd, Vdev},
};

pub const TESTS: &[ClientTest] = &[
    test("dpdk.quit_and_return", |context| {
        returns(context, "quit", Testpmd::quit)
    }),
    test("dpdk.killed_and_return", |context| {
        returns(context, "kill -9", Testpmd::kill)
    }),
];

const FRAMES: u64 = 2000;

/// Rings of the other kind; the kernel's own simulator has one kind.
fn other(parent: Parent, path: &str) -> Vdev<'_> {
    Vdev {
        packed: parent == Parent::Rvdpa,
        ..Vdev::new(path)
    }
}

/// Starts testpmd three times with the same device, and ends it while it forwards.
fn returns(context: &mut Context, how: &str, end: fn(Testpmd) -> Outcome) -> Outcome {
    let parent = context.parent;
    let (device, path) = make(context, parent.device("dpdk0"), &other(parent, ""))?;
    let kinds = [Vdev::new(&path), other(parent, &path), Vdev::new(&path)];
    for (round, vdev) in kinds.into_iter().enumerate() {
        let mut testpmd = start(context, &device, &Options::new(vdev))?;
        context.step(format_args!("frames go around, round {round}"));
        Pair::new(context.parent, &device, &mut testpmd, 1)?
            .go_around(FRAMES)
            .when(format_args!("round {round}"))?;
        testpmd.forward_first("io", 1)?;
        end(testpmd)?;
    }
    let rings = match parent {
        Parent::Rvdpa => "split and packed rings in turn",
        Parent::Peer => "split rings",
    };
    context.exercised(format_args!(
        "{how} while frames go around, and start again, {rings}"
    ));
    device.delete()
}
