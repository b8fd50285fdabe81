// SPDX-License-Identifier: GPL-2.0

//! Receive modes, address tables and VLANs: which frames come, and which are dropped and
//! counted.

use super::{data::mac_tables, ready};
use crate::{
    check_eq,
    device::{Device, MAC},
    frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    tests::{delivery::passes, rings::both},
    vhost::Net,
};
use rvdpa_virtio::{
    features::Features,
    net::control::{mac, rx, vlan},
};

pub const TESTS: &[Test] = both! {
    "receive_modes", modes;
    "address_tables", tables;
    "long_address_tables", long_tables;
    "vlans", vlans;
    "filters_go_with_a_reset", reset;
};

const STATION: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 0x77];
const EVERYONE: [u8; 6] = [0xff; 6];

/// Frames of each kind, by their destination.
const KINDS: [(&str, [u8; 6]); 4] = [
    ("own", MAC),
    ("stranger", STATION),
    ("group", GROUP),
    ("broadcast", EVERYONE),
];

/// Which kinds of frames pass.
fn kinds(device: &Device, net: &mut Net) -> Outcome<Vec<&'static str>> {
    let mut come = Vec::new();
    for (name, to) in KINDS {
        let sent = frame::make(100, to, [2, 1, 1, 1, 1, 1], 5);
        if passes(device, net, &sent).when(name)? {
            come.push(name);
        }
    }
    Ok(come)
}

fn mode(net: &mut Net, mode: u8, on: bool) -> Outcome {
    net.do_command(rx::CLASS, mode, &[on.into()])
}

fn modes(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    check_eq!(
        kinds(&device, &mut net)?,
        ["own", "group", "broadcast"],
        "frames that pass before any command"
    );
    // From now on only groups that are asked for, of which there are none.
    net.do_command(mac::CLASS, mac::TABLE_SET, &mac_tables(&[], &[]))?;
    let usual = &["own", "broadcast"][..];
    let all = &["own", "stranger", "group", "broadcast"][..];
    let cases: &[(&str, &[u8], &[&str])] = &[
        ("nothing", &[], usual),
        ("promiscuous", &[rx::PROMISC], all),
        (
            "all groups",
            &[rx::ALLMULTI],
            &["own", "group", "broadcast"],
        ),
        (
            "all stations",
            &[rx::ALLUNI],
            &["own", "stranger", "broadcast"],
        ),
        ("no groups", &[rx::NOMULTI], usual),
        ("no stations", &[rx::NOUNI], &["broadcast"]),
        ("no broadcast", &[rx::NOBCAST], &["own"]),
        ("all and no groups", &[rx::ALLMULTI, rx::NOMULTI], usual),
        (
            "all and no stations",
            &[rx::ALLUNI, rx::NOUNI],
            &["broadcast"],
        ),
        (
            "promiscuous before all else",
            &[rx::PROMISC, rx::NOMULTI, rx::NOUNI, rx::NOBCAST],
            all,
        ),
        ("none of them", &[rx::NOMULTI, rx::NOUNI, rx::NOBCAST], &[]),
    ];
    for (what, on, wanted) in cases {
        for &which in *on {
            mode(&mut net, which, true)?;
        }
        check_eq!(
            kinds(&device, &mut net)?,
            *wanted,
            "frames that pass: {what}"
        );
        for &which in *on {
            mode(&mut net, which, false)?;
        }
        check_eq!(
            kinds(&device, &mut net)?,
            usual,
            "frames that pass after {what}"
        );
    }
    drop(net);
    device.delete()
}

fn tables(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    let near = |address: [u8; 6], byte: usize| {
        let mut near = address;
        near[byte] ^= 0x10;
        near
    };
    let stations = [STATION, [2, 0, 0, 0, 0, 0x10], [0xfe; 6]];
    let groups = [GROUP, [0x33, 0x33, 0, 0, 0, 1], [1, 0x80, 0xc2, 0, 0, 0xe]];
    net.do_command(mac::CLASS, mac::TABLE_SET, &mac_tables(&stations, &groups))?;
    for address in stations.iter().chain(&groups).chain([&MAC, &EVERYONE]) {
        let sent = frame::make(60, *address, MAC, 1);
        check_eq!(
            passes(&device, &mut net, &sent)?,
            true,
            "frame to {address:x?}"
        );
        for byte in 0..6 {
            let other = near(*address, byte);
            let sent = frame::make(60, other, MAC, 1);
            check_eq!(
                passes(&device, &mut net, &sent)?,
                false,
                "frame to {other:x?}"
            );
        }
    }
    // A table replaces the one before; a refused one does not.
    net.do_command(mac::CLASS, mac::TABLE_SET, &mac_tables(&[], &[GROUP]))?;
    net.refuse_command(mac::CLASS, mac::TABLE_SET, &mac_tables(&[GROUP], &[]))?;
    check_eq!(
        kinds(&device, &mut net)?,
        ["own", "group", "broadcast"],
        "frames that pass with one group"
    );
    // A new address of its own makes the old one a stranger's.
    net.do_command(mac::CLASS, mac::ADDR_SET, &STATION)?;
    check_eq!(
        kinds(&device, &mut net)?,
        ["stranger", "group", "broadcast"],
        "frames that pass with another address"
    );
    drop(net);
    device.delete()
}

