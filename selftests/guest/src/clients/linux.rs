// SPDX-License-Identifier: GPL-2.0

//! The kernel's own driver, by virtio_vdpa.

use super::ClientTest;
use crate::{
    bpf::Program,
    check, check_eq,
    device::{Device, Driver},
    frame,
    harness::Context,
    netdev,
    outcome::{Outcome, While},
    packet::Socket,
    sys,
};

pub const TESTS: &[ClientTest] = &[
    ClientTest::new("linux.virtio_net", "Linux virtio_net (virtio_vdpa)", frames),
    ClientTest::new("linux.xdp", "XDP in Linux virtio_net", xdp),
];

/// A device that loops, and its interface, which is up.
fn looped(context: &mut Context) -> Outcome<(Device, String)> {
    context.version(format_args!(
        "Linux {}",
        sys::read_line("/proc/sys/kernel/osrelease")?
    ));
    let device = context.parent.device("looped").add()?;
    device.bind(Driver::Virtio)?;
    let interface = device.interface()?;
    netdev::up(&interface)?;
    Ok((device, interface))
}

/// Has frames of these lengths looped, one by one.
fn ping(interface: &str, lengths: &[usize]) -> Outcome {
    let mac = netdev::mac(interface)?;
    let mut socket = Socket::open(interface, 2048)?;
    for (number, len) in lengths.iter().enumerate() {
        let sent = frame::make(*len, mac, mac, number as u64);
        socket.send(&sent)?;
        let got = socket.receive_count(1)?;
        check_eq!(got.len(), 1, "frames of {len} bytes that came back");
        let difference = frame::difference(&got[0], &sent);
        check!(difference.is_none(), "{}", difference.unwrap_or_default());
    }
    Ok(())
}

/// From a header alone to what an MTU of 1500 lets through.
const LENGTHS: [usize; 8] = [60, 64, 65, 127, 128, 1000, 1513, 1514];

fn frames(context: &mut Context) -> Outcome {
    let (device, interface) = looped(context)?;
    for round in 0..3 {
        context.step(format_args!("round {round}"));
        ping(&interface, &LENGTHS.repeat(25))?;
        netdev::down(&interface)?;
        netdev::up(&interface)?;
    }
    context.exercised("600 frames of 60 to 1514 bytes looped, down and up in between");
    drop(device);
    Ok(())
}

fn xdp(context: &mut Context) -> Outcome {
    let (device, interface) = looped(context)?;
    ping(&interface, &LENGTHS)?;
    let pass = Program::pass()?.attach(&interface)?;
    netdev::wait_up(&interface)?;
    ping(&interface, &LENGTHS).when("with a program that passes everything")?;
    drop(pass);
    let drops = Program::drop_ours()?.attach(&interface)?;
    netdev::wait_up(&interface)?;
    let mac = netdev::mac(&interface)?;
    let mut socket = Socket::open(&interface, 2048)?;
    for number in 0..50 {
        socket.send(&frame::make(60, mac, mac, number))?;
    }
    check!(
        socket.is_silent()?,
        "a frame came past a program that drops it"
    );
    drop(drops);
    netdev::wait_up(&interface)?;
    ping(&interface, &LENGTHS).when("without a program")?;
    context.exercised("native XDP_PASS and XDP_DROP on receive, attached and detached");
    drop(device);
    Ok(())
}
