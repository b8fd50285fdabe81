// SPDX-License-Identifier: GPL-2.0

//! Memory as an IOMMU would have it: the device reaches what it was shown, as it was
//! permitted, for as long as it is shown.

use crate::{
    arena::{Kind, View},
    check, check_eq,
    device::Device,
    frame,
    harness::{Context, Test},
    ioctl::Permission,
    outcome::{Outcome, While},
    tests::{
        hostile::{expect_fault, Faulty},
        rings::{both, kind, plan, FEW},
    },
    vhost::{Client, Net, Plan, IOVA, TX},
};
use rvdpa_virtio::{
    layout::QueueLayout,
    mock::{Buffer, DriverMemory, Form},
    status::Status,
};
use std::{thread::sleep, time::Duration};

pub const TESTS: &[Test] = both! {
    "nothing_mapped_reaches_nothing", nothing;
    "addresses_are_not_the_machines", raw_addresses;
    "mapped_later", later;
    "read_only_receive_buffers", read_only_buffers;
    "write_only_transmit_buffers", write_only_buffers;
    "read_only_used_ring", read_only_used;
    "write_only_descriptors", write_only_descriptors;
    "exact_permissions_suffice", exact;
    "buffer_beyond_the_mapping", beyond;
    "unmap_under_traffic", unmap;
    "remap_elsewhere", remap;
};

pub const VA_TESTS: &[Test] = &[
    Test::new("vhost_va.pages_that_are_not_resident", evicted).with("use_va=1"),
    Test::new("vhost_va.anonymous_memory_is_not_mapped", anonymous).with("use_va=1"),
    Test::new("vhost_va.file_made_shorter", truncated).with("use_va=1"),
    Test::new("vhost_va.memory_unmapped_by_the_process", process_unmaps).with("use_va=1"),
    Test::new("vhost_pa.shared_memory_works_too", shared),
];

/// A driver that has mapped nothing, nor is running.
fn unmapped(context: &Context) -> Outcome<(Device, Net)> {
    let (device, path) = Device::for_vhost("mem")?;
    let net = Net::prepare(
        &path,
        Plan {
            map: false,
            ..plan(context)
        },
    )?;
    Ok((device, net))
}

fn done(device: Device, net: Net) -> Outcome {
    drop(net);
    device.delete()
}

/// What lies at some places of an arena.
fn bytes(view: &View, iova: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    view.read(iova, &mut bytes);
    bytes
}

fn nothing(context: &mut Context) -> Outcome {
    let (device, mut net) = unmapped(context)?;
    let before = bytes(&net.memory, IOVA, net.memory.len());
    net.go()?;
    net.tx.kick()?;
    expect_fault(
        context,
        &net,
        "mem",
        &Faulty::at(TX, "descriptor area: read of"),
    )?;
    let after = bytes(&net.memory, IOVA, net.memory.len());
    check!(before == after, "memory that was not mapped was changed");
    // It works when it is mapped.
    net.plan.map = true;
    net.client.map_all(0, &net.memory)?;
    net.client.map_all(0, &net.control_memory)?;
    let mut net = net.restart()?;
    net.loop_frames(FEW)?;
    done(device, net)
}

/// The addresses of this process, and those of the machine, mean nothing to the device.
fn raw_addresses(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("mem")?;
    let mut client = Client::open(&path)?;
    let arena = View::new(kind(context), IOVA, 0x10000)?;
    arena.write(IOVA, &vec![0; 0x10000]);
    let own = arena.pointer(IOVA, 1) as u64;
    for start in [0, 0x1000, 0x10_0000, 0x100_0000, own, 0xffff_8880_0000_1000] {
        client.negotiate(rvdpa_virtio::features::Features(u64::MAX))?;
        let layout = QueueLayout {
            size: 16,
            descriptor: start,
            driver: start + 0x1000,
            device: start + 0x2000,
        };
        // What is not even a user's address the bus may refuse itself.
        match client.set_queue(TX, &layout, 0) {
            Err(_) if start > own => continue,
            set => set.when(format_args!("rings at {start:#x}"))?,
        }
        client.enable(TX, true)?;
        let kick = client.kick_event(TX)?;
        client.add_status(Status::DRIVER_OK)?;
        kick.write(1)?;
        client
            .wait_for_needs_reset()
            .when(format_args!("rings at {start:#x}"))?;
        context
            .log
            .expect(&["mem: virtqueue 1 (transmit)", "not mapped"])?;
    }
    let zero = bytes(&arena, IOVA, 0x10000).iter().all(|byte| *byte == 0);
    check!(zero, "memory that was not mapped was changed");
    drop(client);
    device.delete()
}

