// SPDX-License-Identifier: GPL-2.0

//! The events by which virtqueues interrupt: `VHOST_SET_VRING_CALL`.
//!
//! A device may also be given an event to raise without a callback (`trigger`); this one
//! always calls back, so that there is no other way for an interrupt to come.

use super::{
    done, each_format, eager, forget_interrupts, no_interrupts, Moment, Numbered, QUIET, SOON,
};
use crate::{
    check, check_eq,
    harness::{Context, Test},
    ioctl,
    outcome::{Outcome, While},
    vhost::{count_events, Format, Net, RX, TX},
};
use nix::errno::Errno;
use std::{os::fd::AsRawFd, thread::sleep};
use vhost::VhostBackend;
use vmm_sys_util::eventfd::EventFd;

pub const TESTS: &[Test] = each_format! {
    "events_swapped_under_traffic", swapped;
    "events_taken_away_and_given_back", none;
    "no_interrupt_after_reset", reset;
    "what_is_no_event_is_refused", refused;
};

/// From the moment that the new event is set, no interrupt comes by the old one.
fn swapped(context: &mut Context, format: Format) -> Outcome {
    const ROUNDS: u32 = 40;
    let (device, mut net) = eager(context, format)?;
    let mut frames = Numbered::default();
    let mut moment = Moment::new();
    let mut by_old = 0;
    while moment.goes_on(ROUNDS) {
        let round = moment.rounds;
        net.fill_rx()?;
        frames.add(&mut net, 200);
        net.tx.kick()?;
        moment.wait();
        let Net { client, rx, tx, .. } = &mut net;
        let old = [rx.swap_call(client)?, tx.swap_call(client)?];
        for event in &old {
            by_old += count_events(event)?;
        }
        let working = net.tx.used() < 200 * (round as usize + 1);
        moment.was(working);
        frames
            .take_all(&mut net)
            .when(format_args!("round {round}"))?;
        for event in &old {
            check_eq!(count_events(event)?, 0, "interrupts by the old event");
        }
        if working {
            // There was something to interrupt for since then.
            check!(net.rx.interrupted(SOON)?, "no interrupt by the new event");
            check!(net.tx.interrupted(SOON)?, "no interrupt by the new event");
        }
        forget_interrupts(&net)?;
    }
    moment.found(context)?;
    context.note(format_args!("{by_old} interrupts by the old events before"));
    done(device, net)
}

/// Without an event nothing comes, and nothing is lost but the interrupts.
fn none(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = eager(context, format)?;
    let mut frames = Numbered::default();
    for round in 0..10 {
        net.rx.drop_call(&net.client)?;
        net.tx.drop_call(&net.client)?;
        forget_interrupts(&net)?;
        net.fill_rx()?;
        frames.add(&mut net, 100);
        net.tx.kick()?;
        frames
            .take_all(&mut net)
            .when(format_args!("round {round}"))?;
        sleep(QUIET);
        no_interrupts(&net, "by an event that was taken away")?;

        let Net { client, rx, tx, .. } = &mut net;
        drop((rx.swap_call(client)?, tx.swap_call(client)?));
        sleep(QUIET);
        no_interrupts(&net, "for what was before")?;
        net.fill_rx()?;
        frames.add(&mut net, 1);
        net.tx.kick()?;
        check!(net.rx.interrupted(SOON)?, "no interrupt by the new event");
        check!(net.tx.interrupted(SOON)?, "no interrupt by the new event");
        frames.take_all(&mut net)?;
    }
    done(device, net)
}

/// Not by the events that were set before it, and not by those that are set after it, until
/// the device runs again.
fn reset(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = eager(context, format)?;
    let mut moment = Moment::new();
    while moment.goes_on(20) {
        net.fill_rx()?;
        Numbered::default().add(&mut net, 200);
        net.tx.kick()?;
        moment.wait();
        net.client.reset()?;
        moment.was(net.tx.used() < 200);
        forget_interrupts(&net)?;
        let Net { client, rx, tx, .. } = &mut net;
        let old = [rx.swap_call(client)?, tx.swap_call(client)?];
        net.tx.kick()?;
        sleep(QUIET);
        no_interrupts(&net, "after a reset")?;
        for event in &old {
            check_eq!(count_events(event)?, 0, "interrupts by the old event");
        }
        net = net.restart()?;
        for queue in [&net.rx, &net.tx] {
            queue.driver.enable_interrupts();
        }
        net.fill_rx()?;
        let mut frames = Numbered::default();
        frames.add(&mut net, 1);
        net.tx.kick()?;
        check!(net.rx.interrupted(SOON)?, "no interrupt of the new driver");
        frames.take_all(&mut net)?;
        for event in &old {
            check_eq!(count_events(event)?, 0, "interrupts by the event of before");
        }
    }
    moment.found(context)?;
    done(device, net)
}

/// vhost itself looks at it, and the event before stays.
fn refused(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = eager(context, format)?;
    let file = std::fs::File::open("/dev/null")?;
    let event = EventFd::new(0)?;
    for (index, fd, wanted) in [
        (RX as u32, file.as_raw_fd(), Errno::EINVAL),
        (TX as u32, file.as_raw_fd(), Errno::EINVAL),
        (RX as u32, 9999, Errno::EBADF),
        (RX as u32, -2, Errno::EBADF),
        (3, event.as_raw_fd(), Errno::ENOBUFS),
        (u32::MAX, -1, Errno::ENOBUFS),
    ] {
        let got = ioctl::set_vring_call(&net.client, index, fd);
        check_eq!(got, Err(wanted), "event {fd} of virtqueue {index}");
    }
    let kick = crate::vhost::refused(net.client.kernel().set_vring_kick(3, &event));
    check_eq!(kick, Some(Errno::ENOBUFS), "kick of virtqueue 3");
    net.fill_rx()?;
    let mut frames = Numbered::default();
    frames.add(&mut net, 1);
    net.tx.kick()?;
    check!(net.rx.interrupted(SOON)?, "no interrupt by the event");
    frames.take_all(&mut net)?;
    done(device, net)
}
