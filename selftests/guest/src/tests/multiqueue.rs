// SPDX-License-Identifier: GPL-2.0

//! Several queue pairs: where the control queue is, which pairs are in use, and on which of
//! them a frame comes.

use crate::{
    check, check_eq,
    device::MAC,
    frame,
    harness::{Context, Test},
    inet::{payload, Packet},
    outcome::{Outcome, While},
    tests::{
        control_queue::rss,
        delivery::looped,
        rings::{both, each_ring, kind},
    },
    toeplitz,
    vhost::{refused, Client, Format, Net, NewDevice, Plan},
};
use nix::errno::Errno;
use rvdpa_virtio::{
    features::Features,
    net::{
        control::mq::{CLASS, RSS_CONFIG, VQ_PAIRS_SET},
        NetHeader,
    },
};
use vhost::vdpa::VhostVdpa;

pub const TESTS: &[Test] = both! {
    "pairs_as_clients_expect", shape;
    "flows_come_back_where_they_were_sent", automatic;
    "rss_moves_flows", by_hash;
};

pub const RINGS: &[Test] = each_ring! {
    "frames_on_each_pair", each_pair;
    "sixty_four_pairs", most;
};

/// What MQ and RSS need beside what every driver wants.
const MULTI: Features = Features(Features::NET_MQ.0 | Features::NET_RSS.0);

/// Groups, indices and the configuration follow what was negotiated.
fn shape(_: &mut Context) -> Outcome {
    let (device, path) = NewDevice::named("pairs").pairs(4).make()?;
    let mut client = Client::open(&path)?;
    check_eq!(client.kernel().get_vqs_count()?, 9, "virtqueues");
    check_eq!(client.kernel().get_group_num()?, 2, "groups");
    let all = Features(u64::MAX);
    for (what, features, control) in [
        ("MQ and RSS", all, 8),
        ("MQ", all.without(Features::NET_RSS), 8),
        ("RSS", all.without(Features::NET_MQ), 8),
        ("neither", all.without(MULTI), 2),
    ] {
        client.negotiate(features)?;
        check_eq!(
            client.control_index()?,
            Some(control),
            "control queue with {what}"
        );
        for index in 0..9 {
            // Beyond the control queue there is nothing; but a group has to be told.
            if index > control {
                continue;
            }
            check_eq!(
                client.kernel().get_vring_group(index as u32)?,
                u32::from(index == control),
                "group of virtqueue {index} with {what}"
            );
        }
        if control == 8 {
            let pairs = client.config()?.max_virtqueue_pairs();
            check_eq!(pairs, 4, "max_virtqueue_pairs with {what}");
        }
    }
    check_eq!(
        refused(client.kernel().get_vring_group(9)),
        Some(Errno::ENOBUFS),
        "group of virtqueue 9"
    );
    drop(client);
    device.delete()?;

    // One pair: no need for either feature.
    let (device, path) = NewDevice::named("pairs").make()?;
    let mut client = Client::open(&path)?;
    client.negotiate(all)?;
    check!(
        !client.features().intersects(MULTI),
        "MQ or RSS with one pair"
    );
    check_eq!(client.control_index()?, Some(2), "control queue");
    drop(client);
    device.delete()
}

/// A device with several pairs, all of which the driver has set up.
fn several(
    context: &Context,
    device: NewDevice<'_>,
    pairs: u16,
    features: Features,
) -> Outcome<(crate::device::Device, Net)> {
    let (device, path) = device.pairs(pairs).make()?;
    let plan = Plan {
        kind: kind(context),
        features,
        pairs: usize::from(pairs),
        size: 16,
        ..Plan::default()
    };
    Ok((device, Net::new(&path, plan)?))
}

/// A frame of a flow of its own, to the device itself.
fn flow(number: u16) -> Packet {
    Packet {
        source_port: 1000 + number,
        ..Packet::new(MAC, MAC, false, true, 60)
    }
}

fn each_pair(context: &mut Context, format: Format) -> Outcome {
    let new = NewDevice::named("pairs").format(format, Features::NET_MQ);
    let (device, mut net) = several(context, new, 4, Features(u64::MAX))?;
    net.use_pairs(4)?;
    let mut numbers = [0; 4];
    for round in 0..20 {
        for (pair, number) in numbers.iter_mut().enumerate() {
            let sent = flow(pair as u16).complete();
            let come = looped(&device, &mut net, pair, NetHeader::default(), &sent)?;
            let (on, got) = come.when(format_args!("frame {round} of pair {pair}"))?;
            check_eq!(on, pair, "pair on which a frame came");
            check!(got.frame == sent, "the frame was changed");
            *number += 1;
        }
    }
    for (pair, count) in numbers.into_iter().enumerate() {
        let index = 2 * pair as u32;
        let rx = device.statistics(index)?.get("rx packets")?;
        let tx = device.statistics(index + 1)?.get("tx packets")?;
        check_eq!((rx, tx), (count, count), "frames counted of pair {pair}");
    }
    drop(net);
    device.delete()
}

