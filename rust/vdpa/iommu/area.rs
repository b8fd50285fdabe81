// SPDX-License-Identifier: GPL-2.0

//! Areas: the parts of a virtqueue, translated once and used many times.

use super::{
    access::{
        Access,
        AccessFault, //
    },
    piece::{
        user_load,
        user_read,
        user_store,
        user_write, //
    },
    space::{
        Place,
        Translation, //
    },
    Permission,
};
use crate::vdpa::nospec::index_nospec;
use core::ptr;
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// Plain numbers that a ring consists of.
///
/// # Safety
///
/// Any bytes are a valid value, and there is no padding.
pub unsafe trait Element: Copy + Default {
    /// Reads one from user memory, without faulting.
    #[doc(hidden)]
    #[inline]
    fn load_user(from: usize) -> Result<Self, AccessFault> {
        let mut value = Self::default();
        // SAFETY: `value` is ours; the function checks the user's address.
        unsafe { user_read((&raw mut value).cast(), from, size_of::<Self>()) }?;
        Ok(value)
    }

    /// Writes one to user memory, without faulting.
    #[doc(hidden)]
    #[inline]
    fn store_user(self, to: usize) -> Result<(), AccessFault> {
        // SAFETY: `self` is ours; the function checks the user's address.
        unsafe { user_write(to, (&raw const self).cast(), size_of::<Self>()) }
    }
}

// SAFETY: Any 16 bits are a `u16`.
unsafe impl Element for u16 {
    // Indices, which must not be seen in halves.
    fn load_user(from: usize) -> Result<Self, AccessFault> {
        user_load(from)
    }

    fn store_user(self, to: usize) -> Result<(), AccessFault> {
        user_store(to, self)
    }
}
// SAFETY: Any 32 bits are a `u32`.
unsafe impl Element for u32 {}
// SAFETY: Any 64 bits are a `u64`.
unsafe impl Element for u64 {}
// SAFETY: Any 128 bits are a `u128`.
unsafe impl Element for u128 {}

/// Room for the translation of a part of a virtqueue, page by page.
///
/// # Invariants
///
/// At the change that `stamp` names, the bytes `iova..iova + len` were mapped for
/// `permission`, and page `i` of them was at `pages[i]`, in the memory of the client if `user`,
/// else in that of the kernel. If `base` is not zero, they all lie side by side from there on.
pub struct Area {
    stamp: u64,
    iova: u64,
    len: usize,
    user: bool,
    permission: Permission,
    base: usize,
    pages: KVec<usize>,
}

impl Area {
    /// Length in bytes.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether its bytes lie side by side.
    #[inline(always)]
    pub(super) fn is_whole(&self) -> bool {
        self.base != 0
    }

    /// The same, in the memory of the kernel.
    #[inline(always)]
    pub(super) fn is_in_kernel(&self) -> bool {
        self.base != 0 && !self.user
    }

    /// Whether the device may write to it.
    #[inline(always)]
    pub(super) fn is_writable(&self) -> bool {
        self.permission.allows(Permission::Write)
    }

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
            base: 0,
            pages: KVec::from_elem(0, pages, GFP_KERNEL)?,
        })
    }
}

