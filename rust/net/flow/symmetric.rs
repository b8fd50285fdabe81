// SPDX-License-Identifier: GPL-2.0

//! A hash that is the same for both directions of a flow.

use super::{
    Addresses,
    Headers, //
};

/// A hash of the flow that a frame belongs to, which is the same for the frames in the
/// other direction.
///
/// It is made of what identifies the flow: addresses, protocol and ports of IP packets,
/// without ports for fragments; Ethernet addresses and type of other frames. It is cheap,
/// and good enough to share out well-meant traffic. Who wants all flows to collide can have
/// that.
#[inline]
pub fn symmetric(headers: &Headers) -> u32 {
    let (source, destination, kind) = match headers.network {
        Some(network) => {
            let (source, destination) = match network.addresses {
                Addresses::V4(source, destination) => (
                    u64::from(u32::from_be_bytes(source)),
                    u64::from(u32::from_be_bytes(destination)),
                ),
                Addresses::V6(source, destination) => (fold(source), fold(destination)),
            };
            let (source_port, destination_port) = match headers.transport {
                Some(transport) => (transport.source_port, transport.destination_port),
                None => (0, 0),
            };
            (
                end(source, source_port),
                end(destination, destination_port),
                u64::from(network.protocol),
            )
        }
        None => (
            station(headers.source),
            station(headers.destination),
            u64::from(headers.ethertype) << 8,
        ),
    };
    // Which of the two is which does not matter for the sum.
    let value = mix(source).wrapping_add(mix(destination));
    // The upper half is the better one.
    (mix(value ^ kind) >> 32) as u32
}

/// A number below `count` that goes with `hash`, such that all of them come equally often;
/// 0 if there is none.
#[inline]
pub const fn spread(hash: u32, count: u16) -> u16 {
    // Lossless: the product is below `count` times 2 to the 32nd.
    ((hash as u64).wrapping_mul(count as u64) >> 32) as u16
}

/// An address of IPv6 as a number.
#[inline(always)]
fn fold(address: [u8; 16]) -> u64 {
    let [high @ .., a, b, c, d, e, f, g, h] = address;
    mix(u64::from_be_bytes(high)) ^ u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// One end of a flow.
#[inline(always)]
const fn end(address: u64, port: u16) -> u64 {
    address ^ ((port as u64) << 48)
}

/// An Ethernet address as a number.
#[inline(always)]
fn station(address: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = address;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// Makes every bit depend on every other (the last step of MurmurHash3).
#[inline(always)]
const fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^= value >> 33;
    value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}
