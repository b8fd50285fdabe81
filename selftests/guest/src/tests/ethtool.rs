// SPDX-License-Identifier: GPL-2.0

//! What `ethtool` shows of a device, and what it changes.

use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    stream::exchange,
    sys::{scaled, wait_for, SOON},
    wire::{self, Port, Spec, Wire},
};
use rvdpa_virtio::features::Features;
use std::{
    thread::sleep,
    time::{Duration, Instant}, //
};

pub const TESTS: &[Test] = &[
    Test::new("ethtool.statistics_of_the_device", statistics),
    Test::new("ethtool.statistics_of_each_pair", statistics_of_pairs),
    Test::new("ethtool.features_shown", features_shown),
    Test::new("ethtool.segmentation_off_and_on", segmentation).seconds(40),
    Test::new("ethtool.receive_offload_off_and_on", receive_offload).seconds(40),
    Test::new("ethtool.coalescing", coalescing).seconds(40),
    Test::new("ethtool.coalescing_of_one_queue", coalescing_of_one).seconds(40),
    Test::new("ethtool.channels", channels),
];

/// Runs `ethtool` with an option, the interface and more words.
fn ethtool(port: &Port, option: &str, words: &str) -> Outcome<String> {
    let mut all = vec!["ethtool", option, port.interface.as_str()];
    all.extend(words.split_whitespace());
    port.run(&all)
}

/// A line `name: value` of what `ethtool` shows.
fn shown(text: &str, name: &str) -> Outcome<String> {
    let start = format!("{name}:");
    text.lines()
        .find_map(|line| line.trim().strip_prefix(&start))
        .map(|value| value.trim().to_owned())
        .when(format_args!("'{name}' in {text}"))
}

/// Statistics by the control queue come only to those who ask for them.
fn with_statistics(pairs: u16, more: Features) -> Spec {
    let features = wire::plain()
        | wire::offloads()
        | more.0
        | Features::NET_MRG_RXBUF.0
        | Features::NET_DEVICE_STATS.0;
    Spec {
        features: Some(features),
        pairs,
        ..Spec::default()
    }
}

fn statistics(_: &mut Context) -> Outcome {
    const FRAMES: u64 = 30;
    const LEN: u64 = 100;
    let wire = Wire::new(with_statistics(1, Features::NONE))?;
    let of = |port: &Port, name: &str| -> Outcome<u64> {
        let all = port.ethtool_statistics()?;
        all.get(name)
            .copied()
            .when(format_args!("'{name}' in {all:?}"))
    };
    let (a, mut b) = (wire.a.socket(2048)?, wire.b.socket(2048)?);
    for number in 0..FRAMES {
        a.send(&frame::make(LEN as usize, wire.b.mac, wire.a.mac, number))?;
    }
    check_eq!(
        b.receive_count(FRAMES as usize)?.len(),
        FRAMES as usize,
        "frames"
    );
    check_eq!(of(&wire.a, "tx0_hw_packets")?, FRAMES, "frames sent");
    check_eq!(of(&wire.a, "tx0_hw_bytes")?, FRAMES * LEN, "bytes sent");
    check_eq!(
        of(&wire.a, "rx0_hw_packets")?,
        0,
        "frames received by the sender"
    );
    check_eq!(of(&wire.b, "rx0_hw_packets")?, FRAMES, "frames received");
    check_eq!(of(&wire.b, "rx0_hw_bytes")?, FRAMES * LEN, "bytes received");
    check!(
        of(&wire.a, "tx0_hw_notifications")? > 0,
        "no notifications to send"
    );
    check!(
        of(&wire.b, "rx0_hw_interrupts")? > 0,
        "no interrupts of the receiver"
    );
    // The device says the same to the user of vdpa.
    let kicks = wire.a.total(1, "kicks")?;
    check_eq!(of(&wire.a, "tx0_hw_notifications")?, kicks, "notifications");

    let commands = of(&wire.a, "cq_hw_command_num")?;
    wire.a
        .changes_filter(|| wire.a.ip("link set DEV promisc on"))?;
    // Each look takes one as well.
    let more = of(&wire.a, "cq_hw_command_num")? - commands;
    check!((3..=8).contains(&more), "{more} commands counted");
    check_eq!(
        of(&wire.a, "cq_hw_ok_num")?,
        of(&wire.a, "cq_hw_command_num")? - 1,
        "commands that went well, at a look earlier"
    );
    wire.delete()
}

