// SPDX-License-Identifier: GPL-2.0

//! Workers that look for more before they sleep: `busy_poll`.

use super::rings::{is_idle, running};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::Outcome,
    sys::{scaled, wait_for, SOON},
    vhost::{Format, Net},
};
use std::time::{Duration, Instant};

/// The longest time that there is.
const PA: &str = "busy_poll=10000";
const VA: &str = "busy_poll=10000 use_va=1";

pub const TESTS: &[Test] = &[
    Test::new("polling.pa.split.few_kicks", |context| {
        few(context, Format::Split)
    })
    .with(PA),
    Test::new("polling.pa.packed.few_kicks", |context| {
        few(context, Format::Packed)
    })
    .with(PA),
    Test::new("polling.va.split.few_kicks", |context| {
        few(context, Format::Split)
    })
    .with(VA),
    Test::new("polling.va.packed.few_kicks", |context| {
        few(context, Format::Packed)
    })
    .with(VA),
    Test::new("polling.it_ends", ends).with(PA),
    Test::new("polling.suspend_while_it_lasts", suspend).with(PA),
    Test::new("polling.deleted_while_it_lasts", deleted).with(PA),
];

/// Sends a frame, with a kick if one is wanted. Returns whether it was.
fn send(net: &mut Net, number: u64) -> Outcome<bool> {
    net.fill_rx()?;
    let bytes = frame::make(80, net.mac, net.mac, number);
    check!(net.add_frame(&bytes), "no room in the transmit queue");
    net.tx.driver.publish();
    let wanted = net.tx.driver.needs_kick();
    if wanted {
        net.tx.kick()?;
    }
    Ok(wanted)
}

/// Takes it back.
fn receive(net: &mut Net, number: u64) -> Outcome {
    let bytes = frame::make(80, net.mac, net.mac, number);
    check_eq!(net.wait_receive()?, bytes, "frame {number}");
    net.reap().map(drop)
}

fn send_and_receive(net: &mut Net, number: u64) -> Outcome<bool> {
    let wanted = send(net, number)?;
    receive(net, number)?;
    Ok(wanted)
}

/// How long a worker has time to show that it polls.
const LONG: Duration = Duration::from_secs(10);

/// A driver that goes on at once finds the worker awake, unless somebody wants its processor:
/// then the next round may be better.
fn few(context: &mut Context, format: Format) -> Outcome {
    const FRAMES: usize = 100;
    let (device, mut net) = running(context, "poll", format)?;
    let mut least = FRAMES;
    let mut numbers = 0..;
    let end = Instant::now() + scaled(LONG);
    while least >= FRAMES / 2 {
        check!(
            Instant::now() < end,
            "a worker that polls wanted {least} kicks and more for {FRAMES} frames"
        );
        let mut kicks = 0;
        for number in numbers.by_ref().take(FRAMES) {
            kicks += usize::from(send_and_receive(&mut net, number)?);
        }
        least = least.min(kicks);
    }
    drop(net);
    device.delete()
}

/// A worker to which nothing comes wants kicks before long.
fn ends(context: &mut Context) -> Outcome {
    let (device, mut net) = running(context, "poll", Format::Split)?;
    for number in 0..10 {
        send_and_receive(&mut net, number)?;
        wait_for("a worker that sleeps", SOON, || {
            Ok(is_idle(&net, number as u16 + 1).then_some(()))
        })?;
    }
    drop(net);
    device.delete()
}

/// `SUSPEND` does not wait for it to end, and nothing gets lost.
fn suspend(context: &mut Context) -> Outcome {
    let (device, mut net) = running(context, "poll", Format::Split)?;
    for round in 0..50 {
        send_and_receive(&mut net, 2 * round)?;
        net.client.suspend()?;
        // The worker, which has not asked for kicks, does not look any more.
        send(&mut net, 2 * round + 1)?;
        net.client.resume()?;
        receive(&mut net, 2 * round + 1)?;
    }
    drop(net);
    device.delete()
}

/// Devices go while their workers poll.
fn deleted(context: &mut Context) -> Outcome {
    for round in 0..10 {
        let (device, mut net) = running(context, "poll", Format::Split)?;
        send_and_receive(&mut net, round)?;
        send(&mut net, round)?;
        drop(net);
        device.delete()?;
    }
    Ok(())
}