fn most(context: &mut Context, format: Format) -> Outcome {
    let new = NewDevice::named("pairs").format(format, Features::NET_MQ);
    let (device, mut net) = several(context, new, 64, Features(u64::MAX))?;
    let control = net.control()?.index;
    check_eq!(control, 128, "control queue");
    net.use_pairs(64)?;
    net.refuse_command(CLASS, VQ_PAIRS_SET, &65_u16.to_le_bytes())?;
    net.fill_rx()?;
    for pair in 0..64 {
        let sent = flow(pair as u16).complete();
        net.send_frame(pair, NetHeader::default(), &sent)?;
        let got = net
            .wait_receive_from(pair)
            .when(format_args!("pair {pair}"))?;
        check!(got.frame == sent, "the frame of pair {pair} was changed");
    }
    drop(net);
    device.delete()
}

/// Automatic steering: a flow comes on the pair from which it was last sent, as long as
/// that is in use (5.1.6.5.5).
fn automatic(context: &mut Context) -> Outcome {
    let features = Features(u64::MAX).without(Features::NET_RSS);
    let (device, mut net) = several(context, NewDevice::named("pairs"), 4, features)?;
    // One pair is in use before the driver has said anything.
    let plain = NetHeader::default();
    for number in 0..20 {
        let sent = flow(number).complete();
        let (on, _) = looped(&device, &mut net, 0, plain, &sent)?.when("the frame")?;
        check_eq!(on, 0, "pair of flow {number} before any command");
    }
    net.use_pairs(4)?;
    for round in 0..4 {
        for number in 0..12 {
            let from = usize::from(number + round) % 4;
            let sent = flow(number).complete();
            let (on, _) = looped(&device, &mut net, from, plain, &sent)?.when("the frame")?;
            check_eq!(on, from, "pair of flow {number} in round {round}");
        }
    }
    // What comes in the other direction belongs to the flow too.
    let sent = flow(3);
    looped(&device, &mut net, 2, plain, &sent.complete())?.when("the frame")?;
    let answer = Packet {
        ends: sent.ends.reversed(),
        source_port: sent.destination_port,
        destination_port: sent.source_port,
        ..sent
    };
    // Sent from another pair, it is the last one of its flow: it moves it.
    let come = looped(&device, &mut net, 1, plain, &answer.complete())?;
    check_eq!(come.when("the answer")?.0, 1, "pair of the answer");

    // Fewer pairs: nothing comes where nobody looks.
    net.use_pairs(2)?;
    for number in 0..20 {
        let sent = flow(number).complete();
        let from = usize::from(number % 2);
        let (on, _) = looped(&device, &mut net, from, plain, &sent)?.when("the frame")?;
        check_eq!(on, from, "pair of flow {number} when two are in use");
    }
    // What is no IP comes on some pair in use.
    let sent = frame::make(100, MAC, MAC, 4);
    let (on, _) = looped(&device, &mut net, 1, plain, &sent)?.when("the frame")?;
    check!(on < 2, "a frame without a flow came on pair {on}");
    drop(net);
    device.delete()
}

/// By RSS: the hash chooses the pair, by the table.
fn by_hash(context: &mut Context) -> Outcome {
    const UDPV4: u32 = 1 << 2;
    let (device, mut net) = several(context, NewDevice::named("pairs"), 4, Features(u64::MAX))?;
    let config = net.client.config()?;
    check!(config.rss_max_key_size() >= 40, "rss_max_key_size");
    let len = usize::from(config.rss_max_indirection_table_length());
    check!(
        len >= 128 && len.is_power_of_two(),
        "{len} entries of the table"
    );
    check!(config.supported_hash_types() & UDPV4 != 0, "hashes of UDP");
    let key = payload(40, 5);
    let plain = NetHeader::default();
    let tables: [Vec<u16>; 4] = [
        vec![0, 1, 2, 3],
        vec![3, 2, 1, 0],
        vec![2],
        (0..len).map(|at| (at % 3) as u16 + 1).collect(),
    ];
    for (round, table) in tables.iter().enumerate() {
        net.do_command(CLASS, RSS_CONFIG, &rss(UDPV4, table, 1, 4, &key))?;
        let mut seen = [false; 4];
        for number in 0..16 {
            let packet = flow(number);
            let hash = toeplitz::hash(&key, &packet.hash_input(true));
            let wanted = usize::from(table[hash as usize & (table.len() - 1)]);
            // From whichever pair it was sent.
            let from = usize::from(number) % 4;
            let come = looped(&device, &mut net, from, plain, &packet.complete())?;
            check_eq!(
                come.when("the frame")?.0,
                wanted,
                "pair of flow {number}, table {round}"
            );
            seen[wanted] = true;
        }
        if round == 0 {
            check_eq!(seen, [true; 4], "pairs on which frames came");
        }
        // What is not hashed goes where the rest goes.
        let tcp = Packet {
            udp: false,
            ..flow(1)
        };
        let come = looped(&device, &mut net, 0, plain, &tcp.complete())?;
        check_eq!(come.when("the frame")?.0, 1, "pair of what is not hashed");
    }
    // A refused command changes nothing.
    let bad = rss(UDPV4, &[0, 4], 0, 4, &key);
    net.refuse_command(CLASS, RSS_CONFIG, &bad)?;
    let come = looped(&device, &mut net, 0, plain, &frame::make(80, MAC, MAC, 1))?;
    check_eq!(come.when("the frame")?.0, 1, "pair after a refused command");
    // The other command ends it: automatic steering again (5.1.6.5.7.1).
    net.use_pairs(4)?;
    for from in 0..4 {
        let come = looped(&device, &mut net, from, plain, &flow(9).complete())?;
        check_eq!(
            come.when("the frame")?.0,
            from,
            "pair with automatic steering"
        );
    }
    drop(net);
    device.delete()
}
