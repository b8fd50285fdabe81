// SPDX-License-Identifier: GPL-2.0

//! Short chains, as most are: of one or two descriptors, taken many at a time.
//!
//! A device may take chains in the way of [`Queue::peek`](super::queue::Queue::peek), which
//! knows all kinds and finds out what is wrong with them; or it looks for short ones and leaves
//! everything else to that.

use super::{
    layout::DESCRIPTOR_LEN,
    memory::{
        Access,
        Memory,
        Span, //
    },
    num::usize_from_u32,
};

/// How many short chains are taken at a time, at most.
pub const SHORT_CHAINS: usize = 16;

/// A buffer of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts. Not checked: it may go beyond the address space.
    pub iova: u64,
    /// Its length in bytes.
    pub len: u32,
}

/// A chain of one or two buffers, none of which is empty, in the ring or in a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShortChain {
    /// Its first buffer.
    pub first: Extent,
    /// Its second one, if its length is not zero.
    pub second: Extent,
    /// Whether the device may write to them; if not, it may read.
    pub writable: bool,
    /// How many bytes were written to it, for
    /// [`complete_short`](super::queue::Queue::complete_short).
    pub written: u32,
    /// What the driver calls it: its first descriptor, or the id of a packed one.
    pub(super) id: u16,
    /// How many descriptors it has in the ring.
    pub(super) slots: u16,
}

impl ShortChain {
    /// The length of all buffers in bytes; `u32::MAX` also if it is more.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.first.len.saturating_add(self.second.len)
    }

    /// Whether there are no bytes: never, for one that was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Room for short chains, and for what they are made of and handed back with: used again and
/// again, so that nothing has to be made empty first.
pub struct ShortChains {
    pub(super) chains: [ShortChain; SHORT_CHAINS],
    pub(super) found: usize,
    /// Their heads, or the flags of their descriptors.
    pub(super) words: [u16; SHORT_CHAINS],
    pub(super) descriptors: [u128; SHORT_CHAINS],
    /// What tells the driver of them.
    pub(super) elements: [u64; SHORT_CHAINS],
}

impl Default for ShortChains {
    fn default() -> Self {
        Self {
            chains: [ShortChain::default(); SHORT_CHAINS],
            found: 0,
            words: [0; SHORT_CHAINS],
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
    let mut bytes = [[0; DESCRIPTOR_LEN]; 2];
    span.read(0, bytes.as_flattened_mut().get_mut(..len)?)
        .ok()?;
    Some((entries, bytes.map(u128::from_le_bytes)))
}
