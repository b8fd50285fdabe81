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

/// Measures copies of frames of each size, as many as a batch has.
pub fn run(options: &Options) -> Outcome {
    clock::must_count()?;
    let rounds: usize = options.get("rounds", 9)?;
    let module = env::var("RVDPA_COPY")
        .map_err(|_| Stop::Skipped("RVDPA_COPY names no module that copies".into()))?;
    sys::run(&["insmod", &module])?;
    for size in options.list::<usize>("sizes", "64,512,1500,9000,65535")? {
        let mut samples = Samples::default();
        for round in 0..=rounds {
            sys::write(COPY, &size.to_string())?;
            let text = sys::read_line(COPY)?;
            let (copies, cycles) = text.split_once(' ').when(&text)?;
            let (copies, cycles): (f64, f64) =
                (copies.parse().when(&text)?, cycles.parse().when(&text)?);
            // The first is for all that is done once.
            if round > 0 {
                samples.add(cycles / copies);
            }
        }
        Record::new("copy")
            .with("subject", "reference")
            .with("size", size)
            .print("instructions/frame", &samples);
    }
    sys::run(&["rmmod", "rvdpa_copy"]).map(drop)
}
