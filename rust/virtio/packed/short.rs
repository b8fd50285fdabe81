// SPDX-License-Identifier: GPL-2.0

//! Short chains of a packed virtqueue, many at a time.

use core::{
    cell::Cell,
    ops::Deref, //
};

use super::{
    super::{
        features::Features,
        layout::{
            descriptor_offset,
            flags,
            packed::{
                Descriptor,
                AVAIL,
                USED, //
            },
            Area, //
        },
        memory::Memory,
        num::usize_from_u32,
        short::{
            read_table,
            Extent,
            ShortChain,
            ShortChains,
            SHORT_CHAINS, //
        },
    },
    Completion,
    PackedQueue, //
};

/// The descriptor that is this number in memory.
#[inline(always)]
fn descriptor(bits: u128) -> Descriptor {
    Descriptor::from_bytes(bits.to_le_bytes())
}

/// The buffer of a descriptor.
#[inline(always)]
fn extent(descriptor: Descriptor) -> Extent {
    Extent {
        iova: descriptor.address,
        len: descriptor.len,
    }
}

/// What a descriptor is of short chains.
enum Part {
    /// The first of two.
    First,
    /// The last one of a chain.
    Last(ShortChain),
    /// It is in no short chain.
    None,
}

impl<A, C: Deref<Target = [Cell<Completion>]>> PackedQueue<A, C> {
    /// See [`Queue::peek_short`](super::Queue::peek_short).
    #[inline(always)]
    pub(super) fn find_short<M: Memory<Area = A>>(
        &self,
        mem: &M,
        limit: usize,
        chains: &mut ShortChains,
    ) -> usize {
        chains.found = 0;
        if !self.areas.is_set_up() {
            return 0;
        }
        let slot = self.available.get();
        let size = self.areas.size();
        let room = size.wrapping_sub(self.with_device());
        // Those behind the end of the ring are for the next time.
        let many = usize::from(room.min(size.wrapping_sub(slot.index))).min(SHORT_CHAINS);
        let ShortChains {
            chains: all,
            descriptors,
            ..
        } = &mut *chains;
        let mut next = all.iter_mut();
        let mut found = 0_usize;
        // Most chains are one descriptor that refers to no others.
        let _ = mem.load_available(
            self.areas.translation(Area::Descriptor),
            descriptor_offset(slot.index),
            descriptors.get_mut(..many.min(limit)).unwrap_or_default(),
            (
                AVAIL | USED | flags::NEXT | flags::INDIRECT,
                slot.available(),
            ),
            |iova, rest| {
                let Some(chain) = next.next() else {
                    return false;
                };
                chain.set_direct(iova, rest);
                let good = chain.first().len != 0 && chain.id() < size;
                found = found.wrapping_add(usize::from(good));
                good
            },
        );
        chains.found = found;
        if found < many && found < limit {
            self.find_several(mem, limit, many, chains);
        }
        chains.found
    }

    /// Finds those that follow, up to one that is none, among the next `many` descriptors.
    #[inline(never)]
    fn find_several<M: Memory<Area = A>>(
        &self,
        mem: &M,
        limit: usize,
        many: usize,
        chains: &mut ShortChains,
    ) -> Option<()> {
        let size = self.areas.size();
        let slot = self.available.get();
        let ShortChains {
            chains,
            found,
            descriptors,
            ..
        } = chains;
        // A descriptor each so far.
        let index = slot.index.wrapping_add(u16::try_from(*found).ok()?);
        let room = descriptors.get_mut(..many.checked_sub(*found)?)?;
        let mut next = chains.get_mut(*found..limit.min(SHORT_CHAINS))?.iter_mut();
        // The first descriptor of a chain of two.
        let mut first = None;
        let _ = mem.load_available(
            self.areas.translation(Area::Descriptor),
            descriptor_offset(index),
            room,
            (AVAIL | USED, slot.available()),
            |iova, rest| {
                let bits = u128::from(iova) | (u128::from(rest) << 64);
                let latest = match self.part(mem, &mut first, descriptor(bits)) {
                    Part::First => return true,
                    Part::Last(latest) => latest,
                    Part::None => return false,
                };
                let good = latest.first().len != 0 && latest.id() < size;
                match next.next() {
                    Some(chain) if good => *chain = latest,
                    _ => return false,
                }
                *found = found.wrapping_add(1);
                true
            },
        );
        Some(())
    }

