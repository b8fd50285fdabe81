// SPDX-License-Identifier: GPL-2.0

//! A place in a chain, and how one gets on from there.

use super::{
    super::{
        fault::{
            Fault,
            Part,
            Place,
            Position,
            QueueError, //
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
            usize_at_most,
            usize_from_u32, //
        },
    },
    Buffer,
    Walk, //
};

/// The translation of a piece of a chain's memory.
pub(super) type SpanOf<'m, W> = <<W as Walk<'m>>::Memory as Memory>::Span<'m>;

/// Which buffers a chain may have, and which of them are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Readable ones only.
    Transmit,
    /// Writable ones only.
    Receive,
    /// The readable ones at the start of a request.
    RequestReadable,
    /// The writable ones at the end of a request.
    RequestWritable,
}

impl Kind {
    /// Whether the buffers that are used are writable.
    #[inline(always)]
    const fn is_writable(self) -> bool {
        match self {
            Self::Transmit | Self::RequestReadable => false,
            Self::Receive | Self::RequestWritable => true,
        }
    }
}

/// What is left of a chain behind the current buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// The walk goes on.
    More,
    /// The readable part of a request is at its end. Its first writable buffer has been
    /// read from memory, and is this long.
    Writable(u32),
    /// Nothing.
    Nothing,
}

/// Bytes of a chain that lie side by side.
pub(super) struct Piece<S> {
    /// Where they lie.
    pub(super) span: S,
    /// Where they start in the span.
    pub(super) at: usize,
    /// How many there are, at least one.
    pub(super) len: usize,
}

/// A place in a chain.
///
/// # Invariants
///
/// The `left` bytes at `iova`, if there are any, do not go beyond the address space.
#[derive(Clone)]
pub(super) struct Cursor<'m, W: Walk<'m>> {
    walk: W,
    pub(super) kind: Kind,
    pub(super) rest: Rest,
    /// The descriptor of the current buffer.
    position: Position,
    /// Where the rest of the current buffer starts.
    iova: u64,
    /// How many bytes the current buffer has left.
    pub(super) left: u32,
    /// Sum of the lengths of all buffers so far.
    total: u32,
    /// The last translation within the current buffer.
    span: Option<SpanOf<'m, W>>,
    /// Where `iova` lies in `span`; at the end of it, there has to be a new one.
    at: usize,
}

