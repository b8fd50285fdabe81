// SPDX-License-Identifier: GPL-2.0

//! QEMU's monitor (QMP): who operates the machine.

use crate::{
    fail,
    outcome::{Outcome, While},
};
use serde_json::{json, Value};
use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

/// How long QEMU may take for one command, and until an event.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
pub struct Qmp {
    stream: BufReader<UnixStream>,
    /// The names of events that came while something else was awaited.
    events: VecDeque<String>,
    /// What QEMU calls its version.
    version: String,
}

impl Qmp {
    /// Greets QEMU.
    pub fn new(stream: UnixStream) -> Outcome<Self> {
        stream.set_read_timeout(Some(PATIENCE)).when("QMP")?;
        let mut qmp = Self {
            stream: BufReader::new(stream),
            events: VecDeque::new(),
            version: String::new(),
        };
        let greeting = qmp.line("the greeting")?;
        let version = &greeting["QMP"]["version"];
        let number = |part| version["qemu"][part].as_u64().unwrap_or_default();
        qmp.version = format!(
            "{}.{}.{} {}",
            number("major"),
            number("minor"),
            number("micro"),
            version["package"].as_str().unwrap_or_default()
        );
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// QEMU's version.
    pub fn version(&self) -> &str {
        self.version.trim_end()
    }

    fn line(&mut self, what: &str) -> Outcome<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).when(what)? == 0 {
            fail!("{what}: QEMU has ended");
        }
        serde_json::from_str(&line).when(format_args!("{what}: '{line}'"))
    }

    /// Carries out a command. Returns what QEMU answers, or the error that it gives.
    pub fn try_execute(
        &mut self,
        command: &str,
        arguments: Value,
    ) -> Outcome<Result<Value, String>> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())
            .when(command)?;
        loop {
            let mut answer = self.line(command)?;
            if let Some(event) = answer["event"].as_str() {
                self.events.push_back(event.to_owned());
            } else if let Some(why) = answer["error"]["desc"].as_str() {
                return Ok(Err(why.to_owned()));
            } else {
                return Ok(Ok(answer["return"].take()));
            }
        }
    }

    /// Carries out a command, which must work.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Outcome<Value> {
        match self.try_execute(command, arguments)? {
            Ok(answer) => Ok(answer),
            Err(why) => fail!("{command}: {why}"),
        }
    }

    /// Waits for an event.
    pub fn wait_event(&mut self, name: &str) -> Outcome {
        loop {
            while let Some(event) = self.events.pop_front() {
                if event == name {
                    return Ok(());
                }
            }
            let line = self.line(name)?;
            if let Some(event) = line["event"].as_str() {
                self.events.push_back(event.to_owned());
            }
        }
    }
}
