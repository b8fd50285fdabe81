// SPDX-License-Identifier: GPL-2.0

//! What a user says of a new device, checked.

use crate::{
    vdpa::{
        self,
        iommu::DriverMemory,
        DeviceConfig, //
    },
    virtio::{
        features::Features,
        layout,
        net::{
            MacAddress,
            NetConfig,
            MIN_MTU, //
        },
    },
};
use core::fmt;
use kernel::prelude::*;

/// All features that a device can offer.
pub(super) const FEATURES: Features = DEFAULT.union(Features::RING_PACKED);

/// What a device offers if the user does not say.
const DEFAULT: Features = Features::VERSION_1
    .union(Features::ACCESS_PLATFORM)
    .union(Features::ORDER_PLATFORM)
    .union(Features::INDIRECT_DESC)
    .union(Features::EVENT_IDX)
    .union(Features::NET_MAC)
    .union(Features::NET_MTU)
    .union(Features::NET_STATUS)
    .union(Features::NET_CTRL_VQ)
    .union(Features::NET_CTRL_MAC_ADDR);

/// Features that a driver has to accept, because the device cannot do without.
pub(super) const REQUIRED: Features = Features::VERSION_1.union(Features::ACCESS_PLATFORM);

/// The most queue pairs that a device can have.
const MAX_PAIRS: u16 = 1;

/// The MTU of Ethernet, in bytes.
const DEFAULT_MTU: u16 = 1500;

/// What holds for all devices, given as module parameters.
#[derive(Clone, Copy)]
pub(crate) struct Parameters {
    /// Maps of vhost-vdpa are addresses in the client's mm.
    pub(crate) use_va: bool,
    /// How drivers of this kernel map memory.
    pub(crate) driver_memory: DriverMemory,
    /// The greatest size of a virtqueue.
    pub(crate) num_max: u16,
}

impl Parameters {
    /// Checks the parameters. Fails with `EINVAL`, and says in the log what to change.
    pub(crate) fn new(use_va: u8, strict: u8, num_max: u16) -> Result<Self> {
        for (name, value) in [("use_va", use_va), ("strict", strict)] {
            if value > 1 {
                pr_err!("{name}={value}: give 0 or 1\n");
                return Err(EINVAL);
            }
        }
        if !(2..=layout::MAX_SIZE).contains(&num_max) || !num_max.is_power_of_two() {
            pr_err!(
                "vq_num_max={num_max}: give a power of two from 2 to {}\n",
                layout::MAX_SIZE
            );
            return Err(EINVAL);
        }
        Ok(Self {
            use_va: use_va == 1,
            driver_memory: if strict == 1 {
                DriverMemory::Strict
            } else {
                DriverMemory::Identity
            },
            num_max,
        })
    }
}

/// Why a device cannot be what the user wants. Displays as what to change.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    Mac(MacAddress),
    Mtu(u16),
    Pairs(u16),
    Unsupported(Features),
    Missing(Features),
    Incoherent(Features, Features),
    Nothing,
    Other(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Other(error)
    }
}

impl Refusal {
    pub(super) fn errno(&self) -> Error {
        match self {
            Refusal::Other(error) => *error,
            _ => EINVAL,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Mac(mac) if mac.is_zero() => {
                write!(f, "mac {mac} is no address; give a unicast one, or none")
            }
            Refusal::Mac(mac) => {
                write!(
                    f,
                    "mac {mac} is a group's address; give a unicast one, or none"
                )
            }
            Refusal::Mtu(mtu) => write!(
                f,
                "mtu {mtu} is too small; give one from {MIN_MTU} to {}",
                u16::MAX
            ),
            Refusal::Pairs(pairs) => write!(
                f,
                "max_vqp {pairs} is out of range; give one from 1 to {MAX_PAIRS}"
            ),
            Refusal::Unsupported(bits) => write!(
                f,
                "device_features has {}, which is not supported; leave it out, supported are {:#x}",
                Short(*bits),
                FEATURES.0
            ),
            Refusal::Missing(bits) => {
                write!(
                    f,
                    "device_features lacks {bits}; no driver can do without it, add it"
                )
            }
            Refusal::Incoherent(bit, needs) => write!(
                f,
                "device_features has {bit} without {needs}; add that, or leave it out"
            ),
            Refusal::Nothing => write!(f, "only the mac of a device can be changed"),
            Refusal::Other(error) => write!(f, "{error:?}"),
        }
    }
}

/// Features for a log line: by name if they are few, else as a number.
pub(super) struct Short(pub(super) Features);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.bits().count() <= 4 {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:#x}", self.0 .0)
        }
    }
}

/// What a device is when no driver has changed it.
#[derive(Clone, Copy)]
pub(super) struct Provision {
    pub(super) features: Features,
    pub(super) mac: MacAddress,
    pub(super) mtu: u16,
}

impl Provision {
    /// Checks what a user wants, and adds what was left open.
    pub(super) fn new(config: &DeviceConfig) -> Result<Self, Refusal> {
        match config.max_vqp {
            Some(pairs) if pairs > MAX_PAIRS => return Err(Refusal::Pairs(pairs)),
            _ => {}
        }
        Ok(Self {
            features: match config.features {
                Some(features) => coherent(Features(features))?,
                None => DEFAULT,
            },
            mac: match config.mac {
                Some(mac) => unicast(MacAddress(mac))?,
                None => random_mac(),
            },
            mtu: match config.mtu {
                Some(mtu) if mtu < MIN_MTU => return Err(Refusal::Mtu(mtu)),
                Some(mtu) => mtu,
                None => DEFAULT_MTU,
            },
        })
    }

    /// The configuration that a driver finds, with the MAC address in force.
    pub(super) fn config(&self, mac: MacAddress) -> NetConfig {
        let mut config = NetConfig::new();
        config.set_mac(mac);
        config.set_mtu(self.mtu);
        config.set_status(NetConfig::LINK_UP);
        // The core asks for it even where MQ is not offered, to name the queues.
        config.set_max_virtqueue_pairs(MAX_PAIRS);
        config
    }
}

/// Checks an address for a device.
pub(super) fn unicast(mac: MacAddress) -> Result<MacAddress, Refusal> {
    if mac.is_unicast() {
        Ok(mac)
    } else {
        Err(Refusal::Mac(mac))
    }
}

/// An address that nobody is likely to have.
fn random_mac() -> MacAddress {
    let mut bytes = [0; 6];
    vdpa::random_bytes(&mut bytes);
    MacAddress::local(bytes)
}

/// Checks features that a device is to offer.
fn coherent(features: Features) -> Result<Features, Refusal> {
    let unsupported = features.without(FEATURES);
    if !unsupported.is_empty() {
        return Err(Refusal::Unsupported(unsupported));
    }
    let missing = REQUIRED.without(features);
    if !missing.is_empty() {
        return Err(Refusal::Missing(missing));
    }
    match features.missing_dependency() {
        Some((bit, needs)) => Err(Refusal::Incoherent(bit, needs)),
        None => Ok(features),
    }
}
