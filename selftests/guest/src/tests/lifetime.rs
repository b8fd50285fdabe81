// SPDX-License-Identifier: GPL-2.0

//! Devices, clients and the module come and go, whatever else is going on.

use crate::{
    arena::Kind,
    check, check_eq,
    device::{Device, MAC},
    fail,
    harness::{Context, Test},
    module, netdev,
    netlink::Bus,
    outcome::{Outcome, Stop, While},
    packet,
    sys::{scaled, wait_for, SOON},
    tests::rings::kind,
    vhost::{refused, Client, LoopPlan, Net, Plan},
};
use nix::errno::Errno;
use std::{
    env,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub const TESTS: &[Test] = &[
    Test::new("lifetime.del_under_virtio_traffic", del_virtio),
    Test::new("lifetime.del_under_virtio_traffic_strict", del_virtio).with("strict=1"),
    Test::new("lifetime.del_waits_for_the_client", del_open),
    Test::new("lifetime.unbind_under_traffic", unbind),
    Test::new("lifetime.rmmod_is_busy", rmmod),
    Test::new("lifetime.second_open_is_busy", second_open),
    Test::new("lifetime.reopen", reopen),
    Test::new("lifetime.reopen_va", reopen).with("use_va=1"),
    Test::new("lifetime.sigkill_of_the_client", sigkill),
    Test::new("lifetime.sigkill_of_the_client_va", sigkill).with("use_va=1"),
    Test::new("lifetime.close_without_reset", close),
    Test::new("lifetime.close_without_reset_va", close).with("use_va=1"),
];

/// A process that has frames looped until it is killed or something breaks.
struct Exerciser(Child);

impl Exerciser {
    fn new(words: &[&str]) -> Outcome<Self> {
        let program = env::current_exe()?.with_file_name("rvdpa-exercise");
        let child = Command::new(&program)
            .args(words)
            .args(["--count", "1000000000"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .when(program.display())?;
        Ok(Self(child))
    }

    /// Waits until the device has had some frames.
    fn wait_for_traffic(&mut self, device: &Device) -> Outcome {
        wait_for("traffic", SOON, || {
            if let Some(status) = self.0.try_wait()? {
                fail!("the exerciser ended: {status}");
            }
            // Statistics are there only after negotiation.
            let Ok(stats) = device.statistics(0) else {
                return Ok(None);
            };
            Ok((stats.get("rx packets")? > 500).then_some(()))
        })
    }

    fn kill(mut self) -> Outcome {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Waits until it ends of its own accord.
    fn wait_end(mut self) -> Outcome {
        let ended = wait_for("the end of the exerciser", SOON, || {
            Ok(self.0.try_wait()?)
        });
        if ended.is_err() {
            self.kill()?;
        }
        ended.map(drop)
    }
}

const FEW: LoopPlan = LoopPlan {
    count: 50,
    size: 100,
    in_flight: 16,
};

fn del_virtio(_: &mut Context) -> Outcome {
    for _ in 0..3 {
        let (device, interface) = Device::for_virtio("del")?;
        let mut exerciser = Exerciser::new(&["flood", "--dev", &interface])?;
        exerciser.wait_for_traffic(&device)?;
        let start = Instant::now();
        device.delete()?;
        let took = start.elapsed();
        check!(took < scaled(SOON), "dev del took {took:?}");
        exerciser.wait_end()?;
    }
    Ok(())
}

fn unbind(_: &mut Context) -> Outcome {
    let device = Device::add_mac("free", MAC)?;
    for _ in 0..3 {
        device.bind(crate::device::Driver::Virtio)?;
        let interface = device.interface()?;
        netdev::up(&interface)?;
        let mut exerciser = Exerciser::new(&["flood", "--dev", &interface])?;
        exerciser.wait_for_traffic(&device)?;
        device.unbind()?;
        exerciser.wait_end()?;
    }
    device.delete()
}

fn del_open(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("open")?;
    let (other, interface) = Device::for_virtio("other")?;
    let mut net = Net::new(&path, Plan::default())?;
    net.loop_frames(FEW)?;

    context.step("dev del, which waits");
    let deletion = thread::spawn(move || device.delete());
    thread::sleep(Duration::from_millis(300));
    check!(
        !deletion.is_finished(),
        "dev del did not wait for the client"
    );

    // Meanwhile the client goes on, and so does everybody else. Only commands to the bus
    // wait, for its lock is held.
    context.step("the client's traffic meanwhile");
    net.loop_frames(FEW).when("the client's frames")?;
    context.step("the other device's traffic meanwhile");
    let mac = netdev::mac(&interface)?;
    let flood = packet::flood(&interface, mac, 2000, 100, 32)?;
    check_eq!(flood.received, 2000, "the other device's frames");
    check!(
        !deletion.is_finished(),
        "dev del did not wait for the client"
    );

    context.step("closing");
    drop(net);
    wait_for("dev del returns", SOON, || {
        Ok(deletion.is_finished().then_some(()))
    })?;
    deletion
        .join()
        .map_err(|_| Stop::Failed("dev del panicked".into()))??;
    other.delete()
}

/// Has something done that does not wait: of three times, once it takes no second.
fn at_once(what: &str, mut act: impl FnMut() -> Outcome) -> Outcome {
    let mut times = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        act()?;
        times.push(start.elapsed());
        if times.iter().any(|took| took.as_secs() < 1) {
            return Ok(());
        }
    }
    fail!("{what} took {times:?}")
}

/// Tries to unload the module, which must be refused at once.
fn refuses_to_go(what: &str) -> Outcome {
    at_once(&format!("rmmod with {what}"), || {
        let result = module::try_unload();
        // A module that is in use says EWOULDBLOCK if it was asked not to wait.
        check_eq!(result, Err(Errno::EWOULDBLOCK), "rmmod with {what}");
        Ok(())
    })?;
    check!(module::users()? > 0, "nobody uses the module with {what}");
    Ok(())
}

fn rmmod(_: &mut Context) -> Outcome {
    let (vhost, path) = Device::for_vhost("held1")?;
    refuses_to_go("an idle device")?;
    let mut net = Net::new(&path, Plan::default())?;
    net.loop_frames(FEW)?;
    refuses_to_go("an open device")?;
    let (virtio, interface) = Device::for_virtio("held2")?;
    drop(net);
    vhost.delete()?;
    refuses_to_go("a device of virtio_vdpa")?;
    // The tool says so too.
    at_once("the rmmod tool", || {
        let output = crate::sys::output(&["rmmod", module::NAME])?;
        check!(!output.status.success(), "rmmod worked");
        Ok(())
    })?;
    // And nothing is the worse for it.
    let mac = netdev::mac(&interface)?;
    let flood = packet::flood(&interface, mac, 100, 100, 32)?;
    check_eq!(flood.received, 100, "frames");
    virtio.delete()?;
    check_eq!(module::users()?, 0, "users of the module");
    module::try_unload().when("rmmod without a device")
}

fn second_open(_: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("once")?;
    let mut net = Net::new(&path, Plan::default())?;
    for _ in 0..3 {
        let second = Client::open_only(&path);
        check_eq!(
            refused(second),
            Some(Errno::EBUSY),
            "errno of a second open"
        );
    }
    net.loop_frames(FEW).when("the first client afterwards")?;
    drop(net);
    drop(Client::open_only(&path).when("open after close")?);
    device.delete()
}

fn reopen(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("again")?;
    for round in 0..20 {
        let plan = Plan {
            kind: kind(context),
            indirect: round % 2 == 0,
            size: 64,
            ..Plan::default()
        };
        let mut net = Net::new(&path, plan).when(format_args!("round {round}"))?;
        net.loop_frames(FEW).when(format_args!("round {round}"))?;
    }
    device.delete()
}

fn sigkill(context: &mut Context) -> Outcome {
    let memory = match kind(context) {
        Kind::Anonymous | Kind::Huge => "anonymous",
        Kind::Shared => "shared",
    };
    let (device, path) = Device::for_vhost("kill")?;
    for round in 0..5 {
        context.step(format_args!("round {round}"));
        let words = [
            "vhost-loop",
            &path,
            "--in-flight",
            "100",
            "--memory",
            memory,
        ];
        let mut exerciser = Exerciser::new(&words)?;
        let before = device
            .statistics(0)
            .and_then(|stats| stats.get("rx packets"))
            .unwrap_or_default();
        wait_for("traffic", SOON, || {
            if let Some(status) = exerciser.0.try_wait()? {
                fail!("the exerciser ended: {status}");
            }
            let now = device
                .statistics(0)
                .and_then(|stats| stats.get("rx packets"));
            Ok(now.is_ok_and(|now| now > before + 500).then_some(()))
        })?;
        exerciser.kill()?;
        let plan = Plan {
            kind: kind(context),
            ..Plan::default()
        };
        let mut net = Net::new(&path, plan).when("open after the client was killed")?;
        net.loop_frames(FEW)?;
    }
    device.delete()
}

/// A client that goes with frames on the way, and an address space full of mappings.
fn close(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("close")?;
    for round in 0..10 {
        let plan = Plan {
            kind: kind(context),
            ..Plan::default()
        };
        let mut net = Net::new(&path, plan).when(format_args!("round {round}"))?;
        net.fill_rx()?;
        for number in 0..200 {
            net.add_frame(&crate::frame::make(1000, net.mac, net.mac, number));
        }
        net.send()?;
        drop(net);
    }
    // Bus commands see the device as it was made.
    let client = Client::open(&path)?;
    check_eq!(client.config()?.mac().0, MAC, "MAC address");
    drop(client);
    check!(
        Bus::new()?.statistics("close", 0).is_err(),
        "statistics without a driver"
    );
    device.delete()
}
