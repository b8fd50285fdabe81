// SPDX-License-Identifier: GPL-2.0

//! Which CPUs are to work for a virtqueue.
//!
//! C header: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

use crate::bindings;
use kernel::{
    cpumask::{
        Cpumask,
        CpumaskVar, //
    },
    prelude::*,
    sync::atomic::{
        Acquire,
        AtomicFlag,
        Release, //
    },
};

/// The CPUs that a driver wants to work for a virtqueue.
///
/// What [`Operations::set_vq_affinity`] and [`Operations::get_vq_affinity`] set and get, for
/// one virtqueue. It starts as not set.
///
/// # Examples
///
/// ```ignore
/// fn set_vq_affinity(dev: &Device<Self>, idx: u16, mask: Option<&Cpumask>) -> Result {
///     dev.queue(idx).ok_or(EINVAL)?.affinity.set(mask);
///     Ok(())
/// }
///
/// fn kick_vq(dev: &Device<Self>, idx: u16) {
///     if let Some(queue) = dev.queue(idx) {
///         dev.workers.enqueue_on(queue.affinity.cpu(), queue.worker.clone());
///     }
/// }
/// ```
///
/// [`Operations::set_vq_affinity`]: super::Operations::set_vq_affinity
/// [`Operations::get_vq_affinity`]: super::Operations::get_vq_affinity
pub struct Affinity {
    /// Written and read by C functions alone, without a lock: who reads while it is written
    /// may see a part of the old mask and a part of the new one.
    mask: CpumaskVar,
    is_set: AtomicFlag,
}

// SAFETY: The mask is memory that belongs to nobody else, on any CPU.
unsafe impl Send for Affinity {}
// SAFETY: The mask can be read while another CPU writes it: words of it are old or new, and
// every value is a valid mask.
unsafe impl Sync for Affinity {}

impl Affinity {
    /// Makes one that is not set.
    ///
    /// Fails with `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self {
            mask: CpumaskVar::new_zero(GFP_KERNEL)?,
            is_set: AtomicFlag::new(false),
        })
    }

    /// Sets the CPUs; `None` says that any will do.
    ///
    /// Any context. Where two set it at the same time, the result may be a mixture, until it
    /// is set again.
    pub fn set(&self, mask: Option<&Cpumask>) {
        if let Some(mask) = mask {
            // SAFETY: Both are valid masks, and ours may be written at any time, as `Sync`
            // says.
            unsafe { kernel::bindings::cpumask_copy(self.mask.as_raw(), mask.as_raw()) };
        }
        self.is_set.store(mask.is_some(), Release);
    }

    /// Gets the CPUs, if they were set. The mask follows what is set later.
    pub fn get(&self) -> Option<&Cpumask> {
        self.is_set.load(Acquire).then_some(&*self.mask)
    }

    /// Says which CPU is to do the next work for the virtqueue.
    ///
    /// That is the first of the mask that is online, always the same one, because its caches
    /// know the virtqueue: drivers with many virtqueues give each a mask of its own. `None`
    /// leaves the choice to the scheduler: if no CPUs were set, if none of them is online,
    /// and if all that are online are in the mask, which then rules nothing out.
    ///
    /// Any context, takes no lock. The CPU may be offline by the time it is used, as
    /// [`QueueHandle::enqueue_on`] allows for.
    ///
    /// [`QueueHandle::enqueue_on`]: super::workqueue::QueueHandle::enqueue_on
    #[inline]
    pub fn cpu(&self) -> Option<u32> {
        let mask = self.get()?;
        // SAFETY: The mask is valid. The function only reads, and so does not mind changes.
        let cpu = unsafe { bindings::rvdpa_cpumask_choose(mask.as_raw()) };
        (cpu != u32::MAX).then_some(cpu)
    }
}
