// SPDX-License-Identifier: GPL-2.0

//! Shadow virtqueues: QEMU is between the driver's rings and the device's.

use super::{can_be_shadowed, test, with_machine, ClientTest, Network};
use crate::{
    check, check_eq, fail,
    harness::Context,
    outcome::{Outcome, Stop},
    qemu::{Machine, Net, Setup, DRIVER},
    skip,
    vhost::Format,
};
use rvdpa_virtio::features::Features;

pub const TESTS: &[ClientTest] = &[
    test("qemu.shadow", shadow),
    test("qemu.shadow_by_address", shadow).with("use_va=1"),
    test("qemu.shadow_pairs", pairs).not_for_peer("it has one pair"),
    test("qemu.shadow_packed", packed).not_for_peer("it has no packed rings"),
    test("qemu.address_of_the_card", address).not_for_peer("its configuration can be written"),
    test("qemu.shadow_refused", refused).not_for_peer("it offers nothing to refuse"),
];

/// How many frames go each way.
const COUNT: u64 = 500;

fn shadow(context: &mut Context) -> Outcome {
    let mut network = Network::new(context, can_be_shadowed)?;
    let setup = Setup {
        netdev: ",x-svq=on",
        ..network.machine("shadow")
    };
    with_machine(context, &setup, |context, machine| {
        let mut net = Net::new(machine, DRIVER, 1)?;
        context.note(format_args!("negotiated: {}", net.features));
        network.pass(&mut net, COUNT)?;
        context.step("a command");
        let before = net.mac;
        net.set_mac([2, 0, 0, 0, 0x51, 0x78])?;
        network.pass(&mut net, 100)?;
        net.set_mac(before)?;
        context.step("a reset by the driver");
        let mut net = net.restart()?;
        network.pass(&mut net, COUNT)?;
        context.step("stop and cont");
        machine.stop()?;
        machine.cont()?;
        network.pass(&mut net, COUNT)?;
        context.exercised(format_args!(
            "x-svq=on: 3 times {COUNT} frames {}, commands, reset by the driver, stop and cont",
            network.way()
        ));
        Ok(())
    })?;
    network.delete()
}

fn pairs(context: &mut Context) -> Outcome {
    const PAIRS: u16 = 4;
    let mut network = Network::new(context, |new| {
        let new = can_be_shadowed(new);
        let features = new.features.unwrap_or(Features::NONE) | Features::NET_MQ;
        new.features(features).pairs(PAIRS)
    })?;
    let setup = Setup {
        netdev: ",x-svq=on,queues=4",
        card: ",mq=on",
        ..network.machine("pairs")
    };
    with_machine(context, &setup, |context, machine| {
        let mut net = Net::new(machine, DRIVER, PAIRS)?;
        network.pass(&mut net, COUNT)?;
        machine.stop()?;
        machine.cont()?;
        network.pass(&mut net, COUNT)?;
        context.exercised(format_args!("x-svq=on with {PAIRS} queue pairs"));
        Ok(())
    })?;
    network.delete()
}

/// What QEMU makes of a device that it cannot shadow. Returns why it does not start, if it
/// does not.
fn reason(setup: &Setup) -> Option<String> {
    match Machine::start(setup) {
        Ok(_) => None,
        Err(Stop::Failed(text) | Stop::Skipped(text)) => Some(text),
    }
}

fn packed(context: &mut Context) -> Outcome {
    let mut network = Network::new(context, |new| {
        let new = can_be_shadowed(new);
        let features = new.features.unwrap_or(Features::NONE) | Features::RING_PACKED;
        new.features(features)
    })?;
    let setup = Setup {
        netdev: ",x-svq=on",
        card: ",packed=on",
        ..network.machine("packed")
    };
    context.step("starting QEMU");
    if let Some(why) = reason(&setup) {
        check!(why.to_lowercase().contains("svq"), "{why}");
        network.delete()?;
        skip!("QEMU does not shadow packed rings: {why}");
    }
    with_machine(context, &setup, |context, machine| {
        let mut net = Net::new(machine, DRIVER, 1)?;
        if net.format() != Format::Packed {
            fail!("split rings");
        }
        network.pass(&mut net, COUNT)?;
        context.exercised("x-svq=on with packed rings");
        Ok(())
    })?;
    network.delete()
}

/// A device that offers all it has is one that QEMU refuses to shadow, with its features as
/// the reason; it is none the worse for it.
fn refused(context: &mut Context) -> Outcome {
    let mut network = Network::new(context, |new| new)?;
    let setup = Setup {
        netdev: ",x-svq=on",
        ..network.machine("refused")
    };
    context.step("starting QEMU");
    let Some(why) = reason(&setup) else {
        fail!("QEMU shadows a device with all features, which it did not when this was written");
    };
    check!(why.to_lowercase().contains("svq"), "{why}");
    context.note(&why);
    with_machine(context, &network.machine("plain"), |context, machine| {
        let mut net = Net::new(machine, DRIVER, 1)?;
        network.pass(&mut net, COUNT)?;
        context.exercised("x-svq=on refuses all features by default; without it they work");
        Ok(())
    })?;
    network.delete()
}

/// QEMU has a say in the address of a device whose control queue it shadows, which it does
/// wherever it can, also without `x-svq`: it sets that of its card when the driver starts.
fn address(context: &mut Context) -> Outcome {
    const CARD: [u8; 6] = [2, 0, 0, 0, 0x51, 0x79];
    let mut network = Network::new(context, can_be_shadowed)?;
    let setup = Setup {
        mac: CARD,
        ..network.machine("card")
    };
    with_machine(context, &setup, |context, machine| {
        let mut net = Net::new(machine, DRIVER, 1)?;
        check_eq!(net.mac, network.mac, "the address that the driver read");
        let mut now = [0; 6];
        net.pci.config(0, &mut now)?;
        check_eq!(now, CARD, "the address once the driver runs");
        net.mac = now;
        network.pass(&mut net, 100)?;
        context.exercised("the address of QEMU's card comes into force as the driver starts");
        Ok(())
    })?;
    network.delete()
}
