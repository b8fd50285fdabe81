// SPDX-License-Identifier: GPL-2.0

//! Access to driver memory, while the lock of an attachment is held.

use super::{
    piece::Piece,
    space::{
        AddressSpace,
        Place,
        Translation, //
    },
    Permission,
};
use crate::{
    bindings,
    vdpa::nospec::index_nospec, //
};
use core::cell::Cell;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    types::NotThreadSafe, //
};

/// Why memory could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFault {
    /// No mapping covers the address.
    Unmapped,
    /// The mapping does not permit this access.
    Permission,
    /// The memory of the client is not resident; `Attachment::fault_in` brings it in.
    NotPresent,
}

/// How much physical memory one translation covers at most, in bytes. Finding it takes a look
/// at each 2 MiB.
const BLOCK: usize = 1 << 30;

/// A [`Translation`] in 32 bytes, of which each virtqueue remembers some.
#[derive(Clone, Copy)]
struct Entry {
    first: u64,
    last: u64,
    address: usize,
    /// When it was found.
    generation: u32,
    user: bool,
    permission: Permission,
}

const _: () = assert!(size_of::<Option<Entry>>() == 32);

impl From<Entry> for Translation {
    #[inline(always)]
    fn from(entry: Entry) -> Self {
        Self {
            first: entry.first,
            last: entry.last,
            place: Place {
                address: entry.address,
                user: entry.user,
            },
            permission: entry.permission,
        }
    }
}

/// Room for recent translations, a power of two of them.
pub(super) struct Entries(KVec<Cell<Option<Entry>>>);

impl Entries {
    /// How many an attachment has at first, and as long as there are no more mappings.
    pub(super) const FEW: usize = 64;
    /// How many it has where there are many mappings.
    pub(super) const MANY: usize = 512;

    /// Makes room for `count` of them, a power of two. Fails with `ENOMEM`.
    pub(super) fn new(count: usize) -> Result<Self> {
        let entries = KVec::from_elem(Cell::new(None), count, GFP_KERNEL)?;
        Ok(Self(entries))
    }
}

/// A mapping to memory of the kernel, for one kind of access.
#[derive(Clone, Copy)]
pub(super) struct Direct {
    pub(super) first: u64,
    /// How many iovas there are, or one less.
    pub(super) size: u64,
    pub(super) address: usize,
    pub(super) permission: Permission,
}

impl Direct {
    /// None at all.
    pub(super) const NONE: Self = Self {
        first: 0,
        size: 0,
        address: 0,
        permission: Permission::Read,
    };
}

/// Recent translations of one attachment: for each page of iovas one place, which it
/// shares with others; for each block where iovas are physical addresses.
pub(super) struct Cache {
    /// The change of the IOMMU after which those of this generation were found.
    stamp: Cell<u64>,
    generation: Cell<u32>,
    entries: Entries,
    /// What the last buffer was in, of those that were memory of the kernel. One will do: a
    /// virtqueue has buffers of one kind most often.
    recent: Cell<Direct>,
}

impl Cache {
    /// Makes an empty one. Fails with `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            stamp: Cell::new(0),
            generation: Cell::new(0),
            entries: Entries::new(Entries::FEW)?,
            recent: Cell::new(Direct::NONE),
        })
    }

    /// Forgets all translations.
    pub(super) fn clear(&self) {
        let next = self.generation.get().wrapping_add(1);
        self.generation.set(next);
        self.recent.set(Direct::NONE);
        if next == 0 {
            // Those of long ago would count again.
            for entry in &self.entries.0 {
                entry.set(None);
            }
        }
    }

    /// Gives it other room, which is empty, and returns what it had.
    pub(super) fn replace(&mut self, entries: Entries) -> Entries {
        core::mem::replace(&mut self.entries, entries)
    }

    #[inline(always)]
    fn entry(&self, iova: u64, identity: bool) -> Option<&Cell<Option<Entry>>> {
        let per = if identity { BLOCK } else { PAGE_SIZE };
        let entries = &self.entries.0;
        entries.get((iova as usize / per) & entries.len().wrapping_sub(1))
    }

    /// Forgets all translations older than `stamp`.
    #[inline]
    fn refresh(&self, stamp: u64) {
        if self.stamp.get() != stamp {
            self.stamp.set(stamp);
            self.clear();
        }
    }

    #[inline(always)]
    fn find(&self, iova: u64, identity: bool) -> Option<Translation> {
        let found = self.entry(iova, identity)?.get()?;
        let is_good = found.generation == self.generation.get();
        (is_good && found.first <= iova && iova <= found.last).then(|| found.into())
    }

    fn add(&self, iova: u64, identity: bool, found: Translation) {
        if let Some(entry) = self.entry(iova, identity) {
            entry.set(Some(Entry {
                first: found.first,
                last: found.last,
                address: found.place.address,
                generation: self.generation.get(),
                user: found.place.user,
                permission: found.permission,
            }));
        }
    }
}

/// How iovas are translated for the holder of an attachment's lock.
///
/// # Invariants
///
/// While a value of this type exists, the lock of an attachment is held. Hence no mapping
/// that it has seen, or that was in force at `stamp`, gives up its memory: whoever takes a
/// mapping away waits for that lock before it does so.
pub struct Access<'a> {
    rings: &'a AddressSpace,
    buffers: &'a AddressSpace,
    /// Of `buffers`.
    cache: &'a Cache,
    stamp: u64,
    /// Addresses are physical addresses of driver memory.
    identity: bool,
    /// The current mm is the one that is bound to the device.
    user: bool,
    _not_send: NotThreadSafe,
}

