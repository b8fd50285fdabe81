// SPDX-License-Identifier: GPL-2.0

//! A work queue of one's own.
//!
//! The kernel crate has the system's work queues only, and these cannot be drained when a
//! module goes. An [`OwnedQueue`] is drained and destroyed when it is dropped; whoever
//! wants to put work on it has a [`QueueHandle`], which may outlive the queue and then
//! does nothing.
//!
//! # Running twice at a time
//!
//! An [`OwnedQueue`] consists of two work queues of the kernel: one whose workers run on any
//! CPU, and one whose workers are bound to theirs. The kernel promises that work does not
//! run twice at a time only for work that stays on one work queue: to queue it, it looks at
//! the pool of workers where the work was last, and leaves it to that pool if the work is
//! running there *for the same work queue* (`__queue_work()`). For another work queue it
//! goes to another worker, which starts at once. So may work that is put on an
//! [`OwnedQueue`] with a CPU one time and without the next time, also when it does so itself.
//! A [`Turn`] is what such work needs.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    ffi::c_int,
    prelude::*,
    revocable::Revocable,
    str::CStr,
    sync::Arc,
    workqueue::RawWorkItem, //
};

mod turn;

pub use turn::Turn;

/// A work queue of the kernel.
///
/// # Invariants
///
/// The pointer is a valid work queue, which is destroyed by dropping this.
struct RawQueue(NonNull<kernel::bindings::workqueue_struct>);

// SAFETY: Work queues may be used from any thread.
unsafe impl Send for RawQueue {}
// SAFETY: Work queues may be used from any thread.
unsafe impl Sync for RawQueue {}

impl RawQueue {
    fn new(name: &CStr, bound: bool) -> Result<Self> {
        // SAFETY: `name` is valid for the call, which copies it.
        let raw = unsafe { bindings::rvdpa_alloc_workqueue(name.as_char_ptr(), bound) };
        // INVARIANT: It has just been made, and nobody else has it.
        NonNull::new(raw).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for RawQueue {
    /// Waits for the work that is on the queue.
    fn drop(&mut self) {
        // SAFETY: Valid by the type invariant, and nobody can put work on it any more.
        unsafe { kernel::bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

/// Both queues of an [`OwnedQueue`].
struct Queues {
    /// Its workers run on any CPU.
    unbound: RawQueue,
    /// Its workers run on the CPU that work was put on it for.
    bound: RawQueue,
}

/// A work queue whose workers have high priority, in process context.
///
/// Work runs on any CPU, or on the one that is asked for.
pub struct OwnedQueue(Arc<Revocable<Queues>>);

impl OwnedQueue {
    /// Makes a work queue, whose name shows in its workers' names.
    ///
    /// Fails with `ENOMEM`.
    pub fn new(name: &CStr) -> Result<Self> {
        let queues = Queues {
            unbound: RawQueue::new(name, false)?,
            bound: RawQueue::new(name, true)?,
        };
        Arc::pin_init(Revocable::new(queues), GFP_KERNEL).map(Self)
    }

    /// Returns a handle by which work can be put on the queue.
    pub fn handle(&self) -> QueueHandle {
        QueueHandle(self.0.clone())
    }
}

impl Drop for OwnedQueue {
    /// Waits for the work that is on the queue. Work that comes later is dropped, also if it
    /// puts itself on the queue again: while one of two queues is drained, the kernel takes
    /// work for it from its own workers alone.
    fn drop(&mut self) {
        // Waits for the handles that reach the queues, and then drops these.
        self.0.revoke();
    }
}

/// A way to put work on an [`OwnedQueue`].
#[derive(Clone)]
pub struct QueueHandle(Arc<Revocable<Queues>>);

impl QueueHandle {
    /// Puts `work` on the queue, to run on CPU `cpu`, unless it is there already.
    ///
    /// For `None`, and where `cpu` is not online, it runs on any CPU. If `cpu` goes offline
    /// before the work runs, it runs on another one. Work that is running on a CPU which was
    /// asked for runs there once more, and on `cpu` from the next time on.
    ///
    /// Work that comes with a CPU one time and without another time may run twice at a time,
    /// unless it uses a [`Turn`].
    ///
    /// May be called from any context. Work that comes after the queue's end is dropped.
    #[inline]
    pub fn enqueue_on<W, const ID: u64>(&self, cpu: Option<u32>, work: W)
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        let Some(queues) = self.0.try_access() else {
            return;
        };
        // SAFETY: The function may be called in any context, with any number.
        let cpu = cpu.filter(|&cpu| unsafe { bindings::rvdpa_cpu_online(cpu) });
        let (queue, cpu) = match cpu {
            Some(cpu) => (&queues.bound, cpu),
            None => (
                &queues.unbound,
                kernel::bindings::wq_misc_consts_WORK_CPU_UNBOUND,
            ),
        };
        // SAFETY: The guard that `try_access` returned keeps the queue, valid by its
        // invariant, from being destroyed. `queue_work_on` returns `false` only if the work
        // is on a queue already. A CPU that was online may go offline meanwhile: then
        // another one runs the work. `W` is `Send` and has no lifetime that could end, and
        // is valid until it runs, as `__enqueue` guarantees.
        let _ = unsafe {
            work.__enqueue(|work| {
                kernel::bindings::queue_work_on(cpu as c_int, queue.0.as_ptr(), work)
            })
        };
    }
}

/// Whether others want the processor that the caller has.
#[inline]
pub fn need_resched() -> bool {
    // SAFETY: The function may be called in any context.
    unsafe { bindings::rvdpa_need_resched() }
}
