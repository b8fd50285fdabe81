// SPDX-License-Identifier: GPL-2.0

//! What is not done for each frame: making devices, mapping memory, suspending.

use super::{
    batch::Batch,
    clock::{self, Ahead},
    options::Options,
    parent::{Loaded, Memory, Subject},
    record::{Record, Samples},
};
use crate::{
    arena::{Kind, View},
    ioctl::{self, Permission},
    netlink::{attribute, command, Attributes, Bus},
    outcome::{Outcome, While},
    parent::Parent,
    vhost::{Client, Plan, IOVA},
};

pub const OPTIONS: &[&str] = &["subjects", "regions", "rounds"];

/// Bytes of a page.
const PAGE: usize = 4096;

/// Measures all that the options say.
pub fn run(options: &Options) -> Outcome {
    clock::must_count()?;
    let rounds: usize = options.get("rounds", 9)?;
    let regions: usize = options.get("regions", 10_000)?;
    for subject in options.list::<Subject>("subjects", "rvdpa_sim")? {
        let parent = subject.parent().when("a device")?;
        let loaded = Loaded::new(subject, Memory::Pa, "")?;
        lives(subject, parent, rounds)?;
        mappings(subject, parent, regions)?;
        running(subject, parent, rounds)?;
        loaded.unload()?;
    }
    Ok(())
}

fn record(name: &'static str, subject: Subject) -> Record {
    Record::new(name).with("subject", subject.name())
}

/// Calls something, and returns what it took.
fn take<T>(act: impl FnOnce() -> Outcome<T>) -> Outcome<(T, f64)> {
    let start = clock::now();
    let made = act()?;
    Ok((made, (clock::now() - start) as f64))
}

/// Makes a device and deletes it, over a socket that is open already.
fn lives(subject: Subject, parent: Parent, rounds: usize) -> Outcome {
    let mut bus = Bus::new()?;
    let name = Attributes::named(b"bench0");
    let new = name
        .clone()
        .string(attribute::MGMTDEV_DEV_NAME, parent.mgmtdev());
    let (mut add, mut delete) = (Samples::default(), Samples::default());
    for round in 0..=rounds {
        let (_, first) = take(|| bus.command(command::DEV_NEW, &new).when("dev add"))?;
        let (_, last) = take(|| bus.command(command::DEV_DEL, &name).when("dev del"))?;
        if round > 0 {
            add.add(first);
            delete.add(last);
        }
    }
    record("add", subject).print("instructions", &add);
    record("delete", subject).print("instructions", &delete);
    Ok(())
}

/// Maps regions one by one, unmaps them, and maps them once more in one batch.
fn mappings(subject: Subject, parent: Parent, count: usize) -> Outcome {
    let (device, path) = parent.device("bench0").make()?;
    let client = Client::open(&path)?;
    let memory = View::new(Kind::Shared, IOVA, 512 * PAGE)?;
    let region = |number: usize| {
        let pointer = memory.pointer(IOVA + (number % 512 * PAGE) as u64, PAGE);
        (IOVA + (2 * number * PAGE) as u64, pointer)
    };
    let map = |number: usize| {
        let (iova, pointer) = region(number);
        ioctl::map(&client, 0, iova, PAGE as u64, pointer, Permission::Both).when("a mapping")
    };
    let unmap = |number: usize| {
        let (iova, _) = region(number);
        ioctl::unmap(&client, 0, iova, PAGE as u64).when("unmapping")
    };
    // Pages, and what a parent does at the first mapping.
    (0..512).try_for_each(map)?;
    (0..512).try_for_each(unmap)?;

    let few = count.min(1000);
    let (mut mapping, mut unmapping) = (Samples::default(), Samples::default());
    for number in 0..few {
        mapping.add(take(|| map(number))?.1);
    }
    for number in 0..few {
        unmapping.add(take(|| unmap(number))?.1);
    }
    record("map", subject).print("instructions", &mapping);
    record("unmap", subject).print("instructions", &unmapping);

    let mut batch = Samples::default();
    let ((), all) = take(|| {
        ioctl::batch_begin(&client, 0).when("a batch")?;
        (0..count).try_for_each(map)?;
        ioctl::batch_end(&client, 0).when("the end of a batch")
    })?;
    batch.add(all / count as f64);
    record("map in a batch", subject)
        .with("regions", count)
        .print("instructions/region", &batch);
    drop(client);
    device.delete()
}

/// A device that works: from a kick to the first frame, suspending, going on.
fn running(subject: Subject, parent: Parent, rounds: usize) -> Outcome {
    let (device, path) = parent.device("bench0").make()?;
    let plan = Plan::default();
    let mut batch = Batch::new(&path, plan, 64, 1, 1)?;
    batch.run()?;
    let ahead = Ahead::new()?;
    let mut first = Samples::default();
    for _ in 0..rounds {
        let (took, done) = batch.run()?;
        if done {
            first.add(took as f64);
        }
    }
    drop(ahead);
    record("kick to first frame", subject).print("instructions", &first);
    drop(batch);

    let mut batch = Batch::new(&path, plan, 64, 256, 1)?;
    let (mut suspend, mut resume) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        batch.fill()?;
        let start = clock::now();
        batch.net().tx.kick()?;
        let end = clock::now();
        let client = &batch.net().client;
        suspend.add(take(|| client.suspend())?.1);
        resume.add(take(|| ioctl::resume(client).when("RESUME"))?.1);
        batch.net().tx.kick()?;
        batch.collect(start, end)?;
    }
    record("suspend", subject).print("instructions", &suspend);
    record("resume", subject).print("instructions", &resume);
    drop(batch);
    device.delete()
}
