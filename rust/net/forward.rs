// SPDX-License-Identifier: GPL-2.0

//! Where a switch sends a frame.

use core::ops::Deref;

use super::{
    frame::Headers,
    table::{
        Bucket,
        Port,
        Station,
        Table, //
    },
};

/// Where a frame goes. Never to the port that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nowhere: its sender cannot exist, or its receiver is at the port that it came from.
    Nowhere,
    /// To one port.
    To(Port),
    /// To all ports but the one that it came from.
    Flood,
}

impl Forward {
    /// Whether a frame from the port `from` goes to `port`.
    #[inline]
    pub fn reaches(self, port: Port, from: Port) -> bool {
        port != from
            && match self {
                Self::Nowhere => false,
                Self::To(one) => one == port,
                Self::Flood => true,
            }
    }
}

/// The station that sent a frame.
#[inline]
pub fn sender(headers: &Headers) -> Station {
    Station::new(headers.vlan, headers.source)
}

/// Where a frame from the port `from` goes, with what the switch has learned so far.
///
/// What is for a group or for everyone goes to all other ports, and so does what is for a
/// station that the switch does not know. Each of the ports may filter what it gets.
///
/// This changes nothing: whether and when the switch learns where the [`sender`] is, is
/// its own affair, and it does not matter for the frame itself.
#[inline]
pub fn forward<C: Deref<Target = [Bucket]>>(
    table: &Table<C>,
    headers: &Headers,
    from: Port,
) -> Forward {
    if !sender(headers).is_valid() {
        return Forward::Nowhere;
    }
    let [first, ..] = headers.destination;
    if first & 1 != 0 {
        return Forward::Flood;
    }
    match table.lookup(Station::new(headers.vlan, headers.destination)) {
        Some(entry) if entry.port == from => Forward::Nowhere,
        Some(entry) => Forward::To(entry.port),
        None => Forward::Flood,
    }
}
