// SPDX-License-Identifier: GPL-2.0

//! What looks odd, and must not stop a queue: it is allowed, or it harms nobody but the
//! driver.

use super::attacks::{frame_descriptor, offer, table, FEW, SIZE};
use crate::{
    check, check_eq,
    device::Device,
    frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    sys::SOON,
    tests::rings::{both, kind},
    vhost::{Net, Plan, TX},
};
use rvdpa_virtio::{
    layout::{flags, Descriptor},
    mock::DriverMemory,
};
use std::{thread::sleep, time::Duration};

pub const TESTS: &[Test] = both! {
    "same_head_twice", twice;
    "tables_that_will_do", good_tables;
    "kicks_at_any_time", kicks;
    "rings_that_overlap", overlap;
    "rings_not_aligned", misaligned;
};

/// A device with an ordinary driver.
fn ordinary(context: &Context) -> Outcome<(Device, Net)> {
    let (device, path) = Device::for_vhost("odd")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    Ok((device, Net::new(&path, plan)?))
}

/// The specification forbids it, but it harms nobody else: both are sent.
fn twice(context: &mut Context) -> Outcome {
    let (device, mut net) = ordinary(context)?;
    net.fill_rx()?;
    let descriptor = frame_descriptor(&net);
    net.tx.driver.split().write_descriptor(0, descriptor);
    net.tx.driver.split_mut().add_head(0);
    net.tx.driver.split_mut().add_head(0);
    net.tx.driver.publish();
    net.tx.kick()?;
    // Not by `used`: it does not know the chain that it did not add.
    crate::sys::wait_for("two chains", SOON, || {
        Ok((net.tx.driver.split().read_used_index() == 2).then_some(()))
    })?;
    let first = net.wait_receive()?;
    check_eq!(net.wait_receive()?, first, "the second frame");
    let mut net = net.restart()?;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

/// What looks odd about indirect tables, and is allowed.
fn good_tables(context: &mut Context) -> Outcome {
    let (device, mut net) = ordinary(context)?;
    net.fill_rx()?;
    let entry = frame_descriptor(&net);
    let wanted = frame::make(100, net.mac, net.mac, 1);
    // The device ignores the flag for writing on the one that refers to the table.
    let mut descriptor = table(&net, &[entry]);
    descriptor.flags |= flags::WRITE;
    offer(&mut net, descriptor);
    net.tx.kick()?;
    check_eq!(
        net.wait_receive()?,
        wanted,
        "frame from a table for writing"
    );
    net.fill_rx()?;

    // Behind a direct descriptor.
    let header = Descriptor {
        len: 12,
        flags: flags::NEXT,
        next: 1,
        ..entry
    };
    let rest = Descriptor {
        address: entry.address + 12,
        len: 100,
        ..entry
    };
    let second = table(&net, &[rest]);
    net.tx.driver.split().write_descriptor(1, second);
    offer(&mut net, header);
    net.tx.kick()?;
    check_eq!(
        net.wait_receive()?,
        wanted,
        "frame half direct, half indirect"
    );
    net.fill_rx()?;

    // A table that lies in two mappings.
    let view = crate::arena::View::new(net.plan.kind, 0x66_0000_0000, 0x2000)?;
    let middle = view.iova() + 0x1000;
    use crate::ioctl::Permission;
    net.client
        .map(0, &view, view.iova(), 0x1000, Permission::Read)?;
    net.client.map(0, &view, middle, 0x1000, Permission::Read)?;
    let mut entries: Vec<Descriptor> = (0..8)
        .map(|at| Descriptor {
            address: entry.address + at * 14,
            len: 14,
            flags: flags::NEXT,
            next: at as u16 + 1,
        })
        .collect();
    entries[7].flags = 0;
    for start in [middle - 64, middle - 8, middle - 72] {
        for (at, entry) in entries.iter().enumerate() {
            view.write(start + 16 * at as u64, &entry.to_bytes());
        }
        let descriptor = Descriptor {
            address: start,
            len: 128,
            flags: flags::INDIRECT,
            next: 0,
        };
        offer(&mut net, descriptor);
        net.tx.kick()?;
        let got = net
            .wait_receive()
            .when(format_args!("table at {start:#x}"))?;
        check_eq!(got, wanted, "frame from a table in two mappings");
        net.fill_rx()?;
    }
    drop(net);
    device.delete()
}

fn kicks(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("odd")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    // Before DRIVER_OK: nothing happens, and nothing is forgotten.
    let mut net = Net::prepare(&path, plan)?;
    net.fill_rx()?;
    let sent = frame::make(100, net.mac, net.mac, 4);
    net.add_frame(&sent);
    net.tx.driver.publish();
    for _ in 0..100 {
        net.tx.kick()?;
        net.rx.kick()?;
    }
    sleep(Duration::from_millis(20));
    check_eq!(net.tx.used(), 0, "chains used before DRIVER_OK");
    net.go()?;
    check_eq!(net.wait_receive()?, sent, "frame sent before DRIVER_OK");

    // A storm with nothing to do.
    for _ in 0..20_000 {
        net.tx.kick()?;
        net.rx.kick()?;
    }
    let mut net = net.restart()?;
    net.loop_frames(FEW)?;
    // After a reset.
    net.client.reset()?;
    for _ in 0..100 {
        net.tx.kick()?;
        net.rx.kick()?;
    }
    sleep(Duration::from_millis(10));
    let mut net = net.restart()?;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

/// A driver whose rings lie on each other harms itself only.
fn overlap(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("odd")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    for (name, shape) in [
        ("used ring on the available ring", [0, 0x1000, 0x1000]),
        ("all in one place", [0, 0, 0]),
        ("used ring on the descriptors", [0, 0x1000, 0]),
    ] {
        context.step(name);
        let mut net = Net::prepare(&path, plan)?;
        let start = net.tx.layout.descriptor;
        let layout = rvdpa_virtio::layout::QueueLayout {
            size: SIZE,
            descriptor: start + shape[0],
            driver: start + shape[1],
            device: start + shape[2],
        };
        net.client.set_addresses(TX, &layout)?;
        net.fill_rx()?;
        let descriptor = frame_descriptor(&net);
        net.tx.driver.split().write_descriptor(0, descriptor);
        net.memory.store_u16(layout.driver + 2, 1);
        net.go()?;
        for _ in 0..50 {
            net.tx.kick()?;
        }
        sleep(Duration::from_millis(10));
        let mut net = net.restart().when(name)?;
        net.loop_frames(FEW).when(name)?;
        drop(net);
    }
    device.delete()
}

fn misaligned(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("odd")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    let net = Net::prepare(&path, plan)?;
    let good = net.tx.layout;
    for (what, offsets) in [
        ("descriptor area", [8, 0, 0]),
        ("driver area", [0, 1, 0]),
        ("device area", [0, 0, 2]),
    ] {
        let bad = rvdpa_virtio::layout::QueueLayout {
            descriptor: good.descriptor + offsets[0],
            driver: good.driver + offsets[1],
            device: good.device + offsets[2],
            ..good
        };
        let set = net.client.set_addresses(TX, &bad);
        let refused = set
            .err()
            .is_some_and(|stop| stop.text().contains("Invalid argument"));
        check!(refused, "{what} that is not aligned");
    }
    net.client.set_addresses(TX, &good)?;
    net.go()?;
    let mut net = net;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}
