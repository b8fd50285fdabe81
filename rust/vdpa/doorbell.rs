// SPDX-License-Identifier: GPL-2.0

//! Doorbells: pages by which clients kick virtqueues.
//!
//! vhost-vdpa maps the page that `get_vq_notification` gives into the client, which writes
//! the number of a virtqueue to its start, where it would otherwise signal an eventfd. Behind the
//! page of a device made of software there is nobody who notices: it has to be looked at.
//!
//! C header: [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h),
//! `struct vdpa_notification_area`

use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed, //
    },
};

/// The page of one virtqueue.
///
/// # Invariants
///
/// `page` is a page of memory at physical address `address`, which belongs to this value, and
/// which clients of the device may have mapped. Nothing but its first four bytes is ever
/// looked at, and all of it is reached atomically only.
pub struct Doorbell {
    page: NonNull<u32>,
    address: u64,
}

// SAFETY: The page is reached atomically only.
unsafe impl Send for Doorbell {}
// SAFETY: As above.
unsafe impl Sync for Doorbell {}

impl Doorbell {
    /// Nobody has written. No virtqueue has the number 65535, so whoever writes one changes the
    /// low half.
    const QUIET: u32 = u32::MAX;

    /// Makes a page. Fails with `ENOMEM`.
    pub fn new() -> Result<Self> {
        let mut address = 0;
        // SAFETY: `address` is ours.
        let page = unsafe {
            bindings::rvdpa_ring_alloc(PAGE_SIZE, kernel::bindings::GFP_KERNEL, &mut address)
        };
        // INVARIANT: It has just been allocated, zeroed and aligned to its size.
        let this = Self {
            page: NonNull::new(page.cast()).ok_or(ENOMEM)?,
            address,
        };
        this.word().store(Self::QUIET, Relaxed);
        Ok(this)
    }

    fn word(&self) -> &Atomic<u32> {
        // SAFETY: By the type invariant this is memory of ours, which all access atomically;
        // what a client does to it is as if another processor did so.
        unsafe { Atomic::from_ptr(self.page.as_ptr()) }
    }

    /// Makes the page as new. No client may need what it has written.
    pub fn clear(&self) {
        for at in 1..PAGE_SIZE / size_of::<u32>() {
            // SAFETY: The place is in the page, which by the type invariant is ours, and which
            // is written atomically only.
            unsafe { Atomic::from_ptr(self.page.as_ptr().add(at)) }.store(0, Relaxed);
        }
        self.word().store(Self::QUIET, Relaxed);
    }

    /// Whether a client has written since the last call. What it did before that is seen
    /// afterwards.
    #[inline]
    pub fn take(&self) -> bool {
        // Looking first leaves the line shared while nobody writes.
        self.word().load(Relaxed) != Self::QUIET
            && self.word().xchg(Self::QUIET, Acquire) != Self::QUIET
    }

    /// As the bus wants it.
    ///
    /// The page belongs to the device by which the bus asks, which outlives the mappings: the
    /// bus waits for its clients before it gives up a device.
    pub(super) fn area(&self) -> bindings::vdpa_notification_area {
        bindings::vdpa_notification_area {
            addr: self.address,
            size: PAGE_SIZE as u64,
        }
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        // SAFETY: `rvdpa_ring_alloc` has given it, for this size, and it is ours by the type
        // invariant.
        unsafe { bindings::rvdpa_ring_free(self.page.as_ptr().cast(), PAGE_SIZE) };
    }
}
