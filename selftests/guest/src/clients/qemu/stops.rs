// SPDX-License-Identifier: GPL-2.0

//! The card stops and goes on: by the monitor, by its driver, by the machine's reset.

use super::{test, with_machine, ClientTest, Network, BURST};
use crate::{
    check_eq,
    harness::Context,
    outcome::{Outcome, While},
    qemu::{finish, Flow, Net, VirtioPci, DRIVER},
};
use rvdpa_virtio::status::Status;

pub const TESTS: &[ClientTest] = &[
    test("qemu.stop_and_cont", stop_and_cont),
    test("qemu.driver_resets", driver_resets),
    test("qemu.machine_resets", machine_resets),
];

const ROUNDS: u64 = 8;

/// What the driver sends before and while the machine stops comes once, after it goes on. What
/// is sent to it meanwhile may be lost, but does not come twice.
fn stop_and_cont(context: &mut Context) -> Outcome {
    let mut network = Network::new(context, |new| new)?;
    with_machine(context, &network.machine("stop"), |context, machine| {
        let mut net = Net::new(machine, DRIVER, 1)?;
        network.pass(&mut net, 100)?;
        let Some(peer) = &mut network.peer else {
            let mut flow = Flow::new(net.mac, net.mac);
            for round in 0..ROUNDS {
                context.step(format_args!("round {round}"));
                flow.send(&mut net, BURST)?;
                machine.stop()?;
                machine.cont()?;
                finish(&mut flow, &mut net)?;
            }
            context.exercised(format_args!(
                "{ROUNDS} times stop and cont, {} frames looped meanwhile",
                flow.sent
            ));
            return Ok(());
        };
        let mut out = Flow::new(net.mac, peer.mac);
        let mut back = Flow::new(peer.mac, net.mac);
        for round in 0..ROUNDS {
            context.step(format_args!("round {round}"));
            out.send(&mut net, BURST)?;
            back.send(peer, BURST)?;
            machine.stop()?;
            back.send(peer, BURST)?;
            out.take(peer)?;
            machine.cont()?;
            finish(&mut out, peer).when("frames of the machine")?;
            back.take(&mut net)?;
        }
        // Now that it runs, nothing is lost.
        let lost = back.missing();
        back.forget_missing();
        back.send(peer, BURST)?;
        finish(&mut back, &mut net).when("frames to the machine")?;
        check_eq!((out.late(), back.late()), (0, 0), "frames out of order");
        context.exercised(format_args!(
            "{ROUNDS} times stop and cont under traffic: all of {} frames sent came, once; of {} \
             to it {lost} were lost while it stood",
            out.sent, back.sent
        ));
        Ok(())
    })?;
    network.delete()
}

/// A driver that is unloaded and loaded again.
fn driver_resets(context: &mut Context) -> Outcome {
    let mut network = Network::new(context, |new| new)?;
    with_machine(context, &network.machine("reset"), |context, machine| {
        let mut net = Net::new(machine, DRIVER, 1)?;
        for round in 0..ROUNDS {
            context.step(format_args!("round {round}"));
            network.pass(&mut net, 100)?;
            if let Some(peer) = &mut network.peer {
                // Frames are on their way to it.
                let mut lost = Flow::new(peer.mac, net.mac);
                lost.send(peer, BURST)?;
            }
            net = net.restart()?;
            // Which come into the new driver's buffers, or not at all.
            network.settle(&mut net)?;
        }
        network.pass(&mut net, 100)?;
        context.exercised(format_args!(
            "{ROUNDS} times a reset by the driver and set up again, under traffic"
        ));
        Ok(())
    })?;
    network.delete()
}

/// The machine's reset stops the card wherever it is; its firmware and driver begin anew.
fn machine_resets(context: &mut Context) -> Outcome {
    let mut network = Network::new(context, |new| new)?;
    with_machine(context, &network.machine("system"), |context, machine| {
        for round in 0..4 {
            context.step(format_args!("round {round}"));
            let mut net = Net::new(machine, DRIVER, 1)?;
            network.settle(&mut net)?;
            network.pass(&mut net, 100)?;
            if let Some(peer) = &mut network.peer {
                let mut lost = Flow::new(peer.mac, net.mac);
                lost.send(peer, BURST)?;
            }
            machine.reset()?;
            // Its addresses are gone with all else.
            let card = VirtioPci::find_net(&machine.qtest)?;
            check_eq!(card.status()?, Status::RESET, "status after the reset");
        }
        let mut net = Net::new(machine, DRIVER, 1)?;
        network.settle(&mut net)?;
        network.pass(&mut net, 100)?;
        context.exercised("4 times system_reset under traffic, and set up again");
        Ok(())
    })?;
    network.delete()
}
