// SPDX-License-Identifier: GPL-2.0

//! Two testpmd with two ports of a switch: one sends, the other one receives.

use super::{count::Pair, make, start, test};
use crate::{
    check_eq,
    clients::ClientTest,
    device::Device,
    harness::Context,
    outcome::Outcome,
    testpmd::{Options, Vdev},
};
use rvdpa_virtio::net::MacAddress;

pub const TESTS: &[ClientTest] = &[
    test("dpdk.switch", |context| switch(context, [false; 2])),
    test("dpdk.switch_packed_and_split", |context| {
        switch(context, [true, false])
    })
    .slow(),
    test("dpdk.switch_virtual_addresses", |context| {
        switch(context, [false; 2])
    })
    .with("use_va=1")
    .slow(),
];

const FRAMES: u64 = 5000;

fn switch(context: &mut Context, packed: [bool; 2]) -> Outcome {
    let kind = |path, packed| Vdev {
        packed,
        ..Vdev::new(path)
    };
    let options = |path, packed, cpu| Options {
        cpu,
        ..Options::new(kind(path, packed))
    };
    let new_a = context.parent.port("dpdk0", 1)?;
    let new_b = context.parent.port("dpdk1", 2)?;
    let (device_a, path_a) = make(context, new_a, &kind("", packed[0]))?;
    let (device_b, path_b) = make(context, new_b, &kind("", packed[1]))?;
    let mut a = start(context, &device_a, &options(&path_a, packed[0], 0))?;
    let mut b = start(context, &device_b, &options(&path_b, packed[1], 1))?;
    a.tell(&format!("set eth-peer 0 {}", MacAddress(new_b.mac)))?;
    b.tell(&format!("set eth-peer 0 {}", MacAddress(new_a.mac)))?;
    // From a packed ring, DPDK sends frames in several pieces by a table whose first entry is
    // marked as one to be written to, and the device stops the virtqueue for that.
    for (sizes, forth) in [("64", true), ("64", false), ("200,300,500", !packed[0])] {
        context.step(format_args!("frames of {sizes} bytes, forth: {forth}"));
        let pair_a = Pair::new(context.parent, &device_a, &mut a, 1)?;
        let pair_b = Pair::new(context.parent, &device_b, &mut b, 1)?;
        let (from, to) = if forth {
            (pair_a, pair_b)
        } else {
            (pair_b, pair_a)
        };
        context.exercised(send(from, to, sizes)?);
    }
    a.quit()?;
    b.quit()?;
    device_a.delete()?;
    device_b.delete()
}

/// Frames that a device did not deliver for want of buffers.
fn dropped(device: &Device) -> Outcome<u64> {
    device.statistics(0)?.get("rx drops no buffer")
}

/// Has one send until the other one has got enough. Every frame is to be accounted for.
/// Returns what was seen.
fn send(mut from: Pair, mut to: Pair, sizes: &str) -> Outcome<String> {
    let len: u64 = sizes
        .split(',')
        .filter_map(|size| size.parse::<u64>().ok())
        .sum();
    let dropped_before = dropped(to.device)?;
    let start = to.testpmd.counters()?.rx()?;
    from.testpmd.tell(&format!("set txpkts {sizes}"))?;
    to.testpmd.forward("rxonly")?;
    from.testpmd.forward("txonly")?;
    to.testpmd.wait_for("frames arrive", |counters| {
        Ok(counters.rx()? >= start + FRAMES)
    })?;
    from.testpmd.stop()?;
    let sender = from.settle()?;
    to.testpmd.stop()?;
    let receiver = to.settle()?;
    let dropped = dropped(to.device)? - dropped_before;
    let (sent, received) = (sender.sent(), receiver.received());
    check_eq!(sender.received(), 0, "frames that came to the sender");
    check_eq!(receiver.sent(), 0, "frames that the receiver sent");
    check_eq!(
        received + dropped,
        sent,
        "frames received and dropped, of those sent"
    );
    check_eq!(sender.tx_bytes, len * sent, "bytes sent");
    check_eq!(receiver.rx_bytes, len * received, "bytes received");
    Ok(format!(
        "fwd txonly to rxonly: {sent} frames of {sizes} bytes sent, {received} received, \
         {dropped} dropped for want of buffers"
    ))
}
