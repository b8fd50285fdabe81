// SPDX-License-Identifier: GPL-2.0

//! Segments: what each of them is, and that they are the packet again.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_net::{
    checksum::{
        PartialChecksum,
        Sum, //
    },
    frame::{
        Headers,
        ETH_P_8021AD,
        MAX_HEADERS, //
    },
    segment::{
        Kind,
        Request,
        Segment,
        Segmenter,
        MAX_SEGMENTS, //
    },
};
use selftests_net::packets::{
    tcp::*,
    *, //
};

/// What is asked for a packet.
fn request(packet: &Packet, size: u16) -> Request {
    let frame_len = packet.header_len() + packet.payload.len();
    Request {
        kind: match (packet.tcp, packet.v6) {
            (true, false) => Kind::TcpV4,
            (true, true) => Kind::TcpV6,
            (false, _) => Kind::Udp,
        },
        size,
        checksum: PartialChecksum::new(
            packet.transport() as u16,
            packet.checksum_offset(),
            frame_len as u32,
        )
        .unwrap(),
    }
}

/// The segments of a packet, each with its checksum filled in, and with the sum that was
/// prepared.
#[track_caller]
fn segments(packet: &Packet, size: u16) -> Vec<(Vec<u8>, u16)> {
    let frame = packet.frame();
    let leading = &frame[..frame.len().min(MAX_HEADERS)];
    let headers = Headers::parse(leading).unwrap();
    let segmenter = Segmenter::new(
        &request(packet, size),
        &headers,
        leading,
        frame.len() as u32,
    )
    .unwrap();
    let len = packet.header_len();
    assert_eq!(usize::from(segmenter.header_len()), len);
    assert_eq!(segmenter.is_v6(), packet.v6);
    let count = segmenter.count();
    assert_eq!(
        count as usize,
        packet.payload.len().div_ceil(usize::from(size))
    );
    let mut room = [0xa5; MAX_HEADERS];
    assert_eq!(segmenter.segment(count), None);
    assert_eq!(segmenter.write(count, &mut room), None);
    assert_eq!(segmenter.write(u32::MAX, &mut room), None);
    assert_eq!(room, [0xa5; MAX_HEADERS]);
    (0..count)
        .map(|index| {
            let Segment { offset, len: part } = segmenter.write(index, &mut room).unwrap();
            assert_eq!(
                segmenter.segment(index),
                Some(Segment { offset, len: part })
            );
            assert!(room[len..].iter().all(|&byte| byte == 0xa5));
            let payload = &frame[offset as usize..(offset + part) as usize];
            let mut sum = Sum::new();
            sum.add(payload);
            let checksum = segmenter.checksum();
            let field = checksum.end() - 2;
            let prepared = u16::from_be_bytes([room[field], room[field + 1]]);
            checksum.complete(&mut room[..len], sum).unwrap();
            ([&room[..len], payload].concat(), prepared)
        })
        .collect()
}

