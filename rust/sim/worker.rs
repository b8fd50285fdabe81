// SPDX-License-Identifier: GPL-2.0

//! Workers: who runs the queues, when, and what happens between two batches.
//!
//! A [`Task`] handles one batch under the lock of its attachment and says how to go on. The
//! worker does what must not be done under that lock: it interrupts the driver, brings
//! memory in, and tells of queues that broke.

use super::{
    memory::{
        permission,
        DeviceMemory, //
    },
    queue::Vq,
    shared::Shared,
};
use crate::{
    vdpa::{
        iommu::{
            Attachment,
            Context, //
        },
        Callback, //
    },
    virtio::fault::{
        Fault,
        Place,
        QueueError, //
    },
};
use kernel::{
    impl_has_work, new_work,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    },
    workqueue::{
        Work,
        WorkItem, //
    },
};

/// How many batches a worker handles before it lets others use its thread.
const BATCHES: u32 = 16;

/// How often in a row memory may turn out not to be resident, without a batch that gets
/// on. A chain may have as many buffers as its ring has descriptors, on either side.
const FAULT_INS: u32 = 2 * 32768;

/// Some virtqueues, and what is done with them.
pub(super) trait Task: Send + Unpin + 'static {
    /// What its virtqueues are for, for the log.
    const ROLES: &'static [&'static str];

    /// Its virtqueue number `slot`, from 0.
    fn vq(&mut self, slot: usize) -> Option<&mut Vq>;

    /// Handles a batch.
    fn run(&mut self, mem: &DeviceMemory<'_>, shared: &Shared) -> Outcome;
}

/// What a batch came to.
pub(super) struct Outcome {
    /// Which virtqueues' drivers are to be interrupted.
    pub(super) raise: [bool; 2],
    /// Whether anything got done.
    pub(super) progress: bool,
    pub(super) next: Next,
}

/// What is to be done after a batch.
pub(super) enum Next {
    /// Wait for a kick.
    Sleep,
    /// There is more.
    Continue,
    /// Bring memory in, and go on.
    FaultIn { slot: usize, place: Place },
    /// Tell that a virtqueue was stopped.
    Broken { slot: usize, fault: Fault },
}

/// An error, and the virtqueue it belongs to.
pub(super) struct Failure {
    pub(super) slot: usize,
    pub(super) error: QueueError,
}

impl Failure {
    /// How to go on after it; a broken virtqueue is stopped.
    pub(super) fn next(self, task: &mut impl Task) -> Next {
        let slot = self.slot;
        match self.error {
            QueueError::NotPresent(place) => Next::FaultIn { slot, place },
            QueueError::Fault(fault) => {
                if let Some(vq) = task.vq(slot) {
                    vq.break_down();
                }
                Next::Broken { slot, fault }
            }
        }
    }
}

/// What of a virtqueue lies outside of the lock.
pub(super) struct Port {
    pub(super) interrupt: Arc<Callback>,
    kicks: Atomic<u64>,
    /// Whether there was a kick since the reset.
    kicked: AtomicFlag,
}

impl Port {
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

    /// Forgets the kicks so far.
    pub(super) fn reset(&self) {
        self.kicked.store(false, Relaxed);
    }
}

/// Runs a [`Task`].
#[pin_data]
pub(super) struct Worker<T: Task> {
    #[pin]
    work: Work<Worker<T>>,
    attachment: Arc<Attachment<T>>,
    shared: Arc<Shared>,
    /// The index of the virtqueue in slot 0.
    first: u16,
    ports: KVec<Port>,
}

impl_has_work! {
    impl{T: Task} HasWork<Self> for Worker<T> { self.work }
}

impl<T: Task> Worker<T> {
    /// Makes the worker of the virtqueues from `first` on, with one interrupt for each.
    pub(super) fn new(
        attachment: Arc<Attachment<T>>,
        shared: Arc<Shared>,
        first: u16,
        interrupts: &[&Arc<Callback>],
    ) -> Result<Arc<Self>> {
        let mut ports = KVec::with_capacity(interrupts.len(), GFP_KERNEL)?;
        for interrupt in interrupts {
            let port = Port {
                interrupt: (*interrupt).clone(),
                kicks: Atomic::new(0),
                kicked: AtomicFlag::new(false),
            };
            ports.push(port, GFP_KERNEL)?;
        }
        Arc::pin_init(
            pin_init!(Self {
                work <- new_work!("rvdpa_sim::Worker::work"),
                attachment,
                shared,
                first,
                ports,
            }),
            GFP_KERNEL,
        )
    }

    /// What the lock protects, for control operations.
    pub(super) fn attachment(&self) -> &Attachment<T> {
        &self.attachment
    }

    pub(super) fn port(&self, slot: usize) -> Option<&Port> {
        self.ports.get(slot)
    }

    /// Has the worker look at its virtqueues. Any context.
    #[inline]
    pub(super) fn wake(this: &Arc<Self>) {
        this.shared.workers.enqueue(this.clone());
    }

    /// Handles batches until there is nothing to do, or enough was done. Returns whether
    /// there is more.
    fn work(&self, context: &Context<'_>) -> bool {
        let mut fault_ins = 0;
        let mut batches = 0;
        while batches < BATCHES {
            let Some(outcome) = self.batch(context) else {
                // Another client's memory: has to be prepared anew.
                return true;
            };
            for (port, raise) in self.ports.iter().zip(outcome.raise) {
                if raise {
                    port.interrupt.raise();
                }
            }
            if outcome.progress {
                fault_ins = 0;
            }
            match outcome.next {
                Next::Sleep => return false,
                Next::Continue => batches += 1,
                Next::FaultIn { slot, place } => {
                    fault_ins += 1;
                    if fault_ins > FAULT_INS || !self.fault_in(context, &place) {
                        self.gone(slot, place);
                    }
                }
                Next::Broken { slot, fault } => self.broke(slot, &fault),
            }
        }
        true
    }

    fn batch(&self, context: &Context<'_>) -> Option<Outcome> {
        let mut guard = self.attachment.lock(context)?;
        let (task, access) = guard.split().ok()?;
        Some(task.run(&DeviceMemory(access), &self.shared))
    }

    /// Brings memory in. Returns whether to go on.
    fn fault_in(&self, context: &Context<'_>, place: &Place) -> bool {
        self.attachment.fault_in(
            context,
            place.iova,
            place.len as usize,
            permission(place.access),
        )
    }

    /// Stops a virtqueue because its client has no memory where it said there was some.
    fn gone(&self, slot: usize, place: Place) {
        // Unless it was stopped or unmapped meanwhile: then the next batch finds out.
        let running = match self.attachment.state().vq(slot) {
            Some(vq) if vq.is_running() => {
                vq.break_down();
                true
            }
            _ => false,
        };
        if running {
            self.broke(slot, &Fault::Unmapped(place));
        }
    }

    fn broke(&self, slot: usize, fault: &Fault) {
        let role = T::ROLES.get(slot).copied().unwrap_or("?");
        let index = self.first.wrapping_add(slot as u16);
        self.shared.broke(index, role, fault);
    }
}

impl<T: Task> WorkItem for Worker<T> {
    type Pointer = Arc<Worker<T>>;

    fn run(this: Arc<Worker<T>>) {
        if this.attachment.enter(|context| this.work(context)) {
            Self::wake(&this);
        }
    }
}