impl Access<'_> {
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
        if area.stamp == self.stamp()
            && area.iova == iova
            && area.len == len
            && area.permission.allows(permission)
        {
            return Ok(());
        }
        self.resolve_anew(area, iova, len, permission)
    }

    /// Whether `area` was resolved, and nothing has changed since.
    #[inline(always)]
    pub fn is_resolved(&self, area: &Area) -> bool {
        area.stamp == self.stamp()
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
        let mut found: Option<Translation> = None;
        let mut base = 0usize;
        let mut together = true;
        for page in area.pages.iter_mut() {
            let at = iova.checked_add(done as u64).ok_or(AccessFault::Unmapped)?;
            let in_page = at as usize % PAGE_SIZE;
            let want = (PAGE_SIZE - in_page).min(len - done);
            if want == 0 {
                break;
            }
            let covering = match found {
                Some(found) if (found.first..=found.last).contains(&at) => found,
                _ => self.translate_rings(at)?,
            };
            found = Some(covering);
            let (place, got) = self.place_of(&covering, at, want, permission)?;
            if got < want {
                // A mapping that ends within a page: possible, but no ring lies so.
                return Err(AccessFault::Unmapped);
            }
            let address = place.address;
            // The low bits are kept, so that what is aligned for the driver is aligned for us.
            if !place.user && address % PAGE_SIZE != in_page {
                return Err(AccessFault::Unmapped);
            }
            if *user.get_or_insert(place.user) != place.user {
                return Err(AccessFault::Unmapped);
            }
            *page = address.wrapping_sub(in_page);
            if done == 0 {
                base = address;
            }
            together &= address == base.wrapping_add(done);
            done += want;
        }
        if done != len {
            return Err(AccessFault::Unmapped);
        }
        // INVARIANT: The loop has found each page at the change that `stamp` names, and
        // they cover all of `iova..iova + len`.
        area.user = user.unwrap_or(false);
        area.base = if together { base } else { 0 };
        area.iova = iova;
        area.len = len;
        area.permission = permission;
        area.stamp = self.stamp();
        Ok(())
    }

    /// The place of `size` bytes at `offset` of a resolved area.
    #[inline(always)]
    pub(super) fn place(
        &self,
        area: &Area,
        offset: usize,
        size: usize,
    ) -> Result<Place, AccessFault> {
        if area.stamp != self.stamp() || offset.checked_add(size).is_none_or(|end| end > area.len) {
            return Err(AccessFault::Unmapped);
        }
        if area.user && !self.user() {
            return Err(AccessFault::Unmapped);
        }
        if area.base != 0 {
            return Ok(Place {
                address: area.base.wrapping_add(offset),
                user: area.user,
            });
        }
        self.place_in_page(area, offset, size)
    }

    /// The same for an area whose pages do not lie side by side. What else there is to check
    /// was checked.
    #[inline(never)]
    fn place_in_page(&self, area: &Area, offset: usize, size: usize) -> Result<Place, AccessFault> {
        let at = (area.iova as usize % PAGE_SIZE).wrapping_add(offset);
        let page = area
            .pages
            .get(at / PAGE_SIZE)
            .ok_or(AccessFault::Unmapped)?;
        let in_page = at % PAGE_SIZE;
        if in_page.wrapping_add(size) > PAGE_SIZE {
            return Err(AccessFault::Unmapped);
        }
        Ok(Place {
            address: page.wrapping_add(in_page),
            user: area.user,
        })
    }

    /// Reads `T` at `offset` of an area that was resolved for reading, each byte once, in one access
    /// of the processor where `T` is at most a word and memory is the kernel's.
    ///
    /// Fails with [`AccessFault::Unmapped`] if `offset` is not aligned for `T`, if the
    /// element does not lie within the area, or if the area is out of date.
    #[inline(always)]
    pub fn load<T: Element>(&self, area: &Area, offset: usize) -> Result<T, AccessFault> {
        let place = self.place(area, offset, size_of::<T>())?;
        if place.user {
            return T::load_user(place.address);
        }
        let from = place.address as *const T;
        if !from.is_aligned() {
            return Err(AccessFault::Unmapped);
        }
        // SAFETY: By the invariants of `Area` and `Self` this is mapped memory, which stays
        // while the lock is held; it is aligned, and any value is valid for an `Element`.
        // Others may write it meanwhile, hence volatile.
        Ok(unsafe { ptr::read_volatile(from) })
    }

    /// The same for an offset that the driver may have chosen, beyond which no processor shall
    /// guess.
    #[inline(always)]
    pub fn load_chosen<T: Element>(&self, area: &Area, offset: usize) -> Result<T, AccessFault> {
        if offset >= area.len {
            return Err(AccessFault::Unmapped);
        }
        self.load(area, index_nospec(offset, area.len))
    }

    /// Writes `value` at `offset` of an area that was resolved for writing.
    ///
    /// Fails as [`load`](Self::load) does, and with [`AccessFault::Permission`] if the area
    /// was resolved for reading only.
    #[inline(always)]
    pub fn store<T: Element>(
        &self,
        area: &Area,
        offset: usize,
        value: T,
    ) -> Result<(), AccessFault> {
        if !area.is_writable() {
            return Err(AccessFault::Permission);
        }
        let place = self.place(area, offset, size_of::<T>())?;
        if place.user {
            return value.store_user(place.address);
        }
        let to = place.address as *mut T;
        if !to.is_aligned() {
            return Err(AccessFault::Unmapped);
        }
        // SAFETY: As in `load`; and the mapping permits writing.
        unsafe { ptr::write_volatile(to, value) };
        Ok(())
    }
}
