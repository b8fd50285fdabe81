// SPDX-License-Identifier: GPL-2.0

//! Interrupts come when they are wanted, and only then; kicks are asked for when they are
//! needed.

use super::{each_ring, plan, ring_device};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::Outcome,
    sys::wait_for,
    vhost::{Format, Net, Plan},
};
use rvdpa_virtio::features::Features;
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
        wait_for("the frame", Duration::from_secs(2), || {
            Ok((net.rx.used() == 1).then_some(()))
        })?;
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
        check!(net.rx.interrupted(Duration::from_secs(2))?, "no interrupt");
        let rx = device.statistics(0)?;
        check_eq!(rx.get("interrupts raised")?, 1, "interrupts raised");
        check_eq!(rx.get("interrupts suppressed")?, 1, "interrupts suppressed");
        drop(net);
        device.delete()?;
    }
    Ok(())
}

fn kicks(context: &mut Context, format: Format) -> Outcome {
    for features in choices() {
        let (device, path) = ring_device("ring", format)?;
        let plan = Plan {
            features,
            ..plan(context)
        };
        let mut net = Net::new(&path, plan)?;
        net.fill_rx()?;
        let mac = net.mac;
        for number in 0..20 {
            // An idle device has to be told, or the frame would never come.
            std::thread::sleep(Duration::from_millis(5));
            let bytes = frame::make(80, mac, mac, number);
            check!(net.add_frame(&bytes), "no room in the transmit queue");
            net.tx.driver.publish();
            check!(
                net.tx.driver.needs_kick(),
                "the idle device wants no kick for frame {number}"
            );
            net.tx.kick()?;
            check_eq!(net.wait_receive()?, bytes, "frame {number}");
            net.fill_rx()?;
            net.reap()?;
        }
        let kicks = device.statistics(1)?.get("kicks")?;
        check_eq!(kicks, 20, "kicks counted");
        drop(net);
        device.delete()?;
    }
    Ok(())
}
