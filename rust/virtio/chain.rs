// SPDX-License-Identifier: GPL-2.0

//! Reading and writing the buffers of one chain, wherever their bytes lie.
//!
//! A chain is a list of buffers (2.7.4). Each may lie in several mappings, and one has to
//! assume nothing of where a header ends or a payload starts (2.7.4.2): a [`Reader`] and a
//! [`Writer`] make one run of bytes of it. They work as they go, with no list of the
//! buffers anywhere. What they hold is in their hands: the rest of the current buffer, and
//! its translation.
//!
//! How descriptors follow each other is the business of the ring format, behind [`Walk`].
//! The rules that hold for every format are checked here: which direction a buffer may
//! have, the sum of lengths, the end of the address space.

use super::{
    fault::{
        Fault,
        Part,
        Place,
        Position,
        QueueError,
        TransferError, //
    },
    memory::{
        Access,
        AccessError,
        CopyError,
        Memory,
        Span, //
    },
    num::{
        u32_at_most,
        u64_from_usize,
        usize_at_most,
        usize_from_u32, //
    },
};

/// One buffer of a chain, as its descriptor has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Where the descriptor lies.
    pub position: Position,
    /// Where the buffer starts.
    pub iova: u64,
    /// Its length in bytes, which may be zero.
    pub len: u32,
    /// Whether the device may write to it; if not, it may read.
    pub writable: bool,
}

/// The descriptors of one chain, in order.
///
/// A clone goes on from the same place by itself, and reads again from shared memory what
/// lies ahead.
pub trait Walk<'m>: Clone {
    /// The memory that the chain lies in.
    type Memory: Memory + 'm;

    /// The memory that the chain lies in.
    fn memory(&self) -> &'m Self::Memory;

    /// The next buffer, or none at the end of the chain. It ends after as many buffers as
    /// the queue has descriptors, or with an error, and is not called again then.
    fn next(&mut self) -> Result<Option<Buffer>, QueueError>;
}

/// The translation of a piece of a chain's memory.
type SpanOf<'m, W> = <<W as Walk<'m>>::Memory as Memory>::Span<'m>;

/// Which buffers a chain may have, and which of them are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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
enum Rest {
    /// The walk goes on.
    More,
    /// The readable part of a request is at its end. Its first writable buffer has been
    /// read from memory, and is this long.
    Writable(u32),
    /// Nothing.
    Nothing,
}

/// Bytes of a chain that lie side by side.
struct Piece<S> {
    /// Where they lie.
    span: S,
    /// Where they start in the span.
    at: usize,
    /// How many there are, at least one.
    len: usize,
}

