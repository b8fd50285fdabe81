// SPDX-License-Identifier: GPL-2.0

//! Whether the kernel still looks at the order of locks (`CONFIG_PROVE_LOCKING`): it stops
//! with its first complaint, and when one of its tables is full.

use super::Verdict;
use crate::outcome::{Outcome, While};
use std::fs;

const FILE: &str = "/proc/lockdep_stats";

/// What the kernel knows of locks.
pub struct Lockdep(String);

impl Lockdep {
    pub const NAME: &str = "the order of locks was looked at all the time (lockdep)";

    /// As it is now. Nothing if the kernel does not look.
    pub fn now() -> Option<Self> {
        fs::read_to_string(FILE).ok().map(Self)
    }

    /// The value in a line.
    fn get(&self, name: &str) -> Outcome<&str> {
        self.0
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(left, _)| left.trim() == name)
            .map(|(_, right)| right.trim())
            .when(format_args!("{FILE}: {name}"))
    }

    /// Whether it looks.
    pub fn is_on(&self) -> Outcome<bool> {
        Ok(self.get("debug_locks")? == "1")
    }

    /// How full its tables are, where the kernel says how much they can hold.
    pub fn tables(&self) -> impl Iterator<Item = String> + '_ {
        self.0
            .lines()
            .filter(|line| line.contains("[max:"))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    pub fn verdict(&self) -> Outcome<Verdict> {
        let mut verdict = Verdict::default();
        if !self.is_on()? {
            verdict.failures.push(format!("{FILE}: it has stopped"));
        }
        Ok(verdict)
    }
}
