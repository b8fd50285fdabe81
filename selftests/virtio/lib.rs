// SPDX-License-Identifier: GPL-2.0

//! Tests of the virtio layer on the host, and what they share: a [`Rig`].

use rvdpa_virtio::{
    fault::{
        Fault,
        QueueError, //
    },
    features::Features,
    layout::{
        Area,
        QueueLayout, //
    },
    memory::Access,
    mock::{
        Buffer,
        Form,
        MockArea,
        MockMemory,
        SplitDriver, //
    },
    queue::Queue,
    split::{
        Head,
        SplitQueue, //
    },
};

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

/// All features of rings that a split virtqueue can have.
pub const ALL: Features = Features::INDIRECT_DESC.union(Features::EVENT_IDX);

/// A driver and a device with a split virtqueue between them. Each part of the memory
/// permits exactly what the device has to do there.
pub struct Rig {
    /// What they share.
    pub memory: MockMemory,
    /// The driver's side.
    pub driver: SplitDriver<MockMemory>,
    /// The device's side.
    pub queue: SplitQueue<MockArea>,
}

/// The layout of a rig's queue.
pub fn layout(size: u16) -> QueueLayout {
    QueueLayout {
        size,
        descriptor: DESCRIPTOR,
        driver: DRIVER,
        device: DEVICE,
    }
}

impl Rig {
    /// A queue of `size` descriptors, all indices zero.
    pub fn new(size: u16, features: Features) -> Self {
        Self::starting_at(size, features, 0)
    }

    /// A queue of `size` descriptors, all indices `index`.
    pub fn starting_at(size: u16, features: Features, index: u16) -> Self {
        let memory = MockMemory::new();
        let layout = layout(size);
        for (area, access) in [
            (Area::Descriptor, Access::Read),
            (Area::Driver, Access::Read),
            (Area::Device, Access::Write),
        ] {
            memory.map(layout.address(area), layout.len(area, features), access);
        }
        memory.map(TABLES, ROOM, Access::Read);
        memory.map(SOURCE, ROOM, Access::Read);
        memory.map(TARGET, ROOM, Access::Write);
        let driver = SplitDriver::new(memory.clone(), layout, features, index);
        let mut queue = SplitQueue::new(MockMemory::areas());
        queue.setup(layout, features, index).unwrap();
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
    pub fn peek(&mut self) -> Result<Option<Head>, QueueError> {
        self.queue.begin(&self.memory)?;
        self.queue.peek(&self.memory)
    }

    /// The next chain, which must be there.
    pub fn head(&mut self) -> Head {
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
