// SPDX-License-Identifier: GPL-2.0

//! How the device hands chains back in a split virtqueue (2.7.8, 2.7.9).
//!
//! With `VIRTIO_F_IN_ORDER`, one element may name the last of a batch of chains. It lies
//! where that of the first of them would; the places of the others are left as they are.

use super::{
    super::{
        fault::QueueError,
        layout::{
            used,
            used_element,
            Area, //
        },
        memory::Memory, //
    },
    SplitQueue, //
};

/// What an element tells of, but for the chains before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Last {
    /// The first descriptor of the chain.
    pub(super) head: u16,
    /// How many bytes were written to it.
    pub(super) written: u32,
}

impl<A> SplitQueue<A> {
    /// Writes the next element, which tells of this chain last.
    #[inline(always)]
    pub(super) fn write_element<M: Memory<Area = A>>(
        &self,
        mem: &M,
        last: Last,
    ) -> Result<(), QueueError> {
        let offset = used::ring(self.slot(self.element.get()));
        let element = used_element(last.head, last.written);
        self.areas.store_used(mem, Area::Device, offset, element)
    }

    /// Writes the element of all chains that have none yet, if there are any.
    #[inline(always)]
    pub(super) fn write_last<M: Memory<Area = A>>(&self, mem: &M) -> Result<(), QueueError> {
        if self.element.get() != self.used.get() {
            self.write_element(mem, self.last.get())?;
            // INVARIANT: It has just been written.
            self.element.set(self.used.get());
        }
        Ok(())
    }

    /// Counts a chain that was completed.
    #[inline(always)]
    pub(super) fn count_completed(&self) {
        self.used.set(self.used.get().wrapping_add(1));
        self.next.set(self.next.get().wrapping_add(1));
    }
}
