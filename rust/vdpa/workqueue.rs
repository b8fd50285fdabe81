// SPDX-License-Identifier: GPL-2.0

//! A work queue of one's own.
//!
//! The kernel crate has the system's work queues only, and these cannot be drained when a
//! module goes. An [`OwnedQueue`] is drained and destroyed when it is dropped; whoever
//! wants to put work on it has a [`QueueHandle`], which may outlive the queue and then
//! does nothing.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    revocable::Revocable,
    str::CStr,
    sync::Arc,
    workqueue::{
        Queue,
        RawWorkItem, //
    },
};

/// A pointer to a work queue.
///
/// # Invariants
///
/// The pointer is valid until the [`OwnedQueue`] that it was made for is destroyed.
struct RawQueue(NonNull<kernel::bindings::workqueue_struct>);

// SAFETY: Work queues may be used from any thread.
unsafe impl Send for RawQueue {}
// SAFETY: Work queues may be used from any thread.
unsafe impl Sync for RawQueue {}

/// A work queue whose workers have high priority and run on any CPU, in process context.
///
/// # Invariants
///
/// `raw` is a valid work queue, and `handle` can be accessed.
pub struct OwnedQueue {
    raw: NonNull<kernel::bindings::workqueue_struct>,
    handle: Arc<Revocable<RawQueue>>,
}

// SAFETY: Work queues may be used from any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: Work queues may be used from any thread.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Makes a work queue, whose name shows in its workers' names.
    ///
    /// Fails with `ENOMEM`.
    pub fn new(name: &CStr) -> Result<Self> {
        // SAFETY: `name` is valid for the call, which copies it.
        let raw = NonNull::new(unsafe { bindings::rvdpa_alloc_workqueue(name.as_char_ptr()) })
            .ok_or(ENOMEM)?;
        match Arc::pin_init(Revocable::new(RawQueue(raw)), GFP_KERNEL) {
            // INVARIANT: Both have just been made.
            Ok(handle) => Ok(Self { raw, handle }),
            Err(e) => {
                // SAFETY: `raw` is a work queue that nobody else has.
                unsafe { kernel::bindings::destroy_workqueue(raw.as_ptr()) };
                Err(e)
            }
        }
    }

    /// Returns a handle by which work can be put on the queue.
    pub fn handle(&self) -> QueueHandle {
        QueueHandle(self.handle.clone())
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // Work that puts itself on the queue again may do so while the queue is drained.
        // SAFETY: `raw` is valid by the type invariant.
        unsafe { kernel::bindings::drain_workqueue(self.raw.as_ptr()) };
        // From here on no handle reaches the queue: `revoke` waits for those that do.
        self.handle.revoke();
        // SAFETY: `raw` is valid by the type invariant, and nobody uses it any more.
        unsafe { kernel::bindings::destroy_workqueue(self.raw.as_ptr()) };
    }
}

/// A way to put work on an [`OwnedQueue`].
#[derive(Clone)]
pub struct QueueHandle(Arc<Revocable<RawQueue>>);

impl QueueHandle {
    /// Puts `work` on the queue, unless it is there already.
    ///
    /// May be called from any context. Work that comes after the queue's end is dropped.
    #[inline]
    pub fn enqueue<W, const ID: u64>(&self, work: W)
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        if let Some(raw) = self.0.try_access() {
            // SAFETY: By the invariant of `RawQueue`, and because the guard that
            // `try_access` returned keeps the queue from being destroyed.
            let queue: &Queue = unsafe { Queue::from_raw(raw.0.as_ptr()) };
            let _ = queue.enqueue(work);
        }
    }
}
