// SPDX-License-Identifier: GPL-2.0

//! Packets that are not what they are said to be: each rule has an error of its own, and
//! what is not refused harms no receiver.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_net::{
    checksum::PartialChecksum,
    frame::{
        Headers,
        ETH_P_IP,
        ETH_P_IPV6,
        MAX_HEADERS, //
    },
    segment::{
        Kind,
        Request,
        SegmentError,
        Segmenter,
        MAX_SEGMENTS, //
    },
};
use selftests_net::packets::{
    tcp::*,
    *, //
};

/// What is asked of a packet of a kind, with the transport header at `start`.
fn request(kind: Kind, size: u16, start: usize) -> Request {
    let offset = if kind == Kind::Udp { 6 } else { 16 };
    Request {
        kind,
        size,
        checksum: PartialChecksum::new(start as u16, offset, u32::MAX).unwrap(),
    }
}

/// What comes of a request for a frame.
fn outcome(request: &Request, frame: &[u8]) -> Result<u32, SegmentError> {
    let leading = &frame[..frame.len().min(MAX_HEADERS)];
    let headers = Headers::parse(leading).unwrap();
    Segmenter::new(request, &headers, leading, frame.len() as u32)
        .map(|segmenter| segmenter.count())
}

#[test]
fn another_version_or_protocol() {
    let kinds = [Kind::TcpV4, Kind::TcpV6, Kind::Udp];
    for v6 in [false, true] {
        for tcp in [false, true] {
            let packet = Packet::new(v6, tcp, 100);
            for kind in kinds {
                let wanted = match (kind, v6, tcp) {
                    (Kind::TcpV4, true, _) | (Kind::TcpV6, false, _) => Err(SegmentError::Version),
                    (Kind::TcpV4 | Kind::TcpV6, _, false) => Err(SegmentError::Transport(6)),
                    (Kind::Udp, _, true) => Err(SegmentError::Transport(17)),
                    _ => Ok(2),
                };
                let request = request(kind, 60, packet.transport());
                assert_eq!(outcome(&request, &packet.frame()), wanted, "{kind:?}");
            }
        }
    }
    for kind in kinds {
        let request = request(kind, 60, 34);
        assert_eq!(outcome(&request, &[0; 100]), Err(SegmentError::Version));
    }
}

#[test]
fn fragments() {
    let mut frame = Packet::new(false, true, 100).frame();
    frame[20] = 0x20;
    let v4 = request(Kind::TcpV4, 60, 34);
    assert_eq!(outcome(&v4, &frame), Err(SegmentError::Fragment));
    // The only fragment, too.
    let mut packet = Packet::new(true, false, 100);
    packet.extensions = vec![(44, vec![0; 7])];
    let v6 = request(Kind::Udp, 60, packet.transport());
    assert_eq!(outcome(&v6, &packet.frame()), Err(SegmentError::Fragment));
}

#[test]
fn headers_that_are_not_whole() {
    let packet = Packet::new(false, true, 100);
    let mut frame = packet.frame();
    let request = request(Kind::TcpV4, 60, 34);
    frame[46] = 0x40;
    let error = Err(SegmentError::Transport(6));
    assert_eq!(outcome(&request, &frame), error);
    let frame = packet.frame();
    assert_eq!(outcome(&request, &frame[..53]), error);
    // Headers that are not those of these bytes.
    let headers = Headers::parse(&frame).unwrap();
    for len in 0..54 {
        let segmenter = Segmenter::new(&request, &headers, &frame[..len], frame.len() as u32);
        assert_eq!(segmenter.map(|s| s.count()), error);
    }
}

#[test]
fn another_checksum() {
    let packet = Packet::new(true, true, 100);
    let frame = packet.frame();
    for (start, offset) in [(54, 6), (54, 14), (54, 18), (53, 16), (56, 14), (14, 16)] {
        let checksum = PartialChecksum::new(start, offset, 174).unwrap();
        let request = Request {
            checksum,
            ..request(Kind::TcpV6, 60, 54)
        };
        let error = SegmentError::Checksum { start, offset };
        assert_eq!(outcome(&request, &frame), Err(error));
    }
}

