// SPDX-License-Identifier: GPL-2.0

//! Finding the headers of any frame.

use crate::choices::Choices;
use rvdpa_net::frame::{
    Addresses,
    Headers,
    IPPROTO_TCP,
    IPPROTO_UDP,
    MAX_HEADERS, //
};

/// A frame that looks like one of IP more often than not: first come bits that tell what is
/// put in front, then the bytes behind that.
pub(super) fn frame(c: &Choices<'_>) -> Vec<u8> {
    let kind = c.u8();
    let mut frame = c.array::<12>().to_vec();
    for _ in 0..(kind & 3) {
        frame.extend(c.one_of(&[[0x81, 0], [0x88, 0xa8]]));
        frame.extend(c.array::<2>());
    }
    match (kind >> 2) & 3 {
        0 => {
            frame.extend([8, 0]);
            let words = 5 + if c.flag() { c.up_to(10) } else { 0 };
            let at = frame.len();
            frame.push(0x40 | words);
            frame.push(0);
            frame.extend(c.array::<5>());
            frame.extend([0, 64, c.one_of(&[IPPROTO_TCP, IPPROTO_UDP, 1])]);
            // Most often no fragment.
            frame[at + 6] &= if kind & 0x10 != 0 { 0xff } else { 0x40 };
            frame.extend(c.array::<10>());
            frame.extend(c.bytes(4 * (usize::from(words) - 5)));
        }
        1 => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(c.array::<2>());
            const EXTENSIONS: [u8; 6] = [IPPROTO_TCP, IPPROTO_UDP, 0, 43, 44, 60];
            frame.extend([c.one_of(&EXTENSIONS), 64]);
            frame.extend(c.array::<32>());
            for _ in 0..((kind >> 4) & 3) {
                frame.extend([c.one_of(&EXTENSIONS), c.u8() & 3]);
                frame.extend(c.array::<6>());
            }
        }
        _ => frame.extend(c.array::<2>()),
    }
    frame.extend(c.rest());
    frame
}

/// What was found is there.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    let bytes = match c.flag() {
        true => frame(&c),
        false => c.rest().to_vec(),
    };
    let found = Headers::parse(&bytes);
    assert_eq!(found.is_none(), bytes.len() < 14);
    let Some(found) = found else {
        return;
    };
    let seen = bytes.len().min(MAX_HEADERS);
    assert_eq!(found.destination, bytes[..6]);
    assert_eq!(found.source, bytes[6..12]);
    assert!(found.vlan.is_none_or(|id| id < 4096));
    // No more is looked at.
    assert_eq!(Headers::parse(&bytes[..seen]), Some(found));
    let Some(network) = found.network else {
        assert_eq!(found.transport, None);
        return;
    };
    let offset = usize::from(network.offset);
    assert!([14, 18, 22].contains(&offset));
    assert_eq!(bytes[offset - 2..offset], found.ethertype.to_be_bytes());
    let version = bytes[offset] >> 4;
    let least = match network.addresses {
        Addresses::V4(source, destination) => {
            assert_eq!((version, found.ethertype), (4, 0x0800));
            assert_eq!(bytes[offset + 12..offset + 16], source);
            assert_eq!(bytes[offset + 16..offset + 20], destination);
            20
        }
        Addresses::V6(source, destination) => {
            assert_eq!((version, found.ethertype), (6, 0x86dd));
            assert_eq!(bytes[offset + 8..offset + 24], source);
            assert_eq!(bytes[offset + 24..offset + 40], destination);
            40
        }
    };
    assert!(offset + least <= seen);
    let Some(transport) = found.transport else {
        return;
    };
    let at = usize::from(transport.offset);
    assert!(!network.fragment);
    assert_eq!(transport.protocol, network.protocol);
    assert!(at >= offset + least && (at - offset - least) % 4 == 0);
    let end = at + usize::from(transport.len);
    assert!(end <= seen && end as u64 <= network.end.into());
    let len = match transport.protocol {
        IPPROTO_TCP => usize::from(bytes[at + 12] >> 4) * 4,
        IPPROTO_UDP => 8,
        other => panic!("protocol {other}"),
    };
    assert_eq!(usize::from(transport.len), len);
    assert_eq!(bytes[at..at + 2], transport.source_port.to_be_bytes());
    assert_eq!(
        bytes[at + 2..at + 4],
        transport.destination_port.to_be_bytes()
    );
}
