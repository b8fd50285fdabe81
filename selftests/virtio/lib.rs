// SPDX-License-Identifier: GPL-2.0

//! Tests of the virtio layer on the host, and what they share: a
//! [`RigOf`] each format.
//!
//! What holds for both formats is written once, in `tests/shared`, and included for each.

use rvdpa_virtio::{
    fault::{
        Fault,
        QueueError, //
    },
    features::Features,
    layout::{
        packed::Slot,
        Area,
        QueueLayout, //
    },
    memory::Access,
    mock::{
        Buffer,
        Form,
        MockArea,
        MockMemory,
        PackedDriver,
        SplitDriver, //
    },
    packed::{
        Completion,
        PackedQueue,
        State, //
    },
    queue::Queue,
    split::SplitQueue,
};
use std::cell::Cell;

mod steps;
pub use steps::*;

// For tests of both formats; a split driver has the methods itself.
pub use rvdpa_virtio::mock::DriverQueue;

/// Where the descriptor area is.
pub const DESCRIPTOR: u64 = 0x100_0000;
/// Where the driver area is.
pub const DRIVER: u64 = 0x200_0000;
/// Where the device area is.
pub const DEVICE: u64 = 0x300_0000;
/// Where tables are: [`ROOM`] bytes that the device may read.
pub const TABLES: u64 = 0x400_0000;
/// Where buffers for reading are: [`ROOM`] bytes that the device may read.
pub const SOURCE: u64 = 0x500_0000;
/// Where buffers for writing are: [`ROOM`] bytes that the device may write.
pub const TARGET: u64 = 0x600_0000;
/// How many bytes there are of each of these.
pub const ROOM: usize = 0x20_0000;

/// All features of rings, but for their format and order.
pub const ALL: Features = Features::INDIRECT_DESC.union(Features::EVENT_IDX);
/// Those, and buffers are used in order.
pub const IN_ORDER: Features = ALL.union(Features::IN_ORDER);

/// A format of virtqueues: its driver and its device.
pub trait Format: Sized {
    /// The driver's side.
    type Driver: DriverQueue<Memory = MockMemory>;
    /// The device's side.
    type Queue: Queue<Area = MockArea>;
    /// Whether the ring is packed.
    const PACKED: bool;
    /// Where the descriptors of a chain may be, with a table at [`TABLES`] if need be.
    const FORMS: &'static [Form];
    /// The smallest and the largest sizes.
    const SIZES: &'static [u16];

    /// A driver that starts at `start`, which is an index, or a slot as bits.
    fn driver(
        memory: MockMemory,
        layout: QueueLayout,
        features: Features,
        start: u16,
    ) -> Self::Driver;

    /// A device that starts at `start`, which is an index, or a slot as bits.
    fn queue(layout: QueueLayout, features: Features, start: u16) -> Self::Queue;

    /// Where the queue stands, as `start` has it.
    fn standing(queue: &Self::Queue) -> u16;

    /// What the driver calls the chain.
    fn name(head: &<Self::Queue as Queue>::Head) -> u16;

    /// Where a new queue starts.
    fn start() -> u16;

    /// A start two chains before the end: of the indices, or of a ring of `size`
    /// descriptors, which has at least two.
    fn near_wrap(size: u16) -> u16;
}

/// The split virtqueue.
pub struct Split;

impl Format for Split {
    type Driver = SplitDriver<MockMemory>;
    type Queue = SplitQueue<MockArea>;
    const PACKED: bool = false;
    const FORMS: &'static [Form] = &[
        Form::Direct,
        Form::Indirect { table: TABLES },
        Form::Mixed {
            direct: 2,
            table: TABLES,
        },
        Form::Mixed {
            direct: 3,
            table: TABLES,
        },
    ];
    const SIZES: &'static [u16] = &[1, 2, 32768];

    fn driver(
        memory: MockMemory,
        layout: QueueLayout,
        features: Features,
        start: u16,
    ) -> Self::Driver {
        SplitDriver::new(memory, layout, features, start)
    }

    fn queue(layout: QueueLayout, features: Features, start: u16) -> Self::Queue {
        let mut queue = SplitQueue::new(MockMemory::areas());
        queue.setup(layout, features, start).unwrap();
        queue
    }

    fn standing(queue: &Self::Queue) -> u16 {
        queue.avail_index()
    }

    fn name(head: &rvdpa_virtio::split::Head) -> u16 {
        head.index()
    }

    fn start() -> u16 {
        0
    }

    fn near_wrap(_size: u16) -> u16 {
        65534
    }
}

/// The packed virtqueue.
pub struct Packed;

/// The device's side of a packed virtqueue.
pub type MockPackedQueue = PackedQueue<MockArea, Vec<Cell<Completion>>>;

impl Format for Packed {
    type Driver = PackedDriver<MockMemory>;
    type Queue = MockPackedQueue;
    const PACKED: bool = true;
    const FORMS: &'static [Form] = &[Form::Direct, Form::Indirect { table: TABLES }];
    const SIZES: &'static [u16] = &[1, 2, 3, 32767, 32768];

    fn driver(
        memory: MockMemory,
        layout: QueueLayout,
        features: Features,
        start: u16,
    ) -> Self::Driver {
        PackedDriver::new(memory, layout, features, Slot::from_bits(start))
    }

