// SPDX-License-Identifier: GPL-2.0

//! `VIRTIO_F_IN_ORDER`: frames come whole and in order, whatever the device leaves out of
//! the ring. The driver takes a chain that was left out as filled, as Linux does.

use super::{each_ring, kind, looped_by, ring_device};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    vhost::{Format, LoopPlan, Net, NewDevice, Plan},
};
use rvdpa_virtio::features::Features;

pub const TESTS: &[Test] = each_ring! {
    "in_order_frames", frames;
    "in_order_lengths", lengths;
    "in_order_not_without_the_feature", not_offered;
};

fn frames(context: &mut Context, format: Format) -> Outcome {
    for (size, pieces, indirect) in [
        (256, 1, false),
        (4, 1, false),
        (64, 3, false),
        (64, 5, true),
    ] {
        for features in [
            Features(u64::MAX),
            Features(u64::MAX).without(Features::EVENT_IDX),
        ] {
            let made = NewDevice::named("order")
                .format(format, Features::IN_ORDER)
                .make()?;
            let plan = Plan {
                size,
                pieces,
                indirect,
                features,
                ..Plan::default()
            };
            let what = LoopPlan {
                count: 1000,
                size: 300,
                in_flight: 64,
            };
            looped_by(context, made, plan, what)
                .when(format_args!("rings of {size}, {pieces} pieces"))?;
        }
    }
    Ok(())
}

/// Frames of all kinds of sizes in one batch: each has its own length.
fn lengths(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = NewDevice::named("order")
        .format(format, Features::IN_ORDER)
        .make()?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    check!(net.has(Features::IN_ORDER), "IN_ORDER is not negotiated");
    net.fill_rx()?;
    let mac = net.mac;
    // One that fills its buffer, and others that do not.
    let full = plan.room - net.header_len();
    for round in 0..50 {
        let sent: Vec<_> = (0..32)
            .map(|at| {
                let size = [full, 60, 61, full, full, 1514, 14][(at + round) % 7];
                frame::make(size, mac, mac, at as u64)
            })
            .collect();
        for bytes in &sent {
            check!(net.add_frame(bytes), "no room in the transmit queue");
        }
        net.send()?;
        for (number, bytes) in sent.iter().enumerate() {
            let got = net.wait_receive()?;
            if let Some(difference) = frame::difference(&got, bytes) {
                crate::fail!("frame {number} of round {round}: {difference}");
            }
        }
        net.fill_rx()?;
        net.reap()?;
    }
    drop(net);
    device.delete()
}

fn not_offered(_: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("order", format)?;
    let net = Net::new(&path, Plan::default().without(Features::NET_MQ))?;
    check_eq!(
        net.has(Features::IN_ORDER),
        false,
        "IN_ORDER of a device that was not asked for it"
    );
    drop(net);
    device.delete()
}
