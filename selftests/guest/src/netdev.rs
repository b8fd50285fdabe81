// SPDX-License-Identifier: GPL-2.0

//! Network interfaces.

use crate::{
    frame,
    outcome::{Outcome, Stop, While},
    sys::{self, SOON},
};
use std::path::Path;

/// A file of an interface in sysfs.
fn file(name: &str, what: &str) -> std::path::PathBuf {
    Path::new("/sys/class/net").join(name).join(what)
}

/// Keeps interfaces that come from sending anything of their own accord.
pub fn silence_new_ones() -> Outcome {
    let ipv6 = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    if Path::new(ipv6).exists() {
        sys::write(ipv6, "1")?;
    }
    Ok(())
}

/// Brings an interface up, and waits until it sends: what is sent before its carrier was
/// noticed is dropped without a word.
pub fn up(name: &str) -> Outcome {
    sys::run(&["ip", "link", "set", name, "up"])?;
    wait_up(name)
}

/// Waits until an interface that is up sends.
pub fn wait_up(name: &str) -> Outcome {
    let ready = sys::wait_for("the link", SOON, || {
        let state = sys::read_line(file(name, "operstate"))?;
        // Some never know.
        Ok(["up", "unknown"].contains(&state.as_str()).then_some(()))
    });
    ready.when(format_args!("{name} is not up (ip link set {name} up)"))?;
    // The state is set first, and the queue a moment later, under a lock that this takes.
    let len = sys::read_line(file(name, "tx_queue_len"))?;
    sys::write(file(name, "tx_queue_len"), &len)
}

pub fn down(name: &str) -> Outcome {
    sys::run(&["ip", "link", "set", name, "down"]).map(drop)
}

/// Has the driver give the device another MAC address.
pub fn set_mac(name: &str, mac: [u8; 6]) -> Outcome {
    sys::run(&["ip", "link", "set", name, "address", &frame::display(mac)]).map(drop)
}

/// The MAC address of an interface.
pub fn mac(name: &str) -> Outcome<[u8; 6]> {
    if !file(name, "address").exists() {
        return Err(Stop::Failed(format!("there is no interface {name}")));
    }
    let text = sys::read_line(file(name, "address"))?;
    frame::parse(&text).when(format_args!("MAC address {text}"))
}

pub fn mtu(name: &str) -> Outcome<u32> {
    let text = sys::read_line(file(name, "mtu"))?;
    text.parse().when(text)
}

/// A counter of an interface.
pub fn counter(name: &str, what: &str) -> Outcome<u64> {
    let text = sys::read_line(file(name, "statistics").join(what))?;
    text.parse().when(text)
}
