// SPDX-License-Identifier: GPL-2.0

//! What the rings need of the memory they live in.
//!
//! A device reaches driver memory by addresses that the driver chose (iova). Who
//! translates them, and into what, is the business of an implementation of [`Memory`]:
//! a software IOMMU in the kernel, a vector of bytes in a test. The rings only ask for
//! three things:
//!
//! - a [`Span`]: some bytes of a buffer, found anew for each buffer;
//! - an area: one of the three parts of a virtqueue, found once and used many times;
//! - copies between spans, so that a frame moves once.
//!
//! All that is reached through this trait is shared with the driver, which may change it
//! at any time. No method hands out a reference to it.

use super::layout::{
    descriptor_offset,
    packed::DESCRIPTOR_FLAGS,
    DESCRIPTOR_LEN, //
};

/// How the device wants to use a piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The device reads.
    Read,
    /// The device writes.
    Write,
    /// The device reads and writes.
    ReadWrite,
}

/// Why a piece of memory could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// No mapping covers the address.
    Unmapped,
    /// A mapping covers the address, but does not permit this access.
    Permission,
    /// The memory is mapped but not resident: whoever drives the queue may bring it in
    /// where sleeping is allowed, and try the same operation again.
    NotPresent,
}

/// Which side of a copy failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyError {
    /// The memory that was read from.
    Source(AccessError),
    /// The memory that was written to.
    Destination(AccessError),
}

/// Bytes of driver memory that lie side by side for the device.
///
/// A span has at least one byte. Its length says what one translation covers: a buffer
/// that crosses mappings consists of several spans.
// A span is never empty.
#[allow(clippy::len_without_is_empty)]
pub trait Span: Copy {
    /// Length in bytes, from 1 to the length that was asked for.
    fn len(&self) -> usize;

    /// Reads `out.len()` bytes that start `offset` bytes into the span.
    ///
    /// Fails with [`AccessError::Unmapped`] if they do not lie within the span.
    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), AccessError>;

    /// Writes `data` to the span, `offset` bytes into it.
    ///
    /// Fails with [`AccessError::Unmapped`] if it would not lie within the span.
    fn write(&self, offset: usize, data: &[u8]) -> Result<(), AccessError>;
}

/// Memory as one virtqueue sees it, for as long as one batch of work lasts.
///
/// Translations do not change while a value of this type exists; this is what makes the
/// areas and spans that it hands out good for the whole batch.
pub trait Memory {
    /// A piece of a buffer.
    type Span<'m>: Span
    where
        Self: 'm;

    /// Room for the translation of one part of a virtqueue (descriptor area, driver area
    /// or device area). Made once, off the datapath.
    type Area;

    /// Finds the memory at `iova`.
    ///
    /// The span that is returned starts at `iova` and is `len` bytes long, or shorter
    /// where the mapping ends earlier; the caller asks again for the rest. `len` is not
    /// zero, and `iova + len - 1` does not overflow.
    fn span(&self, iova: u64, len: u32, access: Access) -> Result<Self::Span<'_>, AccessError>;

    /// Makes `area` the translation of `len` bytes at `iova`, all of which must be mapped
    /// for `access`.
    ///
    /// Cheap when `area` holds this translation already and no mapping has changed since.
    fn resolve(
        &self,
        area: &mut Self::Area,
        iova: u64,
        len: usize,
        access: Access,
    ) -> Result<(), AccessError>;

    /// Whether `area` was resolved, and no mapping has changed since. May be false where it is
    /// so.
    #[inline]
    fn is_resolved(&self, _area: &Self::Area) -> bool {
        false
    }

    /// Reads 16 bits, little-endian, `offset` bytes into a resolved area. `offset` is
    /// even.
    ///
    /// Like the others that reach into an area, this fails with
    /// [`AccessError::Unmapped`] if the bytes do not lie within it, or if the area was
    /// never resolved.
    fn load_u16(&self, area: &Self::Area, offset: usize) -> Result<u16, AccessError>;

    /// Writes 16 bits, little-endian, `offset` bytes into a resolved area. `offset` is
    /// even.
    fn store_u16(&self, area: &Self::Area, offset: usize, value: u16) -> Result<(), AccessError>;

    /// Reads the 16 bytes of one descriptor, each byte once, in any order. `offset` is a
    /// multiple of 16.
    fn load_descriptor(&self, area: &Self::Area, offset: usize) -> Result<[u8; 16], AccessError>;

