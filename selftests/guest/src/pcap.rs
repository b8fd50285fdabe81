// SPDX-License-Identifier: GPL-2.0

//! What `tcpdump` captures.

use crate::{
    check, check_eq,
    outcome::{Outcome, Stop, While},
    sys::{wait_for, SOON},
    wire::Port,
};
use nix::{
    sys::signal::{kill, Signal},
    unistd::Pid,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// A running `tcpdump`; it ends, and its file goes, with the value.
pub struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Captures everything that comes to a port, and what it sends. With `promiscuous` the
    /// port's filter lets everything pass meanwhile. Returns when it captures.
    pub fn start(port: &Port, promiscuous: bool) -> Outcome<Self> {
        let name = format!("capture-{}-{}", std::process::id(), port.interface);
        let file = std::env::temp_dir().join(name);
        let path = file.to_string_lossy().into_owned();
        let spawn = || {
            let mut command = Command::new("tcpdump");
            command
                .args(["-i", &port.interface, "-w", &path, "-U", "-n", "-Z", "root"])
                .args(["--immediate-mode", "-s", "16384", "-B", "32768"])
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            if !promiscuous {
                command.arg("-p");
            }
            let mut child = command.spawn().when("tcpdump")?;
            let stderr = child.stderr.take();
            let capture = Self { child, file };
            let mut lines = BufReader::new(stderr.when("messages of tcpdump")?).lines();
            let listens = lines.any(|line| line.is_ok_and(|line| line.contains("listening on")));
            check!(listens, "tcpdump does not listen");
            Ok(capture)
        };
        let mut started = None;
        if promiscuous {
            port.changes_filter(|| {
                started = Some(port.namespace.inside(spawn)?);
                Ok(())
            })?;
        } else {
            started = Some(port.namespace.inside(spawn)?);
        }
        started.when("tcpdump")
    }

    /// Waits until a frame has been captured that is the last one. Returns all frames.
    pub fn until(self, last: &[u8]) -> Outcome<Vec<Vec<u8>>> {
        self.until_any(|frame| frame == last)
    }

    /// The same for a frame that is described.
    pub fn until_any(mut self, is_last: impl Fn(&[u8]) -> bool) -> Outcome<Vec<Vec<u8>>> {
        let mut count = 0;
        let frames = wait_for("the last frame at tcpdump", SOON, || {
            let frames = self.frames()?;
            count = frames.len();
            let there = frames.iter().any(|frame| is_last(frame));
            Ok(there.then_some(frames))
        });
        let frames = frames.map_err(|stop| {
            Stop::Failed(format!("{}; {count} frames were captured", stop.text()))
        })?;
        self.end()?;
        Ok(frames)
    }

    /// Waits until so many frames have been captured, and a little longer. Returns all
    /// frames, which are less if no more come.
    pub fn count(mut self, wanted: usize) -> Outcome<Vec<Vec<u8>>> {
        let _ = wait_for("frames at tcpdump", SOON, || {
            Ok((self.frames()?.len() >= wanted).then_some(()))
        });
        sleep(Duration::from_millis(100));
        self.end()?;
        self.frames()
    }

    /// The frames so far.
    fn frames(&self) -> Outcome<Vec<Vec<u8>>> {
        parse(&fs::read(&self.file).unwrap_or_default())
    }

    fn end(&mut self) -> Outcome {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).when("ending tcpdump")?;
        let status = self.child.wait().when("tcpdump")?;
        check!(status.success(), "tcpdump: {status}");
        Ok(())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
        let _ = fs::remove_file(&self.file);
    }
}

/// Takes a capture apart, without a frame at its end that is not all there yet.
pub fn parse(file: &[u8]) -> Outcome<Vec<Vec<u8>>> {
    const HEADER: usize = 24;
    let word = |at: usize| -> Option<u32> {
        let bytes = file.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let mut frames = Vec::new();
    if file.len() < HEADER {
        return Ok(frames);
    }
    let magic = word(0).when("a magic number")?;
    check!(
        [0xa1b2_c3d4, 0xa1b2_3c4d].contains(&magic),
        "not a capture: {magic:#x}"
    );
    check_eq!(word(20), Some(1), "link type");
    let mut at = HEADER;
    while let (Some(captured), Some(sent)) = (word(at + 8), word(at + 12)) {
        let Some(frame) = file.get(at + 16..at + 16 + captured as usize) else {
            break;
        };
        check_eq!(captured, sent, "bytes captured of a frame");
        frames.push(frame.to_vec());
        at += 16 + captured as usize;
    }
    Ok(frames)
}
