// SPDX-License-Identifier: GPL-2.0

//! Trouble from outside: processors go, everybody is frozen, a client's memory comes to an end.

mod tight;

pub use tight::TESTS as TIGHT;

use crate::{
    arena::Kind,
    cpus::{self, Offline},
    device::{Device, MAC},
    harness::{Context, Test},
    outcome::{Outcome, While},
    skip,
    soak::client::{Client, Of},
    sys,
};
use std::path::Path;

pub const TESTS: &[Test] = &[
    Test::new("outside.processors_come_and_go", processors).seconds(60),
    Test::new("outside.processors_come_and_go_va", processors)
        .with("use_va=1")
        .seconds(60),
    Test::new("outside.everybody_is_frozen", frozen).seconds(60),
    Test::new("outside.everybody_is_frozen_va", frozen)
        .with("use_va=1")
        .seconds(60),
    Test::new("outside.suspend_to_ram", suspend).seconds(60),
    Test::new("outside.suspend_to_ram_va", suspend)
        .with("use_va=1")
        .seconds(60),
];

/// A device with the kernel's driver and one with a driver in userspace, and who uses them.
struct Users {
    // In this order: who deletes a device waits for those that have it open.
    clients: [Client; 2],
    devices: [Device; 2],
}

impl Users {
    fn new(context: &Context) -> Outcome<Self> {
        let kind = match context.has("use_va=1") {
            true => Kind::Shared,
            false => Kind::Anonymous,
        };
        let (virtio, interface) = Device::for_virtio("outside1")?;
        let (vhost, path) = Device::for_vhost("outside2")?;
        let clients = [
            Client::start(&Of::Interface(interface, MAC))?,
            Client::start(&Of::Vhost(path, kind))?,
        ];
        Ok(Self {
            clients,
            devices: [virtio, vhost],
        })
    }

    /// Sees that frames come, for all of them.
    fn go_on(&mut self) -> Outcome {
        let count = |device: &Device| device.statistics(0)?.get("rx packets");
        for (device, client) in self.devices.iter().zip(&mut self.clients) {
            let before = count(device)?;
            sys::wait_for("frames", sys::SOON, || {
                Ok((count(device)? > before).then_some(()))
            })
            .when(device.name())?;
            // Those so far are as they should be.
            client.tell("pause")?;
            client.tell("run")?;
        }
        Ok(())
    }

    fn end(self) -> Outcome {
        self.clients.into_iter().try_for_each(Client::quit)?;
        self.devices.into_iter().try_for_each(Device::delete)
    }
}

fn processors(context: &mut Context) -> Outcome {
    let cpu = match cpus::online()?[..] {
        [_, cpu, ..] => cpu,
        _ => skip!("there is only one processor"),
    };
    let switch = format!("/sys/devices/system/cpu/cpu{cpu}/online");
    if !Path::new(&switch).exists() {
        skip!("processors cannot be taken offline ({switch})");
    }
    let mut users = Users::new(context)?;
    for round in 0..6 {
        context.step(format_args!("round {round}, offline"));
        let offline = Offline::new(cpu)?;
        users.go_on().when("with a processor less")?;
        // One that comes meanwhile, too.
        let (device, path) = Device::for_vhost("outside3")?;
        Client::start(&Of::Vhost(path, Kind::Shared))?.quit()?;
        context.step(format_args!("round {round}, online"));
        offline.end()?;
        users.go_on().when("with the processor back")?;
        device.delete()?;
    }
    users.end()
}

/// How far a suspension goes; all of it is undone when the value goes.
struct TestLevel;

const LEVEL: &str = "/sys/power/pm_test";

impl TestLevel {
    fn set(level: &str) -> Outcome<Self> {
        if !Path::new(LEVEL).exists() {
            skip!("this kernel cannot try suspending (no {LEVEL})");
        }
        let known = sys::read_line(LEVEL)?;
        if !known.contains(level) {
            skip!("{LEVEL} knows no '{level}': {known}");
        }
        // In seconds: for how long it stays suspended.
        let _ = sys::write("/sys/module/suspend/parameters/pm_test_delay", "1");
        sys::write(LEVEL, level)?;
        Ok(Self)
    }
}

impl Drop for TestLevel {
    fn drop(&mut self) {
        let _ = sys::write(LEVEL, "none");
    }
}

/// How a machine can be suspended.
fn state() -> Outcome<String> {
    let known = sys::read_line("/sys/power/state").unwrap_or_default();
    for state in ["mem", "freeze"] {
        if known.split(' ').any(|word| word == state) {
            return Ok(state.to_owned());
        }
    }
    skip!("this machine cannot be suspended (/sys/power/state: '{known}')")
}

/// All processes stand still at whatever they do, and go on.
fn frozen(context: &mut Context) -> Outcome {
    let state = state()?;
    let _level = TestLevel::set("freezer")?;
    let mut users = Users::new(context)?;
    for round in 0..3 {
        context.step(format_args!("round {round}"));
        sys::write("/sys/power/state", &state)?;
        users.go_on().when(format_args!("round {round}"))?;
    }
    users.end()
}

/// The whole way down and up again. `scripts/guest --root-in-memory` boots a guest that can.
fn suspend(context: &mut Context) -> Outcome {
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let root = mounts
        .lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            (words.get(1) == Some(&"/")).then(|| words.get(2).copied().unwrap_or_default())
        })
        .next_back()
        .when("the root in /proc/mounts")?;
    if ["9p", "virtiofs"].contains(&root) {
        skip!("the root is {root}, whose device does not survive it (guest --root-in-memory)");
    }
    let state = state()?;
    let mut users = Users::new(context)?;
    for round in 0..2 {
        context.step(format_args!("round {round}"));
        let woken = sys::output(&["rtcwake", "-m", &state, "-s", "3"])?;
        if !woken.status.success() {
            let said = String::from_utf8_lossy(&woken.stderr).into_owned();
            users.end()?;
            skip!("rtcwake -m {state}: {said}");
        }
        users.go_on().when(format_args!("round {round}"))?;
    }
    users.end()
}
