// SPDX-License-Identifier: GPL-2.0

//! The device with the kernel's own driver, through virtio_vdpa.

use crate::{
    check, check_eq,
    device::{self, Device, Driver, MAC},
    frame,
    harness::{Context, Test},
    netdev,
    netlink::attribute,
    outcome::{Outcome, While},
    packet::{Socket, BATCH},
    sys,
    tool::vdpa,
    vhost::{LoopPlan, Net, Plan},
};
use nix::errno::Errno;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    Test::new("virtio.bound_at_once_as_users_have_it", autoprobe),
    Test::new("virtio.bind_and_unbind", bind),
    Test::new("virtio.to_vhost_and_back", to_vhost),
    Test::new("virtio.frames_of_every_size", every_size),
    Test::new("virtio.frames_of_every_size_strict", every_size).with("strict=1"),
    Test::new("virtio.mtu_edge", mtu_edge),
    Test::new("virtio.jumbo_frames", jumbo),
    Test::new("virtio.jumbo_frames_strict", jumbo).with("strict=1"),
    Test::new("virtio.address_set_by_driver", driver_mac),
    Test::new(
        "virtio.address_set_by_user_reaches_the_configuration",
        user_mac,
    ),
    Test::new("virtio.reset_brings_the_address_back", reset_mac),
    Test::new("virtio.up_and_down", up_and_down),
    Test::new("virtio.many_devices", many),
];

fn autoprobe(_: &mut Context) -> Outcome {
    // vhost_vdpa would take it as well; whoever was loaded first has it.
    device::set_autoprobe(true)?;
    let added = vdpa("dev add name auto mgmtdev rvdpasim_net");
    device::set_autoprobe(false)?;
    added?;
    let device = Device::adopt("auto");
    let driver = device.driver();
    check_eq!(driver.as_deref(), Some("virtio_vdpa"), "driver");
    let interface = device.interface()?;
    netdev::up(&interface)?;
    check_eq!(netdev::mtu(&interface)?, 1500, "MTU");
    let carrier = sys::read_line(format!("/sys/class/net/{interface}/carrier"))?;
    check_eq!(carrier, "1", "carrier");
    device.delete()
}

/// Has some frames looped by an interface.
fn ping(interface: &str, count: u64) -> Outcome {
    let mac = netdev::mac(interface)?;
    let mut socket = Socket::open(interface, 2048)?;
    for number in 0..count {
        let sent = frame::make(64, mac, mac, number);
        socket.send(&sent)?;
        let got = socket.receive_count(1)?;
        check_eq!(got, [sent], "frame {number}");
    }
    Ok(())
}

fn bind(_: &mut Context) -> Outcome {
    let device = Device::add_mac("bound", MAC)?;
    check_eq!(device.driver(), None, "driver of a new device");
    for round in 0..5 {
        device.bind(Driver::Virtio)?;
        let interface = device.interface()?;
        check_eq!(netdev::mac(&interface)?, MAC, "MAC address");
        netdev::up(&interface)?;
        ping(&interface, 20).when(format_args!("round {round}"))?;
        device.unbind()?;
        check_eq!(device.driver(), None, "driver after unbind");
    }
    device.delete()
}

fn to_vhost(_: &mut Context) -> Outcome {
    let device = Device::add_mac("swap", MAC)?;
    for round in 0..3 {
        device.bind(Driver::Virtio)?;
        let interface = device.interface()?;
        netdev::up(&interface)?;
        ping(&interface, 20).when(format_args!("round {round}"))?;
        device.unbind()?;

        device.bind(Driver::Vhost)?;
        let mut net = Net::new(&device.character_device()?, Plan::default())?;
        net.loop_frames(LoopPlan {
            count: 100,
            size: 64,
            in_flight: 16,
        })
        .when(format_args!("round {round}"))?;
        drop(net);
        device.unbind()?;
    }
    device.delete()
}

