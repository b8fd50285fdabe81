// SPDX-License-Identifier: GPL-2.0

//! The limit: what the kernel takes to copy as many bytes, and do nothing else.

use super::{
    clock,
    options::Options,
    record::{Record, Samples},
};
use crate::{
    outcome::{Outcome, Stop, While},
    sys,
};
use std::env;

pub const OPTIONS: &[&str] = &["sizes", "rounds"];

/// A module that copies, and what it says of it.
const COPY: &str = "/sys/module/rvdpa_copy/parameters/copy";

/// The module, loaded until the value goes.
pub struct Copies(());

impl Copies {
    /// Loads it.
    pub fn new() -> Outcome<Self> {
        let module = env::var("RVDPA_COPY")
            .map_err(|_| Stop::Skipped("RVDPA_COPY names no module that copies".into()))?;
        sys::run(&["insmod", &module])?;
        Ok(Self(()))
    }

    /// Has frames of `size` bytes copied, as many as a batch has. Returns the cycles for one.
    pub fn one(&self, size: usize) -> Outcome<f64> {
        sys::write(COPY, &size.to_string())?;
        let text = sys::read_line(COPY)?;
        let (copies, cycles) = text.split_once(' ').when(&text)?;
        let (copies, cycles): (f64, f64) =
            (copies.parse().when(&text)?, cycles.parse().when(&text)?);
        Ok(cycles / copies)
    }

    /// Unloads it, which must work.
    pub fn end(self) -> Outcome {
        std::mem::forget(self);
        sys::run(&["rmmod", "rvdpa_copy"]).map(drop)
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = sys::run(&["rmmod", "rvdpa_copy"]);
    }
}

/// Measures copies of frames of each size.
pub fn run(options: &Options) -> Outcome {
    clock::must_count()?;
    let rounds: usize = options.get("rounds", 9)?;
    let copies = Copies::new()?;
    for size in options.list::<usize>("sizes", "64,512,1500,9000,65535")? {
        // For all that is done once.
        copies.one(size)?;
        let mut samples = Samples::default();
        for _ in 0..rounds {
            samples.add(copies.one(size)?);
        }
        Record::new("copy")
            .with("subject", "reference")
            .with("size", size)
            .print("instructions/frame", &samples);
    }
    copies.end()
}
