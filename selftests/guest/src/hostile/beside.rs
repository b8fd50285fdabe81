// SPDX-License-Identifier: GPL-2.0

//! Who is next door: a process that has frames looped by a device of its own all the time.

use super::scene::{frames_pass, GUARD, SECRET};
use crate::{
    arena::{Kind, View},
    check, fail,
    outcome::{Outcome, While},
    sys::{wait_for, SOON},
    vhost::{Net, Plan},
};
use nix::{
    sys::{
        signal::{kill, Signal},
        wait::waitpid,
    },
    unistd::{fork, ForkResult, Pid},
};
use rvdpa_virtio::{features::Features, mock::DriverMemory};
use std::{
    process,
    thread::sleep,
    time::{Duration, Instant},
};

/// Where it counts the rounds, and where it says what went wrong.
const ROUNDS: u64 = 0;
const WRONG: u64 = 2;
const TEXT: u64 = 4;
const TEXT_LEN: usize = 1000;

pub struct Beside {
    process: Pid,
    /// Memory that it shares with this process.
    board: View,
}

impl Beside {
    /// Starts it, with a device's character device.
    pub fn start(path: &str, kind: Kind) -> Outcome<Self> {
        let board = View::new(Kind::Shared, 0, 4096)?;
        let plan = Plan {
            kind,
            size: 16,
            guard: GUARD,
            features: Features(u64::MAX).without(Features::NET_MQ | Features::NET_RSS),
            ..Plan::default()
        };
        // SAFETY: There is only one thread.
        let process = match unsafe { fork() }.when("fork")? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                // SAFETY: A number and nothing else.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                if let Err(stop) = traffic(path, plan, &board) {
                    let mut text: Vec<u8> = stop.text().bytes().take(TEXT_LEN).collect();
                    text.resize(TEXT_LEN, b' ');
                    board.write(TEXT, &text);
                }
                board.store_u16(WRONG, 1);
                process::exit(1);
            }
        };
        let beside = Self { process, board };
        beside.goes_on()?;
        Ok(beside)
    }

    /// Waits until it had frames looped once more.
    pub fn goes_on(&self) -> Outcome {
        let before = self.board.load_u16(ROUNDS);
        wait_for("frames of another device", SOON, || {
            self.is_well()?;
            // The first of two may have begun before.
            let rounds = self.board.load_u16(ROUNDS).wrapping_sub(before);
            Ok((rounds >= 2).then_some(()))
        })
    }

    fn is_well(&self) -> Outcome {
        if self.board.load_u16(WRONG) != 0 {
            let mut text = vec![0; TEXT_LEN];
            self.board.read(TEXT, &mut text);
            fail!(
                "another device: {}",
                String::from_utf8_lossy(&text).trim_end()
            );
        }
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = kill(self.process, Signal::SIGKILL);
        let _ = waitpid(self.process, None);
    }
}

/// Has frames looped, now and then, for ever.
fn traffic(path: &str, plan: Plan, board: &View) -> Outcome {
    let mut net = Net::new(path, plan)?;
    let guards = Guards::new(&net);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(600) {
        frames_pass(&mut net, 2)?;
        guards.check()?;
        board.store_u16(ROUNDS, board.load_u16(ROUNDS).wrapping_add(1));
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// What lies around a driver's memory, and is not mapped.
pub struct Guards(Vec<View>);

impl Guards {
    /// Fills it.
    pub fn new(net: &Net) -> Self {
        let guards = Self(vec![net.memory.clone(), net.control_memory.clone()]);
        for (view, at) in guards.places() {
            view.write(at, &SECRET.repeat(GUARD / SECRET.len()));
        }
        guards
    }

    fn places(&self) -> impl Iterator<Item = (&View, u64)> {
        self.0.iter().flat_map(|view| {
            let end = view.iova() + (view.len() - GUARD) as u64;
            [(view, view.iova()), (view, end)]
        })
    }

    /// Whether nobody has written to it, nor shown what is in there to the driver.
    pub fn check(&self) -> Outcome {
        let mut bytes = vec![0; GUARD];
        for (view, at) in self.places() {
            view.read(at, &mut bytes);
            let whole = bytes.chunks(SECRET.len()).all(|chunk| chunk == SECRET);
            check!(whole, "memory beside the mapping, at {at:#x}, was written");
        }
        for view in &self.0 {
            let mut bytes = vec![0; view.len() - 2 * GUARD];
            view.read(view.iova() + GUARD as u64, &mut bytes);
            let mut rest = &bytes[..];
            while let Some(at) = rest.iter().position(|byte| *byte == SECRET[0]) {
                rest = &rest[at..];
                check!(
                    !rest.starts_with(&SECRET),
                    "memory beside the mapping was shown to the driver"
                );
                rest = &rest[1..];
            }
        }
        Ok(())
    }
}
