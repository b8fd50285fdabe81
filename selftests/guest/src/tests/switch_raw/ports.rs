// SPDX-License-Identifier: GPL-2.0

//! Ports that come and go, and links that are up and down.

use super::{delete, passes, three, Port, EVERYONE};
use crate::{
    check, check_eq,
    harness::{Context, Test},
    outcome::{Outcome, While},
    sys::{self, SOON},
    tests::rings::both,
    vhost::wait_event,
};
use rvdpa_virtio::{features::Features, net::NetConfig};
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

pub const TESTS: &[Test] = both! {
    "switch_links", links;
    "switch_forgets_a_port_that_went", forgets;
    "switch_ports_come_and_go", come_and_go;
    "switch_counts", counts;
};

/// Takes a port's link away, or gives it back.
fn link(port: &Port, up: bool) -> Outcome {
    let root = Path::new("/sys/kernel/debug/rvdpa_sim");
    if !root.exists() {
        sys::run(&["mount", "-t", "debugfs", "none", "/sys/kernel/debug"])?;
    }
    let file = root.join("devices").join(port.device.name()).join("link");
    let word = if up { "up" } else { "down" };
    sys::write(&file, word)?;
    check_eq!(
        sys::read_line(&file)?,
        word,
        "link of {}",
        port.device.name()
    );
    let come = wait_event(&port.net.config_call, SOON)?;
    check!(come, "no config interrupt for the link {word}");
    let status = port.net.client.config()?.status() & NetConfig::LINK_UP;
    check_eq!(status, u16::from(up), "status with the link {word}");
    Ok(())
}

fn links(context: &mut Context) -> Outcome {
    let mut ports = three(context, Features(u64::MAX))?;
    let [one, two, three] = &mut ports;
    for round in 0..3 {
        link(two, false)?;
        one.send(EVERYONE, 1)?;
        one.send(two.mac(), 2)?;
        one.mark()?;
        let seen = three.seen()?;
        // The station behind the link that is down may be forgotten, and then is unknown.
        check!(
            seen == [1] || seen == [1, 2],
            "port3 got {seen:?} in round {round}"
        );
        two.sees_nothing()?;
        // What it sends goes nowhere, and comes back to the driver.
        two.send(EVERYONE, 3)?;
        one.sees_nothing()?;
        three.sees_nothing()?;
        link(two, true)?;
        two.send(EVERYONE, 4)?;
        two.mark()?;
        check_eq!(one.seen()?, [4], "frames of port1");
        check_eq!(three.seen()?, [4], "frames of port3");
        one.send(two.mac(), 5)?;
        one.mark()?;
        check_eq!(two.seen()?, [5], "frames of port2");
        check_eq!(three.seen()?, [0_u64; 0], "frames of port3");
    }
    delete(ports)
}

/// What was learned of a port goes with it.
fn forgets(context: &mut Context) -> Outcome {
    let [mut one, mut two, mut three] = three(context, Features(u64::MAX))?;
    let station = [2, 0, 0, 0, 0x77, 0x77];
    three.send_as(station, EVERYONE, 1)?;
    three.mark()?;
    check_eq!(one.seen()?, [1], "frames of port1");
    check_eq!(two.seen()?, [1], "frames of port2");
    one.send(station, 2)?;
    one.mark()?;
    check_eq!(two.seen()?, [0_u64; 0], "frames of port2");
    three.delete()?;
    one.send(station, 3)?;
    one.mark()?;
    check_eq!(two.seen()?, [3], "frames of port2");
    // A new port is not taken for the old one.
    let mut three = Port::new(context, "port3", 4, Features(u64::MAX))?;
    one.send(station, 4)?;
    one.mark()?;
    check_eq!(two.seen()?, [4], "frames of port2");
    check_eq!(three.seen()?, [4], "frames of port3");
    delete([one, two, three])
}

/// Ports are made and deleted while others have traffic.
fn come_and_go(context: &mut Context) -> Outcome {
    let all = Features(u64::MAX);
    let mut one = Port::new(context, "port1", 1, all)?;
    let mut two = Port::new(context, "port2", 2, all)?;
    let stop = AtomicBool::new(false);
    let rounds = {
        let context = &*context;
        thread::scope(|scope| -> Outcome<u32> {
            let traffic = scope.spawn(|| -> Outcome<u32> {
                let mut rounds = 0;
                while !stop.load(Ordering::Relaxed) {
                    one.send(two.mac(), 1)?;
                    one.send(EVERYONE, 2)?;
                    for number in [1, 2] {
                        let got = two.net.wait_receive()?;
                        check_eq!(crate::frame::number(&got), Some(number), "frame of port2");
                        two.net.fill_rx()?;
                    }
                    rounds += 1;
                }
                Ok(rounds)
            });
            let ports = (|| -> Outcome {
                for round in 0..10 {
                    let mut three =
                        Port::new(context, "port3", 3, all).when(format_args!("round {round}"))?;
                    three.net.wait_receive()?;
                    // To the first port alone: the second one counts what it gets.
                    let first = [2, 0, 0, 0, 0x50, 1];
                    three.send(first, 3)?;
                    three.delete()?;
                    if traffic.is_finished() {
                        break;
                    }
                }
                Ok(())
            })();
            stop.store(true, Ordering::Relaxed);
            let rounds = traffic.join().expect("the thread does not panic");
            ports?;
            rounds
        })?
    };
    context.note(format_args!("{rounds} rounds of traffic meanwhile"));
    two.drain()?;
    one.drain()?;
    passes(&mut one, &mut two)?;
    two.delete()?;
    one.delete()
}

fn counts(context: &mut Context) -> Outcome {
    let mut ports = three(context, Features(u64::MAX))?;
    let [one, two, three] = &mut ports;
    for number in 0..10 {
        one.send(EVERYONE, number)?;
    }
    one.mark()?;
    check_eq!(two.seen()?.len(), 10, "frames of port2");
    check_eq!(three.seen()?.len(), 10, "frames of port3");
    let sent = one.device.statistics(1)?;
    check_eq!(sent.get("tx packets")?, 11, "frames counted of port1");
    check_eq!(sent.get("tx bytes")?, 1100, "bytes counted of port1");
    for port in [two, three] {
        let rx = port.device.statistics(0)?;
        let name = port.device.name();
        check_eq!(rx.get("rx packets")?, 11, "frames counted of {name}");
        check_eq!(rx.get("rx bytes")?, 1100, "bytes counted of {name}");
    }
    check_eq!(
        one.device.statistics(0)?.get("rx packets")?,
        0,
        "frames that came back"
    );
    delete(ports)
}
