// SPDX-License-Identifier: GPL-2.0

//! How the device hands chains back in a packed virtqueue (2.8.1, 2.8.8).

use core::{
    cell::Cell,
    ops::Deref, //
};

use super::{
    super::{
        fault::QueueError,
        layout::{
            flags,
            packed::{
                flags_offset,
                result_offset,
                used_result,
                Slot, //
            },
            Area, //
        },
        memory::Memory,
        num::usize_from_u32,
    },
    head::{
        Head,
        Shape, //
    },
    PackedQueue, //
};

/// A chain that was completed and not yet published: what a [`PackedQueue`] needs room
/// for, once per descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Completion {
    /// The chain's id, and [`FULLY`](Self::FULLY) or not.
    id: u16,
    /// How many descriptors it has in the ring.
    slots: u16,
    /// How many bytes were written to it.
    written: u32,
}

impl Completion {
    /// That the driver may be told of the chain by what it is told of the next one, with
    /// `VIRTIO_F_IN_ORDER` (2.8.8). No id has this bit: ids are less than the size of the
    /// ring.
    const FULLY: u16 = 1 << 15;

    /// Takes the chains that one used descriptor tells of. Returns the last one, with the
    /// descriptors of all of them.
    #[inline(always)]
    fn next_batch(completions: &mut impl Iterator<Item = Self>) -> Option<Self> {
        let mut last = completions.next()?;
        while last.id & Self::FULLY != 0 {
            let Some(next) = completions.next() else {
                last.id &= !Self::FULLY;
                break;
            };
            // They have no more than there are in the ring.
            let slots = last.slots.wrapping_add(next.slots);
            last = Self { slots, ..next };
        }
        Some(last)
    }

    /// The flag of a used descriptor that tells of the chain last. A length only counts
    /// where something was written (2.8.4).
    #[inline(always)]
    fn write_flag(self) -> u16 {
        if self.written == 0 {
            0
        } else {
            flags::WRITE
        }
    }

    /// How many descriptors the chain has in the ring.
    pub(super) fn slots(self) -> u16 {
        self.slots
    }
}

impl<A, C: Deref<Target = [Cell<Completion>]>> PackedQueue<A, C> {
    /// Keeps a chain as completed; `fully` if the driver may be told of it by what it is
    /// told of the next one.
    #[inline(always)]
    pub(super) fn keep(&self, head: Head, written: u32, fully: bool) {
        debug_assert_eq!(head.slot, self.available.get(), "completed out of order");
        let Shape { slots, id, .. } = head.shape;
        // There is room for one completion per descriptor.
        if let Some(completion) = self.completions.get(usize_from_u32(self.pending())) {
            let id = if fully { id | Completion::FULLY } else { id };
            completion.set(Completion { id, slots, written });
            // INVARIANT: The chain was found within the descriptors that the driver had.
            self.completed.set(self.completed.get().wrapping_add(1));
            self.available
                .set(head.slot.advance(slots, self.areas.size()));
        }
    }

    /// Writes what the descriptor at `slot` tells of, with these flags.
    #[inline(always)]
    fn write_result<M: Memory<Area = A>>(
        &self,
        mem: &M,
        slot: Slot,
        last: Completion,
        bits: u16,
    ) -> Result<(), QueueError> {
        let result = used_result(last.id, last.written, bits);
        let offset = result_offset(slot.index);
        self.areas.store_used(mem, Area::Descriptor, offset, result)
    }

    /// Writes all completed chains into the ring, if there are any. The driver looks at the
    /// first one before the others, so that it sees all of them when it sees the flags of
    /// that.
    ///
    /// Where one used descriptor tells of several chains, it names the last of them, and
    /// lies where the first of them does (2.8.8).
    pub(super) fn write_used<M: Memory<Area = A>>(&self, mem: &M) -> Result<(), QueueError> {
        let size = self.areas.size();
        let pending = usize_from_u32(self.pending());
        let completions = self.completions.get(..pending).unwrap_or_default();
        let mut completions = completions.iter().map(Cell::get);
        let Some(one) = Completion::next_batch(&mut completions) else {
            return Ok(());
        };
        let first = self.used.get();
        self.begun.set(self.completed.get());
        self.write_result(mem, first, one, first.available())?;
        let mut slot = first.advance(one.slots, size);
        while let Some(other) = Completion::next_batch(&mut completions) {
            self.write_result(mem, slot, other, slot.used() | other.write_flag())?;
            slot = slot.advance(other.slots, size);
        }
        mem.release();
        self.areas.store(
            mem,
            Area::Descriptor,
            flags_offset(first.index),
            first.used() | one.write_flag(),
        )?;
        let slots = slot.ahead_of(first, size).unwrap_or(size);
        let unsignalled = self.unsignalled.get().saturating_add(slots);
        self.unsignalled.set(unsignalled.min(size));
        // INVARIANT: There are no completions left, and they had `slots` descriptors.
        self.used.set(slot);
        self.published.set(self.completed.get());
        Ok(())
    }
}
