// SPDX-License-Identifier: GPL-2.0

//! Rings in one address space, what they point to in another one: `desc_group=1`.

use super::MANY;
use crate::{
    arena::View,
    check, check_eq,
    harness::{Context, Test},
    ioctl::{self, backend, Permission},
    outcome::{Outcome, While},
    tests::{
        hostile::{expect_fault, Faulty},
        rings::{kind, plan, ring_device, FEW},
    },
    vhost::{Client, Format, Net, NewDevice, Plan, Queue, RX, TX},
};
use nix::errno::Errno;
use rvdpa_virtio::{features::Features, mock::DriverMemory};
use vhost::{vdpa::VhostVdpa, vhost_kern::VhostKernFeatures};

const ON: &str = "desc_group=1 address_spaces=3";
const TABLES: &str = "desc_group=1 address_spaces=3 batch_mapping=1";
const VA: &str = "desc_group=1 address_spaces=3 use_va=1";
const TABLES_VA: &str = "desc_group=1 address_spaces=3 batch_mapping=1 use_va=1";

pub const TESTS: &[Test] = &[
    Test::new("mapping.desc_group.off", off),
    Test::new("mapping.desc_group.groups", groups).with(ON),
    Test::new("mapping.desc_group.split", split).with(ON),
    Test::new("mapping.desc_group.packed", packed).with(ON),
    Test::new("mapping.desc_group.split.set_map", split).with(TABLES),
    Test::new("mapping.desc_group.packed.set_map", packed).with(TABLES),
    Test::new("mapping.desc_group.split.va", split).with(VA),
    Test::new("mapping.desc_group.packed.va", packed).with(VA),
    Test::new("mapping.desc_group.packed.set_map.va", packed).with(TABLES_VA),
    Test::new("mapping.desc_group.parts_in_the_wrong_space", wrong).with(ON),
    Test::new("mapping.desc_group.parts_in_the_wrong_space.va", wrong).with(VA),
    Test::new("mapping.desc_group.in_one_space", together).with("desc_group=1"),
];

/// The group that holds the rings.
const GROUP: u32 = 2;

fn off(_: &mut Context) -> Outcome {
    let (device, path) = ring_device("rings", Format::Split)?;
    let client = Client::open(&path)?;
    let offered = client.kernel().get_backend_features()?;
    check!(
        offered & backend::DESC_ASID == 0,
        "DESC_ASID is offered: {offered:#x}"
    );
    let got = ioctl::vring_desc_group(&client, 0);
    check_eq!(got, Err(Errno::EOPNOTSUPP), "group of the rings");
    let got = ioctl::set_group_asid(&client, GROUP, 0);
    check_eq!(got, Err(Errno::EINVAL), "a third group");
    drop(client);
    device.delete()
}

fn open(path: &str) -> Outcome<Client> {
    Client::open_with(path, backend::ALWAYS | backend::DESC_ASID)
}

/// Which group each virtqueue is in, and its rings.
fn groups(_: &mut Context) -> Outcome {
    let (device, path) = NewDevice::named("rings").pairs(4).make()?;
    let mut client = open(&path)?;
    check_eq!(client.kernel().get_group_num()?, 3, "groups");
    let multi = Features::NET_MQ | Features::NET_RSS;
    for (features, control) in [
        (Features(u64::MAX), 8),
        (Features(u64::MAX).without(multi), 2),
    ] {
        client.negotiate(features)?;
        for index in 0..=control {
            let (group, rings) = if index == control { (1, 1) } else { (0, GROUP) };
            check_eq!(
                client.kernel().get_vring_group(index)?,
                group,
                "group of virtqueue {index}, control queue {control}"
            );
            check_eq!(
                ioctl::vring_desc_group(&client, index),
                Ok(rings),
                "group of the rings of virtqueue {index}, control queue {control}"
            );
        }
    }
    let got = ioctl::vring_desc_group(&client, 9);
    check_eq!(got, Err(Errno::ENOBUFS), "a virtqueue that there is not");
    drop(client);
    device.delete()
}

/// Pages of a virtqueue that are the rings; the others are tables and buffers.
fn ring_pages(queue: &Queue) -> (u64, usize) {
    // They come first, and what follows has pages of its own.
    let start = queue.layout.descriptor;
    (start, (queue.tables - start) as usize)
}

/// Shows address spaces the rings, and all but the rings, of the receive and of the transmit
/// queue. Everywhere else each has memory in which nothing is.
fn map_parts(net: &Net, rings: u32, rest: u32, empty: &View) -> Outcome {
    let view = &net.memory;
    let end = view.iova() + view.len() as u64;
    let (rx, rx_len) = ring_pages(&net.rx);
    let (tx, tx_len) = ring_pages(&net.tx);
    for (iova, len) in [(rx, rx_len), (tx, tx_len)] {
        net.client.map(rings, view, iova, len, Permission::Both)?;
        net.client.map(rest, empty, iova, len, Permission::Both)?;
    }
    let behind = |start: u64, len: usize, to: u64| {
        let from = start + len as u64;
        (from, (to - from) as usize)
    };
    for (iova, len) in [behind(rx, rx_len, tx), behind(tx, tx_len, end)] {
        net.client.map(rest, view, iova, len, Permission::Both)?;
        net.client.map(rings, empty, iova, len, Permission::Both)?;
    }
    Ok(())
}

