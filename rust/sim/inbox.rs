// SPDX-License-Identifier: GPL-2.0

//! Frames that wait for the worker of their receive queue.
//!
//! Where a client's memory is reached by its virtual addresses, only a worker in the
//! client's mm reaches it. Frames from another device are put here then, and copied once
//! more.

use super::{
    deliver::{
        Source,
        Work, //
    },
    packet::Full,
    stored::{
        Stored,
        StoredWalk, //
    },
};
use crate::{
    net::{
        flow::Hash,
        frame::Headers, //
    },
    virtio::{
        chain::{
            Reader,
            Walk, //
        },
        fault::QueueError,
    },
};
use kernel::prelude::*;

/// How many frames can wait.
const FRAMES: usize = 256;

/// How many bytes they can have.
const BYTES: usize = 512 << 10;

/// A frame that waits.
struct Frame {
    /// Where its bytes are, and how many of them were looked at.
    start: usize,
    leading: usize,
    len: usize,
    headers: Headers,
    work: Option<Work>,
    hash: Option<Hash>,
}

/// Frames that wait, the first of them first.
///
/// # Invariants
///
/// The bytes of the frames follow each other, from `front` to `end`, and at most once go on
/// at the start of `bytes`.
pub(super) struct Inbox {
    bytes: KVVec<u8>,
    frames: KVec<Option<Frame>>,
    /// Which of `frames` is the first one.
    first: usize,
    count: usize,
    /// Where the bytes of the first and the next frame are.
    front: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn new() -> Result<Self> {
        let mut frames = KVec::with_capacity(FRAMES, GFP_KERNEL)?;
        for _ in 0..FRAMES {
            frames.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            bytes: KVVec::from_elem(0, BYTES, GFP_KERNEL)?,
            frames,
            first: 0,
            count: 0,
            front: 0,
            end: 0,
        })
    }

    /// Where there is room for `len` bytes.
    fn room(&self, len: usize) -> Option<usize> {
        if self.count == 0 {
            (len <= BYTES).then_some(0)
        } else if self.end > self.front {
            if BYTES.saturating_sub(self.end) >= len {
                Some(self.end)
            } else {
                (self.front > len).then_some(0)
            }
        } else {
            (self.front.saturating_sub(self.end) > len).then_some(self.end)
        }
    }

    /// Puts a frame in. Returns its length, or why it does not fit.
    pub(super) fn put<'s, W: Walk<'s>>(
        &mut self,
        source: Source<'_, '_, Reader<'s, W>>,
    ) -> Result<Result<u64, Full>, QueueError> {
        let rest = source.rest.clone().skip(u64::MAX)?;
        let len = source.leading.len() as u64 + rest;
        if len > BYTES as u64 {
            return Ok(Err(Full::TooLarge));
        }
        let len = len as usize;
        let (Some(start), true) = (self.room(len), self.count < FRAMES) else {
            return Ok(Err(Full::NoBuffer));
        };
        let room = self.bytes.get_mut(start..start + len).unwrap_or(&mut []);
        let leading = source.leading.len();
        let Some((near, far)) = room.split_at_mut_checked(leading) else {
            return Ok(Err(Full::TooLarge));
        };
        near.copy_from_slice(source.leading);
        // The driver may have made it shorter meanwhile.
        let len = leading + source.rest.read(far)?;
        let headers = match source.headers {
            Some(headers) => *headers,
            None => return Ok(Err(Full::TooLarge)),
        };
        let last = (self.first + self.count) % FRAMES;
        if let Some(place) = self.frames.get_mut(last) {
            *place = Some(Frame {
                start,
                leading,
                len,
                headers,
                work: source.work.copied(),
                hash: source.hash,
            });
        }
        // INVARIANT: There was room behind the last frame, or at the start.
        if self.count == 0 {
            self.front = start;
        }
        self.end = start + len;
        self.count += 1;
        Ok(Ok(len as u64))
    }

    /// Does something with the first frame, if there is one.
    pub(super) fn with_first<R>(
        &mut self,
        f: impl for<'m, 'b> FnOnce(Source<'_, '_, Reader<'m, StoredWalk<'m, 'b>>>) -> R,
    ) -> Option<R> {
        let frame = self.frames.get(self.first)?.as_ref()?;
        let bytes = self.bytes.get(frame.start..)?.get(..frame.len)?;
        let (leading, rest) = bytes.split_at_checked(frame.leading)?;
        let memory = Stored(rest);
        let mut rest = Reader::new(StoredWalk::new(&memory)).ok()?;
        Some(f(Source {
            leading,
            rest: &mut rest,
            headers: Some(&frame.headers),
            work: frame.work.as_ref(),
            hash: frame.hash,
        }))
    }

    /// Takes the first frame out.
    pub(super) fn drop_first(&mut self) {
        let taken = self.frames.get_mut(self.first).and_then(Option::take);
        if taken.is_none() {
            return;
        }
        self.first = (self.first + 1) % FRAMES;
        self.count = self.count.saturating_sub(1);
        match self.frames.get(self.first) {
            Some(Some(frame)) => self.front = frame.start,
            _ => self.end = 0,
        }
    }

    /// Takes the last frame out.
    pub(super) fn drop_last(&mut self) {
        let Some(count) = self.count.checked_sub(1) else {
            return;
        };
        let last = (self.first + count) % FRAMES;
        if let Some(frame) = self.frames.get_mut(last).and_then(Option::take) {
            // INVARIANT: The frames before end there, or further in front.
            self.end = frame.start;
            self.count = count;
        }
    }

    /// Whether no frame waits.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Throws all frames away. Returns how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        let count = self.count as u64;
        while !self.is_empty() {
            self.drop_first();
        }
        count
    }
}
