// SPDX-License-Identifier: GPL-2.0

//! The tables of `VIRTIO_NET_CTRL_MAC_TABLE_SET` (5.1.6.5.2).

use super::{
    super::{
        super::num::usize_from_u32,
        MacAddress, //
    },
    data::Data,
    CommandError, //
};

/// Length of an address in bytes.
const ADDRESS_LEN: usize = 6;

/// A table of addresses, as the driver sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacTable<'a>(&'a [u8]);

impl<'a> MacTable<'a> {
    /// Takes a table from the front of `data`.
    fn take(data: &mut Data<'a>) -> Result<Self, CommandError> {
        let entries = usize_from_u32(data.u32()?);
        // What does not fit a number cannot be there either.
        data.bytes(entries.saturating_mul(ADDRESS_LEN)).map(Self)
    }

    /// The number of addresses.
    pub const fn len(&self) -> usize {
        self.0.len() / ADDRESS_LEN
    }

    /// Whether there is no address.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses in the driver's order. They may be there several times.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = MacAddress> + 'a {
        // The chunks have that length.
        self.0
            .chunks_exact(ADDRESS_LEN)
            .map(|address| MacAddress(address.first_chunk().copied().unwrap_or_default()))
    }
}

/// The addresses that a driver wants to receive, beside the device's own.
///
/// There may be more of them than the device can filter by: the specification has it
/// receive too much then, rather than too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacTables<'a> {
    /// Addresses of stations; none has the bit of a group.
    pub unicast: MacTable<'a>,
    /// Addresses of groups.
    pub multicast: MacTable<'a>,
}

impl<'a> MacTables<'a> {
    /// Takes the tables from `data`.
    pub(super) fn take(data: &mut Data<'a>) -> Result<Self, CommandError> {
        let unicast = MacTable::take(data)?;
        let multicast = MacTable::take(data)?;
        if let Some(mac) = unicast.iter().find(|mac| mac.is_multicast()) {
            return Err(CommandError::NoStation(mac));
        }
        if let Some(mac) = multicast.iter().find(|mac| !mac.is_multicast()) {
            return Err(CommandError::NoGroup(mac));
        }
        Ok(Self { unicast, multicast })
    }
}
