// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with a command.

use core::fmt;

use super::super::{
    super::features::Features,
    offload::GuestOffloadsError,
    MacAddress, //
};

/// Why a command is refused. The device answers each of them with [`ERR`](super::ERR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// There is no such class of commands.
    Class(u8),
    /// There is no such command in its class.
    Command {
        /// The class.
        class: u8,
        /// The command.
        command: u8,
    },
    /// The command needs features that were not negotiated: one of these.
    Feature(Features),
    /// There is too little data.
    Short {
        /// Its length in bytes.
        len: usize,
        /// What it has to be at least, as far as that could be told.
        least: usize,
    },
    /// There is too much data.
    Long {
        /// Its length in bytes.
        len: usize,
        /// What it may be at most.
        most: usize,
    },
    /// An address is not that of one station.
    NoStation(MacAddress),
    /// An address is not that of a group.
    NoGroup(MacAddress),
    /// A VLAN ID is larger than 4095.
    Vlan(u16),
    /// A number of queue pairs, or of transmit queues, is zero or more than there are.
    Pairs(u16),
    /// A hash type is not supported: these bits.
    HashTypes(u32),
    /// The number of entries of an indirection table, which is this mask and one, is no
    /// power of two, or too large.
    Mask(u16),
    /// There is no receive queue of this number, which counts from zero.
    ReceiveQueue(u16),
    /// A hash key is longer than supported, or empty where hashes are wanted: its length
    /// in bytes.
    KeyLength(u8),
    /// The offloads cannot be set.
    Offloads(GuestOffloadsError),
    /// There is no virtqueue of this index, or it is not one for this command.
    Queue(u16),
    /// Statistics are unknown, not for this virtqueue, or belong to features that were
    /// not negotiated: these types.
    Statistics {
        /// The index of the virtqueue.
        queue: u16,
        /// The bits of the types.
        types: u64,
    },
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Class(class) => write!(f, "unknown class {class}"),
            Self::Command { class, command } => {
                write!(f, "unknown command {command} of class {class}")
            }
            Self::Feature(needs) => write!(f, "{needs} not negotiated"),
            Self::Short { len, least } => write!(f, "{len} bytes of data, needs {least}"),
            Self::Long { len, most } => write!(f, "{len} bytes of data, at most {most} allowed"),
            Self::NoStation(mac) => write!(f, "{mac} is not the address of one station"),
            Self::NoGroup(mac) => write!(f, "{mac} is not the address of a group"),
            Self::Vlan(id) => write!(f, "VLAN ID {id} out of range"),
            Self::Pairs(count) => write!(f, "{count} queue pairs out of range"),
            Self::HashTypes(bits) => write!(f, "hash types {bits:#x} not supported"),
            Self::Mask(mask) => write!(f, "indirection table mask {mask:#x} not supported"),
            Self::ReceiveQueue(queue) => write!(f, "no receive queue {queue}"),
            Self::KeyLength(len) => write!(f, "hash key of {len} bytes not supported"),
            Self::Offloads(error) => write!(f, "offloads: {error}"),
            Self::Queue(index) => write!(f, "no such virtqueue {index}"),
            Self::Statistics { queue, types } => {
                write!(f, "no statistics {types:#x} of virtqueue {queue}")
            }
        }
    }
}
