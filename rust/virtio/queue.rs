// SPDX-License-Identifier: GPL-2.0

//! What a device asks of a virtqueue, whatever its format.
//!
//! A device is written once, for any [`Queue`], and compiled for each format: which one a
//! queue has is looked at once per batch, not per descriptor; see [`ring`](super::ring).
//!
//! A batch of work is
//!
//! 1. [`begin`](Queue::begin);
//! 2. for each chain, [`peek`](Queue::peek), then a reader or a writer over it, then
//!    [`complete`](Queue::complete) or [`complete_fully`](Queue::complete_fully), or
//!    nothing at all to leave the chain where it is;
//! 3. [`publish`](Queue::publish), now and then and at the end, which tells whether the
//!    driver is to be interrupted;
//! 4. [`allow_kicks`](Queue::allow_kicks), and over again if it finds more.
//!
//! Only the first needs the queue for itself alone. The others may be called while readers
//! and writers exist, so a device can hold several chains at once: a frame that takes
//! several receive buffers gets its header when the last of them is filled.

use super::{
    chain::{
        Reader,
        Walk,
        Writer, //
    },
    fault::QueueError,
    memory::Memory,
    short::ShortChains,
};

/// What is to follow after used buffers were published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// There were none since the last time.
    Nothing,
    /// The driver does not want to be interrupted now.
    Suppressed,
    /// The driver is to be interrupted.
    Raise,
}

/// Whether an index that went from `old` to `new` has passed `event`: the decision on
/// notifications with `VIRTIO_F_EVENT_IDX` (2.7.7.2, 2.7.10.2). All wrap at 65536.
#[inline]
pub const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// The device side of a virtqueue.
///
/// All methods that take memory want the one that the last [`begin`](Queue::begin) had.
/// A queue that is not set up has nothing available and touches no memory.
///
/// # Errors
///
/// After [`QueueError::NotPresent`], the method can be called again when the memory has
/// been brought in and [`begin`](Queue::begin) was called; what it had done so far is not
/// done twice. After [`QueueError::Fault`], the queue is broken: it stays memory-safe, and
/// nothing else is promised until it is set up anew.
pub trait Queue {
    /// The translation of one part of the queue; see [`Memory::Area`].
    type Area;

    /// A chain that is available, as [`peek`](Queue::peek) found it.
    type Head;

    /// How far the queue was at a certain time.
    type Mark: Copy;

    /// How the descriptors of a chain follow each other.
    type Walk<'m, M>: Walk<'m, Memory = M>
    where
        Self: 'm,
        M: Memory<Area = Self::Area> + 'm;

    /// Finds the memory of the queue's areas. Called at the start of each batch of work;
    /// cheap when no mapping has changed since the last one.
    fn begin<M: Memory<Area = Self::Area>>(&mut self, mem: &M) -> Result<(), QueueError>;

    /// The next available chain, if there is one. It stays available: until it is
    /// completed, the same one is found again.
    ///
    /// A split virtqueue reads from memory how many there are once per batch of available
    /// chains; a packed one looks at the next descriptor each time.
    fn peek<M: Memory<Area = Self::Area>>(&self, mem: &M)
        -> Result<Option<Self::Head>, QueueError>;

    /// Finds the chains that come next, at most `limit` of them, up to one that is not a
    /// [`ShortChain`](super::short::ShortChain). Returns how many.
    ///
    /// What ends them, be it an error, is for [`peek`](Queue::peek) to tell when the chains
    /// before it are completed. Fewer may be found than there are.
    fn peek_short<M: Memory<Area = Self::Area>>(
        &self,
        mem: &M,
        limit: usize,
        chains: &mut ShortChains,
    ) -> usize;

    /// Takes the first `count` of the chains that were found, which are the next ones still,
    /// and hands them back as used: if they were `read`, with nothing written to them, as
    /// [`complete_fully`](Queue::complete_fully) does it; else with the bytes that they say were
    /// written, as [`complete`](Queue::complete). Returns whether it was possible; if not, none
    /// is.
    fn complete_short<M: Memory<Area = Self::Area>>(
        &self,
        mem: &M,
        chains: &mut ShortChains,
        count: usize,
        read: bool,
    ) -> bool;

