// SPDX-License-Identifier: GPL-2.0

//! What holds for all devices: the module parameters, checked.

use crate::{
    vdpa::{
        iommu::DriverMemory,
        IovaRange,
        Shape, //
    },
    virtio::{
        features::Features,
        layout, //
    },
};
use kernel::prelude::*;

/// The most switches that there can be.
const MAX_SWITCHES: u8 = 64;

/// The most address spaces that a device can have.
const MAX_ADDRESS_SPACES: u8 = 64;

/// The longest time for which workers poll, in microseconds.
const MAX_BUSY_POLL: u16 = 10_000;

/// What the user has given, by the parameters' names.
pub(crate) struct Given {
    pub(crate) use_va: u8,
    pub(crate) strict: u8,
    pub(crate) vq_num_max: u16,
    pub(crate) switches: u8,
    pub(crate) ageing: u16,
    pub(crate) batch_mapping: u8,
    pub(crate) iova_first: u64,
    pub(crate) iova_last: u64,
    pub(crate) address_spaces: u8,
    pub(crate) desc_group: u8,
    pub(crate) in_place: u8,
    pub(crate) busy_poll: u16,
    pub(crate) doorbells: u8,
}

/// Who looks at virtqueues, and when.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    /// Kicks are served in the driver's place where few frames come.
    pub(crate) in_place: bool,
    /// For how long workers look for more before they sleep, in microseconds.
    pub(crate) busy_poll: u16,
}

/// What holds for all devices.
#[derive(Clone, Copy)]
pub(crate) struct Parameters {
    /// Maps of vhost-vdpa are addresses in the client's mm.
    pub(crate) use_va: bool,
    /// How drivers of this kernel map memory.
    pub(crate) driver_memory: DriverMemory,
    /// The greatest size of a packed virtqueue.
    pub(crate) num_max: u16,
    /// How many switches there are.
    pub(crate) switches: u8,
    /// How long a switch remembers an address that it does not see, in seconds.
    pub(crate) ageing: u16,
    /// How the bus drivers map, and whether receive and transmit queues have a group for their
    /// rings.
    pub(crate) shape: Shape,
    /// What clients can map.
    pub(crate) iova: IovaRange,
    /// How many address spaces a device has.
    pub(crate) address_spaces: u32,
    /// When virtqueues are looked at.
    pub(crate) service: Service,
    /// Clients may kick by writing to a page.
    pub(crate) doorbells: bool,
}

/// A parameter that is on or off.
fn switch(name: &str, value: u8) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => {
            pr_err!("{name}={value}: give 0 or 1\n");
            Err(EINVAL)
        }
    }
}

/// A parameter that is a number.
fn number(name: &str, value: u16, range: core::ops::RangeInclusive<u16>) -> Result<u16> {
    if !range.contains(&value) {
        let (first, last) = (range.start(), range.end());
        pr_err!("{name}={value}: give a number from {first} to {last}\n");
        return Err(EINVAL);
    }
    Ok(value)
}

impl Parameters {
    /// Checks what was given. Fails with `EINVAL`, and says in the log what to change.
    pub(crate) fn new(given: &Given) -> Result<Self> {
        let (first, last) = (given.iova_first, given.iova_last);
        if first > last {
            pr_err!("iova_first={first:#x} is beyond iova_last={last:#x}: give a range\n");
            return Err(EINVAL);
        }
        let use_va = switch("use_va", given.use_va)?;
        let strict = switch("strict", given.strict)?;
        number("switches", given.switches.into(), 0..=MAX_SWITCHES.into())?;
        let spaces = given.address_spaces.into();
        Ok(Self {
            use_va,
            driver_memory: if strict {
                DriverMemory::Strict
            } else {
                DriverMemory::Identity
            },
            num_max: number("vq_num_max", given.vq_num_max, 2..=layout::MAX_SIZE)?,
            switches: given.switches,
            ageing: number("ageing", given.ageing, 1..=u16::MAX)?,
            shape: Shape {
                whole_tables: switch("batch_mapping", given.batch_mapping)?,
                desc_groups: switch("desc_group", given.desc_group)?,
            },
            iova: IovaRange { first, last },
            address_spaces: number("address_spaces", spaces, 1..=MAX_ADDRESS_SPACES.into())?.into(),
            service: Service {
                in_place: switch("in_place", given.in_place)?,
                busy_poll: number("busy_poll", given.busy_poll, 0..=MAX_BUSY_POLL)?,
            },
            doorbells: switch("doorbells", given.doorbells)?,
        })
    }

    /// The greatest size of a virtqueue of the format that was negotiated: that of a split
    /// one is a power of two (2.7).
    pub(super) fn vq_num_max(&self, features: Features) -> u16 {
        if features.contains(Features::RING_PACKED) {
            self.num_max
        } else {
            1 << self.num_max.checked_ilog2().unwrap_or(0)
        }
    }
}
