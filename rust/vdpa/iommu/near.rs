// SPDX-License-Identifier: GPL-2.0

//! Buffers that are most often in the same mapping as the one before.

use super::{
    access::{
        Access,
        Direct, //
    },
    piece::Piece,
    space::Place,
    Permission, //
};
use crate::vdpa::nospec::index_mask_nospec;

/// What remembers the mapping of the last buffer, for one kind of access.
///
/// # Invariants
///
/// The `size` iovas from `first` on are mapped for `permission`, to what lies side by side from
/// `place` on, and `access` can reach that.
pub struct Near<'a> {
    access: &'a Access<'a>,
    permission: Permission,
    first: u64,
    size: u64,
    /// The same number, where that is memory of the kernel, else zero.
    direct: u64,
    place: Place,
}

impl Access<'_> {
    /// Makes one that remembers what the last one did, if that was memory of the kernel and for
    /// the same kind of access.
    #[inline(always)]
    pub fn near(&self, permission: Permission) -> Near<'_> {
        let recent = self.recent().get();
        let Direct {
            first,
            size,
            address,
            ..
        } = if recent.permission == permission {
            recent
        } else {
            Direct::NONE
        };
        // INVARIANT: What was noted is forgotten when a mapping changes, and can be reached by
        // everybody; or there are no such iovas.
        Near {
            access: self,
            permission,
            first,
            size,
            direct: size,
            place: Place::kernel(address),
        }
    }
}

impl<'a> Near<'a> {
    /// Finds the memory of a buffer, if it is not empty, and all of it lies side by side.
    #[inline(always)]
    pub fn whole(&mut self, iova: u64, len: usize) -> Option<Piece<'a>> {
        let offset = match self.offset(self.size, iova, len) {
            Some(offset) => offset,
            None => {
                self.look_up(iova, len)?;
                self.offset(self.size, iova, len)?
            }
        };
        let place = self.place.add(offset);
        // SAFETY: By the type invariant these bytes are mapped, and by that of `Access` they
        // stay for as long as `access` is borrowed.
        Some(unsafe { Piece::new(place, len) })
    }

    /// The same, if it is memory of the kernel and in the same mapping as that of the buffer
    /// before.
    #[inline(always)]
    pub fn direct(&self, iova: u64, len: usize) -> Option<Piece<'a>> {
        let offset = self.offset(self.direct, iova, len)?;
        let place = Place::kernel(self.place.address).add(offset);
        // SAFETY: As in `whole`.
        Some(unsafe { Piece::new(place, len) })
    }

    /// Where in the `size` bytes from the start of the mapping a buffer lies, if it does.
    #[inline(always)]
    fn offset(&self, size: u64, iova: u64, len: usize) -> Option<u64> {
        // Large numbers, if it begins before, or is empty.
        let offset = iova.wrapping_sub(self.first);
        let more = (len as u64).wrapping_sub(1);
        // Zero, if it begins behind. All these are of 64 bits.
        let mask = index_mask_nospec(offset as usize, size as usize) as u64;
        (more < size.wrapping_sub(offset) & mask).then_some(offset & mask)
    }

    /// Finds the mapping of a buffer, or of its start.
    #[inline(never)]
    fn look_up(&mut self, iova: u64, len: usize) -> Option<()> {
        let found = self.access.find(iova).ok()?;
        // For the permission, and whether it can be reached.
        self.access
            .place_of(&found, iova, len, self.permission)
            .ok()?;
        // INVARIANT: All of that was found out. If all there are were mapped, one is left out.
        self.first = found.first;
        self.size = found.last.wrapping_sub(found.first).saturating_add(1);
        self.place = found.place;
        self.direct = if found.place.user {
            0
        } else {
            self.access.recent().set(Direct {
                first: self.first,
                size: self.size,
                address: found.place.address,
                permission: self.permission,
            });
            self.size
        };
        Some(())
    }
}
