// SPDX-License-Identifier: GPL-2.0

//! Many frames.

use crate::{
    check, check_eq,
    device::Device,
    frame,
    harness::{Context, Test},
    netdev,
    netlink::attribute,
    outcome::Outcome,
    packet::{self, Socket},
    sys,
    tests::rings,
    tool,
    vhost::{LoopPlan, Net, Plan},
};
use rvdpa_virtio::features::Features;
use std::{
    hint::spin_loop,
    thread::sleep,
    time::{Duration, Instant},
};

pub const TESTS: &[Test] = &[
    Test::new("traffic.million_frames", million).seconds(150),
    Test::new("traffic.packed", packed).seconds(60),
    Test::new("traffic.packed_strict", packed)
        .with("strict=1")
        .seconds(60),
    Test::new("traffic.nothing_is_forgotten", bursts).seconds(60),
    Test::new("traffic.nothing_is_forgotten_strict", bursts)
        .with("strict=1")
        .seconds(60),
    Test::new("traffic.strict", strict)
        .with("strict=1")
        .seconds(60),
    Test::new("traffic.vhost_pa", vhost).seconds(60),
    Test::new("traffic.vhost_va", vhost)
        .with("use_va=1")
        .seconds(60),
];

/// Has so many frames looped through a network interface, none of which may be lost or
/// overtaken. The sender, the interface and the device must agree on how many they were.
fn through_interface(context: &mut Context, count: u64, size: usize) -> Outcome {
    let (device, interface) = Device::for_virtio("load")?;
    through(context, device, &interface, count, size)
}

/// The same for a device that is there.
fn through(
    context: &mut Context,
    device: Device,
    interface: &str,
    count: u64,
    size: usize,
) -> Outcome {
    let mac = netdev::mac(interface)?;
    let start = Instant::now();
    let flood = packet::flood(interface, mac, count, size, 128)?;
    let seconds = start.elapsed().as_secs_f64();
    context.note(format_args!(
        "{count} frames of {size} bytes in {seconds:.1} s, {:.0} a second",
        count as f64 / seconds
    ));
    check_eq!(
        flood.received,
        count,
        "frames that came back; the first that is missing: {:?}; {:?} {:?}",
        flood.missing,
        device.statistics(0)?,
        device.statistics(1)?
    );
    check_eq!(flood.disordered, 0, "frames out of order");
    let (rx, tx) = (device.statistics(0)?, device.statistics(1)?);
    check_eq!(tx.get("tx packets")?, count, "frames that the device took");
    check_eq!(tx.get("tx bytes")?, count * size as u64, "their bytes");
    check_eq!(
        rx.get("rx packets")?,
        count,
        "frames that the device delivered"
    );
    check_eq!(rx.get("rx bytes")?, count * size as u64, "their bytes");
    for drops in [
        "rx drops filtered",
        "rx drops no buffer",
        "rx drops too large",
    ] {
        check_eq!(rx.get(drops)?, 0, "{drops}");
    }
    check_eq!(
        netdev::counter(interface, "rx_packets")?,
        count,
        "the interface's count"
    );
    check_eq!(
        netdev::counter(interface, "rx_dropped")?,
        0,
        "frames that it dropped"
    );
    let kicks = tx.get("kicks")?;
    context.note(format_args!(
        "kicks {kicks}, interrupts raised rx {} tx {}",
        rx.get("interrupts raised")?,
        tx.get("interrupts raised")?
    ));
    check!(kicks < count, "a kick for each of {count} frames");
    device.delete()
}

/// Short bursts, with pauses in which the device falls asleep: if a kick or an interrupt
/// was lost, the last frame of one would be late.
fn bursts(context: &mut Context) -> Outcome {
    const BURSTS: u64 = 3000;
    let (device, interface) = Device::for_virtio("burst")?;
    let mac = netdev::mac(&interface)?;
    let mut socket = Socket::open(&interface, 2048)?;
    let mut number = 0;
    for burst in 0..BURSTS {
        context.step(format_args!("burst {burst}"));
        let frames: Vec<_> = (0..1 + burst % 5)
            .map(|at| frame::make(100, mac, mac, number + at))
            .collect();
        number += frames.len() as u64;
        // One by one or all at once.
        if burst % 2 == 0 {
            for frame in &frames {
                socket.send(frame)?;
            }
        } else {
            socket.send_many(&frames)?;
        }
        let got = socket.receive_count(frames.len())?;
        check_eq!(
            got,
            frames,
            "burst {burst}; {:?} {:?}",
            device.statistics(0)?,
            device.statistics(1)?
        );
        match burst % 7 {
            0 => sleep(Duration::from_micros(burst % 300)),
            1 => (0..burst).for_each(|_| spin_loop()),
            _ => {}
        }
    }
    device.delete()
}

fn million(context: &mut Context) -> Outcome {
    let count = if sys::is_for_debugging() {
        50_000
    } else {
        1_000_000
    };
    through_interface(context, count, 64)
}

/// The kernel's driver on packed rings, more often round than their wrap counters count.
fn packed(context: &mut Context) -> Outcome {
    for (count, size) in [(100_000, 64), (10_000, 1514)] {
        let features = Features::RING_PACKED
            | Features::VERSION_1
            | Features::ACCESS_PLATFORM
            | Features::INDIRECT_DESC
            | Features::EVENT_IDX
            | Features::NET_MAC
            | Features::NET_CTRL_VQ
            | Features::NET_CTRL_MAC_ADDR;
        let (device, interface) = Device::for_virtio_with("load", |attributes| {
            attributes.put(attribute::FEATURES, &features.0.to_ne_bytes())
        })?;
        let config = tool::json("dev config show load")?;
        let negotiated = config["config"]["load"]["negotiated_features"].to_string();
        check!(negotiated.contains("RING_PACKED"), "{negotiated}");
        through(context, device, &interface, count, size)?;
    }
    Ok(())
}

fn strict(context: &mut Context) -> Outcome {
    through_interface(context, 50_000, 64)?;
    through_interface(context, 10_000, 1514)
}

fn vhost(context: &mut Context) -> Outcome {
    const COUNT: u64 = 150_000;
    let (device, path) = Device::for_vhost("load")?;
    let plan = Plan {
        size: 1024,
        kind: rings::kind(context),
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    let start = Instant::now();
    net.loop_frames(LoopPlan {
        count: COUNT,
        size: 64,
        in_flight: 512,
    })?;
    let seconds = start.elapsed().as_secs_f64();
    context.note(format_args!(
        "{COUNT} frames in {seconds:.1} s, {:.0} a second",
        COUNT as f64 / seconds
    ));
    check_eq!(
        device.statistics(0)?.get("rx packets")?,
        COUNT,
        "frames delivered"
    );
    drop(net);
    device.delete()
}
