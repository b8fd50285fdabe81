// SPDX-License-Identifier: GPL-2.0

//! A virtqueue of the network card, and its buffers.

use super::{virtio_pci::Doorbell, Ram, VirtioPci};
use crate::{
    outcome::Outcome,
    vhost::{Format, Ring},
};
use rvdpa_virtio::{
    features::Features,
    layout::{Area, QueueLayout},
    mock::{Buffer, Form, Used},
};
use std::collections::VecDeque;

/// How many bytes a buffer has.
pub const ROOM: usize = 2048;

/// A virtqueue.
pub struct Queue {
    ring: Ring<Ram>,
    doorbell: Doorbell,
    buffers: u64,
    /// Which buffer a head stands for.
    slots: Vec<Option<u16>>,
    /// Buffers that are not in use.
    free: VecDeque<u16>,
}

/// Hands out memory.
pub struct Places(pub u64);

impl Places {
    fn take(&mut self, len: usize) -> u64 {
        let at = self.0;
        self.0 += (len as u64).next_multiple_of(4096);
        at
    }
}

impl Queue {
    /// Sets a virtqueue up, with `size` descriptors, and as many buffers.
    pub fn new(
        pci: &VirtioPci,
        ram: &Ram,
        places: &mut Places,
        index: u16,
        size: u16,
        features: Features,
    ) -> Outcome<Self> {
        let mut layout = QueueLayout {
            size,
            ..Default::default()
        };
        layout.descriptor = places.take(layout.len(Area::Descriptor, features));
        layout.driver = places.take(layout.len(Area::Driver, features));
        layout.device = places.take(layout.len(Area::Device, features));
        let start = Format::of(features).start();
        Ok(Self {
            ring: Ring::new(ram.clone(), layout, features, start),
            doorbell: pci.set_queue(index, &layout)?,
            buffers: places.take(usize::from(size) * ROOM),
            slots: vec![None; usize::from(size)],
            free: (0..size).collect(),
        })
    }

    /// The buffer that is next, and where it is.
    pub fn next(&self) -> Option<u64> {
        Some(self.start(*self.free.front()?))
    }

    /// Where a slot's buffer is.
    pub fn start(&self, slot: u16) -> u64 {
        self.buffers + u64::from(slot) * ROOM as u64
    }

    /// Adds the next buffer, cut into these pieces: where each is in it. Returns whether there
    /// was room.
    pub fn add(&mut self, pieces: &[Buffer]) -> bool {
        let Some(&slot) = self.free.front() else {
            return false;
        };
        let start = self.start(slot);
        let pieces: Vec<Buffer> = pieces
            .iter()
            .map(|piece| Buffer {
                iova: start + piece.iova,
                ..*piece
            })
            .collect();
        let Ok(head) = self.ring.add(&pieces, Form::Direct) else {
            return false;
        };
        self.slots[usize::from(head)] = Some(slot);
        self.free.pop_front();
        true
    }

    /// Shows the device what was added, and tells it if it wants to be told.
    pub fn publish(&mut self, pci: &VirtioPci) -> Outcome {
        self.ring.publish();
        if self.ring.needs_kick() {
            pci.ring(self.doorbell)?;
        }
        Ok(())
    }

    /// Takes back a buffer that the device has used: its slot, which is free again.
    pub fn take(&mut self) -> Option<(u16, Used)> {
        let used = self.ring.poll_used()?;
        let slot = self.slots[usize::from(used.head)]
            .take()
            .expect("a buffer that the device had");
        self.free.push_back(slot);
        Some((slot, used))
    }

    /// How many buffers the device has.
    pub fn posted(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Asks for an interrupt with the next buffer. Returns whether there are used ones.
    pub fn enable_interrupts(&self) -> bool {
        self.ring.enable_interrupts()
    }
}
