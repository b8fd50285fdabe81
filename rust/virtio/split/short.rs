// SPDX-License-Identifier: GPL-2.0

//! Short chains of a split virtqueue, many at a time.

use super::{
    super::{
        features::Features,
        layout::{
            available,
            flags,
            used,
            used_element,
            Area,
            Descriptor,
            USED_ELEMENT_LEN, //
        },
        memory::Memory,
        short::{
            read_table,
            Extent,
            ShortChain,
            ShortChains,
            SHORT_CHAINS, //
        },
    },
    used::Last,
    SplitQueue, //
};

/// Where the flags are in the number that a descriptor's bytes are, in bits.
const FLAGS: u32 = 96;

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

impl<A> SplitQueue<A> {
    /// See [`Queue::peek_short`](super::Queue::peek_short).
    #[inline(always)]
    pub(super) fn find_short<M: Memory<Area = A>>(
        &self,
        mem: &M,
        limit: usize,
        chains: &mut ShortChains,
    ) -> usize {
        chains.found = 0;
        let next = self.next.get();
        if next == self.seen.get()
            && !(self.areas.is_set_up() && matches!(self.refresh(mem), Ok(true)))
        {
            return 0;
        }
        let slot = self.slot(next);
        let ahead = self.seen.get().wrapping_sub(next);
        let many = usize::from(ahead.min(self.areas.size().wrapping_sub(slot))).min(limit);
        let ShortChains {
            chains,
            found,
            heads,
            descriptors,
            ..
        } = chains;
        let many = many.min(SHORT_CHAINS);
        let (Some(heads), Some(bits)) = (heads.get_mut(..many), descriptors.get_mut(..many)) else {
            return 0;
        };
        let driver = self.areas.translation(Area::Driver);
        let table = self.areas.translation(Area::Descriptor);
        let offset = available::ring(slot);
        if mem.load_u16s(driver, offset, heads).is_err() {
            return 0;
        }
        let mut places = chains.iter_mut();
        let mut count = 0_usize;
        // The area has as many descriptors as the queue, and nothing behind them. So a head
        // that is none ends it, as other errors do.
        let _ = mem.gather_descriptors(table, heads, bits, |head, bits| {
            let Some(chain) = places.next() else {
                return false;
            };
            if (bits >> FLAGS) as u16 & (flags::NEXT | flags::INDIRECT) == 0 {
                chain.set_split(head, bits);
            } else {
                let Some(several) = self.short_of_several(mem, head, bits) else {
                    return false;
                };
                *chain = several;
            }
            if chain.first().len == 0 {
                return false;
            }
            count = count.wrapping_add(1);
            true
        });
        *found = count;
        count
    }

    /// The short chain that starts with a descriptor which refers to others, if it is one.
    #[inline(never)]
    fn short_of_several<M: Memory<Area = A>>(
        &self,
        mem: &M,
        head: u16,
        bits: u128,
    ) -> Option<ShortChain> {
        let size = self.areas.size();
        let one = descriptor(bits);
        let (one, other) = if one.has(flags::INDIRECT) {
            if one.has(flags::NEXT) || !self.areas.has(Features::INDIRECT_DESC) {
                return None;
            }
            let (entries, [first, second]) = read_table(mem, extent(one))?;
            let first = descriptor(first);
            let goes_on = first.has(flags::NEXT);
            if goes_on && (entries != 2 || first.next != 1) {
                return None;
            }
            (first, goes_on.then(|| descriptor(second)))
        } else {
            // A ring of a single descriptor has no chain of two.
            if one.next >= size || size < 2 {
                return None;
            }
            let other = self.areas.load_descriptor(mem, one.next).ok()?;
            (one, Some(Descriptor::from_bytes(other)))
        };
        if one.has(flags::INDIRECT) {
            return None;
        }
        let chain = ShortChain::new(extent(one), head, one.flags & flags::WRITE);
        let Some(other) = other else {
            return Some(chain);
        };
        let more = other.flags & (flags::NEXT | flags::INDIRECT) != 0;
        if more || (one.flags ^ other.flags) & flags::WRITE != 0 || other.len == 0 {
            return None;
        }
        // The sum of the lengths of all buffers is a `u32`.
        one.len.checked_add(other.len)?;
        Some(chain.with(extent(other)))
    }

    /// See [`Queue::complete_short`](super::Queue::complete_short).
    #[inline(always)]
    pub(super) fn write_short<M: Memory<Area = A>>(
        &self,
        mem: &M,
        chains: &mut ShortChains,
        count: usize,
        read: bool,
    ) -> bool {
        let ShortChains {
            chains, elements, ..
        } = chains;
        let Some(chains) = chains.get(..count) else {
            return false;
        };
        let Some(last) = chains.last() else {
            return true;
        };
        let count = u16::try_from(count).unwrap_or(0);
        let end = self.used.get().wrapping_add(count);
        if read && self.areas.has(Features::IN_ORDER) {
            // The driver is told of all by what it is told of the last one, or of one after it.
            // INVARIANT: This is what the next element tells of, unless there is a later chain.
            self.last.set(Last {
                head: last.id(),
                written: 0,
            });
        } else {
            if self.write_elements(mem, chains, elements, read).is_none() {
                return false;
            }
            // INVARIANT: The elements of all chains so far are written.
            self.element.set(end);
        }
        self.used.set(end);
        self.next.set(self.next.get().wrapping_add(count));
        true
    }

    /// Writes the elements of chains that follow those that were completed.
    #[inline(always)]
    fn write_elements<M: Memory<Area = A>>(
        &self,
        mem: &M,
        mut chains: &[ShortChain],
        elements: &mut [u64; SHORT_CHAINS],
        read: bool,
    ) -> Option<()> {
        let written = |chain: &ShortChain| if read { 0 } else { chain.written() };
        let mut index = self.used.get();
        if self.element.get() != index {
            // It tells of those before it that have none.
            let (first, rest) = chains.split_first()?;
            let last = Last {
                head: first.id(),
                written: written(first),
            };
            self.write_element(mem, last).ok()?;
            index = index.wrapping_add(1);
            chains = rest;
        }
        let area = self.areas.translation(Area::Device);
        while !chains.is_empty() {
            let slot = self.slot(index);
            let room = self.areas.size().wrapping_sub(slot);
            let now = chains.len().min(room.into());
            let (these, rest) = chains.split_at_checked(now)?;
            let tell = |chain: &ShortChain| {
                let element = used_element(chain.id(), written(chain));
                Some(u64::from_le_bytes(element))
            };
            mem.store_used_many(
                area,
                used::ring(slot),
                USED_ELEMENT_LEN,
                elements.get_mut(..now)?,
                these,
                tell,
            )
            .ok()?;
            index = index.wrapping_add(u16::try_from(now).ok()?);
            chains = rest;
        }
        Some(())
    }
}
