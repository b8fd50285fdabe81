// SPDX-License-Identifier: GPL-2.0

//! Whether mappings outlive a reset: that is for the client to say.

use super::each_map;
use crate::{
    check, check_eq,
    harness::{Context, Test},
    ioctl::{self, backend, Permission},
    outcome::{Outcome, While},
    tests::{
        hostile::{expect_fault, Faulty},
        rings::{plan, ring_device, FEW},
    },
    vhost::{Client, Format, Net, Plan, TX},
};
use nix::errno::Errno;
use vhost::vhost_kern::VhostKernFeatures;

pub const TESTS: &[Test] = each_map! {
    "mappings_outlive_a_reset", stay;
    "mappings_go_with_a_reset_of_old_clients", go;
    "mappings_go_with_the_client", next_client;
};

/// A device that runs for a client that accepts these backend features.
fn running(path: &str, plan: Plan, features: u64) -> Outcome<Net> {
    let net = Net::with(Client::open_with(path, features)?, plan)?;
    net.go()?;
    Ok(net)
}

/// Resets a device and sets it up anew in the same memory, without mapping it once more.
fn again(net: Net) -> Outcome<Net> {
    let Net {
        client,
        plan,
        memory,
        control_memory,
        ..
    } = net;
    let plan = Plan { map: false, ..plan };
    let net = Net::on(client, plan, memory, control_memory)?;
    net.go()?;
    Ok(net)
}

fn stay(context: &mut Context) -> Outcome {
    for format in Format::ALL {
        let (device, path) = ring_device("persist", format)?;
        let mut net = running(&path, plan(context), backend::ALWAYS)?;
        for round in 0..4 {
            net.loop_frames(FEW).when(format_args!("round {round}"))?;
            super::command(&mut net)?;
            net = again(net)?;
        }
        // For the bus they are there, too.
        let got = ioctl::map(
            &net.client,
            0,
            net.memory.iova(),
            0x1000,
            net.memory.pointer(net.memory.iova(), 0x1000),
            Permission::Both,
        );
        check_eq!(got, Err(Errno::EFAULT), "a map of what is mapped");
        net.client.unmap(0, net.memory.iova(), net.memory.len())?;
        net.tx.kick()?;
        expect_fault(context, &net, "persist", &Faulty::at(TX, "not mapped"))?;
        drop(net);
        device.delete()?;
    }
    Ok(())
}

/// A client that does not know that they could stay.
fn go(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("persist", Format::Split)?;
    let old = backend::ALWAYS & !backend::IOTLB_PERSIST;
    let mut net = running(&path, plan_with_control(context), old)?;
    let offered = net.client.kernel().get_backend_features()?;
    check!(
        offered & backend::IOTLB_PERSIST != 0,
        "it is not offered: {offered:#x}"
    );
    for round in 0..3 {
        context.step(format_args!("round {round}"));
        net.loop_frames(FEW).when(format_args!("round {round}"))?;
        super::command(&mut net)?;
        // Both address spaces were emptied.
        net = again(net)?;
        net.tx.kick()?;
        expect_fault(context, &net, "persist", &Faulty::at(TX, "not mapped"))
            .when(format_args!("round {round}"))?;
        // It works when they are mapped again; the bus has not forgotten them.
        let Net {
            client,
            memory,
            control_memory,
            ..
        } = net;
        client.unmap(0, memory.iova(), memory.len())?;
        client.unmap(1, control_memory.iova(), control_memory.len())?;
        net = Net::on(client, plan_with_control(context), memory, control_memory)?;
        net.go()?;
    }
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

/// The control queue in an address space of its own.
fn plan_with_control(context: &Context) -> Plan {
    Plan {
        control_asid: 1,
        ..plan(context)
    }
}

/// The next client finds nothing mapped, whatever the one before it had accepted.
fn next_client(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("persist", Format::Split)?;
    for features in [backend::ALWAYS, backend::ALWAYS & !backend::IOTLB_PERSIST] {
        let mut net = running(&path, plan_with_control(context), features)?;
        net.loop_frames(FEW)?;
        drop(net);
        let unmapped = Plan {
            map: false,
            ..plan(context)
        };
        let net = running(&path, unmapped, backend::ALWAYS)?;
        net.tx.kick()?;
        expect_fault(context, &net, "persist", &Faulty::at(TX, "not mapped"))?;
        drop(net);
    }
    device.delete()
}
