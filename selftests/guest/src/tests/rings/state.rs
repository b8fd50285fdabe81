// SPDX-License-Identifier: GPL-2.0

//! Where a virtqueue stands: kept while the device is suspended, set and read by the
//! driver; and which sizes and states are refused.

use super::{each_ring, kind, ring_device, running};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    ioctl,
    outcome::{Outcome, While},
    sys::SOON,
    vhost::{Client, Format, LoopPlan, Net, Plan, RX, TX},
};
use nix::errno::Errno;
use rvdpa_virtio::features::Features;
use std::{thread::sleep, time::Duration};
use vhost::VhostBackend;

pub const TESTS: &[Test] = each_ring! {
    "suspend_and_resume", suspend;
    "go_on_at_a_base", base;
    "go_on_at_the_last_descriptor", edge;
    "base_is_kept", kept;
    "base_out_of_range", out_of_range;
    "base_without_used_half", without_used_half;
    "sizes_taken", sizes;
    "enable_after_driver_ok", enable;
};

fn suspend(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, "ring", format)?;
    for round in 0..20 {
        net.loop_frames(LoopPlan {
            count: 10,
            size: 80,
            in_flight: 4,
        })
        .when(format_args!("round {round}"))?;
        net.client.suspend()?;
        let before = net.client.base(TX)?;
        let mac = net.mac;
        let bytes = frame::make(80, mac, mac, 1);
        check!(net.add_frame(&bytes), "no room in the transmit queue");
        let used = net.tx.used();
        net.tx.driver.publish();
        net.tx.kick()?;
        sleep(Duration::from_millis(10));
        check_eq!(net.tx.used(), used, "chains used while suspended");
        check!(net.receive()?.is_none(), "a frame came while suspended");
        check_eq!(net.client.base(TX)?, before, "base while suspended");
        // The kick was not forgotten.
        ioctl::resume(&net.client)?;
        let got = net.wait_receive()?;
        check_eq!(got, bytes, "the frame that was sent while suspended");
        net.fill_rx()?;
        crate::sys::wait_for("the frame given back", SOON, || {
            Ok((net.reap()? > 0).then_some(()))
        })?;
    }
    drop(net);
    device.delete()
}

