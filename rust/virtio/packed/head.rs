// SPDX-License-Identifier: GPL-2.0

//! How the device finds an available chain in a packed virtqueue (2.8.1, 2.8.6).

use core::{
    cell::Cell,
    ops::Deref, //
};

use super::{
    super::{
        fault::{
            Fault,
            Position,
            QueueError, //
        },
        layout::{
            flags,
            packed::{
                flags_offset,
                id_offset,
                Descriptor,
                Slot, //
            },
            Area, //
        },
        memory::Memory,
    },
    Completion,
    PackedQueue, //
};

/// What the flags of a chain's descriptors in the ring say, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// How many descriptors there are, at least one.
    pub(super) slots: u16,
    /// How many of them have buffers for reading. They come before the others.
    pub(super) readable: u16,
    /// What the driver calls the chain, less than the queue's size.
    pub(super) id: u16,
}

/// An available chain of a packed virtqueue.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a chain stays available until it is completed"]
pub struct Head {
    /// Where the chain's first descriptor lies.
    pub(super) slot: Slot,
    pub(super) shape: Shape,
    /// The first descriptor. Its id need not be the chain's.
    pub(super) first: Descriptor,
}

impl Head {
    /// The index of the chain's first descriptor.
    pub fn index(&self) -> u16 {
        self.slot.index
    }

    /// What the driver calls the chain.
    pub fn id(&self) -> u16 {
        self.shape.id
    }
}

impl<A, C: Deref<Target = [Cell<Completion>]>> PackedQueue<A, C> {
    /// The chain at the next slot, if it is available.
    #[inline]
    pub(super) fn find_chain<M: Memory<Area = A>>(
        &self,
        mem: &M,
    ) -> Result<Option<Head>, QueueError> {
        let slot = self.available.get();
        let bits = self.flags(mem, slot)?;
        if !slot.is_available(bits) {
            return Ok(None);
        }
        // What the driver wrote before it wrote the flags is read after this.
        mem.acquire();
        let size = self.areas.size();
        let room = size.wrapping_sub(self.with_device());
        if room == 0 {
            return Err(self.no_room(slot, room));
        }
        let bytes = self.areas.load_descriptor(mem, slot.index)?;
        // The flags have been read; what they are by now is of no interest.
        let first = Descriptor {
            flags: bits,
            ..Descriptor::from_bytes(bytes)
        };
        let shape = if bits & flags::NEXT == 0 {
            Shape {
                slots: 1,
                readable: u16::from(bits & flags::WRITE == 0),
                id: first.id,
            }
        } else {
            self.shape_of_chain(mem, slot, bits, room)?
        };
        let id = shape.id;
        if id >= size {
            let descriptor = slot.index;
            return Err(Fault::BufferId {
                descriptor,
                id,
                size,
            }
            .into());
        }
        Ok(Some(Head { slot, shape, first }))
    }

    /// Reads the flags of a descriptor.
    #[inline(always)]
    fn flags<M: Memory<Area = A>>(&self, mem: &M, slot: Slot) -> Result<u16, QueueError> {
        self.areas
            .load(mem, Area::Descriptor, flags_offset(slot.index))
    }

    /// Whether there is a chain to be taken.
    #[inline]
    pub(super) fn is_available<M: Memory<Area = A>>(&self, mem: &M) -> Result<bool, QueueError> {
        let slot = self.available.get();
        Ok(slot.is_available(self.flags(mem, slot)?))
    }

    /// Finds out about a chain of several descriptors, the first of which is at `slot` and
    /// has the flags `bits`. The driver has `room` descriptors.
    ///
    /// This takes all flags of the chain, so that there is only one answer to what they are.
    #[inline(never)]
    fn shape_of_chain<M: Memory<Area = A>>(
        &self,
        mem: &M,
        mut slot: Slot,
        mut bits: u16,
        room: u16,
    ) -> Result<Shape, QueueError> {
        let size = self.areas.size();
        let mut slots = 1_u16;
        let mut readable = 0_u16;
        loop {
            if bits & flags::INDIRECT != 0 {
                let descriptor = slot.index;
                return Err(Fault::IndirectWithNext { descriptor }.into());
            }
            if bits & flags::WRITE == 0 {
                readable = readable.wrapping_add(1);
                if readable != slots {
                    let position = Position::Ring(slot.index);
                    return Err(Fault::ReadableAfterWritable { position }.into());
                }
            }
            if bits & flags::NEXT == 0 {
                break;
            }
            slot = slot.advance(1, size);
            if slots >= room {
                return Err(self.no_room(slot, room));
            }
            slots = slots.wrapping_add(1);
            bits = self.flags(mem, slot)?;
            if !slot.is_available(bits) {
                let descriptor = slot.index;
                return Err(Fault::ChainNotAvailable { descriptor }.into());
            }
        }
        let id = self
            .areas
            .load(mem, Area::Descriptor, id_offset(slot.index))?;
        Ok(Shape {
            slots,
            readable,
            id,
        })
    }

    /// The error when the descriptor at `slot` is one more than the `room` that the driver
    /// has.
    #[cold]
    fn no_room(&self, slot: Slot, room: u16) -> QueueError {
        let size = self.areas.size();
        if room == size {
            let position = Position::Ring(slot.index);
            Fault::TooManyDescriptors { position, size }.into()
        } else {
            let descriptor = slot.index;
            Fault::WithDevice { descriptor }.into()
        }
    }
}
