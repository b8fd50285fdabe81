// SPDX-License-Identifier: GPL-2.0

//! What is in the frames that tests send.
//!
//! ```text
//! destination (6)  source (6)  type 0x88b5 (2)  number (8)  pattern...
//! ```
//!
//! A frame that is too short for the number has the start of it.

/// Length of an Ethernet header.
pub const HEADER: usize = 14;

/// The type, which is set aside for local experiments.
pub const ETHERTYPE: u16 = 0x88b5;

/// The pattern's byte `at` in the frame of this number.
fn pattern(number: u64, at: usize) -> u8 {
    (number as u8)
        .wrapping_mul(37)
        .wrapping_add((at as u8).wrapping_mul(31))
        .wrapping_add((at >> 8) as u8)
}

/// Makes a frame, as long as `frame` is, which is not shorter than a header.
pub fn fill(frame: &mut [u8], to: [u8; 6], from: [u8; 6], number: u64) {
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
    frame[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
    for (at, byte) in frame[HEADER..].iter_mut().enumerate() {
        *byte = match number.to_le_bytes().get(at) {
            Some(byte) => *byte,
            None => pattern(number, at),
        };
    }
}

/// A frame of `len` bytes.
pub fn make(len: usize, to: [u8; 6], from: [u8; 6], number: u64) -> Vec<u8> {
    let mut frame = vec![0; len];
    fill(&mut frame, to, from, number);
    frame
}

/// The number of a frame, if it is long enough to have one.
pub fn number(frame: &[u8]) -> Option<u64> {
    frame
        .get(HEADER..HEADER + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_le_bytes)
}

/// Where a frame is not the one that was sent; nowhere if it is.
pub fn difference(got: &[u8], sent: &[u8]) -> Option<String> {
    if got.len() != sent.len() {
        return Some(format!("{} bytes instead of {}", got.len(), sent.len()));
    }
    let at = got.iter().zip(sent).position(|(a, b)| a != b)?;
    Some(format!(
        "byte {at} of {}: {:#04x} instead of {:#04x}",
        got.len(),
        got[at],
        sent[at]
    ))
}

/// A MAC address as users write it.
pub fn display(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Reads a MAC address.
pub fn parse(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    bytes?.try_into().ok()
}
