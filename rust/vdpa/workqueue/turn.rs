// SPDX-License-Identifier: GPL-2.0

//! Turns: who runs, if two come at a time.
//!
//! This file needs nothing but atomics: on the host, it is a part of the models
//! (`selftests/models`).

use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full, //
};

/// Keeps work from running twice at a time.
///
/// # Examples
///
/// ```ignore
/// impl WorkItem for Worker {
///     type Pointer = Arc<Worker>;
///
///     fn run(this: Arc<Worker>) {
///         if this.turn.run(|| this.work()) {
///             this.queue.enqueue_on(this.affinity.cpu(), this.clone());
///         }
///     }
/// }
/// ```
pub struct Turn(Atomic<u32>);

impl Turn {
    /// Nobody runs.
    const IDLE: u32 = 0;
    /// Somebody runs.
    const RUNNING: u32 = 1;
    /// Somebody runs, and has to run again afterwards.
    const AGAIN: u32 = 2;

    /// Makes one for work that does not run.
    pub fn new() -> Self {
        Self(Atomic::new(Self::IDLE))
    }

    /// Runs `work`, which returns whether there is more to do. Returns whether it has to be
    /// put on the queue once more.
    ///
    /// If it is running already, this returns `false`, and that other run returns `true`:
    /// what this one had to do will be done, and everything before this call is seen then.
    pub fn run(&self, work: impl FnOnce() -> bool) -> bool {
        if !self.enter() {
            return false;
        }
        let more = work();
        // Not in the condition, which would be skipped where there is more.
        let again = self.leave();
        more || again
    }

    fn enter(&self) -> bool {
        self.0.cmpxchg(Self::IDLE, Self::RUNNING, Acquire).is_ok()
            // The other run may have ended just now; then this is ours, with a needless run
            // to follow.
            || self.0.xchg(Self::AGAIN, Full) == Self::IDLE
    }

    fn leave(&self) -> bool {
        self.0.xchg(Self::IDLE, Full) == Self::AGAIN
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self::new()
    }
}