fn later(context: &mut Context) -> Outcome {
    let (device, mut net) = unmapped(context)?;
    net.client.map_all(0, &net.memory)?;
    net.client.map_all(0, &net.control_memory)?;
    net.go()?;
    net.loop_frames(FEW)?;
    // More memory, while the device runs.
    let more = View::new(kind(context), 0x55_0000_0000, 0x4000)?;
    net.client.map_all(0, &more)?;
    let sent = frame::make(100, net.mac, net.mac, 77);
    more.write(more.iova(), &[0; 12]);
    more.write(more.iova() + 12, &sent);
    net.tx
        .driver
        .add(&[Buffer::readable(more.iova(), 112)], Form::Direct)
        .expect("there is room");
    net.send()?;
    check_eq!(
        net.wait_receive()?,
        sent,
        "frame from memory that was mapped later"
    );
    net.client.unmap(0, more.iova(), more.len())?;
    done(device, net)
}

/// Maps the rings and buffers of a driver, the part from `from` on with a permission of
/// its own.
fn map_with(net: &Net, from: u64, len: usize, permission: Permission) -> Outcome {
    let view = &net.memory;
    let end = view.iova() + view.len() as u64;
    let to = from + len as u64;
    if from > view.iova() {
        let before = (from - view.iova()) as usize;
        net.client
            .map(0, view, view.iova(), before, Permission::Both)?;
    }
    net.client.map(0, view, from, len, permission)?;
    if to < end {
        net.client
            .map(0, view, to, (end - to) as usize, Permission::Both)?;
    }
    net.client.map_all(0, &net.control_memory)
}

/// Sends a frame when a part of the memory has another permission, and expects a fault.
fn fault_with(
    context: &mut Context,
    part: impl Fn(&Net) -> (u64, usize),
    permission: Permission,
    fault: &Faulty<'_>,
) -> Outcome {
    let (device, mut net) = unmapped(context)?;
    let (from, len) = part(&net);
    map_with(&net, from, len, permission)?;
    net.go()?;
    net.fill_rx()?;
    let before = bytes(&net.memory, from, len);
    let sent = frame::make(100, net.mac, net.mac, 1);
    net.add_frame(&sent);
    net.tx.driver.publish();
    net.tx.kick()?;
    expect_fault(context, &net, "mem", fault)?;
    if permission == Permission::Read {
        let after = bytes(&net.memory, from, len);
        check!(
            before == after,
            "memory that could only be read was changed"
        );
    }
    done(device, net)
}

fn buffers(net: &Net, queue: &crate::vhost::Queue) -> (u64, usize) {
    let len = net.plan.room * usize::from(net.plan.size);
    (queue.buffers, len)
}

fn read_only_buffers(context: &mut Context) -> Outcome {
    let fault = Faulty::at(0, "buffer of descriptor 0: write of").and("not permitted");
    fault_with(
        context,
        |net| buffers(net, &net.rx),
        Permission::Read,
        &fault,
    )
}

