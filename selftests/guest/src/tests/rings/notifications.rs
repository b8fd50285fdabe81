// SPDX-License-Identifier: GPL-2.0

//! Interrupts come when they are wanted, and only then; kicks are asked for when they are
//! needed.

use super::{each_ring, plan, ring_device};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::Outcome,
    sys::{wait_for, SOON},
    vhost::{Format, Net, Plan, Ring},
};
use rvdpa_virtio::{
    features::Features,
    layout::{packed::event, USED_NO_NOTIFY},
};
use std::time::Duration;

pub const TESTS: &[Test] = each_ring! {
    "interrupts_only_when_wanted", interrupts;
    "kicks_are_wanted_by_an_idle_device", kicks;
};

/// With and without the event index.
fn choices() -> [Features; 2] {
    let all = Features(u64::MAX);
    [all, all.without(Features::EVENT_IDX)]
}

fn interrupts(context: &mut Context, format: Format) -> Outcome {
    for features in choices() {
        let (device, path) = ring_device("ring", format)?;
        let plan = Plan {
            features,
            ..plan(context)
        };
        let mut net = Net::new(&path, plan)?;
        net.fill_rx()?;
        let mac = net.mac;
        let bytes = frame::make(80, mac, mac, 5);
        net.rx.driver.disable_interrupts();
        net.tx.driver.disable_interrupts();
        check!(net.add_frame(&bytes), "no room in the transmit queue");
        net.send()?;
        wait_for("the frame", SOON, || Ok((net.rx.used() == 1).then_some(())))?;
        let unwanted = Duration::from_millis(30);
        for (name, queue) in [("rx", &net.rx), ("tx", &net.tx)] {
            check!(
                !queue.interrupted(unwanted)?,
                "an interrupt of {name} that was not wanted"
            );
        }
        check!(net.receive()?.is_some(), "the frame");
        net.reap()?;

        net.rx.driver.enable_interrupts();
        check!(net.add_frame(&bytes), "no room in the transmit queue");
        net.send()?;
        check!(net.rx.interrupted(SOON)?, "no interrupt");
        let rx = device.statistics(0)?;
        check_eq!(rx.get("interrupts raised")?, 1, "interrupts raised");
        check_eq!(rx.get("interrupts suppressed")?, 1, "interrupts suppressed");
        drop(net);
        device.delete()?;
    }
    Ok(())
}

/// Whether the device has said that it wants a kick for the next frame, the `count`th.
pub(in crate::tests) fn is_idle(net: &Net, count: u16) -> bool {
    let queue = &net.tx;
    let indexed = net.has(Features::EVENT_IDX);
    match &queue.driver {
        Ring::Split(driver) if indexed => driver.read_avail_event() == count,
        Ring::Split(driver) => driver.read_used_flags() & USED_NO_NOTIFY == 0,
        Ring::Packed(driver) => match driver.read_device_event() {
            (_, event::DISABLE) => false,
            (slot, event::ONE) => {
                let format = net.format();
                slot == format.advance(format.start(), count, queue.layout.size)
            }
            _ => true,
        },
    }
}

fn kicks(context: &mut Context, format: Format) -> Outcome {
    const FRAMES: u16 = 20;
    for features in choices() {
        let (device, path) = ring_device("ring", format)?;
        let plan = Plan {
            features,
            ..plan(context)
        };
        let mut net = Net::new(&path, plan)?;
        net.fill_rx()?;
        let mac = net.mac;
        let mut given = 0;
        for number in 0..FRAMES {
            wait_for("a device that wants kicks", SOON, || {
                Ok(is_idle(&net, number).then_some(()))
            })?;
            let bytes = frame::make(80, mac, mac, number.into());
            check!(net.add_frame(&bytes), "no room in the transmit queue");
            net.tx.driver.publish();
            // It may look once more before it sleeps, and begin with the frame. What wants no
            // kick has to find the frame by itself.
            if net.tx.driver.needs_kick() {
                net.tx.kick()?;
                given += 1;
            }
            check_eq!(net.wait_receive()?, bytes, "frame {number}");
            // An event that comes again before it was looked at is one kick.
            wait_for("the kick", SOON, || {
                let kicks = device.statistics(1)?.get("kicks")?;
                check!(kicks <= given, "{kicks} kicks counted of {given}");
                Ok((kicks == given).then_some(()))
            })?;
            net.fill_rx()?;
            net.reap()?;
        }
        check!(
            given >= u64::from(FRAMES / 2),
            "an idle device wanted {given} kicks for {FRAMES} frames"
        );
        drop(net);
        device.delete()?;
    }
    Ok(())
}
