// SPDX-License-Identifier: GPL-2.0

//! Who wants to be notified of what in a packed virtqueue (2.8.10, 2.8.14).

use core::{
    cell::Cell,
    ops::Deref, //
};

use super::{
    super::{
        fault::QueueError,
        features::Features,
        layout::{
            packed::{
                event,
                Slot, //
            },
            Area, //
        },
        memory::Memory,
        queue::need_event,
    },
    Completion,
    PackedQueue, //
};

/// Whether the slot `event` is one of the last `count` before `new`: the decision on
/// notifications with `VIRTIO_F_EVENT_IDX` (2.8.10). `new` is one of the `size` slots of
/// the ring, and `count` at most `size`. An `event` that is none of them never comes.
#[inline]
pub const fn need_slot_event(event: Slot, new: Slot, count: u16, size: u16) -> bool {
    if event.index >= size {
        return false;
    }
    // On the lap of `new`, all others have an index below zero.
    let index = if event.wrap == new.wrap {
        event.index
    } else {
        event.index.wrapping_sub(size)
    };
    need_event(index, new.index, new.index.wrapping_sub(count))
}

/// What the device has told the driver about kicks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kicks {
    /// What the driver made of it when it set the queue up.
    Unsaid,
    /// They are not wanted.
    Suppressed,
    /// All are wanted.
    Allowed,
    /// The one for the chain that starts here is wanted.
    AllowedAt(Slot),
}

impl<A, C: Deref<Target = [Cell<Completion>]>> PackedQueue<A, C> {
    /// Whether the driver wants to be interrupted for the last `count` descriptors.
    pub(super) fn wants_interrupt<M: Memory<Area = A>>(
        &self,
        mem: &M,
        count: u16,
    ) -> Result<bool, QueueError> {
        let load = |offset| self.areas.load(mem, Area::Driver, offset);
        match load(event::FLAGS)? & event::MASK {
            event::DISABLE => Ok(false),
            event::ONE if self.areas.has(Features::EVENT_IDX) => {
                // The driver wrote which one before it wrote the flags.
                mem.acquire();
                let slot = Slot::from_bits(load(event::DESCRIPTOR)?);
                let size = self.areas.size();
                Ok(need_slot_event(slot, self.used.get(), count, size))
            }
            // One interrupt too many does no harm.
            _ => Ok(true),
        }
    }

    /// Tells the driver which kicks are wanted, if it has not been told yet.
    pub(super) fn tell<M: Memory<Area = A>>(
        &self,
        mem: &M,
        kicks: Kicks,
    ) -> Result<(), QueueError> {
        let old = self.kicks.get();
        if old == kicks {
            return Ok(());
        }
        let store = |offset, value| self.areas.store(mem, Area::Device, offset, value);
        let bits = match kicks {
            Kicks::AllowedAt(slot) => {
                store(event::DESCRIPTOR, slot.to_bits())?;
                if let Kicks::AllowedAt(_) = old {
                    self.kicks.set(kicks);
                    return Ok(());
                }
                // The driver sees which one when it sees the flags.
                mem.release();
                event::ONE
            }
            Kicks::Suppressed => event::DISABLE,
            Kicks::Unsaid | Kicks::Allowed => event::ENABLE,
        };
        store(event::FLAGS, bits)?;
        self.kicks.set(kicks);
        Ok(())
    }
}
