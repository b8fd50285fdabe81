// SPDX-License-Identifier: GPL-2.0

//! Ports of switches come and go.

use crate::{
    check, check_eq,
    device::{Device, Driver},
    frame,
    harness::{Context, Test},
    module, netdev,
    outcome::{Outcome, Stop, While},
    packet::Socket,
    tool::{json, try_vdpa},
};
use nix::errno::Errno;
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

pub const TESTS: &[Test] = &[
    Test::new("ports.names", names).with("switches=2"),
    Test::new("ports.rmmod_is_busy", rmmod).with("switches=2"),
    Test::new("ports.full_switch", full)
        .with("vq_num_max=2 switches=2")
        .seconds(60),
    Test::new("ports.come_and_go_under_traffic", come_and_go).seconds(60),
    Test::new("ports.come_and_go_under_traffic_strict", come_and_go)
        .with("strict=1")
        .seconds(60),
];

/// The most ports of a switch.
const MAX: usize = 256;

/// Makes a device at a management device.
fn add(name: &str, mgmtdev: &str) -> Outcome<Device> {
    Device::add_at(mgmtdev, name, |attributes| attributes)
}

/// Sees that a device cannot be made. Returns what the user is told.
fn refused(name: &str, mgmtdev: &str) -> Outcome<String> {
    let output = try_vdpa(&format!("dev add name {name} mgmtdev {mgmtdev}"))?;
    if output.status.success() {
        drop(Device::adopt(name));
        return Err(Stop::Failed(format!("{mgmtdev} made {name}")));
    }
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A name is one device's, whichever management device made it.
fn names(_: &mut Context) -> Outcome {
    let mgmtdevs = ["rvdpasim_net", "rvdpasim_switch0", "rvdpasim_switch1"];
    for owner in mgmtdevs {
        let device = add("mine", owner)?;
        let shown = &json("dev show mine")?["dev"]["mine"];
        check_eq!(shown["mgmtdev"], json!(owner), "management device");
        for other in mgmtdevs {
            let said = refused("mine", other)?;
            check!(said.contains("File exists"), "{other} said: {said}");
        }
        device.delete()?;
    }
    refused("mine", "rvdpasim_switch2").map(drop)
}

/// The module stays as long as a switch has a port.
fn rmmod(_: &mut Context) -> Outcome {
    let busy = |what: &str| {
        check_eq!(
            module::try_unload(),
            Err(Errno::EWOULDBLOCK),
            "rmmod with {what}"
        );
        Ok(())
    };
    let idle = add("idle", "rvdpasim_switch1")?;
    busy("an idle port")?;
    let (bound, interface) = connected("bound", "rvdpasim_switch0")?;
    idle.delete()?;
    busy("a port of virtio_vdpa")?;
    check_eq!(netdev::mtu(&interface)?, 1500, "MTU");
    bound.delete()?;
    check_eq!(module::users()?, 0, "users of the module");
    module::try_unload().when("rmmod without a port")
}

/// Makes a device for the kernel's driver, whose interface is up.
fn connected(name: &str, mgmtdev: &str) -> Outcome<(Device, String)> {
    let device = add(name, mgmtdev)?;
    device.bind(Driver::Virtio)?;
    let interface = device.interface()?;
    netdev::up(&interface)?;
    Ok((device, interface))
}

fn full(context: &mut Context) -> Outcome {
    let mut devices = Vec::new();
    for number in 0..MAX {
        context.step(format_args!("port {number}"));
        devices.push(add(&format!("port{number}"), "rvdpasim_switch0")?);
    }
    let said = refused("more", "rvdpasim_switch0")?;
    let errno = "No space left on device";
    check!(said.contains(errno), "no '{errno}' in {said}");
    context.log.expect(&[
        "rvdpasim_switch0: cannot add 'more':",
        "the switch has 256 ports already; use another one, or delete a device",
    ])?;
    // Nobody else is concerned.
    add("other", "rvdpasim_switch1")?.delete()?;
    add("other", "rvdpasim_net")?.delete()?;

    // Each port that goes makes room for one.
    for place in [100, MAX - 1, 0] {
        let gone = devices.remove(place);
        gone.delete()?;
        devices.push(add(&format!("again{place}"), "rvdpasim_switch0")?);
        refused("more", "rvdpasim_switch0")?;
    }
    context.step("deleting all");
    for device in devices {
        device.delete()?;
    }
    Ok(())
}

/// Frames between two ports all pass, in order, while others come and go, to which frames
/// are flooded.
fn come_and_go(context: &mut Context) -> Outcome {
    const ROUNDS: usize = 4;
    const EACH: usize = 3;
    let (a, from) = connected("from", "rvdpasim_switch0")?;
    let (b, to) = connected("to", "rvdpasim_switch0")?;
    let stop = AtomicBool::new(false);
    let exchanged = thread::scope(|scope| {
        let traffic = scope.spawn(|| exchange(&from, &to, &stop));
        let ports = (0..ROUNDS).try_for_each(|round| {
            context.step(format_args!("round {round}"));
            let mut there = Vec::new();
            for number in 0..EACH {
                let name = format!("guest{number}");
                there.push(if (round + number) % 3 == 0 {
                    add(&name, "rvdpasim_switch0")?
                } else {
                    connected(&name, "rvdpasim_switch0")?.0
                });
            }
            there.into_iter().try_for_each(Device::delete)
        });
        stop.store(true, Relaxed);
        let exchanged = traffic.join();
        ports?;
        exchanged.map_err(|_| Stop::Failed("the sender panicked".into()))?
    })?;
    context.note(format_args!(
        "{exchanged} frames while {} ports came and went",
        ROUNDS * EACH
    ));
    check!(exchanged > 300, "{exchanged} frames only");
    let none = ["rx drops no buffer", "rx drops too large", "rx errors"];
    for device in [&a, &b] {
        let rx = device.statistics(0)?;
        for name in none {
            check_eq!(rx.get(name)?, 0, "{name} of {}", device.name());
        }
        let tx = device.statistics(1)?;
        for name in [
            "tx drops runt",
            "tx drops malformed",
            "tx drops link down",
            "tx errors",
        ] {
            check_eq!(tx.get(name)?, 0, "{name} of {}", device.name());
        }
    }
    a.delete()?;
    b.delete()?;
    let left: BTreeSet<String> = crate::device::all().into_iter().collect();
    check_eq!(left, BTreeSet::new(), "devices");
    Ok(())
}

/// Sends frames both ways until it is to stop, some of them to nobody in particular.
/// Returns how many came.
fn exchange(from: &str, to: &str, stop: &AtomicBool) -> Outcome<u64> {
    const BATCH: u64 = 16;
    let ends = [from, to];
    let mut sockets = [Socket::open(from, 2048)?, Socket::open(to, 2048)?];
    let macs = [netdev::mac(from)?, netdev::mac(to)?];
    let mut number = 0;
    while !stop.load(Relaxed) {
        for (sender, receiver) in [(0, 1), (1, 0)] {
            let mut frames: Vec<_> = (number..number + BATCH)
                .map(|number| frame::make(200, macs[receiver], macs[sender], number))
                .collect();
            // Flooded to all: for everybody, and for a stranger.
            frames.push(frame::make(200, [0xff; 6], macs[sender], number + BATCH));
            let stranger = [2, 9, 9, 9, 9, 9];
            sockets[sender].send(&frame::make(200, stranger, macs[sender], number))?;
            check_eq!(
                sockets[sender].send_many(&frames)?,
                frames.len(),
                "frames sent"
            );
            let got = sockets[receiver].receive_count(frames.len())?;
            check_eq!(
                got,
                frames,
                "frames from {} to {}, from number {number} on",
                ends[sender],
                ends[receiver]
            );
            number += frames.len() as u64;
        }
    }
    Ok(number)
}
