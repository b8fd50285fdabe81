// SPDX-License-Identifier: GPL-2.0

//! Writing one frame to a receive queue, which may take several of its buffers.

use super::{format::Format, memory::DeviceMemory};
use crate::{
    vdpa::iommu::Area,
    virtio::{
        chain::{
            Reader,
            Walk,
            Writer, //
        },
        fault::{
            QueueError,
            TransferError, //
        },
        memory::CopyTo,
        net::NetHeader,
        queue::Queue, //
    },
};

/// Why a frame does not reach a receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// There are no buffers.
    NoBuffer,
    /// The buffer is too small, or there are not enough of them.
    TooLarge,
}

/// Room for the start of a frame that takes several buffers; empty at first. It is kept
/// apart because few frames need it, and it would have to be moved with all of them.
pub(super) type First<'m, 'a, Q> = Option<Writer<'m, <Q as Queue>::Walk<'m, DeviceMemory<'a>>>>;

/// A frame on its way into the buffers of a receive queue.
///
/// Nothing is to be seen of it before the queue is published. If it is dropped without
/// [`close`](Self::close), the buffers are free for the next one after
/// [`abandon`](Self::abandon).
pub(super) struct Packet<'m, 'a, 'f, Q>
where
    Q: Queue<Area = Area>,
{
    ring: &'m Q,
    mem: &'m DeviceMemory<'a>,
    mergeable: bool,
    mark: Q::Mark,
    /// None once it was handed back, and there was no other.
    head: Option<Q::Head>,
    writer: Writer<'m, Q::Walk<'m, DeviceMemory<'a>>>,
    /// The start of the first buffer, once there are several.
    first: &'f mut First<'m, 'a, Q>,
    buffers: u16,
    /// What was written to the buffers before the last one, in bytes.
    bytes: u64,
}

impl<'m, 'a: 'm, 'f, Q: Queue<Area = Area>> Packet<'m, 'a, 'f, Q> {
    /// Takes the next receive buffer.
    #[inline(always)]
    pub(super) fn open(
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        format: &Format,
        first: &'f mut First<'m, 'a, Q>,
    ) -> Result<Option<Self>, QueueError> {
        let mark = ring.mark();
        let Some(head) = ring.peek(mem)? else {
            return Ok(None);
        };
        let writer = ring.writer(mem, &head)?;
        Ok(Some(Self {
            ring,
            mem,
            mergeable: format.mergeable,
            mark,
            head: Some(head),
            writer,
            first,
            buffers: 1,
            bytes: 0,
        }))
    }

    /// Writes bytes. Returns whether there was room for them.
    #[inline]
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<bool, QueueError> {
        let mut done = 0;
        loop {
            let rest = bytes.get(done..).unwrap_or(&[]);
            done += self.writer.write(rest)?;
            if done == bytes.len() {
                return Ok(true);
            }
            if !self.next_buffer()? {
                return Ok(false);
            }
        }
    }

    /// Copies `len` bytes, or all there are. Returns whether there was room for them.
    #[inline]
    pub(super) fn copy<'s, W>(
        &mut self,
        reader: &mut Reader<'s, W>,
        len: u64,
    ) -> Result<bool, TransferError>
    where
        W: Walk<'s>,
        W::Memory: CopyTo<DeviceMemory<'a>>,
    {
        let mut left = len;
        loop {
            left -= reader.copy_to(&mut self.writer, left)?;
            if left == 0 || reader.is_done().map_err(TransferError::Source)? {
                return Ok(true);
            }
            if !self.next_buffer().map_err(TransferError::Destination)? {
                return Ok(false);
            }
        }
    }

    /// Goes on to another buffer. Returns whether there is one.
    #[cold]
    fn next_buffer(&mut self) -> Result<bool, QueueError> {
        if !self.mergeable || self.buffers == u16::MAX {
            return Ok(false);
        }
        let Some(head) = self.head.take() else {
            return Ok(false);
        };
        if self.first.is_none() {
            *self.first = Some(self.ring.writer(self.mem, &head)?);
        }
        let written = self.writer.written();
        self.bytes += u64::from(written);
        self.ring.complete(self.mem, head, written)?;
        let Some(head) = self.ring.peek(self.mem)? else {
            return Ok(false);
        };
        self.writer = self.ring.writer(self.mem, &head)?;
        self.head = Some(head);
        self.buffers += 1;
        Ok(true)
    }

    /// Ends the frame. Returns how many buffers it took, and its bytes.
    #[inline(always)]
    pub(super) fn close(mut self) -> Result<(u16, u64), QueueError> {
        if let Some(mut first) = self.first.take() {
            first.skip(NetHeader::NUM_BUFFERS_OFFSET as u64)?;
            first.write(&self.buffers.to_le_bytes())?;
        }
        if let Some(head) = self.head {
            let written = self.writer.written();
            self.bytes += u64::from(written);
            self.ring.complete(self.mem, head, written)?;
        }
        Ok((self.buffers, self.bytes))
    }

    /// Gives the buffers back to the queue, for another frame.
    pub(super) fn abandon(self) -> Full {
        self.ring.rewind(self.mark);
        if self.mergeable {
            Full::NoBuffer
        } else {
            Full::TooLarge
        }
    }
}
