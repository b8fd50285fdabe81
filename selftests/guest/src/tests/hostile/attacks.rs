// SPDX-License-Identifier: GPL-2.0

//! Tries attacks, one after the other, and whether a reset mends the device.

use super::{expect_fault, is_stopped, Faulty};
use crate::{
    check_eq, frame,
    harness::Context,
    outcome::{Outcome, While},
    tests::rings::kind,
    vhost::{Format, LoopPlan, Net, NewDevice, Plan},
};
use rvdpa_virtio::{
    features::Features,
    layout::{flags, Descriptor},
    mock::DriverMemory,
};

/// What a driver does that it must not do, and what comes of it.
pub(super) struct Attack {
    name: &'static str,
    act: fn(&mut Net),
    queue: usize,
    text: &'static str,
    pub(super) features: Features,
}

impl Attack {
    pub(super) const fn new(
        name: &'static str,
        queue: usize,
        text: &'static str,
        act: fn(&mut Net),
    ) -> Self {
        Self {
            name,
            act,
            queue,
            text,
            features: Features(u64::MAX),
        }
    }
}

pub(super) const SIZE: u16 = 256;

pub(super) const FEW: LoopPlan = LoopPlan {
    count: 5,
    size: 100,
    in_flight: 2,
};

/// Tries each attack, and whether a reset mends the device.
///
/// There may be ten lines in the log in five seconds.
pub(super) fn try_all(context: &mut Context, format: Format, attacks: &[Attack]) -> Outcome {
    assert!(attacks.len() <= 10, "the log is limited");
    let (device, path) = NewDevice::named("bad")
        .format(format, Features::NONE)
        .make()?;
    let plan = Plan {
        kind: kind(context),
        size: SIZE,
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    check_eq!(net.format(), format, "format of the rings");
    for attack in attacks {
        context.step(attack.name);
        net.plan.features = attack.features;
        net = net.restart().when(attack.name)?;
        net.fill_rx()?;
        (attack.act)(&mut net);
        for queue in [&net.rx, &net.tx] {
            queue.kick()?;
        }
        let fault = Faulty::at(attack.queue, attack.text);
        expect_fault(context, &net, "bad", &fault).when(attack.name)?;
        is_stopped(&net, attack.queue).when(attack.name)?;
        net.plan.features = Features(u64::MAX);
        net = net.restart().when(attack.name)?;
        net.loop_frames(FEW)
            .when(format_args!("after {}", attack.name))?;
    }
    let errors: u64 = [
        device.statistics(0)?.get("rx errors")?,
        device.statistics(1)?.get("tx errors")?,
        device.statistics(2)?.get("cvq errors")?,
    ]
    .iter()
    .sum();
    check_eq!(errors, attacks.len() as u64, "errors counted");
    drop(net);
    device.delete()
}

/// Makes descriptor 0 of the transmit ring available, whatever it is.
pub(super) fn offer(net: &mut Net, descriptor: Descriptor) {
    net.tx.driver.split().write_descriptor(0, descriptor);
    net.tx.driver.split_mut().add_head(0);
    net.tx.driver.publish();
}

/// A descriptor for a whole frame to the device itself.
pub(super) fn frame_descriptor(net: &Net) -> Descriptor {
    let at = net.tx.buffers;
    net.memory.write(at, &[0; 12]);
    net.memory
        .write(at + 12, &frame::make(100, net.mac, net.mac, 1));
    Descriptor {
        address: at,
        len: 112,
        flags: 0,
        next: 0,
    }
}

pub(super) fn chained(next: u16) -> impl Fn(Descriptor) -> Descriptor {
    move |descriptor| Descriptor {
        len: 8,
        flags: descriptor.flags | flags::NEXT,
        next,
        ..descriptor
    }
}

/// A table with these descriptors, and the descriptor that refers to it.
pub(super) fn table(net: &Net, entries: &[Descriptor]) -> Descriptor {
    net.tx.driver.split().write_table(net.tx.tables, entries)
}
