// SPDX-License-Identifier: GPL-2.0

//! Address spaces: what an iova means.

use super::Permission;
use crate::{
    bindings,
    vdpa::lock::{
        new_spinlock_irqsave,
        SpinLockIrqSave, //
    },
};
use core::ptr::NonNull;
use kernel::{
    alloc::Flags,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
};

/// Physical memory whose pages this mapping holds references to.
///
/// # Invariants
///
/// Each page of the range has been taken a reference to, which this value owns.
pub(super) struct HeldPages {
    pa: u64,
    size: u64,
    /// Whether the device may have written.
    writable: bool,
}

impl HeldPages {
    /// Takes a reference to each page from `pa` on, `size` bytes, and returns them with
    /// the address at which the kernel sees them.
    ///
    /// Fails with `EINVAL` if a part of the range is not memory.
    ///
    /// # Safety
    ///
    /// The caller has pinned these pages, or they are otherwise sure to have an owner.
    pub(super) unsafe fn get(pa: u64, size: u64, writable: bool) -> Result<(Self, NonNull<u8>)> {
        // SAFETY: The pages have an owner, as required of the caller.
        let base = unsafe { bindings::rvdpa_pages_get(pa, size) };
        let base = NonNull::new(base.cast::<u8>()).ok_or(EINVAL)?;
        // INVARIANT: `rvdpa_pages_get` has taken the references.
        Ok((Self { pa, size, writable }, base))
    }
}

impl Drop for HeldPages {
    fn drop(&mut self) {
        // SAFETY: The references are ours by the type invariant. Mappings are dropped in
        // process context without a spin lock, so this may sleep.
        unsafe { bindings::rvdpa_pages_put(self.pa, self.size, self.writable) };
    }
}

/// Where the memory of a mapping is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// At this address of the kernel.
    Kernel(usize),
    /// At this address of the mm that is bound to the device.
    User(usize),
}

impl Place {
    /// The place `offset` bytes further on, which must lie in the same mapping.
    #[inline]
    pub(super) fn add(self, offset: u64) -> Self {
        match self {
            Place::Kernel(base) => Place::Kernel(base.wrapping_add(offset as usize)),
            Place::User(base) => Place::User(base.wrapping_add(offset as usize)),
        }
    }
}

/// A run of iovas whose memory lies side by side.
#[derive(Clone, Copy)]
pub(super) struct Translation {
    pub(super) first: u64,
    /// Inclusive.
    pub(super) last: u64,
    pub(super) place: Place,
    pub(super) permission: Permission,
}

/// What the tree of an address space holds, by the last iova of each mapping.
pub(super) struct Mapping {
    translation: Translation,
    /// What has to live as long as the mapping.
    _pages: Option<HeldPages>,
}

/// One address space.
#[pin_data]
pub(super) struct AddressSpace {
    #[pin]
    mappings: SpinLockIrqSave<RBTree<u64, Mapping>>,
}

impl AddressSpace {
    /// Makes an empty address space.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            mappings <- new_spinlock_irqsave!(RBTree::new(), "vdpa::AddressSpace::mappings"),
        })
    }

    /// Adds a mapping.
    ///
    /// Fails with `EEXIST` if it would overlap another one, with `ENOMEM`.
    pub(super) fn insert(
        &self,
        translation: Translation,
        pages: Option<HeldPages>,
        flags: Flags,
    ) -> Result {
        let node = RBTreeNode::new(
            translation.last,
            Mapping {
                translation,
                _pages: pages,
            },
            flags,
        )?;
        // A node that is not wanted is dropped after the lock has been released.
        let mut mappings = self.mappings.lock();
        if Self::find(&mappings, translation.first)
            .is_some_and(|found| found.first <= translation.last)
        {
            drop(mappings);
            drop(node);
            return Err(EEXIST);
        }
        mappings.insert(node);
        Ok(())
    }

    /// Takes out one mapping that overlaps `first..=last`.
    ///
    /// The caller waits for accesses under way before it drops what is returned.
    pub(super) fn remove(&self, first: u64, last: u64) -> Option<RBTreeNode<u64, Mapping>> {
        let mut mappings = self.mappings.lock();
        let cursor = mappings.cursor_lower_bound_mut(&first)?;
        if cursor.current().1.translation.first > last {
            return None;
        }
        Some(cursor.remove_current().1)
    }

    /// Takes out all mappings.
    ///
    /// The caller waits for accesses under way before it drops what is returned.
    pub(super) fn take_all(&self) -> RBTree<u64, Mapping> {
        core::mem::take(&mut *self.mappings.lock())
    }

    /// The mapping that covers `iova`.
    pub(super) fn translate(&self, iova: u64) -> Option<Translation> {
        Self::find(&self.mappings.lock(), iova).filter(|found| found.first <= iova)
    }

    /// The mapping that covers `iova`, or else the next one above it.
    fn find(mappings: &RBTree<u64, Mapping>, iova: u64) -> Option<Translation> {
        let cursor = mappings.cursor_lower_bound(&iova)?;
        Some(cursor.current().1.translation)
    }
}
