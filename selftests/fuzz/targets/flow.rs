// SPDX-License-Identifier: GPL-2.0

//! Which queue a packet goes to: hashes against the slow way, indirection.

use crate::choices::Choices;
use rvdpa_net::{
    flow::{
        spread,
        symmetric,
        HashTypes,
        Toeplitz,
        KEY_LEN,
        SUMS, //
    },
    frame::{
        Addresses,
        Headers,
        IPPROTO_TCP, //
    },
};

/// The Toeplitz hash, bit by bit.
fn slow(key: &[u8; KEY_LEN], input: &[u8]) -> u32 {
    let bit = |bytes: &[u8], at: usize| (bytes[at / 8] >> (7 - at % 8)) & 1;
    let mut hash = 0;
    for at in (0..input.len() * 8).filter(|at| bit(input, *at) != 0) {
        for place in 0..32 {
            hash ^= u32::from(bit(key, at + place)) << (31 - place);
        }
    }
    hash
}

/// Hashes of a frame and of its answer.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    let types = HashTypes(u32::from(c.u8()));
    let count = c.u16();
    let len = usize::from(c.up_to(48));
    let mut key = [0; KEY_LEN];
    let seed = c.bytes(len.min(8));
    let given: Vec<u8> = seed.iter().cycle().take(len).copied().collect();
    for (to, from) in key.iter_mut().zip(&given) {
        *to = *from;
    }
    let toeplitz = Toeplitz::new([[0; 16]; SUMS], &given);
    let frame = super::headers::frame(&c);
    assert_eq!(
        toeplitz.hash_bytes(&frame),
        slow(&key, &frame[..frame.len().min(36)])
    );
    let Some(headers) = Headers::parse(&frame) else {
        return;
    };
    let queue = spread(symmetric(&headers), count);
    assert!(queue < count || (count == 0 && queue == 0));
    assert_eq!(symmetric(&answer(headers)), symmetric(&headers));
    check(&toeplitz, &key, &headers, types);
}

/// The same flow the other way.
fn answer(mut headers: Headers) -> Headers {
    core::mem::swap(&mut headers.source, &mut headers.destination);
    if let Some(network) = &mut headers.network {
        network.addresses = match network.addresses {
            Addresses::V4(source, destination) => Addresses::V4(destination, source),
            Addresses::V6(source, destination) => Addresses::V6(destination, source),
        };
    }
    if let Some(transport) = &mut headers.transport {
        core::mem::swap(&mut transport.source_port, &mut transport.destination_port);
    }
    headers
}

/// The hash of a packet is that of its most telling type.
fn check(toeplitz: &Toeplitz, key: &[u8; KEY_LEN], headers: &Headers, types: HashTypes) {
    let hash = toeplitz.hash(headers, types);
    let Some(network) = headers.network else {
        assert_eq!(hash, None);
        return;
    };
    let (mut input, shift) = match network.addresses {
        Addresses::V4(source, destination) => ([source, destination].concat(), 0),
        Addresses::V6(source, destination) => ([source, destination].concat(), 3),
    };
    let ports = headers.transport.map(|transport| {
        let kind = match transport.protocol {
            IPPROTO_TCP => 1,
            _ => 2,
        };
        (kind, transport.source_port, transport.destination_port)
    });
    let mut kind = 0;
    if let Some((by_port, source, destination)) = ports {
        if (types.0 >> (shift + by_port)) & 1 != 0 {
            kind = by_port;
            input.extend(source.to_be_bytes());
            input.extend(destination.to_be_bytes());
        }
    }
    if (types.0 >> (shift + kind)) & 1 == 0 {
        assert_eq!(hash, None);
        return;
    }
    let hash = hash.expect("one of the types");
    assert_eq!(hash.value, slow(key, &input));
    assert_eq!(u32::from(hash.report), shift + kind + 1);
}
