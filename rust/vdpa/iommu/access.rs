// SPDX-License-Identifier: GPL-2.0

//! Access to driver memory, while the lock of an attachment is held.

use super::{
    space::{
        AddressSpace,
        Place,
        Translation, //
    },
    Permission,
};
use crate::bindings;
use core::{
    cell::Cell,
    marker::PhantomData,
    ptr, //
};
use kernel::{
    ffi::c_void,
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

/// Which side of a copy failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFault {
    /// The side that is read.
    Source(AccessFault),
    /// The side that is written.
    Destination(AccessFault),
}

/// How many recent translations an attachment remembers.
const CACHED: usize = 4;

/// Recent translations of one attachment.
pub(super) struct Cache {
    /// The change of the IOMMU after which these were found.
    stamp: Cell<u64>,
    entries: [Cell<Option<Translation>>; CACHED],
    next: Cell<usize>,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            stamp: Cell::new(0),
            entries: [const { Cell::new(None) }; CACHED],
            next: Cell::new(0),
        }
    }

    /// Forgets all translations older than `stamp`.
    #[inline]
    fn refresh(&self, stamp: u64) {
        if self.stamp.get() != stamp {
            self.stamp.set(stamp);
            for entry in &self.entries {
                entry.set(None);
            }
        }
    }

    #[inline]
    fn find(&self, iova: u64) -> Option<Translation> {
        self.entries
            .iter()
            .filter_map(Cell::get)
            .find(|entry| entry.first <= iova && iova <= entry.last)
    }

    fn add(&self, translation: Translation) {
        let slot = self.next.get() % CACHED;
        if let Some(entry) = self.entries.get(slot) {
            entry.set(Some(translation));
        }
        self.next.set(slot.wrapping_add(1));
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
    space: &'a AddressSpace,
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
        space: &'a AddressSpace,
        cache: &'a Cache,
        stamp: u64,
        identity: bool,
        user: bool,
    ) -> Self {
        cache.refresh(stamp);
        // INVARIANT: As required of the caller.
        Self {
            space,
            cache,
            stamp,
            identity,
            user,
            _not_send: NotThreadSafe::default(),
        }
    }

    /// Finds the memory at `iova`: as much of `len` bytes as lies side by side, at least
    /// one.
    ///
    /// Fails with [`AccessFault::Unmapped`] also where `len` is zero or `iova + len - 1`
    /// overflows.
    #[inline]
    pub fn piece(
        &self,
        iova: u64,
        len: usize,
        permission: Permission,
    ) -> Result<Piece<'_>, AccessFault> {
        let (place, len) = self.translate(iova, len, permission)?;
        // INVARIANT: `translate` found that the mapping covers these bytes, and by the
        // invariant of `Self` it stays for as long as `self` is borrowed.
        Ok(Piece {
            place,
            len,
            _access: PhantomData,
        })
    }

    /// Where `iova` is, and how many of `len` bytes lie side by side from there on.
    #[inline]
    pub(super) fn translate(
        &self,
        iova: u64,
        len: usize,
        permission: Permission,
    ) -> Result<(Place, usize), AccessFault> {
        let wanted_last = (len as u64)
            .checked_sub(1)
            .and_then(|more| iova.checked_add(more))
            .ok_or(AccessFault::Unmapped)?;
        let found = match self.cache.find(iova) {
            Some(found) => found,
            None => self.look_up(iova, wanted_last, len)?,
        };
        if !found.permission.allows(permission) {
            return Err(AccessFault::Permission);
        }
        let place = found.place.add(iova.wrapping_sub(found.first));
        if matches!(place, Place::User(_)) && !self.user {
            return Err(AccessFault::Unmapped);
        }
        let last = wanted_last.min(found.last);
        // Not more than `len`, so it fits.
        Ok((place, last.wrapping_sub(iova).wrapping_add(1) as usize))
    }

    /// Finds a translation that is not cached.
    fn look_up(&self, iova: u64, last: u64, len: usize) -> Result<Translation, AccessFault> {
        if let Some(found) = self.space.translate(iova) {
            self.cache.add(found);
            return Ok(found);
        }
        if !self.identity {
            return Err(AccessFault::Unmapped);
        }
        // SAFETY: The function only computes, whatever the address.
        let base = unsafe { bindings::rvdpa_identity(iova, len) };
        if base.is_null() {
            return Err(AccessFault::Unmapped);
        }
        // Not cached: it is found as quickly anew.
        Ok(Translation {
            first: iova,
            last,
            place: Place::Kernel(base as usize),
            permission: Permission::ReadWrite,
        })
    }

    /// Makes `area` the translation of `len` bytes at `iova`.
    ///
    /// Cheap if it is that already and nothing has changed. Fails with
    /// [`AccessFault::Unmapped`] also where `area` has no room for so many bytes.
    #[inline]
    pub fn resolve(
        &self,
        area: &mut Area,
        iova: u64,
        len: usize,
        permission: Permission,
    ) -> Result<(), AccessFault> {
        if area.stamp == self.stamp
            && area.iova == iova
            && area.len == len
            && area.permission.allows(permission)
        {
            return Ok(());
        }
        self.resolve_anew(area, iova, len, permission)
    }

    fn resolve_anew(
        &self,
        area: &mut Area,
        iova: u64,
        len: usize,
        permission: Permission,
    ) -> Result<(), AccessFault> {
        area.stamp = Area::NEVER;
        let mut done = 0usize;
        let mut user = None;
        for page in area.pages.iter_mut() {
            let at = iova.checked_add(done as u64).ok_or(AccessFault::Unmapped)?;
            let in_page = at as usize % PAGE_SIZE;
            let want = (PAGE_SIZE - in_page).min(len - done);
            if want == 0 {
                break;
            }
            let (place, got) = self.translate(at, want, permission)?;
            if got < want {
                // A mapping that ends within a page: possible, but no ring lies so.
                return Err(AccessFault::Unmapped);
            }
            let (address, is_user) = match place {
                // The low bits are kept, so that what is aligned for the driver is
                // aligned for us.
                Place::Kernel(address) if address % PAGE_SIZE != in_page => {
                    return Err(AccessFault::Unmapped)
                }
                Place::Kernel(address) => (address, false),
                Place::User(address) => (address, true),
            };
            if *user.get_or_insert(is_user) != is_user {
                return Err(AccessFault::Unmapped);
            }
            *page = address.wrapping_sub(in_page);
            done += want;
        }
        if done != len {
            return Err(AccessFault::Unmapped);
        }
        // INVARIANT: The loop has found each page at the change that `stamp` names, and
        // they cover all of `iova..iova + len`.
        area.user = user.unwrap_or(false);
        area.iova = iova;
        area.len = len;
        area.permission = permission;
        area.stamp = self.stamp;
        Ok(())
    }

    /// The place of `size` bytes at `offset` of a resolved area.
    #[inline]
    fn place(&self, area: &Area, offset: usize, size: usize) -> Result<Place, AccessFault> {
        if area.stamp != self.stamp || offset.checked_add(size).is_none_or(|end| end > area.len) {
            return Err(AccessFault::Unmapped);
        }
        let at = (area.iova as usize % PAGE_SIZE).wrapping_add(offset);
        let page = area
            .pages
            .get(at / PAGE_SIZE)
            .ok_or(AccessFault::Unmapped)?;
        let in_page = at % PAGE_SIZE;
        if in_page.wrapping_add(size) > PAGE_SIZE {
            return Err(AccessFault::Unmapped);
        }
        let address = page.wrapping_add(in_page);
        if !area.user {
            Ok(Place::Kernel(address))
        } else if self.user {
            Ok(Place::User(address))
        } else {
            Err(AccessFault::Unmapped)
        }
    }

    /// Reads `T` at `offset` of an area that was resolved for reading, in one access of
    /// the processor where `T` is at most as large as a word and memory is the kernel's.
    ///
    /// Fails with [`AccessFault::Unmapped`] if `offset` is not aligned for `T`, if the
    /// element does not lie within the area, or if the area is out of date.
    #[inline]
    pub fn load<T: Element>(&self, area: &Area, offset: usize) -> Result<T, AccessFault> {
        match self.place(area, offset, size_of::<T>())? {
            Place::Kernel(address) => {
                let from = address as *const T;
                if !from.is_aligned() {
                    return Err(AccessFault::Unmapped);
                }
                // SAFETY: By the invariants of `Area` and `Self` this is mapped memory,
                // which stays while the lock is held; it is aligned, and any value is
                // valid for an `Element`. Others may write it meanwhile, hence volatile.
                Ok(unsafe { ptr::read_volatile(from) })
            }
            Place::User(address) => {
                let mut value = T::default();
                // SAFETY: `value` is ours; the function checks the user's address.
                unsafe {
                    user_read((&raw mut value).cast(), address, size_of::<T>())?;
                }
                Ok(value)
            }
        }
    }

    /// Writes `value` at `offset` of an area that was resolved for writing.
    ///
    /// Fails as [`load`](Self::load) does, and with [`AccessFault::Permission`] if the area
    /// was resolved for reading only.
    #[inline]
    pub fn store<T: Element>(
        &self,
        area: &Area,
        offset: usize,
        value: T,
    ) -> Result<(), AccessFault> {
        if !area.permission.allows(Permission::Write) {
            return Err(AccessFault::Permission);
        }
        match self.place(area, offset, size_of::<T>())? {
            Place::Kernel(address) => {
                let to = address as *mut T;
                if !to.is_aligned() {
                    return Err(AccessFault::Unmapped);
                }
                // SAFETY: As in `load`; and the mapping permits writing.
                unsafe { ptr::write_volatile(to, value) };
                Ok(())
            }
            Place::User(address) => {
                // SAFETY: `value` is ours; the function checks the user's address.
                unsafe { user_write(address, (&raw const value).cast(), size_of::<T>()) }
            }
        }
    }
}

