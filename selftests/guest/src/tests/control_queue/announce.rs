// SPDX-License-Identifier: GPL-2.0

//! The device asks the driver to announce itself, until the driver says that it has.

use super::ready;
use crate::{
    check, check_eq,
    harness::{Context, Test},
    outcome::{Outcome, While},
    sys::{self, SOON},
    tests::rings::both,
    vhost::{wait_event, Net},
};
use rvdpa_virtio::{
    features::Features,
    net::{
        control::announce::{ACK, CLASS},
        NetConfig,
    },
};
use std::path::Path;

pub const TESTS: &[Test] = both! {
    "announcements", announce;
};

/// The file of a device in debugfs.
fn file(device: &str, name: &str) -> Outcome<String> {
    let root = Path::new("/sys/kernel/debug");
    if !root.join("rvdpa_sim").exists() {
        sys::run(&["mount", "-t", "debugfs", "none", "/sys/kernel/debug"])?;
    }
    Ok(format!(
        "/sys/kernel/debug/rvdpa_sim/devices/{device}/{name}"
    ))
}

fn wanted(net: &Net) -> Outcome<bool> {
    Ok(net.client.config()?.status() & NetConfig::ANNOUNCE != 0)
}

fn announce(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    let file = file("ctrl", "announce")?;
    check!(!wanted(&net)?, "an announcement is wanted for no reason");
    for round in 0..3 {
        sys::write(&file, "1")?;
        let come = wait_event(&net.config_call, SOON)?;
        check!(come, "no config interrupt in round {round}");
        check!(wanted(&net)?, "no announcement is wanted in round {round}");
        // Until it is acknowledged.
        check!(wanted(&net)?, "the bit went by itself");
        net.do_command(CLASS, ACK, &[])?;
        check!(!wanted(&net)?, "an announcement is still wanted");
    }
    // The link is as it was.
    let status = net.client.config()?.status();
    check_eq!(status, NetConfig::LINK_UP, "status");
    // Nobody is asked who did not say that he could.
    net.plan = net.plan.without(Features::NET_GUEST_ANNOUNCE);
    net = net.restart()?;
    check!(sys::write(&file, "1").is_err(), "it was asked for");
    check!(
        !wanted(&net)?,
        "an announcement is wanted without the feature"
    );
    drop(net);
    device.delete().when("dev del")
}