/// The two bytes at `at`.
fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// A packet of which each byte of the headers that must not change is checked, too.
#[track_caller]
fn check(packet: &Packet, size: u16) {
    let frame = packet.frame();
    let original = Headers::parse(&frame).unwrap();
    let (ip, at, len) = (packet.network(), packet.transport(), packet.header_len());
    let segments = segments(packet, size);
    let count = segments.len();
    let mut payload: Vec<u8> = Vec::new();
    for (index, (segment, prepared)) in segments.iter().enumerate() {
        let headers = verify(segment);
        assert_eq!(headers.vlan, original.vlan);
        assert_eq!(headers.transport, original.transport);
        let transport_len = segment.len() - at;
        let pseudo = match packet.v6 {
            true => pseudo_v6(packet.protocol(), transport_len),
            false => pseudo_v4(packet.protocol(), transport_len),
        };
        assert_eq!(*prepared, naive(&pseudo), "prepared checksum");
        // What may differ from the packet's headers, put back.
        let mut same = segment[..len].to_vec();
        if packet.v6 {
            same[ip + 4..ip + 6].copy_from_slice(&frame[ip + 4..ip + 6]);
        } else {
            assert_eq!(word(segment, ip + 4), packet.id.wrapping_add(index as u16));
            same[ip + 2..ip + 6].copy_from_slice(&frame[ip + 2..ip + 6]);
            same[ip + 10..ip + 12].copy_from_slice(&frame[ip + 10..ip + 12]);
        }
        if packet.tcp {
            let sequence = u32::from_be_bytes(segment[at + 4..at + 8].try_into().unwrap());
            let passed = payload.len() as u32;
            assert_eq!(sequence, packet.sequence.wrapping_add(passed));
            let mut flags = packet.flags;
            if index != 0 {
                flags &= !CWR;
            }
            if index + 1 != count {
                flags &= !(FIN | PSH);
            }
            let urgent = u32::from(packet.urgent);
            match flags & URG != 0 {
                true if urgent >= passed => {
                    assert_eq!(u32::from(word(segment, at + 18)), urgent - passed);
                }
                true => {
                    assert_eq!(word(segment, at + 18), 0);
                    flags &= !URG;
                }
                false => assert_eq!(word(segment, at + 18), packet.urgent),
            }
            assert_eq!(segment[at + 13], flags, "flags of segment {index}");
            same[at + 4..at + 8].copy_from_slice(&frame[at + 4..at + 8]);
            same[at + 13] = frame[at + 13];
            same[at + 16..at + 20].copy_from_slice(&frame[at + 16..at + 20]);
        } else {
            same[at + 4..at + 8].copy_from_slice(&frame[at + 4..at + 8]);
        }
        assert_eq!(same, frame[..len]);
        let part = &segment[len..];
        assert!(!part.is_empty() && part.len() <= usize::from(size));
        assert!(part.len() == usize::from(size) || index + 1 == count);
        payload.extend(part);
    }
    assert_eq!(payload, packet.payload);
}

#[test]
fn each_kind() {
    for v6 in [false, true] {
        for tcp in [false, true] {
            for len in [1, 1000, 1001, 2000, 3333] {
                check(&Packet::new(v6, tcp, len), 1000);
            }
        }
    }
}

/// The bytes of a segment, by hand.
#[test]
fn a_known_segment() {
    let mut packet = Packet::new(false, true, 5);
    packet.payload = b"hello world!".to_vec();
    packet.flags = ACK | PSH | CWR;
    packet.id = 0xffff;
    let segments = segments(&packet, 8);
    assert_eq!(segments.len(), 2);
    let mut second = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    second.extend([0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6]);
    // 0x4500 + 44 + 0x4000 + 0x4006 + 0xc000 + 0x0201 + 0xc633 + 0x6407 is 0x2b16d.
    second.extend([0x4e, 0x90]);
    second.extend([192, 0, 2, 1, 198, 51, 100, 7]);
    second.extend([0x9c, 0x40, 0x01, 0xbb, 0xff, 0xff, 0xf0, 8, 1, 2, 3, 4]);
    second.extend([0x50, ACK | PSH, 0x20, 0]);
    // These words, the payload's and those of the pseudo header are 0x5c506.
    second.extend([0x3a, 0xf4, 0, 0]);
    second.extend(b"rld!");
    assert_eq!(segments[1].0, second);
    assert_eq!(segments[0].0[47], ACK | CWR);
    assert_eq!(&segments[0].0[54..], b"hello wo");
}

#[test]
fn the_largest_packets() {
    for v6 in [false, true] {
        let mut packet = Packet::new(v6, true, 0).tagged(1).tagged(2);
        packet.sequence = u32::MAX - 100;
        let ip = if v6 { 0 } else { 20 };
        packet.payload = vec![0xee; 65535 - ip - 20];
        for size in [8, 1448, 65534] {
            check(&packet, size);
        }
    }
    let mut packet = Packet::new(false, false, 0);
    packet.payload = vec![0x11; 65535 - 28];
    check(&packet, 512);
}

#[test]
fn no_packet_has_more_segments() {
    let packet = Packet::new(true, true, 65515);
    let count = segments(&packet, 8).len();
    assert_eq!(count, 65515_usize.div_ceil(8));
    assert!(count as u32 <= MAX_SEGMENTS);
}

#[test]
fn flags_of_tcp() {
    for flags in 0..=0xff_u8 {
        if flags & (SYN | RST) == 0 {
            let mut packet = Packet::new(false, true, 30);
            packet.flags = flags;
            packet.urgent = 12;
            check(&packet, 10);
            check(&packet, 30);
        }
    }
}

#[test]
fn the_urgent_pointer() {
    for urgent in [0, 1, 9, 10, 11, 29, 30, 31, 65535] {
        let mut packet = Packet::new(true, true, 30);
        packet.flags = ACK | URG;
        packet.urgent = urgent;
        check(&packet, 10);
    }
}

