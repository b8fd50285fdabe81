// SPDX-License-Identifier: GPL-2.0

//! Faults: each rule of the specification that a driver can break, by name.
//!
//! A fault ends the work of a queue until the driver resets the device. It carries what
//! its line in the log says: which descriptor, and what was seen there.

use core::fmt;

use super::{
    layout::Area,
    memory::{
        Access,
        AccessError, //
    },
};

/// Where a descriptor lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// In the ring.
    Ring(u16),
    /// In an indirect table.
    Table {
        /// The descriptor in the ring that refers to the table.
        descriptor: u16,
        /// The descriptor's index in the table.
        entry: u16,
    },
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ring(index) => write!(f, "descriptor {index}"),
            Self::Table { descriptor, entry } => {
                write!(f, "descriptor {descriptor}, entry {entry} of its table")
            }
        }
    }
}

/// What a piece of memory is to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A part of the virtqueue itself.
    Area(Area),
    /// The indirect table of a descriptor in the ring.
    Table(u16),
    /// The buffer of a descriptor.
    Buffer(Position),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Area(area) => area.fmt(f),
            Self::Table(descriptor) => write!(f, "indirect table of descriptor {descriptor}"),
            Self::Buffer(position) => write!(f, "buffer of {position}"),
        }
    }
}

/// An access to memory that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the memory is to the device.
    pub part: Part,
    /// Where the access starts.
    pub iova: u64,
    /// Length of the access in bytes.
    pub len: u32,
    /// What the device wanted to do.
    pub access: Access,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.access {
            Access::Read => "read",
            Access::Write => "write",
            Access::ReadWrite => "read and write",
        };
        let Self {
            part, iova, len, ..
        } = self;
        write!(f, "{part}: {access} of {len} bytes at {iova:#x}")
    }
}