/// What the interface and the devices have counted, for a failure.
fn known_of(interface: &str) -> String {
    let mut all = Vec::new();
    for name in ["tx_packets", "tx_dropped", "rx_packets", "rx_dropped"] {
        all.push(format!("{name} {:?}", netdev::counter(interface, name)));
    }
    const DEVICES: &str = "/sys/kernel/debug/rvdpa_sim/devices";
    for device in crate::sys::names(DEVICES) {
        let queues = std::fs::read_to_string(format!("{DEVICES}/{device}/queues"));
        all.push(queues.unwrap_or_default());
    }
    all.join("; ")
}

/// Sends frames in batches and checks that all come back, in order, as they were.
fn check_sizes(interface: &str, sizes: impl Iterator<Item = usize>) -> Outcome {
    let mac = netdev::mac(interface)?;
    let sizes: Vec<usize> = sizes.collect();
    let room = sizes.iter().max().copied().unwrap_or_default() + 64;
    let mut socket = Socket::open(interface, room)?;
    for (batch, sizes) in sizes.chunks(BATCH).enumerate() {
        let sent: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(at, &size)| frame::make(size, mac, mac, (batch * BATCH + at) as u64))
            .collect();
        check_eq!(
            socket.send_many(&sent)?,
            sent.len(),
            "frames that were taken"
        );
        let got = socket.receive_count(sent.len())?;
        check_eq!(
            got.len(),
            sent.len(),
            "frames that came back, from size {}; {}",
            sizes[0],
            known_of(interface)
        );
        for (got, sent) in got.iter().zip(&sent) {
            let difference = frame::difference(got, sent);
            check!(difference.is_none(), "{}", difference.unwrap_or_default());
        }
    }
    Ok(())
}

fn every_size(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("sizes")?;
    check_sizes(&interface, frame::HEADER..=1514)?;
    let rx = device.statistics(0)?;
    let bytes: usize = (frame::HEADER..=1514).sum();
    check_eq!(rx.get("rx packets")?, 1501, "frames counted");
    check_eq!(rx.get("rx bytes")?, bytes as u64, "bytes counted");
    check_eq!(
        netdev::counter(&interface, "rx_errors")?,
        0,
        "errors of the interface"
    );
    device.delete()
}

/// A device with an MTU, and its interface, which is up and has that MTU.
fn with_mtu(name: &str, mtu: u16) -> Outcome<(Device, String)> {
    let device = Device::add_with(name, |attributes| {
        attributes.put(attribute::NET_CFG_MTU, &mtu.to_ne_bytes())
    })?;
    device.bind(Driver::Virtio)?;
    let interface = device.interface()?;
    netdev::up(&interface)?;
    check_eq!(netdev::mtu(&interface)?, u32::from(mtu), "MTU");
    Ok((device, interface))
}

fn mtu_edge(_: &mut Context) -> Outcome {
    for mtu in [68_u16, 1000, 1500] {
        let (device, interface) = with_mtu("edge", mtu)?;
        let most = usize::from(mtu) + frame::HEADER;
        check_sizes(&interface, [most - 1, most].into_iter())?;
        let mac = netdev::mac(&interface)?;
        let socket = Socket::open(&interface, 4096)?;
        let long = frame::make(most + 1, mac, mac, 0);
        check_eq!(
            socket.try_send(&long),
            Err(Errno::EMSGSIZE),
            "one byte more"
        );
        let larger = sys::run(&[
            "ip",
            "link",
            "set",
            &interface,
            "mtu",
            &format!("{}", mtu + 1),
        ]);
        check!(larger.is_err(), "an MTU of one more was accepted");
        device.delete()?;
    }
    Ok(())
}