    /// Walks over the descriptors of a chain.
    fn walk<'m, M: Memory<Area = Self::Area>>(
        &'m self,
        mem: &'m M,
        head: &Self::Head,
    ) -> Self::Walk<'m, M>;

    /// Takes the chain that [`peek`](Queue::peek) gives and hands it back as used, with
    /// `written` bytes in it. The driver does not see it before
    /// [`publish`](Queue::publish).
    ///
    /// Chains are completed in the order in which they are available. The driver is told of
    /// this one by itself, with its length, whatever was negotiated.
    fn complete<M: Memory<Area = Self::Area>>(
        &self,
        mem: &M,
        head: Self::Head,
        written: u32,
    ) -> Result<(), QueueError>;

    /// Like [`complete`](Queue::complete), for a chain that was used to its end: nothing of
    /// its device-writable buffers is left, so that `written` is their length. That is also
    /// so, with zero, for a chain that has none, as those of a transmit queue.
    ///
    /// With `VIRTIO_F_IN_ORDER`, the driver may be told of such a chain by what it is told
    /// of a later one that is published at the same time, and takes what it was not told of
    /// as used to the end (2.7.9, 2.8.8). A driver believes that, and would take bytes that
    /// the device did not write for received ones: what is filled in part has to go through
    /// [`complete`](Queue::complete). Without the feature, both do the same.
    ///
    /// Not every driver expects this where it reads what was written. Those of DPDK do for
    /// transmit queues, but look for a length of each chain in receive queues.
    fn complete_fully<M: Memory<Area = Self::Area>>(
        &self,
        mem: &M,
        head: Self::Head,
        written: u32,
    ) -> Result<(), QueueError>;

    /// Shows the driver all chains that were completed since the last time, with one
    /// store, and decides about an interrupt.
    fn publish<M: Memory<Area = Self::Area>>(&self, mem: &M) -> Result<Interrupt, QueueError>;

    /// Tells the driver that kicks are not wanted now. It may kick nevertheless.
    fn suppress_kicks<M: Memory<Area = Self::Area>>(&self, mem: &M) -> Result<(), QueueError>;

    /// Tells the driver that a kick is wanted for the next chain that it makes available,
    /// and then looks whether chains are available. If so, no kick may come for them, and
    /// whoever wanted to wait for one goes on instead.
    fn allow_kicks<M: Memory<Area = Self::Area>>(&self, mem: &M) -> Result<bool, QueueError>;

    /// How far the queue is now, for [`rewind`](Queue::rewind).
    fn mark(&self) -> Self::Mark;

    /// Makes the chains that were completed since `mark` available again, the first of
    /// them next. What was published cannot be taken back: if there is any of it since
    /// `mark`, nothing happens. After this, marks of a later time are of no use.
    fn rewind(&self, mark: Self::Mark);

    /// Reads a chain that may only have device-readable buffers, as those of a transmit
    /// queue.
    ///
    /// # Errors
    ///
    /// Those of the chain's first buffer; those of the others come when they are reached.
    #[inline]
    fn reader<'m, M: Memory<Area = Self::Area>>(
        &'m self,
        mem: &'m M,
        head: &Self::Head,
    ) -> Result<Reader<'m, Self::Walk<'m, M>>, QueueError> {
        Reader::new(self.walk(mem, head))
    }

    /// Writes a chain that may only have device-writable buffers, as those of a receive
    /// queue.
    ///
    /// # Errors
    ///
    /// Those of the chain's first buffer; those of the others come when they are reached.
    #[inline]
    fn writer<'m, M: Memory<Area = Self::Area>>(
        &'m self,
        mem: &'m M,
        head: &Self::Head,
    ) -> Result<Writer<'m, Self::Walk<'m, M>>, QueueError> {
        Writer::new(self.walk(mem, head))
    }

    /// Reads a chain that has device-readable buffers, then device-writable ones for the
    /// answer, as those of a control queue: see [`Reader::into_writer`].
    ///
    /// # Errors
    ///
    /// Those of the chain's first buffer; those of the others come when they are reached.
    #[inline]
    fn request<'m, M: Memory<Area = Self::Area>>(
        &'m self,
        mem: &'m M,
        head: &Self::Head,
    ) -> Result<Reader<'m, Self::Walk<'m, M>>, QueueError> {
        Reader::of_request(self.walk(mem, head))
    }
}