/// A rule that the driver has broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The available index moved by more than the queue's size: backwards, or beyond what
    /// the ring can hold (2.7.13.3).
    AvailableIndex {
        /// The index that was read.
        index: u16,
        /// The index of the next chain that the device would take.
        next: u16,
        /// Number of descriptors in the queue.
        size: u16,
    },
    /// An entry of the available ring names a descriptor that does not exist (2.7.6).
    Head {
        /// The entry.
        head: u16,
        /// Number of descriptors in the queue.
        size: u16,
    },
    /// A descriptor goes on at one that does not exist (2.7.5).
    Next {
        /// The descriptor that goes on.
        position: Position,
        /// Where it says that it goes on.
        next: u16,
        /// Number of descriptors in its table.
        size: u16,
    },
    /// A chain has more descriptors than it may have; in a split virtqueue, this is also
    /// how a loop ends (2.7.5.2, 2.7.5.3.1, 2.8.6).
    TooManyDescriptors {
        /// The first descriptor that is one too many.
        position: Position,
        /// How many it may have: as many as the queue has or, with an indirect table, what
        /// [`table_limit`](super::layout::table_limit) says.
        size: u16,
    },
    /// A chain has more bytes than a length field can say (2.7.5.2).
    TooManyBytes {
        /// The first descriptor that goes beyond.
        position: Position,
    },
    /// A buffer goes beyond the end of the address space.
    AddressOverflow {
        /// The buffer's descriptor.
        position: Position,
        /// Where the buffer starts.
        iova: u64,
        /// Its length in bytes.
        len: u32,
    },
    /// A descriptor has an indirect table, which was not negotiated (2.7.5.3.1, 2.8.7).
    IndirectNotNegotiated {
        /// The descriptor.
        descriptor: u16,
    },
    /// A descriptor in an indirect table has an indirect table (2.7.5.3.1,
    /// 2.8.7).
    IndirectNested {
        /// The descriptor.
        position: Position,
    },
    /// A descriptor with an indirect table goes on at another descriptor (2.7.5.3.1), or
    /// belongs to a chain of several in a packed virtqueue (2.8.7).
    IndirectWithNext {
        /// The descriptor.
        descriptor: u16,
    },
    /// The length of an indirect table is zero, not a multiple of 16, or more than 65535
    /// descriptors, which is as far as an index reaches (2.7.5.3).
    IndirectLength {
        /// The descriptor that refers to the table.
        descriptor: u16,
        /// The table's length in bytes.
        len: u32,
    },
    /// A chain has a buffer id that is not less than the queue's size (2.8.13).
    BufferId {
        /// The chain's first descriptor.
        descriptor: u16,
        /// The id.
        id: u16,
        /// Number of descriptors in the queue.
        size: u16,
    },
    /// A chain was made available before one of its descriptors was (2.8.6).
    ChainNotAvailable {
        /// That descriptor.
        descriptor: u16,
    },
    /// A descriptor was made available again before the device has used it (2.8.1).
    WithDevice {
        /// The descriptor.
        descriptor: u16,
    },
    /// A buffer of a queue that the device only reads is for writing.
    NotReadable {
        /// The buffer's descriptor.
        position: Position,
    },
    /// A buffer of a queue that the device only writes is for reading.
    NotWritable {
        /// The buffer's descriptor.
        position: Position,
    },
    /// A buffer for reading comes after one for writing (2.7.4.2).
    ReadableAfterWritable {
        /// The descriptor of the one for reading.
        position: Position,
    },
    /// Nothing is mapped there.
    Unmapped(Place),
    /// What is mapped there does not permit the access.
    Permission(Place),
    /// A command has no byte for the device's answer (5.1.6.5).
    NoAnswer,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AvailableIndex { index, next, size } => write!(
                f,
                "available index {index} is not within {size} of the next one, {next}"
            ),
            Self::Head { head, size } => {
                write!(f, "available ring names descriptor {head} of {size}")
            }
            Self::Next {
                position,
                next,
                size,
            } => write!(f, "{position}: goes on at {next} of {size}"),
            Self::TooManyDescriptors { position, size } => write!(
                f,
                "{position}: chain has a loop or more than {size} descriptors"
            ),
            Self::TooManyBytes { position } => {
                write!(f, "{position}: chain has more than {} bytes", u32::MAX)
            }
            Self::AddressOverflow {
                position,
                iova,
                len,
            } => write!(
                f,
                "{position}: {len} bytes at {iova:#x} go beyond the address space"
            ),
            Self::IndirectNotNegotiated { descriptor } => write!(
                f,
                "descriptor {descriptor}: indirect, but VIRTIO_F_INDIRECT_DESC is not negotiated"
            ),
            Self::IndirectNested { position } => {
                write!(f, "{position}: indirect within an indirect table")
            }
            Self::IndirectWithNext { descriptor } => {
                write!(f, "descriptor {descriptor}: both indirect and chained")
            }
            Self::IndirectLength { descriptor, len } => write!(
                f,
                "descriptor {descriptor}: {len} bytes are not 1 to 65535 indirect descriptors"
            ),
            Self::BufferId {
                descriptor,
                id,
                size,
            } => write!(
                f,
                "descriptor {descriptor}: chain has buffer id {id} of {size}"
            ),
            Self::ChainNotAvailable { descriptor } => write!(
                f,
                "descriptor {descriptor}: not available, but its chain is"
            ),
            Self::WithDevice { descriptor } => write!(
                f,
                "descriptor {descriptor}: available again before it was used"
            ),
            Self::NotReadable { position } => {
                write!(f, "{position}: write-only in a queue that the device reads")
            }
            Self::NotWritable { position } => {
                write!(f, "{position}: read-only in a queue that the device writes")
            }
            Self::ReadableAfterWritable { position } => {
                write!(f, "{position}: read-only after a write-only one")
            }
            Self::Unmapped(place) => write!(f, "{place}: not mapped"),
            Self::Permission(place) => write!(f, "{place}: not permitted"),
            Self::NoAnswer => f.write_str("command without a writable byte for the answer"),
        }
    }
}

/// Why a queue could not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// The driver broke a rule.
    Fault(Fault),
    /// Memory is mapped but not resident. The caller brings in these bytes and starts over
    /// with the chain that [`peek`](super::queue::Queue::peek) gives: nothing was consumed.
    NotPresent(Place),
}

impl QueueError {
    /// The error that `error` at `place` amounts to.
    #[cold]
    pub(super) fn access(error: AccessError, place: Place) -> Self {
        match error {
            AccessError::Unmapped => Self::Fault(Fault::Unmapped(place)),
            AccessError::Permission => Self::Fault(Fault::Permission(place)),
            AccessError::NotPresent => Self::NotPresent(place),
        }
    }
}

impl From<Fault> for QueueError {
    #[cold]
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::NotPresent(place) => write!(f, "{place}: not resident"),
        }
    }
}

/// Which of two chains ended a copy between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// The chain that was read.
    Source(QueueError),
    /// The chain that was written.
    Destination(QueueError),
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "source: {error}"),
            Self::Destination(error) => write!(f, "destination: {error}"),
        }
    }
}
