// SPDX-License-Identifier: GPL-2.0

//! What a user says of a new device, checked.

use super::fabric::MAX_PORTS;
use crate::{
    net::flow::HashTypes,
    vdpa::{
        self,
        DeviceConfig, //
    },
    virtio::{
        features::Features,
        net::{
            control::Limits,
            rss,
            stats::StatsTypes,
            MacAddress,
            NetConfig,
            MIN_MTU, //
        },
    },
};
use core::fmt;
use kernel::prelude::*;

/// All features that a device can offer.
pub(super) const FEATURES: Features = DEFAULT.union(SEVERAL_PAIRS).union(ON_DEMAND);

/// What a device offers only if the user says so.
const ON_DEMAND: Features = Features::RING_PACKED
    .union(Features::IN_ORDER)
    .union(Features::NOTIFICATION_DATA)
    .union(Features::NET_HASH_REPORT)
    // Linux 7.3 steps over the end of an array of one when it asks for statistics, which its
    // UBSAN reports.
    .union(Features::NET_DEVICE_STATS);

/// What a device offers if the user does not say.
///
/// What changes the layout of rings and buffers is not among it: clients exist that accept
/// what they do not know.
const DEFAULT: Features = Features::VERSION_1
    .union(Features::ACCESS_PLATFORM)
    .union(Features::ORDER_PLATFORM)
    .union(Features::INDIRECT_DESC)
    .union(Features::EVENT_IDX)
    .union(Features::NET_MAC)
    .union(Features::NET_MTU)
    .union(Features::NET_STATUS)
    .union(Features::NET_SPEED_DUPLEX)
    .union(Features::NET_MRG_RXBUF)
    .union(OFFLOADS)
    .union(Features::NET_CTRL_VQ)
    .union(Features::NET_CTRL_RX)
    .union(Features::NET_CTRL_RX_EXTRA)
    .union(Features::NET_CTRL_VLAN)
    .union(Features::NET_CTRL_MAC_ADDR)
    .union(Features::NET_CTRL_GUEST_OFFLOADS)
    .union(Features::NET_GUEST_ANNOUNCE)
    .union(Features::NET_NOTF_COAL)
    .union(Features::NET_VQ_NOTF_COAL);

/// What leaves checksums and segmentation to the other side.
const OFFLOADS: Features = Features::NET_CSUM
    .union(Features::NET_HOST_TSO4)
    .union(Features::NET_HOST_TSO6)
    .union(Features::NET_HOST_ECN)
    .union(Features::NET_HOST_USO)
    .union(Features::NET_GUEST_CSUM)
    .union(Features::NET_GUEST_TSO4)
    .union(Features::NET_GUEST_TSO6)
    .union(Features::NET_GUEST_ECN)
    .union(Features::NET_GUEST_USO4)
    .union(Features::NET_GUEST_USO6)
    .union(Features::NET_GUEST_HDRLEN);

/// What a device with several queue pairs offers, too.
const SEVERAL_PAIRS: Features = Features::NET_MQ.union(Features::NET_RSS);

/// Features that a driver has to accept, because the device cannot do without.
pub(super) const REQUIRED: Features = Features::VERSION_1.union(Features::ACCESS_PLATFORM);

/// The most queue pairs that a device can have.
pub(super) const MAX_PAIRS: u16 = 64;

/// The speed of the link, in Mbit/s, as that of other interfaces made of software.
const SPEED: u32 = 10_000;

/// The MTU of Ethernet, in bytes.
const DEFAULT_MTU: u16 = 1500;

/// The longest key for hashes, in bytes.
const MAX_KEY: u8 = rss::MAX_KEY_LEN as u8;

/// The longest indirection table, in entries.
const MAX_TABLE: u16 = rss::MAX_TABLE_LEN as u16;

/// The statistics that a device has: all that are about what it does.
const STATISTICS: StatsTypes = StatsTypes(
    StatsTypes::CVQ.0
        | StatsTypes::RX_BASIC.0
        | StatsTypes::RX_CSUM.0
        | StatsTypes::RX_GSO.0
        | StatsTypes::TX_BASIC.0
        | StatsTypes::TX_CSUM.0
        | StatsTypes::TX_GSO.0,
);

/// Why a device cannot be what the user wants. Displays as what to change.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    Mac(MacAddress),
    Mtu(u16),
    Pairs(u16),
    Unsupported(Features),
    Missing(Features),
    Incoherent(Features, Features),
    Unused(u16),
    Full,
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
            Refusal::Full => ENOSPC,
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
            Refusal::Unused(pairs) => write!(
                f,
                "max_vqp {pairs} is of no use without {}; add one of them to device_features, or leave max_vqp out",
                SEVERAL_PAIRS
            ),
            Refusal::Full => write!(
                f,
                "the switch has {MAX_PORTS} ports already; use another one, or delete a device"
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
    /// How many queue pairs it has.
    pub(super) pairs: u16,
}

impl Provision {
    /// Checks what a user wants, and adds what was left open.
    pub(super) fn new(config: &DeviceConfig) -> Result<Self, Refusal> {
        let pairs = match config.max_vqp {
            Some(pairs) if !(1..=MAX_PAIRS).contains(&pairs) => return Err(Refusal::Pairs(pairs)),
            Some(pairs) => pairs,
            None => 1,
        };
        Ok(Self {
            pairs,
            features: match config.features {
                Some(features) => coherent(Features(features), pairs)?,
                None if pairs > 1 => DEFAULT.union(SEVERAL_PAIRS),
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

    /// The index of the control queue if the driver accepted `features`.
    pub(super) fn control_index(&self, features: Features) -> u16 {
        self.usable_pairs(features) * 2
    }

    /// How many pairs a driver can use that accepted `features`.
    pub(super) fn usable_pairs(&self, features: Features) -> u16 {
        if features.intersects(SEVERAL_PAIRS) {
            self.pairs
        } else {
            1
        }
    }

    /// The configuration that a driver finds, with the MAC address and the status in force.
    pub(super) fn config(&self, mac: MacAddress, status: u16) -> NetConfig {
        let mut config = NetConfig::new();
        config.set_mac(mac);
        config.set_mtu(self.mtu);
        config.set_status(status);
        config.set_max_virtqueue_pairs(self.pairs);
        config.set_speed(SPEED);
        config.set_duplex(NetConfig::DUPLEX_FULL);
        config.set_rss_max_key_size(MAX_KEY);
        config.set_rss_max_indirection_table_length(MAX_TABLE);
        config.set_supported_hash_types(HashTypes::ALL.0);
        config
    }

    /// What bounds the commands of a driver that accepted `features`.
    pub(super) fn limits(&self, features: Features) -> Limits {
        Limits {
            features,
            pairs: self.usable_pairs(features),
            hash_types: HashTypes::ALL.0,
            max_key: MAX_KEY,
            max_indirection_table: MAX_TABLE,
            stats: STATISTICS,
        }
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
fn coherent(features: Features, pairs: u16) -> Result<Features, Refusal> {
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
        None if pairs > 1 && !features.intersects(SEVERAL_PAIRS) => Err(Refusal::Unused(pairs)),
        None => Ok(features),
    }
}