/// A driver that runs with its rings in one address space and the rest in another one.
fn apart(client: Client, plan: Plan, rings: u32) -> Outcome<(Net, View)> {
    let plan = Plan { map: false, ..plan };
    let net = Net::with(client, plan)?;
    let empty = View::new(plan.kind, net.memory.iova(), net.memory.len())?;
    ioctl::set_group_asid(&net.client, GROUP, rings).when("SET_GROUP_ASID of the rings")?;
    map_parts(&net, rings, plan.asid, &empty)?;
    net.client.map_all(plan.control_asid, &net.control_memory)?;
    net.go()?;
    Ok((net, empty))
}

/// Takes all mappings away.
fn clear(client: &Client) -> Outcome {
    for asid in 0..3 {
        // One that was never used is not there for the bus.
        let _ = ioctl::unmap(client, asid, 0, u64::MAX);
    }
    Ok(())
}

fn traffic(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("rings", format)?;
    let mut client = open(&path)?;
    for (pieces, indirect) in [(1, false), (3, false), (1, true), (4, true)] {
        for (rings, rest, control) in [(1, 0, 0), (0, 1, 1), (2, 1, 0), (1, 0, 2)] {
            let what = format!(
                "{pieces} pieces, indirect: {indirect}, spaces: rings {rings}, rest {rest}, \
                 control queue {control}"
            );
            context.step(&what);
            let plan = Plan {
                pieces,
                indirect,
                asid: rest,
                control_asid: control,
                ..plan(context)
            };
            let (mut net, empty) = apart(client, plan, rings)?;
            net.loop_frames(MANY).when(&what)?;
            super::command(&mut net).when(&what)?;
            let mut unused = vec![0; empty.len()];
            empty.read(empty.iova(), &mut unused);
            check!(
                unused.iter().all(|byte| *byte == 0),
                "{what}: memory of the other address space was written"
            );
            clear(&net.client)?;
            client = net.client;
        }
    }
    drop(client);
    device.delete()
}

fn split(context: &mut Context) -> Outcome {
    traffic(context, Format::Split)
}

fn packed(context: &mut Context) -> Outcome {
    traffic(context, Format::Packed)
}

/// Rings that only the buffers' space has, buffers and tables that only the rings' has.
fn wrong(context: &mut Context) -> Outcome {
    for format in Format::ALL {
        let (device, path) = ring_device("rings", format)?;
        let mut client = open(&path)?;
        // What the rings' space has: all, or only what it should.
        for (indirect, everything, fault) in [
            (false, 0, "descriptor area"),
            (false, 1, "buffer of descriptor"),
            (true, 1, "table"),
        ] {
            context.step(format_args!(
                "{format:?}, indirect: {indirect}, all in {everything}"
            ));
            let plan = Plan {
                indirect,
                pieces: if indirect { 2 } else { 1 },
                map: false,
                ..plan(context)
            };
            let mut net = Net::with(client, plan)?;
            ioctl::set_group_asid(&net.client, GROUP, 1).when("SET_GROUP_ASID")?;
            net.client.map_all(everything, &net.memory)?;
            net.client.map_all(0, &net.control_memory)?;
            net.go()?;
            net.add_frame(&crate::frame::make(100, net.mac, net.mac, 1));
            net.tx.driver.publish();
            net.tx.kick()?;
            let fault = Faulty::at(TX, fault).and("not mapped");
            expect_fault(context, &net, "rings", &fault)?;
            super::command(&mut net)?;
            clear(&net.client)?;
            client = net.client;
        }
        let (mut net, _empty) = apart(client, plan(context), 1)?;
        net.loop_frames(FEW)?;
        // Taken away under a device that runs.
        let (start, len) = ring_pages(&net.rx);
        net.client.unmap(1, start, len)?;
        net.rx.kick()?;
        net.add_frame(&crate::frame::make(100, net.mac, net.mac, 1));
        net.tx.driver.publish();
        net.tx.kick()?;
        expect_fault(context, &net, "rings", &Faulty::at(RX, "not mapped"))?;
        drop(net);
        device.delete()?;
    }
    Ok(())
}

/// Clients that do not know of it have all in one address space.
fn together(context: &mut Context) -> Outcome {
    for format in Format::ALL {
        let (device, path) = ring_device("rings", format)?;
        let plan = Plan {
            kind: kind(context),
            ..plan(context)
        };
        let mut net = Net::new(&path, plan)?;
        net.loop_frames(MANY)?;
        super::command(&mut net)?;
        let mut net = net.restart()?;
        net.loop_frames(FEW)?;
        drop(net);
        device.delete()?;
    }
    Ok(())
}
