// SPDX-License-Identifier: GPL-2.0

//! `VHOST_VDPA_SET_VRING_ENABLE`, with `VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK`.

use super::{
    done, each_format, forget_interrupts, is_still, no_interrupts, prepared, running,
    under_a_flood, Numbered, QUIET, SOON,
};
use crate::{
    check, check_eq,
    harness::{Context, Test},
    ioctl::{self, backend},
    outcome::Outcome,
    vhost::{Format, Net, NewDevice, BASIC, RX, TX},
};
use nix::errno::Errno;
use rvdpa_virtio::{features::Features, net::control::coalescing};
use std::{thread::sleep, time::Duration};
use vhost::vhost_kern::VhostKernFeatures;

pub const TESTS: &[Test] = each_format! {
    "enabled_after_driver_ok", after;
    "enabled_before_driver_ok", before;
    "each_queue_for_itself", one_by_one;
    "disabled_and_enabled_under_a_flood", flood;
    "interrupts_are_not_lost_by_disabling", interrupts;
    "coalesced_interrupts_outlive_a_stop", coalesced;
    "no_such_queue_to_enable", nobody;
};

/// The virtqueues are enabled when the device runs, and have been kicked before.
fn after(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = prepared(context, format)?;
    let features = net.client.kernel().get_backend_features()?;
    check!(
        features & backend::ENABLE_AFTER_DRIVER_OK != 0,
        "ENABLE_AFTER_DRIVER_OK is not offered"
    );
    for index in 0..3 {
        net.client.enable(index, false)?;
    }
    net.go()?;
    let mut frames = Numbered::default();
    net.fill_rx()?;
    frames.add(&mut net, 50);
    // It kicks.
    is_still(&net, "before its virtqueues are enabled")?;
    frames.add(&mut net, 50);
    net.client.enable(RX, true)?;
    is_still(&net, "before its transmit queue is enabled")?;
    net.client.enable(TX, true)?;
    frames.take_all(&mut net)?;
    done(device, net)
}

/// Kicks before `DRIVER_OK` count when the device runs.
fn before(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = prepared(context, format)?;
    let mut frames = Numbered::default();
    net.fill_rx()?;
    frames.add(&mut net, 50);
    is_still(&net, "before DRIVER_OK")?;
    net.go()?;
    frames.take_all(&mut net)?;
    done(device, net)
}

/// Without the receive queue frames are dropped, and counted; without the transmit queue they
/// wait.
fn one_by_one(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    let mut frames = Numbered::default();
    net.fill_rx()?;
    net.client.enable(RX, false)?;
    let mut lost = Numbered::default();
    lost.add(&mut net, 40);
    net.tx.kick()?;
    crate::sys::wait_for("frames given back", super::SOON, || {
        net.reap()?;
        Ok((net.tx.posted() == 0).then_some(()))
    })?;
    check_eq!(net.rx.used(), 0, "chains used of a disabled virtqueue");
    let drops = device.statistics(RX as u32)?.get("rx drops no buffer")?;
    check_eq!(drops, 40, "frames dropped");
    net.client.enable(RX, true)?;
    frames.add(&mut net, 40);
    net.tx.kick()?;
    frames.take_all(&mut net)?;

    net.client.enable(TX, false)?;
    frames.add(&mut net, 40);
    let (base, used) = (net.client.base(TX)?, net.tx.used());
    net.tx.kick()?;
    sleep(QUIET);
    check_eq!(net.client.base(TX)?, base, "base of a disabled virtqueue");
    check_eq!(net.tx.used(), used, "chains used of a disabled virtqueue");
    net.client.enable(TX, true)?;
    frames.take_all(&mut net)?;
    done(device, net)
}

fn flood(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    let count = under_a_flood(&mut net, 300, |fd, _| {
        ioctl::enable_vring(&fd, TX as u32, false)?;
        ioctl::enable_vring(&fd, TX as u32, true)?;
        Ok(())
    })?;
    context.note(format_args!("{count} frames"));
    let drops = device.statistics(RX as u32)?.get("rx drops no buffer")?;
    check_eq!(drops, 0, "frames dropped");
    done(device, net)
}

/// The driver of the flood sleeps until it is interrupted. An interrupt that is due when the
/// receive queue is disabled has to come when it is enabled.
fn interrupts(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    let count = under_a_flood(&mut net, 600, |fd, _| {
        for (index, enabled) in [(TX, false), (RX, false), (RX, true), (TX, true)] {
            ioctl::enable_vring(&fd, index as u32, enabled)?;
        }
        Ok(())
    })?;
    context.note(format_args!("{count} frames"));
    let drops = device.statistics(RX as u32)?.get("rx drops no buffer")?;
    check_eq!(drops, 0, "frames dropped");
    // To enable what is enabled is nothing.
    forget_interrupts(&net)?;
    for index in 0..3 {
        net.client.enable(index, true)?;
    }
    sleep(QUIET);
    no_interrupts(&net, "after virtqueues that run were enabled")?;
    done(device, net)
}

/// An interrupt that waits for more frames does not come while its virtqueue is stopped, and
/// comes when that goes on.
fn coalesced(context: &mut Context, format: Format) -> Outcome {
    const WAITS: Duration = Duration::from_millis(300);
    let ring = match format {
        Format::Split => Features::NONE,
        Format::Packed => Features::RING_PACKED,
    };
    let (device, path) = NewDevice::named("contract")
        .features(BASIC | Features::NET_NOTF_COAL | ring)
        .make()?;
    let mut net = Net::new(&path, super::eager_plan(context))?;
    let mut wishes = [0; 8];
    wishes[..4].copy_from_slice(&1000_u32.to_le_bytes());
    wishes[4..].copy_from_slice(&(WAITS.as_micros() as u32).to_le_bytes());
    net.do_command(coalescing::CLASS, coalescing::RX_SET, &wishes)?;
    net.rx.driver.enable_interrupts();
    let mut frames = Numbered::default();
    let mut one = |net: &mut Net| -> Outcome {
        net.fill_rx()?;
        forget_interrupts(net)?;
        frames.add(net, 1);
        net.tx.kick()?;
        frames.take_all(net)
    };
    let mut tried = 0;
    for _ in 0..5 {
        one(&mut net)?;
        net.client.enable(RX, false)?;
        if net.rx.interrupts()? == 0 {
            // It still waits.
            tried += 1;
            sleep(WAITS + QUIET);
            check_eq!(net.rx.interrupts()?, 0, "interrupts while disabled");
        }
        net.client.enable(RX, true)?;
        check!(net.rx.interrupted(SOON)?, "the interrupt was lost");
    }
    check!(tried > 0, "no interrupt waited: nothing was tried");
    for _ in 0..5 {
        one(&mut net)?;
        net.client.suspend()?;
        // Not later: the driver may go on at another device, which knows nothing of it.
        check!(
            net.rx.interrupts()? > 0,
            "no interrupt came before SUSPEND returned"
        );
        sleep(WAITS + QUIET);
        check_eq!(net.rx.interrupts()?, 0, "interrupts while suspended");
        net.client.resume()?;
    }
    done(device, net)
}

/// vhost-vdpa itself knows how many there are.
fn nobody(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    for index in [3, 100, u32::MAX] {
        for enabled in [false, true] {
            let got = ioctl::enable_vring(&net.client, index, enabled);
            check_eq!(got, Err(Errno::ENOBUFS), "virtqueue {index}");
        }
    }
    net.loop_frames(crate::tests::rings::FEW)?;
    done(device, net)
}
