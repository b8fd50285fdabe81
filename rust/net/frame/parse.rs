// SPDX-License-Identifier: GPL-2.0

//! Finding the headers of a frame.

use super::{
    Addresses,
    Headers,
    Network,
    Transport,
    ETHERNET_LEN,
    ETH_P_8021AD,
    ETH_P_8021Q,
    ETH_P_IP,
    ETH_P_IPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    MAX_HEADERS, //
};

/// Most tags of a frame that are looked behind.
const MAX_TAGS: usize = 2;
/// Most extension headers of a packet that are looked behind.
const MAX_EXTENSIONS: usize = 8;

/// Length of an IPv4 header without options in bytes.
const IPV4_LEN: u16 = 20;
/// Length of an IPv6 header in bytes.
const IPV6_LEN: u16 = 40;
/// Length of a TCP header without options in bytes.
const TCP_LEN: u16 = 20;
/// Length of a UDP header in bytes.
const UDP_LEN: u16 = 8;

/// Extension header: options for each hop.
const IPPROTO_HOPOPTS: u8 = 0;
/// Extension header: the way to take.
const IPPROTO_ROUTING: u8 = 43;
/// Extension header: which fragment this is.
const IPPROTO_FRAGMENT: u8 = 44;
/// Extension header: options for the destination.
const IPPROTO_DSTOPTS: u8 = 60;

/// Option of IPv4: the end of the options.
const IPOPT_END: u8 = 0;
/// Option of IPv4: nothing.
const IPOPT_NOOP: u8 = 1;
/// Option of IPv4: a loose source route.
const IPOPT_LSRR: u8 = 131;
/// Option of IPv4: a strict source route.
const IPOPT_SSRR: u8 = 137;

impl Headers {
    /// Finds the headers of the frame that starts with `bytes`.
    ///
    /// No more than [`MAX_HEADERS`] bytes of it are looked at. None only if that is less
    /// than an Ethernet header; else, what is not understood is left out.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        // With this limit, no sum of offsets below can overflow.
        let bytes = bytes.get(..MAX_HEADERS).unwrap_or(bytes);
        let (&destination, rest) = bytes.split_first_chunk()?;
        let (&source, rest) = rest.split_first_chunk()?;
        let mut ethertype = u16::from_be_bytes(*rest.first_chunk()?);
        let mut offset = ETHERNET_LEN;
        let mut vlan = None;
        for _ in 0..MAX_TAGS {
            if !matches!(ethertype, ETH_P_8021Q | ETH_P_8021AD) {
                break;
            }
            let Some(&[t0, t1, e0, e1]) = chunk(bytes, offset) else {
                break;
            };
            vlan = vlan.or(Some(u16::from_be_bytes([t0, t1]) & 0xfff));
            ethertype = u16::from_be_bytes([e0, e1]);
            offset = offset.wrapping_add(4);
        }
        let network = match ethertype {
            ETH_P_IP => ipv4(bytes, offset),
            ETH_P_IPV6 => ipv6(bytes, offset),
            _ => None,
        };
        let transport = network.and_then(|(network, at)| transport(bytes, &network, at));
        Some(Self {
            destination,
            source,
            vlan,
            ethertype,
            network: network.map(|(network, _)| network),
            transport,
        })
    }
}

/// The `N` bytes at `at`.
#[inline]
fn chunk<const N: usize>(bytes: &[u8], at: u16) -> Option<&[u8; N]> {
    bytes.get(usize::from(at)..)?.first_chunk()
}

/// The `len` bytes at `at`.
#[inline]
fn part(bytes: &[u8], at: u16, len: u16) -> Option<&[u8]> {
    bytes.get(usize::from(at)..)?.get(..usize::from(len))
}

/// The IPv4 header at `offset`, and where what it carries starts.
fn ipv4(bytes: &[u8], offset: u16) -> Option<(Network, u16)> {
    let &[first, _, l0, l1, _, _, f0, f1, _, protocol, _, _, rest @ ..] =
        chunk::<{ IPV4_LEN as usize }>(bytes, offset)?;
    let [s0, s1, s2, s3, d0, d1, d2, d3] = rest;
    let len = u16::from(first & 0xf).wrapping_mul(4);
    let total = u16::from_be_bytes([l0, l1]);
    if first >> 4 != 4 || len < IPV4_LEN || total < len {
        return None;
    }
    let header = part(bytes, offset, len)?;
    // All but "don't fragment" and the bit that means nothing.
    let fragment = u16::from_be_bytes([f0, f1]) & 0x3fff != 0;
    let network = Network {
        offset,
        addresses: Addresses::V4([s0, s1, s2, s3], [d0, d1, d2, d3]),
        protocol,
        fragment,
        source_routed: is_source_routed(header.get(usize::from(IPV4_LEN)..)?),
        end: u32::from(offset).wrapping_add(total.into()),
    };
    Some((network, offset.wrapping_add(len)))
}

