// SPDX-License-Identifier: GPL-2.0

//! Each command is answered: done if it is well-formed, refused if it is not, or if its
//! feature was not negotiated; and a refused one changes nothing.

use super::{
    data::{coalescing, hash, mac_tables, queue_coalescing, rss, statistics},
    ready,
};
use crate::{
    check_eq,
    device::MAC,
    harness::{Context, Test},
    outcome::{Outcome, While},
    tests::rings::{both, each_ring, ring_device},
    vhost::{
        control::{ANSWER, DATA, NO_ANSWER},
        Format, LoopPlan, Net, Plan,
    },
};
use rvdpa_virtio::{
    features::Features,
    mock::{Buffer, DriverMemory},
    net::control::{self, announce, mac, mq, offloads, rx, stats, vlan, ERR, OK},
};

pub const TESTS: &[Test] = both! {
    "commands_done", done;
    "commands_refused", refused;
    "commands_of_other_features", not_negotiated;
};

pub const CHAINS: &[Test] = each_ring! {
    "commands_in_pieces", pieces;
    "commands_of_one_kick", several;
};

/// A command: what it is, class, command and data.
type Case = (&'static str, u8, u8, Vec<u8>);

const KEY: [u8; 40] = [0x5a; 40];

/// A well-formed command of each kind, for a device with four pairs; and the feature that it
/// needs.
fn good() -> Vec<(Features, Case)> {
    type F = Features;
    let le = |value: u16| value.to_le_bytes().to_vec();
    let coal = control::coalescing::CLASS;
    vec![
        (
            F::NET_CTRL_RX,
            ("promiscuous", rx::CLASS, rx::PROMISC, vec![0]),
        ),
        (
            F::NET_CTRL_RX,
            ("all groups", rx::CLASS, rx::ALLMULTI, vec![0]),
        ),
        (
            F::NET_CTRL_RX_EXTRA,
            ("all stations", rx::CLASS, rx::ALLUNI, vec![0]),
        ),
        (
            F::NET_CTRL_RX_EXTRA,
            ("no groups", rx::CLASS, rx::NOMULTI, vec![0]),
        ),
        (
            F::NET_CTRL_RX_EXTRA,
            ("no stations", rx::CLASS, rx::NOUNI, vec![0]),
        ),
        (
            F::NET_CTRL_RX_EXTRA,
            ("no broadcast", rx::CLASS, rx::NOBCAST, vec![0]),
        ),
        (
            F::NET_CTRL_RX,
            (
                "empty tables",
                mac::CLASS,
                mac::TABLE_SET,
                mac_tables(&[], &[]),
            ),
        ),
        (
            F::NET_CTRL_MAC_ADDR,
            ("the address", mac::CLASS, mac::ADDR_SET, MAC.to_vec()),
        ),
        (
            F::NET_CTRL_VLAN,
            ("VLAN 4095", vlan::CLASS, vlan::ADD, le(4095)),
        ),
        (
            F::NET_CTRL_VLAN,
            ("no VLAN 4095", vlan::CLASS, vlan::DEL, le(4095)),
        ),
        (
            F::NET_GUEST_ANNOUNCE,
            ("announced", announce::CLASS, announce::ACK, vec![]),
        ),
        (
            F::NET_MQ,
            ("four pairs", mq::CLASS, mq::VQ_PAIRS_SET, le(4)),
        ),
        (F::NET_MQ, ("one pair", mq::CLASS, mq::VQ_PAIRS_SET, le(1))),
        (
            F::NET_RSS,
            (
                "RSS",
                mq::CLASS,
                mq::RSS_CONFIG,
                rss(0, &[0, 1, 2, 3], 3, 4, &KEY),
            ),
        ),
        (
            F::NET_RSS,
            (
                "RSS to one",
                mq::CLASS,
                mq::RSS_CONFIG,
                rss(0, &[0], 0, 1, &[]),
            ),
        ),
        (
            F::NET_HASH_REPORT,
            ("hashes", mq::CLASS, mq::HASH_CONFIG, hash(0, &KEY)),
        ),
        (
            F::NET_CTRL_GUEST_OFFLOADS,
            ("no offloads", offloads::CLASS, offloads::SET, vec![0; 8]),
        ),
        (
            F::NET_NOTF_COAL,
            (
                "transmit interrupts",
                coal,
                control::coalescing::TX_SET,
                coalescing(1, 0).into(),
            ),
        ),
        (
            F::NET_NOTF_COAL,
            (
                "receive interrupts",
                coal,
                control::coalescing::RX_SET,
                coalescing(1, 0).into(),
            ),
        ),
        (
            F::NET_VQ_NOTF_COAL,
            (
                "interrupts",
                coal,
                control::coalescing::VQ_SET,
                queue_coalescing(7, 1, 0),
            ),
        ),
        (
            F::NET_DEVICE_STATS,
            ("no statistics", stats::CLASS, stats::GET, statistics(&[])),
        ),
    ]
}

/// What is wrong whatever was negotiated, for a device with four pairs.
fn bad() -> Vec<Case> {
    let le = |value: u16| value.to_le_bytes().to_vec();
    let group = [1, 0, 0x5e, 0, 0, 1];
    let station = [2, 0, 0, 0, 0, 7];
    let table = [0_u16, 1, 2, 3];
    let rss_case = |what, data| (what, mq::CLASS, mq::RSS_CONFIG, data);
    let coal = control::coalescing::CLASS;
    vec![
        ("an unknown class", 77, 0, vec![]),
        ("class 7", 7, 0, vec![]),
        ("class 255", 255, 255, vec![0; 16]),
        ("an unknown mode", rx::CLASS, 6, vec![1]),
        ("a table command", mac::CLASS, 9, vec![0; 8]),
        ("a VLAN command", vlan::CLASS, 2, le(1)),
        ("an announcement", announce::CLASS, 1, vec![]),
        (
            "an announcement with data",
            announce::CLASS,
            announce::ACK,
            vec![0],
        ),
        ("a command of pairs", mq::CLASS, 3, le(1)),
        ("an offload command", offloads::CLASS, 1, vec![0; 8]),
        ("an interrupt command", coal, 4, coalescing(0, 0).into()),
        ("a statistics command", stats::CLASS, 2, vec![]),
        ("a group's address", mac::CLASS, mac::ADDR_SET, group.into()),
        ("no address but zero", mac::CLASS, mac::ADDR_SET, vec![0; 6]),
        (
            "more stations than there are",
            mac::CLASS,
            mac::TABLE_SET,
            {
                let mut data = mac_tables(&[station], &[]);
                data[0] = 2;
                data
            },
        ),
        ("as many stations as can be", mac::CLASS, mac::TABLE_SET, {
            let mut data = mac_tables(&[station], &[]);
            data[..4].fill(0xff);
            data
        }),
        (
            "as many stations as make a small product",
            mac::CLASS,
            mac::TABLE_SET,
            {
                let mut data = mac_tables(&[], &[]);
                // Six times this is 2 in 32 bits.
                data[..4].copy_from_slice(&0xaaaa_aaab_u32.to_le_bytes());
                data
            },
        ),
        ("as many groups as can be", mac::CLASS, mac::TABLE_SET, {
            let mut data = mac_tables(&[station], &[]);
            let at = data.len() - 4;
            data[at..].fill(0xff);
            data
        }),
        ("one table", mac::CLASS, mac::TABLE_SET, vec![0; 4]),
        (
            "a group among stations",
            mac::CLASS,
            mac::TABLE_SET,
            mac_tables(&[group], &[]),
        ),
        (
            "a station among groups",
            mac::CLASS,
            mac::TABLE_SET,
            mac_tables(&[], &[station]),
        ),
        ("VLAN 4096", vlan::CLASS, vlan::ADD, le(4096)),
        ("VLAN 65535", vlan::CLASS, vlan::DEL, le(65535)),
        ("no pairs", mq::CLASS, mq::VQ_PAIRS_SET, le(0)),
        ("five pairs of four", mq::CLASS, mq::VQ_PAIRS_SET, le(5)),
        ("32768 pairs", mq::CLASS, mq::VQ_PAIRS_SET, le(0x8000)),
        ("65535 pairs", mq::CLASS, mq::VQ_PAIRS_SET, le(65535)),
        rss_case("three entries", rss(0, &table[..3], 0, 1, &KEY)),
        rss_case("no entries", rss(0, &[], 0, 1, &KEY)),
        rss_case("256 entries", rss(0, &[0; 256], 0, 1, &KEY)),
        rss_case("an entry beyond", rss(0, &[0, 1, 2, 4], 0, 1, &KEY)),
        rss_case("a queue beyond for the rest", rss(0, &table, 4, 1, &KEY)),
        rss_case("no transmit queue", rss(0, &table, 0, 0, &KEY)),
        rss_case("five transmit queues", rss(0, &table, 0, 5, &KEY)),
        rss_case("a key of 41 bytes", rss(0, &table, 0, 1, &[1; 41])),
        rss_case("hashes without a key", rss(1, &table, 0, 1, &[])),
        rss_case("unknown hashes", rss(1 << 31, &table, 0, 1, &KEY)),
        (
            "unknown hashes",
            mq::CLASS,
            mq::HASH_CONFIG,
            hash(1 << 31, &KEY),
        ),
        (
            "hashes without a key",
            mq::CLASS,
            mq::HASH_CONFIG,
            hash(1, &[]),
        ),
        ("a long key", mq::CLASS, mq::HASH_CONFIG, hash(1, &[1; 41])),
        (
            "TSO without checksums",
            offloads::CLASS,
            offloads::SET,
            Features::NET_GUEST_TSO4.0.to_le_bytes().into(),
        ),
        (
            "an offload that is none",
            offloads::CLASS,
            offloads::SET,
            Features::NET_CSUM.0.to_le_bytes().into(),
        ),
        (
            "all offloads and more",
            offloads::CLASS,
            offloads::SET,
            vec![0xff; 8],
        ),
        (
            "interrupts of the control queue",
            coal,
            control::coalescing::VQ_SET,
            queue_coalescing(8, 1, 1),
        ),
        (
            "interrupts of no queue",
            coal,
            control::coalescing::VQ_SET,
            queue_coalescing(9, 1, 1),
        ),
        (
            "interrupts of queue 65535",
            coal,
            control::coalescing::VQ_GET,
            queue_coalescing(65535, 0, 0)[..4].into(),
        ),
        (
            "statistics of no queue",
            stats::CLASS,
            stats::GET,
            statistics(&[(9, 1)]),
        ),
        (
            "statistics of sending of a receive queue",
            stats::CLASS,
            stats::GET,
            statistics(&[(0, 1 << 16)]),
        ),
        (
            "unknown statistics",
            stats::CLASS,
            stats::GET,
            statistics(&[(0, 1 << 5)]),
        ),
        (
            "one good and one bad request",
            stats::CLASS,
            stats::GET,
            statistics(&[(0, 1), (1, 1)]),
        ),
    ]
}

/// The device still does all that it has to.
fn still_works(net: &mut Net) -> Outcome {
    check_eq!(net.client.config()?.mac().0, MAC, "MAC address");
    net.loop_frames(LoopPlan {
        count: 20,
        size: 100,
        in_flight: 4,
    })
    .map(drop)
}

fn done(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 4, Features(u64::MAX))?;
    let cases = good();
    for (_, (what, class, command, data)) in &cases {
        net.do_command(*class, *command, data).when(what)?;
    }
    still_works(&mut net)?;
    let numbers = device.statistics(8)?;
    check_eq!(
        numbers.get("cvq commands")?,
        cases.len() as u64,
        "commands counted"
    );
    check_eq!(numbers.get("cvq errors")?, 0, "errors counted");
    drop(net);
    device.delete()
}

