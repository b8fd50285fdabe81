// SPDX-License-Identifier: GPL-2.0

//! What one host sends, `tcpdump` at the other one reads as it was sent.

use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::Outcome,
    pcap::Capture,
    stream::Noise,
    wire::{self, Spec, Wire},
};
use rvdpa_virtio::features::Features;

pub const TESTS: &[Test] = &[
    Test::new("capture.as_sent", as_sent).seconds(60),
    Test::new(
        "capture.as_sent_without_offloads_or_mergeable_buffers",
        bare,
    )
    .seconds(60),
    Test::new("capture.as_sent_packed_in_order", packed).seconds(60),
    Test::new("capture.as_sent_strict", as_sent)
        .with("strict=1")
        .seconds(60),
];

const MTU: u16 = 9000;

/// Frames of many kinds and sizes for the other end.
fn frames(to: [u8; 6], from: [u8; 6]) -> Vec<Vec<u8>> {
    let most = usize::from(MTU) + frame::HEADER;
    let mut all = Vec::new();
    let sizes = [
        14, 15, 42, 59, 60, 61, 63, 64, 65, 127, 128, 129, 511, 1000, 1513, 1514, 1515, 2047, 2048,
        3000, 4083, 4084, 4085, 4095, 4096, 4097, 6001, 8191, 8192, 8193, 8999, 9000,
    ];
    for size in sizes.into_iter().chain([most - 1, most]) {
        all.push(frame::make(size, to, from, all.len() as u64));
    }
    // With tags: of IEEE 802.1Q, of 802.1ad, of both, and of priority alone.
    for tags in [
        &[[0x81, 0, 0, 5]][..],
        &[[0x81, 0, 0xef, 0xfe]],
        &[[0x81, 0, 0xe0, 0]],
        &[[0x88, 0xa8, 0, 7]],
        &[[0x88, 0xa8, 0x10, 9], [0x81, 0, 0, 5]],
    ] {
        for size in [60, 1001, 1514, most] {
            let mut tagged = frame::make(size, to, from, all.len() as u64);
            tagged.splice(12..12, tags.concat());
            // A tag of 802.1Q is not counted, all others are.
            tagged.truncate(if tags[0][0] == 0x81 { most + 4 } else { most });
            all.push(tagged);
        }
    }
    // What a stack would look into: IPv4 and IPv6 with all that follows being noise, ARP, a
    // length instead of a type, types that nobody has.
    for kind in [0x0800_u16, 0x86dd, 0x0806, 0x05dc, 0x0000, 0xffff, 0x88cc] {
        for size in [14, 33, 60, 333, 1514, 4097] {
            let mut noisy = frame::make(size, to, from, 0);
            noisy[12..14].copy_from_slice(&kind.to_be_bytes());
            Noise::new((u64::from(kind) << 16) | size as u64).fill(&mut noisy[14..]);
            all.push(noisy);
        }
    }
    // IPv6 that is right, with UDP.
    for (number, payload) in [0_usize, 1, 7, 1000, 1452, 8952].into_iter().enumerate() {
        all.push(ipv6_udp(to, from, number as u64, payload));
    }
    // To groups, and to nobody that is known.
    for address in [[0xff; 6], [0x33, 0x33, 0, 0, 0, 1], [2, 1, 2, 3, 4, 5]] {
        all.push(frame::make(99, address, from, all.len() as u64));
    }
    all
}

/// A datagram over IPv6 with a checksum of zero, which is as wrong as can be.
fn ipv6_udp(to: [u8; 6], from: [u8; 6], seed: u64, payload: usize) -> Vec<u8> {
    let len = (8 + payload) as u16;
    let mut all = [to, from].concat();
    all.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    all.extend(len.to_be_bytes());
    all.extend([17, 64]);
    all.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    all.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    all.extend([0x1f, 0x90, 0x1f, 0x91]);
    all.extend(len.to_be_bytes());
    all.extend([0, 0]);
    let start = all.len();
    all.resize(start + payload, 0);
    Noise::new(seed).fill(&mut all[start..]);
    all
}

/// Sends all kinds of frames from one end to the other and compares.
fn compare(context: &mut Context, spec: Spec) -> Outcome {
    let wire = Wire::new(spec)?;
    for (from, to, way) in [(&wire.a, &wire.b, "there"), (&wire.b, &wire.a, "back")] {
        context.step(way);
        let capture = Capture::start(to, true)?;
        let sent = frames(to.mac, from.mac);
        let socket = from.socket(2048)?;
        for frame in &sent {
            socket.send(frame)?;
        }
        // In any order: what the kernel receives at once, it hands on in groups.
        let got = capture.count(sent.len())?;
        let missing: Vec<_> = (0..sent.len())
            .filter(|at| !got.contains(&sent[*at]))
            .map(|at| (at, sent[at].len()))
            .collect();
        let strange = got.iter().position(|frame| !sent.contains(frame));
        check!(
            missing.is_empty() && strange.is_none(),
            "{way}: {} frames captured, {strange:?} not sent, without (number, length) \
             {missing:?}; {:?} {:?} {}",
            got.len(),
            to.device.statistics(0)?,
            from.device.statistics(1)?,
            to.link()?["stats64"]
        );
        check_eq!(got.len(), sent.len(), "frames captured on the way {way}");
        context.note(format_args!("{way}: {} frames", got.len()));
    }
    wire.delete()
}

fn as_sent(context: &mut Context) -> Outcome {
    compare(
        context,
        Spec {
            mtu: MTU,
            ..Spec::default()
        },
    )
}

fn bare(context: &mut Context) -> Outcome {
    compare(
        context,
        Spec {
            features: Some(wire::plain()),
            mtu: MTU,
            ..Spec::default()
        },
    )
}

fn packed(context: &mut Context) -> Outcome {
    let features = wire::plain()
        | wire::offloads()
        | Features::RING_PACKED.0
        | Features::IN_ORDER.0
        | Features::NET_MRG_RXBUF.0;
    compare(
        context,
        Spec {
            features: Some(features),
            mtu: MTU,
            ..Spec::default()
        },
    )
}
