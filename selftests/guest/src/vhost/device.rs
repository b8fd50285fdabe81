// SPDX-License-Identifier: GPL-2.0

//! Devices with attributes, for a driver in userspace.

use super::Format;
use crate::{
    device::{Device, Driver, MAC},
    netlink::{attribute, command, parse, Attributes, Bus, MGMTDEV},
    outcome::{Outcome, While},
};
use rvdpa_virtio::features::Features;

/// The first switch.
pub const SWITCH: &str = "rvdpasim_switch0";

/// `VDPA_ATTR_DEV_SUPPORTED_FEATURES`
const SUPPORTED_FEATURES: u16 = 16;

/// What no driver can do without, and what a plain one of a ring test wants.
pub const BASIC: Features = Features(
    Features::VERSION_1.0
        | Features::ACCESS_PLATFORM.0
        | Features::ORDER_PLATFORM.0
        | Features::INDIRECT_DESC.0
        | Features::EVENT_IDX.0
        | Features::NET_MAC.0
        | Features::NET_MTU.0
        | Features::NET_STATUS.0
        | Features::NET_CTRL_VQ.0
        | Features::NET_CTRL_MAC_ADDR.0,
);

/// A device that is to be made.
#[derive(Clone, Copy)]
pub struct NewDevice<'a> {
    pub name: &'a str,
    pub mgmtdev: &'a str,
    pub mac: [u8; 6],
    /// The features to offer, if not those that are offered without this attribute.
    pub features: Option<Features>,
    pub max_vqp: Option<u16>,
}

impl<'a> NewDevice<'a> {
    /// One that loops, and has all other attributes as they are without a word.
    pub fn named(name: &'a str) -> Self {
        Self {
            name,
            mgmtdev: MGMTDEV,
            mac: MAC,
            features: None,
            max_vqp: None,
        }
    }

    /// A port of the first switch, with an address of its own.
    pub fn port(name: &'a str, number: u8) -> Self {
        Self {
            mgmtdev: SWITCH,
            mac: [2, 0, 0, 0, 0x50, number],
            ..Self::named(name)
        }
    }

    /// Offers exactly these features.
    pub fn features(self, features: Features) -> Self {
        Self {
            features: Some(features),
            ..self
        }
    }

    /// Offers plain rings of a format, and further features.
    pub fn format(self, format: Format, more: Features) -> Self {
        let ring = match format {
            Format::Split => Features::NONE,
            Format::Packed => Features::RING_PACKED,
        };
        self.features(BASIC | ring | more)
    }

    /// Has so many queue pairs at most.
    pub fn pairs(self, pairs: u16) -> Self {
        Self {
            max_vqp: Some(pairs),
            ..self
        }
    }

    /// Makes it for a driver in userspace. Returns its character device too.
    pub fn make(self) -> Outcome<(Device, String)> {
        let device = self.add()?;
        device.bind(Driver::Vhost)?;
        let path = device.character_device()?;
        Ok((device, path))
    }

    /// Makes it, without a driver.
    pub fn add(self) -> Outcome<Device> {
        // The bus takes an attribute only with the feature that it is for.
        let has = |feature| self.features.is_none_or(|all| all.contains(feature));
        Device::add_at(self.mgmtdev, self.name, |mut attributes| {
            if has(Features::NET_MAC) {
                attributes = attributes.put(attribute::NET_CFG_MACADDR, &self.mac);
            }
            if let Some(features) = self.features {
                attributes = attributes.put(attribute::FEATURES, &features.0.to_ne_bytes());
            }
            if let Some(pairs) = self.max_vqp.filter(|_| has(Features::NET_MQ)) {
                attributes = attributes.put(attribute::NET_CFG_MAX_VQP, &pairs.to_ne_bytes());
            }
            attributes
        })
    }
}

/// All features that a management device can give.
pub fn supported(mgmtdev: &str) -> Outcome<Features> {
    let attributes = Attributes::default().string(attribute::MGMTDEV_DEV_NAME, mgmtdev);
    let answer = Bus::new()?
        .command(command::MGMTDEV_GET, &attributes)
        .when(format_args!("mgmtdev show {mgmtdev}"))?;
    let (_, value) = parse(&answer)
        .into_iter()
        .find(|&(kind, _)| kind == SUPPORTED_FEATURES)
        .when(format_args!("supported features of {mgmtdev}"))?;
    let bytes = value.first_chunk().when("eight bytes")?;
    Ok(Features(u64::from_ne_bytes(*bytes)))
}
