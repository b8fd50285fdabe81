// SPDX-License-Identifier: GPL-2.0

//! QEMU's qtest protocol: what the processor of its machine does, from outside.
//!
//! Each command is a line, and each answer is one: `OK`, what was asked for, or why not. See
//! `system/qtest.c` of QEMU.

use crate::{
    fail,
    outcome::{Outcome, While},
};
use std::{
    cell::RefCell,
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    rc::Rc,
    time::Duration,
};

/// How long QEMU may take for one command.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection. Cheap to clone.
#[derive(Clone)]
pub struct Qtest(Rc<RefCell<BufReader<UnixStream>>>);

impl Qtest {
    pub fn new(stream: UnixStream) -> Outcome<Self> {
        stream.set_read_timeout(Some(PATIENCE)).when("qtest")?;
        Ok(Self(Rc::new(RefCell::new(BufReader::new(stream)))))
    }

    /// Sends a command. Returns the words behind `OK`.
    fn command(&self, command: &str) -> Outcome<String> {
        let mut stream = self.0.borrow_mut();
        let what = || format!("qtest: {}", command.get(..60).unwrap_or(command));
        stream
            .get_mut()
            .write_all(format!("{command}\n").as_bytes())
            .when(what())?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).when(what())? == 0 {
                fail!("{}: QEMU has ended", what());
            }
            let line = line.trim_end();
            if line.starts_with("IRQ ") {
                continue;
            }
            return match line.strip_prefix("OK") {
                Some(rest) => Ok(rest.trim().to_owned()),
                None => fail!("{}: {line}", what()),
            };
        }
    }

    fn number(&self, command: &str) -> Outcome<u64> {
        let answer = self.command(command)?;
        let digits = answer.trim_start_matches("0x");
        u64::from_str_radix(digits, 16).when(format_args!("'{answer}' to {command}"))
    }

    /// Writes to an I/O port.
    pub fn outl(&self, port: u16, value: u32) -> Outcome {
        self.command(&format!("outl {port:#x} {value:#x}"))?;
        Ok(())
    }

    /// Reads from an I/O port.
    pub fn inl(&self, port: u16) -> Outcome<u32> {
        Ok(self.number(&format!("inl {port:#x}"))? as u32)
    }

    /// Reads a register of 1, 2, 4 or 8 bytes.
    pub fn load(&self, address: u64, len: usize) -> Outcome<u64> {
        self.number(&format!("read{} {address:#x}", letter(len)))
    }

    /// Writes a register of 1, 2, 4 or 8 bytes.
    pub fn store(&self, address: u64, len: usize, value: u64) -> Outcome {
        self.command(&format!("write{} {address:#x} {value:#x}", letter(len)))?;
        Ok(())
    }

    /// Writes memory, as the processor would: QEMU knows of it.
    pub fn write(&self, address: u64, data: &[u8]) -> Outcome {
        // It has no name for nothing.
        if data.is_empty() {
            return Ok(());
        }
        let mut command = format!("write {address:#x} {:#x} 0x", data.len());
        for byte in data {
            write!(command, "{byte:02x}").when("a command")?;
        }
        self.command(&command)?;
        Ok(())
    }
}

/// What QEMU calls a register of so many bytes.
fn letter(len: usize) -> char {
    match len {
        1 => 'b',
        2 => 'w',
        4 => 'l',
        8 => 'q',
        _ => panic!("no register has {len} bytes"),
    }
}
