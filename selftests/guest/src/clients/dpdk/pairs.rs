// SPDX-License-Identifier: GPL-2.0

//! Several queue pairs.

use super::{count::Pair, make, start, test};
use crate::{
    check,
    clients::ClientTest,
    harness::Context,
    outcome::Outcome,
    testpmd::{Options, Vdev},
    vhost::NewDevice,
};

pub const TESTS: &[ClientTest] = &[
    test("dpdk.four_pairs", |context| four(context, false, false)).not_for_peer(ONE_PAIR),
    test("dpdk.four_pairs_packed", |context| {
        four(context, true, false)
    })
    .not_for_peer(ONE_PAIR)
    .slow(),
    test("dpdk.rss", |context| four(context, false, true)).not_for_peer(ONE_PAIR),
    test("dpdk.one_pair_of_four", one_of_four).not_for_peer(ONE_PAIR),
];

const ONE_PAIR: &str = "it has one queue pair";

const FRAMES: u64 = 5000;

/// Frames of many flows, by all pairs: they come back by the pair that their flow was last
/// sent from, or by the one that their hash says. The flows of two pairs may be the same.
fn four(context: &mut Context, packed: bool, rss: bool) -> Outcome {
    let wanted = |path| Vdev {
        packed,
        rss,
        pairs: 4,
        ..Vdev::new(path)
    };
    let (device, path) = make(context, context.parent.device("dpdk0"), &wanted(""))?;
    let options = Options {
        more: &["--txonly-multi-flow", "--rss-udp"],
        ..Options::new(wanted(&path))
    };
    let mut testpmd = start(context, &device, &options)?;
    context.step("frames go around");
    let count = Pair::new(context.parent, &device, &mut testpmd, 4)?.go_around(FRAMES)?;
    check!(count.tx.iter().all(|&sent| sent > 0), "{count:?}");
    check!(count.rx.iter().all(|&got| got > 0), "{count:?}");
    context.exercised(format_args!(
        "fwd io with 4 queue pairs{}: {} frames around, counted alike by each virtqueue",
        if rss { " and RSS of UDP" } else { "" },
        count.received()
    ));
    testpmd.quit()?;
    device.delete()
}

/// The driver wants fewer pairs than the device has.
fn one_of_four(context: &mut Context) -> Outcome {
    let new = NewDevice {
        max_vqp: Some(4),
        ..context.parent.device("dpdk0")
    };
    let (device, path) = new.make()?;
    let mut testpmd = start(context, &device, &Options::new(Vdev::new(&path)))?;
    let count = Pair::new(context.parent, &device, &mut testpmd, 1)?.go_around(FRAMES)?;
    context.exercised(format_args!(
        "fwd io with one queue pair of four: {} frames around",
        count.received()
    ));
    testpmd.quit()?;
    device.delete()
}
