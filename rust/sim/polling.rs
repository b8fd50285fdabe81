// SPDX-License-Identifier: GPL-2.0

//! Busy polling: for how long a worker looks for more before it sleeps.
//!
//! A driver that is about to make more buffers available finds the worker awake and need not
//! kick. What that costs is a processor meanwhile. So the time adapts itself: it doubles, up
//! to what the user allows, when something came, and halves when nothing did.

use crate::vdpa::workqueue::need_resched;
use kernel::{
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        Instant,
        Monotonic, //
    },
};

/// Into how many parts the longest time is divided: the shortest is one of them.
const PARTS: i64 = 32;

/// How long the worker of one virtqueue polls.
pub(super) struct Polling {
    /// The longest time, in nanoseconds.
    longest: i64,
    /// The next time, in nanoseconds. Only the worker changes it.
    next: Atomic<i64>,
}

/// One time of polling.
pub(super) struct Poll {
    start: Instant<Monotonic>,
    length: i64,
}

impl Polling {
    /// Polls for at most `longest` microseconds.
    pub(super) fn new(longest: u16) -> Self {
        let longest = i64::from(longest) * 1000;
        Self {
            longest,
            next: Atomic::new(longest),
        }
    }

    /// Whether the worker polls at all.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.longest > 0
    }

    /// Starts, now that there is nothing to do.
    pub(super) fn start(&self) -> Poll {
        Poll {
            start: Instant::now(),
            length: self.next.load(Relaxed),
        }
    }

    /// Whether to go on. Others that want the processor end it.
    pub(super) fn goes_on(&self, poll: &Poll) -> bool {
        core::hint::spin_loop();
        poll.start.elapsed().as_nanos() < poll.length && !need_resched()
    }

    /// Notes whether something came.
    pub(super) fn end(&self, came: bool) {
        let last = self.next.load(Relaxed);
        let next = if came { last * 2 } else { last / 2 };
        let next = next.clamp(self.longest / PARTS, self.longest);
        self.next.store(next, Relaxed);
    }
}
