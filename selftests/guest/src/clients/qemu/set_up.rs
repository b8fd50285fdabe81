// SPDX-License-Identifier: GPL-2.0

//! Setting the card up in each way, and its frames.

use super::{test, with_machine, ClientTest, Network};
use crate::{
    check, check_eq, fail, frame,
    harness::Context,
    outcome::{Outcome, While},
    qemu::{finish, Flow, Net, Setup, DRIVER},
    vhost::Format,
};
use rvdpa_virtio::features::Features;

pub const TESTS: &[ClientTest] = &[
    test("qemu.frames", frames),
    test("qemu.frames_by_address", frames).with("use_va=1"),
    test("qemu.packed", packed).not_for_peer("it has no packed rings"),
    test("qemu.pairs", pairs).not_for_peer("it has one pair"),
    test("qemu.address_by_command", address),
];

/// How many frames go each way.
const COUNT: u64 = 500;

fn frames(context: &mut Context) -> Outcome {
    let mut network = Network::new(context, |new| new)?;
    with_machine(context, &network.machine("frames"), |context, machine| {
        let mut net = Net::new(machine, DRIVER, 1)?;
        context.note(format_args!("negotiated: {}", net.features));
        context.step("frames");
        network.pass(&mut net, COUNT)?;
        context.step("an interrupt");
        // What is pending is read away.
        net.pci.isr()?;
        check!(!net.enable_interrupts(), "frames are left");
        network.pass(&mut net, 1)?;
        net.wait_interrupt()?;
        context.exercised(format_args!(
            "set-up, {COUNT} frames {}, interrupts",
            network.way()
        ));
        Ok(())
    })?;
    network.delete()
}

fn packed(context: &mut Context) -> Outcome {
    let mut network = Network::new(context, |new| new.format(Format::Packed, Features::NONE))?;
    let setup = Setup {
        card: ",packed=on",
        ..network.machine("packed")
    };
    with_machine(context, &setup, |context, machine| {
        let mut net = Net::new(machine, DRIVER, 1)?;
        check_eq!(net.format(), Format::Packed, "format of the rings");
        network.pass(&mut net, COUNT)?;
        let mut net = net.restart()?;
        network.pass(&mut net, COUNT)?;
        context.exercised(format_args!(
            "packed rings, 2 times {COUNT} frames {}",
            network.way()
        ));
        Ok(())
    })?;
    network.delete()
}

fn pairs(context: &mut Context) -> Outcome {
    const PAIRS: u16 = 4;
    let mut network = Network::new(context, |new| new.pairs(PAIRS))?;
    let setup = Setup {
        netdev: ",queues=4",
        card: ",mq=on",
        ..network.machine("pairs")
    };
    with_machine(context, &setup, |context, machine| {
        let mut net = Net::new(machine, DRIVER, PAIRS)?;
        check!(
            net.features.contains(Features::NET_MQ),
            "QEMU does not offer MQ, but {}",
            net.features
        );
        check_eq!(net.pci.queues()?, 2 * PAIRS + 1, "virtqueues of the card");
        context.step("frames on each pair");
        network.pass(&mut net, COUNT)?;
        context.step("fewer pairs, and all again");
        net.use_pairs(1)?;
        network.pass(&mut net, COUNT)?;
        net.use_pairs(PAIRS)?;
        network.pass(&mut net, COUNT)?;
        context.exercised(format_args!(
            "{PAIRS} queue pairs, 3 times {COUNT} frames {}, 4 to 1 to 4 pairs",
            network.way()
        ));
        Ok(())
    })?;
    network.delete()
}

/// The address that a driver sets is in force, and the other one no more.
fn address(context: &mut Context) -> Outcome {
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0x51, 0x77];
    let mut network = Network::new(context, |new| new)?;
    with_machine(context, &network.machine("address"), |context, machine| {
        let mut net = Net::new(machine, DRIVER, 1)?;
        let before = net.mac;
        net.set_mac(OTHER)?;
        let mut now = [0; 6];
        net.pci.config(0, &mut now)?;
        check_eq!(frame::display(now), frame::display(OTHER), "address");
        network.pass(&mut net, 100)?;
        // To the one before, and then to the new one, so that it is known when to look.
        let from = network.peer.as_ref().map_or(OTHER, |peer| peer.mac);
        let mut lost = Flow::new(from, before);
        let mut mark = Flow::new(from, OTHER);
        match &mut network.peer {
            Some(peer) => {
                lost.send(peer, 1)?;
                mark.send(peer, 1)?;
            }
            None => {
                lost.send(&mut net, 1)?;
                mark.send(&mut net, 1)?;
            }
        }
        finish(&mut mark, &mut net).when("a frame to the address set")?;
        // A reset brings the first one back.
        let mut net = net.restart()?;
        if net.mac != before {
            fail!("address {} after a reset", frame::display(net.mac));
        }
        network.pass(&mut net, 100)?;
        context.exercised("an address set by command is in force, until a reset");
        Ok(())
    })?;
    network.delete()
}
