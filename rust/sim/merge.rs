// SPDX-License-Identifier: GPL-2.0

//! Writing one frame to as many mergeable buffers as it needs, many of which are taken at a
//! time.
//!
//! Mergeable buffers are most often short chains of one descriptor. Then no cursor has to go
//! along each of them. Whatever is different is left to [`packet`](super::packet), which knows
//! all kinds and finds out what is wrong with them.

use super::memory::DeviceMemory;
use crate::{
    vdpa::iommu::Area,
    virtio::{
        chain::{
            Reader,
            Walk, //
        },
        fault::QueueError,
        memory::{
            Access,
            CopyTo,
            Span, //
        },
        net::NetHeader,
        queue::Queue,
        short::{
            ShortChains,
            SHORT_CHAINS, //
        },
    },
};

/// What a frame took.
pub(super) struct Merged {
    /// How many buffers.
    pub(super) buffers: u16,
    /// Its bytes, and those of its virtio header.
    pub(super) bytes: u64,
}

/// Writes a frame to the next buffers of `ring`: its virtio `header`, its `leading` bytes and
/// the `rest`. `chains` is room for what they are.
///
/// None where it has to go the other way, or nowhere: a buffer is no short chain, too small for
/// the start of the frame, or not to be reached, or there are not enough of them. Then the
/// queue is as it was. Fails if the frame cannot be read.
pub(super) fn merge<'s, W, Q>(
    ring: &Q,
    mem: &DeviceMemory<'_>,
    header: &[u8],
    leading: &[u8],
    mut rest: Reader<'s, W>,
    chains: &mut ShortChains,
) -> Result<Option<Merged>, QueueError>
where
    W: Walk<'s>,
    W::Memory: for<'d> CopyTo<DeviceMemory<'d>>,
    Q: Queue<Area = Area>,
{
    let mark = ring.mark();
    let merged = fill(ring, mem, header, leading, &mut rest, chains);
    if !matches!(merged, Ok(Some(_))) {
        ring.rewind(mark);
    }
    merged
}

#[inline(always)]
fn fill<'s, W, Q>(
    ring: &Q,
    mem: &DeviceMemory<'_>,
    header: &[u8],
    leading: &[u8],
    rest: &mut Reader<'s, W>,
    chains: &mut ShortChains,
) -> Result<Option<Merged>, QueueError>
where
    W: Walk<'s>,
    W::Memory: for<'d> CopyTo<DeviceMemory<'d>>,
    Q: Queue<Area = Area>,
{
    let start = header.len().saturating_add(leading.len());
    let mut near = mem.near(Access::Write);
    let mut first = None;
    let mut merged = Merged {
        buffers: 0,
        bytes: 0,
    };
    let mut more = true;
    while more {
        ring.peek_short(mem, SHORT_CHAINS, chains);
        let mut taken = 0_u16;
        for chain in chains.found_mut() {
            let Some(buffer) = chain.writable() else {
                break;
            };
            let room = buffer.len as usize;
            let Some(span) = near.whole(buffer.iova, room) else {
                return Ok(None);
            };
            let mut at = 0;
            if first.is_none() {
                let written = span
                    .write(0, header)
                    .and_then(|()| span.write(header.len(), leading));
                if written.is_err() {
                    return Ok(None);
                }
                at = start;
                first = Some(span);
            }
            let to = (&span, at);
            let Some(now) = rest.copy_to_span::<DeviceMemory<'_>>(to, room.saturating_sub(at))?
            else {
                return Ok(None);
            };
            at += now;
            chain.finish(at as u32);
            merged.bytes += at as u64;
            taken += 1;
            more = at == room && !rest.is_done()?;
            if !more {
                break;
            }
        }
        if taken == 0 || !ring.complete_short(mem, chains, taken.into(), false) {
            return Ok(None);
        }
        merged.buffers = merged.buffers.saturating_add(taken);
    }
    if merged.buffers > 1 {
        let number = merged.buffers.to_le_bytes();
        let written = first.map(|span| span.write(NetHeader::NUM_BUFFERS_OFFSET, &number));
        if !matches!(written, Some(Ok(()))) {
            return Ok(None);
        }
    }
    Ok(Some(merged))
}
