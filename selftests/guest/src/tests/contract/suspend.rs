// SPDX-License-Identifier: GPL-2.0

//! A suspended device does nothing, forgets nothing, and goes on where it was.

use super::{
    bases_are_final, done, each_format, each_format_va, eager, forget_interrupts, is_still,
    no_interrupts, running, under_a_flood, Moment, Numbered,
};
use crate::{
    check_eq,
    harness::{Context, Test},
    ioctl,
    outcome::{Outcome, While},
    vhost::{Format, RX, TX},
};
use rvdpa_virtio::{layout::used, mock::DriverMemory};
use std::{os::fd::RawFd, thread::sleep, time::Duration};

pub const TESTS: &[Test] = each_format! {
    "suspended_in_the_middle_of_work", middle;
    "suspend_under_a_flood", flood;
    "kicks_while_suspended_are_latched", latched;
    "commands_wait_while_suspended", commands;
};

pub const VA_TESTS: &[Test] = each_format_va! {
    "suspended_in_the_middle_of_work", middle;
    "suspend_under_a_flood", flood;
};

/// Suspends it while it works, at another moment in each round; adds more, whatever the device
/// wants to be told. Every frame comes once, in order, as it was sent.
fn middle(context: &mut Context, format: Format) -> Outcome {
    const ROUNDS: u32 = 24;
    let (device, mut net) = eager(context, format)?;
    let mut frames = Numbered::default();
    let mut moment = Moment::new();
    while moment.goes_on(ROUNDS) {
        let round = moment.rounds;
        net.fill_rx()?;
        let first = frames.add(&mut net, 200);
        let target = net.tx.used() + first as usize;
        net.tx.kick()?;
        moment.wait();
        net.client.suspend()?;
        forget_interrupts(&net)?;
        bases_are_final(&mut net).when(format_args!("round {round}"))?;
        moment.was(net.tx.used() < target);
        frames.add(&mut net, 30);
        no_interrupts(&net, "after SUSPEND").when(format_args!("round {round}"))?;
        if round % 2 == 0 {
            // It kicks, and that is not forgotten.
            is_still(&net, "while suspended").when(format_args!("round {round}"))?;
        } else {
            // It does what the device has asked for before.
            net.tx.kick_if_needed()?;
        }
        bases_are_final(&mut net).when(format_args!("round {round}, later"))?;
        net.client.resume()?;
        frames
            .take_all(&mut net)
            .when(format_args!("round {round}"))?;
    }
    moment.found(context)?;
    let drops = device.statistics(RX as u32)?.get("rx drops no buffer")?;
    check_eq!(drops, 0, "frames dropped");
    done(device, net)
}

/// Another thread has frames looped, and notices each one that is missing.
fn flood(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    let memory = net.memory.clone();
    let devices_areas = [net.rx.layout.device, net.tx.layout.device];
    let look = |fd: RawFd| -> Outcome<Vec<u32>> {
        let mut seen = Vec::new();
        for index in [RX, TX] {
            seen.push(ioctl::vring_base(&fd, index as u32).when("GET_VRING_BASE")?);
        }
        if format == Format::Split {
            for area in devices_areas {
                seen.push(memory.load_u16(area + used::INDEX as u64).into());
            }
        }
        Ok(seen)
    };
    let looped = under_a_flood(&mut net, 40, |fd, round| {
        ioctl::suspend(&fd).when("SUSPEND")?;
        let before = look(fd)?;
        sleep(Duration::from_millis(4));
        let after = look(fd)?;
        ioctl::resume(&fd).when("RESUME")?;
        check_eq!(after, before, "places while suspended, round {round}");
        Ok(())
    })?;
    context.note(format_args!("{looped} frames"));
    let rx = device.statistics(RX as u32)?;
    check_eq!(rx.get("rx packets")?, looped, "frames delivered");
    check_eq!(rx.get("rx drops no buffer")?, 0, "frames dropped");
    let sent = device.statistics(TX as u32)?.get("tx packets")?;
    check_eq!(sent, looped, "frames sent");
    done(device, net)
}

/// An idle device is suspended and told of a frame; it looks when it is resumed, with no other
/// kick.
fn latched(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    let mut frames = Numbered::default();
    for _ in 0..20 {
        net.client.suspend()?;
        net.fill_rx()?;
        frames.add(&mut net, 3);
        is_still(&net, "while suspended")?;
        net.client.resume()?;
        frames.take_all(&mut net)?;
    }
    done(device, net)
}

/// The control queue is suspended as the others are.
fn commands(context: &mut Context, format: Format) -> Outcome {
    use crate::vhost::control::{ANSWER, NO_ANSWER};
    use rvdpa_virtio::{
        mock::Buffer,
        net::control::{self, mac},
    };

    let (device, mut net) = running(context, format)?;
    let before = net.client.config()?.mac();
    let address = [2, 0, 0, 0, 7, 7];
    net.client.suspend()?;
    net.write_command(mac::CLASS, mac::ADDR_SET, &address)?;
    net.submit(&[
        Buffer::readable(0, control::HEADER_LEN as u32),
        Buffer::readable(crate::vhost::control::DATA, 6),
        Buffer::writable(ANSWER, 1),
    ])?;
    is_still(&net, "while suspended")?;
    check_eq!(
        net.client.config()?.mac(),
        before,
        "address while suspended"
    );
    net.client.resume()?;
    net.wait_control()?;
    let mut answer = [NO_ANSWER];
    let start = net.control()?.buffers;
    net.control_memory.read(start + ANSWER, &mut answer);
    check_eq!(answer, [control::OK], "answer");
    check_eq!(net.client.config()?.mac().0, address, "address");
    done(device, net)
}
