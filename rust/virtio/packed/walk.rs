// SPDX-License-Identifier: GPL-2.0

//! How the descriptors of a chain follow each other in a packed virtqueue (2.8.6, 2.8.7).

use super::super::{
    areas::Areas,
    chain::{
        Buffer,
        Walk, //
    },
    fault::{
        Fault,
        Position,
        QueueError, //
    },
    layout::{
        flags,
        packed::Descriptor,
        table_limit, //
    },
    memory::Memory,
    table::Table, //
};
use super::Head;

/// Walks over the descriptors of a chain in a packed virtqueue: those in the ring or, when
/// its only one there refers to a table, those in that.
///
/// The flags of those in the ring were taken before, when the chain was found; what the
/// driver makes of them since then has no effect. In a table, all flags but one and all
/// ids are ignored (2.8.7), and a table in a table is a fault.
///
/// # Invariants
///
/// - `next` is less than the number of descriptors in the table or, without one, in the
///   ring, unless `left` is zero.
/// - A table has at least `left` descriptors from `next` on.
pub struct PackedWalk<'m, M: Memory> {
    mem: &'m M,
    areas: &'m Areas<M::Area>,
    /// The chain's first descriptor, until it is taken.
    first: Option<Descriptor>,
    /// The next descriptor.
    next: u16,
    /// How many descriptors are left, in the table or, without one, in the ring.
    left: u16,
    /// How many of those in the ring have buffers for reading.
    readable: u16,
    /// The table that `next` is in, or none when it is in the ring.
    table: Option<Table<M::Span<'m>>>,
}

impl<M: Memory> Clone for PackedWalk<'_, M> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            ..*self
        }
    }
}

impl<'m, M: Memory> PackedWalk<'m, M> {
    /// A walk over the chain that is available as `head`.
    #[inline]
    pub(super) fn new(mem: &'m M, areas: &'m Areas<M::Area>, head: &Head) -> Self {
        // INVARIANT: The slot of a chain is one of the ring.
        Self {
            mem,
            areas,
            first: Some(head.first),
            next: head.slot.index,
            left: head.shape.slots,
            readable: head.shape.readable,
            table: None,
        }
    }

    /// Takes up the table that the descriptor `index` of the ring refers to.
    #[inline(never)]
    fn enter(&mut self, index: u16, descriptor: Descriptor) -> Result<(), QueueError> {
        let Descriptor { address, len, .. } = descriptor;
        let table = Table::new(index, address, len, self.areas.features())?;
        let entries = table.entries();
        let size = table_limit(self.areas.size());
        if entries > size {
            // All descriptors of the table are the chain's.
            let position = table.position(size);
            return Err(Fault::TooManyDescriptors { position, size }.into());
        }
        // INVARIANT: A table has a first descriptor.
        self.table = Some(table);
        self.next = 0;
        self.left = entries;
        Ok(())
    }

    /// The buffer of the next descriptor, which is in the table.
    #[inline(never)]
    fn next_in_table(&mut self) -> Result<Option<Buffer>, QueueError> {
        let (Some(table), true) = (&mut self.table, self.left > 0) else {
            return Ok(None);
        };
        let index = self.next;
        let descriptor = Descriptor::from_bytes(table.load(self.mem, index)?);
        let position = table.position(index);
        if descriptor.flags & flags::INDIRECT != 0 {
            return Err(Fault::IndirectNested { position }.into());
        }
        // INVARIANT: One descriptor less is left, from the next one on.
        self.next = index.wrapping_add(1);
        self.left = self.left.wrapping_sub(1);
        Ok(Some(Buffer {
            position,
            iova: descriptor.address,
            len: descriptor.len,
            writable: descriptor.flags & flags::WRITE != 0,
        }))
    }
}

impl<'m, M: Memory> Walk<'m> for PackedWalk<'m, M> {
    type Memory = M;

    #[inline(always)]
    fn memory(&self) -> &'m M {
        self.mem
    }

    #[inline(always)]
    fn next(&mut self) -> Result<Option<Buffer>, QueueError> {
        if self.table.is_some() {
            return self.next_in_table();
        }
        if self.left == 0 {
            return Ok(None);
        }
        let index = self.next;
        let descriptor = match self.first.take() {
            Some(first) => {
                if first.flags & flags::INDIRECT != 0 {
                    // The descriptor has no buffer, and is the only one in the ring.
                    self.left = 0;
                    self.enter(index, first)?;
                    return self.next_in_table();
                }
                first
            }
            None => Descriptor::from_bytes(self.areas.load_descriptor(self.mem, index)?),
        };
        let next = index.wrapping_add(1);
        // INVARIANT: The ring's first descriptor follows its last one.
        self.next = if next == self.areas.size() { 0 } else { next };
        self.left = self.left.wrapping_sub(1);
        let writable = self.readable == 0;
        self.readable = self.readable.saturating_sub(1);
        Ok(Some(Buffer {
            position: Position::Ring(index),
            iova: descriptor.address,
            len: descriptor.len,
            writable,
        }))
    }
}
