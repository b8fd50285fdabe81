// SPDX-License-Identifier: GPL-2.0

//! Moving a frame from one short chain to another, if it is like those before.

use super::{
    super::memory::{
        DeviceMemory,
        DeviceSpan,
        NearMemory, //
    },
    alike::{
        words,
        Alike,
        ETHERNET,
        LEAD, //
    },
};
use crate::virtio::{
    memory::{
        Access,
        CopyTo,
        Span, //
    },
    net::NetHeader,
    short::{
        Extent,
        ShortChain, //
    },
};
use core::num::NonZeroU32;

/// How much is copied at a time where it has to go by way of the module, in bytes.
pub(super) const BOUNCE: usize = 2048;

/// Length of what headers are written and looked at by, in bytes.
const WORD: usize = size_of::<u64>();

/// The virtio header that receivers see, by its first bytes and its last ones, some of which are
/// in both.
const HEADER: [u64; 2] = {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = NetHeader::PLAIN.to_bytes();
    [
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes([e, f, g, h, i, j, k, l]),
    ]
};

/// What moves frames.
pub(super) struct Mover<'m> {
    from: NearMemory<'m>,
    to: NearMemory<'m>,
    alike: &'m Alike,
    bounce: &'m mut [u8],
}

/// The bytes of a short chain, as far as they are of use.
struct Bytes<'m> {
    first: DeviceSpan<'m>,
    second: Option<DeviceSpan<'m>>,
}

impl<'m> Bytes<'m> {
    /// The first `len` bytes of a chain.
    #[inline]
    fn new(memory: &mut NearMemory<'m>, chain: &ShortChain, len: usize) -> Option<Self> {
        let first = chain.first();
        let of_first = len.min(first.len as usize);
        let of_second = len - of_first;
        Some(Self {
            first: memory.whole(first.iova, of_first)?,
            second: if of_second > 0 {
                Some(memory.whole(chain.second()?.iova, of_second)?)
            } else {
                None
            },
        })
    }

    /// The span that has the byte `at`, where in it that is, and how many there are from there
    /// on.
    #[inline(always)]
    fn at(&self, at: usize) -> Option<(&DeviceSpan<'m>, usize, usize)> {
        let first = self.first.len();
        let (span, offset) = if at < first {
            (&self.first, at)
        } else {
            (self.second.as_ref()?, at - first)
        };
        Some((span, offset, span.len().checked_sub(offset)?))
    }

    fn read(&self, out: &mut [u8]) -> Option<()> {
        let mut done = 0;
        while done < out.len() {
            let (span, offset, room) = self.at(done)?;
            let now = room.min(out.len() - done);
            span.read(offset, out.get_mut(done..done + now)?).ok()?;
            done += now;
        }
        Some(())
    }

    fn write(&self, data: &[u8]) -> Option<()> {
        let mut done = 0;
        while done < data.len() {
            let (span, offset, room) = self.at(done)?;
            let now = room.min(data.len() - done);
            span.write(offset, data.get(done..done + now)?).ok()?;
            done += now;
        }
        Some(())
    }

    /// Copies from the byte `at` on to the same place of `other`, `len` bytes in all.
    fn copy(&self, other: &Bytes<'_>, mut at: usize, len: usize) -> Option<()> {
        while at < len {
            let (source, from, available) = self.at(at)?;
            let (target, to, room) = other.at(at)?;
            let now = available.min(room).min(len - at);
            DeviceMemory::copy((source, from), (target, to), now).ok()?;
            at += now;
        }
        Some(())
    }
}

impl<'m> Mover<'m> {
    /// Moves frames that are `alike` from one memory to another.
    #[inline]
    pub(super) fn new(
        from: &'m DeviceMemory<'_>,
        to: &'m DeviceMemory<'_>,
        alike: &'m Alike,
        bounce: &'m mut [u8],
    ) -> Self {
        Self {
            from: from.near(Access::Read),
            to: to.near(Access::Write),
            alike,
            bounce,
        }
    }

    /// Moves the frame in `source` to `target`, if it is like the others and nothing is in the
    /// way. Returns its length, with its header, if it did: a number alone, which is cheaper than
    /// one with a flag beside it.
    #[inline(always)]
    pub(super) fn takes(&mut self, source: &ShortChain, target: &ShortChain) -> Option<NonZeroU32> {
        let (from, to) = match (source.readable(), target.writable()) {
            (Some(from), Some(to)) if to.len >= from.len && from.len as usize >= LEAD => (from, to),
            _ => return self.move_parts(source, target).and_then(NonZeroU32::new),
        };
        let len = from.len as usize;
        let spans = (
            self.from.direct(from.iova, len),
            self.to.direct(to.iova, len),
        );
        let moved = match spans {
            (Some(from), Some(to)) => self.move_direct(&from, &to),
            _ => self.move_whole(from, to),
        };
        moved?;
        NonZeroU32::new(from.len)
    }

