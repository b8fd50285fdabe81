// SPDX-License-Identifier: GPL-2.0

//! Suspending in every state, and everything that can happen to a suspended device.

use super::{
    done, each_format, forget_interrupts, is_still, no_interrupts, prepared, running, set_link,
    Numbered, QUIET, SOON,
};
use crate::{
    check, check_eq,
    harness::{Context, Test},
    outcome::{Outcome, Stop, While},
    sys::wait_for,
    tests::rings::FEW,
    vhost::{wait_event, Client, Format, Net, RX, TX},
};
use rvdpa_virtio::{net::NetConfig, status::Status};
use std::{
    thread::{self, sleep},
    time::Duration,
};
use vhost::vdpa::VhostVdpa;

pub const TESTS: &[Test] = each_format! {
    "suspended_twice", twice;
    "resumed_without_suspend", resume_alone;
    "suspended_before_driver_ok", early;
    "reset_while_suspended", reset;
    "status_while_suspended", status;
    "enabled_while_suspended", enabled;
    "closed_while_suspended", closed;
    "deleted_while_suspended", deleted;
    "link_lost_while_suspended", link;
};

/// A device that is suspended with frames under way.
fn suspended(context: &Context, format: Format) -> Outcome<(crate::device::Device, Net, Numbered)> {
    let (device, mut net) = running(context, format)?;
    let mut frames = Numbered::default();
    net.fill_rx()?;
    frames.add(&mut net, 200);
    net.tx.kick()?;
    net.client.suspend()?;
    Ok((device, net, frames))
}

fn twice(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net, mut frames) = suspended(context, format)?;
    for _ in 0..3 {
        net.client.suspend().when("SUSPEND again")?;
        is_still(&net, "while suspended")?;
    }
    // They are not counted.
    net.client.resume()?;
    frames.take_all(&mut net)?;
    done(device, net)
}

/// Nothing comes of it, not even an interrupt, and traffic goes on.
fn resume_alone(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    net.loop_frames(FEW)?;
    forget_interrupts(&net)?;
    for _ in 0..3 {
        net.client.resume()?;
    }
    sleep(QUIET);
    no_interrupts(&net, "after RESUME of a device that runs")?;
    let mut frames = Numbered::default();
    for _ in 0..10 {
        net.fill_rx()?;
        frames.add(&mut net, 200);
        net.tx.kick()?;
        net.client.resume()?;
        frames.take_all(&mut net)?;
    }
    done(device, net)
}

/// vhost-vdpa says that it is done, and does not tell the device: there is nothing to stop yet.
/// So the device runs from `DRIVER_OK` on.
fn early(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = prepared(context, format)?;
    net.client.suspend().when("SUSPEND before DRIVER_OK")?;
    net.client.resume().when("RESUME before DRIVER_OK")?;
    net.client.suspend().when("SUSPEND before DRIVER_OK")?;
    is_still(&net, "before DRIVER_OK")?;
    net.go()?;
    net.loop_frames(FEW)?;
    done(device, net)
}

fn reset(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net, _) = suspended(context, format)?;
    for _ in 0..3 {
        net.client.reset()?;
        is_still(&net, "after a reset")?;
        // There is nothing to resume: vhost-vdpa itself says so.
        net.client.resume().when("RESUME after a reset")?;
        is_still(&net, "after a reset and RESUME")?;
        net = net.restart()?;
        for index in [RX, TX] {
            let base = net.client.base(index)?;
            let start = format.base(format.start());
            check_eq!(base, start, "base of virtqueue {index} after a reset");
        }
        // It runs, with nothing left of the suspension or of the frames before.
        let mut frames = Numbered::default();
        net.fill_rx()?;
        frames.add(&mut net, 150);
        net.tx.kick()?;
        frames.take_all(&mut net)?;
        frames.add(&mut net, 20);
        net.tx.kick()?;
        net.client.suspend()?;
    }
    done(device, net)
}

