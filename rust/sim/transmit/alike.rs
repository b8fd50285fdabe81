// SPDX-License-Identifier: GPL-2.0

//! Frames that are like the one before: the short way.
//!
//! Most frames have the same addresses as the one before, leave nothing to be done by
//! others, and lie in one buffer; and so does the receive buffer that is next. Where such a
//! frame goes is known, and moving it takes one copy. Whatever is different in anything is left
//! where it is, for the long way.

use super::{
    super::{
        memory::DeviceMemory,
        session::Session, //
    },
    Batch,
    BATCH,
    BATCH_BYTES, //
};
use crate::{
    net::frame::ETHERNET_LEN,
    vdpa::iommu::Area,
    virtio::{
        memory::{
            Access,
            CopyTo,
            Memory,
            Span, //
        },
        net::{
            offload::Offload,
            NetHeader, //
        },
        queue::Queue,
        ring::Engine, //
    },
};

/// Length of an Ethernet header, in bytes.
const ETHERNET: usize = ETHERNET_LEN as usize;

/// Length of what is looked at, in bytes: the virtio header and that of Ethernet.
const LEAD: usize = NetHeader::LEN + ETHERNET;

/// What frames are alike in.
pub(super) struct Alike {
    ethernet: [u8; ETHERNET],
    /// When it was known where they go.
    epoch: u64,
}

/// How far one got.
#[derive(Default)]
struct Moved {
    frames: u32,
    /// Without virtio headers.
    bytes: u64,
}

impl Batch<'_, '_> {
    /// What the frames that follow have to be like, if they can go the short way: if the last
    /// one needed none other than its Ethernet header to be brought to the port in `slot`.
    pub(super) fn alike(&self, slot: usize) -> Option<Alike> {
        let found = &self.scratch.found;
        let simple = found.start == NetHeader::LEN
            && found.end == LEAD
            && found.work.is_none()
            && *self.flooded == 0
            && !self.env.port.learns()
            && !self.is_tagged();
        if !simple {
            return None;
        }
        Some(Alike {
            ethernet: *self.scratch.leading().first_chunk()?,
            epoch: self.lookups.epoch(slot)?,
        })
    }

    /// Delivers the frames that follow and are `alike`, until one comes that is not, or the
    /// batch is over.
    #[inline]
    pub(super) fn rush<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        session: &mut Session<'_, '_>,
        alike: &Alike,
    ) {
        let fabric = self.env.port.fabric();
        let still = || fabric.epoch() == alike.epoch;
        let room = Moved {
            frames: BATCH.saturating_sub(self.frames),
            bytes: BATCH_BYTES.saturating_sub(self.counters.bytes),
        };
        let moved = match session.direct() {
            None => return,
            Some((Engine::Split(to), to_mem)) => {
                run((ring, mem), (&**to, to_mem), alike, room, still)
            }
            Some((Engine::Packed(to), to_mem)) => {
                run((ring, mem), (&**to, to_mem), alike, room, still)
            }
        };
        self.frames += moved.frames;
        self.counters.packets += u64::from(moved.frames);
        self.counters.bytes += moved.bytes;
        session.count_direct(moved.frames, moved.bytes);
    }
}

/// Moves frames from one ring to the other.
///
/// What cannot be moved, for whatever reason, is left in both.
#[inline(never)]
fn run<'d, T, R>(
    (from, from_mem): (&T, &DeviceMemory<'_>),
    (to, to_mem): (&R, &DeviceMemory<'d>),
    alike: &Alike,
    room: Moved,
    still: impl Fn() -> bool,
) -> Moved
where
    T: Queue<Area = Area>,
    R: Queue<Area = Area>,
{
    let mut moved = Moved::default();
    let header = Offload::NONE.header(0).to_bytes();
    while moved.frames < room.frames && moved.bytes < room.bytes && still() {
        let Ok(Some(source)) = from.peek_single(from_mem) else {
            break;
        };
        let len = source.len as usize;
        if source.writable || len < LEAD {
            break;
        }
        let Ok(bytes) = from_mem.span(source.iova, source.len, Access::Read) else {
            break;
        };
        let mut lead = [0; LEAD];
        if bytes.len() < len || bytes.read(0, &mut lead).is_err() || !alike.takes(&lead) {
            break;
        }
        let Ok(Some(target)) = to.peek_single(to_mem) else {
            break;
        };
        if !target.writable || target.len < source.len {
            break;
        }
        let Ok(space) = to_mem.span(target.iova, source.len, Access::Write) else {
            break;
        };
        if space.len() < len {
            break;
        }
        // What was looked at is what is delivered.
        if let Some(start) = lead.first_chunk_mut() {
            *start = header;
        }
        let rest = len.wrapping_sub(LEAD);
        let copied = DeviceMemory::copy((&bytes, LEAD), (&space, LEAD), rest);
        if copied.is_err() || space.write(0, &lead).is_err() {
            break;
        }
        let mark = to.mark();
        if to.complete(to_mem, target.head, source.len).is_err() {
            break;
        }
        if from.complete_fully(from_mem, source.head, 0).is_err() {
            // Else the frame would come twice.
            to.rewind(mark);
            break;
        }
        moved.frames += 1;
        moved.bytes += (len - NetHeader::LEN) as u64;
    }
    moved
}

impl Alike {
    /// Whether a frame that starts so is like the others.
    #[inline(always)]
    fn takes(&self, lead: &[u8; LEAD]) -> bool {
        let (header, ethernet) = lead.split_at(NetHeader::LEN);
        header
            .first_chunk()
            .is_some_and(|header| NetHeader::from_bytes(*header).is_plain())
            && ethernet == self.ethernet
    }
}