    /// What a descriptor is. `first` is the one before it, if that is the first of two.
    fn part<M: Memory<Area = A>>(
        &self,
        mem: &M,
        first: &mut Option<Descriptor>,
        one: Descriptor,
    ) -> Part {
        let last = match (first.take(), one.flags & (flags::NEXT | flags::INDIRECT)) {
            (Some(first), _) => pair(first, one, one.id),
            (None, 0) => Some(single(one, one.id)),
            (None, flags::NEXT) => {
                *first = Some(one);
                return Part::First;
            }
            (None, _) => self.short_table(mem, one),
        };
        last.map_or(Part::None, Part::Last)
    }

    /// The short chain of the table that a descriptor refers to, if it is one.
    fn short_table<M: Memory<Area = A>>(&self, mem: &M, one: Descriptor) -> Option<ShortChain> {
        if one.flags & flags::NEXT != 0 || !self.areas.has(Features::INDIRECT_DESC) {
            return None;
        }
        let (entries, [first, second]) = read_table(mem, extent(one))?;
        let (first, second) = (descriptor(first), descriptor(second));
        if first.flags & flags::INDIRECT != 0 {
            return None;
        }
        let chain = if entries == 1 {
            single(first, one.id)
        } else {
            // In a table, nothing says whether there is another one (2.8.7).
            let second = Descriptor {
                flags: second.flags & !flags::NEXT,
                ..second
            };
            pair(first, second, one.id)?
        };
        Some(chain.in_table())
    }

    /// See [`Queue::complete_short`](super::Queue::complete_short).
    #[inline(always)]
    pub(super) fn keep_short(&self, chains: &mut ShortChains, count: usize, read: bool) -> bool {
        // The driver is told of each by what it is told of the next one.
        let fully = read && self.areas.has(Features::IN_ORDER);
        let pending = usize_from_u32(self.pending());
        // There is room for one completion per descriptor.
        let room = self.completions.get(pending..).unwrap_or_default();
        let (Some(chains), Some(room)) = (chains.chains.get(..count), room.get(..count)) else {
            return false;
        };
        let count = u16::try_from(count).unwrap_or(0);
        let mut slots = count;
        for (chain, completion) in chains.iter().zip(room) {
            completion.set(Completion::of_short(chain, read, fully));
            if !chain.is_single() {
                slots = slots.wrapping_add(chain.slots().wrapping_sub(1));
            }
        }
        // INVARIANT: The chains were found within the descriptors that the driver had.
        self.completed
            .set(self.completed.get().wrapping_add(count.into()));
        let next = self.available.get().advance(slots, self.areas.size());
        self.available.set(next);
        true
    }
}

/// The chain of one descriptor.
#[inline(always)]
fn single(one: Descriptor, id: u16) -> ShortChain {
    ShortChain::new(extent(one), id, one.flags & flags::WRITE)
}

/// The chain of two descriptors, if it is one and ends with them.
#[inline(always)]
fn pair(one: Descriptor, other: Descriptor, id: u16) -> Option<ShortChain> {
    let more = other.flags & (flags::NEXT | flags::INDIRECT) != 0;
    if more || (one.flags ^ other.flags) & flags::WRITE != 0 || other.len == 0 {
        return None;
    }
    // The sum of the lengths of all buffers is a `u32`.
    one.len.checked_add(other.len)?;
    Some(single(one, id).with(extent(other)))
}
