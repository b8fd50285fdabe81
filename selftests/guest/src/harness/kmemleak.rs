// SPDX-License-Identifier: GPL-2.0

//! Memory that nobody refers to any more, as the kernel finds it (`CONFIG_DEBUG_KMEMLEAK`).

use super::Verdict;
use crate::{
    outcome::{Outcome, While},
    sys,
};
use std::{fs, path::Path, thread::sleep, time::Duration};

/// Where the kernel is asked.
const FILE: &str = "/sys/kernel/debug/kmemleak";

/// Younger objects are not reported.
const AGE: Duration = Duration::from_secs(6);

/// How many times the kernel looks before an object counts as lost: it reports none that
/// it sees for the first time, and a reference may have been in a register.
const LOOKS: usize = 4;

/// The search for what is lost from some time on.
pub struct Kmemleak(());

impl Kmemleak {
    pub const NAME: &str = "no memory is lost (kmemleak)";

    /// What is lost before does not count. Nothing if the kernel does not look.
    pub fn start() -> Outcome<Option<Self>> {
        if !Path::new(FILE).exists() {
            return Ok(None);
        }
        sys::write(FILE, "scan")?;
        sys::write(FILE, "clear")?;
        Ok(Some(Self(())))
    }

    /// The objects that are lost, with where they were allocated.
    pub fn verdict(self) -> Outcome<Verdict> {
        let mut report = String::new();
        for look in 0..LOOKS {
            sleep(AGE);
            sys::write(FILE, "scan")?;
            report = fs::read_to_string(FILE).when(FILE)?;
            if look > 0 && report.is_empty() {
                break;
            }
        }
        Ok(Verdict {
            failures: report.lines().map(str::to_owned).collect(),
            ..Verdict::default()
        })
    }
}
