// SPDX-License-Identifier: GPL-2.0

//! The Internet checksum: known vectors, and the same as the slow way.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_net::{
    checksum::{
        ChecksumError,
        PartialChecksum,
        Sum, //
    },
    frame::{
        Addresses,
        Headers,
        MAX_HEADERS, //
    },
};
use selftests_net::packets::*;

fn sum(bytes: &[u8]) -> Sum {
    let mut sum = Sum::new();
    sum.add(bytes);
    sum
}

#[test]
fn rfc_1071_example() {
    let sum = sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.value(), 0xddf2);
    assert_eq!(sum.checksum(), 0x220d);
}

#[test]
fn an_ipv4_header() {
    let mut header = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7,
    ];
    assert_eq!(sum(&header).checksum(), 0xb861);
    header[10..12].copy_from_slice(&[0xb8, 0x61]);
    assert_eq!(sum(&header).checksum(), 0);
}

/// The example of a UDP packet that Forouzan's textbook works out by hand.
#[test]
fn a_udp_packet_of_odd_length() {
    let addresses = Addresses::V4([153, 18, 8, 105], [171, 2, 14, 10]);
    let mut sum = Sum::pseudo(&addresses, 17, 15);
    for port in [1087, 13, 15, 0] {
        sum.add_u16(port);
    }
    sum.add(b"TESTING");
    assert_eq!(sum.value(), 0x96eb);
    assert_eq!(sum.checksum(), 0x6914);
}

#[test]
fn nothing_and_zeroes_and_ones() {
    assert_eq!(Sum::new().value(), 0);
    assert_eq!(sum(&[]).value(), 0);
    assert_eq!(sum(&[0; 65536]).value(), 0);
    // What was not zero never becomes zero.
    assert_eq!(sum(&[0xff; 65536]).value(), 0xffff);
    assert_eq!(sum(&[0xff; 7]).value(), 0xff00);
}

#[test]
fn pseudo_headers() {
    for len in [0, 20, 65535] {
        assert_eq!(
            Sum::pseudo(&Addresses::V4(V4.0, V4.1), 6, len).value(),
            naive(&pseudo_v4(6, len as usize)),
        );
    }
    for len in [0, 8, 65535, 65536, u32::MAX] {
        assert_eq!(
            Sum::pseudo(&Addresses::V6(V6.0, V6.1), 17, len).value(),
            naive(&pseudo_v6(17, len as usize)),
        );
    }
}

proptest! {
    #[test]
    fn any_pieces_make_the_same_sum(
        pieces in vec(vec(any::<u8>(), 0..70), 0..12),
        ones in any::<bool>(),
    ) {
        let mut pieces = pieces;
        if ones {
            pieces.iter_mut().flatten().for_each(|byte| *byte |= 0xf0);
        }
        let all = pieces.concat();
        let mut added = Sum::new();
        let mut appended = Sum::new();
        for piece in &pieces {
            added.add(piece);
            appended.append(sum(piece));
        }
        prop_assert_eq!(added.value(), naive(&all));
        prop_assert_eq!(appended.value(), naive(&all));
        prop_assert_eq!(sum(&all).value(), naive(&all));
        prop_assert_eq!(sum(&all).checksum(), !naive(&all));
    }

    /// Whatever is prepared, the whole is right afterwards, wherever the leading bytes end.
    #[test]
    fn a_completed_checksum_is_right(
        mut bytes in vec(any::<u8>(), 20..600),
        start in 14_u16..250,
        offset in (0_u16..120).prop_map(|half| 2 * half),
        cut in any::<prop::sample::Index>(),
    ) {
        let len = bytes.len() as u32;
        let Ok(checksum) = PartialChecksum::new(start, offset, len) else {
            let end = u32::from(start + offset) + 2;
            prop_assert!(end > len || end > MAX_HEADERS as u32);
            return Ok(());
        };
        prop_assert_eq!((checksum.start(), checksum.offset()), (start, offset));
        let field = usize::from(start + offset);
        prop_assert_eq!(checksum.end(), field + 2);
        let seed = naive(&bytes[field..field + 2]);
        let cut = field + 2 + cut.index(bytes.len() - field - 1);
        let before = bytes.clone();
        let (leading, rest) = bytes.split_at_mut(cut);
        prop_assert_eq!(checksum.complete(leading, sum(rest)), Some(()));
        let covered = &bytes[usize::from(start)..];
        // The prepared sum has gone from the field, and counts still.
        let whole = naive(&[&seed.to_be_bytes()[..], covered].concat());
        prop_assert!(whole == 0xffff || whole == 0, "{whole:#x}");
        prop_assert_ne!(&bytes[field..field + 2], &[0; 2]);
        bytes[field..field + 2].copy_from_slice(&before[field..field + 2]);
        prop_assert_eq!(bytes, before);
    }
}

