// SPDX-License-Identifier: GPL-2.0

//! Kicks that are served in the place of the driver, where few frames come.

use crate::{
    check, check_eq,
    device::Device,
    harness::{Context, Test},
    netdev,
    outcome::Outcome,
    packet,
    trace::Trace,
};

pub const TESTS: &[Test] = &[
    Test::new("in_place.one_frame_at_a_time", one_at_a_time),
    Test::new("in_place.one_frame_at_a_time_strict", one_at_a_time).with("strict=1"),
    Test::new("in_place.one_frame_at_a_time_va", one_at_a_time).with("use_va=1"),
    Test::new("in_place.workers_do_all", workers).with("in_place=0"),
    Test::new("in_place.back_and_forth", back_and_forth),
];

/// How many frames are sent.
const FRAMES: u64 = 400;

/// Has frames looped, so many at a time. Returns how often the worker of the transmit queue
/// was woken.
fn looped(trace: &Trace, interface: &str, count: u64, in_flight: usize) -> Outcome<usize> {
    trace.clear()?;
    let mac = netdev::mac(interface)?;
    let flood = packet::flood(interface, mac, count, 100, in_flight)?;
    check_eq!(flood.received, count, "frames that came back");
    check_eq!(flood.disordered, 0, "frames that came out of order");
    Ok(trace.events(&["[rvdpa_sim]", "Transmit"])?.len())
}

fn set_up() -> Outcome<(Device, String, Trace)> {
    let (device, interface) = Device::for_virtio("place")?;
    let trace = Trace::new("workqueue/workqueue_execute_start")?;
    Ok((device, interface, trace))
}

/// Nobody is woken for them, but now and then to see whether there are more.
fn one_at_a_time(_: &mut Context) -> Outcome {
    let (device, interface, trace) = set_up()?;
    looped(&trace, &interface, FRAMES, 1)?;
    let woken = looped(&trace, &interface, FRAMES, 1)?;
    check!(
        woken < FRAMES as usize / 10,
        "the worker was woken {woken} times for {FRAMES} frames"
    );
    drop(trace);
    device.delete()
}

fn workers(_: &mut Context) -> Outcome {
    let (device, interface, trace) = set_up()?;
    let woken = looped(&trace, &interface, FRAMES, 1)?;
    check!(
        woken > FRAMES as usize / 2,
        "the worker was woken {woken} times for {FRAMES} frames"
    );
    drop(trace);
    device.delete()
}

/// Many frames and few in turn: all come, in order.
fn back_and_forth(_: &mut Context) -> Outcome {
    let (device, interface, trace) = set_up()?;
    for _ in 0..20 {
        looped(&trace, &interface, 2000, 64)?;
        looped(&trace, &interface, 300, 1)?;
    }
    drop(trace);
    device.delete()
}