/// A place in a chain.
///
/// # Invariants
///
/// The `left` bytes at `iova`, if there are any, do not go beyond the address space.
#[derive(Clone)]
struct Cursor<'m, W: Walk<'m>> {
    walk: W,
    kind: Kind,
    rest: Rest,
    /// The descriptor of the current buffer.
    position: Position,
    /// Where the rest of the current buffer starts.
    iova: u64,
    /// How many bytes the current buffer has left.
    left: u32,
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
    fn new(walk: W, kind: Kind) -> Result<Self, QueueError> {
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
    fn has_bytes(&mut self) -> Result<bool, QueueError> {
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
    #[inline]
    fn piece(&mut self, limit: usize) -> Result<Option<Piece<SpanOf<'m, W>>>, QueueError> {
        if !self.has_bytes()? {
            return Ok(None);
        }
        let (span, available) = match self.span {
            Some(span) if self.at < span.len() => (span, span.len().wrapping_sub(self.at)),
            _ => {
                let span = self
                    .walk
                    .memory()
                    .span(self.iova, self.left, self.access())
                    .map_err(|error| self.failed(error, self.left))?;
                self.span = Some(span);
                self.at = 0;
                (span, span.len())
            }
        };
        Ok(Some(Piece {
            span,
            at: self.at,
            len: available.min(usize_from_u32(self.left)).min(limit),
        }))
    }

    /// Leaves the next `len` bytes behind, all of which are in the current buffer.
    #[inline(always)]
    fn leave(&mut self, len: usize) {
        self.at = self.at.wrapping_add(len);
        self.iova = self.iova.wrapping_add(u64_from_usize(len));
        self.left = self.left.saturating_sub(u32_at_most(len));
    }

    /// Leaves the next `len` bytes behind, or less at the end. Returns how many.
    fn skip(&mut self, len: u64) -> Result<u64, QueueError> {
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
    fn failed(&self, error: AccessError, len: u32) -> QueueError {
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

/// Reads the device-readable buffers of a chain, as one run of bytes.
///
/// Each field of a descriptor is read once from shared memory, when the reader comes to it.
/// A clone goes on from the same place by itself, with the current buffer as the reader has
/// it; the buffers after that it reads for itself, and the driver may have changed them.
///
/// After an error, a reader is of no more use.
#[derive(Clone)]
pub struct Reader<'m, W: Walk<'m>>(Cursor<'m, W>);

impl<'m, W: Walk<'m>> Reader<'m, W> {
    /// Reads a chain that may only have readable buffers.
    #[inline(always)]
    pub fn new(walk: W) -> Result<Self, QueueError> {
        Ok(Self(Cursor::new(walk, Kind::Transmit)?))
    }

    /// Reads the part of a request before its writable buffers.
    #[inline]
    pub fn of_request(walk: W) -> Result<Self, QueueError> {
        Ok(Self(Cursor::new(walk, Kind::RequestReadable)?))
    }

    /// Reads until `out` is full or there are no more bytes. Returns how many were read.
    #[inline]
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, QueueError> {
        let mut done = 0_usize;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some(piece) = self.0.piece(rest.len())? else {
                break;
            };
            if let Some(now) = rest.get_mut(..piece.len) {
                piece
                    .span
                    .read(piece.at, now)
                    .map_err(|error| self.0.failed(error, u32_at_most(piece.len)))?;
            }
            self.0.leave(piece.len);
            done = done.wrapping_add(piece.len);
        }
        Ok(done)
    }

    /// Leaves out the next `len` bytes, or those that there are. Returns how many.
    pub fn skip(&mut self, len: u64) -> Result<u64, QueueError> {
        self.0.skip(len)
    }

    /// Whether all bytes were read. The chain is then known to end as it should.
    #[inline]
    pub fn is_done(&mut self) -> Result<bool, QueueError> {
        Ok(!self.0.has_bytes()?)
    }

    /// Copies the next bytes to `destination`, each of them once, until `limit` bytes are
    /// copied, there are no more, or `destination` is full. Returns how many.
    ///
    /// When less than `limit` were copied, [`is_done`](Reader::is_done) tells why.
    #[inline]
    pub fn copy_to<'d, D>(
        &mut self,
        destination: &mut Writer<'d, D>,
        limit: u64,
    ) -> Result<u64, TransferError>
    where
        D: Walk<'d, Memory = W::Memory>,
        W::Memory: 'd,
    {
        let mut missing = limit;
        while missing > 0 {
            let Some(source) = self
                .0
                .piece(usize_at_most(missing))
                .map_err(TransferError::Source)?
            else {
                break;
            };
            let Some(target) = destination
                .cursor
                .piece(source.len)
                .map_err(TransferError::Destination)?
            else {
                break;
            };
            let len = target.len;
            W::Memory::copy((&source.span, source.at), (&target.span, target.at), len).map_err(
                |error| match error {
                    CopyError::Source(error) => {
                        TransferError::Source(self.0.failed(error, u32_at_most(len)))
                    }
                    CopyError::Destination(error) => TransferError::Destination(
                        destination.cursor.failed(error, u32_at_most(len)),
                    ),
                },
            )?;
            self.0.leave(len);
            destination.leave(len);
            missing = missing.saturating_sub(u64_from_usize(len));
        }
        Ok(limit.saturating_sub(missing))
    }

    /// Goes on to the writable part of a request, and leaves out what is left of the
    /// readable one.
    ///
    /// A chain that has no writable part, as any that was opened as readable only, gives
    /// a writer without room.
    pub fn into_writer(mut self) -> Result<Writer<'m, W>, QueueError> {
        while self.0.has_bytes()? {
            self.0.left = 0;
        }
        let mut cursor = self.0;
        if let Rest::Writable(len) = cursor.rest {
            cursor.kind = Kind::RequestWritable;
            cursor.rest = Rest::More;
            cursor.left = len;
            // Settles on a buffer that has bytes, so that a clone shares it.
            cursor.has_bytes()?;
        }
        Ok(Writer { cursor, written: 0 })
    }
}

/// Writes the device-writable buffers of a chain, as one run of bytes.
///
/// Each field of a descriptor is read once from shared memory, when the writer comes to it.
/// A clone goes on from the same place by itself, with the current buffer as the writer has
/// it. So a header at the start of a chain can be written last: clone the writer,
/// [`skip`](Writer::skip) the header, write what follows, then the header to the clone.
///
/// After an error, a writer is of no more use.
#[derive(Clone)]
pub struct Writer<'m, W: Walk<'m>> {
    cursor: Cursor<'m, W>,
    written: u32,
}

impl<'m, W: Walk<'m>> Writer<'m, W> {
    /// Writes a chain that may only have writable buffers.
    #[inline(always)]
    pub fn new(walk: W) -> Result<Self, QueueError> {
        Ok(Self {
            cursor: Cursor::new(walk, Kind::Receive)?,
            written: 0,
        })
    }

    /// Leaves `len` bytes behind, as written.
    #[inline(always)]
    fn leave(&mut self, len: usize) {
        self.cursor.leave(len);
        // The sum of the lengths of all buffers is a `u32`.
        self.written = self.written.saturating_add(u32_at_most(len));
    }

    /// Writes `data` until its end or until there is no more room. Returns how many bytes
    /// were written.
    #[inline]
    pub fn write(&mut self, data: &[u8]) -> Result<usize, QueueError> {
        let mut done = 0_usize;
        while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
            let Some(piece) = self.cursor.piece(rest.len())? else {
                break;
            };
            if let Some(now) = rest.get(..piece.len) {
                piece
                    .span
                    .write(piece.at, now)
                    .map_err(|error| self.cursor.failed(error, u32_at_most(piece.len)))?;
            }
            self.leave(piece.len);
            done = done.wrapping_add(piece.len);
        }
        Ok(done)
    }

    /// Leaves the next `len` bytes, or those that there are, to be written through a clone
    /// of the writer. Returns how many; they count as written.
    pub fn skip(&mut self, len: u64) -> Result<u64, QueueError> {
        let skipped = self.cursor.skip(len)?;
        self.written = self
            .written
            .saturating_add(u32::try_from(skipped).unwrap_or(u32::MAX));
        Ok(skipped)
    }

    /// Whether there is no more room.
    #[inline]
    pub fn is_full(&mut self) -> Result<bool, QueueError> {
        Ok(!self.cursor.has_bytes()?)
    }

    /// How many bytes were written, or left to a clone, through this writer and those that
    /// it was cloned from until then.
    #[inline(always)]
    pub fn written(&self) -> u32 {
        self.written
    }
}
