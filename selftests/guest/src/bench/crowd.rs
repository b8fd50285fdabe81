// SPDX-License-Identifier: GPL-2.0

//! Many devices that are all at work.

use super::{
    alone::C_FEATURES,
    batch::Batch,
    clock::{self, Ahead},
    options::Options,
    parent::{Loaded, Memory, Subject},
    record::{Record, Samples},
};
use crate::{
    arena::View,
    check,
    device::Device,
    ioctl::Permission,
    outcome::{Outcome, While},
    sys,
    vhost::{Client, Net, Plan, BASIC, IOVA},
};
use rvdpa_virtio::features::Features;

pub const OPTIONS: &[&str] = &["subjects", "devices", "rounds"];

/// Bytes of a frame.
const SIZE: usize = 64;
/// Descriptors of a ring, and frames for a kick.
const RING: u16 = 64;
/// Room for a frame and its header.
const ROOM: usize = 512;
/// Room for the rings and buffers of a device, of which none lies in two huge pages.
const SLICE: usize = 128 << 10;
/// How many files a device takes at most.
const FILES: usize = 16;

/// Measures all that the options say.
pub fn run(options: &Options) -> Outcome {
    clock::must_count()?;
    let rounds: usize = options.get("rounds", 5)?;
    for subject in options.list::<Subject>("subjects", "rvdpa_sim")? {
        let loaded = Loaded::new(subject, Memory::Pa, "")?;
        for devices in options.list::<usize>("devices", "1,10,100,1000")? {
            one(subject, devices, rounds)?;
        }
        loaded.unload()?;
    }
    Ok(())
}

/// Sets a device up in its part of the memory.
fn batch(path: &str, memory: &View, number: usize, features: Features) -> Outcome<Batch> {
    let plan = Plan {
        // Nobody commands.
        features: features.without(Features::NET_CTRL_VQ | Features::NET_CTRL_MAC_ADDR),
        size: RING,
        room: ROOM,
        iova: IOVA + (number * SLICE) as u64,
        map: false,
        ..Plan::default()
    };
    // Of no use without a queue for it.
    let control = View::new(plan.kind, plan.control_iova, 64 << 10)?;
    let net = Net::on(Client::open(path)?, plan, memory.clone(), control)?;
    net.client
        .map(0, memory, plan.iova, SLICE, Permission::Both)?;
    Batch::on(net, SIZE, RING.into())
}

/// Measures so many devices, each of which gets a ring full of frames before any of these is
/// taken back.
fn one(subject: Subject, count: usize, rounds: usize) -> Outcome {
    let parent = subject.parent().when("a device")?;
    let features = match subject {
        Subject::Ours => BASIC,
        Subject::C | Subject::Reference => C_FEATURES,
    };
    sys::raise_files(count * FILES + 256)?;
    let memory = View::new(Memory::Pa.kind(), IOVA, count * SLICE)?;
    let mut devices: Vec<Device> = Vec::new();
    let mut batches = Vec::new();
    for number in 0..count {
        let name = format!("busy{number}");
        let (device, path) = parent.device(&name).features(features).make()?;
        devices.push(device);
        batches.push(batch(&path, &memory, number, features)?);
    }
    // Once for all that is done once.
    batches
        .iter_mut()
        .try_for_each(|batch| batch.run().map(drop))?;
    let ahead = Ahead::new()?;
    let mut samples = Samples::default();
    let mut late = 0_u64;
    for _ in 0..rounds {
        let mut empty = Samples::default();
        for batch in &mut batches {
            empty.add(batch.empty()? as f64);
        }
        batches.iter_mut().try_for_each(Batch::fill)?;
        let start = clock::now();
        for batch in &batches {
            batch.net().tx.kick()?;
        }
        let end = clock::now();
        let mut done = true;
        for batch in &mut batches {
            done &= batch.collect(start, end)?.1;
        }
        if !done {
            // The driver got the processor in between.
            late += 1;
            continue;
        }
        let kicks = empty.median() * count as f64;
        samples.add(((end - start) as f64 - kicks) / (count * usize::from(RING)) as f64);
    }
    drop(ahead);
    check!(
        samples.count() * 2 > rounds,
        "the driver ran before {count} devices were done, {late} times of {rounds}"
    );
    Record::new("crowd")
        .with("subject", subject.name())
        .with("devices", count)
        .and("late", late)
        .print("instructions/frame", &samples);
    drop(batches);
    devices.into_iter().try_for_each(Device::delete)
}
