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
        if !self.covers(self.size, iova, len) {
            self.look_up(iova, len)?;
            if !self.covers(self.size, iova, len) {
                return None;
            }
        }
        let place = self.place.add(iova.wrapping_sub(self.first));
        // SAFETY: By the type invariant these bytes are mapped, and by that of `Access` they
        // stay for as long as `access` is borrowed.
        Some(unsafe { Piece::new(place, len) })
    }

    /// The same, if it is memory of the kernel and in the same mapping as that of the buffer
    /// before.
    #[inline(always)]
    pub fn direct(&self, iova: u64, len: usize) -> Option<Piece<'a>> {
        if !self.covers(self.direct, iova, len) {
            return None;
        }
        let address = self.place.address;
        let place = Place::kernel(address.wrapping_add(iova.wrapping_sub(self.first) as usize));
        // SAFETY: As in `whole`.
        Some(unsafe { Piece::new(place, len) })
    }

    /// Whether a buffer lies in the `size` bytes from the start of the mapping.
    #[inline(always)]
    fn covers(&self, size: u64, iova: u64, len: usize) -> bool {
        // Large numbers, if it begins before, or is empty.
        let offset = iova.wrapping_sub(self.first);
        let more = (len as u64).wrapping_sub(1);
        offset < size && more < size.wrapping_sub(offset)
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
