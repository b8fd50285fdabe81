// SPDX-License-Identifier: GPL-2.0

//! Frames that go around, through rings of each kind that DPDK knows.

use super::{count::Pair, make, start, test};
use crate::{
    clients::ClientTest,
    harness::Context,
    outcome::{Outcome, While},
    testpmd::{Options, Vdev},
};

pub const TESTS: &[ClientTest] = &[
    test("dpdk.split", |context| looped(context, |vdev| vdev)),
    test("dpdk.packed", |context| looped(context, packed)),
    test("dpdk.in_order", |context| looped(context, in_order)),
    test("dpdk.packed_in_order", |context| {
        looped(context, |vdev| packed(in_order(vdev)))
    }),
    test("dpdk.not_mergeable", |context| {
        looped(context, not_mergeable)
    }),
    test("dpdk.packed_not_mergeable", |context| {
        looped(context, |vdev| packed(not_mergeable(vdev)))
    })
    .slow(),
    test("dpdk.vectorized", |context| {
        looped(context, |vdev| Vdev {
            vectorized: true,
            ..not_mergeable(vdev)
        })
    }),
    test("dpdk.large_rings", |context| {
        looped(context, |vdev| Vdev { size: 1024, ..vdev })
    })
    .slow(),
    test("dpdk.virtual_addresses", |context| {
        looped(context, |vdev| vdev)
    })
    .with("use_va=1"),
    test("dpdk.packed_virtual_addresses", |context| {
        looped(context, packed)
    })
    .with("use_va=1")
    .slow(),
];

fn packed(vdev: Vdev) -> Vdev {
    Vdev {
        packed: true,
        ..vdev
    }
}

fn in_order(vdev: Vdev) -> Vdev {
    Vdev {
        in_order: true,
        ..vdev
    }
}

fn not_mergeable(vdev: Vdev) -> Vdev {
    Vdev {
        mergeable: false,
        ..vdev
    }
}

/// How many frames go around.
const FRAMES: u64 = 5000;

/// Frames go around, twice, with the port stopped and started in between.
fn looped(context: &mut Context, wanted: fn(Vdev) -> Vdev) -> Outcome {
    let (device, path) = make(
        context,
        context.parent.device("dpdk0"),
        &wanted(Vdev::new("")),
    )?;
    let vdev = wanted(Vdev::new(&path));
    let mut testpmd = start(context, &device, &Options::new(vdev))?;
    context.step("frames go around");
    let count = Pair::new(context.parent, &device, &mut testpmd, 1)?.go_around(FRAMES)?;
    context.exercised(format_args!(
        "fwd io, rings of {}: {} frames around, counted alike",
        vdev.size,
        count.received()
    ));
    context.step("the port is stopped and started");
    testpmd.tell("port stop 0")?;
    testpmd.tell("port start 0")?;
    Pair::new(context.parent, &device, &mut testpmd, 1)?
        .go_around(FRAMES)
        .when("after the port was stopped and started")?;
    context.exercised("the same after port stop, port start");
    testpmd.quit()?;
    device.delete()
}
