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
        Position,
        QueueError,
        TransferError, //
    },
    memory::{
        CopyError,
        CopyTo,
        Memory,
        Span, //
    },
    num::{
        u32_at_most,
        u64_from_usize,
        usize_at_most, //
    },
};

mod cursor;
use cursor::{
    Cursor,
    Kind,
    Rest, //
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

    /// The next buffer, or none at the end of the chain, which comes after as many buffers
    /// as the queue has descriptors, or an indirect table may have, at the latest.
    ///
    /// What comes after an error is of no use, and keeps to the rules of [`Memory`].
    fn next(&mut self) -> Result<Option<Buffer>, QueueError>;
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
        D: Walk<'d>,
        W::Memory: CopyTo<D::Memory>,
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
            <W::Memory as CopyTo<D::Memory>>::copy(
                (&source.span, source.at),
                (&target.span, target.at),
                len,
            )
            .map_err(|error| match error {
                CopyError::Source(error) => {
                    TransferError::Source(self.0.failed(error, u32_at_most(len)))
                }
                CopyError::Destination(error) => {
                    TransferError::Destination(destination.cursor.failed(error, u32_at_most(len)))
                }
            })?;
            self.0.leave(len);
            destination.leave(len);
            missing = missing.saturating_sub(u64_from_usize(len));
        }
        Ok(limit.saturating_sub(missing))
    }

    /// Copies the next bytes to a span, behind its byte `at`, until `limit` bytes are copied or
    /// there are no more. Returns how many; none if the span could not be written.
    ///
    /// `limit` is at most what lies in the span behind `at`.
    #[inline]
    pub fn copy_to_span<D: Memory>(
        &mut self,
        (span, at): (&D::Span<'_>, usize),
        limit: usize,
    ) -> Result<Option<usize>, QueueError>
    where
        W::Memory: CopyTo<D>,
    {
        let mut done = 0_usize;
        while done < limit {
            let Some(source) = self.0.piece(limit.wrapping_sub(done))? else {
                break;
            };
            let (target, len) = (at.wrapping_add(done), source.len);
            match <W::Memory as CopyTo<D>>::copy((&source.span, source.at), (span, target), len) {
                Ok(()) => self.0.leave(len),
                Err(CopyError::Source(error)) => {
                    return Err(self.0.failed(error, u32_at_most(len)))
                }
                Err(CopyError::Destination(_)) => return Ok(None),
            }
            done = done.wrapping_add(len);
        }
        Ok(Some(done))
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