    /// Writes the 8 bytes that tell of a used chain. `offset` is a multiple of 4, and in a
    /// packed virtqueue of 8. The bytes may be written one by one and in any order: the
    /// driver is not to look at them yet.
    fn store_used(
        &self,
        area: &Self::Area,
        offset: usize,
        element: [u8; 8],
    ) -> Result<(), AccessError>;

    /// Reads numbers of 16 bits that lie side by side, the first one at `offset`, each as
    /// [`load_u16`](Self::load_u16) does. After an error, what was read is of no use.
    #[inline]
    fn load_u16s(
        &self,
        area: &Self::Area,
        offset: usize,
        out: &mut [u16],
    ) -> Result<(), AccessError> {
        for (value, at) in out.iter_mut().zip((offset..).step_by(size_of::<u16>())) {
            *value = self.load_u16(area, at)?;
        }
        Ok(())
    }

    /// Reads descriptors of a packed ring that lie side by side, at most as many as `room` has,
    /// the first one at `offset`, until one whose flags, as far as `mask` goes, are not `flags`,
    /// or `each` wants no more.
    ///
    /// The flags are read once, in one access, and all that the driver wrote before them after
    /// that. `each` gets the numbers that the first 8 bytes and the other 8 are, with the flags
    /// that were looked at. What is in `room` then is of no use.
    #[inline]
    fn load_available(
        &self,
        area: &Self::Area,
        offset: usize,
        room: &mut [u128],
        (mask, flags): (u16, u16),
        mut each: impl FnMut(u64, u64) -> bool,
    ) -> Result<(), AccessError> {
        for (_, at) in room.iter().zip((offset..).step_by(DESCRIPTOR_LEN)) {
            let latest = self.load_u16(area, at.wrapping_add(DESCRIPTOR_FLAGS))?;
            if latest & mask != flags {
                break;
            }
            self.acquire();
            let bits = u128::from_le_bytes(self.load_descriptor(area, at)?);
            let rest = (bits >> 64) as u64 & (u64::MAX >> 16) | (u64::from(latest) << 48);
            if !each(bits as u64, rest) {
                break;
            }
        }
        Ok(())
    }

    /// Reads the descriptors with these `indices` in the area, as
    /// [`load_descriptor`](Self::load_descriptor) does, until `each` wants no more. It gets the
    /// index and the number that the bytes are; an index of none fails with
    /// [`AccessError::Unmapped`]. `room` is as long; what is in it then is of no use.
    #[inline]
    fn gather_descriptors(
        &self,
        area: &Self::Area,
        indices: &[u16],
        room: &mut [u128],
        mut each: impl FnMut(u16, u128) -> bool,
    ) -> Result<(), AccessError> {
        for (_, &index) in room.iter().zip(indices) {
            let bytes = self.load_descriptor(area, descriptor_offset(index))?;
            if !each(index, u128::from_le_bytes(bytes)) {
                break;
            }
        }
        Ok(())
    }

    /// Writes what tells of used chains, at most as many as `room` has, each `stride` bytes
    /// behind the one before, as [`store_used`](Self::store_used) does. `tell` makes a number of
    /// each, until there is none; what is in `room` then is of no use. Returns how many there
    /// were.
    #[inline]
    fn store_used_many<T>(
        &self,
        area: &Self::Area,
        offset: usize,
        stride: usize,
        room: &mut [u64],
        chains: &[T],
        tell: impl Fn(&T) -> Option<u64>,
    ) -> Result<usize, AccessError> {
        let mut count = 0_usize;
        let places = room.iter().zip((offset..).step_by(stride));
        for ((_, at), element) in places.zip(chains.iter().map_while(tell)) {
            self.store_used(area, at, element.to_le_bytes())?;
            count = count.wrapping_add(1);
        }
        Ok(count)
    }

    /// Orders loads before it with loads and stores after it: what the driver wrote
    /// before it published an index is seen after the index has been read.
    fn acquire(&self);

    /// Orders loads and stores before it with stores after it: the driver sees an entry
    /// when it sees the index.
    fn release(&self);

    /// Orders all loads and stores before it with all after it (between publishing an
    /// event index and looking at the ring once more).
    fn fence(&self);
}

/// Copying from the memory of one queue to that of another, or of the same.
pub trait CopyTo<D: Memory>: Memory {
    /// Copies `len` bytes between two spans, which may overlap.
    ///
    /// `len` is at most what lies in either span behind its offset.
    fn copy(
        source: (&Self::Span<'_>, usize),
        destination: (&D::Span<'_>, usize),
        len: usize,
    ) -> Result<(), CopyError>;
}
