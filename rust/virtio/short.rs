// SPDX-License-Identifier: GPL-2.0

//! Short chains, as most are: of one or two descriptors, taken many at a time.
//!
//! A device may take chains in the way of [`Queue::peek`](super::queue::Queue::peek), which
//! knows all kinds and finds out what is wrong with them; or it looks for short ones and leaves
//! everything else to that.

use super::{
    layout::{
        flags,
        DESCRIPTOR_LEN, //
    },
    memory::{
        Access,
        Memory,
        Span, //
    },
    num::usize_from_u32,
};

/// How many short chains are taken at a time, at most.
pub const SHORT_CHAINS: usize = 32;

/// A buffer of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts. Not checked: it may go beyond the address space.
    pub iova: u64,
    /// Its length in bytes.
    pub len: u32,
}

/// A chain of one or two buffers, none of which is empty, in the ring or in a table.
///
/// It is what a packed descriptor is, so that most chains of a packed ring are taken as they
/// are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShortChain {
    /// Where the first buffer starts.
    iova: u64,
    /// The length of the first buffer, or how many bytes were written to the chain.
    len: u32,
    /// What the driver calls it, which is its first descriptor, or the id of a packed one; and
    /// above that flags, as descriptors have them, but for [`TWO`](Self::TWO) and
    /// [`TABLE`](Self::TABLE).
    name: u32,
    /// The second buffer, if there is one.
    second: Extent,
}

impl ShortChain {
    /// The part of a name that is not flags.
    const ID: u32 = 0xffff;
    /// The flag in a name for what the device may write to, or has written to.
    const WRITE: u32 = (flags::WRITE as u32) << 16;

    /// A flag: there are two buffers.
    const TWO: u16 = flags::NEXT;
    /// A flag: they are in a table.
    const TABLE: u16 = flags::INDIRECT;

    /// A chain of one buffer, with these flags.
    #[inline(always)]
    pub(super) const fn new(first: Extent, id: u16, flags: u16) -> Self {
        Self {
            iova: first.iova,
            len: first.len,
            name: id as u32 | ((flags as u32) << 16),
            second: Extent { iova: 0, len: 0 },
        }
    }

    /// Makes it that of the split descriptor `head` which refers to no others, of which this is
    /// the number that its bytes are. That leaves the second buffer as it is.
    #[inline(always)]
    pub(super) fn set_split(&mut self, head: u16, bits: u128) {
        let rest = (bits >> 64) as u64;
        self.iova = bits as u64;
        self.len = rest as u32;
        // Flags are followed by the number of the next descriptor, which falls out.
        self.name = (((rest >> 32) as u32) << 16) | u32::from(head);
    }

    /// Makes it that of a packed descriptor which refers to no others, of which these are the
    /// first 8 bytes and the other 8.
    #[inline(always)]
    pub(super) fn set_direct(&mut self, iova: u64, rest: u64) {
        self.iova = iova;
        self.len = rest as u32;
        self.name = (rest >> 32) as u32;
    }

    /// The same with a second buffer.
    #[inline(always)]
    pub(super) const fn with(self, second: Extent) -> Self {
        Self {
            name: self.name | ((Self::TWO as u32) << 16),
            second,
            ..self
        }
    }

    /// The same, from a table.
    #[inline(always)]
    pub(super) const fn in_table(self) -> Self {
        Self {
            name: self.name | ((Self::TABLE as u32) << 16),
            ..self
        }
    }

    #[inline(always)]
    fn flags(&self) -> u16 {
        (self.name >> 16) as u16
    }

    /// Its first buffer.
    #[inline(always)]
    pub fn first(&self) -> Extent {
        Extent {
            iova: self.iova,
            len: self.len,
        }
    }

    /// Its second one, if there is one.
    #[inline(always)]
    pub fn second(&self) -> Option<Extent> {
        (self.flags() & Self::TWO != 0).then_some(self.second)
    }

    /// Whether the device may write to it; if not, it may read.
    #[inline(always)]
    pub fn is_writable(&self) -> bool {
        self.flags() & flags::WRITE != 0
    }

    /// Its only buffer, if that is one for reading.
    #[inline(always)]
    pub fn readable(&self) -> Option<Extent> {
        (self.flags() & (Self::TWO | flags::WRITE) == 0).then_some(self.first())
    }