fn refused(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 4, Features(u64::MAX))?;
    let mut count = 0;
    for (what, class, command, data) in bad() {
        net.refuse_command(class, command, &data).when(what)?;
        count += 1;
    }
    // Well-formed ones with too little and too much data.
    for (_, (what, class, command, data)) in good() {
        if data.is_empty() {
            continue;
        }
        let padded = class == mq::CLASS && command != mq::VQ_PAIRS_SET;
        let list = class == stats::CLASS;
        for len in 0..data.len() {
            if list && len % 16 == 0 {
                continue;
            }
            net.refuse_command(class, command, &data[..len])
                .when(format_args!("{len} bytes of {what}"))?;
            count += 1;
        }
        for more in [if padded { 2 } else { 1 }, 300, 8000] {
            let long = [&data[..], &vec![0; more]].concat();
            net.refuse_command(class, command, &long)
                .when(format_args!("{more} bytes too many of {what}"))?;
            count += 1;
        }
    }
    still_works(&mut net)?;
    let numbers = device.statistics(8)?;
    check_eq!(numbers.get("cvq commands")?, count, "commands counted");
    check_eq!(numbers.get("cvq errors")?, count, "errors counted");
    // A refusal is not remembered.
    net.do_command(mac::CLASS, mac::ADDR_SET, &MAC)?;
    drop(net);
    device.delete()
}

