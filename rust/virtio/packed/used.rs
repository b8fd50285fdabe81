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
            DESCRIPTOR_LEN,
            USED_ELEMENT_LEN, //
        },
        memory::Memory,
        num::usize_from_u32,
        short::{
            ShortChain,
            SHORT_CHAINS, //
        },
    },
    head::{
        Head,
        Shape, //
    },
    PackedQueue, //
};

/// A chain that was completed and not yet published: what a [`PackedQueue`] needs room
/// for, once per descriptor.
///
/// It is a number. Most chains have one descriptor in the ring, and a used descriptor tells of
/// each: then this is what that tells, but for the flags that say that it is used. Others have
/// [`SPECIAL`](Self::SPECIAL), and how many descriptors there are, less one, where these flags
/// are; and maybe [`FULLY`](Self::FULLY).
#[derive(Clone, Copy, Debug, Default)]
pub struct Completion(u64);

impl Completion {
    /// That it is not what a used descriptor tells. No used descriptor has this bit before it
    /// is said that it is used.
    const SPECIAL: u64 = 1 << 63;
    /// That the driver may be told of the chain by what it is told of the next one, with
    /// `VIRTIO_F_IN_ORDER` (2.8.8). No id has this bit: ids are less than the size of the
    /// ring.
    const FULLY: u64 = 1 << 47;
    /// Where flags lie, or the number of descriptors less one.
    const FLAGS: u32 = 48;

    /// A chain with so many descriptors in the ring that was completed; `fully` if the driver
    /// may be told of it by what it is told of the next one.
    #[inline(always)]
    fn new(id: u16, slots: u16, written: u32, fully: bool) -> Self {
        // A length only counts where something was written (2.8.4).
        let flags = if written == 0 { 0 } else { flags::WRITE };
        let plain = Self(u64::from_le_bytes(used_result(id, written, flags)));
        if slots == 1 && !fully {
            plain
        } else {
            plain.special(slots, fully)
        }
    }

    /// The same for a short chain, to which nothing was written if it was `read`.
    #[inline(always)]
    pub(super) fn of_short(chain: &ShortChain, read: bool, fully: bool) -> Self {
        let plain = Self(if read {
            chain.told_read()
        } else {
            chain.told()
        });
        if chain.is_single() && !fully {
            plain
        } else {
            plain.special(chain.slots(), fully)
        }
    }

    /// The same, with what a used descriptor does not tell.
    #[inline(never)]
    fn special(self, slots: u16, fully: bool) -> Self {
        let number = u64::from(slots.wrapping_sub(1)) << Self::FLAGS;
        let fully = if fully { Self::FULLY } else { 0 };
        let told = self.0 & !(u64::MAX << Self::FLAGS);
        Self(told | number | Self::SPECIAL | fully)
    }

    /// Takes the chains that one used descriptor tells of. Returns the last one, with the
    /// descriptors of all of them.
    #[inline(always)]
    fn next_batch(completions: &mut impl Iterator<Item = Self>) -> Option<Self> {
        let mut last = completions.next()?;
        while last.0 & Self::FULLY != 0 {
            let Some(next) = completions.next() else {
                last.0 &= !Self::FULLY;
                break;
            };
            // They have no more than there are in the ring.
            let slots = last.slots().wrapping_add(next.slots());
            last = next.special(slots, next.0 & Self::FULLY != 0);
        }
        Some(last)
    }

    /// The flag of a used descriptor that tells of the chain last.
    #[inline(always)]
    fn write_flag(self) -> u16 {
        if self.0 as u32 == 0 {
            0
        } else {
            flags::WRITE
        }
    }

    /// What a used descriptor with the flags `bits` tells of the chain.
    #[inline(always)]
    fn result(self, bits: u16) -> [u8; USED_ELEMENT_LEN] {
        let id = (self.0 >> u32::BITS) as u16;
        used_result(id, self.0 as u32, bits)
    }

    /// The same, as a number, if it tells of no other chain, and this has no other descriptor
    /// in the ring.
    #[inline(always)]
    fn plain(self, bits: u16) -> Option<u64> {
        (self.0 & Self::SPECIAL == 0).then_some(self.0 | (u64::from(bits) << Self::FLAGS))
    }

    /// How many descriptors the chain has in the ring.
    pub(super) fn slots(self) -> u16 {
        if self.0 & Self::SPECIAL == 0 {
            1
        } else {
            let number = (self.0 & !Self::SPECIAL) >> Self::FLAGS;
            (number as u16).wrapping_add(1)
        }
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
        let mut slot = first.advance(one.slots(), size);
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
                    (other.slots(), rest.len())
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
        let bits = slot.used();
        let run = self.areas.store_used_many(
            mem,
            Area::Descriptor,
            (result_offset(slot.index), DESCRIPTOR_LEN),
            room.get_mut(..most).unwrap_or_default(),
            completions,
            |one| one.get().plain(bits),
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
        let offset = result_offset(slot.index);
        self.areas
            .store_used(mem, Area::Descriptor, offset, last.result(bits))
    }
}