impl<'m, W: Walk<'m>> Cursor<'m, W> {
    /// A cursor at the start of the chain. The first buffer is read from memory at once,
    /// so that a clone of the cursor has it too.
    #[inline(always)]
    pub(super) fn new(walk: W, kind: Kind) -> Result<Self, QueueError> {
        let mut cursor = Self {
            walk,
            kind,
            rest: Rest::More,
            position: Position::Ring(0),
            iova: 0,
            left: 0,
            total: 0,
            span: None,
            at: 0,
        };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Goes to the next buffer that has bytes. Returns whether there is one. The current
    /// buffer has none left, and the walk goes on.
    fn advance(&mut self) -> Result<bool, QueueError> {
        if self.step()? {
            return Ok(self.left > 0 || self.advance_over_empty()?);
        }
        Ok(false)
    }

    /// Goes on from a buffer without bytes to the next one that has some, which is rare.
    /// Returns whether there is one.
    #[cold]
    fn advance_over_empty(&mut self) -> Result<bool, QueueError> {
        while self.left == 0 {
            if !self.step()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Goes to the next buffer, which may have no bytes. Returns whether there is one.
    #[inline(always)]
    fn step(&mut self) -> Result<bool, QueueError> {
        self.span = None;
        let Some(buffer) = self.walk.next()? else {
            self.rest = Rest::Nothing;
            return Ok(false);
        };
        let Buffer {
            position,
            iova,
            len,
            writable,
        } = buffer;
        if writable != self.kind.is_writable() {
            self.turn(buffer)?;
        }
        if iova.checked_add(u64::from(len.saturating_sub(1))).is_none() {
            return Err(Fault::AddressOverflow {
                position,
                iova,
                len,
            }
            .into());
        }
        let Some(total) = self.total.checked_add(len) else {
            return Err(Fault::TooManyBytes { position }.into());
        };
        self.total = total;
        self.position = position;
        self.iova = iova;
        if self.rest == Rest::More {
            self.left = len;
            return Ok(true);
        }
        Ok(false)
    }

    /// Decides what it means that `buffer` is for the other direction.
    #[cold]
    fn turn(&mut self, buffer: Buffer) -> Result<(), QueueError> {
        let Buffer { position, len, .. } = buffer;
        let fault = match self.kind {
            Kind::Transmit => Fault::NotReadable { position },
            Kind::Receive => Fault::NotWritable { position },
            Kind::RequestWritable => Fault::ReadableAfterWritable { position },
            Kind::RequestReadable => {
                self.rest = Rest::Writable(len);
                return Ok(());
            }
        };
        Err(fault.into())
    }

    /// Whether there are bytes, going to the next buffer if need be.
    #[inline(always)]
    pub(super) fn has_bytes(&mut self) -> Result<bool, QueueError> {
        if self.left > 0 {
            return Ok(true);
        }
        if self.rest != Rest::More {
            return Ok(false);
        }
        self.advance()
    }

    /// The next bytes that lie side by side: `limit` of them or less, or none at the end.
    /// `limit` is not zero.
    #[inline(always)]
    pub(super) fn piece(
        &mut self,
        limit: usize,
    ) -> Result<Option<Piece<SpanOf<'m, W>>>, QueueError> {
        let span = match self.span {
            Some(span) if self.left > 0 && self.at < span.len() => span,
            _ => match self.next_span()? {
                Some(span) => span,
                None => return Ok(None),
            },
        };
        let available = span.len().wrapping_sub(self.at);
        Ok(Some(Piece {
            span,
            at: self.at,
            len: available.min(usize_from_u32(self.left)).min(limit),
        }))
    }

    /// Translates the next bytes, of which there is no translation. None at the end.
    #[inline(never)]
    fn next_span(&mut self) -> Result<Option<SpanOf<'m, W>>, QueueError> {
        if !self.has_bytes()? {
            return Ok(None);
        }
        let span = self
            .walk
            .memory()
            .span(self.iova, self.left, self.access())
            .map_err(|error| self.failed(error, self.left))?;
        self.span = Some(span);
        self.at = 0;
        Ok(Some(span))
    }

    /// Leaves the next `len` bytes behind, all of which are in the current buffer.
    #[inline(always)]
    pub(super) fn leave(&mut self, len: usize) {
        self.at = self.at.wrapping_add(len);
        self.iova = self.iova.wrapping_add(u64_from_usize(len));
        self.left = self.left.saturating_sub(u32_at_most(len));
    }

    /// Leaves the next `len` bytes behind, or less at the end. Returns how many.
    pub(super) fn skip(&mut self, len: u64) -> Result<u64, QueueError> {
        let mut missing = len;
        while missing > 0 && self.has_bytes()? {
            let now = u64::from(self.left).min(missing);
            self.leave(usize_at_most(now));
            missing = missing.saturating_sub(now);
        }
        Ok(len.saturating_sub(missing))
    }

    /// What the device does with the buffers.
    #[inline(always)]
    fn access(&self) -> Access {
        if self.kind.is_writable() {
            Access::Write
        } else {
            Access::Read
        }
    }

    /// The error when the next `len` bytes could not be used.
    #[cold]
    pub(super) fn failed(&self, error: AccessError, len: u32) -> QueueError {
        QueueError::access(
            error,
            Place {
                part: Part::Buffer(self.position),
                iova: self.iova,
                len,
                access: self.access(),
            },
        )
    }
}
