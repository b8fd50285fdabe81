// SPDX-License-Identifier: GPL-2.0

//! Runs tests.
//!
//! Each test runs in a process of its own, so that one that hangs, panics or leaves
//! something open is no harm to the next, and so that the process that counts never does
//! anything that could hang. The test's process loads the module, runs the test, looks
//! whether it left everything as it was, and unloads the module. What it has to say goes
//! through a pipe, line by line.

mod kmemleak;
mod lockdep;
mod report;
mod runner;
mod tidy;

pub use kmemleak::Kmemleak;
pub use lockdep::Lockdep;
pub use report::Report;
pub use runner::{run_all, run_one, say, Totals, Verdict};

use crate::{kmsg::Log, outcome::Outcome, parent::Parent};
use std::time::Duration;

/// How much longer than on a machine that does nothing else a test may take.
const PATIENCE: u64 = 6;

const fn limit(seconds: u64) -> Duration {
    Duration::from_secs(seconds * PATIENCE)
}

/// One test.
#[derive(Clone, Copy)]
pub struct Test {
    /// Its name: the subject and the rule.
    pub name: &'static str,
    pub run: fn(&mut Context) -> Outcome,
    /// The module's parameters, or none if the test loads the module itself.
    pub parameters: Option<&'static str>,
    /// How long it may take.
    pub limit: Duration,
    /// Whose devices it uses.
    pub parent: Parent,
    /// Whether it has allocations fail.
    pub without_memory: bool,
}

impl Test {
    /// A test with the module's default parameters.
    pub const fn new(name: &'static str, run: fn(&mut Context) -> Outcome) -> Self {
        Self {
            name,
            run,
            parameters: Some(""),
            limit: limit(20),
            parent: Parent::Rvdpa,
            without_memory: false,
        }
    }

    /// The same test with parameters for the module.
    pub const fn with(self, parameters: &'static str) -> Self {
        Self {
            parameters: Some(parameters),
            ..self
        }
    }

    /// The same test without the module.
    pub const fn without_module(self) -> Self {
        Self {
            parameters: None,
            ..self
        }
    }

    /// The same test, which has allocations fail.
    pub const fn without_memory(self) -> Self {
        Self {
            without_memory: true,
            ..self
        }
    }

    /// The same test with another limit, in seconds on a machine that does nothing else.
    pub const fn seconds(self, seconds: u64) -> Self {
        Self {
            limit: limit(seconds),
            ..self
        }
    }
}

/// What a test has to do with the one who runs it.
pub struct Context {
    report: Report,
    /// The kernel log since the test began.
    pub log: Log,
    /// The module's parameters.
    pub parameters: &'static str,
    /// Whose devices the test uses.
    pub parent: Parent,
}

impl Context {
    /// Says what comes next, for the case that it never ends.
    pub fn step(&mut self, what: impl std::fmt::Display) {
        self.report.step(&what.to_string());
    }

    /// Says something about the test that is worth knowing though it passes.
    pub fn note(&mut self, what: impl std::fmt::Display) {
        self.report.note(&what.to_string());
    }

    /// Names the version of the client that is used.
    pub fn version(&mut self, version: impl std::fmt::Display) {
        self.report.version(&version.to_string());
    }

    /// Says what a client was seen to do, for the table of clients; as often as you like.
    pub fn exercised(&mut self, what: impl std::fmt::Display) {
        self.report.exercised(&what.to_string());
    }

    /// Whether the module runs with this parameter.
    pub fn has(&self, parameter: &str) -> bool {
        self.parameters.split(' ').any(|word| word == parameter)
    }
}