/// More addresses than the device filters by: it takes too much rather than too little.
fn long_tables(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    for count in [64, 200] {
        let address = |kind: u8, number: u16| {
            let [high, low] = number.to_be_bytes();
            [kind, 0, 0, 0x10, high, low]
        };
        let stations: Vec<_> = (0..count).map(|number| address(2, number)).collect();
        let groups: Vec<_> = (0..count).map(|number| address(3, number)).collect();
        net.do_command(mac::CLASS, mac::TABLE_SET, &mac_tables(&stations, &groups))?;
        for address in [stations[0], groups[0], stations[63], groups[63]]
            .into_iter()
            .chain(stations.last().copied())
            .chain(groups.last().copied())
        {
            let sent = frame::make(60, address, MAC, 1);
            check_eq!(
                passes(&device, &mut net, &sent)?,
                true,
                "frame to {address:x?}"
            );
        }
        // What is in no table passes only if the tables are too long.
        check_eq!(
            kinds(&device, &mut net)?,
            if count > 64 {
                &["own", "stranger", "group", "broadcast"][..]
            } else {
                &["own", "broadcast"][..]
            },
            "frames that pass with {count} addresses of each kind"
        );
    }
    drop(net);
    device.delete()
}

/// A frame to the device itself, with these VLAN tags.
fn tagged(tags: &[(u16, u16)]) -> Vec<u8> {
    let mut sent = [MAC, [2, 1, 1, 1, 1, 1]].concat();
    for (kind, id) in tags {
        sent.extend(kind.to_be_bytes());
        // With a priority, which is no part of the ID.
        sent.extend((id | 0xa000).to_be_bytes());
    }
    sent.extend(frame::ETHERTYPE.to_be_bytes());
    sent.resize(100, 0x5a);
    sent
}

fn vlans(context: &mut Context) -> Outcome {
    const Q: u16 = 0x8100;
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    let ids = [1, 2, 63, 64, 100, 2047, 4094, 4095];
    let look = |net: &mut Net| -> Outcome<Vec<u16>> {
        let mut come = Vec::new();
        for id in ids {
            if passes(&device, net, &tagged(&[(Q, id)]))? {
                come.push(id);
            }
        }
        // These pass in any case: no tag, and a priority without a VLAN.
        check_eq!(
            passes(&device, net, &tagged(&[]))?,
            true,
            "frame without a tag"
        );
        check_eq!(
            passes(&device, net, &tagged(&[(Q, 0)]))?,
            true,
            "frame of VLAN 0"
        );
        Ok(come)
    };
    let command =
        |net: &mut Net, command, id: u16| net.do_command(vlan::CLASS, command, &id.to_le_bytes());
    check_eq!(
        look(&mut net)?,
        [0_u16; 0],
        "VLANs that pass before any was added"
    );
    for id in [2, 64, 4095] {
        command(&mut net, vlan::ADD, id)?;
    }
    // The second time changes nothing.
    command(&mut net, vlan::ADD, 2)?;
    check_eq!(look(&mut net)?, [2, 64, 4095], "VLANs that pass");
    command(&mut net, vlan::DEL, 64)?;
    command(&mut net, vlan::DEL, 100)?;
    net.refuse_command(vlan::CLASS, vlan::ADD, &4096_u16.to_le_bytes())?;
    check_eq!(
        look(&mut net)?,
        [2, 4095],
        "VLANs that pass after one was removed"
    );
    // The outer tag counts.
    check_eq!(
        passes(&device, &mut net, &tagged(&[(Q, 2), (Q, 100)]))?,
        true,
        "frame of VLAN 100 in 2"
    );
    check_eq!(
        passes(&device, &mut net, &tagged(&[(Q, 100), (Q, 2)]))?,
        false,
        "frame of VLAN 2 in 100"
    );
    mode(&mut net, rx::PROMISC, true)?;
    check_eq!(look(&mut net)?, ids, "VLANs that pass when promiscuous");
    // Nobody filters by VLAN without the feature.
    net.plan = net.plan.without(Features::NET_CTRL_VLAN);
    net = net.restart()?;
    check_eq!(look(&mut net)?, ids, "VLANs that pass without the feature");
    drop(net);
    device.delete()
}

fn reset(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    mode(&mut net, rx::PROMISC, true)?;
    mode(&mut net, rx::NOBCAST, true)?;
    net.do_command(mac::CLASS, mac::TABLE_SET, &mac_tables(&[STATION], &[]))?;
    net.do_command(vlan::CLASS, vlan::ADD, &7_u16.to_le_bytes())?;
    net.do_command(mac::CLASS, mac::ADDR_SET, &[2, 0, 0, 0, 0, 0x66])?;
    let mut net = net.restart()?;
    check_eq!(
        kinds(&device, &mut net)?,
        ["own", "group", "broadcast"],
        "frames that pass after a reset"
    );
    let sent = tagged(&[(0x8100, 7)]);
    check_eq!(
        passes(&device, &mut net, &sent)?,
        false,
        "VLAN after a reset"
    );
    drop(net);
    device.delete()
}
