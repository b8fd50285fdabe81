// SPDX-License-Identifier: GPL-2.0

//! The driver's side of a virtqueue of either format.

use crate::arena::View;
use rvdpa_virtio::{
    features::Features,
    layout::{packed::Slot, QueueLayout},
    mock::{AddError, Buffer, DriverMemory, DriverQueue, Form, PackedDriver, SplitDriver, Used},
};

/// The format of a virtqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Split,
    Packed,
}

impl Format {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Split, Self::Packed];

    /// The one that these negotiated features mean.
    pub fn of(features: Features) -> Self {
        if features.contains(Features::RING_PACKED) {
            Self::Packed
        } else {
            Self::Split
        }
    }

    /// Its name, as in the tests' names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Packed => "packed",
        }
    }

    /// Where a new virtqueue starts.
    pub fn start(self) -> u16 {
        match self {
            Self::Split => 0,
            Self::Packed => Slot::FIRST.to_bits(),
        }
    }

    /// A place so many descriptors (if packed) or chains (if split) further on, in a ring of
    /// `size`.
    pub fn advance(self, place: u16, count: u16, size: u16) -> u16 {
        match self {
            Self::Split => place.wrapping_add(count),
            Self::Packed => (0..count)
                .fold(Slot::from_bits(place), |slot, _| slot.advance(1, size))
                .to_bits(),
        }
    }

    /// What `VHOST_SET_VRING_BASE` has to be told, for a virtqueue all of whose chains up to
    /// `place` were used.
    pub fn base(self, place: u16) -> u32 {
        match self {
            Self::Split => place.into(),
            Self::Packed => u32::from(place) | (u32::from(place) << 16),
        }
    }
}

/// The driver's side of a virtqueue.
pub enum Ring<M: DriverMemory = View> {
    Split(SplitDriver<M>),
    Packed(PackedDriver<M>),
}

impl<M: DriverMemory> Ring<M> {
    /// Lays out a virtqueue of the negotiated format, which starts at a place: an index, or
    /// a slot's bits.
    pub fn new(view: M, layout: QueueLayout, features: Features, place: u16) -> Self {
        match Format::of(features) {
            Format::Split => Self::Split(SplitDriver::new(view, layout, features, place)),
            Format::Packed => {
                let start = Slot::from_bits(place);
                Self::Packed(PackedDriver::new(view, layout, features, start))
            }
        }
    }

    fn queue(&self) -> &dyn DriverQueue<Memory = M> {
        match self {
            Self::Split(driver) => driver,
            Self::Packed(driver) => driver,
        }
    }

    fn queue_mut(&mut self) -> &mut dyn DriverQueue<Memory = M> {
        match self {
            Self::Split(driver) => driver,
            Self::Packed(driver) => driver,
        }
    }

    /// The one of a split virtqueue, for what only that has.
    ///
    /// # Panics
    ///
    /// If it is packed.
    pub fn split(&self) -> &SplitDriver<M> {
        match self {
            Self::Split(driver) => driver,
            Self::Packed(_) => panic!("the virtqueue is packed"),
        }
    }

    /// The same, to add to it.
    ///
    /// # Panics
    ///
    /// If it is packed.
    pub fn split_mut(&mut self) -> &mut SplitDriver<M> {
        match self {
            Self::Split(driver) => driver,
            Self::Packed(_) => panic!("the virtqueue is packed"),
        }
    }

    /// The one of a packed virtqueue, for what only that has.
    ///
    /// # Panics
    ///
    /// If it is split.
    pub fn packed_mut(&mut self) -> &mut PackedDriver<M> {
        match self {
            Self::Split(_) => panic!("the virtqueue is split"),
            Self::Packed(driver) => driver,
        }
    }

    /// Its format.
    pub fn format(&self) -> Format {
        match self {
            Self::Split(_) => Format::Split,
            Self::Packed(_) => Format::Packed,
        }
    }

    /// The memory that the virtqueue lies in.
    pub fn memory(&self) -> &M {
        self.queue().memory()
    }

    /// Number of descriptors in the ring that are in no chain.
    pub fn free(&self) -> usize {
        self.queue().free()
    }

    /// Adds a chain. Returns what it is called.
    pub fn add(&mut self, buffers: &[Buffer], form: Form) -> Result<u16, AddError> {
        self.queue_mut().add(buffers, form)
    }

    /// Shows the device all chains that were added.
    pub fn publish(&mut self) {
        self.queue_mut().publish();
    }

    /// Whether the device wants to be kicked for what was published.
    pub fn needs_kick(&mut self) -> bool {
        self.queue_mut().needs_kick()
    }

    /// Takes back the next chain that the device has used.
    pub fn poll_used(&mut self) -> Option<Used> {
        self.queue_mut().poll_used()
    }

    /// Asks for an interrupt with the next chain. Returns whether there are used ones.
    pub fn enable_interrupts(&self) -> bool {
        self.queue().enable_interrupts()
    }

    /// Asks for no interrupts.
    pub fn disable_interrupts(&self) {
        self.queue().disable_interrupts();
    }

    /// Moves the virtqueue, with all that is in it, to another place of which the device has
    /// still to be told.
    pub fn relocate(&mut self, view: M, layout: QueueLayout) {
        self.queue_mut().relocate(view, layout);
    }
}
