// SPDX-License-Identifier: GPL-2.0

//! The kernel log, as a part of every test.

use crate::{
    outcome::{Outcome, Stop, While},
    sys::{wait_for, SOON},
};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
};

/// What no line may have, whoever wrote it.
const BAD: &[&str] = &[
    "WARNING:",
    "BUG:",
    "BUG at",
    "INFO:",
    "Oops",
    "refcount_t:",
    "KASAN",
    "KCSAN",
    "UBSAN",
    "general protection",
    "possible circular",
    "possible recursive",
    "possible irq lock inversion",
    "possible deadlock",
    "inconsistent lock state",
    "suspicious RCU",
    "Call Trace",
    "Out of memory: Killed",
    "blocked for more than",
    "self-detected stall",
    "detected stalls",
    "expedited stalls",
    "soft lockup",
    "hard LOCKUP",
    "unable to handle",
    "Kernel panic",
    "sleeping function called",
    "scheduling while atomic",
    "DEBUG_LOCKS_WARN",
    "ODEBUG",
    "memory leak",
    "panicked at",
    // Of the driver: that the device broke the rules.
    "is not a head!",
    ":id ",
    "Unexpected TXQ",
    // Of the module loader and sysfs.
    "cannot create duplicate filename",
    "kobject",
];

/// What the kernel says, by the way, where an object was not made for want of memory.
const NO_MEMORY: [&[&str]; 2] = [
    &["kobject_add_internal failed", "(error: -12 "],
    &["kobject: can not set name properly!"],
];

/// Reports that are no fault of the device, with what is known of them.
const KNOWN: &str = include_str!("../../known-complaints");

/// Reads the kernel log from a place on.
pub struct Log {
    file: File,
    /// The lines so far.
    lines: Vec<String>,
    /// How many of the lines were asked for with [`Log::expect`].
    taken: usize,
    /// Whether allocations fail, so that [`NO_MEMORY`] is no complaint.
    no_memory: bool,
}

impl Log {
    /// The log from now on.
    pub fn from_now() -> Outcome<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/kmsg")
            .when("/dev/kmsg")?;
        file.seek(SeekFrom::End(0)).when("end of /dev/kmsg")?;
        Ok(Self {
            file,
            lines: Vec::new(),
            taken: 0,
            no_memory: false,
        })
    }

    /// The same, of a test that has allocations fail, if `no_memory`.
    pub fn without_memory(self, no_memory: bool) -> Self {
        Self { no_memory, ..self }
    }

    /// Reads what has come. Returns how many lines there are now.
    fn read(&mut self) -> Outcome<usize> {
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => break,
                Ok(len) => self.lines.push(message(&record[..len])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Records were overwritten before they were read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {
                    return Err(Stop::Failed("the kernel log ran over".into()));
                }
                Err(error) => return Err(error).when("/dev/kmsg"),
            }
        }
        Ok(self.lines.len())
    }

    /// All lines so far.
    pub fn lines(&mut self) -> Outcome<&[String]> {
        self.read()?;
        Ok(&self.lines)
    }

    /// The lines that must not be there.
    pub fn bad(&mut self) -> Outcome<Vec<String>> {
        let no_memory = self.no_memory;
        // The ends of the known report that the line is in.
        let mut known = None;
        let mut found = Vec::new();
        for line in self.lines()? {
            known = match known {
                None => known_ends(line),
                Some(ends) if is_end(line, ends) => None,
                some => some,
            };
            if known.is_none() && is_bad(line, no_memory) {
                found.push(line.clone());
            }
        }
        Ok(found)
    }

    /// Waits for a line with all of `parts`, behind the one that was waited for last.
    pub fn expect(&mut self, parts: &[&str]) -> Outcome<String> {
        let mut seen = self.taken;
        let found = wait_for("the line", SOON, || {
            self.read()?;
            while let Some(line) = self.lines.get(seen) {
                seen += 1;
                if parts.iter().all(|part| line.contains(part)) {
                    return Ok(Some(line.clone()));
                }
            }
            Ok(None)
        });
        match found {
            Ok(line) => {
                self.taken = seen;
                Ok(line)
            }
            Err(_) => Err(Stop::Failed(format!(
                "no line in the kernel log with {parts:?}; there are {:?}",
                &self.lines[self.taken..]
            ))),
        }
    }

    /// Forgets the lines so far: neither [`Log::expect`] nor [`Log::since`] sees them.
    pub fn skip(&mut self) -> Outcome {
        self.taken = self.read()?;
        Ok(())
    }

    /// The lines that were neither skipped nor expected.
    pub fn since(&mut self) -> Outcome<&[String]> {
        self.read()?;
        Ok(&self.lines[self.taken..])
    }
}

fn is_bad(line: &str, no_memory: bool) -> bool {
    let fine = |parts: &&[&str]| no_memory && parts.iter().all(|part| line.contains(part));
    BAD.iter().any(|bad| line.contains(bad)) && !NO_MEMORY.iter().any(fine)
}

/// If a report begins here that is known: how it ends.
fn known_ends(line: &str) -> Option<&'static str> {
    KNOWN
        .lines()
        .filter(|known| !known.is_empty() && !known.starts_with('#'))
        .map(|known| known.split_once(" ... ").unwrap_or((known, "end trace")))
        .find(|(first, _)| first.split(" & ").all(|part| line.contains(part)))
        .map(|(_, ends)| ends)
}

fn is_end(line: &str, ends: &str) -> bool {
    ends.split(" | ").any(|end| line.contains(end))
}

/// The message of a record: what is behind the first semicolon, up to the end of the line.
fn message(record: &[u8]) -> String {
    let text = String::from_utf8_lossy(record);
    let text = text.split_once(';').map_or(&*text, |(_, text)| text);
    text.lines().next().unwrap_or_default().to_owned()
}