fn not_negotiated(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 4, Features(u64::MAX))?;
    for (feature, (what, class, command, data)) in good() {
        net.plan.features = Features(u64::MAX).without(feature);
        net = net.restart().when(what)?;
        net.refuse_command(class, command, &data)
            .when(format_args!("{what} without {feature}"))?;
    }
    still_works(&mut net)?;
    drop(net);
    device.delete()
}

/// A command may be cut anywhere, and so may the room for the answer (2.7.4.3).
fn pieces(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("ctrl", format)?;
    let plan = Plan {
        kind: super::kind(context),
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    let address = [2, 0, 0, 0, 0, 8];
    let single = |start: u64, len: u64| (start..start + len).map(|at| Buffer::readable(at, 1));
    let bytes: Vec<Buffer> = single(0, 2).chain(single(DATA, 6)).collect();
    for (what, readable, writable) in [
        (
            "one byte each",
            bytes.clone(),
            vec![Buffer::writable(ANSWER, 1)],
        ),
        (
            "empty ones between",
            bytes
                .iter()
                .flat_map(|buffer| [Buffer::readable(DATA, 0), *buffer])
                .collect(),
            vec![Buffer::writable(ANSWER, 0), Buffer::writable(ANSWER, 1)],
        ),
        (
            "command and data in one",
            vec![Buffer::readable(DATA - 2, 8)],
            vec![Buffer::writable(ANSWER, 1)],
        ),
        (
            "more room than the answer needs",
            bytes,
            vec![Buffer::writable(ANSWER, 500)],
        ),
    ] {
        net.do_command(mac::CLASS, mac::ADDR_SET, &[2, 9, 9, 9, 9, 9])?;
        net.write_command(mac::CLASS, mac::ADDR_SET, &address)?;
        let start = net.control()?.buffers;
        net.control_memory
            .write(start + DATA - 2, &[mac::CLASS, mac::ADDR_SET]);
        net.control_memory.write(start + ANSWER + 1, &[NO_ANSWER]);
        net.submit(&[readable, writable].concat()).when(what)?;
        let used = net.wait_control()?;
        check_eq!(used.len, 1, "bytes written: {what}");
        let mut answer = [0; 2];
        net.control_memory.read(start + ANSWER, &mut answer);
        check_eq!(answer, [OK, NO_ANSWER], "answer: {what}");
        check_eq!(net.client.config()?.mac().0, address, "MAC address: {what}");
    }
    // Too short to be a command, but there is room for an answer.
    for (what, readable) in [
        ("no command", vec![]),
        ("half a command", vec![Buffer::readable(0, 1)]),
        ("an empty command", vec![Buffer::readable(0, 0)]),
    ] {
        net.write_command(mac::CLASS, mac::ADDR_SET, &address)?;
        let start = net.control()?.buffers;
        net.submit(&[readable, vec![Buffer::writable(ANSWER, 1)]].concat())?;
        check_eq!(net.wait_control()?.len, 1, "bytes written: {what}");
        let mut answer = [0];
        net.control_memory.read(start + ANSWER, &mut answer);
        check_eq!(answer, [ERR], "answer to {what}");
    }
    drop(net);
    device.delete()
}

/// Commands are carried out one after the other, whenever the device is told of them.
fn several(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("ctrl", format)?;
    let plan = Plan {
        kind: super::kind(context),
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    net.write_command(mac::CLASS, mac::ADDR_SET, &[])?;
    let control = net.control()?;
    let start = control.buffers;
    let memory = control.driver.memory().clone();
    const COUNT: u64 = 16;
    for number in 0..COUNT {
        // Every third is refused.
        let first = if number % 3 == 2 { 3 } else { 2 };
        memory.write(
            start + DATA + 8 * number,
            &[first, 0, 0, 0, 0, number as u8],
        );
        memory.write(start + ANSWER + number, &[NO_ANSWER]);
        let chain = [
            Buffer::readable(start, 2),
            Buffer::readable(start + DATA + 8 * number, 6),
            Buffer::writable(start + ANSWER + number, 1),
        ];
        control
            .driver
            .add(&chain, rvdpa_virtio::mock::Form::Direct)
            .expect("there is room");
    }
    control.driver.publish();
    control.kick_if_needed()?;
    for number in 0..COUNT {
        let used = net.wait_control()?;
        check_eq!(used.len, 1, "bytes written for command {number}");
        let mut answer = [0];
        memory.read(start + ANSWER + number, &mut answer);
        let wanted = if number % 3 == 2 { ERR } else { OK };
        check_eq!(answer, [wanted], "answer to command {number}");
    }
    let last = [2, 0, 0, 0, 0, COUNT as u8 - 1];
    check_eq!(net.client.config()?.mac().0, last, "MAC address");
    drop(net);
    device.delete()
}