    fn queue(layout: QueueLayout, features: Features, start: u16) -> Self::Queue {
        let completions = MockMemory::completions(layout.size);
        let mut queue = PackedQueue::new(MockMemory::areas(), completions);
        let state = State::at(Slot::from_bits(start));
        queue.setup(layout, features, state).unwrap();
        queue
    }

    fn standing(queue: &Self::Queue) -> u16 {
        queue.state().available.to_bits()
    }

    fn name(head: &rvdpa_virtio::packed::Head) -> u16 {
        head.id()
    }

    fn start() -> u16 {
        Slot::FIRST.to_bits()
    }

    fn near_wrap(size: u16) -> u16 {
        let index = size - 2;
        Slot { index, wrap: true }.to_bits()
    }
}

/// A driver and a device with a virtqueue between them. Each part of the memory permits
/// exactly what the device has to do there.
pub struct RigOf<F: Format> {
    /// What they share.
    pub memory: MockMemory,
    /// The driver's side.
    pub driver: F::Driver,
    /// The device's side.
    pub queue: F::Queue,
}

/// With a split virtqueue.
pub type SplitRig = RigOf<Split>;
/// With a packed virtqueue.
pub type PackedRig = RigOf<Packed>;

/// A chain that is available in a rig.
pub type HeadOf<F> = <<F as Format>::Queue as Queue>::Head;

/// The layout of a rig's queue.
pub fn layout(size: u16) -> QueueLayout {
    QueueLayout {
        size,
        descriptor: DESCRIPTOR,
        driver: DRIVER,
        device: DEVICE,
    }
}

impl<F: Format> RigOf<F> {
    /// A new queue of `size` descriptors.
    pub fn new(size: u16, features: Features) -> Self {
        Self::starting_at(size, features, F::start())
    }

    /// A queue of `size` descriptors, both sides of which are at `start`.
    pub fn starting_at(size: u16, features: Features, start: u16) -> Self {
        let features = with_format::<F>(features);
        let memory = MockMemory::new();
        let layout = layout(size);
        for (area, access) in [
            (
                Area::Descriptor,
                match F::PACKED {
                    true => Access::ReadWrite,
                    false => Access::Read,
                },
            ),
            (Area::Driver, Access::Read),
            (Area::Device, Access::Write),
        ] {
            memory.map(layout.address(area), layout.len(area, features), access);
        }
        memory.map(TABLES, ROOM, Access::Read);
        memory.map(SOURCE, ROOM, Access::Read);
        memory.map(TARGET, ROOM, Access::Write);
        let driver = F::driver(memory.clone(), layout, features, start);
        let queue = F::queue(layout, features, start);
        Self {
            memory,
            driver,
            queue,
        }
    }

    /// Makes a chain available.
    pub fn offer(&mut self, buffers: &[Buffer], form: Form) -> u16 {
        let head = self.driver.add(buffers, form).unwrap();
        self.driver.publish();
        head
    }

    /// The device starts a batch and looks for the next chain.
    pub fn peek(&mut self) -> Result<Option<HeadOf<F>>, QueueError> {
        self.queue.begin(&self.memory)?;
        self.queue.peek(&self.memory)
    }

    /// The next chain, which must be there.
    pub fn head(&mut self) -> HeadOf<F> {
        self.peek().unwrap().expect("nothing is available")
    }

    /// All that the device can read of the next chain.
    pub fn read_all(&mut self) -> Result<Vec<u8>, QueueError> {
        let head = self.peek()?.expect("nothing is available");
        let mut reader = self.queue.reader(&self.memory, &head)?;
        let mut all = Vec::new();
        let mut some = [0; 7];
        loop {
            let len = reader.read(&mut some)?;
            if len == 0 {
                break;
            }
            all.extend_from_slice(&some[..len]);
        }
        assert_eq!(reader.is_done(), Ok(true));
        Ok(all)
    }

    /// Writes `data` to the next chain and completes it, or what of it there is room for.
    pub fn write_all(&mut self, data: &[u8]) -> Result<u32, QueueError> {
        let head = self.peek()?.expect("nothing is available");
        let mut writer = self.queue.writer(&self.memory, &head)?;
        writer.write(data)?;
        let written = writer.written();
        self.queue.complete(&self.memory, head, written)?;
        Ok(written)
    }

    /// Takes the next chain and hands it back at once.
    pub fn complete(&mut self) {
        let head = self.head();
        self.queue.complete(&self.memory, head, 0).unwrap();
    }
}

/// What was negotiated for a queue, with its format.
pub fn with_format<F: Format>(features: Features) -> Features {
    match F::PACKED {
        true => features | Features::RING_PACKED,
        false => features,
    }
}

/// The fault of a result that must be one.
#[track_caller]
pub fn fault<T>(result: Result<T, QueueError>) -> Fault {
    match result {
        Err(QueueError::Fault(fault)) => fault,
        Err(error) => panic!("not a fault: {error}"),
        Ok(_) => panic!("no fault"),
    }
}

/// `len` bytes that differ from their neighbours, and from those of another `seed`.
pub fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8) ^ seed)
        .collect()
}