#[test]
fn zero_is_never_the_checksum() {
    // The field holds what the rest lacks to 0xffff.
    let mut frame = [0; 40];
    frame[14..16].copy_from_slice(&[0x12, 0x34]);
    frame[20..22].copy_from_slice(&[0xed, 0xcb]);
    let checksum = PartialChecksum::new(14, 6, 40).unwrap();
    assert_eq!(checksum.complete(&mut frame, Sum::new()), Some(()));
    assert_eq!(frame[20..22], [0xff, 0xff]);
}

#[test]
fn too_few_leading_bytes() {
    let mut frame = [7; 40];
    let checksum = PartialChecksum::new(14, 6, 40).unwrap();
    assert_eq!(checksum.end(), 22);
    for len in 0..22 {
        assert_eq!(checksum.complete(&mut frame[..len], Sum::new()), None);
        assert_eq!(frame, [7; 40]);
    }
    assert_eq!(checksum.complete(&mut frame[..22], Sum::new()), Some(()));
}

#[test]
fn where_a_checksum_may_be() {
    let new = PartialChecksum::new;
    assert_eq!(new(13, 16, 1000), Err(ChecksumError::Start(13)));
    assert_eq!(new(0, 0, 1000), Err(ChecksumError::Start(0)));
    assert!(new(14, 0, 16).is_ok());
    let field = |field, len| Err(ChecksumError::Field { field, len });
    assert_eq!(new(14, 0, 15), field(14, 15));
    assert_eq!(new(34, 16, 51), field(50, 51));
    assert!(new(34, 16, 52).is_ok());
    assert_eq!(new(u16::MAX, u16::MAX, 65549), field(131070, 65549));
    assert!(new(240, 14, 1000).is_ok());
    assert_eq!(new(240, 15, 1000), Err(ChecksumError::Far(255)));
    assert_eq!(new(u16::MAX, 0, 70000), Err(ChecksumError::Far(65535)));
    assert_eq!(
        new(u16::MAX, u16::MAX, u32::MAX),
        Err(ChecksumError::Far(131070))
    );
}

#[test]
fn errors_say_what_is_wrong() {
    for (error, text) in [
        (
            ChecksumError::Start(3),
            "checksum from byte 3, in the Ethernet header",
        ),
        (
            ChecksumError::Field { field: 50, len: 51 },
            "checksum field at byte 50 of a frame of 51",
        ),
        (
            ChecksumError::Far(255),
            "checksum field at byte 255, not within the first 256",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn the_checksum_of_the_transport_header() {
    for v6 in [false, true] {
        for tcp in [false, true] {
            let packet = Packet::new(v6, tcp, 33).tagged(5);
            let frame = packet.frame();
            let headers = Headers::parse(&frame).unwrap();
            let at = packet.transport() as u16;
            let is_transport = |start, offset| {
                PartialChecksum::new(start, offset, frame.len() as u32)
                    .unwrap()
                    .is_transport(&headers)
            };
            assert!(is_transport(at, packet.checksum_offset()));
            assert!(!is_transport(at, 22 - packet.checksum_offset()));
            assert!(!is_transport(at + 2, packet.checksum_offset()));
            assert!(!is_transport(at - 2, packet.checksum_offset()));
        }
    }
    let other = Headers::parse(&[0; 60]).unwrap();
    assert!(!PartialChecksum::new(34, 16, 60)
        .unwrap()
        .is_transport(&other));
}

#[test]
fn a_partial_checksum_is_filled_in() {
    for v6 in [false, true] {
        for tcp in [false, true] {
            for len in [0, 1, 2, 7, 1400, 1401] {
                let packet = Packet::new(v6, tcp, len);
                let mut frame = packet.frame();
                let at = packet.transport() as u16;
                let checksum =
                    PartialChecksum::new(at, packet.checksum_offset(), frame.len() as u32).unwrap();
                let (leading, rest) = frame.split_at_mut(packet.header_len());
                checksum.complete(leading, sum(rest)).unwrap();
                verify(&frame);
            }
        }
    }
}
