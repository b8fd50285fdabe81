// SPDX-License-Identifier: GPL-2.0

//! What `testpmd` has counted.

use crate::outcome::{Outcome, While};
use std::{collections::BTreeMap, fmt};

/// The extended statistics of a port, since the program was started.
#[derive(Debug, Default, Clone)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads what `show port xstats` prints.
    pub fn parse(text: &str) -> Outcome<Self> {
        let line = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        let all: BTreeMap<_, _> = text.lines().filter_map(line).collect();
        (!all.is_empty())
            .then_some(Self(all))
            .when(format_args!("statistics in '{text}'"))
    }

    /// A number by its name.
    pub fn get(&self, name: &str) -> Outcome<u64> {
        self.0
            .get(name)
            .copied()
            .when(format_args!("'{name}' among the statistics of testpmd"))
    }

    /// Frames received.
    pub fn rx(&self) -> Outcome<u64> {
        self.get("rx_good_packets")
    }

    /// Frames sent.
    pub fn tx(&self) -> Outcome<u64> {
        self.get("tx_good_packets")
    }
}

/// Those that are not zero.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "testpmd:")?;
        for (name, value) in self.0.iter().filter(|(_, value)| **value != 0) {
            write!(f, " {name} {value}")?;
        }
        Ok(())
    }
}
