// SPDX-License-Identifier: GPL-2.0

//! Network namespaces: two hosts in one guest.

use crate::outcome::{Outcome, While};
use nix::errno::Errno;
use std::{
    fs::File,
    os::fd::AsRawFd, //
};

/// The namespace that a thread is in.
const HERE: &str = "/proc/thread-self/ns/net";

/// A network namespace without a name. It goes with the value; interfaces of devices that
/// are still there then come back to the first namespace.
pub struct Namespace(File);

impl Namespace {
    /// Makes a namespace in which interfaces send nothing of their own accord.
    pub fn new() -> Outcome<Self> {
        let back = Back::new()?;
        // SAFETY: Only this thread is concerned, and `back` brings it back.
        Errno::result(unsafe { libc::unshare(libc::CLONE_NEWNET) }).when("a new namespace")?;
        let made = Self(File::open(HERE).when(HERE)?);
        crate::netdev::silence_new_ones()?;
        drop(back);
        Ok(made)
    }

    /// Does something in the namespace: sockets that are opened meanwhile belong to it for
    /// ever, and so do programs that are started.
    pub fn inside<T>(&self, act: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let _back = Back::new()?;
        enter(&self.0).when("entering a namespace")?;
        act()
    }

    /// Its file descriptor, as `ip link set netns` takes it, by way of `/proc`.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Brings the thread back to where it was.
struct Back(File);

impl Back {
    fn new() -> Outcome<Self> {
        Ok(Self(File::open(HERE).when(HERE)?))
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        // In another namespace, the rest of the test would mislead.
        enter(&self.0).expect("the thread returns to its namespace");
    }
}

fn enter(namespace: &File) -> nix::Result<()> {
    // SAFETY: Only this thread is concerned.
    Errno::result(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}
