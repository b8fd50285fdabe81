// SPDX-License-Identifier: GPL-2.0

//! A port that does not receive, that breaks the rules or is reset does not hold up the
//! others.

use super::{delete, passes, three, EVERYONE};
use crate::{
    check_eq,
    harness::{Context, Test},
    outcome::{Outcome, While},
    tests::{delivery::drops, rings::both},
};
use rvdpa_virtio::{
    features::Features,
    layout::{flags, Descriptor},
};

pub const TESTS: &[Test] = both! {
    "switch_port_that_does_not_receive", deaf;
    "switch_port_that_breaks_the_rules", hostile;
    "switch_port_that_is_reset", reset;
};

/// Many more frames than a ring has buffers.
const MANY: u64 = 300;

fn deaf(context: &mut Context) -> Outcome {
    let mut ports = three(context, Features(u64::MAX))?;
    let [one, two, three] = &mut ports;
    // The third has 64 buffers, and does not look after them.
    for number in 0..MANY {
        one.send(EVERYONE, number)?;
        let got = two.net.wait_receive()?;
        check_eq!(crate::frame::number(&got), Some(number), "frame of port2");
        two.net.fill_rx()?;
    }
    let before = drops(&three.device, 1)?;
    check_eq!(before, MANY - 64, "frames dropped at port3");
    for device in [&one.device, &two.device] {
        check_eq!(drops(device, 1)?, 0, "frames dropped at {}", device.name());
    }
    // It gets what it had room for, in order, and later what comes later.
    for number in 0..64 {
        let got = three.net.wait_receive()?;
        check_eq!(crate::frame::number(&got), Some(number), "frame of port3");
    }
    three.net.fill_rx()?;
    one.send(EVERYONE, 7)?;
    one.mark()?;
    check_eq!(two.seen()?, [7], "frames of port2");
    check_eq!(three.seen()?, [7], "frames of port3");
    delete(ports)
}

fn hostile(context: &mut Context) -> Outcome {
    let mut ports = three(context, Features(u64::MAX))?;
    let [one, two, three] = &mut ports;
    let bad = Descriptor {
        address: 0x1234_5678_0000,
        len: 2048,
        flags: flags::WRITE,
        next: 0,
    };
    for index in 0..three.net.plan.size {
        three.net.rx.driver.split().write_descriptor(index, bad);
    }
    for number in 0..20 {
        one.send(EVERYONE, number)?;
        let got = two.net.wait_receive()?;
        check_eq!(crate::frame::number(&got), Some(number), "frame of port2");
        two.net.fill_rx()?;
    }
    three.net.client.wait_for_needs_reset()?;
    context.log.expect(&[
        "port3: virtqueue 0 (receive) stopped until reset:",
        "not mapped",
    ])?;
    let status = one.net.client.status()?;
    check_eq!(status, two.net.client.status()?, "status of port1");
    passes(one, two)?;
    delete(ports)
}

fn reset(context: &mut Context) -> Outcome {
    let [mut one, mut two, mut three] = three(context, Features(u64::MAX))?;
    for round in 0..5 {
        for number in 0..20 {
            one.send(EVERYONE, number)?;
        }
        if round % 2 == 0 {
            three.net.client.reset()?;
        }
        for number in 20..40 {
            one.send(EVERYONE, number)?;
        }
        let mut seen = Vec::new();
        while seen.len() < 40 {
            let got = two
                .net
                .wait_receive()
                .when(format_args!("port2 after {seen:?}"))?;
            seen.push(crate::frame::number(&got).when("a number in the frame")?);
            two.net.fill_rx()?;
        }
        let wanted: Vec<u64> = (0..40).collect();
        check_eq!(seen, wanted, "frames of port2 in round {round}");
        three.net = three.net.restart().when(format_args!("round {round}"))?;
        three.promiscuous(true)?;
        three.net.fill_rx()?;
        one.mark()?;
        check_eq!(two.seen()?, [0_u64; 0], "frames of port2");
        check_eq!(three.seen()?, [0_u64; 0], "frames of port3");
    }
    delete([one, two, three])
}
