// SPDX-License-Identifier: GPL-2.0

//! How the descriptors of a chain follow each other in a split virtqueue (2.7.5).

use super::super::{
    chain::{
        Buffer,
        Walk, //
    },
    fault::{
        Fault,
        Part,
        Place,
        Position,
        QueueError, //
    },
    features::Features,
    layout::{
        descriptor_offset,
        flags,
        Area,
        Descriptor,
        QueueLayout,
        DESCRIPTOR_LEN, //
    },
    memory::{
        Access,
        AccessError,
        Memory,
        Span, //
    },
    num::{
        u32_at_most,
        u64_from_usize,
        usize_from_u32, //
    },
};

/// An indirect table.
///
/// # Invariants
///
/// The table does not go beyond the address space.
struct Table<S> {
    /// The descriptor in the ring that refers to it.
    descriptor: u16,
    /// Where it starts.
    iova: u64,
    /// How many descriptors it has.
    entries: u16,
    /// The last translation of a part of it that ends at its end or at a mapping's.
    span: Option<S>,
    /// Where `span` starts, in bytes from the start of the table.
    start: usize,
}

impl<S: Copy> Clone for Table<S> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

/// Walks over the descriptors of a chain in a split virtqueue, in the ring and, when one
/// refers to a table, on in that.
///
/// # Invariants
///
/// - `next` is less than the number of descriptors in the table or, without one, in the
///   ring.
pub struct SplitWalk<'m, M: Memory> {
    mem: &'m M,
    descriptors: &'m M::Area,
    layout: &'m QueueLayout,
    indirect: bool,
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
    pub(super) fn new(
        mem: &'m M,
        descriptors: &'m M::Area,
        layout: &'m QueueLayout,
        features: Features,
        head: u16,
    ) -> Self {
        // INVARIANT: `head` is less than the size, as required.
        Self {
            mem,
            descriptors,
            layout,
            indirect: features.contains(Features::INDIRECT_DESC),
            next: Some(head),
            budget: layout.size,
            table: None,
        }
    }

    /// Reads a descriptor of the ring.
    #[inline]
    fn ring_descriptor(&self, index: u16) -> Result<Descriptor, QueueError> {
        let offset = descriptor_offset(index);
        self.mem
            .load_descriptor(self.descriptors, offset)
            .map(Descriptor::from_bytes)
            .map_err(|error| {
                QueueError::access(
                    error,
                    Place {
                        part: Part::Area(Area::Descriptor),
                        iova: self.layout.descriptor.wrapping_add(u64_from_usize(offset)),
                        len: u32_at_most(DESCRIPTOR_LEN),
                        access: Access::Read,
                    },
                )
            })
    }

    /// Takes up the table that the descriptor `index` of the ring refers to. It goes on
    /// with the table's first descriptor.
    #[inline(never)]
    fn enter(&mut self, index: u16, descriptor: Descriptor) -> Result<(), QueueError> {
        if !self.indirect {
            return Err(Fault::IndirectNotNegotiated { descriptor: index }.into());
        }
        if descriptor.has(flags::NEXT) {
            return Err(Fault::IndirectWithNext { descriptor: index }.into());
        }
        // The device ignores whether the table is for writing (2.7.5.3.2).
        let Descriptor { address, len, .. } = descriptor;
        let bad_length = Fault::IndirectLength {
            descriptor: index,
            len,
        };
        if len == 0 || usize_from_u32(len) % DESCRIPTOR_LEN != 0 {
            return Err(bad_length.into());
        }
        let Ok(entries) = u16::try_from(usize_from_u32(len) / DESCRIPTOR_LEN) else {
            return Err(bad_length.into());
        };
        if address
            .checked_add(u64::from(len).wrapping_sub(1))
            .is_none()
        {
            return Err(Fault::AddressOverflow {
                position: Position::Ring(index),
                iova: address,
                len,
            }
            .into());
        }
        // INVARIANT: The table's end has just been checked, and it has a first descriptor.
        self.table = Some(Table {
            descriptor: index,
            iova: address,
            entries,
            span: None,
            start: 0,
        });
        self.next = Some(0);
        Ok(())
    }

    /// The buffer of the next descriptor, `index`, which is in the table.
    #[inline(never)]
    fn next_in_table(&mut self, index: u16) -> Result<Option<Buffer>, QueueError> {
        let Some(table) = &mut self.table else {
            return Ok(None);
        };
        let descriptor = table.descriptor(self.mem, index)?;
        let entries = table.entries;
        let position = Position::Table {
            descriptor: table.descriptor,
            entry: index,
        };
        if descriptor.has(flags::INDIRECT) {
            return Err(Fault::IndirectNested { position }.into());
        }
        self.buffer(descriptor, position, entries).map(Some)
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
            return Err(Fault::TooManyDescriptors {
                position,
                size: self.layout.size,
            }
            .into());
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

impl<'m, S: Span> Table<S> {
    /// Reads the descriptor `index`, which is less than the number of entries. It may lie
    /// in several mappings.
    fn descriptor<M>(&mut self, mem: &'m M, index: u16) -> Result<Descriptor, QueueError>
    where
        M: Memory<Span<'m> = S>,
    {
        let mut bytes = [0; DESCRIPTOR_LEN];
        let offset = descriptor_offset(index);
        let mut done = 0_usize;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.wrapping_add(done);
            let span = self.span_at(mem, at)?;
            // A table of a hostile driver need not be aligned, so not even the span that
            // has the start of a descriptor need have all of it.
            let skip = at.wrapping_sub(self.start);
            let len = span.len().wrapping_sub(skip).min(rest.len());
            if let Some(now) = rest.get_mut(..len) {
                span.read(skip, now)
                    .map_err(|error| self.failed(error, at, len))?;
            }
            done = done.wrapping_add(len);
        }
        Ok(Descriptor::from_bytes(bytes))
    }

    /// A span that has the byte at `at`, and as many of those behind it as there are.
    #[inline]
    fn span_at<M>(&mut self, mem: &'m M, at: usize) -> Result<S, QueueError>
    where
        M: Memory<Span<'m> = S>,
    {
        if let Some(span) = self.span {
            if at
                .checked_sub(self.start)
                .is_some_and(|skip| skip < span.len())
            {
                return Ok(span);
            }
        }
        let rest = descriptor_offset(self.entries).saturating_sub(at);
        let span = mem
            .span(self.address(at), u32_at_most(rest), Access::Read)
            .map_err(|error| self.failed(error, at, rest))?;
        self.span = Some(span);
        self.start = at;
        Ok(span)
    }

    /// Where the byte at `at` lies.
    #[inline(always)]
    fn address(&self, at: usize) -> u64 {
        self.iova.wrapping_add(u64_from_usize(at))
    }

    /// The error when `len` bytes at `at` could not be read.
    #[cold]
    fn failed(&self, error: AccessError, at: usize, len: usize) -> QueueError {
        QueueError::access(
            error,
            Place {
                part: Part::Table(self.descriptor),
                iova: self.address(at),
                len: u32_at_most(len),
                access: Access::Read,
            },
        )
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
        let descriptor = self.ring_descriptor(index)?;
        if descriptor.has(flags::INDIRECT) {
            // The descriptor has no buffer, so it takes nothing of the budget.
            self.enter(index, descriptor)?;
            return self.next_in_table(0);
        }
        self.buffer(descriptor, Position::Ring(index), self.layout.size)
            .map(Some)
    }
}
