// SPDX-License-Identifier: GPL-2.0

//! What devices take that nobody uses.

use super::{
    clock,
    options::Options,
    parent::{Loaded, Memory, Subject},
    record::{Record, Samples},
};
use crate::{
    outcome::{Outcome, While},
    parent::Parent,
    sys,
};
use std::{fs, thread::sleep, time::Duration};

pub const OPTIONS: &[&str] = &["subjects", "devices"];

/// Measures all that the options say. Who comes later in a boot reuses what was left of those
/// before it.
pub fn run(options: &Options) -> Outcome {
    clock::must_count()?;
    let devices: usize = options.get("devices", 400)?;
    for subject in options.list::<Subject>("subjects", "rvdpa_sim")? {
        let parent = subject.parent().when("a device")?;
        let loaded = Loaded::new(subject, Memory::Pa, "")?;
        idle(subject, parent, devices)?;
        loaded.unload()?;
    }
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
    let record = |name| Record::new(name).with("subject", subject.name());
    record("idle memory").print("KiB/device", &memory);
    record("idle tasks").print("tasks/device", &tasks);
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
        let free = number("MemFree:")? + kept_by_processors()?;
        least = least.min(number("MemTotal:")? - free);
    }
    Ok(least)
}

/// KiB of free pages that processors keep for themselves: several MiB at one time and none at
/// another, and not in `MemFree`.
fn kept_by_processors() -> Outcome<f64> {
    const PAGE: f64 = 4.0;
    let text = fs::read_to_string("/proc/zoneinfo")?;
    let counts = text.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once(':')?;
        (name == "count").then(|| value.trim().parse::<f64>())
    });
    let pages = counts.sum::<Result<f64, _>>().when("count:")?;
    Ok(pages * PAGE)
}

/// How many tasks there are, but for those that work queues make and end as they like.
fn processes() -> Outcome<f64> {
    let all = sys::names("/proc").into_iter().filter(|name| {
        let comm = sys::read_line(format!("/proc/{name}/comm"));
        name.parse::<u32>().is_ok() && comm.is_ok_and(|comm| !comm.starts_with("kworker/"))
    });
    Ok(all.count() as f64)
}
