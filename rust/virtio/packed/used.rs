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
            Area,
            DESCRIPTOR_LEN, //
        },
        memory::Memory,
        num::usize_from_u32,
        short::SHORT_CHAINS,
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

    /// A chain that was completed; `fully` if the driver may be told of it by what it is told
    /// of the next one.
    #[inline(always)]
    pub(super) fn new(id: u16, slots: u16, written: u32, fully: bool) -> Self {
        let id = if fully { id | Self::FULLY } else { id };
        Self { id, slots, written }
    }

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

    /// What a used descriptor with these flags tells of the chain, as the number that its
    /// bytes are.
    #[inline(always)]
    fn result(self, bits: u16) -> u64 {
        u64::from_le_bytes(used_result(self.id, self.written, bits))
    }

    /// Whether a used descriptor tells of it alone, and it had no other in the ring.
    #[inline(always)]
    fn is_single(self) -> bool {
        self.slots == 1 && self.id & Self::FULLY == 0
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
            completion.set(Completion::new(id, slots, written, fully));
            // INVARIANT: The chain was found within the descriptors that the driver had.
            self.completed.set(self.completed.get().wrapping_add(1));
            self.available
                .set(head.slot.advance(slots, self.areas.size()));
        }
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
        let mut rest = completions.iter().map(Cell::get);
        let Some(one) = Completion::next_batch(&mut rest) else {
            return Ok(());
        };
        let first = self.used.get();
        self.begun.set(self.completed.get());
        self.write_result(mem, first, one, first.available())?;
        let mut slot = first.advance(one.slots, size);
        let mut completions = completions
            .get(completions.len().wrapping_sub(rest.len())..)
            .unwrap_or_default();
        let mut room = [0; SHORT_CHAINS];
        while !completions.is_empty() {
            let (slots, left) = match self.write_run(mem, slot, completions, &mut room)? {
                0 => {
                    let mut rest = completions.iter().map(Cell::get);
                    let Some(other) = Completion::next_batch(&mut rest) else {
                        break;
                    };
                    self.write_result(mem, slot, other, slot.used() | other.write_flag())?;
                    (other.slots, rest.len())
                }
                run => (run, completions.len().wrapping_sub(run.into())),
            };
            slot = slot.advance(slots, size);
            let done = completions.len().wrapping_sub(left);
            completions = completions.get(done..).unwrap_or_default();
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

    /// Writes the first of these completions, from `slot` on, as far as they have a descriptor
    /// each, which lie side by side: most do. Returns how many.
    #[inline(always)]
    fn write_run<M: Memory<Area = A>>(
        &self,
        mem: &M,
        slot: Slot,
        completions: &[Cell<Completion>],
        room: &mut [u64; SHORT_CHAINS],
    ) -> Result<u16, QueueError> {
        let most = usize::from(self.areas.size().wrapping_sub(slot.index));
        let most = most.min(completions.len()).min(room.len());
        let result = |completion: &Cell<Completion>| {
            let completion = completion.get();
            let bits = slot.used() | completion.write_flag();
            completion.is_single().then(|| completion.result(bits))
        };
        let run = self.areas.store_used_many(
            mem,
            Area::Descriptor,
            result_offset(slot.index),
            DESCRIPTOR_LEN,
            room.get_mut(..most).unwrap_or_default(),
            completions.iter().map_while(result),
        )?;
        Ok(u16::try_from(run).unwrap_or(0))
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
}