    /// Its only buffer, if that is one for writing.
    #[inline(always)]
    pub fn writable(&self) -> Option<Extent> {
        (self.flags() & (Self::TWO | flags::WRITE) == flags::WRITE).then_some(self.first())
    }

    /// The length of all buffers in bytes; `u32::MAX` also if it is more.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        let second = self.second().map_or(0, |second| second.len);
        self.len.saturating_add(second)
    }

    /// Whether there are no bytes: never, for one that was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says how many bytes were written to it, for
    /// [`complete_short`](super::queue::Queue::complete_short). The length of its first buffer
    /// is not known any more then.
    #[inline(always)]
    pub fn finish(&mut self, written: u32) {
        self.len = written;
    }

    /// What a packed descriptor tells of it, but for the flags that say that it is used, as the
    /// number that its bytes are.
    #[inline(always)]
    pub(super) fn told(&self) -> u64 {
        let write = if self.len == 0 { 0 } else { Self::WRITE };
        let name = self.name & (write | Self::ID);
        u64::from(self.len) | (u64::from(name) << 32)
    }

    /// The same of one that was read only.
    #[inline(always)]
    pub(super) fn told_read(&self) -> u64 {
        u64::from(self.name & Self::ID) << 32
    }

    /// Whether it is a single buffer, in the ring or in a table.
    #[inline(always)]
    pub(super) fn is_single(&self) -> bool {
        self.flags() & Self::TWO == 0
    }

    /// What was written to it.
    #[inline(always)]
    pub(super) fn written(&self) -> u32 {
        self.len
    }

    /// What the driver calls it.
    #[inline(always)]
    pub(super) fn id(&self) -> u16 {
        self.name as u16
    }

    /// How many descriptors it has in a packed ring.
    #[inline(always)]
    pub(super) fn slots(&self) -> u16 {
        match self.flags() & (Self::TWO | Self::TABLE) {
            Self::TWO => 2,
            _ => 1,
        }
    }
}

/// Room for short chains, and for what they are made of and handed back with: used again and
/// again, so that nothing has to be made empty first.
pub struct ShortChains {
    pub(super) chains: [ShortChain; SHORT_CHAINS],
    pub(super) found: usize,
    /// Their heads.
    pub(super) heads: [u16; SHORT_CHAINS],
    pub(super) descriptors: [u128; SHORT_CHAINS],
    /// What tells the driver of them.
    pub(super) elements: [u64; SHORT_CHAINS],
}

impl Default for ShortChains {
    fn default() -> Self {
        Self {
            chains: [ShortChain::default(); SHORT_CHAINS],
            found: 0,
            heads: [0; SHORT_CHAINS],
            descriptors: [0; SHORT_CHAINS],
            elements: [0; SHORT_CHAINS],
        }
    }
}

impl ShortChains {
    /// Those that were found last.
    #[inline(always)]
    pub fn found(&self) -> &[ShortChain] {
        self.chains.get(..self.found).unwrap_or_default()
    }

    /// The same, to say what was written to them.
    #[inline(always)]
    pub fn found_mut(&mut self) -> &mut [ShortChain] {
        self.chains.get_mut(..self.found).unwrap_or_default()
    }
}

/// Reads the table of one or two descriptors that `at` refers to. What there is of no second
/// one is zero. None if it is longer, or not to be reached at once.
#[inline(never)]
pub(super) fn read_table<M: Memory>(mem: &M, at: Extent) -> Option<(usize, [u128; 2])> {
    let len = usize_from_u32(at.len);
    let entries = len / DESCRIPTOR_LEN;
    if !(entries == 1 || entries == 2) || len % DESCRIPTOR_LEN != 0 {
        return None;
    }
    at.iova.checked_add(u64::from(at.len))?;
    let span = mem.span(at.iova, at.len, Access::Read).ok()?;
    if span.len() < len {
        return None;
    }
    let mut bytes = [[0; DESCRIPTOR_LEN]; 2];
    span.read(0, bytes.as_flattened_mut().get_mut(..len)?)
        .ok()?;
    Some((entries, bytes.map(u128::from_le_bytes)))
}