    /// Where all bytes lie side by side on either side, in memory of the kernel.
    #[inline(always)]
    fn move_direct(&self, from: &DeviceSpan<'_>, to: &DeviceSpan<'_>) -> Option<()> {
        let start = from.load::<u16>(0)?.to_ne_bytes();
        let first = from.load(NetHeader::LEN)?;
        let last = from.load(LEAD - WORD)?;
        if !self.alike.takes(start, [first, last]) {
            return None;
        }
        // What was looked at is what is delivered. First, for it is in registers.
        to.store(NetHeader::LEN, first)?;
        to.store(LEAD - WORD, last)?;
        let [first, last] = HEADER;
        to.store(0, first)?;
        to.store(NetHeader::LEN - WORD, last)?;
        from.copy_rest(LEAD, to)
    }

    /// The same for another mapping, or for memory of clients.
    #[inline(never)]
    fn move_whole(&mut self, source: Extent, target: Extent) -> Option<()> {
        let len = source.len as usize;
        let from = self.from.whole(source.iova, len)?;
        let to = self.to.whole(target.iova, len)?;
        match (from.is_user(), to.is_user()) {
            (false, false) => return self.move_direct(&from, &to),
            (true, true) => return self.bounce(&from, &to, len),
            _ => {}
        }
        let mut lead = [0; LEAD];
        from.read(0, &mut lead).ok()?;
        self.look(&mut lead)?;
        DeviceMemory::copy((&from, LEAD), (&to, LEAD), len.wrapping_sub(LEAD)).ok()?;
        to.write(0, &lead).ok()
    }

    /// The same where both sides are memory of clients, for which there is no direct way.
    fn bounce(&mut self, from: &DeviceSpan<'_>, to: &DeviceSpan<'_>, len: usize) -> Option<()> {
        let mut done = 0;
        while done < len {
            let now = BOUNCE.min(len - done);
            from.read(done, self.bounce.get_mut(..now)?).ok()?;
            if done == 0 {
                self.look_at_bounce()?;
            }
            to.write(done, self.bounce.get(..now)?).ok()?;
            done += now;
        }
        Some(())
    }

    /// The same for chains of two buffers.
    #[inline(never)]
    fn move_parts(&mut self, source: &ShortChain, target: &ShortChain) -> Option<u32> {
        let bytes = source.len();
        let len = bytes as usize;
        let fits = len >= LEAD && target.len() >= bytes;
        if source.is_writable() || !target.is_writable() || !fits {
            return None;
        }
        let from = Bytes::new(&mut self.from, source, len)?;
        let to = Bytes::new(&mut self.to, target, len)?;
        // Not more of them than is cheaper to be copied twice than to be taken apart.
        let first = if from.first.is_user() && to.first.is_user() {
            len.min(BOUNCE)
        } else {
            len.min(LEAD)
        };
        from.read(self.bounce.get_mut(..first)?)?;
        self.look_at_bounce()?;
        from.copy(&to, first, len)?;
        to.write(self.bounce.get(..first)?)?;
        Some(bytes)
    }

    #[inline(always)]
    fn look_at_bounce(&mut self) -> Option<()> {
        let mut lead = *self.bounce.first_chunk()?;
        self.look(&mut lead)?;
        *self.bounce.first_chunk_mut()? = lead;
        Some(())
    }

    /// Looks at the start of a frame, and puts the header there that its receiver is to see. What
    /// was looked at is what is delivered.
    #[inline(always)]
    fn look(&self, lead: &mut [u8; LEAD]) -> Option<()> {
        let ethernet = lead.last_chunk().and_then(words::<ETHERNET>)?;
        if !self.alike.takes(*lead.first_chunk()?, ethernet) {
            return None;
        }
        let [first, last] = HEADER;
        *lead.first_chunk_mut()? = first.to_ne_bytes();
        let header = lead.get_mut(NetHeader::LEN - WORD..NetHeader::LEN)?;
        header.copy_from_slice(&last.to_ne_bytes());
        Some(())
    }
}
