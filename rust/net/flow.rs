// SPDX-License-Identifier: GPL-2.0

//! Which packets belong together: hashes for steering.

use super::frame::{
    Addresses,
    Headers,
    Network,
    IPPROTO_TCP,
    IPPROTO_UDP, //
};

mod symmetric;
mod toeplitz;

pub use symmetric::{
    spread,
    symmetric, //
};
pub use toeplitz::{
    Sums,
    Toeplitz,
    KEY_LEN,
    SUMS, //
};

use core::borrow::BorrowMut;

/// A set of what is hashed, numbered as in virtio (5.1.6.4.3.1).
///
/// The types for home addresses of Mobile IPv6 are not there: the specification has their
/// packets hashed like others then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashTypes(pub u32);

impl HashTypes {
    /// The addresses of IPv4.
    pub const IPV4: Self = Self(1 << 0);
    /// Addresses and ports of TCP over IPv4.
    pub const TCPV4: Self = Self(1 << 1);
    /// Addresses and ports of UDP over IPv4.
    pub const UDPV4: Self = Self(1 << 2);
    /// The addresses of IPv6.
    pub const IPV6: Self = Self(1 << 3);
    /// Addresses and ports of TCP over IPv6.
    pub const TCPV6: Self = Self(1 << 4);
    /// Addresses and ports of UDP over IPv6.
    pub const UDPV6: Self = Self(1 << 5);
    /// All of these.
    pub const ALL: Self = Self((1 << 6) - 1);

    /// Whether all of `other` are in the set.
    #[inline(always)]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What a receiver is told that the hash was made of, for a set of one.
    #[inline]
    const fn report(self) -> u16 {
        // Lossless: 1 to 32.
        (self.0.trailing_zeros() as u16).wrapping_add(1)
    }
}

/// The hash of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    /// The hash.
    pub value: u32,
    /// What was hashed, numbered as in virtio (5.1.6.4.4), where 0 stands for no hash.
    pub report: u16,
}

impl<S: BorrowMut<[Sums]>> Toeplitz<S> {
    /// The hash of a packet with these headers, if `types` are to be hashed (5.1.6.4.3);
    /// nothing if none of them fits.
    ///
    /// A fragment has no ports, the first one included, so that all of a packet have the
    /// same hash.
    #[inline]
    pub fn hash(&self, headers: &Headers, types: HashTypes) -> Option<Hash> {
        type T = HashTypes;
        let Network { addresses, .. } = headers.network?;
        let (ip, tcp, udp) = match addresses {
            Addresses::V4(..) => (T::IPV4, T::TCPV4, T::UDPV4),
            Addresses::V6(..) => (T::IPV6, T::TCPV6, T::UDPV6),
        };
        let with_ports = headers
            .transport
            .and_then(|transport| match transport.protocol {
                IPPROTO_TCP => Some((tcp, transport)),
                IPPROTO_UDP => Some((udp, transport)),
                _ => None,
            })
            .filter(|(hash_type, _)| types.contains(*hash_type));
        let (hash_type, ports) = match with_ports {
            Some((hash_type, transport)) => (
                hash_type,
                Some((transport.source_port, transport.destination_port)),
            ),
            None if types.contains(ip) => (ip, None),
            None => return None,
        };
        let mut digest = self.start();
        match &addresses {
            Addresses::V4(source, destination) => {
                digest.add(source);
                digest.add(destination);
            }
            Addresses::V6(source, destination) => {
                digest.add(source);
                digest.add(destination);
            }
        }
        if let Some((source, destination)) = ports {
            digest.add(&source.to_be_bytes());
            digest.add(&destination.to_be_bytes());
        }
        Some(Hash {
            value: digest.value(),
            report: hash_type.report(),
        })
    }
}