/// Whether there is a source route among the options of an IPv4 header. One whose stops
/// have all been made counts too.
fn is_source_routed(mut options: &[u8]) -> bool {
    loop {
        let skip = match *options {
            [] | [IPOPT_END, ..] => return false,
            [IPOPT_NOOP, ..] => 1,
            [IPOPT_LSRR | IPOPT_SSRR, ..] => return true,
            [_, len, ..] if len >= 2 => usize::from(len),
            _ => return false,
        };
        match options.get(skip..) {
            Some(rest) => options = rest,
            None => return false,
        }
    }
}

/// The IPv6 header at `offset`, and where what it and its extension headers carry starts.
fn ipv6(bytes: &[u8], offset: u16) -> Option<(Network, u16)> {
    let &[first, _, _, _, l0, l1, mut protocol, _, rest @ ..] =
        chunk::<{ IPV6_LEN as usize }>(bytes, offset)?;
    if first >> 4 != 6 {
        return None;
    }
    let (&source, destination) = rest.split_first_chunk()?;
    let &destination = destination.first_chunk()?;
    let mut at = offset.wrapping_add(IPV6_LEN);
    let end = u32::from(at).wrapping_add(u16::from_be_bytes([l0, l1]).into());
    let mut fragment = false;
    let mut source_routed = false;
    for number in 0..MAX_EXTENSIONS {
        let Some(&[next, len, _, left]) = chunk(bytes, at) else {
            break;
        };
        let len = match protocol {
            IPPROTO_HOPOPTS if number == 0 => extension_len(len),
            IPPROTO_ROUTING | IPPROTO_DSTOPTS => extension_len(len),
            IPPROTO_FRAGMENT => 8,
            _ => break,
        };
        if part(bytes, at, len).is_none() || u32::from(at.wrapping_add(len)) > end {
            break;
        }
        source_routed |= protocol == IPPROTO_ROUTING && left != 0;
        fragment = protocol == IPPROTO_FRAGMENT;
        protocol = next;
        at = at.wrapping_add(len);
        if fragment {
            break;
        }
    }
    let network = Network {
        offset,
        addresses: Addresses::V6(source, destination),
        protocol,
        fragment,
        source_routed,
        end,
    };
    Some((network, at))
}

/// The length of an extension header in bytes, of which `len` is the length field.
fn extension_len(len: u8) -> u16 {
    u16::from(len).wrapping_add(1).wrapping_mul(8)
}

/// The TCP or UDP header at `offset`.
fn transport(bytes: &[u8], network: &Network, offset: u16) -> Option<Transport> {
    if network.fragment {
        return None;
    }
    let (len, least) = match network.protocol {
        IPPROTO_TCP => {
            let &[_, _, _, _, _, _, _, _, _, _, _, _, first, ..] =
                chunk::<{ TCP_LEN as usize }>(bytes, offset)?;
            let len = u16::from(first >> 4).wrapping_mul(4);
            if len < TCP_LEN {
                return None;
            }
            (len, len)
        }
        IPPROTO_UDP => {
            let &[_, _, _, _, l0, l1, _, _] = chunk(bytes, offset)?;
            let total = u16::from_be_bytes([l0, l1]);
            if total < UDP_LEN {
                return None;
            }
            (UDP_LEN, total)
        }
        _ => return None,
    };
    let &[s0, s1, d0, d1, ..] = part(bytes, offset, len)? else {
        return None;
    };
    if u32::from(offset).wrapping_add(least.into()) > network.end {
        return None;
    }
    Some(Transport {
        protocol: network.protocol,
        offset,
        len,
        source_port: u16::from_be_bytes([s0, s1]),
        destination_port: u16::from_be_bytes([d0, d1]),
    })
}
