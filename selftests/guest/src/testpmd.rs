// SPDX-License-Identifier: GPL-2.0

//! DPDK's `testpmd` with devices of `/dev/vhost-vdpa-*`, driven by its console.
//!
//! DPDK's driver in userspace (`net_virtio_user`) works without a feature that the device
//! does not offer, and does not say so: look at what was negotiated.

mod console;
mod counters;
mod options;

pub use counters::Counters;
pub use options::{Memory, Options, Vdev};

use crate::{
    check,
    outcome::{Outcome, Stop, While},
    sys::wait_for,
};
use console::Console;
use nix::sys::signal::{kill, Signal};
use rvdpa_virtio::features::Features;
use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How long it may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take to start: it loads some hundred drivers.
const START: Duration = Duration::from_secs(120);

/// Where it is when Debian's package is there.
const PROGRAM: &str = "/usr/bin/dpdk-testpmd";

/// What the driver and the device have agreed upon, as the driver says it.
#[derive(Debug, Clone, Copy)]
pub struct Info {
    pub features: Features,
    /// Whether the paths for rings that are used in order are taken, receive and transmit.
    pub in_order: [bool; 2],
    /// Whether the vectorized paths are.
    pub vectorized: [bool; 2],
}

/// A running `testpmd`, which is killed when the value goes.
pub struct Testpmd {
    child: Child,
    console: Console,
    version: String,
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Testpmd {
    /// Starts it, and waits until its ports run. Skips the test where it is not installed.
    pub fn start(options: &Options) -> Outcome<Self> {
        if !std::path::Path::new(PROGRAM).exists() {
            return Err(Stop::Skipped(format!("there is no {PROGRAM}")));
        }
        if options.memory == Memory::HugePages {
            options::huge_pages()?;
        }
        let (output, ours) = Console::pipe()?;
        // What is printed comes in order only if no line of it waits for others.
        let mut child = Command::new("stdbuf")
            .args(["-oL", PROGRAM])
            .args(options.arguments())
            .stdin(Stdio::piped())
            .stderr(output.try_clone().when("dup")?)
            .stdout(output)
            .spawn()
            .when(PROGRAM)?;
        let input = child.stdin.take().when("input of testpmd")?;
        let mut testpmd = Self {
            child,
            console: Console::new(input, ours),
            version: String::new(),
        };
        let text = testpmd.console.prompt(START).when("testpmd starts")?;
        let version = text.split_once("RTE Version: '").map(|(_, rest)| rest);
        testpmd.version = version
            .and_then(|rest| rest.split('\'').next())
            .when("the version in what testpmd says")?
            .to_owned();
        // A port that cannot be started is no reason for it to end.
        let ready = text.contains("\nPort 0: ") && !text.contains("Fail");
        if !ready {
            return Err(Stop::Failed(format!(
                "testpmd has no port: {}",
                complaints(&text)
            )));
        }
        Ok(testpmd)
    }

    /// Its version: `DPDK`, and a number.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has it do something. Returns what it said.
    pub fn tell(&mut self, command: &str) -> Outcome<String> {
        self.console.send(command)?;
        self.console.prompt(PATIENCE).when(command)
    }

    /// What was negotiated.
    pub fn info(&mut self) -> Outcome<Info> {
        let text = self.tell("show port info 0")?;
        let after = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim)
                .when(format_args!("'{name}' in '{text}'"))
        };
        let features = after("guest_features: 0x")?;
        let pair = |name| after(name).map(|words| ["rx-1", "tx-1"].map(|w| words.contains(w)));
        Ok(Info {
            features: Features(u64::from_str_radix(features, 16).when(features)?),
            in_order: pair("use_inorder:")?,
            vectorized: pair("use_vec:")?,
        })
    }

    /// What it has counted since it was started.
    pub fn counters(&mut self) -> Outcome<Counters> {
        Counters::parse(&self.tell("show port xstats 0")?)
    }

    /// Has it forward in a way (`io`, `txonly`, `rxonly`, `flowgen` ...).
    pub fn forward(&mut self, mode: &str) -> Outcome {
        self.tell(&format!("set fwd {mode}"))?;
        let text = self.tell("start")?;
        check!(
            text.contains(&format!("{mode} packet forwarding")),
            "start: '{text}'"
        );
        Ok(())
    }

    /// The same with some frames to begin with: so many bursts of 32 from each queue.
    pub fn forward_first(&mut self, mode: &str, bursts: u32) -> Outcome {
        self.tell(&format!("set fwd {mode}"))?;
        self.tell(&format!("start tx_first {bursts}")).map(drop)
    }

    /// Has it stop forwarding.
    pub fn stop(&mut self) -> Outcome {
        let text = self.tell("stop")?;
        check!(text.contains("Done."), "stop: '{text}'");
        Ok(())
    }

    /// Waits until it has counted something.
    pub fn wait_for(
        &mut self,
        what: &str,
        mut is: impl FnMut(&Counters) -> Outcome<bool>,
    ) -> Outcome<Counters> {
        let mut last = Counters::default();
        let result = wait_for(what, PATIENCE, || {
            last = self.counters()?;
            Ok(is(&last)?.then(|| last.clone()))
        });
        result.when(format_args!("{last}"))
    }

    /// Has it end, which must go well.
    pub fn quit(mut self) -> Outcome {
        self.console.send("quit")?;
        let status = wait_for("testpmd ends", PATIENCE, || {
            self.console.drain()?;
            Ok(self.child.try_wait()?)
        })?;
        let text = self.console.rest()?;
        check!(
            status.success() && text.contains("Bye..."),
            "testpmd: {status}: '{}'",
            complaints(&text)
        );
        Ok(())
    }

    /// Kills it, which it has no time to do anything about.
    pub fn kill(mut self) -> Outcome {
        let id = i32::try_from(self.child.id()).when("a process id")?;
        kill(nix::unistd::Pid::from_raw(id), Signal::SIGKILL).when("kill -9")?;
        self.child.wait().when("waiting for testpmd").map(drop)
    }
}

/// The lines of a text that tell of something wrong; all of it, if there are none.
fn complaints(text: &str) -> String {
    let bad = |line: &&str| {
        ["rror", "ail", "annot", "not supported"]
            .iter()
            .any(|w| line.contains(w))
    };
    let found: Vec<_> = text.lines().filter(bad).collect();
    if found.is_empty() {
        text.to_owned()
    } else {
        found.join(" | ")
    }
}