fn statistics_of_pairs(_: &mut Context) -> Outcome {
    let wire = Wire::new(with_statistics(4, Features::NET_MQ))?;
    wire.number()?;
    exchange(&wire, 8, 1 << 18)?;
    for port in [&wire.a, &wire.b] {
        for (direction, name) in [(0, "rx"), (1, "tx")] {
            let counter = format!("{name} packets");
            // A last acknowledgment may still be on its way.
            let (ours, all) = wait_for("quiet", SOON, || {
                let before = port.by_pair(direction, &counter)?;
                let all = port.ethtool_statistics()?;
                let after = port.by_pair(direction, &counter)?;
                Ok((before == after).then_some((after, all)))
            })?;
            let theirs: Vec<_> = (0..4)
                .map(|pair| {
                    let name = format!("{name}{pair}_hw_packets");
                    all.get(&name).copied().when(name)
                })
                .collect::<Outcome<_>>()?;
            check_eq!(theirs, ours, "{counter} by pair");
        }
    }
    wire.delete()
}

/// Switches that must be on by default, and off and fixed without any of them.
const SWITCHES: [&str; 8] = [
    "tx-checksumming",
    "scatter-gather",
    "tcp-segmentation-offload",
    "tx-tcp-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp6-segmentation",
    "tx-udp-segmentation",
    "rx-gro-hw",
];

fn features_shown(_: &mut Context) -> Outcome {
    let wire = Wire::unlike(
        Spec::default(),
        Spec {
            features: Some(wire::plain()),
            ..Spec::default()
        },
    )?;
    let (full, plain) = (ethtool(&wire.a, "-k", "")?, ethtool(&wire.b, "-k", "")?);
    for name in SWITCHES {
        check_eq!(shown(&full, name)?, "on", "{name} by default");
        let value = shown(&plain, name)?;
        check!(value.starts_with("off"), "{name} without it: {value}");
    }
    check_eq!(
        shown(&full, "rx-vlan-filter")?,
        "on [fixed]",
        "rx-vlan-filter"
    );
    check_eq!(
        shown(&plain, "rx-vlan-filter")?,
        "off [fixed]",
        "rx-vlan-filter"
    );
    wire.delete()
}

/// How many bytes are in each frame that a port sends, and in each that it gets, while
/// streams go both ways.
fn bytes_per_frame(wire: &Wire, port: &Port) -> Outcome<[u64; 2]> {
    let read = || -> Outcome<[u64; 4]> {
        Ok([
            port.total(1, "tx bytes")?,
            port.total(1, "tx packets")?,
            port.total(0, "rx bytes")?,
            port.total(0, "rx packets")?,
        ])
    };
    let before = read()?;
    exchange(wire, 2, 1 << 20)?;
    let after = read()?;
    let of = |at: usize| (after[at] - before[at]) / (after[at + 1] - before[at + 1]).max(1);
    Ok([of(0), of(2)])
}

/// The longest frame without segmentation.
const LONGEST: u64 = 1514;

fn segmentation(context: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    wire.number()?;
    for (words, large) in [
        ("tso on", true),
        ("tso off gso off", false),
        ("tso on gso on", true),
        ("tx off", false),
        ("tx on tso on", true),
    ] {
        context.step(words);
        ethtool(&wire.a, "-K", words)?;
        let [sent, _] = bytes_per_frame(&wire, &wire.a)?;
        context.note(format_args!("{words}: {sent} bytes a frame"));
        check!((sent > LONGEST) == large, "{words}: {sent} bytes a frame");
    }
    wire.delete()
}

