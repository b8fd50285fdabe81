// SPDX-License-Identifier: GPL-2.0

//! Pieces of buffers: bytes that lie side by side.

use super::{
    access::{
        Access,
        AccessFault, //
    },
    area::Element,
    space::Place,
};
use crate::{
    bindings,
    vdpa::nospec::index_nospec, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr, //
};
use kernel::{
    ffi::c_void,
    prelude::*, //
};

/// From how many bytes on `rvdpa_copy` is better at it, which is slow to begin.
const MUCH: usize = 512;

/// Which side of a copy failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFault {
    /// The side that is read.
    Source(AccessFault),
    /// The side that is written.
    Destination(AccessFault),
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
    /// # Safety
    ///
    /// The `len` bytes at `place`, at least one, are mapped for what the piece will be used
    /// for, and stay so for its lifetime.
    #[inline]
    pub(super) unsafe fn new(place: Place, len: usize) -> Self {
        // INVARIANT: As required of the caller.
        Self {
            place,
            len,
            _access: PhantomData,
        }
    }

    /// Length in bytes, at least one.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is memory of a client, which is copied to and from by way of memory of the
    /// kernel.
    #[inline]
    pub fn is_user(&self) -> bool {
        self.place.user
    }

    /// The place at `offset`, if `len` bytes from there on lie within the piece.
    #[inline(always)]
    fn at(&self, offset: usize, len: usize) -> Result<Place, AccessFault> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(AccessFault::Unmapped);
        }
        Ok(self.place.add(offset as u64))
    }

    /// The same for an offset that the driver may have chosen, beyond which no processor shall
    /// guess. That costs nothing where it is known to be zero.
    #[inline(always)]
    fn at_chosen(&self, offset: usize, len: usize) -> Result<Place, AccessFault> {
        self.at(offset, len)?;
        if offset == 0 {
            return Ok(self.place);
        }
        Ok(self.place.add(index_nospec(offset, self.len) as u64))
    }

    /// Reads bytes that start `offset` bytes into the piece.
    ///
    /// Fails with [`AccessFault::Unmapped`] if they do not lie within it.
    #[inline(always)]
    pub fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), AccessFault> {
        let from = self.at_chosen(offset, out.len())?;
        if from.user {
            // SAFETY: `out` is ours; the function checks the user's address.
            return unsafe { user_read(out.as_mut_ptr().cast(), from.address, out.len()) };
        }
        // SAFETY: The bytes are mapped by the type invariant, and `out` is ours. The driver
        // may write them meanwhile; nothing depends on what is read.
        unsafe { ptr::copy(from.address as *const u8, out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Writes bytes, `offset` bytes into the piece, which was found for writing.
    ///
    /// Fails with [`AccessFault::Unmapped`] if they would not lie within it.
    #[inline(always)]
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<(), AccessFault> {
        let to = self.at_chosen(offset, data.len())?;
        if to.user {
            // SAFETY: `data` is ours; the function checks the user's address.
            return unsafe { user_write(to.address, data.as_ptr().cast(), data.len()) };
        }
        // SAFETY: The bytes are mapped by the type invariant, and `data` is ours.
        unsafe { ptr::copy(data.as_ptr(), to.address as *mut u8, data.len()) };
        Ok(())
    }

    /// Reads a number `offset` bytes into the piece, each byte once.
    ///
    /// Fails as [`read`](Self::read) does.
    #[inline(always)]
    pub fn load<T: Element>(&self, offset: usize) -> Result<T, AccessFault> {
        let from = self.at(offset, size_of::<T>())?;
        if from.user {
            return T::load_user(from.address);
        }
        let from = from.address as *const Anywhere<T>;
        // SAFETY: The bytes are mapped by the type invariant, and any are valid for an
        // `Element`. The driver may write them meanwhile, hence volatile.
        Ok(unsafe { ptr::read_volatile(from) }.0)
    }

    /// Writes a number, `offset` bytes into the piece, which was found for writing.
    ///
    /// Fails as [`write`](Self::write) does.
    #[inline(always)]
    pub fn store<T: Element>(&self, offset: usize, value: T) -> Result<(), AccessFault> {
        let to = self.at(offset, size_of::<T>())?;
        if to.user {
            return value.store_user(to.address);
        }
        // SAFETY: The bytes are mapped by the type invariant.
        unsafe { ptr::write_unaligned(to.address as *mut T, value) };
        Ok(())
    }

    /// Copies from the byte `at` on to the same place of a piece which is at least as long, to
    /// the end of this one. It is worth while for few bytes of the kernel's memory. If the two
    /// overlap, nobody knows what is there then.
    #[inline(always)]
    pub fn copy_rest(&self, at: usize, destination: &Piece<'_>) -> Result<(), CopyFault> {
        let len = self.len.checked_sub(at);
        let len = len.ok_or(CopyFault::Source(AccessFault::Unmapped))?;
        let from = self.at(at, len).map_err(CopyFault::Source)?;
        let to = destination.at(at, len).map_err(CopyFault::Destination)?;
        if from.user || to.user || !(BLOCK..=4 * BLOCK).contains(&len) {
            return Self::copy((self, at), (destination, at), len);
        }
        let (from, to) = (from.address as *const Block, to.address as *mut Block);
        let last = len.wrapping_sub(BLOCK);
        // SAFETY: Both are mapped by the type invariant.
        unsafe { copy_block(from, to) };
        let mut done = BLOCK;
        while done < last {
            // SAFETY: Both are mapped by the type invariant, this far and a block more.
            unsafe { copy_block(from.wrapping_byte_add(done), to.wrapping_byte_add(done)) };
            done = done.wrapping_add(BLOCK);
        }
        // SAFETY: Both are mapped by the type invariant. Some bytes may be copied twice.
        unsafe { copy_block(from.wrapping_byte_add(last), to.wrapping_byte_add(last)) };
        Ok(())
    }

    /// Copies `len` bytes from `source` to `destination`, each with an offset into the
    /// piece. The two may overlap, and may belong to different devices.
    #[inline(always)]
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
        match (from.user, to.user) {
            (false, false) => {
                let (from, to) = (from.address as *const u8, to.address as *mut u8);
                // SAFETY: Both are mapped by the type invariant; both ways allow overlap.
                unsafe {
                    if len < MUCH {
                        ptr::copy(from, to, len);
                    } else {
                        bindings::rvdpa_copy(to.cast(), from.cast(), len);
                    }
                }
                Ok(())
            }
            // SAFETY: `to` is mapped by the type invariant; the user's address is checked.
            (true, false) => unsafe {
                user_read(to.address as *mut c_void, from.address, len).map_err(CopyFault::Source)
            },
            // SAFETY: `from` is mapped by the type invariant; the user's address is checked.
            (false, true) => unsafe {
                user_write(to.address, from.address as *const c_void, len)
                    .map_err(CopyFault::Destination)
            },
            (true, true) => copy_user(from.address, to.address, len),
        }
    }
}

/// A number that need not be aligned.
#[repr(C, packed)]
struct Anywhere<T>(T);

/// What few bytes are copied by.
type Block = [u64; 4];

/// Its length in bytes.
const BLOCK: usize = size_of::<Block>();

/// Copies a block, neither side of which need be aligned.
///
/// # Safety
///
/// `from` is valid for reads, and `to` for writes.
#[inline(always)]
unsafe fn copy_block(from: *const Block, to: *mut Block) {
    let (from, to) = (from.cast::<u64>(), to.cast::<u64>());
    // SAFETY: As required of the caller, for each of the four.
    unsafe {
        let read = |index| from.wrapping_add(index).read_unaligned();
        let block = (read(0), read(1), read(2), read(3));
        to.write_unaligned(block.0);
        to.wrapping_add(1).write_unaligned(block.1);
        to.wrapping_add(2).write_unaligned(block.2);
        to.wrapping_add(3).write_unaligned(block.3);
    }
}

/// Copies from user to user, for which the kernel has no direct way.
#[inline(never)]
fn copy_user(from: usize, to: usize, len: usize) -> Result<(), CopyFault> {
    // Not set to zero first, which would cost more than most frames.
    let mut bounce = MaybeUninit::<[u8; 512]>::uninit();
    let mut done = 0usize;
    while done < len {
        let step = size_of_val(&bounce).min(len - done);
        // SAFETY: `bounce` has `step` bytes; the function checks the user's address.
        unsafe { user_read(bounce.as_mut_ptr().cast(), from.wrapping_add(done), step) }
            .map_err(CopyFault::Source)?;
        // SAFETY: `bounce` has `step` bytes, which were written; the function checks the
        // user's address.
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
pub(super) unsafe fn user_read(
    to: *mut c_void,
    from: usize,
    len: usize,
) -> Result<(), AccessFault> {
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
pub(super) unsafe fn user_write(
    to: usize,
    from: *const c_void,
    len: usize,
) -> Result<(), AccessFault> {
    // SAFETY: As required of the caller; the function checks `to`.
    if unsafe { bindings::rvdpa_user_write(to, from, len) } {
        Ok(())
    } else {
        Err(AccessFault::NotPresent)
    }
}

/// Reads 16 bits of user memory in one access, without faulting.
#[inline]
pub(super) fn user_load(from: usize) -> Result<u16, AccessFault> {
    let mut value = 0;
    // SAFETY: `value` is ours; the function checks `from`.
    if unsafe { bindings::rvdpa_user_load(&mut value, from) } {
        Ok(value)
    } else {
        Err(AccessFault::NotPresent)
    }
}

/// Writes 16 bits of user memory in one access, without faulting.
#[inline]
pub(super) fn user_store(to: usize, value: u16) -> Result<(), AccessFault> {
    // SAFETY: The function checks `to`.
    if unsafe { bindings::rvdpa_user_store(to, value) } {
        Ok(())
    } else {
        Err(AccessFault::NotPresent)
    }
}

/// Reads numbers of 16 bits that lie side by side in user memory, each in one access, without
/// faulting.
#[inline]
pub(super) fn user_collect(from: usize, out: &mut [u16]) -> Result<(), AccessFault> {
    // SAFETY: The function writes no more than `out`, and checks `from`.
    if unsafe { bindings::rvdpa_user_collect(out.as_mut_ptr(), from, out.len()) } {
        Ok(())
    } else {
        Err(AccessFault::NotPresent)
    }
}

/// Reads descriptors of user memory, as many as `out` has, up to one whose last 16 bits, as far
/// as `mask` goes, are not `flags`, or that is not resident. Returns how many.
#[inline]
pub(super) fn user_available(out: &mut [u128], from: usize, mask: u16, flags: u16) -> usize {
    let (to, count) = (out.as_mut_ptr().cast(), out.len());
    // SAFETY: The function writes no more than `out`, and checks `from`.
    unsafe { bindings::rvdpa_user_available(to, from, count, mask, flags) }
}

/// Reads the numbers with these `indices` out of `count` in user memory, without faulting.
///
/// Fails with [`AccessFault::Unmapped`] if there are fewer, or less room than indices.
#[inline]
pub(super) fn user_gather(
    from: usize,
    count: usize,
    indices: &[u16],
    out: &mut [u128],
) -> Result<(), AccessFault> {
    if out.len() < indices.len() || indices.iter().any(|&index| usize::from(index) >= count) {
        return Err(AccessFault::Unmapped);
    }
    let to = out.as_mut_ptr().cast();
    // SAFETY: The function writes two words for each index, for which there is room, reads
    // within the first `count` numbers, and checks `from`.
    if unsafe { bindings::rvdpa_user_gather(to, from, count, indices.as_ptr(), indices.len()) } {
        Ok(())
    } else {
        Err(AccessFault::NotPresent)
    }
}

/// Writes numbers to user memory, each `stride` bytes behind the one before, without
/// faulting.
#[inline]
pub(super) fn user_scatter(to: usize, stride: usize, values: &[u64]) -> Result<(), AccessFault> {
    // SAFETY: The function reads no more than `values`, and checks `to`.
    if unsafe { bindings::rvdpa_user_scatter(to, stride, values.as_ptr(), values.len()) } {
        Ok(())
    } else {
        Err(AccessFault::NotPresent)
    }
}
