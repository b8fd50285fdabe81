// SPDX-License-Identifier: GPL-2.0

//! The processors of the machine.

use crate::{
    outcome::{Outcome, While},
    sys,
};
use nix::errno::Errno;

/// The CPUs that are online.
pub fn online() -> Outcome<Vec<u32>> {
    let text = sys::read_line("/sys/devices/system/cpu/online")?;
    let mut all = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: u32 = first.parse().when(&text)?;
        let last: u32 = last.parse().when(&text)?;
        all.extend(first..=last);
    }
    Ok(all)
}

/// Keeps the calling thread on some CPUs, none of which is above 63.
pub fn pin(cpus: &[u32]) -> Outcome {
    let mask: u64 = cpus.iter().map(|cpu| 1_u64 << cpu).sum();
    // SAFETY: The mask is valid for its length, and only the calling thread is concerned.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of_val(&mask), (&raw const mask).cast()) };
    Errno::result(result)
        .map(drop)
        .when(format_args!("staying on CPUs {cpus:?}"))
}

/// A CPU that is offline until the value goes.
pub struct Offline(u32);

impl Offline {
    /// Takes a CPU offline.
    pub fn new(cpu: u32) -> Outcome<Self> {
        set_online(cpu, false)?;
        Ok(Self(cpu))
    }

    /// Brings it back, which must work.
    pub fn end(self) -> Outcome {
        set_online(self.0, true)?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        let _ = set_online(self.0, true);
    }
}

fn set_online(cpu: u32, online: bool) -> Outcome {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/online");
    sys::write(path, if online { "1" } else { "0" })
}
