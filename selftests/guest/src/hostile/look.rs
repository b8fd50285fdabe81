// SPDX-License-Identifier: GPL-2.0

//! Looks at what came of a case, while its driver is still there.

use super::{
    case::{Case, Expect},
    judge::{send, End},
    scene::{Scene, NAME},
};
use crate::{
    check, check_eq,
    device::Device,
    harness::Context,
    outcome::{Outcome, While},
    parent::Parent,
    sys::{wait_for, SOON},
    vhost::{wait_event, Format, TX},
};
use rvdpa_virtio::{layout::packed::Slot, mock::DriverMemory, status::Status};
use std::{fs, thread::sleep, time::Duration};

/// How long the simulator may take to say what it never said yet.
const HARDLY: Duration = Duration::from_millis(200);

/// The name of a counter of broken rules, for a virtqueue.
fn errors(scene: &Scene<'_>, queue: usize) -> &'static str {
    match queue {
        queue if is_control(scene, queue) => "cvq errors",
        queue if queue % 2 == 0 => "rx errors",
        _ => "tx errors",
    }
}

fn is_control(scene: &Scene<'_>, queue: usize) -> bool {
    let control = scene.net.control.as_ref();
    control.is_some_and(|control| control.index == queue)
}

/// Where what is expected is counted, and how much there is.
pub fn counted(scene: &Scene<'_>, expect: Expect) -> Outcome<u64> {
    let (queue, name) = match expect {
        Expect::Fault(queue, _) | Expect::Faults(queue, ..) => (queue, errors(scene, queue)),
        Expect::Dropped(queue, name) => (queue, name),
        _ => return Ok(0),
    };
    match scene.room.parent {
        Parent::Rvdpa => scene.room.device.statistics(queue as u32)?.get(name),
        // It has other names.
        Parent::Peer => Ok(0),
    }
}

/// Looks at what came of a case.
pub fn look(
    context: &mut Context,
    scene: &mut Scene<'_>,
    case: &Case,
    before: u64,
) -> Outcome<End> {
    let split = scene.room.format == Format::Split;
    match case.expect {
        Expect::Fault(queue, text) => stopped(context, scene, (queue, text), before),
        Expect::Faults(queue, one, other) => {
            let text = if split { one } else { other };
            stopped(context, scene, (queue, text), before)
        }
        Expect::Dropped(..) => {
            used(scene, 1)?;
            check!(
                scene.net.receive_from(0)?.is_none(),
                "a frame was delivered"
            );
            if scene.room.parent == Parent::Rvdpa {
                check_eq!(counted(scene, case.expect)?, before + 1, "frames counted");
            }
            well(scene)?;
            another(scene, 2)
        }
        Expect::Delivered => {
            arrives(scene).when("the frame")?;
            used(scene, 1)?;
            well(scene)?;
            another(scene, 2)
        }
        Expect::GoesOn => {
            well(scene)?;
            scene.frames_pass(3).when("without a reset")?;
            Ok(End::Held)
        }
        Expect::Harmless => Ok(End::Held),
    }
}

/// The device has no complaint.
fn well(scene: &Scene<'_>) -> Outcome {
    let status = scene.net.client.status()?;
    check!(!status.contains(Status::NEEDS_RESET), "status {status}");
    Ok(())
}

/// Waits until the device has used so many of the chains that were offered.
fn used(scene: &mut Scene<'_>, count: u16) -> Outcome {
    let tx = &mut scene.net.tx;
    wait_for("the chain is used", SOON, || {
        let done = match tx.driver.format() {
            Format::Split => tx.driver.split().read_used_index() == count,
            // The place of the first one: those behind it are not looked for.
            Format::Packed => {
                let bits = tx.driver.packed_mut().read_descriptor(0).flags;
                Slot::FIRST.is_used(bits)
            }
        };
        Ok(done.then_some(()))
    })
}

/// Waits for the frame of a chain that was offered.
fn arrives(scene: &mut Scene<'_>) -> Outcome {
    let got = scene.net.wait_receive_from(0)?;
    check_eq!(got.frame, scene.frame(1), "the frame");
    Ok(())
}

/// One more frame, offered like the one before.
fn another(scene: &mut Scene<'_>, count: u16) -> Outcome<End> {
    let chain = scene.sent(false);
    send(scene, &chain)?;
    arrives(scene).when("the next frame")?;
    if scene.room.format == Format::Split {
        used(scene, count)?;
    }
    Ok(End::Held)
}

/// A virtqueue is stopped as it should be, and no other.
fn stopped(
    context: &mut Context,
    scene: &mut Scene<'_>,
    (queue, text): (usize, &str),
    before: u64,
) -> Outcome<End> {
    let told = match scene.room.parent {
        Parent::Rvdpa => {
            faulted(context, scene, queue, text)?;
            let errors = counted(scene, Expect::Fault(queue, ""))?;
            check_eq!(errors, before + 1, "rules broken, as counted");
            only_stopped(scene, queue)?;
            true
        }
        Parent::Peer => is_told(scene, HARDLY)?,
    };
    check!(
        scene.net.receive_from(0)?.is_none(),
        "a frame was delivered that broke a rule"
    );
    leaves_alone(scene)?;
    Ok(if told { End::Held } else { End::NotTold })
}

/// Whether the driver is told that the device needs a reset: the status and the interrupt.
fn is_told(scene: &Scene<'_>, limit: Duration) -> Outcome<bool> {
    if !wait_event(&scene.net.config_call, limit)? {
        return Ok(false);
    }
    let status = scene.net.client.status()?;
    Ok(status.contains(Status::NEEDS_RESET))
}

/// The driver is told, and so is who reads the log.
fn faulted(context: &mut Context, scene: &Scene<'_>, queue: usize, text: &str) -> Outcome {
    check!(
        is_told(scene, SOON)?,
        "the driver was not told (status {})",
        scene.net.client.status()?
    );
    let role = match queue {
        queue if is_control(scene, queue) => "control",
        queue if queue % 2 == 0 => "receive",
        _ => "transmit",
    };
    let start = format!("rvdpa_sim: {NAME}: virtqueue {queue} ({role}) stopped until reset:");
    context.log.expect(&[&start, text])?;
    let more = context.log.since()?;
    check!(more.is_empty(), "more than one line: {more:?}");
    Ok(())
}

/// Of the virtqueues that the driver has set up, this one does not run, and no other.
fn only_stopped(scene: &Scene<'_>, broken: usize) -> Outcome {
    let path = format!("/sys/kernel/debug/rvdpa_sim/devices/{NAME}/queues");
    let text = fs::read_to_string(&path).when(&path)?;
    let control = scene.net.control.as_ref().map_or(TX, |queue| queue.index);
    let mut seen = 0;
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        let (Some(index), Some(_), Some(state)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Ok(index) = index.parse::<usize>() else {
            continue;
        };
        if index > TX && index != control {
            continue;
        }
        let wanted = if index == broken { "broken" } else { "running" };
        check_eq!(state, wanted, "state of virtqueue {index}");
        seen += 1;
    }
    check!(seen >= 2, "no virtqueues in {path}");
    Ok(())
}

/// The driver's memory stays as it is, however often the device is kicked.
fn leaves_alone(scene: &Scene<'_>) -> Outcome {
    let memory = &scene.net.memory;
    let look = || {
        let mut all = vec![0; memory.len()];
        memory.read(memory.iova(), &mut all);
        all
    };
    let before = look();
    for _ in 0..3 {
        scene.kick()?;
    }
    sleep(Duration::from_millis(2));
    check!(
        before == look(),
        "a stopped virtqueue has changed the driver's memory"
    );
    Ok(())
}

/// What a device counts, of ours; none of the simulator.
pub fn count(device: &Device, parent: Parent, queue: u32, name: &str) -> Outcome<Option<u64>> {
    Ok(match parent {
        Parent::Rvdpa => Some(device.statistics(queue)?.get(name)?),
        Parent::Peer => None,
    })
}
