// SPDX-License-Identifier: GPL-2.0

//! Doorbells: looking at the pages by which clients kick.
//!
//! Nobody says when a client writes to such a page, so somebody has to look, for all
//! virtqueues of a device at once: all the time for [`SPIN`] after a kick, and then ever
//! more rarely, such that a kick waits for at most an eighth of the time since the last one,
//! and never for more than [`LONGEST`] and what the timer takes. While no client has mapped
//! a page, or the device does not run, nobody looks.

use super::slots::Slots;
use crate::vdpa::{
    workqueue::Turn,
    Doorbell, //
};
use core::ops::Deref;
use kernel::{
    impl_has_work, new_work,
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
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    },
    workqueue::{
        Work,
        WorkItem, //
    },
};

/// For how long after a kick the next one is awaited, in nanoseconds.
const SPIN: i64 = 50_000;

/// The shortest sleep, in nanoseconds: a timer takes about as long.
const SHORTEST: i64 = 50_000;

/// The longest sleep, in nanoseconds.
const LONGEST: i64 = 1_000_000;

/// How often it is looked before others get the thread.
const LOOKS: u32 = 64;

/// The doorbell of one virtqueue.
struct Bell {
    page: Doorbell,
    /// Whether a client may have mapped it.
    mapped: AtomicFlag,
}

/// Looks at the doorbells of a device.
#[pin_data]
pub(super) struct Watcher {
    #[pin]
    work: Work<Watcher>,
    bells: KVec<Bell>,
    /// Whether the driver is ready: before that, kicks stay in the pages.
    running: AtomicFlag,
    slots: Arc<Slots>,
    start: Instant<Monotonic>,
    /// When there was a kick, in nanoseconds since `start`.
    kicked: Atomic<i64>,
    turn: Turn,
}

impl_has_work! {
    impl HasWork<Self> for Watcher { self.work }
}

/// The doorbells of a device. Nobody looks at them any more when it is dropped.
pub(super) struct Bells(Arc<Watcher>);

impl Bells {
    /// Makes doorbells for `queues` virtqueues. Fails with `ENOMEM`.
    pub(super) fn new(queues: u16, slots: Arc<Slots>) -> Result<Self> {
        let mut bells = KVec::with_capacity(queues.into(), GFP_KERNEL)?;
        for _ in 0..queues {
            let bell = Bell {
                page: Doorbell::new()?,
                mapped: AtomicFlag::new(false),
            };
            bells.push(bell, GFP_KERNEL)?;
        }
        let watcher = pin_init!(Watcher {
            work <- new_work!("rvdpa_sim::Watcher::work"),
            bells,
            running: AtomicFlag::new(false),
            slots,
            start: Instant::now(),
            kicked: Atomic::new(0),
            turn: Turn::new(()),
        });
        Arc::pin_init(watcher, GFP_KERNEL).map(Self)
    }

    /// The doorbell of a virtqueue, which is looked at from now on while the device runs.
    pub(super) fn get(&self, index: u16) -> Option<&Doorbell> {
        let bell = self.bells.get(usize::from(index))?;
        if !bell.mapped.load(Relaxed) {
            // A client before this one may have written anything there.
            bell.page.clear();
            // Full here and in `start`: one of the two sees the other.
            bell.mapped.xchg(true, Full);
        }
        if self.running.load(Relaxed) {
            Watcher::go_on(&self.0);
        }
        Some(&bell.page)
    }

    /// Looks at the doorbells from now on: the driver is ready.
    pub(super) fn start(&self) {
        self.running.xchg(true, Full);
        if self.bells.iter().any(|bell| bell.mapped.load(Relaxed)) {
            Watcher::go_on(&self.0);
        }
    }

    /// Looks at none any more: the device is reset. Kicks that nobody has seen are void.
    pub(super) fn stop(&self) {
        self.running.store(false, Relaxed);
        for bell in &self.bells {
            bell.page.take();
        }
    }

    /// The client that has mapped some is gone.
    pub(super) fn forget(&self) {
        for bell in &self.bells {
            bell.mapped.store(false, Relaxed);
        }
    }
}

impl Deref for Bells {
    type Target = Watcher;

    fn deref(&self) -> &Watcher {
        &self.0
    }
}

impl Drop for Bells {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Watcher {
    fn go_on(this: &Arc<Self>) {
        this.slots
            .port
            .shared
            .workers
            .enqueue_on(None, this.clone());
    }

    /// Looks once. Returns whether there is a doorbell to look at, and whether there was a
    /// kick.
    fn look(&self) -> (bool, bool) {
        let (mut mapped, mut kicked) = (false, false);
        if !self.running.load(Relaxed) {
            return (false, false);
        }
        for (index, bell) in (0..).zip(&self.bells) {
            if !bell.mapped.load(Relaxed) {
                continue;
            }
            mapped = true;
            if bell.page.take() {
                kicked = true;
                if let Some(slot) = self.slots.get(index) {
                    slot.kick();
                }
            }
        }
        (mapped, kicked)
    }

    /// Looks for a while. Returns whether to go on.
    fn watch(&self) -> bool {
        for _ in 0..LOOKS {
            let (mapped, kicked) = self.look();
            if !mapped {
                return false;
            }
            let now = self.start.elapsed().as_nanos();
            if kicked {
                self.kicked.store(now, Relaxed);
                continue;
            }
            let quiet = now.saturating_sub(self.kicked.load(Relaxed));
            if quiet < SPIN {
                core::hint::spin_loop();
            } else {
                let nap = (quiet / 8).clamp(SHORTEST, LONGEST);
                fsleep(Delta::from_nanos(nap));
            }
        }
        true
    }
}

impl WorkItem for Watcher {
    type Pointer = Arc<Watcher>;

    fn run(this: Arc<Watcher>) {
        if this.turn.run(|()| this.watch()) {
            Self::go_on(&this);
        }
    }
}
