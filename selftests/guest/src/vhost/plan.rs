// SPDX-License-Identifier: GPL-2.0

//! What a driver in userspace wants, and how its memory is laid out.

use crate::arena::Kind;
use rvdpa_virtio::{
    features::Features,
    layout::{Area, QueueLayout},
};

/// Where arenas start, for the device. Not where they are in the process.
pub const IOVA: u64 = 0x7_0000_0000;
/// Where the control queue's arena starts, if it has one of its own.
const CONTROL_IOVA: u64 = 0x9_0000_0000;

/// What a driver wants.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The features to accept, if they are offered.
    pub features: Features,
    /// How many descriptors a ring has.
    pub size: u16,
    /// The kind of memory.
    pub kind: Kind,
    /// Where the rings start, if not as new ones do: an index, or a slot's bits.
    pub base: Option<u16>,
    /// How many bytes there are for a frame with its header.
    pub room: usize,
    /// How many bytes of them a receive buffer has, if not all.
    pub receive_room: Option<usize>,
    /// How many descriptors a buffer is made of.
    pub pieces: usize,
    /// Whether the descriptors are in a table of their own.
    pub indirect: bool,
    /// How many queue pairs are set up.
    pub pairs: usize,
    /// Where the memory of the queue pairs starts, for the device.
    pub iova: u64,
    /// Where that of the control queue starts.
    pub control_iova: u64,
    /// The address space of the queue pairs.
    pub asid: u32,
    /// The address space of the control queue.
    pub control_asid: u32,
    /// Whether to map the memory, before the device runs.
    pub map: bool,
    /// Whether to notify the device by the queues' pages instead of events.
    pub bells: bool,
    /// How many bytes of the arenas on either side of what is mapped are not mapped.
    pub guard: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            features: Features(u64::MAX),
            size: 256,
            kind: Kind::Anonymous,
            base: None,
            room: 2048,
            receive_room: None,
            pieces: 1,
            indirect: false,
            pairs: 1,
            iova: IOVA,
            control_iova: CONTROL_IOVA,
            asid: 0,
            control_asid: 0,
            map: true,
            bells: false,
            guard: 0,
        }
    }
}

impl Plan {
    /// The same without some features.
    pub fn without(self, features: Features) -> Self {
        Self {
            features: self.features.without(features),
            ..self
        }
    }

    /// How many bytes a receive buffer has.
    pub fn receive_len(&self) -> usize {
        self.receive_room.unwrap_or(self.room)
    }
}

/// Hands out pieces of an arena.
pub(super) struct Layouter(pub(super) u64);

impl Layouter {
    pub(super) fn take(&mut self, len: usize) -> u64 {
        let at = self.0;
        // The last piece may end with the last address.
        self.0 = at.wrapping_add((len as u64).next_multiple_of(4096));
        at
    }

    /// Room for a ring, whichever format it has.
    pub(super) fn layout(&mut self, size: u16) -> QueueLayout {
        let mut layout = QueueLayout {
            size,
            ..Default::default()
        };
        let features = Features::EVENT_IDX;
        layout.descriptor = self.take(layout.len(Area::Descriptor, features));
        layout.driver = self.take(layout.len(Area::Driver, features));
        layout.device = self.take(layout.len(Area::Device, features));
        layout
    }
}
