// SPDX-License-Identifier: GPL-2.0

//! What clients of vhost-vdpa may count on, operation by operation: what the comments in the
//! kernel's `vdpa.h` and `vhost/vdpa.c` promise them.
//!
//! vhost-vdpa refuses some things itself, so that the device never hears of them. Where that
//! is so the tests say it; they look at the errno all the same, for that is what clients see.

mod base;
mod calls;
mod config;
mod enable;
mod groups;
mod inquiry;
mod moving;
mod needs_reset;
mod states;
mod suspend;

use crate::{
    check, check_eq,
    device::Device,
    fail, frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    sys::{self, wait_for, SOON},
    tests::rings::{plan, ring_device},
    vhost::{wait_event, Format, LoopPlan, Net, Plan, RX, TX},
};
use rvdpa_virtio::{features::Features, mock::DriverMemory};
use std::{
    os::fd::{AsRawFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::Duration,
};

/// The same test with split and with packed rings.
macro_rules! each_format {
    ($($name:literal, $run:expr;)*) => {
        &[
            $(
                Test::new(concat!("contract.split.", $name), |context| {
                    $run(context, $crate::vhost::Format::Split)
                })
                .seconds(60),
                Test::new(concat!("contract.packed.", $name), |context| {
                    $run(context, $crate::vhost::Format::Packed)
                })
                .seconds(60),
            )*
        ]
    };
}
use each_format;

/// The same with the client's memory by its virtual addresses.
macro_rules! each_format_va {
    ($($name:literal, $run:expr;)*) => {
        &[
            $(
                Test::new(concat!("contract.split_va.", $name), |context| {
                    $run(context, $crate::vhost::Format::Split)
                })
                .with("use_va=1")
                .seconds(60),
                Test::new(concat!("contract.packed_va.", $name), |context| {
                    $run(context, $crate::vhost::Format::Packed)
                })
                .with("use_va=1")
                .seconds(60),
            )*
        ]
    };
}
use each_format_va;

/// All of them.
pub fn tests() -> Vec<Test> {
    [
        suspend::TESTS,
        suspend::VA_TESTS,
        moving::TESTS,
        states::TESTS,
        base::TESTS,
        enable::TESTS,
        config::TESTS,
        needs_reset::TESTS,
        calls::TESTS,
        inquiry::TESTS,
        inquiry::RINGS,
        groups::TESTS,
    ]
    .concat()
}

/// How long to look at what must not change. A device that goes on needs a millisecond.
const QUIET: Duration = Duration::from_millis(15);

/// Bytes of a frame.
const SIZE: usize = 1000;

/// A device that is set up, all but `DRIVER_OK`.
fn prepared(context: &Context, format: Format) -> Outcome<(Device, Net)> {
    let (device, path) = ring_device("contract", format)?;
    let net = Net::prepare(&path, plan(context))?;
    check_eq!(net.format(), format, "format of the rings");
    Ok((device, net))
}

/// A device that runs.
fn running(context: &Context, format: Format) -> Outcome<(Device, Net)> {
    let (device, net) = prepared(context, format)?;
    net.go()?;
    Ok((device, net))
}

fn done(device: Device, net: Net) -> Outcome {
    drop(net);
    device.delete()
}

/// Everything that the device could change if it went on.
fn everything(net: &Net) -> Vec<u8> {
    let mut all = Vec::new();
    for view in [
        &net.memory,
        &net.control_memory,
        net.rx.driver.memory(),
        net.tx.driver.memory(),
    ] {
        let start = all.len();
        all.resize(start + view.len(), 0);
        view.read(view.iova(), &mut all[start..]);
    }
    all
}

/// Forgets the interrupts that have come so far.
fn forget_interrupts(net: &Net) -> Outcome {
    for queue in [&net.rx, &net.tx].into_iter().chain(&net.control) {
        queue.interrupts()?;
    }
    while wait_event(&net.config_call, Duration::ZERO)? {}
    Ok(())
}

/// Sees that no interrupt has come since they were forgotten.
fn no_interrupts(net: &Net, when: &str) -> Outcome {
    for queue in [&net.rx, &net.tx].into_iter().chain(&net.control) {
        let count = queue.interrupts()?;
        check_eq!(count, 0, "interrupts of virtqueue {} {when}", queue.index);
    }
    let config = wait_event(&net.config_call, Duration::ZERO)?;
    check!(!config, "a config interrupt {when}");
    Ok(())
}

/// Kicks all virtqueues of a device that must not do anything, and sees that it does
/// nothing: to no memory, by no interrupt.
fn is_still(net: &Net, when: &str) -> Outcome {
    forget_interrupts(net)?;
    let before = everything(net);
    for queue in [&net.rx, &net.tx].into_iter().chain(&net.control) {
        queue.kick()?;
    }
    sleep(QUIET);
    check!(
        before == everything(net),
        "the device has changed memory {when}"
    );
    no_interrupts(net, when)
}

/// Frames by number: which one is added next, and which one has to come next.
#[derive(Default)]
struct Numbered {
    added: u64,
    come: u64,
}

impl Numbered {
    /// Adds frames, as many as there is room for, and shows them to the device. Returns how
    /// many.
    fn add(&mut self, net: &mut Net, most: usize) -> u64 {
        let before = self.added;
        for _ in 0..most {
            if !net.add_frame(&frame::make(SIZE, net.mac, net.mac, self.added)) {
                break;
            }
            self.added += 1;
        }
        net.tx.driver.publish();
        self.added - before
    }

    /// Takes what has come, which has to be the next ones, as they were sent.
    fn take(&mut self, net: &mut Net) -> Outcome {
        while let Some(got) = net.receive()? {
            if self.come == self.added {
                fail!("a frame came that was not sent: {:?}", frame::number(&got));
            }
            let sent = frame::make(SIZE, net.mac, net.mac, self.come);
            if let Some(difference) = frame::difference(&got, &sent) {
                let number = frame::number(&got);
                fail!("frame {} came as {number:?}: {difference}", self.come);
            }
            self.come += 1;
        }
        Ok(())
    }

    /// Waits until all have come, with no kick, and all are given back.
    fn take_all(&mut self, net: &mut Net) -> Outcome {
        let mut last = self.come;
        while self.come < self.added {
            let next = format!("frame {last} of {}", self.added);
            wait_for(&next, SOON, || {
                self.take(net)?;
                Ok((self.come > last).then_some(()))
            })?;
            last = self.come;
        }
        wait_for("frames given back", SOON, || {
            net.reap()?;
            Ok((net.tx.posted() == 0).then_some(()))
        })
    }
}

/// Looks for the moment at which a device is in the middle of its work, on whatever machine.
struct Moment {
    delay: Duration,
    rounds: u32,
    early: u32,
}

impl Moment {
    fn new() -> Self {
        Self {
            delay: Duration::from_micros(100),
            rounds: 0,
            early: 0,
        }
    }

    /// Whether there is to be another round: until there were `least`, and then until it was
    /// found, if that comes in time.
    fn goes_on(&self, least: u32) -> bool {
        self.rounds < least || (self.early == 0 && self.rounds < 20 * least)
    }

    /// Waits for it.
    fn wait(&self) {
        if !self.delay.is_zero() {
            sleep(self.delay);
        }
    }

    /// Notes whether the device was still working then.
    fn was(&mut self, working: bool) {
        self.rounds += 1;
        if working {
            self.early += 1;
            self.delay = (self.delay * 2 + Duration::from_micros(10)).min(QUIET);
        } else {
            let half = self.delay.as_micros() as u64 / 2;
            self.delay = Duration::from_micros(half);
        }
    }

    /// Says how often it was found. Never is a failure.
    fn found(&self, context: &mut Context) -> Outcome {
        let Self { rounds, early, .. } = *self;
        context.note(format_args!(
            "{early} of {rounds} times the device was not done"
        ));
        check!(early > 0, "the device was always done: nothing was tried");
        Ok(())
    }
}

/// Has frames looped by another thread, which notices each one that is missing, while `each` is
/// done to the device over and over, with its round. Returns how many frames.
fn under_a_flood(
    net: &mut Net,
    rounds: u64,
    mut each: impl FnMut(RawFd, u64) -> Outcome,
) -> Outcome<u64> {
    let fd = net.client.as_raw_fd();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| -> Outcome<u64> {
            let what = LoopPlan {
                count: 200,
                size: 600,
                in_flight: 80,
            };
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                net.loop_frames(what)
                    .when(format_args!("after {count} frames"))?;
                count += what.count;
            }
            Ok(count)
        });
        let mut result = Ok(());
        for round in 0..rounds {
            if flood.is_finished() || result.is_err() {
                break;
            }
            sleep(Duration::from_micros(100 + 270 * (round % 11)));
            result = each(fd, round);
        }
        stop.store(true, Ordering::Relaxed);
        // What it noticed says more.
        let count = flood.join().expect("the flood does not panic")?;
        result.map(|()| count)
    })
}

