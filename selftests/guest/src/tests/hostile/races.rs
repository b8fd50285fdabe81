// SPDX-License-Identifier: GPL-2.0

//! Drivers that change their minds while the device looks.

use super::wait_used;
use crate::{
    check, frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    tests::rings::{each_ring, plan, ring_device, FEW},
    vhost::{Format, Net, TX},
};
use rvdpa_virtio::{mock::DriverMemory, status::Status};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

pub const TESTS: &[Test] = each_ring! {
    "rings_that_change_meanwhile", flip;
    "reset_under_traffic", reset;
    "disable_under_traffic", disable;
};

/// A few numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn flip(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("race", format)?;
    let mut net = Net::new(&path, plan(context))?;
    let end = Instant::now() + Duration::from_millis(1500);
    let (mut rounds, mut faults) = (0, 0);
    while Instant::now() < end || (faults == 0 && rounds < 1000) {
        rounds += 1;
        let stop = AtomicBool::new(false);
        let memory = net.memory.clone();
        let (tx, rx) = (net.tx.layout, net.rx.layout);
        thread::scope(|scope| -> Outcome {
            scope.spawn(|| {
                let mut dice = Dice(0x9e37_79b9_7f4a_7c15 + rounds);
                while !stop.load(Ordering::Relaxed) {
                    let layout = if dice.throw() % 2 == 0 { tx } else { rx };
                    let value = dice.throw() as u16;
                    let index = dice.throw() % u64::from(layout.size);
                    match dice.throw() % 4 {
                        // 16 bits of a descriptor.
                        0 | 1 => {
                            let field = dice.throw() % 8 * 2;
                            memory.store_u16(layout.descriptor + 16 * index + field, value);
                        }
                        // The available ring; of a packed one, what interrupts are wanted.
                        2 => memory.store_u16(layout.driver + 4 + 2 * index, value % 300),
                        _ => memory.store_u16(layout.driver + 2, value % 512),
                    }
                }
            });
            let sent = frame::make(300, net.mac, net.mac, 9);
            let run = (|| -> Outcome {
                net.fill_rx()?;
                for _ in 0..20 {
                    net.add_frame(&sent);
                    net.tx.driver.publish();
                    net.tx.kick()?;
                    net.rx.kick()?;
                    thread::sleep(Duration::from_micros(300));
                }
                Ok(())
            })();
            stop.store(true, Ordering::Relaxed);
            run
        })?;
        if net.client.status()?.contains(Status::NEEDS_RESET) {
            faults += 1;
        }
        net = net.restart()?;
    }
    context.note(format_args!("{faults} of {rounds} rounds ended in a fault"));
    check!(faults > 0, "no round ended in a fault: nothing was tried");
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

fn reset(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("race", format)?;
    let mut net = Net::new(&path, plan(context))?;
    let mut early = 0;
    for round in 0..30 {
        net.fill_rx()?;
        for number in 0..200 {
            net.add_frame(&frame::make(1000, net.mac, net.mac, number));
        }
        net.tx.driver.publish();
        net.tx.kick()?;
        thread::sleep(Duration::from_micros(100 * (round % 10)));
        net.client.reset()?;
        // Nothing happens after a reset.
        let view = net.memory.clone();
        let look = || {
            let mut bytes = vec![0; view.len()];
            view.read(view.iova(), &mut bytes);
            bytes
        };
        let before = look();
        while net.rx.interrupted(Duration::ZERO)? {}
        thread::sleep(Duration::from_millis(2));
        check!(
            before == look(),
            "memory was changed after a reset, round {round}"
        );
        check!(
            !net.rx.interrupted(Duration::ZERO)?,
            "an interrupt after a reset, round {round}"
        );
        if net.tx.used() != 200 {
            early += 1;
        }
        net = net.restart()?;
    }
    context.note(format_args!("{early} of 30 times the device was not done"));
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

fn disable(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("race", format)?;
    let mut net = Net::new(&path, plan(context))?;
    for round in 0..30 {
        net.fill_rx()?;
        for number in 0..100 {
            net.add_frame(&frame::make(1000, net.mac, net.mac, number));
        }
        net.tx.driver.publish();
        net.tx.kick()?;
        thread::sleep(Duration::from_micros(100 * (round % 10)));
        net.client.enable(TX, false)?;
        let before = net.tx.used();
        thread::sleep(Duration::from_millis(1));
        let after = net.tx.used();
        check!(
            before == after,
            "a disabled virtqueue went on, round {round}"
        );
        net.client.enable(TX, true)?;
        wait_used(&mut net, 100 * (round as usize + 1)).when(format_args!("round {round}"))?;
        net.reap()?;
        while net.receive()?.is_some() {}
    }
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}
