// SPDX-License-Identifier: GPL-2.0

//! How the driver of a virtqueue and its worker call each other.

use crate::vdpa::{
    Affinity,
    Callback,
    Coalescer,
    CoalescingParameters, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Full,
            Relaxed, //
        },
        Arc, //
    },
};

/// The kicks and the interrupt of a virtqueue: what of it lies outside of any lock.
pub(super) struct Notify {
    interrupt: Coalescer,
    /// The interrupt of the other index that the virtqueue can have.
    other: Option<Arc<Callback>>,
    /// Whether it has that index.
    moved: AtomicFlag,
    /// The CPUs that are to work for the virtqueue.
    pub(super) affinity: Affinity,
    kicks: Atomic<u64>,
    /// Whether there was a kick since the reset.
    kicked: AtomicFlag,
    /// Whether the virtqueue was stopped while it ran, and not started since: an interrupt may
    /// have been due.
    stopped: AtomicFlag,
}

impl Notify {
    /// Those of a virtqueue with one index, or two that negotiation chooses from.
    pub(super) fn new(interrupt: Arc<Callback>, other: Option<Arc<Callback>>) -> Result<Self> {
        Ok(Self {
            interrupt: Coalescer::new(interrupt)?,
            other,
            moved: AtomicFlag::new(false),
            affinity: Affinity::new()?,
            kicks: Atomic::new(0),
            kicked: AtomicFlag::new(false),
            stopped: AtomicFlag::new(false),
        })
    }

    fn interrupt(&self) -> &Callback {
        match &self.other {
            Some(other) if self.moved.load(Relaxed) => other,
            _ => self.interrupt.callback(),
        }
    }

    /// Sets which of its two indices the virtqueue has.
    pub(super) fn set_moved(&self, moved: bool) {
        self.moved.store(moved, Relaxed);
    }

    /// Notes a kick, also of a virtqueue that does not run: it counts when it starts.
    #[inline]
    pub(super) fn kick(&self) {
        self.kicks.fetch_add(1, Relaxed);
        self.kicked.store(true, Relaxed);
    }

    /// How many kicks there were since the device was made.
    pub(super) fn kicks(&self) -> u64 {
        self.kicks.load(Relaxed)
    }

    /// Whether the driver may have made buffers available without another kick to come.
    pub(super) fn was_kicked(&self) -> bool {
        self.kicked.load(Relaxed)
    }

    /// Notes that the virtqueue was stopped while it ran.
    pub(super) fn note_stopped(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Whether it was, since this was last asked.
    pub(super) fn take_stopped(&self) -> bool {
        self.stopped.xchg(false, Full)
    }

    /// Forgets the kicks so far, and that the virtqueue was stopped.
    pub(super) fn reset(&self) {
        self.kicked.store(false, Relaxed);
        self.stopped.store(false, Relaxed);
    }

    /// Notes that `completed` chains were shown to the driver, which does or does not want
    /// to be interrupted for them. No lock of an attachment may be held.
    #[inline]
    pub(super) fn completed(&self, completed: u32, wanted: bool) {
        if wanted {
            self.raise(completed);
        } else if self.other.is_none() {
            self.interrupt.add(completed);
        }
    }

    /// Interrupts the driver for `completed` chains. No lock of an attachment may be held.
    #[inline]
    pub(super) fn raise(&self, completed: u32) {
        match &self.other {
            // Only those of frames are coalesced.
            Some(_) => self.interrupt().raise(),
            None => self.interrupt.raise(completed),
        };
    }

    /// Interrupts the driver at once, for what it may not have been told of yet. No lock of
    /// an attachment may be held.
    pub(super) fn raise_now(&self) {
        self.interrupt().raise();
    }

    /// Sets when the driver is interrupted.
    pub(super) fn set_coalescing(&self, parameters: CoalescingParameters) {
        self.interrupt.set_parameters(parameters);
    }

    /// When the driver is interrupted.
    pub(super) fn coalescing(&self) -> CoalescingParameters {
        self.interrupt.parameters()
    }

    /// Forgets what the driver has asked for by the control queue.
    pub(super) fn forget_wishes(&self) {
        self.interrupt.reset();
    }

    /// Keeps the driver from being interrupted. When it returns, it is not being called.
    pub(super) fn mask(&self) {
        self.interrupt().mask();
    }

    /// Lets the driver be interrupted again.
    pub(super) fn unmask(&self) {
        self.interrupt().unmask();
    }
}
