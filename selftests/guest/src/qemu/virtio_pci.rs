// SPDX-License-Identifier: GPL-2.0

//! Virtio over PCI (4.1): the registers of a device.

use super::{pci::Function, Qtest};
use crate::{
    check_eq,
    outcome::{Outcome, While},
    sys::wait_for,
};
use rvdpa_virtio::{features::Features, layout::QueueLayout, status::Status};
use std::time::Duration;

const VENDOR: u16 = 0x1af4;
/// A network card: a modern device, and a transitional one.
const NET: [u16; 2] = [0x1041, 0x1000];

/// The capability of vendors.
const VENDOR_SPECIFIC: u8 = 0x09;
/// Which part of the device one is about.
mod kind {
    pub const COMMON: u8 = 1;
    pub const NOTIFY: u8 = 2;
    pub const ISR: u8 = 3;
    pub const DEVICE: u8 = 4;
}

/// The common configuration (4.1.4.3): where each register is, and its length.
mod common {
    pub const DEVICE_FEATURE_SELECT: (u64, usize) = (0, 4);
    pub const DEVICE_FEATURE: (u64, usize) = (4, 4);
    pub const DRIVER_FEATURE_SELECT: (u64, usize) = (8, 4);
    pub const DRIVER_FEATURE: (u64, usize) = (12, 4);
    pub const NUM_QUEUES: (u64, usize) = (18, 2);
    pub const DEVICE_STATUS: (u64, usize) = (20, 1);
    pub const QUEUE_SELECT: (u64, usize) = (22, 2);
    pub const QUEUE_SIZE: (u64, usize) = (24, 2);
    pub const QUEUE_ENABLE: (u64, usize) = (28, 2);
    pub const QUEUE_NOTIFY_OFF: (u64, usize) = (30, 2);
    pub const QUEUE_DESC: u64 = 32;
    pub const QUEUE_DRIVER: u64 = 40;
    pub const QUEUE_DEVICE: u64 = 48;
}

/// A device and where its registers are.
#[derive(Clone)]
pub struct VirtioPci {
    qtest: Qtest,
    /// The slot of the bus that it is in.
    pub slot: u8,
    common: u64,
    notify: u64,
    /// How far the doorbells of two virtqueues are from each other.
    multiplier: u64,
    isr: u64,
    device: u64,
}

impl VirtioPci {
    /// Finds the network card and gives it an address.
    pub fn find_net(qtest: &Qtest) -> Outcome<Self> {
        Self::new(qtest, Function::find(qtest, VENDOR, &NET)?)
    }

    fn new(qtest: &Qtest, function: Function) -> Outcome<Self> {
        let mut parts = [None; 5];
        let mut bars = [None; 6];
        let mut multiplier = 0;
        for at in function.capabilities(VENDOR_SPECIFIC)? {
            let [_, _, _, which] = function.read(at)?.to_le_bytes();
            let [bar, ..] = function.read(at + 4)?.to_le_bytes();
            let Some(part) = parts.get_mut(usize::from(which)) else {
                // The window into the configuration.
                continue;
            };
            let base = bars.get_mut(usize::from(bar)).when("a BAR")?;
            let base = match *base {
                Some(address) => address,
                None => *base.insert(function.place_bar(bar)?),
            };
            *part = Some(base + u64::from(function.read(at + 8)?));
            if which == kind::NOTIFY {
                multiplier = u64::from(function.read(at + 16)?);
            }
        }
        function.enable()?;
        let part = |which: u8| {
            parts[usize::from(which)].when(format_args!("part {which} of the virtio device"))
        };
        Ok(Self {
            qtest: qtest.clone(),
            slot: function.slot(),
            common: part(kind::COMMON)?,
            notify: part(kind::NOTIFY)?,
            multiplier,
            isr: part(kind::ISR)?,
            device: part(kind::DEVICE)?,
        })
    }

    /// The same device in another machine that went on with what this one had.
    pub fn moved_to(&self, qtest: &Qtest) -> Self {
        Self {
            qtest: qtest.clone(),
            ..self.clone()
        }
    }

