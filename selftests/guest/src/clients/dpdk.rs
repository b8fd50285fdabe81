// SPDX-License-Identifier: GPL-2.0

//! DPDK's testpmd.
//!
//! What it has counted, and the device, have to be the same numbers for each virtqueue;
//! and what was asked for has to be negotiated, as DPDK goes on without it in silence.

mod count;
mod frames;
mod pairs;
mod restart;
mod rings;
mod wire;

pub use frames::TESTS as FRAMES;
pub use pairs::TESTS as PAIRS;
pub use restart::TESTS as RESTART;
pub use rings::TESTS as RINGS;
pub use wire::TESTS as WIRE;

use super::ClientTest;
use crate::{
    check, check_eq,
    device::{Device, MAC},
    harness::Context,
    outcome::{Outcome, While},
    parent::Parent,
    testpmd::{Options, Testpmd, Vdev},
    tool,
    vhost::{supported, NewDevice},
};
use rvdpa_virtio::{features::Features, net::MacAddress};
use std::collections::BTreeSet;

/// The name of the client in the table.
const CLIENT: &str = "DPDK testpmd (net_virtio_user)";

/// It takes long to start.
const LIMIT: u64 = 300;

/// A test with testpmd.
const fn test(name: &'static str, run: fn(&mut Context) -> Outcome) -> ClientTest {
    ClientTest::new(name, CLIENT, run).seconds(LIMIT)
}

/// Features that a device offers on demand, and that nothing here asks for.
const ON_DEMAND: Features = Features(Features::NET_HASH_REPORT.0 | Features::NET_DEVICE_STATS.0);

/// The features of a device that offers what `vdev` asks for; none for what it offers
/// anyhow. The kernel's own simulator has nothing more to offer.
fn offered(parent: Parent, vdev: &Vdev) -> Outcome<Option<Features>> {
    let plain = Vdev {
        packed: false,
        in_order: false,
        notification_data: false,
        pairs: 1,
        ..*vdev
    };
    if parent == Parent::Peer || plain == *vdev {
        return Ok(None);
    }
    let mut features = supported(parent.mgmtdev())?.without(ON_DEMAND);
    for (feature, asked) in [
        (Features::RING_PACKED, vdev.packed),
        (Features::IN_ORDER, vdev.in_order),
        (Features::NOTIFICATION_DATA, vdev.notification_data),
        (Features::NET_MQ, vdev.pairs > 1),
        (Features::NET_RSS, vdev.rss),
    ] {
        if !asked {
            features = features.without(feature);
        }
    }
    Ok(Some(features))
}

/// Makes a device that offers what `vdev` asks for.
fn make(context: &Context, device: NewDevice, vdev: &Vdev) -> Outcome<(Device, String)> {
    let device = NewDevice {
        features: offered(context.parent, vdev)?,
        max_vqp: (vdev.pairs > 1).then_some(vdev.pairs),
        ..device
    };
    device.make()
}

/// Starts testpmd, and looks whether it got what it asked for.
fn start(context: &mut Context, device: &Device, options: &Options) -> Outcome<Testpmd> {
    context.step("starting testpmd");
    let mut testpmd = Testpmd::start(options)?;
    context.version(testpmd.version());
    let vdev = &options.vdev;
    let info = testpmd.info()?;
    let names = negotiated(device)?;
    // The kernel's own simulator never has it, and DPDK can do without.
    let mergeable = vdev.mergeable && context.parent == Parent::Rvdpa;
    for (feature, name, asked) in [
        (Features::RING_PACKED, "RING_PACKED", vdev.packed),
        (Features::IN_ORDER, "IN_ORDER", vdev.in_order),
        (
            Features::NOTIFICATION_DATA,
            "NOTIFICATION_DATA",
            vdev.notification_data,
        ),
        (Features::NET_MRG_RXBUF, "MRG_RXBUF", mergeable),
        (Features::NET_RSS, "RSS", vdev.rss),
    ] {
        check_eq!(names.contains(name), asked, "{name} in {names:?}");
        check_eq!(
            info.features.contains(feature),
            asked,
            "{name} in DPDK's view"
        );
    }
    if vdev.pairs > 1 {
        check!(names.contains("MQ"), "MQ in {names:?}");
    }
    // Packed rings have no path of their own for that.
    let in_order = vdev.in_order && !vdev.packed;
    check_eq!(info.in_order, [in_order; 2], "paths for rings in order");
    if vdev.vectorized {
        check_eq!(info.vectorized[0], true, "the vectorized receive path");
    }
    testpmd.tell(&format!("set eth-peer 0 {}", MacAddress(MAC)))?;
    Ok(testpmd)
}

/// The features that were negotiated, by the names that the `vdpa` tool has for them.
fn negotiated(device: &Device) -> Outcome<BTreeSet<String>> {
    let json = tool::json(&format!("dev config show {}", device.name()))?;
    let features = &json["config"][device.name()]["negotiated_features"];
    let names = features
        .as_array()
        .when(format_args!("features in {json}"))?;
    Ok(names
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect())
}
