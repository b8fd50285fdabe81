// SPDX-License-Identifier: GPL-2.0

//! What a test's process says to the one that counts.

use crate::outcome::{Outcome, Stop};
use std::{fs::File, io::Write, sync::Arc};

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// What is being done now.
    Step(String),
    /// Something worth knowing.
    Note(String),
    /// Why the test failed.
    Failure(String),
    /// Why the test did not run.
    Skip(String),
    /// The version of a client.
    Version(String),
    /// What a client did.
    Exercised(String),
}

impl Line {
    fn encode(&self) -> String {
        let (kind, text) = match self {
            Self::Step(text) => ('s', text),
            Self::Note(text) => ('n', text),
            Self::Failure(text) => ('f', text),
            Self::Skip(text) => ('k', text),
            Self::Version(text) => ('v', text),
            Self::Exercised(text) => ('e', text),
        };
        // A pipe keeps no more than 4096 bytes together.
        let text: String = text.replace('\n', " | ").chars().take(1000).collect();
        format!("{kind}{text}\n")
    }

    /// Takes a line apart.
    pub fn decode(line: &str) -> Option<Self> {
        let kind = line.chars().next()?;
        let text = line.get(1..)?.to_owned();
        Some(match kind {
            's' => Self::Step(text),
            'n' => Self::Note(text),
            'f' => Self::Failure(text),
            'k' => Self::Skip(text),
            'v' => Self::Version(text),
            'e' => Self::Exercised(text),
            _ => return None,
        })
    }
}

/// The writing end.
#[derive(Clone)]
pub struct Report(Arc<File>);

impl Report {
    pub fn new(pipe: File) -> Self {
        Self(Arc::new(pipe))
    }

    fn say(&self, line: &Line) {
        // Nobody is left to be told if it fails.
        let _ = (&*self.0).write_all(line.encode().as_bytes());
    }

    pub fn step(&self, text: &str) {
        self.say(&Line::Step(text.to_owned()));
    }

    pub fn note(&self, text: &str) {
        self.say(&Line::Note(text.to_owned()));
    }

    pub fn version(&self, text: &str) {
        self.say(&Line::Version(text.to_owned()));
    }

    pub fn exercised(&self, text: &str) {
        self.say(&Line::Exercised(text.to_owned()));
    }

    pub fn failure(&self, text: &str) {
        self.say(&Line::Failure(text.to_owned()));
    }

    /// Says how a part of the test ended. Returns whether it went well.
    pub fn outcome(&self, outcome: Outcome) -> bool {
        match outcome {
            Ok(()) => return true,
            Err(Stop::Failed(text)) => self.failure(&text),
            Err(Stop::Skipped(text)) => self.say(&Line::Skip(text)),
        }
        false
    }
}
