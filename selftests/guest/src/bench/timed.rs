// SPDX-License-Identifier: GPL-2.0

//! What takes several CPUs, or is about who gets them. It is time that is measured, so only
//! what is compared with something else of the same minute means anything.

use super::{fairness, load, options::Options, pairs, rate};
use crate::{
    cpus, named,
    outcome::{Outcome, Stop},
};

named! {
    /// What is measured.
    Task {
        /// Several queue pairs at work at a time.
        Pairs = "pairs",
        /// A queue pair beside one that is flooded.
        Fairness = "fairness",
        /// Programs beside a device that has all that it can do.
        Load = "load",
        /// Frames beside copies of as many bytes.
        Rate = "rate",
    }
}

pub const OPTIONS: &[&str] = &["tasks", "pairs", "rounds"];

/// Measures all that the options say.
pub fn run(options: &Options) -> Outcome {
    let cpus = cpus::online()?;
    if cpus.len() < 2 {
        return Err(Stop::Skipped("there is only one CPU".into()));
    }
    let rounds: usize = options.get("rounds", 9)?;
    for task in options.list::<Task>("tasks", "pairs,fairness,load,rate")? {
        match task {
            Task::Pairs => pairs::run(&options.list("pairs", "1,2,4")?, rounds, &cpus)?,
            Task::Fairness => fairness::run(rounds, &cpus)?,
            Task::Load => load::run(rounds, &cpus)?,
            Task::Rate => rate::run(rounds)?,
        }
    }
    Ok(())
}