fn write_only_buffers(context: &mut Context) -> Outcome {
    let fault = Faulty::at(TX, "buffer of descriptor 0: read of").and("not permitted");
    // What is about to be written may be sent: it must be made before.
    let (device, mut net) = unmapped(context)?;
    let (from, len) = buffers(&net, &net.tx);
    map_with(&net, from, len, Permission::Write)?;
    net.go()?;
    net.fill_rx()?;
    let sent = frame::make(100, net.mac, net.mac, 1);
    net.add_frame(&sent);
    net.tx.driver.publish();
    net.tx.kick()?;
    expect_fault(context, &net, "mem", &fault)?;
    check_eq!(
        net.receive()?,
        None,
        "a frame that the device could not read"
    );
    done(device, net)
}

fn read_only_used(context: &mut Context) -> Outcome {
    let fault = Faulty::at(TX, "device area:").and("not permitted");
    fault_with(
        context,
        |net| (net.tx.layout.device, 4096),
        Permission::Read,
        &fault,
    )
}

fn write_only_descriptors(context: &mut Context) -> Outcome {
    let fault = Faulty::at(TX, "descriptor area: read").and("not permitted");
    fault_with(
        context,
        |net| (net.tx.layout.descriptor, 4096),
        Permission::Write,
        &fault,
    )
}

/// Each part with no more than what the device does there.
fn exact(context: &mut Context) -> Outcome {
    let (device, mut net) = unmapped(context)?;
    let (rx, tx) = (net.rx.layout, net.tx.layout);
    let page = |len: usize| len.next_multiple_of(4096);
    for layout in [rx, tx] {
        for (iova, permission) in [
            (layout.descriptor, Permission::Read),
            (layout.driver, Permission::Read),
            (layout.device, Permission::Write),
        ] {
            let len = if permission == Permission::Write || iova == layout.driver {
                4096
            } else {
                page(16 * usize::from(layout.size))
            };
            net.client.map(0, &net.memory, iova, len, permission)?;
        }
    }
    let (from, len) = buffers(&net, &net.rx);
    net.client
        .map(0, &net.memory, from, len, Permission::Write)?;
    let (from, len) = buffers(&net, &net.tx);
    net.client
        .map(0, &net.memory, from, len, Permission::Read)?;
    net.client.map_all(0, &net.control_memory)?;
    net.go()?;
    net.loop_frames(FEW)?;
    done(device, net)
}

fn beyond(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("mem")?;
    let mut net = Net::new(&path, plan(context))?;
    net.fill_rx()?;
    // The end of a mapping, and the start of nothing.
    let end = net.memory.iova() + net.memory.len() as u64;
    let sent = frame::make(52, net.mac, net.mac, 1);
    let start = end - 64;
    net.memory.write(start, &[0; 12]);
    net.memory.write(start + 12, &sent);
    let buffer = Buffer::readable(start, 64);
    net.tx
        .driver
        .add(&[buffer], Form::Direct)
        .expect("there is room");
    net.send()?;
    check_eq!(net.wait_receive()?, sent, "frame at the end of the mapping");
    let buffer = Buffer::readable(start, 65);
    net.tx
        .driver
        .add(&[buffer], Form::Direct)
        .expect("there is room");
    net.send()?;
    let place = format!("read of 1 bytes at {end:#x}");
    let fault = Faulty::at(TX, &place).and("not mapped");
    expect_fault(context, &net, "mem", &fault)?;
    done(device, net)
}

fn unmap(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("mem")?;
    let mut net = Net::new(&path, plan(context))?;
    let mut faults = 0;
    for round in 0..12 {
        net.fill_rx()?;
        for number in 0..200 {
            net.add_frame(&frame::make(1500, net.mac, net.mac, number));
        }
        net.tx.driver.publish();
        net.tx.kick()?;
        if round % 3 != 0 {
            sleep(Duration::from_micros(200 * round));
        }
        let view = net.memory.clone();
        net.client.unmap(0, view.iova(), view.len())?;
        // The device has stopped at the latest now.
        let before = bytes(&view, view.iova(), view.len());
        sleep(Duration::from_millis(3));
        let after = bytes(&view, view.iova(), view.len());
        check!(
            before == after,
            "memory was changed after it was unmapped, round {round}"
        );
        if net.client.status()?.contains(Status::NEEDS_RESET) {
            faults += 1;
        }
        net.client.map_all(0, &view)?;
        net = net.restart()?;
    }
    context.note(format_args!("{faults} of 12 times the device was not done"));
    net.loop_frames(FEW)?;
    done(device, net)
}