#[test]
fn other_lengths() {
    for (v6, at) in [(false, 16), (true, 18)] {
        let packet = Packet::new(v6, true, 100);
        let kind = if v6 { Kind::TcpV6 } else { Kind::TcpV4 };
        let request = request(kind, 60, packet.transport());
        let mut frame = packet.frame();
        let len = frame.len() as u32;
        let error = |end, len| Err(SegmentError::Length { end, len });
        // Padding, and a byte that lacks.
        frame.push(0);
        assert_eq!(outcome(&request, &frame), error(len, len + 1));
        assert_eq!(
            outcome(&request, &frame[..len as usize - 1]),
            error(len, len - 1)
        );
        // A packet without a length, as a jumbogram would be.
        frame[at..at + 2].fill(0);
        let wanted = match v6 {
            true => Err(SegmentError::Transport(6)),
            false => Err(SegmentError::Version),
        };
        assert_eq!(outcome(&request, &frame), wanted);
    }
    let packet = Packet::new(false, false, 100);
    let mut frame = packet.frame();
    frame[39] -= 1;
    assert_eq!(
        outcome(&request(Kind::Udp, 60, 34), &frame),
        Err(SegmentError::Length { end: 141, len: 142 })
    );
}

#[test]
fn more_than_a_packet_can_be() {
    let packet = Packet::new(false, true, 65496);
    let frame = packet.frame();
    // The length in the header has gone round to zero.
    let request = request(Kind::TcpV4, 1448, 34);
    assert_eq!(outcome(&request, &frame), Err(SegmentError::Version));
}

#[test]
fn no_payload() {
    for (v6, tcp, kind) in [
        (false, true, Kind::TcpV4),
        (true, true, Kind::TcpV6),
        (false, false, Kind::Udp),
        (true, false, Kind::Udp),
    ] {
        let packet = Packet::new(v6, tcp, 0);
        let request = request(kind, 60, packet.transport());
        assert_eq!(outcome(&request, &packet.frame()), Err(SegmentError::Empty));
    }
}

#[test]
fn sizes() {
    let tcp = Packet::new(false, true, 1000).frame();
    for (size, wanted) in [
        (0, Err(SegmentError::Size(0))),
        (1, Err(SegmentError::Size(1))),
        (7, Err(SegmentError::Size(7))),
        (8, Ok(125)),
        (999, Ok(2)),
        (1000, Ok(1)),
        (65534, Ok(1)),
        (65535, Err(SegmentError::Size(65535))),
    ] {
        assert_eq!(outcome(&request(Kind::TcpV4, size, 34), &tcp), wanted);
    }
    let udp = Packet::new(true, false, 128).frame();
    let longer = Packet::new(true, false, 129).frame();
    let udp_request = |size| request(Kind::Udp, size, 54);
    assert_eq!(outcome(&udp_request(0), &udp), Err(SegmentError::Size(0)));
    assert_eq!(outcome(&udp_request(1), &udp), Ok(128));
    assert_eq!(
        outcome(&udp_request(1), &longer),
        Err(SegmentError::Count(129))
    );
    assert_eq!(outcome(&udp_request(2), &longer), Ok(65));
    assert_eq!(
        outcome(&udp_request(u16::MAX), &udp),
        Err(SegmentError::Size(u16::MAX))
    );
}

#[test]
fn flags_that_start_or_reset() {
    for flags in [SYN, RST, SYN | ACK, RST | ACK | PSH] {
        let mut packet = Packet::new(false, true, 1000);
        packet.flags = flags;
        assert_eq!(
            outcome(&request(Kind::TcpV4, 100, 34), &packet.frame()),
            Err(SegmentError::Flags(flags))
        );
    }
}