/// Where the queue has to stand that started at its format's start and has used so many
/// chains of one descriptor.
fn base_after(net: &Net, used: usize) -> u32 {
    let format = net.format();
    let size = net.plan.size;
    // The same place comes again after so many.
    let used = match format {
        Format::Split => used % 0x1_0000,
        Format::Packed => used % (2 * usize::from(size)),
    };
    format.base(format.advance(format.start(), used as u16, size))
}

/// Sees that the device has got as far as its used rings say, and no further.
fn bases_are_final(net: &mut Net) -> Outcome {
    for index in [RX, TX] {
        let used = if index == RX {
            net.rx.used()
        } else {
            net.tx.used()
        };
        check_eq!(
            net.client.base(index)?,
            base_after(net, used),
            "base of virtqueue {index}, of which {used} chains were used"
        );
    }
    Ok(())
}

/// Sets the carrier.
fn set_link(device: &Device, up: bool) -> Outcome {
    let file = format!("/sys/kernel/debug/rvdpa_sim/devices/{}/link", device.name());
    sys::write(file, if up { "up" } else { "down" })
}

/// A device that runs, whose driver wants an interrupt for each batch of chains, and is told
/// by a flag whether to kick.
fn eager(context: &Context, format: Format) -> Outcome<(Device, Net)> {
    let (device, path) = ring_device("contract", format)?;
    let net = Net::new(&path, eager_plan(context))?;
    for queue in [&net.rx, &net.tx] {
        queue.driver.enable_interrupts();
    }
    Ok((device, net))
}

fn eager_plan(context: &Context) -> Plan {
    plan(context).without(Features::EVENT_IDX)
}
