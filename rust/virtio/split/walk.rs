// SPDX-License-Identifier: GPL-2.0

//! How the descriptors of a chain follow each other in a split virtqueue (2.7.5).

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
    features::Features,
    layout::{
        flags,
        table_limit,
        Descriptor, //
    },
    memory::Memory,
    table::Table, //
};

/// Walks over the descriptors of a chain in a split virtqueue, in the ring and, when one
/// refers to a table, on in that.
///
/// # Invariants
///
/// - `next` is less than the number of descriptors in the table or, without one, in the
///   ring.
pub struct SplitWalk<'m, M: Memory> {
    mem: &'m M,
    areas: &'m Areas<M::Area>,
    /// The next descriptor, or none at the end.
    next: Option<u16>,
    /// How many more buffers the chain may have.
    budget: u16,
    /// The table that `next` is in, or none when it is in the ring.
    table: Option<Table<M::Span<'m>>>,
}

impl<M: Memory> Clone for SplitWalk<'_, M> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            ..*self
        }
    }
}

impl<'m, M: Memory> SplitWalk<'m, M> {
    /// A walk from the descriptor `head`, which is less than the size of the queue.
    #[inline]
    pub(super) fn new(mem: &'m M, areas: &'m Areas<M::Area>, head: u16) -> Self {
        // INVARIANT: `head` is less than the size, as required.
        Self {
            mem,
            areas,
            next: Some(head),
            budget: areas.size(),
            table: None,
        }
    }

    /// Takes up the table that the descriptor `index` of the ring refers to. It goes on
    /// with the table's first descriptor.
    #[inline(never)]
    fn enter(&mut self, index: u16, descriptor: Descriptor) -> Result<(), QueueError> {
        if descriptor.has(flags::NEXT) && self.areas.has(Features::INDIRECT_DESC) {
            return Err(Fault::IndirectWithNext { descriptor: index }.into());
        }
        // The device ignores whether the table is for writing (2.7.5.3.2).
        let Descriptor { address, len, .. } = descriptor;
        let table = Table::new(index, address, len, self.areas.features())?;
        // A chain with a table may have as many buffers as the table; those in the ring
        // are some of them.
        let size = self.areas.size();
        let more = table_limit(size).saturating_sub(size);
        self.budget = self.budget.saturating_add(more);
        // INVARIANT: A table has a first descriptor.
        self.table = Some(table);
        self.next = Some(0);
        Ok(())
    }

    /// The buffer of the next descriptor, `index`, which is in the table.
    #[inline(never)]
    fn next_in_table(&mut self, index: u16) -> Result<Option<Buffer>, QueueError> {
        let Some(table) = &mut self.table else {
            return Ok(None);
        };
        let descriptor = Descriptor::from_bytes(table.load(self.mem, index)?);
        let entries = table.entries();
        let position = table.position(index);
        if descriptor.has(flags::INDIRECT) {
            return Err(Fault::IndirectNested { position }.into());
        }
        self.buffer(descriptor, position, entries).map(Some)
    }

    /// The error when the descriptor at `position` is one more than the chain may have.
    #[cold]
    fn too_many(&self, position: Position) -> QueueError {
        let size = match position {
            Position::Ring(_) => self.areas.size(),
            Position::Table { .. } => table_limit(self.areas.size()),
        };
        Fault::TooManyDescriptors { position, size }.into()
    }

    /// Takes the buffer of a descriptor, and the next descriptor out of `size` from it.
    #[inline(always)]
    fn buffer(
        &mut self,
        descriptor: Descriptor,
        position: Position,
        size: u16,
    ) -> Result<Buffer, QueueError> {
        let Some(budget) = self.budget.checked_sub(1) else {
            return Err(self.too_many(position));
        };
        self.budget = budget;
        self.next = if descriptor.has(flags::NEXT) {
            let next = descriptor.next;
            if next >= size {
                return Err(Fault::Next {
                    position,
                    next,
                    size,
                }
                .into());
            }
            // INVARIANT: What goes on beyond the table was refused.
            Some(next)
        } else {
            None
        };
        Ok(Buffer {
            position,
            iova: descriptor.address,
            len: descriptor.len,
            writable: descriptor.has(flags::WRITE),
        })
    }
}

impl<'m, M: Memory> Walk<'m> for SplitWalk<'m, M> {
    type Memory = M;

    #[inline(always)]
    fn memory(&self) -> &'m M {
        self.mem
    }

    #[inline(always)]
    fn next(&mut self) -> Result<Option<Buffer>, QueueError> {
        let Some(index) = self.next else {
            return Ok(None);
        };
        if self.table.is_some() {
            return self.next_in_table(index);
        }
        let descriptor = Descriptor::from_bytes(self.areas.load_descriptor(self.mem, index)?);
        if descriptor.has(flags::INDIRECT) {
            // The descriptor has no buffer, so it takes nothing of the budget.
            self.enter(index, descriptor)?;
            return self.next_in_table(0);
        }
        self.buffer(descriptor, Position::Ring(index), self.areas.size())
            .map(Some)
    }
}