/// Plain numbers that a ring consists of.
///
/// # Safety
///
/// Any bytes are a valid value, and there is no padding.
pub unsafe trait Element: Copy + Default {}

// SAFETY: Any 16 bits are a `u16`.
unsafe impl Element for u16 {}
// SAFETY: Any 32 bits are a `u32`.
unsafe impl Element for u32 {}
// SAFETY: Any 64 bits are a `u64`.
unsafe impl Element for u64 {}
// SAFETY: Any bytes are a byte array.
unsafe impl Element for [u8; 8] {}
// SAFETY: Any bytes are a byte array.
unsafe impl Element for [u8; 16] {}

/// Room for the translation of a part of a virtqueue, page by page.
///
/// # Invariants
///
/// At the change that `stamp` names, the bytes `iova..iova + len` were mapped for
/// `permission`, and page `i` of them was at `pages[i]`.
pub struct Area {
    stamp: u64,
    iova: u64,
    len: usize,
    user: bool,
    permission: Permission,
    pages: KVec<usize>,
}

impl Area {
    /// No change has this number.
    const NEVER: u64 = 0;

    /// Makes room for a part of at most `len` bytes.
    ///
    /// Fails with `ENOMEM`.
    pub fn new(len: usize) -> Result<Self> {
        // One more, because it need not start at a page.
        let pages = len.div_ceil(PAGE_SIZE) + 1;
        // INVARIANT: No change is called `NEVER`.
        Ok(Self {
            stamp: Self::NEVER,
            iova: 0,
            len: 0,
            user: false,
            permission: Permission::Read,
            pages: KVec::from_elem(0, pages, GFP_KERNEL)?,
        })
    }
}

