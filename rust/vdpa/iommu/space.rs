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
use kernel::{
    alloc::Flags,
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::Mutex,
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
    /// Takes a reference to each page from `pa` on, `size` bytes.
    ///
    /// Fails with `EINVAL` if a part of the range is not memory.
    ///
    /// # Safety
    ///
    /// The caller has pinned these pages, or they are otherwise sure to have an owner.
    pub(super) unsafe fn get(pa: u64, size: u64, writable: bool) -> Result<Self> {
        // SAFETY: The pages have an owner, as required of the caller.
        if !unsafe { bindings::rvdpa_pages_get(pa, size) } {
            return Err(EINVAL);
        }
        // INVARIANT: `rvdpa_pages_get` has taken the references.
        Ok(Self { pa, size, writable })
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
pub(super) struct Place {
    pub(super) address: usize,
    /// Whether that is an address of the mm which is bound to the device, not of the kernel.
    pub(super) user: bool,
}

impl Place {
    /// At this address of the kernel.
    #[inline(always)]
    pub(super) fn kernel(address: usize) -> Self {
        Self {
            address,
            user: false,
        }
    }

    /// The place `offset` bytes further on, which must lie in the same mapping.
    #[inline(always)]
    pub(super) fn add(self, offset: u64) -> Self {
        Self {
            address: self.address.wrapping_add(offset as usize),
            ..self
        }
    }
}

/// A run of iovas whose memory lies side by side.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Translation {
    pub(super) first: u64,
    /// Inclusive.
    pub(super) last: u64,
    pub(super) place: Place,
    pub(super) permission: Permission,
}

/// What an address space holds.
pub(super) struct Mapping {
    translation: Translation,
    /// What has to live as long as the mapping.
    pages: Option<HeldPages>,
}

/// Mappings by their last iovas, none of which overlap.
pub(super) type Mappings = RBTree<u64, Mapping>;

/// A mapping that can be added.
pub(super) struct NewMapping {
    first: u64,
    last: u64,
    node: RBTreeNode<u64, Mapping>,
}

impl NewMapping {
    /// Makes a mapping. Fails with `ENOMEM`.
    pub(super) fn new(
        translation: Translation,
        pages: Option<HeldPages>,
        flags: Flags,
    ) -> Result<Self> {
        let Translation { first, last, .. } = translation;
        let node = RBTreeNode::new(last, Mapping { translation, pages }, flags)?;
        Ok(Self { first, last, node })
    }

    /// Adds it. If it would overlap another one, that is an error, and it comes back.
    pub(super) fn insert(self, mappings: &mut Mappings) -> Result<(), Self> {
        if find(mappings, self.first).is_some_and(|found| found.first <= self.last) {
            return Err(self);
        }
        mappings.insert(self.node);
        Ok(())
    }
}

/// The mapping that covers `iova`, or else the next one above it.
fn find(mappings: &Mappings, iova: u64) -> Option<Translation> {
    let cursor = mappings.cursor_lower_bound(&iova)?;
    Some(cursor.current().1.translation)
}

/// One address space.
#[pin_data]
pub(super) struct AddressSpace {
    /// Held by those who change mappings of a client, one at a time. Drivers of this kernel
    /// do not take it; no device has both.
    #[pin]
    pub(super) changes: Mutex<()>,
    #[pin]
    mappings: SpinLockIrqSave<Mappings>,
}

impl AddressSpace {
    /// Makes an empty address space.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            changes <- new_mutex!((), "vdpa::AddressSpace::changes"),
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
        let new = NewMapping::new(translation, pages, flags)?;
        // One that is not wanted is dropped after the lock has been released.
        let result = new.insert(&mut self.mappings.lock());
        result.map_err(|_unwanted| EEXIST)
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
    pub(super) fn take_all(&self) -> Mappings {
        core::mem::take(&mut *self.mappings.lock())
    }

    /// Takes out the first mapping from `iova` on that is not to be kept.
    ///
    /// The caller waits for accesses under way before it drops what is returned.
    pub(super) fn remove_unless(
        &self,
        iova: u64,
        keep: impl Fn(&Translation) -> bool,
    ) -> Option<RBTreeNode<u64, Mapping>> {
        let mut mappings = self.mappings.lock();
        let mut cursor = mappings.cursor_lower_bound_mut(&iova)?;
        while keep(&cursor.current().1.translation) {
            cursor = cursor.move_next()?;
        }
        Some(cursor.remove_current().1)
    }

    /// Whether this very mapping is in force, and holds its pages.
    pub(super) fn holds(&self, translation: &Translation) -> bool {
        let mappings = self.mappings.lock();
        mappings
            .get(&translation.last)
            .is_some_and(|found| found.translation == *translation && found.pages.is_some())
    }

    /// Puts `new` in force, and returns what was before.
    ///
    /// The caller waits for accesses under way before it gives the old mappings to
    /// [`hand_on`](Self::hand_on).
    pub(super) fn replace(&self, new: Mappings) -> Mappings {
        core::mem::replace(&mut *self.mappings.lock(), new)
    }

    /// Ends mappings that are no longer in force. Their pages go on to those in force that
    /// are the same and came without.
    pub(super) fn hand_on(&self, mut old: Mappings) {
        for mapping in old.values_mut() {
            let mut mappings = self.mappings.lock();
            if let Some(found) = mappings.get_mut(&mapping.translation.last) {
                if found.translation == mapping.translation && found.pages.is_none() {
                    found.pages = mapping.pages.take();
                }
            }
        }
    }

    /// The mapping that covers `iova`.
    pub(super) fn translate(&self, iova: u64) -> Option<Translation> {
        find(&self.mappings.lock(), iova).filter(|found| found.first <= iova)
    }
}
