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
    sys,
    vhost::{Client, Plan, IOVA},
};
use std::{fs, thread::sleep, time::Duration};

pub const OPTIONS: &[&str] = &["subjects", "devices", "regions", "rounds"];

/// Bytes of a page.
const PAGE: usize = 4096;

/// Measures all that the options say.
pub fn run(options: &Options) -> Outcome {
    clock::must_count()?;
    let rounds: usize = options.get("rounds", 9)?;
    let devices: usize = options.get("devices", 100)?;
    let regions: usize = options.get("regions", 10_000)?;
    for subject in options.list::<Subject>("subjects", "rvdpa_sim")? {
        let parent = subject.parent().when("a device")?;
        let loaded = Loaded::new(subject, Memory::Pa, "")?;
        lives(subject, parent, rounds)?;
        idle(subject, parent, devices)?;
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

/// Memory and tasks of devices that have no driver.
fn idle(subject: Subject, parent: Parent, count: usize) -> Outcome {
    // For what a first device has made and does not take away.
    parent.device("bench0").add()?.delete()?;
    let (before, tasks) = (used()?, processes()?);
    let devices = (0..count)
        .map(|number| parent.device(&format!("idle{number}")).add())
        .collect::<Outcome<Vec<_>>>()?;
    let each = |now: f64, before: f64| {
        let mut samples = Samples::default();
        samples.add((now - before) / count as f64);
        samples
    };
    let memory = each(used()?, before);
    let tasks = each(processes()?, tasks);
    record("idle memory", subject).print("KiB/device", &memory);
    record("idle tasks", subject).print("tasks/device", &tasks);
    devices.into_iter().try_for_each(|device| device.delete())
}

/// KiB that are in use: the least of several looks, when all is freed that waits for it.
fn used() -> Outcome<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        sleep(Duration::from_millis(200));
        sys::write("/proc/sys/vm/drop_caches", "3")?;
        // Else devices live in what earlier ones have left free.
        for cache in sys::names("/sys/kernel/slab") {
            let _ = fs::write(format!("/sys/kernel/slab/{cache}/shrink"), "1");
        }
        sys::write("/proc/sys/vm/stat_refresh", "1")?;
        let text = fs::read_to_string("/proc/meminfo")?;
        let number = |label: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(label))
                .and_then(|rest| rest.trim().split(' ').next()?.parse::<f64>().ok())
                .when(label)
        };
        least = least.min(number("MemTotal:")? - number("MemFree:")?);
    }
    Ok(least)
}

/// How many tasks there are, but for those that work queues make and end as they like.
fn processes() -> Outcome<f64> {
    let all = sys::names("/proc").into_iter().filter(|name| {
        let comm = sys::read_line(format!("/proc/{name}/comm"));
        name.parse::<u32>().is_ok() && comm.is_ok_and(|comm| !comm.starts_with("kworker/"))
    });
    Ok(all.count() as f64)
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
