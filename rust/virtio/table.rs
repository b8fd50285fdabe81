// SPDX-License-Identifier: GPL-2.0

//! Indirect tables, which both formats have (2.7.5.3, 2.8.7).

use super::{
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
/// The table does not go beyond the address space, and has at least one descriptor.
pub(super) struct Table<S> {
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

impl<S: Span> Table<S> {
    /// Takes up the table of `len` bytes at `iova` that the descriptor `descriptor` of the
    /// ring refers to. `features` are those that were negotiated.
    pub(super) fn new(
        descriptor: u16,
        iova: u64,
        len: u32,
        features: Features,
    ) -> Result<Self, Fault> {
        if !features.contains(Features::INDIRECT_DESC) {
            return Err(Fault::IndirectNotNegotiated { descriptor });
        }
        let bad_length = Fault::IndirectLength { descriptor, len };
        if len == 0 || usize_from_u32(len) % DESCRIPTOR_LEN != 0 {
            return Err(bad_length);
        }
        let Ok(entries) = u16::try_from(usize_from_u32(len) / DESCRIPTOR_LEN) else {
            return Err(bad_length);
        };
        if iova.checked_add(u64::from(len).wrapping_sub(1)).is_none() {
            return Err(Fault::AddressOverflow {
                position: Position::Ring(descriptor),
                iova,
                len,
            });
        }
        // INVARIANT: The table's end and length have just been checked.
        Ok(Self {
            descriptor,
            iova,
            entries,
            span: None,
            start: 0,
        })
    }

    /// How many descriptors the table has.
    pub(super) fn entries(&self) -> u16 {
        self.entries
    }

    /// Where the descriptor `entry` of the table lies.
    pub(super) fn position(&self, entry: u16) -> Position {
        Position::Table {
            descriptor: self.descriptor,
            entry,
        }
    }

    /// Reads the descriptor `index`, which is less than the number of entries. It may lie
    /// in several mappings.
    pub(super) fn load<'m, M>(
        &mut self,
        mem: &'m M,
        index: u16,
    ) -> Result<[u8; DESCRIPTOR_LEN], QueueError>
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
        Ok(bytes)
    }

    /// A span that has the byte at `at`, and as many of those behind it as there are.
    #[inline]
    fn span_at<'m, M>(&mut self, mem: &'m M, at: usize) -> Result<S, QueueError>
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
