// SPDX-License-Identifier: GPL-2.0

//! The other side, for tests: a memory, and the driver of a virtqueue.
//!
//! [`MockMemory`] is an address space made of regions, which a device reaches through
//! [`Memory`](crate::memory::Memory) under the rules that one would find in an IOMMU:
//! mapped or not, permitted or not, resident or not. Its owner can log what the device
//! does, and change bytes between two accesses of the device.
//!
//! [`SplitDriver`] and [`PackedDriver`] are the driver's side of a virtqueue; what they
//! have in common is [`DriverQueue`]. They behave well, and have methods that do not, to
//! write anything anywhere in the rings. They work on whatever implements
//! [`DriverMemory`]: a [`MockMemory`], or memory that is shared with a real device.
//!
//! All panic when they are used wrongly, as tests do.
//!
//! # Examples
//!
//! A device that answers a request with its bytes in reverse:
//!
//! ```
//! use rvdpa_virtio::{
//!     features::Features,
//!     layout::QueueLayout,
//!     memory::Access,
//!     mock::{Buffer, DriverMemory, Form, MockMemory, SplitDriver, Used},
//!     queue::{Interrupt, Queue},
//!     split::SplitQueue,
//! };
//!
//! // The rings lie in one mapping, the buffers in others.
//! let memory = MockMemory::new();
//! memory.map(0x1000, 0x3000, Access::ReadWrite);
//! memory.map(0x10000, 16, Access::Read);
//! memory.map(0x20000, 16, Access::Write);
//!
//! let layout = QueueLayout {
//!     size: 16,
//!     descriptor: 0x1000,
//!     driver: 0x2000,
//!     device: 0x3000,
//! };
//! let features = Features::VERSION_1;
//!
//! // The driver makes a chain of two buffers available.
//! let mut driver = SplitDriver::new(memory.clone(), layout, features, 0);
//! memory.write(0x10000, b"virtio");
//! let head = driver
//!     .add(&[Buffer::readable(0x10000, 6), Buffer::writable(0x20000, 16)], Form::Direct)
//!     .unwrap();
//! driver.publish();
//! assert!(driver.needs_kick());
//!
//! // The device takes it.
//! let mut queue = SplitQueue::new(MockMemory::areas());
//! queue.setup(layout, features, 0).unwrap();
//! queue.begin(&memory).unwrap();
//! let chain = queue.peek(&memory).unwrap().unwrap();
//! let mut request = queue.request(&memory, &chain).unwrap();
//! let mut bytes = [0; 16];
//! let len = request.read(&mut bytes).unwrap();
//! bytes[..len].reverse();
//! let mut answer = request.into_writer().unwrap();
//! answer.write(&bytes[..len]).unwrap();
//! let written = answer.written();
//! queue.complete(&memory, chain, written).unwrap();
//! assert_eq!(queue.publish(&memory), Ok(Interrupt::Raise));
//!
//! // The driver has it back.
//! assert_eq!(driver.poll_used(), Some(Used { head, len: 6 }));
//! memory.read(0x20000, &mut bytes[..6]);
//! assert_eq!(&bytes[..6], b"oitriv");
//! ```

mod driver;
mod memory;
mod packed;
mod split;

pub use driver::{
    AddError,
    Buffer,
    DriverMemory,
    DriverQueue,
    Form,
    Used, //
};
pub use memory::{
    DeviceAccess,
    MockArea,
    MockMemory,
    MockSpan, //
};
pub use packed::PackedDriver;
pub use split::SplitDriver;
