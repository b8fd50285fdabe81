// SPDX-License-Identifier: GPL-2.0

//! What frames there are, in what memory, and how the device is told of them.

use super::{count::Pair, make, start, test};
use crate::{
    check, check_eq,
    clients::ClientTest,
    harness::Context,
    outcome::Outcome,
    parent::Parent,
    skip, sys,
    testpmd::{Memory, Options, Vdev},
};

pub const TESTS: &[ClientTest] = &[
    test("dpdk.frames_in_several_buffers", large),
    test("dpdk.flowgen", flows)
        .not_for_peer("flowgen's frames are for others, and it has no promiscuous mode"),
    test("dpdk.small_pages", small_pages),
    test("dpdk.small_pages_virtual_addresses", small).with("use_va=1"),
    test("dpdk.doorbells", doorbells)
        .with("doorbells=1")
        .not_for_peer("it has no doorbells"),
];

const FRAMES: u64 = 5000;

/// Frames that are larger than a receive buffer, in several pieces when they are sent.
fn large(context: &mut Context) -> Outcome {
    if context.parent == Parent::Peer {
        skip!("it does not offer MRG_RXBUF");
    }
    let (device, path) = make(context, context.parent.device("dpdk0"), &Vdev::new(""))?;
    let options = Options {
        more: &["--max-pkt-len=9000", "--enable-scatter"],
        ..Options::new(Vdev::new(&path))
    };
    let mut testpmd = start(context, &device, &options)?;
    testpmd.tell("set txpkts 2000,2000,2000,1900")?;
    let count = Pair::new(context.parent, &device, &mut testpmd, 1)?.go_around(FRAMES)?;
    check_eq!(count.rx_bytes, 7900 * count.received(), "bytes of frames");
    let large = testpmd.counters()?.get("rx_q0_size_1519_max_packets")?;
    check_eq!(large, count.received(), "frames of more than 1518 bytes");
    context.exercised(format_args!(
        "fwd io: {large} frames of 7900 bytes around, in 4 pieces"
    ));
    testpmd.quit()?;
    device.delete()
}

/// DPDK sends many flows, and receives what comes of it.
fn flows(context: &mut Context) -> Outcome {
    let (device, path) = make(context, context.parent.device("dpdk0"), &Vdev::new(""))?;
    let mut testpmd = start(context, &device, &Options::new(Vdev::new(&path)))?;
    let mut pair = Pair::new(context.parent, &device, &mut testpmd, 1)?;
    pair.testpmd.forward("flowgen")?;
    pair.testpmd
        .wait_for("frames come back", |counters| Ok(counters.rx()? >= FRAMES))?;
    pair.testpmd.stop()?;
    let count = pair.settle()?;
    check!(count.sent() >= count.received(), "{count:?}");
    context.exercised(format_args!(
        "fwd flowgen: {} frames sent, {} back, counted alike",
        count.sent(),
        count.received()
    ));
    testpmd.quit()?;
    device.delete()
}

/// Memory of small pages.
fn small(context: &mut Context) -> Outcome {
    let (device, path) = make(context, context.parent.device("dpdk0"), &Vdev::new(""))?;
    let options = Options {
        memory: Memory::SmallPages,
        ..Options::new(Vdev::new(&path))
    };
    let mut testpmd = start(context, &device, &options)?;
    Pair::new(context.parent, &device, &mut testpmd, 1)?.go_around(FRAMES)?;
    context.exercised("fwd io with --no-huge");
    testpmd.quit()?;
    device.delete()
}

/// With pinned pages, each of them may be a range of its own, and vhost-vdpa takes 2048 unless
/// it is told otherwise, as for all tests here.
fn small_pages(context: &mut Context) -> Outcome {
    const RANGES: &str = "/sys/module/vhost_vdpa/parameters/max_iotlb_entries";
    check_eq!(
        sys::read_line(RANGES)?,
        "65536",
        "ranges that vhost-vdpa takes"
    );
    small(context)
}

/// The device is told of frames by a write to a page.
fn doorbells(context: &mut Context) -> Outcome {
    let vdev = |path| Vdev {
        notification_data: true,
        ..Vdev::new(path)
    };
    let (device, path) = make(context, context.parent.device("dpdk0"), &vdev(""))?;
    let mut testpmd = start(context, &device, &Options::new(vdev(&path)))?;
    let maps = sys::run(&["grep", "-c", &path, &format!("/proc/{}/maps", testpmd.id())])?;
    check_eq!(maps.trim(), "3", "pages of the device that DPDK has mapped");
    let count = Pair::new(context.parent, &device, &mut testpmd, 1)?.go_around(FRAMES)?;
    context.exercised(format_args!(
        "fwd io: {} frames, kicks by a mapped page",
        count.received()
    ));
    testpmd.quit()?;
    device.delete()
}
