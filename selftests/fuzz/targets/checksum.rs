// SPDX-License-Identifier: GPL-2.0

//! The Internet checksum against the slow way, in any pieces.

use crate::{
    choices::Choices,
    told, //
};
use rvdpa_net::{
    checksum::{
        PartialChecksum,
        Sum, //
    },
    frame::MAX_HEADERS,
};

/// The sum of bytes as RFC 1071 has it, one's complement, two by two.
pub(super) fn slow(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Whether two sums are the same number: zero has two forms.
pub(super) fn same(a: u16, b: u16) -> bool {
    a == b || (a ^ b == 0xffff && (a == 0 || b == 0))
}

/// Sums of pieces, and a checksum that is filled in.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    let (start, offset) = (u16::from(c.u8()), c.u16() & 0x1ff);
    let pieces = c.array::<8>();
    let bytes = c.rest();

    let mut sum = Sum::new();
    let mut rest = bytes;
    for (at, &len) in pieces.iter().enumerate() {
        let (piece, later) = rest.split_at(rest.len().min(len.into()));
        rest = later;
        match at % 2 {
            0 => sum.add(piece),
            _ => {
                let mut part = Sum::new();
                part.add(piece);
                sum.append(part);
            }
        }
    }
    sum.add(rest);
    assert_eq!(sum.value(), slow(bytes));
    assert_eq!(sum.checksum(), !slow(bytes));

    let len = bytes.len() as u32;
    let field = u32::from(start) + u32::from(offset);
    let fits = start >= 14 && field + 2 <= len && field + 2 <= MAX_HEADERS as u32;
    match PartialChecksum::new(start, offset, len) {
        Ok(checksum) => {
            assert!(fits);
            let mut leading = bytes[..bytes.len().min(MAX_HEADERS)].to_vec();
            let mut behind = Sum::new();
            behind.add(&bytes[leading.len()..]);
            if leading.len() % 2 == usize::from(start) % 2 {
                complete(&checksum, &mut leading, bytes, behind);
            }
            let mut short = bytes[..checksum.end() - 1].to_vec();
            assert_eq!(checksum.complete(&mut short, Sum::new()), None);
        }
        Err(error) => {
            assert!(!fits);
            told(&error);
        }
    }
}

fn complete(checksum: &PartialChecksum, leading: &mut [u8], bytes: &[u8], behind: Sum) {
    let start = usize::from(checksum.start());
    let field = checksum.end() - 2;
    let wanted = !slow(&bytes[start..]);
    checksum.complete(leading, behind).expect("long enough");
    let found = u16::from_be_bytes([leading[field], leading[field + 1]]);
    assert_ne!(found, 0, "a checksum of zero means none");
    assert!(same(found, wanted));
    let mut others = leading.to_vec();
    others[field..field + 2].copy_from_slice(&bytes[field..field + 2]);
    assert_eq!(others, bytes[..leading.len()], "other bytes changed");
}
