// SPDX-License-Identifier: GPL-2.0

//! Frames in several receive buffers, and in one of several descriptors.

use crate::{
    check, check_eq,
    device::Device,
    frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    sys::{wait_for, SOON},
    tests::{
        delivery::drops,
        rings::{each_ring, kind},
    },
    vhost::{Format, LoopPlan, Net, NewDevice, Plan},
};
use rvdpa_virtio::{features::Features, net::NetHeader};

pub const TESTS: &[Test] = each_ring! {
    "frames_in_several_buffers", several;
    "frames_in_several_buffers_in_order", in_order;
    "too_few_buffers", too_few;
    "frames_in_one_buffer_of_many_descriptors", one;
};

/// A device with buffers of so many bytes, that merges them.
fn ready(
    context: &Context,
    format: Format,
    len: usize,
    size: u16,
    more: Features,
) -> Outcome<(Device, Net)> {
    let (device, path) = NewDevice::named("merge")
        .format(format, more | Features::NET_MRG_RXBUF)
        .make()?;
    let plan = Plan {
        kind: kind(context),
        size,
        room: 68 * 1024,
        receive_room: Some(len),
        ..Plan::default()
    };
    let net = Net::new(&path, plan)?;
    check!(net.has(Features::NET_MRG_RXBUF), "buffers are not merged");
    check_eq!(net.format(), format, "format of the rings");
    Ok((device, net))
}

/// How many buffers of `len` bytes a frame takes.
fn buffers(frame: usize, len: usize) -> usize {
    (NetHeader::LEN + frame).div_ceil(len)
}

/// Sends a frame, which has to come in as many buffers as it needs.
fn sent(net: &mut Net, bytes: &[u8]) -> Outcome {
    let len = net.plan.receive_len();
    net.send_frame(0, NetHeader::default(), bytes)?;
    let got = net.wait_receive_from(0)?;
    if let Some(difference) = frame::difference(&got.frame, bytes) {
        crate::fail!("{difference}");
    }
    let count = buffers(bytes.len(), len);
    check_eq!(got.header.num_buffers, count as u16, "num_buffers");
    check_eq!(got.buffers.len(), count, "buffers");
    let rest = NetHeader::LEN + bytes.len() - (count - 1) * len;
    check_eq!(got.buffers.last(), Some(&rest), "bytes in the last buffer");
    net.fill_rx()?;
    Ok(())
}

fn all_sizes(context: &Context, format: Format, more: Features) -> Outcome {
    for len in [64, 1500, 1526, 4096] {
        let (device, mut net) = ready(context, format, len, 128, more)?;
        net.fill_rx()?;
        let mac = net.mac;
        // One byte less than fits, what fits, one more; of one, two, three and many buffers.
        let edges = [1, 2, 3, 7, 40]
            .into_iter()
            .flat_map(|count| [count * len - 13, count * len - 12, count * len - 11]);
        let fixed = [14, 60, 1514, 9014, 65549].into_iter();
        for size in edges.chain(fixed) {
            if !(14..=65549).contains(&size) || buffers(size, len) > 100 {
                continue;
            }
            let bytes = frame::make(size, mac, mac, size as u64);
            sent(&mut net, &bytes).when(format_args!("{size} bytes in buffers of {len}"))?;
        }
        net.loop_frames(LoopPlan {
            count: 500,
            size: 3 * len,
            in_flight: 16,
        })
        .when(format_args!("buffers of {len}"))?;
        drop(net);
        device.delete()?;
    }
    Ok(())
}

fn several(context: &mut Context, format: Format) -> Outcome {
    all_sizes(context, format, Features::NONE)
}

fn in_order(context: &mut Context, format: Format) -> Outcome {
    all_sizes(context, format, Features::IN_ORDER)
}

/// A frame that does not fit into the buffers that there are is dropped as a whole; they
/// stay for the next ones.
fn too_few(context: &mut Context, format: Format) -> Outcome {
    const LEN: usize = 500;
    for more in [Features::NONE, Features::IN_ORDER] {
        let (device, mut net) = ready(context, format, LEN, 64, more)?;
        let mac = net.mac;
        net.post_rx(0, 3)?;
        for (round, count) in [4, 5, 100].into_iter().enumerate() {
            let bytes = frame::make(count * LEN - NetHeader::LEN, mac, mac, 1);
            let before = drops(&device, 1)?;
            net.send_frame(0, NetHeader::default(), &bytes)?;
            wait_for("the drop", SOON, || {
                Ok((drops(&device, 1)? > before).then_some(()))
            })?;
            check_eq!(
                drops(&device, 1)?,
                before + 1,
                "frames dropped in round {round}"
            );
            check_eq!(net.rx.used(), 0, "buffers used in round {round}");
        }
        // Three buffers are enough for this one, to the last byte.
        let bytes = frame::make(3 * LEN - NetHeader::LEN, mac, mac, 2);
        net.send_frame(0, NetHeader::default(), &bytes)?;
        let got = net.wait_receive_from(0)?;
        check!(got.frame == bytes, "the frame was changed");
        check_eq!(got.buffers, [LEN; 3], "bytes in the buffers");
        // Two for one, and the third for another.
        net.post_rx(0, 3)?;
        for (size, wanted) in [(600, 2), (400, 1)] {
            let bytes = frame::make(size, mac, mac, 3);
            net.send_frame(0, NetHeader::default(), &bytes)?;
            let got = net.wait_receive_from(0)?;
            check!(got.frame == bytes, "the frame was changed");
            check_eq!(got.buffers.len(), wanted, "buffers of a frame of {size}");
        }
        check_eq!(net.rx.posted(), 0, "buffers left");
        drop(net);
        device.delete()?;
    }
    Ok(())
}

/// Without the feature a frame lies in one buffer, of as many descriptors as it takes, or
/// not at all.
fn one(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = NewDevice::named("merge")
        .format(format, Features::NET_MRG_RXBUF)
        .make()?;
    let plan = Plan {
        kind: kind(context),
        features: Features(u64::MAX).without(Features::NET_MRG_RXBUF),
        size: 256,
        room: 68 * 1024,
        pieces: 20,
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    net.fill_rx()?;
    let mac = net.mac;
    for size in [14, 60, 1514, 9014, 65549] {
        sent(&mut net, &frame::make(size, mac, mac, size as u64))
            .when(format_args!("{size} bytes"))?;
    }
    // Shorter buffers: what does not fit is dropped, and the buffer stays.
    net.plan.receive_room = Some(500);
    let mut net = net.restart()?;
    net.post_rx(0, 1)?;
    let before = drops(&device, 1)?;
    for size in [489, 1000] {
        net.send_frame(0, NetHeader::default(), &frame::make(size, mac, mac, 1))?;
    }
    wait_for("the drops", SOON, || {
        Ok((drops(&device, 1)? == before + 2).then_some(()))
    })?;
    check_eq!(net.rx.used(), 0, "buffers used");
    sent(&mut net, &frame::make(488, mac, mac, 2)).when("the frame that fits")?;
    drop(net);
    device.delete()
}