#[test]
fn errors_say_what_is_wrong() {
    for (error, text) in [
        (
            SegmentError::Version,
            "no IP header of the version to be segmented",
        ),
        (SegmentError::Fragment, "a fragment to be segmented"),
        (
            SegmentError::Transport(6),
            "no header of IP protocol 6 to be segmented",
        ),
        (
            SegmentError::Checksum {
                start: 34,
                offset: 6,
            },
            "checksum from byte 34, at 6, of a packet to be segmented that has it elsewhere",
        ),
        (
            SegmentError::Length { end: 99, len: 100 },
            "packet to be segmented that ends at byte 99 of a frame of 100",
        ),
        (SegmentError::Empty, "nothing to be segmented"),
        (SegmentError::Size(7), "segments of 7 bytes"),
        (SegmentError::Count(129), "129 segments"),
        (SegmentError::Flags(2), "TCP flags 0x02 to be segmented"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

/// What Linux asks of a large packet that it receives, as far as its header and its leading
/// bytes tell (`virtio_net_hdr_to_skb`, and segmentation afterwards).
fn linux_takes(request: &Request, frame: &[u8]) -> bool {
    let len = frame.len();
    let start = usize::from(request.checksum.start());
    let (v6, transport_len, offset) = match request.kind {
        Kind::TcpV4 => (false, 20, 16),
        Kind::TcpV6 => (true, 20, 16),
        Kind::Udp => (false, 8, 6),
    };
    let size = usize::from(request.size);
    let limit = if request.kind == Kind::Udp {
        128
    } else {
        65535
    };
    let header_len = match request.kind {
        Kind::Udp => start + 8,
        _ => start + usize::from(frame.get(start + 12).unwrap_or(&0) >> 4) * 4,
    };
    start >= if v6 { 40 } else { 20 }
        && start + transport_len <= len
        && usize::from(request.checksum.offset()) == offset
        && header_len >= start + transport_len
        && header_len < len
        && size != 0
        && size != 65535
        && len - start - transport_len <= size * limit
}

proptest! {
    /// Random bytes, made to look like a packet, with lies in the header: nothing panics,
    /// and what is taken is sound.
    #[test]
    fn hostile_headers(
        v6 in any::<bool>(),
        tcp in any::<bool>(),
        len in 0..400_usize,
        changes in vec((0..110_usize, any::<u8>()), 0..4),
        cut in 0..3_usize,
        kind in prop::sample::select(vec![Kind::TcpV4, Kind::TcpV6, Kind::Udp]),
        true_kind in prop::bool::weighted(0.8),
        size in prop_oneof![0..20_u16, 0..500_u16, any::<u16>()],
        start in prop_oneof![4 => Just(None), 1 => (14..200_u16).prop_map(Some)],
        offset in prop_oneof![4 => Just(None), 1 => (0..40_u16).prop_map(Some)],
    ) {
        let packet = Packet::new(v6, tcp, len);
        let mut frame = packet.frame();
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.truncate(frame.len() - cut);
        let kind = match (true_kind, tcp, v6) {
            (false, _, _) => kind,
            (_, false, _) => Kind::Udp,
            (_, true, false) => Kind::TcpV4,
            (_, true, true) => Kind::TcpV6,
        };
        let start = start.unwrap_or(packet.transport() as u16);
        let offset = offset.unwrap_or(packet.checksum_offset());
        let Ok(checksum) = PartialChecksum::new(start, offset, frame.len() as u32) else {
            return Ok(());
        };
        check(&Request { kind, size, checksum }, &frame)?;
    }

    /// Nothing but random bytes, and headers of another frame.
    #[test]
    fn headers_of_another_frame(
        bytes in vec(any::<u8>(), 0..300),
        packet_len in 0..300_usize,
        v6 in any::<bool>(),
        tcp in any::<bool>(),
        size in any::<u16>(),
    ) {
        let packet = Packet::new(v6, tcp, packet_len);
        let frame = packet.frame();
        let headers = Headers::parse(&frame).unwrap();
        let kind = match (tcp, v6) {
            (false, _) => Kind::Udp,
            (true, false) => Kind::TcpV4,
            (true, true) => Kind::TcpV6,
        };
        let request = request(kind, size, packet.transport());
        if let Ok(segmenter) = Segmenter::new(&request, &headers, &bytes, frame.len() as u32) {
            let mut room = [0; MAX_HEADERS];
            for index in 0..segmenter.count() {
                prop_assert!(segmenter.write(index, &mut room).is_some());
            }
        }
    }

    /// A frame of random bytes with an Ethernet type.
    #[test]
    fn random_frames(
        mut frame in vec(any::<u8>(), 14..300),
        ethertype in prop::sample::select(vec![ETH_P_IP, ETH_P_IPV6]),
        kind in prop::sample::select(vec![Kind::TcpV4, Kind::TcpV6, Kind::Udp]),
        size in any::<u16>(),
        start in any::<u16>(),
        offset in any::<u16>(),
    ) {
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        if let Ok(checksum) = PartialChecksum::new(start, offset, frame.len() as u32) {
            check(&Request { kind, size, checksum }, &frame)?;
        }
    }
}

/// What is taken: each segment has headers that parse again, and the whole is one that
/// Linux takes.
fn check(request: &Request, frame: &[u8]) -> Result<(), TestCaseError> {
    let leading = &frame[..frame.len().min(MAX_HEADERS)];
    let headers = Headers::parse(leading).unwrap();
    let Ok(segmenter) = Segmenter::new(request, &headers, leading, frame.len() as u32) else {
        return Ok(());
    };
    prop_assert!(linux_takes(request, frame));
    let (count, len) = (segmenter.count(), u32::from(segmenter.header_len()));
    prop_assert!((1..=MAX_SEGMENTS).contains(&count));
    let mut room = [0; MAX_HEADERS];
    let mut at = len;
    for index in 0..count {
        let segment = segmenter.write(index, &mut room).unwrap();
        prop_assert_eq!(segment.offset, at);
        prop_assert!((1..=u32::from(request.size)).contains(&segment.len));
        at += segment.len;
        let again = Headers::parse(&room[..len as usize]).unwrap();
        prop_assert_eq!(
            again.network.map(|network| network.end),
            Some(len + segment.len)
        );
        prop_assert_eq!(again.transport, headers.transport);
    }
    prop_assert_eq!(at as usize, frame.len());
    Ok(())
}
