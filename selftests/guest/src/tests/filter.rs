// SPDX-License-Identifier: GPL-2.0

//! Which frames a device takes: those for its own address, and those for groups.

use crate::{
    check, check_eq,
    device::{Device, Driver},
    frame,
    harness::{Context, Test},
    netdev,
    netlink::attribute,
    outcome::{Outcome, While},
    packet::Socket,
    sys::{self, SOON},
};
use rvdpa_virtio::features::Features;

pub const TESTS: &[Test] = &[
    Test::new("filter.own_broadcast_multicast", groups),
    Test::new("filter.all_groups", all_groups),
    Test::new("filter.every_group_without_a_filter", no_filter),
    Test::new("filter.strangers_are_dropped_and_counted", strangers),
    Test::new("filter.all_six_bytes_count", six_bytes),
];

/// Sends a frame to each address. Returns which of them came back. The last one must.
fn passes(interface: &str, to: &[[u8; 6]], own: [u8; 6]) -> Outcome<Vec<[u8; 6]>> {
    let mut socket = Socket::open(interface, 2048)?;
    for (number, address) in to.iter().enumerate() {
        socket.send(&frame::make(
            60,
            *address,
            [2, 1, 1, 1, 1, 1],
            number as u64,
        ))?;
    }
    // The device keeps the order: when this one is there, so are all others.
    let end = frame::make(61, own, own, u64::MAX);
    socket.send(&end)?;
    let mut come = Vec::new();
    loop {
        let frames = socket.receive()?;
        check!(!frames.is_empty(), "the frame to itself did not come");
        for got in frames {
            if got == end {
                return Ok(come);
            }
            let number = frame::number(got).when("the frame's number")?;
            let address = to.get(number as usize).when("the frame's address")?;
            check_eq!(got[..6], address[..], "destination of frame {number}");
            come.push(*address);
        }
    }
}

/// Groups that nobody is in of his own accord.
const GROUPS: [[u8; 6]; 5] = [
    [1, 0, 0x5e, 0, 0, 7],
    [1, 0, 0x5e, 0, 0, 8],
    [0x33, 0x33, 0, 0, 0, 7],
    [1, 0, 0, 0, 0, 0],
    [3, 2, 1, 0, 0, 0],
];

/// Waits until of all groups exactly those of `wanted` pass: the driver tells the device of
/// changes in its own time. Then they, broadcast and the own address must pass, and all that
/// do not must be counted.
fn settle(device: &Device, interface: &str, own: [u8; 6], wanted: &[[u8; 6]]) -> Outcome {
    let mut last = Vec::new();
    let settled = sys::wait_for("the groups", SOON, || {
        last = passes(interface, &GROUPS, own)?;
        Ok((last == wanted).then_some(()))
    });
    settled.when(format_args!("groups {wanted:x?}, at last {last:x?}"))?;

    let filtered = || device.statistics(0)?.get("rx drops filtered");
    let before = filtered()?;
    let mut to = vec![own, [0xff; 6]];
    let mut all = to.clone();
    to.extend(GROUPS);
    all.extend(wanted);
    check_eq!(passes(interface, &to, own)?, all, "addresses that pass");
    check_eq!(
        filtered()? - before,
        (GROUPS.len() - wanted.len()) as u64,
        "frames filtered"
    );
    Ok(())
}

/// Has an interface join a group, or leave it.
fn membership(interface: &str, word: &str, group: [u8; 6]) -> Outcome {
    let group = frame::display(group);
    sys::run(&["ip", "maddr", word, &group, "dev", interface]).map(drop)
}

/// Groups pass exactly as long as the driver is in them.
fn groups(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("group")?;
    let own = netdev::mac(&interface)?;
    settle(&device, &interface, own, &[])?;
    membership(&interface, "add", GROUPS[0])?;
    settle(&device, &interface, own, &[GROUPS[0]])?;
    membership(&interface, "add", GROUPS[3])?;
    settle(&device, &interface, own, &[GROUPS[0], GROUPS[3]])?;
    membership(&interface, "del", GROUPS[0])?;
    settle(&device, &interface, own, &[GROUPS[3]])?;
    device.delete()
}

/// All groups pass while the driver wants all, and no stranger.
fn all_groups(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("group")?;
    let own = netdev::mac(&interface)?;
    for (word, wanted) in [("on", &GROUPS[..]), ("off", &[]), ("on", &GROUPS)] {
        sys::run(&["ip", "link", "set", &interface, "allmulticast", word])?;
        settle(&device, &interface, own, wanted).when(format_args!("allmulticast {word}"))?;
        let stranger = passes(&interface, &[[2, 9, 9, 9, 9, 9]], own)?;
        check_eq!(stranger, [[0; 6]; 0], "strangers that pass");
    }
    device.delete()
}

/// All groups pass where the driver has no way to say which it wants.
fn no_filter(_: &mut Context) -> Outcome {
    let features = Features::VERSION_1 | Features::ACCESS_PLATFORM | Features::NET_MAC;
    let (device, interface) = Device::for_virtio_with("group", |attributes| {
        attributes.put(attribute::FEATURES, &features.0.to_ne_bytes())
    })?;
    let own = netdev::mac(&interface)?;
    settle(&device, &interface, own, &GROUPS)?;
    device.delete()
}

fn strangers(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("others")?;
    let own = netdev::mac(&interface)?;
    let to = [
        [2, 9, 9, 9, 9, 9],
        [0; 6],
        [0, 0x11, 0x22, 0x33, 0x44, 0x55],
        [0xfe; 6],
    ];
    check_eq!(
        passes(&interface, &to, own)?,
        [[0; 6]; 0],
        "strangers that pass"
    );
    let rx = device.statistics(0)?;
    check_eq!(
        rx.get("rx drops filtered")?,
        to.len() as u64,
        "frames filtered"
    );
    check_eq!(rx.get("rx packets")?, 1, "frames delivered");
    check_eq!(device.statistics(1)?.get("tx packets")?, 5, "frames sent");

    // After a new address, the old one is a stranger's.
    let new = [2, 0, 0, 0, 0, 0x42];
    netdev::set_mac(&interface, new)?;
    check_eq!(
        passes(&interface, &[own, new], new)?,
        [new],
        "addresses that pass"
    );
    device.delete()
}

fn six_bytes(_: &mut Context) -> Outcome {
    for own in [
        [2, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 1],
        [0x52, 0, 0xab, 0, 0xcd, 0xef],
        [2, 0x11, 0x22, 0x33, 0x44, 0x55],
    ] {
        let device = Device::add_mac("bytes", own)?;
        device.bind(Driver::Virtio)?;
        let interface = device.interface()?;
        netdev::up(&interface)?;
        check_eq!(netdev::mac(&interface)?, own, "MAC address");
        // Each differs in one byte, in its lowest and in its highest bit; not in the bit
        // that makes a group of it.
        let mut near = Vec::new();
        for byte in 0..6 {
            for bit in [2, 0x80] {
                let mut other = own;
                other[byte] ^= bit;
                near.push(other);
            }
        }
        let mut last = own;
        last[5] ^= 1;
        near.push(last);
        let come = passes(&interface, &near, own)?;
        check_eq!(
            come,
            [[0; 6]; 0],
            "strangers that pass at {}",
            frame::display(own)
        );
        device.delete()?;
    }
    Ok(())
}
