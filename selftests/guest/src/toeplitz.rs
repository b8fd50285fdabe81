// SPDX-License-Identifier: GPL-2.0

//! The hash by which receivers spread flows, bit by bit, as its definition has it.

use std::net::SocketAddr;

/// The hash of some bytes. A key that is not 4 bytes longer goes on with zeroes.
pub fn hash(key: &[u8], input: &[u8]) -> u32 {
    let bit = |bytes: &[u8], at: usize| {
        let byte = bytes.get(at / 8).copied().unwrap_or_default();
        (byte >> (7 - at % 8)) & 1 == 1
    };
    let window =
        |from: usize| (0..32).fold(0, |word, at| (word << 1) | u32::from(bit(key, from + at)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_hash() {
        let key = [
            0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
            0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
            0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
        ];
        let input = [66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6];
        assert_eq!(hash(&key, &input), 0x51cc_c178);
        assert_eq!(hash(&key, &input[..8]), 0x323e_8fc2);
    }
}