/// Has frames looped from a place on, is told where the virtqueues stand then, and goes on
/// there with new rings.
fn goes_on(context: &mut Context, format: Format, start: u16, pieces: u16) -> Outcome {
    const FRAMES: u16 = 30;
    let (device, path) = ring_device("ring", format)?;
    let plan = Plan {
        kind: kind(context),
        size: 64,
        base: Some(start),
        pieces: usize::from(pieces),
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    let mut place = start;
    for _ in 0..5 {
        net.loop_frames(LoopPlan {
            count: FRAMES.into(),
            size: 80,
            in_flight: 8,
        })?;
        net.client.suspend()?;
        let steps = match format {
            Format::Split => FRAMES,
            Format::Packed => FRAMES * pieces,
        };
        let posted = net.rx.posted() as u32;
        place = format.advance(place, steps, plan.size);
        check_eq!(net.client.base(TX)?, format.base(place), "base of tx");
        // The device may have taken no receive buffer that it has not used.
        check_eq!(net.client.base(RX)?, format.base(place), "base of rx");
        check!(posted > 0, "no receive buffer was left");
        net.plan.base = Some(place);
        net = net.restart()?;
    }
    drop(net);
    device.delete()
}

fn base(context: &mut Context, format: Format) -> Outcome {
    let start = match format {
        Format::Split => 65_500,
        // Slot 50 of 64, with the other wrap counter.
        Format::Packed => 50,
    };
    goes_on(context, format, start, 1)?;
    goes_on(context, format, start, 3)
}

fn edge(context: &mut Context, format: Format) -> Outcome {
    let starts = match format {
        Format::Split => [u16::MAX, 63],
        Format::Packed => [63, 0x8000 | 63],
    };
    for start in starts {
        goes_on(context, format, start, 1).when(format_args!("from {start:#x} on"))?;
    }
    Ok(())
}

/// A device that is not yet running, for rings of 64.
fn not_running(context: &Context, format: Format) -> Outcome<(crate::device::Device, Net)> {
    let (device, path) = ring_device("ring", format)?;
    let plan = Plan {
        kind: kind(context),
        size: 64,
        ..Plan::default()
    };
    Ok((device, Net::prepare(&path, plan)?))
}

fn kept(context: &mut Context, format: Format) -> Outcome {
    let (device, net) = not_running(context, format)?;
    let start = format.base(format.start());
    check_eq!(net.client.base(TX)?, start, "base of a new virtqueue");
    let bases: &[u32] = match format {
        Format::Split => &[0, 1, 63, 64, 0x7fff, 0x8000, 0xffff],
        Format::Packed => &[
            0,
            0x8000_8000,
            0x803f_803f,
            0x003f_003f,
            // Ten with the device, over the end of the ring.
            0x803a_0004,
            0x003a_8004,
        ],
    };
    for &base in bases {
        for index in [RX, TX] {
            net.client.set_base(index, base)?;
            let got = net.client.base(index)?;
            check_eq!(got, base, "base {base:#x} of virtqueue {index}");
        }
    }
    drop(net);
    device.delete()
}

fn out_of_range(context: &mut Context, format: Format) -> Outcome {
    let (device, net) = not_running(context, format)?;
    let before = net.client.base(TX)?;
    let bases: &[u32] = match format {
        Format::Split => &[0x1_0000, u32::MAX],
        Format::Packed => &[0x8000_8040, 0x8040_8000, 0x7fff_0000, 0x0000_7fff, u32::MAX],
    };
    for &base in bases {
        let got = ioctl::set_vring_base(&net.client, TX as u32, base);
        check_eq!(got, Err(Errno::EINVAL), "base {base:#x}");
    }
    let mut net = net;
    if format == Format::Split {
        check_eq!(net.client.base(TX)?, before, "base afterwards");
    } else {
        // vhost-vdpa itself has noted the last one; a good one mends it.
        net.client.set_base(TX, before)?;
    }
    net.go()?;
    net.loop_frames(LoopPlan {
        count: 100,
        size: 80,
        in_flight: 8,
    })?;
    // None can be set while the device runs.
    let got = ioctl::set_vring_base(&net.client, TX as u32, before);
    check_eq!(got, Err(Errno::EINVAL), "base while the device runs");
    drop(net);
    device.delete()
}

/// DPDK's base of a new packed virtqueue has no used half. With split rings, whose base has
/// one half only, it is that of the start.
fn without_used_half(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = not_running(context, format)?;
    let start = format.start();
    for index in [RX, TX] {
        net.client.set_base(index, start.into())?;
        let got = net.client.base(index)?;
        check_eq!(got, format.base(start), "base of virtqueue {index}");
    }
    net.go()?;
    net.loop_frames(LoopPlan {
        count: 200,
        size: 80,
        in_flight: 8,
    })?;
    drop(net);
    device.delete()
}

/// vhost-vdpa takes powers of two only, whatever the format.
fn sizes(_: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("ring", format)?;
    let mut client = Client::open(&path)?;
    client.negotiate(Features(u64::MAX))?;
    check_eq!(client.format(), format, "format of the rings");
    for size in [1, 2, 512, 1024] {
        client.kernel().set_vring_num(TX, size).when(size)?;
    }
    for size in [0, 3, 100, 1000, 1023, 2048, 32768] {
        let got = crate::vhost::refused(client.kernel().set_vring_num(TX, size));
        check_eq!(got, Some(Errno::EINVAL), "size {size}");
    }
    drop(client);
    device.delete()
}

fn enable(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("ring", format)?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    let mut net = Net::prepare(&path, plan)?;
    for index in [RX, TX] {
        net.client.enable(index, false)?;
    }
    net.go()?;
    let mac = net.mac;
    let bytes = frame::make(80, mac, mac, 5);
    net.fill_rx()?;
    check!(net.add_frame(&bytes), "no room in the transmit queue");
    net.tx.driver.publish();
    net.tx.kick()?;
    sleep(Duration::from_millis(20));
    check_eq!(net.tx.used(), 0, "chains used of a disabled virtqueue");
    net.client.enable(RX, true)?;
    net.client.enable(TX, true)?;
    check_eq!(net.wait_receive()?, bytes, "the frame sent before");
    // And off again.
    net.client.enable(TX, false)?;
    net.fill_rx()?;
    check!(net.add_frame(&bytes), "no room in the transmit queue");
    net.tx.driver.publish();
    net.tx.kick()?;
    sleep(Duration::from_millis(20));
    check!(
        net.receive()?.is_none(),
        "a frame from a disabled virtqueue"
    );
    net.client.enable(TX, true)?;
    check_eq!(net.wait_receive()?, bytes, "the frame sent meanwhile");
    drop(net);
    device.delete()
}
