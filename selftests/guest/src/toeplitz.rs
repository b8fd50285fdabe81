// SPDX-License-Identifier: GPL-2.0

//! The hash by which receivers spread flows, bit by bit, as its definition has it.

use std::net::SocketAddr;

/// The hash of some bytes. The key must be 4 bytes longer at least.
pub fn hash(key: &[u8], input: &[u8]) -> u32 {
    let bit = |bytes: &[u8], at: usize| {
        let byte = bytes.get(at / 8).copied().unwrap_or_default();
        byte >> (7 - at % 8) & 1 == 1
    };
    let window =
        |from: usize| (0..32).fold(0, |word, at| word << 1 | u32::from(bit(key, from + at)));
    (0..input.len() * 8)
        .filter(|at| bit(input, *at))
        .fold(0, |all, at| all ^ window(at))
}

/// What of a flow goes into the hash: the addresses, and the ports if they count.
pub fn input(from: SocketAddr, to: SocketAddr, ports: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for end in [from, to] {
        match end {
            SocketAddr::V4(end) => bytes.extend(end.ip().octets()),
            SocketAddr::V6(end) => bytes.extend(end.ip().octets()),
        }
    }
    if ports {
        bytes.extend(from.port().to_be_bytes());
        bytes.extend(to.port().to_be_bytes());
    }
    bytes
}
