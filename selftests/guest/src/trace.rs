// SPDX-License-Identifier: GPL-2.0

//! What the kernel tells of itself: trace events, and calls of functions.

use crate::{
    outcome::{Outcome, While},
    skip, sys,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where instances are.
const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// One kind of event, or calls of some functions, recorded until the value goes.
pub struct Trace(PathBuf);

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// The name of the thread that it happened in.
    pub thread: String,
    /// The CPU that it happened on.
    pub cpu: u32,
    /// What the event itself says.
    pub text: String,
}

impl Trace {
    /// Starts to record events, such as `napi/napi_poll`. Skips the test if the kernel has
    /// none.
    pub fn new(event: &str) -> Outcome<Self> {
        let trace = Self::instance()?;
        sys::write(trace.0.join("events").join(event).join("enable"), "1")?;
        Ok(trace)
    }

    /// Starts to record calls of functions. Skips the test if the kernel cannot.
    pub fn calls(functions: &[&str]) -> Outcome<Self> {
        let trace = Self::instance()?;
        let tracers = sys::read_line(trace.0.join("available_tracers"))?;
        if !tracers.split(' ').any(|tracer| tracer == "function") {
            skip!("the kernel does not trace functions");
        }
        sys::write(trace.0.join("set_ftrace_filter"), &functions.join(" "))?;
        sys::write(trace.0.join("current_tracer"), "function")?;
        Ok(trace)
    }

    fn instance() -> Outcome<Self> {
        if !Path::new(INSTANCES).exists() {
            skip!("the kernel has no trace instances");
        }
        let path = Path::new(INSTANCES).join(format!("rvdpa-{}", std::process::id()));
        fs::create_dir(&path).when(path.display())?;
        Ok(Self(path))
    }

    /// Forgets what was recorded.
    pub fn clear(&self) -> Outcome {
        sys::write(self.0.join("trace"), "")
    }

    /// What was recorded, if it says all of `parts`.
    pub fn events(&self, parts: &[&str]) -> Outcome<Vec<Event>> {
        let path = self.0.join("trace");
        let text = fs::read_to_string(&path).when(path.display())?;
        text.lines()
            .filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)))
            .map(|line| parse(line).when(format_args!("trace line '{line}'")))
            .collect()
    }
}

/// Takes a line apart: `thread-number [cpu] flags time: event: text`, or a call of a
/// function instead of the event.
fn parse(line: &str) -> Option<Event> {
    let (before, after) = line.split_once(" [")?;
    let (cpu, after) = after.split_once(']')?;
    let (_, text) = after.split_once(": ")?;
    Some(Event {
        thread: before.trim().rsplit_once('-')?.0.to_owned(),
        cpu: cpu.parse().ok()?,
        text: text.to_owned(),
    })
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Stops the recording of events, too.
        let _ = sys::write(self.0.join("current_tracer"), "nop");
        let _ = fs::remove_dir(&self.0);
    }
}
