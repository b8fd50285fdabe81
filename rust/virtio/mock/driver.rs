// SPDX-License-Identifier: GPL-2.0

//! What drivers of both formats have in common.

use std::sync::atomic::{
    fence,
    Ordering, //
};

use crate::{
    features::Features,
    layout::{
        Area,
        QueueLayout, //
    },
};

/// Memory as the driver has it: all of it is there, under the addresses that the device
/// is told.
///
/// The methods take `&self`, for the device writes at the same time. They panic if the
/// address is not one of the driver's.
pub trait DriverMemory {
    /// Reads the bytes at `iova`.
    fn read(&self, iova: u64, out: &mut [u8]);

    /// Writes the bytes at `iova`.
    fn write(&self, iova: u64, data: &[u8]);

    /// Reads 16 bits, little-endian. To be implemented as one access where the device
    /// runs at the same time; `iova` is even.
    fn load_u16(&self, iova: u64) -> u16 {
        let mut bytes = [0; 2];
        self.read(iova, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// Writes 16 bits, little-endian. To be implemented as one access where the device
    /// runs at the same time; `iova` is even.
    fn store_u16(&self, iova: u64, value: u16) {
        self.write(iova, &value.to_le_bytes());
    }

    /// Orders all loads and stores before it with all after it.
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

/// A buffer as the driver wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Where it starts.
    pub iova: u64,
    /// Its length in bytes.
    pub len: u32,
    /// Whether the device may write to it; if not, it may read.
    pub writable: bool,
}

impl Buffer {
    /// A buffer for the device to read.
    pub const fn readable(iova: u64, len: u32) -> Self {
        Self {
            iova,
            len,
            writable: false,
        }
    }

    /// A buffer for the device to write.
    pub const fn writable(iova: u64, len: u32) -> Self {
        Self {
            iova,
            len,
            writable: true,
        }
    }
}

/// Where the descriptors of a chain are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All of them in the ring.
    Direct,
    /// All of them in a table.
    Indirect {
        /// Where the table starts.
        table: u64,
    },
    /// The first `direct` of them in the ring, the others in a table. There must be some
    /// left for the table.
    Mixed {
        /// How many are in the ring.
        direct: usize,
        /// Where the table starts.
        table: u64,
    },
}

/// Why a chain was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// There are not enough free descriptors in the ring.
    Full,
    /// A chain needs at least one buffer, and one in its table if it has one.
    Empty,
    /// A packed virtqueue has no chains with descriptors in both the ring and a table.
    Mixed,
}

/// A chain that the device has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// What [`DriverQueue::add`] returned for it.
    pub head: u16,
    /// How many bytes the device says it has written.
    pub len: u32,
}

/// What the driver's side of a virtqueue of either format does.
pub trait DriverQueue {
    /// The memory that the queue lies in.
    type Memory;

    /// The memory that the queue lies in.
    fn memory(&self) -> &Self::Memory;

    /// Number of descriptors in the ring that are in no chain.
    fn free(&self) -> usize;

    /// Adds a chain of `buffers`, in the order given. The device sees it after
    /// [`publish`](Self::publish). Returns what the chain is called.
    ///
    /// # Errors
    ///
    /// If there is no room; nothing has changed then.
    fn add(&mut self, buffers: &[Buffer], form: Form) -> Result<u16, AddError>;

    /// Shows the device all chains that were added.
    fn publish(&mut self);

    /// Whether the device wants to be kicked for what was published since this was last
    /// asked.
    fn needs_kick(&mut self) -> bool;

    /// Takes back the next chain that the device has used, if there is one. Its
    /// descriptors are free again.
    ///
    /// With `VIRTIO_F_IN_ORDER`, a chain of which the device has only told by telling of a
    /// later one has the length of all its writable buffers (2.7.9, 2.8.8).
    ///
    /// # Panics
    ///
    /// If the device has used a chain that it does not have.
    fn poll_used(&mut self) -> Option<Used>;

    /// Asks for an interrupt when the next chain is used. Returns whether there are used
    /// chains already, for which none may come.
    fn enable_interrupts(&self) -> bool;

    /// Asks for no interrupts.
    fn disable_interrupts(&self);

    /// Moves the virtqueue, with all chains that are in it, to where `layout` says in
    /// `memory`. The device must not look at it meanwhile, and has to be told.
    ///
    /// # Panics
    ///
    /// If the layout is not valid, or has another size.
    fn relocate(&mut self, memory: Self::Memory, layout: QueueLayout);
}

/// Copies the parts of a virtqueue from one memory to another.
pub(super) fn copy_areas<D: DriverMemory>(
    (from, old): (&D, QueueLayout),
    (to, new): (&D, QueueLayout),
    features: Features,
) {
    if let Err(error) = new.validate(features) {
        panic!("{error}");
    }
    assert_eq!(old.size, new.size, "a ring cannot be resized");
    for area in [Area::Descriptor, Area::Driver, Area::Device] {
        let mut bytes = std::vec![0; old.len(area, features)];
        from.read(old.address(area), &mut bytes);
        to.write(new.address(area), &bytes);
    }
}

/// The length of a chain of which the device has told with a later one.
pub(super) fn full_length(buffers: &[Buffer]) -> u32 {
    let writable = buffers.iter().filter(|buffer| buffer.writable);
    writable.fold(0, |sum, buffer| sum.wrapping_add(buffer.len))
}
