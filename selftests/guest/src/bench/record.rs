// SPDX-License-Identifier: GPL-2.0

//! Figures.

use serde_json::{json, Map, Value};

/// Several measurements of one thing.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut all = self.0.clone();
        all.sort_by(f64::total_cmp);
        all
    }

    /// The value that so many percent of all do not exceed.
    pub fn percentile(&self, percent: usize) -> f64 {
        let all = self.sorted();
        let rank = (all.len() * percent).div_ceil(100).max(1);
        all.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// Half of the samples lie within so many percent of the median, upwards and downwards.
    pub fn spread(&self) -> f64 {
        let span = self.percentile(75) - self.percentile(25);
        100.0 * span / self.median()
    }
}

/// A figure, with what it is of.
#[derive(Clone, Debug)]
pub struct Record {
    name: &'static str,
    /// What makes it this figure and no other.
    of: Map<String, Value>,
    /// What was seen beside it.
    and: Map<String, Value>,
}

impl Record {
    /// A figure of this name.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            of: Map::new(),
            and: Map::new(),
        }
    }

    /// Says one thing about what was measured.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.of.insert(name.to_owned(), value.into());
        self
    }

    /// Adds something that was seen beside it.
    pub fn and(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.and.insert(name.to_owned(), value.into());
        self
    }

    /// The record as a line: the median of the samples and what is around it.
    pub fn line(&self, unit: &str, samples: &Samples) -> String {
        let round = |value: f64| (value * 100.0).round() / 100.0;
        json!({
            "name": self.name,
            "of": self.of,
            "and": self.and,
            "unit": unit,
            "value": round(samples.median()),
            "least": round(samples.percentile(0)),
            "most": round(samples.percentile(100)),
            "spread": round(samples.spread()),
            "samples": samples.count(),
        })
        .to_string()
    }

    /// Prints that line.
    pub fn print(&self, unit: &str, samples: &Samples) {
        println!("{}", self.line(unit, samples));
    }
}
