// SPDX-License-Identifier: GPL-2.0

//! What differs between the headers of a packet and those of its segments.

use super::{
    super::frame::{
        Addresses,
        IPPROTO_TCP, //
    },
    Network,
    PartialChecksum,
    SegmentError,
    Sum,
    Transport, //
};

/// Flag of TCP: the last byte.
const FIN: u8 = 0x01;
/// Flag of TCP: the first byte.
const SYN: u8 = 0x02;
/// Flag of TCP: the connection is reset.
const RST: u8 = 0x04;
/// Flag of TCP: the receiver should not wait for more.
const PSH: u8 = 0x08;
/// Flag of TCP: the urgent pointer counts.
const URG: u8 = 0x20;
/// Flag of TCP: the congestion window was reduced.
const CWR: u8 = 0x80;

/// Where a TCP header has its sequence number, flags and urgent pointer.
const TCP_SEQUENCE: u16 = 4;
const TCP_FLAGS: u16 = 13;
const TCP_URGENT: u16 = 18;
/// Where a UDP header has its length.
const UDP_LENGTH: u16 = 4;
/// Where an IPv4 header has its total length, identification and checksum.
const IPV4_LENGTH: u16 = 2;
const IPV4_ID: u16 = 4;
const IPV4_CHECKSUM: u16 = 10;
/// Where an IPv6 header has its payload length, and the header's own length.
const IPV6_LENGTH: u16 = 4;
const IPV6_LEN: u32 = 40;

/// Where a segment is in its packet.
pub(super) struct Place {
    /// Its index.
    pub(super) index: u32,
    /// Where its payload starts, in bytes from the start of the packet's payload.
    pub(super) at: u32,
    /// Length of its payload in bytes.
    pub(super) len: u32,
    /// Whether it is the last one.
    pub(super) last: bool,
}

/// The field of `N` bytes at `at` in the header at `offset`.
fn get<const N: usize>(bytes: &[u8], offset: u16, at: u16) -> Option<[u8; N]> {
    bytes
        .get(usize::from(offset.wrapping_add(at))..)?
        .first_chunk()
        .copied()
}

/// Changes what [`get`] gives.
fn set<const N: usize>(bytes: &mut [u8], offset: u16, at: u16, value: [u8; N]) -> Option<()> {
    *bytes
        .get_mut(usize::from(offset.wrapping_add(at))..)?
        .first_chunk_mut()? = value;
    Some(())
}

/// Checks what is in the transport header of a packet, of a frame of `len` bytes.
pub(super) fn check(
    bytes: &[u8],
    network: &Network,
    transport: &Transport,
    len: u32,
) -> Result<(), SegmentError> {
    let missing = SegmentError::Transport(network.protocol);
    match transport.protocol {
        IPPROTO_TCP => {
            let [flags] = get(bytes, transport.offset, TCP_FLAGS).ok_or(missing)?;
            match flags & (SYN | RST) {
                0 => Ok(()),
                _ => Err(SegmentError::Flags(flags)),
            }
        }
        _ => {
            let length = get(bytes, transport.offset, UDP_LENGTH).ok_or(missing)?;
            let end = u32::from(transport.offset).wrapping_add(u16::from_be_bytes(length).into());
            match end == len {
                true => Ok(()),
                false => Err(SegmentError::Length { end, len }),
            }
        }
    }
}

/// The sum of the pseudo header without the length, for a packet of a frame of `len` bytes.
pub(super) fn pseudo(bytes: &[u8], network: &Network, checksum: &PartialChecksum, len: u32) -> Sum {
    match get::<2>(bytes, checksum.start(), checksum.offset()) {
        // The driver knows the last destination: its sum is taken, less the length.
        Some(field) if network.source_routed => {
            let length = len.wrapping_sub(checksum.start().into());
            let mut sum = Sum::new();
            sum.add(&field);
            // The length of a transport header and its payload has 16 bits here.
            sum.add_u16(!(length as u16));
            sum
        }
        _ => Sum::pseudo(&network.addresses, network.protocol, 0),
    }
}

/// Makes the headers of a packet those of a segment, but for the transport checksum.
pub(super) fn adjust(
    bytes: &mut [u8],
    network: &Network,
    transport: &Transport,
    place: &Place,
) -> Option<()> {
    let end = u32::try_from(bytes.len()).ok()?.checked_add(place.len)?;
    let total = end.checked_sub(network.offset.into())?;
    match network.addresses {
        Addresses::V4(..) => {
            let total = u16::try_from(total).ok()?;
            set(bytes, network.offset, IPV4_LENGTH, total.to_be_bytes())?;
            let id = u16::from_be_bytes(get(bytes, network.offset, IPV4_ID)?);
            // The identifications go round.
            let id = id.wrapping_add(place.index as u16);
            set(bytes, network.offset, IPV4_ID, id.to_be_bytes())?;
            set(bytes, network.offset, IPV4_CHECKSUM, [0; 2])?;
            let mut sum = Sum::new();
            sum.add(bytes.get(network.offset.into()..transport.offset.into())?);
            let checksum = sum.checksum().to_be_bytes();
            set(bytes, network.offset, IPV4_CHECKSUM, checksum)?;
        }
        Addresses::V6(..) => {
            let length = u16::try_from(total.checked_sub(IPV6_LEN)?).ok()?;
            set(bytes, network.offset, IPV6_LENGTH, length.to_be_bytes())?;
        }
    }
    match transport.protocol {
        IPPROTO_TCP => adjust_tcp(bytes, transport.offset, place),
        _ => {
            let length = u16::try_from(end.checked_sub(transport.offset.into())?).ok()?;
            set(bytes, transport.offset, UDP_LENGTH, length.to_be_bytes())
        }
    }
}

/// Makes the TCP header of a packet that of a segment, but for the checksum.
fn adjust_tcp(bytes: &mut [u8], offset: u16, place: &Place) -> Option<()> {
    let sequence = u32::from_be_bytes(get(bytes, offset, TCP_SEQUENCE)?);
    let sequence = sequence.wrapping_add(place.at);
    set(bytes, offset, TCP_SEQUENCE, sequence.to_be_bytes())?;
    let [mut flags] = get(bytes, offset, TCP_FLAGS)?;
    if place.index != 0 {
        flags &= !CWR;
    }
    if !place.last {
        flags &= !(FIN | PSH);
    }
    if flags & URG != 0 {
        // It counts from the sequence number.
        let pointer = u16::from_be_bytes(get(bytes, offset, TCP_URGENT)?);
        let pointer = u32::from(pointer)
            .checked_sub(place.at)
            .and_then(|pointer| u16::try_from(pointer).ok());
        if pointer.is_none() {
            flags &= !URG;
        }
        let pointer = pointer.unwrap_or(0);
        set(bytes, offset, TCP_URGENT, pointer.to_be_bytes())?;
    }
    set(bytes, offset, TCP_FLAGS, [flags])
}

/// Prepares the transport checksum of a segment: puts the sum of its pseudo header there.
pub(super) fn prepare(
    bytes: &mut [u8],
    checksum: &PartialChecksum,
    mut pseudo: Sum,
    transport: &Transport,
    place: &Place,
) -> Option<()> {
    let length = place.len.checked_add(transport.len.into())?;
    pseudo.add(&length.to_be_bytes());
    let pseudo = pseudo.value().to_be_bytes();
    set(bytes, checksum.start(), checksum.offset(), pseudo)
}