impl<'a> Access<'a> {
    /// # Safety
    ///
    /// The lock of the attachment that `cache` belongs to is held for `'a`, and `stamp`
    /// was read after it was taken. If `user` is set, the current mm is the one that is
    /// bound to the device, for `'a`.
    pub(super) unsafe fn new(
        rings: &'a AddressSpace,
        buffers: &'a AddressSpace,
        cache: &'a Cache,
        stamp: u64,
        identity: bool,
        user: bool,
    ) -> Self {
        cache.refresh(stamp);
        // INVARIANT: As required of the caller.
        Self {
            rings,
            buffers,
            cache,
            stamp,
            identity,
            user,
            _not_send: NotThreadSafe::default(),
        }
    }

    /// The change of the IOMMU at which translations are those of this value.
    #[inline]
    pub(super) fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The mapping of the last buffer, if it was noted.
    #[inline(always)]
    pub(super) fn recent(&self) -> &'a Cell<Direct> {
        &self.cache.recent
    }

    /// Whether memory of the client can be reached.
    #[inline]
    pub(super) fn user(&self) -> bool {
        self.user
    }

    /// Finds the memory of a buffer at `iova`: as much of `len` bytes as lies side by side, at least
    /// one.
    ///
    /// Fails with [`AccessFault::Unmapped`] also where `len` is zero or `iova + len - 1`
    /// overflows.
    #[inline(always)]
    pub fn piece(
        &self,
        iova: u64,
        len: usize,
        permission: Permission,
    ) -> Result<Piece<'_>, AccessFault> {
        let (place, len) = self.translate(iova, len, permission)?;
        // SAFETY: `translate` found that the mapping covers these bytes, and by the invariant
        // of `Self` it stays for as long as `self` is borrowed.
        Ok(unsafe { Piece::new(place, len) })
    }

    /// Where `iova` of a buffer is, and how many of `len` bytes lie side by side from there on.
    #[inline(always)]
    pub(super) fn translate(
        &self,
        iova: u64,
        len: usize,
        permission: Permission,
    ) -> Result<(Place, usize), AccessFault> {
        let found = self.find(iova)?;
        self.place_of(&found, iova, len, permission)
    }

    /// The translation of a buffer, or of its start.
    #[inline(always)]
    pub(super) fn find(&self, iova: u64) -> Result<Translation, AccessFault> {
        match self.cache.find(iova, self.identity) {
            Some(found) => Ok(found),
            None => self.look_up(iova),
        }
    }

    /// Finds the translation of a buffer, and remembers it.
    #[inline(never)]
    fn look_up(&self, iova: u64) -> Result<Translation, AccessFault> {
        let found = self.look_up_in(self.buffers, iova)?;
        self.cache.add(iova, self.identity, found);
        Ok(found)
    }

    /// The translation of a part of the virtqueue. Not cached here, but in areas.
    pub(super) fn translate_rings(&self, iova: u64) -> Result<Translation, AccessFault> {
        self.look_up_in(self.rings, iova)
    }

    /// Finds a translation that is not cached.
    fn look_up_in(&self, space: &AddressSpace, iova: u64) -> Result<Translation, AccessFault> {
        let found = if self.identity {
            identity(iova)
        } else {
            space.translate(iova)
        };
        found.ok_or(AccessFault::Unmapped)
    }

    /// Where `iova` is according to `found`, and how many of `len` bytes lie side by side from
    /// there on.
    #[inline(always)]
    pub(super) fn place_of(
        &self,
        found: &Translation,
        iova: u64,
        len: usize,
        permission: Permission,
    ) -> Result<(Place, usize), AccessFault> {
        let wanted_last = last(iova, len)?;
        if !found.permission.allows(permission) {
            return Err(AccessFault::Permission);
        }
        // No mapping has 2^64 bytes, and no number more than 64 bits.
        let size = found.last.wrapping_sub(found.first).wrapping_add(1) as usize;
        let offset = index_nospec(iova.wrapping_sub(found.first) as usize, size);
        let place = found.place.add(offset as u64);
        if place.user && !self.user {
            return Err(AccessFault::Unmapped);
        }
        let last = wanted_last.min(found.last);
        // Not more than the length that was asked for, so it fits.
        Ok((place, last.wrapping_sub(iova).wrapping_add(1) as usize))
    }
}

/// The translation of memory that a driver of this kernel has mapped by identity: that of what
/// there is around `iova` in its block.
fn identity(iova: u64) -> Option<Translation> {
    let mut first = 0;
    // SAFETY: The function only computes, whatever the address; `first` is ours.
    let size = unsafe { bindings::rvdpa_identity(iova, BLOCK, &mut first) };
    let last = first.checked_add((size as u64).checked_sub(1)?)?;
    // SAFETY: The function only computes.
    let address = unsafe { bindings::rvdpa_virt(first) } as usize;
    Some(Translation {
        first,
        last,
        place: Place::kernel(address),
        permission: Permission::ReadWrite,
    })
}

/// The last iova of a range, which must not be empty or overflow.
#[inline]
pub(super) fn last(iova: u64, len: usize) -> Result<u64, AccessFault> {
    (len as u64)
        .checked_sub(1)
        .and_then(|more| iova.checked_add(more))
        .ok_or(AccessFault::Unmapped)
}
