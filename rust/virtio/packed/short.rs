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
                flags_offset,
                Descriptor, //
            },
            Area,
            DESCRIPTOR_LEN, //
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
            chains,
            found,
            words,
            descriptors,
            ..
        } = chains;
        let Some(bits) = words.get_mut(..many) else {
            return 0;
        };
        let area = self.areas.translation(Area::Descriptor);
        let offset = flags_offset(slot.index);
        if mem.load_u16s(area, offset, DESCRIPTOR_LEN, bits).is_err() {
            return 0;
        }
        let is_available = |bits: &&u16| slot.is_available(**bits);
        let available = bits.iter().take_while(is_available).count();
        // What the driver wrote before it wrote the flags is read after this.
        mem.acquire();
        let Some(room) = descriptors.get_mut(..available) else {
            return 0;
        };
        let mut bits = bits.iter();
        let mut chains = chains.iter_mut().take(limit);
        // The first descriptor of a chain of two.
        let mut first = None;
        let offset = descriptor_offset(slot.index);
        let _ = mem.load_descriptors(area, offset, room, |latest| {
            let Some(&bits) = bits.next() else {
                return false;
            };
            // The flags have been read; what they are by now is of no interest.
            let one = Descriptor {
                flags: bits,
                ..descriptor(latest)
            };
            let is_first = bits & (flags::NEXT | flags::INDIRECT) == flags::NEXT;
            if is_first && first.is_none() {
                first = Some(one);
                return true;
            }
            let Some(chain) = chains.next() else {
                return false;
            };
            if bits & (flags::NEXT | flags::INDIRECT) == 0 && first.is_none() {
                chain.first = extent(one);
                chain.second.len = 0;
                chain.writable = bits & flags::WRITE != 0;
                chain.written = 0;
                chain.id = one.id;
                chain.slots = 1;
            } else {
                let several = match first.take() {
                    Some(first) => pair(first, one, one.id),
                    None => self.short_table(mem, one),
                };
                match several {
                    Some(several) => *chain = several,
                    None => return false,
                }
            }
            let good = chain.first.len != 0 && chain.id < size;
            *found = found.wrapping_add(usize::from(good));
            good
        });
        *found
    }

    /// The short chain of the table that a descriptor refers to, if it is one.
    #[inline(never)]
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
            ShortChain {
                first: extent(first),
                writable: first.flags & flags::WRITE != 0,
                id: one.id,
                ..ShortChain::default()
            }
        } else {
            // In a table, nothing says whether there is another one (2.8.7).
            let second = Descriptor {
                flags: second.flags & !flags::NEXT,
                ..second
            };
            pair(first, second, one.id)?
        };
        Some(ShortChain { slots: 1, ..chain })
    }

    /// See [`Queue::complete_short`](super::Queue::complete_short). `fully` if the driver may be
    /// told of each by what it is told of the next one.
    #[inline(always)]
    pub(super) fn keep_short(&self, chains: &mut ShortChains, count: usize, fully: bool) -> bool {
        let pending = usize_from_u32(self.pending());
        // There is room for one completion per descriptor.
        let room = self.completions.get(pending..).unwrap_or_default();
        let (Some(chains), Some(room)) = (chains.chains.get(..count), room.get(..count)) else {
            return false;
        };
        let count = u32::try_from(count).unwrap_or(0);
        let mut slots = 0_u16;
        for (chain, completion) in chains.iter().zip(room) {
            completion.set(Completion::new(chain.id, chain.slots, chain.written, fully));
            slots = slots.wrapping_add(chain.slots);
        }
        // INVARIANT: The chains were found within the descriptors that the driver had.
        self.completed.set(self.completed.get().wrapping_add(count));
        let next = self.available.get().advance(slots, self.areas.size());
        self.available.set(next);
        true
    }
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
    Some(ShortChain {
        first: extent(one),
        second: extent(other),
        writable: one.flags & flags::WRITE != 0,
        written: 0,
        id,
        slots: 2,
    })
}
