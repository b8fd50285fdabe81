// SPDX-License-Identifier: GPL-2.0

//! Round-trip times.

use std::time::Duration;

/// Collects times.
#[derive(Default)]
pub struct Meter(Vec<Duration>);

impl Meter {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that so many percent of all do not exceed, in microseconds.
    pub fn percentile(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0
            .get(rank - 1)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }
}
