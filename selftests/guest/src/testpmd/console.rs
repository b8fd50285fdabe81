// SPDX-License-Identifier: GPL-2.0

//! A console with a prompt, through pipes.

use crate::{
    fail,
    outcome::{Outcome, While},
};
use nix::{
    errno::Errno,
    fcntl::{fcntl, FcntlArg, OFlag},
    poll::{poll, PollFd, PollFlags, PollTimeout},
    unistd::pipe2,
};
use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::ChildStdin,
    time::{Duration, Instant},
};

const PROMPT: &str = "testpmd> ";

pub struct Console {
    input: ChildStdin,
    output: File,
    /// What was printed and not yet asked for.
    text: Vec<u8>,
    /// Whether nothing more will come.
    ended: bool,
}

impl Console {
    /// A pipe for what a program prints: its end, and ours.
    pub fn pipe() -> Outcome<(OwnedFd, File)> {
        let (ours, output) = pipe2(OFlag::O_CLOEXEC).when("a pipe")?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).when("O_NONBLOCK")?;
        Ok((output, File::from(ours)))
    }

    pub fn new(input: ChildStdin, output: File) -> Self {
        Self {
            input,
            output,
            text: Vec::new(),
            ended: false,
        }
    }

    /// Types a line. What was printed before is not asked for any more.
    pub fn send(&mut self, line: &str) -> Outcome {
        self.drain()?;
        self.text.clear();
        writeln!(self.input, "{line}").when(format_args!("telling testpmd '{line}'"))
    }

    /// Waits for the prompt. Returns what was printed until then.
    pub fn prompt(&mut self, limit: Duration) -> Outcome<String> {
        let start = Instant::now();
        loop {
            self.drain()?;
            if self.text.ends_with(PROMPT.as_bytes()) {
                return self.rest();
            }
            let left = limit.saturating_sub(start.elapsed());
            if self.ended || left.is_zero() {
                let why = if self.ended {
                    "it ended"
                } else {
                    "no prompt came"
                };
                fail!("{why}: '{}'", super::complaints(&self.rest()?));
            }
            self.wait(left)?;
        }
    }

    fn wait(&self, limit: Duration) -> Outcome {
        let mut ready = [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, limit) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).when("poll"),
        }
    }

    /// Takes what was printed so far, so that the program can go on.
    pub fn drain(&mut self) -> Outcome {
        match self.output.read_to_end(&mut self.text) {
            Ok(_) => self.ended = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).when("output of testpmd"),
        }
        Ok(())
    }

    /// What was printed and not yet asked for.
    pub fn rest(&mut self) -> Outcome<String> {
        self.drain()?;
        let text = std::mem::take(&mut self.text);
        Ok(String::from_utf8_lossy(&text).replace('\r', ""))
    }
}