    fn load(&self, (at, len): (u64, usize)) -> Outcome<u64> {
        self.qtest.load(self.common + at, len)
    }

    fn store(&self, (at, len): (u64, usize), value: u64) -> Outcome {
        self.qtest.store(self.common + at, len, value)
    }

    pub fn status(&self) -> Outcome<Status> {
        Ok(Status(self.load(common::DEVICE_STATUS)? as u8))
    }

    /// Adds bits to the status, which must be there then.
    pub fn add_status(&self, bits: Status) -> Outcome {
        let wanted = self.status()?.with(bits);
        self.store(common::DEVICE_STATUS, wanted.0.into())?;
        check_eq!(self.status()?, wanted, "status");
        Ok(())
    }

    /// Resets the device, and waits until that is done.
    pub fn reset(&self) -> Outcome {
        self.store(common::DEVICE_STATUS, 0)?;
        wait_for("the reset's end", Duration::from_secs(10), || {
            Ok((self.status()? == Status::RESET).then_some(()))
        })
    }

    /// The features that are offered.
    pub fn offered(&self) -> Outcome<Features> {
        let mut words = [0; 2];
        for (at, word) in words.iter_mut().enumerate() {
            self.store(common::DEVICE_FEATURE_SELECT, at as u64)?;
            *word = self.load(common::DEVICE_FEATURE)?;
        }
        Ok(Features(words[0] | (words[1] << 32)))
    }

    /// Accepts features.
    pub fn accept(&self, features: Features) -> Outcome {
        for (at, word) in [features.0 & 0xffff_ffff, features.0 >> 32]
            .into_iter()
            .enumerate()
        {
            self.store(common::DRIVER_FEATURE_SELECT, at as u64)?;
            self.store(common::DRIVER_FEATURE, word)?;
        }
        Ok(())
    }

    /// How many virtqueues there are.
    pub fn queues(&self) -> Outcome<u16> {
        Ok(self.load(common::NUM_QUEUES)? as u16)
    }

    /// The greatest size of a virtqueue.
    pub fn queue_size(&self, index: u16) -> Outcome<u16> {
        self.store(common::QUEUE_SELECT, index.into())?;
        Ok(self.load(common::QUEUE_SIZE)? as u16)
    }

    /// Tells the device where a virtqueue is, and enables it. Returns its doorbell.
    pub fn set_queue(&self, index: u16, layout: &QueueLayout) -> Outcome<Doorbell> {
        self.store(common::QUEUE_SELECT, index.into())?;
        self.store(common::QUEUE_SIZE, layout.size.into())?;
        for (at, address) in [
            (common::QUEUE_DESC, layout.descriptor),
            (common::QUEUE_DRIVER, layout.driver),
            (common::QUEUE_DEVICE, layout.device),
        ] {
            self.store((at, 4), address & 0xffff_ffff)?;
            self.store((at + 4, 4), address >> 32)?;
        }
        let offset = self.load(common::QUEUE_NOTIFY_OFF)?;
        self.store(common::QUEUE_ENABLE, 1)?;
        Ok(Doorbell {
            address: self.notify + offset * self.multiplier,
            index,
        })
    }

    /// Tells the device to look at a virtqueue.
    pub fn ring(&self, doorbell: Doorbell) -> Outcome {
        self.qtest.store(doorbell.address, 2, doorbell.index.into())
    }

    /// Why the device has interrupted, which is forgotten then: bit 0 for a virtqueue, bit 1
    /// for its configuration.
    pub fn isr(&self) -> Outcome<u8> {
        Ok(self.qtest.load(self.isr, 1)? as u8)
    }

    /// Reads from the device's configuration.
    pub fn config(&self, at: u64, out: &mut [u8]) -> Outcome {
        for (at, byte) in (self.device + at..).zip(out) {
            *byte = self.qtest.load(at, 1)? as u8;
        }
        Ok(())
    }
}

/// Where a driver says that there is something in a virtqueue.
#[derive(Clone, Copy)]
pub struct Doorbell {
    address: u64,
    index: u16,
}