/// A UDP segment whose checksum comes out as zero has 0xffff instead.
#[test]
fn a_udp_checksum_of_zero() {
    let mut packet = Packet::new(false, false, 20);
    packet.payload[8..10].fill(0);
    let frame = packet.frame();
    let mut segment = pseudo_v4(17, 18);
    segment.extend(&frame[34..38]);
    segment.extend(18_u16.to_be_bytes());
    segment.extend(&packet.payload[..10]);
    let lacking = !naive(&segment);
    packet.payload[8..10].copy_from_slice(&lacking.to_be_bytes());
    let segments = segments(&packet, 10);
    assert_eq!(word(&segments[0].0, 40), 0xffff);
    check(&packet, 10);
}

/// With stops left on the way, the destination that counts is not the one in the header:
/// what the driver prepared is taken over, whatever it was.
#[test]
fn source_routed_packets() {
    for tcp in [false, true] {
        let mut routing = vec![0; 23];
        routing[0] = 2;
        routing[2] = 1;
        let mut packet = Packet::new(true, tcp, 100);
        packet.extensions = vec![(43, routing)];
        let mut frame = packet.frame();
        let at = packet.transport();
        let field = at + usize::from(packet.checksum_offset());
        // The last destination, by which the sum differs.
        let difference = 0x1234_u16;
        let last = [&frame[field..field + 2], &difference.to_be_bytes()].concat();
        frame[field..field + 2].copy_from_slice(&naive(&last).to_be_bytes());
        let headers = Headers::parse(&frame).unwrap();
        let segmenter =
            Segmenter::new(&request(&packet, 30), &headers, &frame, frame.len() as u32).unwrap();
        let mut room = [0; MAX_HEADERS];
        for index in 0..4 {
            let segment = segmenter.write(index, &mut room).unwrap();
            let len = packet.header_len() - at + segment.len as usize;
            let pseudo = pseudo_v6(packet.protocol(), len);
            let whole = [&pseudo[..], &difference.to_be_bytes()].concat();
            assert_eq!(word(&room, field), naive(&whole));
        }
    }
}

#[test]
fn too_little_room_for_headers() {
    let packet = Packet::new(false, true, 100);
    let frame = packet.frame();
    let headers = Headers::parse(&frame).unwrap();
    let segmenter =
        Segmenter::new(&request(&packet, 10), &headers, &frame, frame.len() as u32).unwrap();
    let mut room = [0; 54];
    for len in 0..54 {
        assert_eq!(segmenter.write(0, &mut room[..len]), None);
    }
    assert_eq!(room, [0; 54]);
    assert!(segmenter.write(0, &mut room).is_some());
}

/// A packet of any shape that can be segmented.
fn packet() -> impl Strategy<Value = Packet> {
    let tag = (
        prop::sample::select(vec![0x8100, ETH_P_8021AD]),
        any::<u16>(),
    );
    let extension = (prop::sample::select(vec![43, 60]), 0..4_u8).prop_map(|(kind, eights)| {
        let mut rest = vec![0; usize::from(eights) * 8 + 7];
        rest[0] = eights;
        (kind, rest)
    });
    let ip = (
        any::<bool>(),
        0..=10_usize,
        vec(extension, 0..4),
        any::<u16>(),
    );
    let transport = (
        any::<bool>(),
        0..=10_usize,
        any::<u8>(),
        any::<u32>(),
        any::<u16>(),
    );
    (vec(tag, 0..3), ip, transport, vec(any::<u8>(), 1..3000)).prop_map(
        |(
            tags,
            (v6, words, extensions, id),
            (tcp, tcp_words, flags, sequence, urgent),
            payload,
        )| {
            Packet {
                tags,
                v6,
                ip_options: vec![1; words * 4],
                extensions,
                id,
                tcp,
                tcp_options: (0..tcp_words * 4).map(|at| at as u8 + 1).collect(),
                flags: flags & !(SYN | RST),
                sequence,
                urgent,
                payload,
            }
        },
    )
}

proptest! {
    #[test]
    fn segments_are_the_packet(packet in packet(), size in 8_u16..4000) {
        let size = match packet.tcp {
            true => size,
            false => size.max(packet.payload.len().div_ceil(128) as u16),
        };
        check(&packet, size);
    }
}