fn receive_offload(context: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    wire.number()?;
    for (words, large) in [
        ("rx-gro-hw on", true),
        ("rx-gro-hw off", false),
        ("rx-gro-hw on", true),
    ] {
        context.step(words);
        ethtool(&wire.b, "-K", words)?;
        let [sent, got] = bytes_per_frame(&wire, &wire.b)?;
        context.note(format_args!(
            "{words}: {sent} bytes a frame sent, {got} received"
        ));
        check!(
            (got > LONGEST) == large,
            "{words}: {got} bytes a frame received"
        );
        check!(sent > LONGEST, "{words}: {sent} bytes a frame sent");
    }
    wire.delete()
}

/// Sends frames with pauses between them, to an address. Returns how many interrupts each
/// pair of port b raised, and how long it all took.
fn interrupts(wire: &Wire, count: u64) -> Outcome<(Vec<u64>, Duration)> {
    let (a, mut b) = (wire.a.socket(2048)?, wire.b.socket(2048)?);
    let before = wire.b.by_pair(0, "interrupts raised")?;
    let start = Instant::now();
    for number in 0..count {
        sleep(Duration::from_millis(2));
        a.send(&frame::make(60, wire.b.mac, wire.a.mac, number))?;
    }
    check_eq!(
        b.receive_count(count as usize)?.len(),
        count as usize,
        "frames"
    );
    let after = wire.b.by_pair(0, "interrupts raised")?;
    let raised = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before);
    Ok((raised.collect(), start.elapsed()))
}

/// How many frames are sent to see coalescing.
const SINGLE: u64 = 150;

fn coalescing(context: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    let show = |name: &str| shown(&ethtool(&wire.b, "-c", "")?, name);
    let (plain, _) = interrupts(&wire, SINGLE)?;
    check!(
        plain[0] > SINGLE / 2,
        "{} interrupts for {SINGLE} frames",
        plain[0]
    );

    ethtool(&wire.b, "-C", "rx-usecs 2000000 rx-frames 15")?;
    check_eq!(show("rx-usecs")?, "2000000", "rx-usecs");
    check_eq!(show("rx-frames")?, "15", "rx-frames");
    let (by_frames, _) = interrupts(&wire, SINGLE)?;
    check!(
        (SINGLE / 15..=SINGLE / 5).contains(&by_frames[0]),
        "{} interrupts for {SINGLE} frames, 15 of them for one",
        by_frames[0]
    );

    // A last frame does not wait for others for ever.
    ethtool(&wire.b, "-C", "rx-usecs 50000 rx-frames 1000")?;
    let (by_time, took) = interrupts(&wire, SINGLE)?;
    // One may have been due before, and one may be on its way.
    let most = took.as_millis() as u64 / 50 + 2;
    check!(
        (1..=most).contains(&by_time[0]),
        "{} interrupts for {SINGLE} frames, one in 50 ms, within {took:?}",
        by_time[0]
    );

    ethtool(&wire.b, "-C", "rx-usecs 0 rx-frames 0")?;
    let (again, _) = interrupts(&wire, SINGLE)?;
    check!(
        again[0] > SINGLE / 2,
        "{} interrupts for {SINGLE} frames",
        again[0]
    );
    context.note(format_args!(
        "interrupts for {SINGLE} frames: {plain:?}, by frames {by_frames:?}, by time {by_time:?} \
         within {took:?}, again {again:?}"
    ));

    ethtool(&wire.b, "-C", "tx-usecs 100 tx-frames 8")?;
    check_eq!(show("tx-usecs")?, "100", "tx-usecs");
    check_eq!(show("tx-frames")?, "8", "tx-frames");
    wire.number()?;
    exchange(&wire, 2, 1 << 20).when("with coalescing of both directions")?;
    wire.delete()
}

