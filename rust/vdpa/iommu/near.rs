// SPDX-License-Identifier: GPL-2.0

//! Buffers that are most often in the same mapping as the one before.

use super::{
    access::{
        last,
        Access, //
    },
    piece::Piece,
    space::Place,
    Permission,
};

/// What remembers the mapping of the last buffer, for one kind of access.
///
/// # Invariants
///
/// If `first` is not more than `last`, these iovas are mapped for `permission`, to what lies
/// side by side from `place` on, and `access` can reach that.
pub struct Near<'a> {
    access: &'a Access<'a>,
    permission: Permission,
    first: u64,
    last: u64,
    place: Place,
}

impl Access<'_> {
    /// Makes one that remembers nothing.
    pub fn near(&self, permission: Permission) -> Near<'_> {
        // INVARIANT: There are no such iovas.
        Near {
            access: self,
            permission,
            first: 1,
            last: 0,
            place: Place::kernel(0),
        }
    }
}

impl<'a> Near<'a> {
    /// Finds the memory of a buffer, if all of it lies side by side.
    #[inline(always)]
    pub fn whole(&mut self, iova: u64, len: usize) -> Option<Piece<'a>> {
        let last = last(iova, len).ok()?;
        if iova < self.first || self.last < last {
            self.look_up(iova, len)?;
            if self.last < last {
                return None;
            }
        }
        let place = self.place.add(iova.wrapping_sub(self.first));
        // SAFETY: By the type invariant these bytes are mapped, and by that of `Access` they
        // stay for as long as `access` is borrowed.
        Some(unsafe { Piece::new(place, len) })
    }

    /// Finds the mapping of a buffer, or of its start.
    #[inline(never)]
    fn look_up(&mut self, iova: u64, len: usize) -> Option<()> {
        let found = self.access.find(iova).ok()?;
        // For the permission, and whether it can be reached.
        self.access
            .place_of(&found, iova, len, self.permission)
            .ok()?;
        // INVARIANT: All of that was found out.
        self.first = found.first;
        self.last = found.last;
        self.place = found.place;
        Some(())
    }
}
