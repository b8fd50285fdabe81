// SPDX-License-Identifier: GPL-2.0

//! Moving a frame from one short chain to another, if it is like those before.

use super::{
    super::memory::{
        DeviceMemory,
        DeviceSpan,
        NearMemory, //
    },
    alike::{
        Alike,
        LEAD, //
    },
};
use crate::virtio::{
    memory::{
        Access,
        CopyTo,
        Span, //
    },
    net::{
        offload::Offload,
        NetHeader, //
    },
    short::ShortChain,
};

/// How much is copied at a time where it has to go by way of the module, in bytes.
pub(super) const BOUNCE: usize = 2048;

/// What moves frames.
pub(super) struct Mover<'m> {
    from: NearMemory<'m>,
    to: NearMemory<'m>,
    alike: &'m Alike,
    header: [u8; NetHeader::LEN],
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
        let of_first = len.min(chain.first.len as usize);
        let of_second = len - of_first;
        Some(Self {
            first: memory.whole(chain.first.iova, of_first)?,
            second: if of_second > 0 {
                Some(memory.whole(chain.second.iova, of_second)?)
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
            header: Offload::NONE.header(0).to_bytes(),
            bounce,
        }
    }

    /// Moves the frame in `source` to `target`, if it is like the others and nothing is in the
    /// way. It has `len` bytes, with its header. Returns whether it did.
    #[inline(always)]
    pub(super) fn takes(&mut self, source: &ShortChain, target: &ShortChain, len: u32) -> bool {
        let len = len as usize;
        if source.writable || !target.writable || len < LEAD {
            return false;
        }
        let moved = if source.second.len == 0 && target.first.len as usize >= len {
            self.move_whole(source, target, len)
        } else {
            self.move_parts(source, target, len)
        };
        moved.is_some()
    }

    /// Where all bytes lie side by side on either side.
    #[inline(always)]
    fn move_whole(&mut self, source: &ShortChain, target: &ShortChain, len: usize) -> Option<()> {
        let from = self.from.whole(source.first.iova, len)?;
        let to = self.to.whole(target.first.iova, len)?;
        if from.is_user() && to.is_user() {
            return self.bounce(&from, &to, len);
        }
        let mut lead = [0; LEAD];
        from.read(0, &mut lead).ok()?;
        look(self.alike, &self.header, &mut lead)?;
        DeviceMemory::copy((&from, LEAD), (&to, LEAD), len.wrapping_sub(LEAD)).ok()?;
        to.write(0, &lead).ok()
    }

    /// The same where both sides are memory of clients, for which there is no direct way.
    #[inline(never)]
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
    fn move_parts(&mut self, source: &ShortChain, target: &ShortChain, len: usize) -> Option<()> {
        if (target.len() as usize) < len {
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
        to.write(self.bounce.get(..first)?)
    }

    #[inline(always)]
    fn look_at_bounce(&mut self) -> Option<()> {
        look(self.alike, &self.header, self.bounce.first_chunk_mut()?)
    }
}

/// Looks at the start of a frame, and puts the header there that its receiver is to see. What
/// was looked at is what is delivered.
#[inline(always)]
fn look(alike: &Alike, header: &[u8; NetHeader::LEN], lead: &mut [u8; LEAD]) -> Option<()> {
    if !alike.takes(lead) {
        return None;
    }
    *lead.first_chunk_mut()? = *header;
    Some(())
}
