// SPDX-License-Identifier: GPL-2.0

//! A work queue of the kernel's.

use crate::sync::atomic::{
    AtomicFlag,
    Full, //
};

/// Work: what `queue_work()` and the kernel's workers do with the bit `PENDING` of it. Both
/// are fully ordered.
pub(crate) struct Work(AtomicFlag);

impl Work {
    pub(crate) fn new() -> Self {
        Self(AtomicFlag::new(false))
    }

    /// Puts it on the queue, unless it is there.
    pub(crate) fn enqueue(&self) {
        self.0.xchg(true, Full);
    }

    /// Runs it for as long as it is on the queue, but no more than `most` times.
    pub(crate) fn drain(&self, most: usize, run: impl Fn()) {
        for _ in 0..most {
            if !self.0.xchg(false, Full) {
                return;
            }
            run();
        }
    }
}
