// SPDX-License-Identifier: GPL-2.0

//! Turns: who runs, if two come at a time.
//!
//! This file needs nothing but atomics: on the host, it is a part of the models
//! (`selftests/models`).

use core::cell::UnsafeCell;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full, //
};

/// Keeps work from running twice at a time, and `data` for who runs, which needs no lock so.
///
/// # Invariants
///
/// Between an [`enter`](Self::enter) that returned `true` and the [`leave`](Self::leave) that
/// follows, no other returns `true`.
///
/// # Examples
///
/// ```ignore
/// impl WorkItem for Worker {
///     type Pointer = Arc<Worker>;
///
///     fn run(this: Arc<Worker>) {
///         if this.turn.run(|room| this.work(room)) {
///             this.queue.enqueue_on(this.affinity.cpu(), this.clone());
///         }
///     }
/// }
/// ```
pub struct Turn<T = ()> {
    state: Atomic<u32>,
    data: UnsafeCell<T>,
}

// SAFETY: The data is reached by who runs, one at a time; taking turns orders what they do.
unsafe impl<T: Send> Sync for Turn<T> {}

impl<T> Turn<T> {
    /// Nobody runs.
    const IDLE: u32 = 0;
    /// Somebody runs.
    const RUNNING: u32 = 1;
    /// Somebody runs, and has to run again afterwards.
    const AGAIN: u32 = 2;

    /// Makes one for work that does not run.
    pub fn new(data: T) -> Self {
        Self {
            state: Atomic::new(Self::IDLE),
            data: UnsafeCell::new(data),
        }
    }

    /// Runs `work`, which returns whether there is more to do. Returns whether it has to be
    /// put on the queue once more.
    ///
    /// If it is running already, this returns `false`, and that other run returns `true`:
    /// what this one had to do will be done, and everything before this call is seen then.
    #[inline]
    pub fn run(&self, work: impl FnOnce(&mut T) -> bool) -> bool {
        if !self.enter() {
            return false;
        }
        // SAFETY: By the type invariant nobody else is here before `leave` below.
        let more = work(unsafe { &mut *self.data.get() });
        // Not in the condition, which would be skipped where there is more.
        let again = self.leave();
        more || again
    }

    #[inline]
    fn enter(&self) -> bool {
        // INVARIANT: Only who finds the state idle enters, and whoever enters makes it another.
        self.state
            .cmpxchg(Self::IDLE, Self::RUNNING, Acquire).is_ok()
            // The other run may have ended just now; then this is ours, with a needless run
            // to follow.
            || self.state.xchg(Self::AGAIN, Full) == Self::IDLE
    }

    #[inline]
    fn leave(&self) -> bool {
        self.state.xchg(Self::IDLE, Full) == Self::AGAIN
    }
}
