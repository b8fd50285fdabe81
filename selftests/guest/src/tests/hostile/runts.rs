// SPDX-License-Identifier: GPL-2.0

//! Chains of odd lengths, and frames that do not fit.

use super::{attacks::frame_descriptor, wait_used};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    sys::SOON,
    tests::rings::{each_ring, kind},
    vhost::{Format, Net, NewDevice, Plan},
};
use rvdpa_virtio::{
    features::Features,
    mock::{Buffer, Form},
};

pub const TESTS: &[Test] = each_ring! {
    "lengths_of_zero_and_runts", runts;
};

fn runts(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = NewDevice::named("odd")
        .format(format, Features::NONE)
        .make()?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    net.fill_rx()?;
    let at = frame_descriptor(&net).address;
    let buffers = |lens: &[u32]| {
        let mut start = at;
        let mut buffers = Vec::new();
        for len in lens {
            buffers.push(Buffer::readable(start, *len));
            start += u64::from(*len);
        }
        buffers
    };
    // Too short for a header: used, dropped and counted.
    let runts: [&[u32]; 6] = [&[0], &[0, 0, 0], &[1], &[11], &[12], &[12, 13]];
    for (count, lens) in runts.iter().enumerate() {
        net.tx
            .driver
            .add(&buffers(lens), Form::Direct)
            .expect("there is room");
        net.send()?;
        wait_used(&mut net, count + 1)?;
        let used = net.tx.take_used().when("the chain")?;
        check_eq!(used.len, 0, "bytes written to a chain of {lens:?}");
        let dropped = device.statistics(1)?.get("tx drops runt")?;
        check_eq!(dropped, count as u64 + 1, "runts counted after {lens:?}");
        check!(
            net.receive()?.is_none(),
            "a frame of {lens:?} was delivered"
        );
    }
    // Whole, in pieces of any kind.
    let wanted = frame::make(100, net.mac, net.mac, 1);
    let single: Vec<u32> = vec![1; 112];
    let pieces: [&[u32]; 5] = [&[12, 0, 100], &[0, 112], &[112, 0], &[13, 99], &single];
    for lens in pieces {
        net.tx
            .driver
            .add(&buffers(lens), Form::Direct)
            .expect("there is room");
        net.send()?;
        check_eq!(net.wait_receive()?, wanted, "frame in pieces of {lens:?}");
        crate::sys::wait_for("the chain", SOON, || Ok(net.tx.take_used()))?;
        net.fill_rx()?;
    }
    // A receive buffer that is too small stays for the next frame.
    let mut net = net.restart()?;
    let small = Buffer::writable(net.rx.buffers, 12 + 60);
    net.rx
        .driver
        .add(&[small], Form::Direct)
        .expect("there is room");
    net.rx.driver.publish();
    for size in [100, 61, 60] {
        let sent = frame::make(size, net.mac, net.mac, 3);
        check!(net.add_frame(&sent), "no room in the transmit queue");
    }
    net.send()?;
    wait_used(&mut net, 3)?;
    let used = net.rx.take_used().when("the small buffer")?;
    check_eq!(used.len, 72, "bytes written to it");
    let rx = device.statistics(0)?;
    check_eq!(
        rx.get("rx drops too large")?,
        2,
        "frames that were too large"
    );
    check_eq!(rx.get("rx drops no buffer")?, 0, "frames without a buffer");
    // And then there is none.
    let sent = frame::make(60, net.mac, net.mac, 3);
    check!(net.add_frame(&sent), "no room in the transmit queue");
    net.send()?;
    wait_used(&mut net, 4)?;
    let rx = device.statistics(0)?;
    check_eq!(rx.get("rx drops no buffer")?, 1, "frames without a buffer");
    drop(net);
    device.delete()
}
