// SPDX-License-Identifier: GPL-2.0

//! Commands of the control queue (5.1.6.5): two bytes, class and command, then the
//! command's data, then one byte for the device's answer, then what else is answered.
//!
//! The modules have the numbers; [`Command`] is what a driver asks for.

mod addresses;
mod command;
mod data;
mod error;
mod parse;

pub use addresses::{
    MacTable,
    MacTables, //
};
pub use command::{
    Command,
    Limits,
    RxMode, //
};
pub use error::CommandError;

pub(super) use data::Data;

/// Length of class and command in bytes.
pub const HEADER_LEN: usize = 2;

/// Most bytes of data of a command that a device has to take. A command with more of them
/// is refused.
///
/// Most of what Linux sends is short; a table of addresses can have any length. There is
/// room for 681 of them, which is beyond what devices filter by.
pub const MAX_DATA_LEN: usize = 4096;

/// Answer: done.
pub const OK: u8 = 0;
/// Answer: refused.
pub const ERR: u8 = 1;

/// Receive modes (5.1.6.5.1). Each command has one byte of data: off or on.
pub mod rx {
    /// The class.
    pub const CLASS: u8 = 0;
    /// Receive everything.
    pub const PROMISC: u8 = 0;
    /// Receive all multicast frames.
    pub const ALLMULTI: u8 = 1;
    /// Receive all unicast frames.
    pub const ALLUNI: u8 = 2;
    /// Receive no multicast frames.
    pub const NOMULTI: u8 = 3;
    /// Receive no unicast frames.
    pub const NOUNI: u8 = 4;
    /// Receive no broadcast frames.
    pub const NOBCAST: u8 = 5;
}

/// Address filters (5.1.6.5.2).
pub mod mac {
    /// The class.
    pub const CLASS: u8 = 1;
    /// Sets the tables of addresses to receive: twice a 32-bit number of addresses
    /// and the addresses, first unicast, then multicast.
    pub const TABLE_SET: u8 = 0;
    /// Sets the device's own address, six bytes.
    pub const ADDR_SET: u8 = 1;
}

/// VLAN filter (5.1.6.5.3). Each command has a 16-bit VLAN ID.
pub mod vlan {
    /// The class.
    pub const CLASS: u8 = 2;
    /// Receive this VLAN.
    pub const ADD: u8 = 0;
    /// No longer receive this VLAN.
    pub const DEL: u8 = 1;
}

/// Announcements (5.1.6.5.4).
pub mod announce {
    /// The class.
    pub const CLASS: u8 = 3;
    /// The driver has seen that it is to announce its addresses.
    pub const ACK: u8 = 0;
}

/// Several queue pairs (5.1.6.5.5 to 5.1.6.5.7).
pub mod mq {
    /// The class.
    pub const CLASS: u8 = 4;
    /// Sets how many queue pairs are in use, a 16-bit number.
    pub const VQ_PAIRS_SET: u8 = 0;
    /// Sets up receive steering by hash.
    pub const RSS_CONFIG: u8 = 1;
    /// Sets up the reporting of hashes.
    pub const HASH_CONFIG: u8 = 2;
}

/// Offloads (5.1.6.5.8).
pub mod offloads {
    /// The class.
    pub const CLASS: u8 = 5;
    /// Sets which offloads are on: 64 bits, as the feature bits have them.
    pub const SET: u8 = 0;
}

/// Coalescing of notifications (5.1.6.5.9).
pub mod coalescing {
    /// The class.
    pub const CLASS: u8 = 6;
    /// Sets the parameters of all transmit queues.
    pub const TX_SET: u8 = 0;
    /// Sets the parameters of all receive queues.
    pub const RX_SET: u8 = 1;
    /// Sets the parameters of one queue.
    pub const VQ_SET: u8 = 2;
    /// Gets the parameters of one queue.
    pub const VQ_GET: u8 = 3;
}

/// Statistics (5.1.6.5.10).
pub mod stats {
    /// The class.
    pub const CLASS: u8 = 8;
    /// Asks which statistics there are.
    pub const QUERY: u8 = 0;
    /// Asks for statistics.
    pub const GET: u8 = 1;
}
