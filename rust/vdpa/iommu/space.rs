// SPDX-License-Identifier: GPL-2.0

//! Address spaces: what an iova means.

use super::{
    mappings::{
        Mapping,
        Mappings,
        Refused,
        Removed,
        Room, //
    },
    Permission,
};
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
    sync::Mutex, //
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

/// One address space.
#[pin_data]
pub(super) struct AddressSpace {
    /// Held by those who change mappings of a client, one at a time. Drivers of this kernel
    /// do not take it; no device has both. How many were made since there were none.
    #[pin]
    pub(super) changes: Mutex<usize>,
    #[pin]
    mappings: SpinLockIrqSave<Mappings>,
}

impl AddressSpace {
    /// Makes an empty address space.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            changes <- new_mutex!(0, "vdpa::AddressSpace::changes"),
            mappings <- new_spinlock_irqsave!(Mappings::new(), "vdpa::AddressSpace::mappings"),
        })
    }

    /// Adds a mapping.
    ///
    /// Fails with `EEXIST` if it would overlap another one, with `ENOMEM`.
    #[inline]
    pub(super) fn insert(
        &self,
        translation: Translation,
        pages: Option<HeldPages>,
        flags: Flags,
    ) -> Result {
        // What is not wanted is dropped after the lock has been released.
        insert(Mapping { translation, pages }, flags, |new, room| {
            self.mappings.lock().insert(new, room)
        })
    }

    /// Takes out one mapping that overlaps `first..=last`.
    ///
    /// The caller waits for accesses under way before it drops what is returned.
    pub(super) fn remove(&self, first: u64, last: u64) -> Option<Removed> {
        let overlaps = |found: &Translation| found.first <= last;
        self.mappings.lock().remove_if(first, overlaps)
    }

    /// Takes out all mappings.
    ///
    /// The caller waits for accesses under way before it drops what is returned.
    pub(super) fn take_all(&self) -> Mappings {
        self.replace(Mappings::new())
    }

    /// Takes out the first mapping from `iova` on that is not to be kept.
    ///
    /// The caller waits for accesses under way before it drops what is returned.
    pub(super) fn remove_unless(
        &self,
        iova: u64,
        keep: impl Fn(&Translation) -> bool,
    ) -> Option<Removed> {
        let mut mappings = self.mappings.lock();
        let mut from = iova;
        loop {
            let found = mappings.look(from, |found| found.translation)?;
            if !keep(&found) {
                return mappings.remove_if(from, |_| true);
            }
            from = found.last.checked_add(1)?;
        }
    }

    /// Whether this very mapping is in force, and holds its pages.
    pub(super) fn holds(&self, translation: &Translation) -> bool {
        let is_it = |found: &Mapping| found.translation == *translation && found.pages.is_some();
        let mappings = self.mappings.lock();
        mappings.look(translation.last, is_it).unwrap_or(false)
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
        for mapping in old.iter_mut() {
            let Translation { last, .. } = mapping.translation;
            self.mappings.lock().change(last, |found| {
                if found.translation == mapping.translation && found.pages.is_none() {
                    found.pages = mapping.pages.take();
                }
            });
        }
    }

    /// The mapping that covers `iova`.
    pub(super) fn translate(&self, iova: u64) -> Option<Translation> {
        let found = self.mappings.lock().look(iova, |found| found.translation)?;
        (found.first <= iova).then_some(found)
    }
}

/// Adds a mapping by `try_insert`, which is tried once more with room for it if there was none.
///
/// Fails with `EEXIST` if it would overlap another one, with `ENOMEM`.
#[inline]
pub(super) fn insert(
    mapping: Mapping,
    flags: Flags,
    mut try_insert: impl FnMut(&mut Option<Mapping>, &mut Option<Room>) -> Result<(), Refused>,
) -> Result {
    let (mut new, mut room) = (Some(mapping), None);
    let mut result = try_insert(&mut new, &mut room);
    if let Err(Refused::Full) = result {
        room = Some(Room::new(flags)?);
        result = try_insert(&mut new, &mut room);
    }
    result.map_err(|refused| match refused {
        Refused::Overlaps => EEXIST,
        Refused::Full => ENOMEM,
    })
}