fn status(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net, mut frames) = suspended(context, format)?;
    let before = net.client.status()?;
    check!(before.contains(Status::DRIVER_OK), "status {before}");
    // That the driver is there is nothing new.
    for _ in 0..2 {
        net.client.add_status(Status::DRIVER_OK)?;
        is_still(&net, "while suspended, after DRIVER_OK")?;
    }
    check_eq!(net.client.status()?, before, "status while suspended");
    net.client.resume()?;
    check_eq!(net.client.status()?, before, "status after RESUME");
    frames.take_all(&mut net)?;
    done(device, net)
}

/// That a virtqueue is enabled does not make a suspended device process it; that it is disabled
/// is remembered.
fn enabled(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net, mut frames) = suspended(context, format)?;
    for index in [RX, TX] {
        net.client.enable(index, true)?;
    }
    is_still(&net, "while suspended, after SET_VRING_ENABLE")?;
    net.client.enable(TX, false)?;
    net.client.enable(TX, true)?;
    is_still(&net, "while suspended, off and on")?;
    net.client.enable(TX, false)?;
    net.client.resume()?;
    // What was sent before may still be told of.
    sleep(QUIET);
    let base = net.client.base(TX)?;
    net.tx.kick()?;
    sleep(QUIET);
    check_eq!(net.client.base(TX)?, base, "base of a disabled virtqueue");
    net.client.enable(TX, true)?;
    frames.take_all(&mut net)?;
    done(device, net)
}

fn closed(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net, _) = suspended(context, format)?;
    let path = device.character_device()?;
    for round in 0..5 {
        let plan = net.plan;
        let (memory, old) = (net.memory.clone(), super::everything(&net));
        let control = net.control_memory.clone();
        drop(net);
        let client = Client::open(&path).when("open after close")?;
        check_eq!(client.status()?, Status::RESET, "status after open");
        sleep(QUIET);
        let mut new = vec![0; memory.len() + control.len()];
        let (first, second) = new.split_at_mut(memory.len());
        rvdpa_virtio::mock::DriverMemory::read(&memory, memory.iova(), first);
        rvdpa_virtio::mock::DriverMemory::read(&control, control.iova(), second);
        check!(
            old.starts_with(&new),
            "memory of a client that is gone was changed"
        );
        net = Net::with(client, plan)?;
        net.go()?;
        net.loop_frames(FEW).when(format_args!("round {round}"))?;
        net.fill_rx()?;
        Numbered::default().add(&mut net, 100);
        net.tx.kick()?;
        net.client.suspend()?;
    }
    done(device, net)
}

/// `dev del` waits for the client, which may go on meanwhile, or not.
fn deleted(context: &mut Context, format: Format) -> Outcome {
    for goes_on in [false, true] {
        let (device, mut net, mut frames) = suspended(context, format)?;
        let deletion = thread::spawn(move || device.delete());
        sleep(Duration::from_millis(200));
        check!(!deletion.is_finished(), "dev del did not wait");
        is_still(&net, "while suspended and to be deleted")?;
        if goes_on {
            net.client.resume()?;
            frames.take_all(&mut net)?;
            check!(!deletion.is_finished(), "dev del did not wait");
        }
        drop(net);
        wait_for("dev del returns", SOON, || {
            Ok(deletion.is_finished().then_some(()))
        })?;
        deletion
            .join()
            .map_err(|_| Stop::Failed("dev del panicked".into()))??;
    }
    Ok(())
}

/// The configuration is answered as if the device were not suspended, and no change of it is
/// kept from the driver.
fn link(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net, mut frames) = suspended(context, format)?;
    for up in [false, true] {
        forget_interrupts(&net)?;
        set_link(&device, up)?;
        let told = |net: &Net| Ok::<_, Stop>(net.client.config()?.status() & NetConfig::LINK_UP);
        let wanted = if up { NetConfig::LINK_UP } else { 0 };
        check_eq!(told(&net)?, wanted, "link in the configuration");
        let mut bytes = [0; 2];
        net.client.kernel().get_config(6, &mut bytes)?;
        check_eq!(u16::from_le_bytes(bytes), wanted, "status field");
        if !up {
            check!(
                wait_event(&net.config_call, SOON)?,
                "no config interrupt for the lost link"
            );
        } else {
            net.client.resume()?;
            check!(
                wait_event(&net.config_call, SOON)?,
                "the config interrupt for the link was lost"
            );
        }
    }
    frames.take_all(&mut net)?;
    done(device, net)
}
