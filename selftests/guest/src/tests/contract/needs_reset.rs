// SPDX-License-Identifier: GPL-2.0

//! A driver that breaks a rule on one virtqueue: the device says that it needs a reset, by the
//! config interrupt, and the other virtqueues go on.

use super::{done, SOON};
use crate::{
    check, check_eq,
    device::Device,
    frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    sys::wait_for,
    tests::{
        hostile::{expect_fault, Faulty},
        rings::{plan, FEW},
    },
    vhost::{wait_event, Format, LoopPlan, Net, NewDevice, Plan, BASIC, RX, TX},
};
use rvdpa_virtio::{
    features::Features,
    mock::{Buffer, Form},
    net::NetHeader,
    status::Status,
};
use std::{thread::sleep, time::Duration};

pub const TESTS: &[Test] = super::each_format! {
    "others_go_on_beside_a_broken_queue", others;
    "a_broken_queue_stays_so_until_reset", stays;
    "a_broken_receive_queue", receive;
    "reset_while_it_breaks", race;
};

/// Where nothing is mapped.
const NOWHERE: u64 = 0x3f_0000_0000;

const NAME: &str = "contract";

/// A device with two pairs that runs.
fn two_pairs(context: &Context, format: Format) -> Outcome<(Device, Net)> {
    let ring = match format {
        Format::Split => Features::NONE,
        Format::Packed => Features::RING_PACKED,
    };
    let (device, path) = NewDevice::named(NAME)
        .features(BASIC | Features::NET_MQ | ring)
        .pairs(2)
        .make()?;
    let plan = Plan {
        pairs: 2,
        ..plan(context)
    };
    let mut net = Net::new(&path, plan)?;
    check_eq!(net.format(), format, "format of the rings");
    net.use_pairs(2)?;
    Ok((device, net))
}

/// Has the device look for a buffer where there is none.
fn break_queue(net: &mut Net, index: usize) -> Outcome {
    let queue = if index % 2 == 0 {
        net.rx_of(index / 2)
    } else {
        net.tx_of(index / 2)
    };
    let buffer = if index % 2 == 0 {
        Buffer::writable(NOWHERE, 2048)
    } else {
        Buffer::readable(NOWHERE, 100)
    };
    queue
        .driver
        .add(&[buffer], Form::Direct)
        .expect("there is room");
    queue.driver.publish();
    queue.kick()
}

/// Frames of the first pair, and commands, whatever has become of others.
fn others_work(net: &mut Net) -> Outcome {
    net.loop_frames(LoopPlan {
        count: 200,
        size: 200,
        in_flight: 50,
    })
    .when("the first pair")?;
    net.use_pairs(2).when("the control queue")
}

fn others(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = two_pairs(context, format)?;
    others_work(&mut net)?;
    for round in 0..3 {
        break_queue(&mut net, 3)?;
        let fault = Faulty::at(3, "not mapped");
        expect_fault(context, &net, NAME, &fault).when(format_args!("round {round}"))?;
        others_work(&mut net)?;
        // It was said once.
        check!(
            !wait_event(&net.config_call, Duration::from_millis(5))?,
            "another config interrupt"
        );
        let errors = device.statistics(3)?.get("tx errors")?;
        check_eq!(errors, round + 1, "errors counted");
        net = net.restart()?;
        check!(
            !net.client.status()?.contains(Status::NEEDS_RESET),
            "NEEDS_RESET after a reset"
        );
        net.use_pairs(2)?;
        // All of it.
        net.fill_rx()?;
        let sent = frame::make(100, net.mac, net.mac, 4);
        net.send_frame(1, NetHeader::default(), &sent)?;
        others_work_after(&mut net)?;
    }
    done(device, net)
}

/// Takes the frame of the second pair, wherever it comes, and has others follow.
fn others_work_after(net: &mut Net) -> Outcome {
    wait_for("the frame of the second pair", SOON, || {
        for pair in 0..2 {
            if net.receive_from(pair)?.is_some() {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })?;
    others_work(net)
}

/// Neither suspending and resuming nor disabling and enabling mends it.
fn stays(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = two_pairs(context, format)?;
    break_queue(&mut net, 3)?;
    expect_fault(context, &net, NAME, &Faulty::at(3, "not mapped"))?;
    let base = net.client.base(3)?;
    net.client.suspend()?;
    check_eq!(net.client.base(3)?, base, "base of the broken virtqueue");
    net.client.resume()?;
    net.client.enable(3, false)?;
    net.client.enable(3, true)?;
    net.tx_of(1).kick()?;
    others_work(&mut net)?;
    check_eq!(
        net.tx_of(1).used(),
        0,
        "chains used of the broken virtqueue"
    );
    check_eq!(net.client.base(3)?, base, "base of the broken virtqueue");
    let status = net.client.status()?;
    check!(status.contains(Status::NEEDS_RESET), "status {status}");
    let more = context.log.since()?;
    check!(more.is_empty(), "more lines in the log: {more:?}");
    let mut net = net.restart()?;
    net.use_pairs(2)?;
    others_work(&mut net)?;
    done(device, net)
}

/// The frames for it are dropped, and their sender gets its buffers back.
fn receive(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = two_pairs(context, format)?;
    break_queue(&mut net, RX)?;
    let sent = frame::make(100, net.mac, net.mac, 4);
    net.send_frame(0, NetHeader::default(), &sent)?;
    expect_fault(context, &net, NAME, &Faulty::at(RX, "not mapped"))?;
    for _ in 0..10 {
        net.send_frame(0, NetHeader::default(), &sent)?;
        net.use_pairs(2)?;
    }
    check_eq!(net.rx.used(), 0, "chains used of the broken virtqueue");
    let drops = device.statistics(RX as u32)?.get("rx drops no buffer")?;
    check_eq!(drops, 11, "frames dropped");
    let packets = device.statistics(TX as u32)?.get("tx packets")?;
    check_eq!(packets, 11, "frames sent");
    let mut net = net.restart()?;
    net.loop_frames(FEW)?;
    done(device, net)
}

/// A reset mends the device also where it has just found that the driver broke a rule, and has
/// not said it yet.
fn race(context: &mut Context, format: Format) -> Outcome {
    const ROUNDS: u64 = 60;
    let (device, mut net) = two_pairs(context, format)?;
    let mut said = 0;
    for round in 0..ROUNDS {
        break_queue(&mut net, TX)?;
        sleep(Duration::from_micros(round % 12 * 60));
        if net.client.status()?.contains(Status::NEEDS_RESET) {
            said += 1;
        }
        net.client.reset()?;
        sleep(Duration::from_millis(2));
        let status = net.client.status()?;
        check_eq!(status, Status::RESET, "status after a reset");
        net = net.restart()?;
    }
    context.note(format_args!("{said} of {ROUNDS} times it was said before"));
    net.loop_frames(FEW)?;
    done(device, net)
}