/// Bytes of driver memory that lie side by side.
///
/// # Invariants
///
/// The `len` bytes at `place` are mapped, for the permission that was asked for, and stay
/// so for `'a`.
#[derive(Clone, Copy)]
pub struct Piece<'a> {
    place: Place,
    len: usize,
    _access: PhantomData<&'a Access<'a>>,
}

impl Piece<'_> {
    /// Length in bytes, at least one.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The place at `offset`, if `len` bytes from there on lie within the piece.
    #[inline]
    fn at(&self, offset: usize, len: usize) -> Result<Place, AccessFault> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(AccessFault::Unmapped);
        }
        Ok(self.place.add(offset as u64))
    }

    /// Reads bytes that start `offset` bytes into the piece.
    ///
    /// Fails with [`AccessFault::Unmapped`] if they do not lie within it.
    #[inline]
    pub fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), AccessFault> {
        match self.at(offset, out.len())? {
            Place::Kernel(from) => {
                // SAFETY: The bytes are mapped by the type invariant, and `out` is ours.
                // The driver may write them meanwhile; nothing depends on what is read.
                unsafe { ptr::copy(from as *const u8, out.as_mut_ptr(), out.len()) };
                Ok(())
            }
            // SAFETY: `out` is ours; the function checks the user's address.
            Place::User(from) => unsafe { user_read(out.as_mut_ptr().cast(), from, out.len()) },
        }
    }

    /// Writes bytes, `offset` bytes into the piece, which was found for writing.
    ///
    /// Fails with [`AccessFault::Unmapped`] if they would not lie within it.
    #[inline]
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<(), AccessFault> {
        match self.at(offset, data.len())? {
            Place::Kernel(to) => {
                // SAFETY: The bytes are mapped by the type invariant, and `data` is ours.
                unsafe { ptr::copy(data.as_ptr(), to as *mut u8, data.len()) };
                Ok(())
            }
            // SAFETY: `data` is ours; the function checks the user's address.
            Place::User(to) => unsafe { user_write(to, data.as_ptr().cast(), data.len()) },
        }
    }

    /// Copies `len` bytes from `source` to `destination`, each with an offset into the
    /// piece. The two may overlap, and may belong to different devices.
    pub fn copy(
        source: (&Piece<'_>, usize),
        destination: (&Piece<'_>, usize),
        len: usize,
    ) -> Result<(), CopyFault> {
        let from = source.0.at(source.1, len).map_err(CopyFault::Source)?;
        let to = destination
            .0
            .at(destination.1, len)
            .map_err(CopyFault::Destination)?;
        match (from, to) {
            (Place::Kernel(from), Place::Kernel(to)) => {
                // SAFETY: Both are mapped by the type invariant; `copy` allows overlap.
                unsafe { ptr::copy(from as *const u8, to as *mut u8, len) };
                Ok(())
            }
            // SAFETY: `to` is mapped by the type invariant; the user's address is checked.
            (Place::User(from), Place::Kernel(to)) => unsafe {
                user_read(to as *mut c_void, from, len).map_err(CopyFault::Source)
            },
            // SAFETY: `from` is mapped by the type invariant; the user's address is checked.
            (Place::Kernel(from), Place::User(to)) => unsafe {
                user_write(to, from as *const c_void, len).map_err(CopyFault::Destination)
            },
            (Place::User(from), Place::User(to)) => copy_user(from, to, len),
        }
    }
}

/// Copies from user to user, for which the kernel has no direct way.
fn copy_user(from: usize, to: usize, len: usize) -> Result<(), CopyFault> {
    let mut bounce = [0u8; 512];
    let mut done = 0usize;
    while done < len {
        let step = bounce.len().min(len - done);
        // SAFETY: `bounce` has `step` bytes; the function checks the user's address.
        unsafe { user_read(bounce.as_mut_ptr().cast(), from.wrapping_add(done), step) }
            .map_err(CopyFault::Source)?;
        // SAFETY: `bounce` has `step` bytes; the function checks the user's address.
        unsafe { user_write(to.wrapping_add(done), bounce.as_ptr().cast(), step) }
            .map_err(CopyFault::Destination)?;
        done += step;
    }
    Ok(())
}

/// Reads user memory without faulting.
///
/// # Safety
///
/// `to` is valid for writes of `len` bytes.
#[inline]
unsafe fn user_read(to: *mut c_void, from: usize, len: usize) -> Result<(), AccessFault> {
    // SAFETY: As required of the caller; the function checks `from`.
    if unsafe { bindings::rvdpa_user_read(to, from, len) } {
        Ok(())
    } else {
        Err(AccessFault::NotPresent)
    }
}

/// Writes user memory without faulting.
///
/// # Safety
///
/// `from` is valid for reads of `len` bytes.
#[inline]
unsafe fn user_write(to: usize, from: *const c_void, len: usize) -> Result<(), AccessFault> {
    // SAFETY: As required of the caller; the function checks `to`.
    if unsafe { bindings::rvdpa_user_write(to, from, len) } {
        Ok(())
    } else {
        Err(AccessFault::NotPresent)
    }
}