fn jumbo(_: &mut Context) -> Outcome {
    for mtu in [1501_u16, 9000, 65535] {
        let (device, interface) = with_mtu("jumbo", mtu)?;
        let most = usize::from(mtu) + frame::HEADER;
        let steps = (60..most).step_by(most / 23);
        let sizes: Vec<usize> = steps.chain([4095, 4096, 4097, most - 1, most]).collect();
        check_sizes(&interface, sizes.into_iter().filter(|size| *size <= most))
            .when(format_args!("MTU {mtu}"))?;
        let rx = device.statistics(0)?;
        check_eq!(
            rx.get("rx drops too large")?,
            0,
            "frames that were too large"
        );
        device.delete()?;
    }
    Ok(())
}

fn driver_mac(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("addr")?;
    let mut commands = 0;
    for last in 1..=5 {
        let mac = [2, 0, 0, 0, 0, last];
        netdev::set_mac(&interface, mac)?;
        check_eq!(
            netdev::mac(&interface)?,
            mac,
            "MAC address of the interface"
        );
        let shown = vdpa("dev config show addr")?;
        let wanted = format!("mac {}", frame::display(mac));
        check!(shown.contains(&wanted), "no '{wanted}' in {shown}");
        ping(&interface, 5)?;
        let control = device.statistics(2)?;
        let before = std::mem::replace(&mut commands, control.get("cvq commands")?);
        check!(commands > before, "no command for address {last}");
        check_eq!(control.get("cvq errors")?, 0, "commands that failed");
    }
    device.delete()
}

fn user_mac(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("user")?;
    vdpa("dev set name user mac 02:00:00:00:aa:bb")?;
    // The driver takes the configuration's address when it is bound the next time.
    let before = netdev::mac(&interface)?;
    check_eq!(before, MAC, "MAC address of the interface");
    device.unbind()?;
    device.bind(Driver::Virtio)?;
    let interface = device.interface()?;
    check_eq!(
        netdev::mac(&interface)?,
        [2, 0, 0, 0, 0xaa, 0xbb],
        "MAC address"
    );
    netdev::up(&interface)?;
    ping(&interface, 5)?;
    device.delete()
}

fn reset_mac(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("back")?;
    netdev::set_mac(&interface, [2, 0, 0, 0, 0, 9])?;
    device.unbind()?;
    let shown = vdpa("dev config show back")?;
    let wanted = format!("mac {}", frame::display(MAC));
    check!(shown.contains(&wanted), "no '{wanted}' in {shown}");
    device.bind(Driver::Virtio)?;
    let interface = device.interface()?;
    check_eq!(netdev::mac(&interface)?, MAC, "MAC address after a reset");
    netdev::up(&interface)?;
    ping(&interface, 5)?;
    device.delete()
}

fn up_and_down(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("updown")?;
    // The kernel takes note of links once a second.
    for _ in 0..4 {
        ping(&interface, 5)?;
        netdev::down(&interface)?;
        netdev::up(&interface)?;
    }
    device.delete()
}

fn many(context: &mut Context) -> Outcome {
    const COUNT: usize = 16;
    let mut devices = Vec::new();
    for number in 0..COUNT {
        context.step(format_args!("device {number}"));
        let device = Device::add(&format!("many{number}"))?;
        device.bind(Driver::Virtio)?;
        let interface = device.interface()?;
        netdev::up(&interface)?;
        devices.push((device, interface));
    }
    let mut sockets = Vec::new();
    for (_, interface) in &devices {
        sockets.push((netdev::mac(interface)?, Socket::open(interface, 2048)?));
    }
    // All at once; each gets its own and nothing else.
    for (number, (mac, socket)) in sockets.iter().enumerate() {
        for _ in 0..8 {
            socket.send(&frame::make(200, *mac, *mac, number as u64))?;
        }
    }
    for (number, (mac, socket)) in sockets.iter_mut().enumerate() {
        let got = socket.receive_count(8)?;
        let sent = frame::make(200, *mac, *mac, number as u64);
        check_eq!(got, vec![sent; 8], "frames of device {number}");
        socket.set_timeout(Duration::from_millis(1))?;
        check_eq!(socket.receive()?.len(), 0, "more frames of device {number}");
    }
    for (device, _) in devices {
        device.delete()?;
    }
    Ok(())
}