/// A translation that the device has found must not outlive its mapping.
fn remap(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("mem")?;
    let mut net = Net::new(&path, plan(context))?;
    net.loop_frames(FEW)?;
    let iova = 0x55_0000_0000;
    net.fill_rx()?;
    for round in 0..20 {
        let view = View::new(kind(context), iova, 0x2000)?;
        net.client.map_all(0, &view)?;
        let sent = frame::make(100, net.mac, net.mac, 1000 + round);
        view.write(iova, &[0; 12]);
        view.write(iova + 12, &sent);
        let buffer = Buffer::readable(iova, 112);
        net.tx
            .driver
            .add(&[buffer], Form::Direct)
            .expect("there is room");
        net.send()?;
        check_eq!(net.wait_receive()?, sent, "frame of round {round}");
        net.client.unmap(0, iova, view.len())?;
    }
    done(device, net)
}

fn evicted(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("mem")?;
    let mut net = Net::new(
        &path,
        Plan {
            pieces: 3,
            ..plan(context)
        },
    )?;
    net.fill_rx()?;
    for number in 0..100 {
        let sent = frame::make(1514, net.mac, net.mac, number);
        net.add_frame(&sent);
        net.tx.driver.publish();
        net.memory.evict()?;
        net.tx.kick()?;
        net.memory.evict()?;
        check_eq!(net.wait_receive()?, sent, "frame {number}");
        net.fill_rx()?;
        net.reap()?;
    }
    done(device, net)
}

fn anonymous(context: &mut Context) -> Outcome {
    // vhost-vdpa says that it has mapped it, and has not.
    let (device, path) = Device::for_vhost("mem")?;
    let net = Net::new(
        &path,
        Plan {
            kind: Kind::Anonymous,
            ..Plan::default()
        },
    )?;
    net.tx.kick()?;
    expect_fault(context, &net, "mem", &Faulty::at(TX, "not mapped"))?;
    done(device, net)
}

fn shared(_: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("mem")?;
    let mut net = Net::new(
        &path,
        Plan {
            kind: Kind::Shared,
            ..Plan::default()
        },
    )?;
    net.loop_frames(FEW)?;
    done(device, net)
}

fn truncated(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("mem")?;
    let mut net = Net::new(&path, plan(context))?;
    net.fill_rx()?;
    let sent = frame::make(100, net.mac, net.mac, 1);
    net.add_frame(&sent);
    net.tx.driver.publish();
    // The rings stay, the buffers go.
    net.memory.truncate((net.rx.buffers - IOVA) as usize)?;
    net.tx.kick()?;
    expect_fault(context, &net, "mem", &Faulty::at(TX, "not mapped"))?;
    done(device, net)
}

fn process_unmaps(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("mem")?;
    let mut client = Client::open(&path)?;
    client.negotiate(rvdpa_virtio::features::Features(u64::MAX))?;
    let view = View::new(Kind::Shared, IOVA, 0x10000)?;
    view.write(IOVA, &vec![0; 0x10000]);
    client.map_all(0, &view)?;
    let layout = QueueLayout {
        size: 16,
        descriptor: IOVA,
        driver: IOVA + 0x1000,
        device: IOVA + 0x2000,
    };
    client.set_queue(TX, &layout, 0)?;
    client.enable(TX, true)?;
    let kick = client.kick_event(TX)?;
    drop(view);
    client.add_status(Status::DRIVER_OK)?;
    kick.write(1)?;
    client.wait_for_needs_reset()?;
    context
        .log
        .expect(&["mem: virtqueue 1 (transmit)", "not mapped"])?;
    drop(client);
    device.delete()
}
