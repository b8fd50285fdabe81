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
        receive::Receive,
        session::{
            with_ring,
            Session, //
        },
        worker::{
            Mode,
            Worker, //
        },
    },
    mover::{
        Mover,
        BOUNCE, //
    },
    Batch,
    Stop,
    BATCH,
    BATCH_BYTES, //
};
use crate::{
    net::frame::ETHERNET_LEN,
    vdpa::iommu::Area,
    virtio::{
        net::NetHeader,
        queue::Queue,
        ring::Engine,
        short::{
            ShortChains,
            SHORT_CHAINS, //
        },
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Length of an Ethernet header, in bytes.
pub(super) const ETHERNET: usize = ETHERNET_LEN as usize;

/// Length of what is looked at, in bytes: the virtio header and that of Ethernet.
pub(super) const LEAD: usize = NetHeader::LEN + ETHERNET;

/// What frames are alike in.
pub(super) struct Alike {
    /// The first and the last bytes of their Ethernet header, some of which are in both.
    ethernet: [u64; 2],
    /// When it was known where they go.
    epoch: u64,
}

/// What frames were alike in, and where they went.
pub(super) struct Kept {
    alike: Alike,
    second: u32,
    receiver: Arc<Worker<Receive>>,
}

/// Room for what is next on either side.
pub(super) struct Stage {
    sources: KBox<ShortChains>,
    targets: KBox<ShortChains>,
    /// For what has to go by way of the module.
    bounce: KVec<u8>,
}

impl Stage {
    /// Makes room.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            sources: KBox::new(ShortChains::default(), GFP_KERNEL)?,
            targets: KBox::new(ShortChains::default(), GFP_KERNEL)?,
            bounce: KVec::from_elem(0, BOUNCE, GFP_KERNEL)?,
        })
    }

    /// Room for the receive buffers that are next.
    pub(super) fn targets(&mut self) -> &mut ShortChains {
        &mut self.targets
    }
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
            ethernet: words::<ETHERNET>(self.scratch.leading().first_chunk()?)?,
            epoch: self.lookups.epoch(slot)?,
        })
    }

    /// Keeps in mind what the last frames were like that this receiver got.
    pub(super) fn keep(&mut self, alike: Alike, receiver: &Arc<Worker<Receive>>) {
        *self.kept = Some(Kept {
            alike,
            second: self.second,
            receiver: receiver.clone(),
        });
    }

    /// Delivers the frames at the front that are like the last ones of an earlier batch. Returns
    /// whether there were any.
    #[inline]
    pub(super) fn go_on<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
    ) -> Result<bool, Stop> {
        let Some(kept) = self.kept.take() else {
            return Ok(false);
        };
        let port = &self.env.port;
        if *self.flooded != 0
            || kept.second != self.second
            || kept.alike.epoch != port.fabric().epoch()
            || !port.is_up()
            || port.learns()
        {
            return Ok(false);
        }
        let Kept {
            alike, receiver, ..
        } = &kept;
        let any = self.with(receiver, |batch, session| {
            Ok(batch.rush(ring, mem, session, alike))
        })?;
        if any {
            *self.kept = Some(kept);
        }
        Ok(any)
    }

    /// Delivers the frames that follow and are `alike`, until one comes that is not, or the
    /// batch is over. Returns whether there were any.
    #[inline]
    pub(super) fn rush<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        session: &mut Session<'_, '_>,
        alike: &Alike,
    ) -> bool {
        let fabric = self.env.port.fabric();
        let still = || fabric.epoch() == alike.epoch;
        let room = Moved {
            frames: BATCH.saturating_sub(self.spent),
            bytes: BATCH_BYTES.saturating_sub(self.bytes),
        };
        let once = self.mode == Mode::InPlace;
        let stage = &mut *self.stage;
        let Some((to, to_mem)) = session.direct() else {
            return false;
        };
        let from = (ring, mem);
        let moved = with_ring!(to, to => {
            run(from, (&**to, to_mem), alike, stage, (room, once), still)
        });
        self.frames += moved.frames;
        self.spent += moved.frames;
        self.counters.packets += u64::from(moved.frames);
        self.counters.bytes += moved.bytes;
        self.bytes += moved.bytes;
        session.count_direct(moved.frames, moved.bytes);
        moved.frames > 0
    }
}

/// Moves frames from one ring to the other.
///
/// What cannot be moved, for whatever reason, is left in both. If it is to be done `once`, so is
/// what was not there at the beginning.
#[inline(never)]
fn run<T, R>(
    (from, from_mem): (&T, &DeviceMemory<'_>),
    (to, to_mem): (&R, &DeviceMemory<'_>),
    alike: &Alike,
    stage: &mut Stage,
    (room, once): (Moved, bool),
    still: impl Fn() -> bool,
) -> Moved
where
    T: Queue<Area = Area>,
    R: Queue<Area = Area>,
{
    let mut moved = Moved::default();
    let Stage {
        sources,
        targets,
        bounce,
    } = stage;
    let (sources, targets) = (&mut **sources, &mut **targets);
    let mut mover = Mover::new(from_mem, to_mem, alike, bounce);
    while moved.frames < room.frames && moved.bytes < room.bytes {
        let limit = (room.frames - moved.frames) as usize;
        let frames = from.peek_short(from_mem, limit, sources);
        // Whoever has changed where frames go, and then sends one, does not see it come where
        // they went before.
        if frames == 0 || !still() {
            break;
        }
        let buffers = to.peek_short(to_mem, frames, targets);
        // Neither can be too many.
        let mut count = 0_usize;
        let most = room.bytes - moved.bytes;
        // May go below 0, by one frame.
        let mut left = most as i64;
        for (source, target) in sources.found().iter().zip(targets.found_mut()) {
            let Some(len) = mover.takes(source, target) else {
                break;
            };
            let len = len.get();
            target.finish(len);
            count = count.wrapping_add(1);
            left = left.wrapping_sub(len.into());
            if left <= 0 {
                break;
            }
        }
        let mark = to.mark();
        if count == 0 || !to.complete_short(to_mem, targets, count, false) {
            break;
        }
        if !from.complete_short(from_mem, sources, count, true) {
            // Else the frames would come twice.
            to.rewind(mark);
            break;
        }
        moved.frames += count as u32;
        let bytes = most.wrapping_sub(left as u64);
        moved.bytes += bytes - (count * NetHeader::LEN) as u64;
        if count < frames.min(buffers) || once && frames < SHORT_CHAINS {
            break;
        }
    }
    moved
}

impl Alike {
    /// Whether a frame that starts so, with its virtio header and these bytes of that of
    /// Ethernet, is like the others.
    #[inline(always)]
    pub(super) fn takes(&self, [flags, gso_type]: [u8; 2], ethernet: [u64; 2]) -> bool {
        let header = NetHeader {
            flags,
            gso_type,
            ..NetHeader::default()
        };
        header.is_plain() && ethernet == self.ethernet
    }
}

/// The first and the last bytes of a header as numbers.
#[inline(always)]
pub(super) fn words<const LEN: usize>(header: &[u8; LEN]) -> Option<[u64; 2]> {
    Some([
        u64::from_ne_bytes(*header.first_chunk()?),
        u64::from_ne_bytes(*header.last_chunk()?),
    ])
}
