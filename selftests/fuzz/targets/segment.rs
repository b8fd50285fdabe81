// SPDX-License-Identifier: GPL-2.0

//! Segments of any packet: they are right, and they are the packet again.

use super::checksum::slow;
use crate::{
    choices::Choices,
    told, //
};
use rvdpa_net::{
    checksum::{
        PartialChecksum,
        Sum, //
    },
    frame::{
        Addresses,
        Headers,
        IPPROTO_TCP,
        IPPROTO_UDP,
        MAX_HEADERS, //
    },
    segment::{
        Kind,
        Request,
        Segmenter,
        MAX_SEGMENTS, //
    },
};

/// A packet whose lengths are right, unless `c` will not have it.
fn packet(c: &Choices<'_>) -> Vec<u8> {
    let mut frame = super::headers::frame(c);
    let Some(headers) = Headers::parse(&frame) else {
        return frame;
    };
    let Some(network) = headers.network else {
        return frame;
    };
    let at = usize::from(network.offset);
    let len = frame.len() - at;
    match network.addresses {
        Addresses::V4(..) => frame[at + 2..at + 4].copy_from_slice(&(len as u16).to_be_bytes()),
        Addresses::V6(..) => {
            frame[at + 4..at + 6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        }
    }
    if let Some(transport) = Headers::parse(&frame).and_then(|headers| headers.transport) {
        let at = usize::from(transport.offset);
        if transport.protocol == IPPROTO_UDP {
            let len = (frame.len() - at) as u16;
            frame[at + 4..at + 6].copy_from_slice(&len.to_be_bytes());
        } else {
            frame[at + 13] &= !6;
        }
    }
    frame
}

/// The request for a packet, or any.
fn request(c: &Choices<'_>, headers: &Headers, len: u32) -> Option<Request> {
    let kind = c.u8();
    let size = match kind & 0x30 {
        0 => c.u16(),
        _ => u16::from(c.u8()),
    };
    let known = headers
        .network
        .zip(headers.transport)
        .filter(|_| kind & 0xc != 0);
    let Some((network, transport)) = known else {
        let kind = [Kind::TcpV4, Kind::TcpV6, Kind::Udp, Kind::Udp][usize::from(kind & 3)];
        let checksum = PartialChecksum::new(c.u8().into(), c.u8().into(), len).ok()?;
        return Some(Request {
            kind,
            size,
            checksum,
        });
    };
    let (kind, field) = match (transport.protocol, network.addresses.is_v6()) {
        (IPPROTO_TCP, false) => (Kind::TcpV4, 16),
        (IPPROTO_TCP, true) => (Kind::TcpV6, 16),
        _ => (Kind::Udp, 6),
    };
    Some(Request {
        kind,
        size,
        checksum: PartialChecksum::new(transport.offset, field, len).ok()?,
    })
}

/// Each segment of a packet is right.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    let (choice, padding) = (c.array::<4>(), c.u16());
    let sound = c.u8() & 7 != 0;
    let mut frame = match sound {
        true => packet(&c),
        false => super::headers::frame(&c),
    };
    // A long payload costs no bytes of the input.
    frame.resize(
        frame.len() + usize::from(padding & 0x3ff) * usize::from(sound),
        0x5a,
    );
    if sound {
        frame = packet(&Choices::new(&whole(&frame)));
    }
    let leading = &frame[..frame.len().min(MAX_HEADERS)];
    let Some(headers) = Headers::parse(leading) else {
        return;
    };
    let len = frame.len() as u32;
    let Some(request) = request(&Choices::new(&choice), &headers, len) else {
        return;
    };
    let segmenter = match Segmenter::new(&request, &headers, leading, len) {
        Ok(segmenter) => segmenter,
        Err(error) => {
            told(&error);
            return;
        }
    };
    check(&frame, &segmenter, &request);
}

/// The choices that make this very frame.
fn whole(frame: &[u8]) -> Vec<u8> {
    let mut choices = vec![0xc];
    choices.extend(frame);
    choices
}

fn check(frame: &[u8], segmenter: &Segmenter<'_>, request: &Request) {
    let count = segmenter.count();
    assert!((1..=MAX_SEGMENTS).contains(&count));
    let header_len = usize::from(segmenter.header_len());
    let original = Headers::parse(frame).expect("parsed before");
    let mut at = header_len;
    for index in 0..count {
        let mut room = [0xa5; MAX_HEADERS];
        let segment = segmenter.write(index, &mut room).expect("a segment");
        assert_eq!(segmenter.segment(index), Some(segment));
        assert!(room[header_len..].iter().all(|byte| *byte == 0xa5));
        assert_eq!(segment.offset as usize, at, "a gap");
        at += segment.len as usize;
        let last = index + 1 == count;
        assert!(segment.len > 0 && segment.len <= request.size.into());
        assert!(last || segment.len == request.size.into());
        let payload = &frame[segment.offset as usize..at];
        let mut sum = Sum::new();
        sum.add(payload);
        let mut bytes = room[..header_len].to_vec();
        segmenter
            .checksum()
            .complete(&mut bytes, sum)
            .expect("all headers");
        bytes.extend(payload);
        let headers = Headers::parse(&bytes).expect("an Ethernet header");
        let (network, transport) = headers
            .network
            .zip(headers.transport)
            .expect("the headers of the packet");
        assert_eq!(headers.transport, original.transport);
        assert_eq!(network.end as usize, bytes.len(), "length of a segment");
        let (ip, tcp) = (usize::from(network.offset), usize::from(transport.offset));
        if !network.addresses.is_v6() {
            let extensions = &bytes[ip..tcp];
            assert!(matches!(slow(extensions), 0 | 0xffff), "IPv4 checksum");
        }
        if !network.source_routed {
            let part = &bytes[tcp..];
            let mut all = Sum::pseudo(&network.addresses, transport.protocol, part.len() as u32);
            all.add(part);
            assert_eq!(all.value(), 0xffff, "transport checksum");
        }
    }
    assert_eq!(at, frame.len(), "the payload of all segments");
    assert_eq!(segmenter.segment(count), None);
    let mut room = [0; MAX_HEADERS];
    assert_eq!(segmenter.write(count, &mut room), None);
    let short = &mut room[..header_len - 1];
    assert_eq!(segmenter.write(0, short), None);
}