fn coalescing_of_one(context: &mut Context) -> Outcome {
    let wire = Wire::unlike(
        Spec::default(),
        Spec {
            pairs: 2,
            ..Spec::default()
        },
    )?;
    let interface = wire.b.interface.as_str();
    let queue = |mask: &str, words: &str| {
        let mut all = vec!["ethtool", "-Q", interface, "queue_mask", mask];
        all.extend(words.split_whitespace());
        wire.b.run(&all)
    };
    queue("0x2", "--coalesce rx-usecs 2000000 rx-frames 10")?;
    let text = queue("0x3", "--show-coalesce")?;
    let (first, second) = text
        .split_once("Queue: 1")
        .when(format_args!("queue 1 in {text}"))?;
    check_eq!(shown(first, "rx-usecs")?, "0", "rx-usecs of queue 0");
    check_eq!(shown(second, "rx-usecs")?, "2000000", "rx-usecs of queue 1");
    check_eq!(shown(second, "rx-frames")?, "10", "rx-frames of queue 1");

    // Frames that have no flow come to one pair.
    let mut raised = Vec::new();
    for pair in 0..2 {
        let weight = ["weight 1 0", "weight 0 1"][pair];
        ethtool(&wire.b, "-X", weight)?;
        let (interrupts, _) = flow_interrupts(&wire, pair)?;
        raised.push(interrupts);
    }
    context.note(format_args!("interrupts for {SINGLE} frames: {raised:?}"));
    check!(
        raised[0] > SINGLE / 2,
        "{} interrupts of queue 0",
        raised[0]
    );
    check!(
        (SINGLE / 10..=SINGLE / 4).contains(&raised[1]),
        "{} interrupts of queue 1",
        raised[1]
    );
    wire.delete()
}

/// The same for datagrams, which are steered. Returns the interrupts of one pair.
fn flow_interrupts(wire: &Wire, pair: usize) -> Outcome<(u64, u64)> {
    if pair == 0 {
        wire.number()?;
    }
    let address = |text: &str, port: u16| -> Outcome<std::net::SocketAddr> {
        Ok(std::net::SocketAddr::new(text.parse().when(text)?, port))
    };
    let (from, to) = (address(wire::V4[0], 7200)?, address(wire::V4[1], 7201)?);
    let open = |port: &Port, address| {
        port.namespace.inside(|| {
            std::net::UdpSocket::bind(address).when(format_args!("binding to {address}"))
        })
    };
    let (a, b) = (open(&wire.a, from)?, open(&wire.b, to)?);
    b.set_read_timeout(Some(scaled(SOON)))?;
    let read = |name| Ok::<_, crate::outcome::Stop>(wire.b.by_pair(0, name)?[pair]);
    let before = [read("interrupts raised")?, read("rx packets")?];
    for _ in 0..SINGLE {
        sleep(Duration::from_millis(2));
        a.send_to(b"one", to).when("sending")?;
    }
    for number in 0..SINGLE {
        b.recv(&mut [0; 8])
            .when(format_args!("datagram {number}"))?;
    }
    let packets = read("rx packets")? - before[1];
    check_eq!(packets, SINGLE, "frames of pair {pair}");
    // The last interrupt may be on its way.
    wait_for("interrupts", SOON, || {
        Ok((read("interrupts raised")? > before[0]).then_some(()))
    })?;
    Ok((read("interrupts raised")? - before[0], packets))
}

fn channels(_: &mut Context) -> Outcome {
    let wire = Wire::unlike(
        Spec {
            pairs: 4,
            ..Spec::default()
        },
        Spec {
            features: Some(wire::plain() | Features::NET_MQ.0),
            pairs: 3,
            ..Spec::default()
        },
    )?;
    for (port, most) in [(&wire.a, 4), (&wire.b, 3)] {
        for count in 1..=most {
            ethtool(port, "-L", &format!("combined {count}"))?;
            let text = ethtool(port, "-l", "")?;
            let numbers: Vec<_> = text
                .lines()
                .filter_map(|line| line.strip_prefix("Combined:"))
                .map(str::trim)
                .collect();
            check_eq!(
                numbers,
                [most.to_string(), count.to_string()],
                "pairs there and in use"
            );
        }
        for bad in ["combined 0".to_owned(), format!("combined {}", most + 1)] {
            check!(ethtool(port, "-L", &bad).is_err(), "{bad} was accepted");
        }
    }
    wire.delete()
}
