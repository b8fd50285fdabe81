// SPDX-License-Identifier: GPL-2.0

//! How much the device's workers work.

use crate::{
    check,
    outcome::Outcome,
    sys::{names, scaled, SOON},
};
use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

/// For how long they are watched at a time.
const WINDOW: Duration = Duration::from_millis(20);

/// How long the kernel's workers have run so far, all together.
fn time() -> Duration {
    let mut sum = 0;
    for process in names("/proc") {
        if !process.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}"));
        let comm = read("comm").unwrap_or_default();
        if comm.starts_with("kworker/") || comm.starts_with("vDPA sim") {
            let text = read("schedstat").unwrap_or_default();
            let first = text.split(' ').next().unwrap_or_default();
            sum += first.parse().unwrap_or(0);
        }
    }
    Duration::from_nanos(sum)
}

/// Waits until the workers do next to nothing: what others have them do is little.
pub fn rest() -> Outcome {
    let start = Instant::now();
    loop {
        let (from, before) = (Instant::now(), time());
        sleep(WINDOW);
        let worked = time().saturating_sub(before);
        let took = from.elapsed();
        if worked < took / 2 {
            return Ok(());
        }
        check!(
            start.elapsed() < scaled(SOON),
            "the kernel's workers work on and on: {worked:?} of {took:?}"
        );
    }
}
