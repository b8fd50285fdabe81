// SPDX-License-Identifier: GPL-2.0

//! Clients that end, or become two, while the device has their frames to move.

use super::{
    case::Case,
    scene::{frames_pass, Room, PLAIN},
};
use crate::{
    arena::{Kind, View},
    check, frame,
    outcome::{Outcome, While},
    sys::{scaled, wait_for, SOON},
    vhost::{Client, Net},
};
use nix::{
    sys::{
        signal::{kill, Signal},
        wait::{waitpid, WaitStatus},
    },
    unistd::{alarm, fork, ForkResult, Pid},
};
use rvdpa_virtio::mock::DriverMemory;
use std::{process, thread::sleep, time::Duration};

pub const CASES: &[Case] = &[
    Case::others(12, "the client is killed while frames are sent", |room| {
        each(room, |_, process| {
            kill(process, Signal::SIGKILL).when("kill")
        })
    }),
    Case::others(12, "the client goes without a reset", |room| {
        each(room, |_, process| {
            kill(process, Signal::SIGTERM).when("kill")
        })
    }),
    Case::others(13, "the device is deleted while frames are sent", |room| {
        for _ in 0..3 {
            let (device, path) = room.another("victim")?;
            let process = Process::flooding(room, &path)?;
            // Deletion waits for the client.
            let name = device.name().to_owned();
            let killer = process.pid;
            let deleted = std::thread::scope(|scope| {
                scope.spawn(move || {
                    sleep(Duration::from_millis(30));
                    let _ = kill(killer, Signal::SIGKILL);
                });
                device.delete()
            });
            deleted.when(format_args!("dev del {name}"))?;
            drop(process);
        }
        Ok(())
    }),
    Case::others(13, "a child has the device while its parent ends", |room| {
        let (device, path) = room.another("victim")?;
        let child = Process::start(|| {
            let mut net = Net::new(&path, room.plan())?;
            frames_pass(&mut net, 3)?;
            // SAFETY: There is only one thread.
            match unsafe { fork() }.when("fork")? {
                ForkResult::Parent { .. } => Ok(()),
                ForkResult::Child => {
                    alarm::set(scaled(SOON).as_secs() as u32);
                    for number in 0..40 {
                        let sent = frame::make(100, net.mac, net.mac, number);
                        net.add_frame_to(0, PLAIN, &sent);
                        net.tx.driver.publish();
                        let _ = net.tx.kick();
                    }
                    process::exit(0);
                }
            }
        })?;
        child.end()?;
        free(&path)?;
        device.delete()
    }),
];

/// Has a client killed at several moments; the next one finds the device as new.
fn each(room: &Room<'_>, end: fn(&str, Pid) -> Outcome) -> Outcome {
    let (device, path) = room.another("victim")?;
    for round in 0..4 {
        let process = Process::flooding(room, &path)?;
        sleep(Duration::from_millis(3 * round));
        end(&path, process.pid)?;
        drop(process);
        free(&path)?;
        let mut net = Net::new(&path, room.plan())?;
        frames_pass(&mut net, 3).when("the next client")?;
    }
    device.delete()
}

/// Waits until nobody has a device open.
fn free(path: &str) -> Outcome {
    wait_for("the device is free", SOON, || {
        Ok(Client::open_only(path).ok().map(drop))
    })
}

/// A process of a case, which is killed when the value goes.
pub struct Process {
    pid: Pid,
    /// Memory that it shares with this one: why it failed.
    text: View,
}

/// How much there is of it.
const TEXT: usize = 500;

impl Process {
    /// Starts one.
    pub fn start(run: impl FnOnce() -> Outcome) -> Outcome<Self> {
        let text = View::new(Kind::Shared, 0, 4096)?;
        // SAFETY: No other thread of this process has a lock that the child needs.
        match unsafe { fork() }.when("fork")? {
            ForkResult::Parent { child } => Ok(Self { pid: child, text }),
            ForkResult::Child => {
                // Longer than it waits for anything.
                alarm::set((2 * scaled(SOON)).as_secs() as u32);
                process::exit(match run() {
                    Ok(()) => 0,
                    Err(stop) => {
                        let bytes = stop.text().as_bytes();
                        text.write(0, &bytes[..bytes.len().min(TEXT)]);
                        1
                    }
                });
            }
        }
    }

    /// Starts one that sends frames without end.
    fn flooding(room: &Room<'_>, path: &str) -> Outcome<Self> {
        let plan = room.plan();
        let board = View::new(Kind::Shared, 0, 4096)?;
        let process = Self::start(|| {
            let mut net = Net::new(path, plan)?;
            board.store_u16(0, 1);
            loop {
                net.fill_rx()?;
                let mut number = 0;
                while net.add_frame_to(0, PLAIN, &frame::make(1000, net.mac, net.mac, number)) {
                    number += 1;
                }
                net.tx.driver.publish();
                net.tx.kick()?;
                net.reap()?;
                while net.receive_from(0)?.is_some() {}
            }
        })?;
        wait_for("a client at work", SOON, || {
            Ok((board.load_u16(0) == 1).then_some(()))
        })?;
        sleep(Duration::from_millis(20));
        Ok(process)
    }

    /// Waits until it has ended well.
    pub fn end(self) -> Outcome {
        let status = waitpid(self.pid, None).when("waitpid")?;
        let mut text = vec![0; TEXT];
        self.text.read(0, &mut text);
        // There is nothing left to kill.
        std::mem::forget(self);
        let text = String::from_utf8_lossy(&text);
        let text = text.trim_end_matches('\0');
        let well = matches!(status, WaitStatus::Exited(_, 0));
        check!(well, "a process ended with {status:?}: {text}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}
