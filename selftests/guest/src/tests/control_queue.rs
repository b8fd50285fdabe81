// SPDX-License-Identifier: GPL-2.0

//! Commands of the control queue: what is answered, and what comes of it.

mod announce;
mod answers;
mod coalescing;
mod data;
mod filters;
mod hashing;
mod offloads;
mod statistics;

pub use announce::TESTS as ANNOUNCE;
pub use answers::{CHAINS, TESTS};
pub use coalescing::TESTS as COALESCING;
pub use filters::TESTS as FILTERS;
pub use hashing::TESTS as HASHING;
pub use offloads::TESTS as OFFLOADS;
pub use statistics::TESTS as STATISTICS;

pub(super) use data::{coalescing, mac_tables, queue_coalescing, rss};

use super::rings::kind;
use crate::{
    device::Device,
    harness::Context,
    netlink::MGMTDEV,
    outcome::Outcome,
    vhost::{supported, Net, NewDevice, Plan},
};
use rvdpa_virtio::features::Features;

/// The features of a device that was added without asking for any, and hash reports.
fn all_features() -> Outcome<Features> {
    Ok(supported(MGMTDEV)?.without(
        Features::RING_PACKED
            | Features::IN_ORDER
            | Features::NOTIFICATION_DATA
            | Features::NET_STANDBY,
    ))
}

/// A device with so many queue pairs, all of which the driver has set up, that offers all
/// features, of which the driver takes these.
fn ready(context: &Context, pairs: usize, features: Features) -> Outcome<(Device, Net)> {
    // With one pair there is nothing to choose from.
    let several = if pairs == 1 {
        Features::NET_MQ | Features::NET_RSS
    } else {
        Features::NONE
    };
    let (device, path) = NewDevice::named("ctrl")
        .features(all_features()?.without(several))
        .pairs(pairs as u16)
        .make()?;
    let plan = Plan {
        kind: kind(context),
        features,
        pairs,
        size: 64,
        ..Plan::default()
    };
    Ok((device, Net::new(&path, plan)?))
}
