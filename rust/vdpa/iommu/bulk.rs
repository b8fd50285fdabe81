// SPDX-License-Identifier: GPL-2.0

//! Many elements of an area at a time.
//!
//! What is checked for one element is checked once for all of them, and memory of a client is
//! opened once. Elements of the kernel's memory go straight to who wants them; those of a
//! client come by way of the caller's `room`.

use super::{
    access::{
        Access,
        AccessFault, //
    },
    area::Area,
    piece::{
        user_available,
        user_collect,
        user_gather,
        user_scatter, //
    },
};
use crate::{
    compat::smp_rmb,
    vdpa::nospec::index_bits_nospec, //
};
use core::ptr;

/// Length of a descriptor, in bytes.
const DESCRIPTOR: usize = size_of::<u128>();

/// Where the flags of a packed descriptor lie in its second half.
const FLAGS: u32 = u64::BITS - u16::BITS;

impl Access<'_> {
    /// Reads numbers of 16 bits that lie side by side, the first one at `offset`, each as
    /// [`load`](Self::load) does.
    ///
    /// Fails as that does; what was read then is of no use.
    #[inline(always)]
    pub fn collect(&self, area: &Area, offset: usize, out: &mut [u16]) -> Result<(), AccessFault> {
        if !area.is_whole() {
            for (value, at) in out.iter_mut().zip((offset..).step_by(size_of::<u16>())) {
                *value = self.load(area, at)?;
            }
            return Ok(());
        }
        let place = self.place(area, offset, size_of_val(out))?;
        if place.user {
            return user_collect(place.address, out);
        }
        let mut from = place.address as *const u16;
        if !from.is_aligned() {
            return Err(AccessFault::Unmapped);
        }
        for value in out {
            // SAFETY: As in `load`; `place` found that all of them are mapped, and they are
            // aligned.
            *value = unsafe { ptr::read_volatile(from) };
            from = from.wrapping_add(1);
        }
        Ok(())
    }

    /// Reads descriptors that lie side by side, at most as many as `room` has, the first one at
    /// `offset`, until one whose last 16 bits, as far as `mask` goes, are not `flags`, or `each`
    /// wants no more. The last 16 bits are read once, in one access of the processor, and all
    /// else after them. `each` gets both halves.
    ///
    /// Fails as [`load`](Self::load) does.
    #[inline(always)]
    pub fn available(
        &self,
        area: &Area,
        offset: usize,
        room: &mut [u128],
        (mask, flags): (u16, u16),
        mut each: impl FnMut(u64, u64) -> bool,
    ) -> Result<(), AccessFault> {
        let is_available = |second: u64| (second >> FLAGS) as u16 & mask == flags;
        if !area.is_in_kernel() {
            let count = self.fetch(area, offset, room, (mask, flags))?;
            for bits in room.iter().take(count) {
                if !each(*bits as u64, (*bits >> u64::BITS) as u64) {
                    break;
                }
            }
            return Ok(());
        }
        let place = self.place(area, offset, size_of_val(room))?;
        let from = place.address as *const [u64; 2];
        if place.address % DESCRIPTOR != 0 {
            return Err(AccessFault::Unmapped);
        }
        for index in 0..room.len() {
            let at = from.wrapping_add(index).cast::<u64>();
            // SAFETY: As in `load`; as many are mapped as `room` has.
            let second = unsafe { ptr::read_volatile(at.wrapping_add(1)) };
            if !is_available(second) {
                break;
            }
            smp_rmb();
            // SAFETY: As above.
            let first = unsafe { ptr::read_volatile(at) };
            if !each(first, second) {
                break;
            }
        }
        Ok(())
    }

    /// The same, into `room`, for areas of a client and those whose pages do not lie side by
    /// side. Returns how many.
    #[inline(never)]
    fn fetch(
        &self,
        area: &Area,
        offset: usize,
        room: &mut [u128],
        (mask, flags): (u16, u16),
    ) -> Result<usize, AccessFault> {
        if area.is_whole() {
            let place = self.place(area, offset, size_of_val(room))?;
            return Ok(user_available(room, place.address, mask, flags));
        }
        let mut count = 0;
        for (bits, at) in room.iter_mut().zip((offset..).step_by(DESCRIPTOR)) {
            let latest: u16 = self.load(area, at.wrapping_add(DESCRIPTOR - size_of::<u16>()))?;
            if latest & mask != flags {
                break;
            }
            smp_rmb();
            let all: u128 = self.load(area, at)?;
            // The flags have been read; what they are by now is of no interest.
            *bits = all << u16::BITS >> u16::BITS | u128::from(latest) << (u64::BITS + FLAGS);
            count += 1;
        }
        Ok(count)
    }

    /// Reads the descriptors with these `indices`, of those that an area consists of, until
    /// `each` wants no more, which gets the index, too. `room` is as long.
    ///
    /// Fails as [`load`](Self::load) does, maybe after some of them.
    #[inline(always)]
    pub fn gather(
        &self,
        area: &Area,
        indices: &[u16],
        room: &mut [u128],
        mut each: impl FnMut(u16, u128) -> bool,
    ) -> Result<(), AccessFault> {
        let count = area.len() / DESCRIPTOR;
        if area.is_in_kernel() {
            let from = self.place(area, 0, 0)?.address as *const u128;
            if !from.is_aligned() {
                return Err(AccessFault::Unmapped);
            }
            let mask = index_bits_nospec(count);
            for &index in indices {
                let at = usize::from(index);
                if at >= count {
                    return Err(AccessFault::Unmapped);
                }
                // SAFETY: As in `load`; the element has just been found to lie within the area.
                if !each(index, unsafe {
                    ptr::read_volatile(from.wrapping_add(at & mask))
                }) {
                    break;
                }
            }
            return Ok(());
        }
        self.fetch_each(area, indices, room)?;
        for (&index, &bits) in indices.iter().zip(&*room) {
            if usize::from(index) >= count {
                return Err(AccessFault::Unmapped);
            }
            if !each(index, bits) {
                break;
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn fetch_each(
        &self,
        area: &Area,
        indices: &[u16],
        room: &mut [u128],
    ) -> Result<(), AccessFault> {
        if area.is_whole() {
            let place = self.place(area, 0, 0)?;
            return user_gather(place.address, area.len() / DESCRIPTOR, indices, room);
        }
        for (bits, &index) in room.iter_mut().zip(indices) {
            *bits = self.load_chosen(area, usize::from(index) * DESCRIPTOR)?;
        }
        Ok(())
    }

    /// Writes the numbers that `number` makes of `values`, until there is none, at most as many
    /// as `room` has, the first one at `offset` of an area, each `stride` bytes behind the one
    /// before. They may be written in any order, and in several accesses of the processor. Returns
    /// how many.
    ///
    /// Fails as [`store`](Self::store) does, where each consists of elements of 4 bytes; also
    /// where there would be no place for as many as `room` has.
    #[inline(always)]
    pub fn scatter<T>(
        &self,
        area: &Area,
        offset: usize,
        stride: usize,
        room: &mut [u64],
        values: &[T],
        number: impl Fn(&T) -> Option<u64>,
    ) -> Result<usize, AccessFault> {
        if !area.is_writable() {
            return Err(AccessFault::Permission);
        }
        let values = values.get(..room.len()).unwrap_or(values);
        let Some(before) = values.len().checked_sub(1) else {
            return Ok(0);
        };
        let near = area.is_in_kernel();
        let (mut to, step) = if near {
            let len = stride
                .saturating_mul(before)
                .saturating_add(size_of::<u64>());
            (self.place(area, offset, len)?.address as *mut u64, stride)
        } else {
            (room.as_mut_ptr(), size_of::<u64>())
        };
        let mut count = 0;
        for value in values {
            let Some(value) = number(value) else {
                break;
            };
            // SAFETY: As in `store`; as many are mapped as there are values, or these are those
            // of `room`, which are not fewer.
            unsafe { ptr::write_unaligned(to, value) };
            to = to.wrapping_byte_add(step);
            count += 1;
        }
        if !near {
            self.put(area, offset, stride, room.get(..count).unwrap_or_default())?;
        }
        Ok(count)
    }

    /// The same for areas of a client, and those whose pages do not lie side by side, where
    /// one half of a number may lie on one page.
    #[inline(never)]
    fn put(
        &self,
        area: &Area,
        offset: usize,
        stride: usize,
        values: &[u64],
    ) -> Result<(), AccessFault> {
        let Some(before) = values.len().checked_sub(1) else {
            return Ok(());
        };
        if area.is_whole() {
            let len = stride
                .saturating_mul(before)
                .saturating_add(size_of::<u64>());
            let place = self.place(area, offset, len)?;
            return user_scatter(place.address, stride, values);
        }
        for (value, at) in values.iter().zip((offset..).step_by(stride)) {
            // In the order of their bytes.
            let [a, b, c, d, e, f, g, h] = value.to_ne_bytes();
            self.store(area, at, u32::from_ne_bytes([a, b, c, d]))?;
            self.store(area, at.wrapping_add(4), u32::from_ne_bytes([e, f, g, h]))?;
        }
        Ok(())
    }
}
