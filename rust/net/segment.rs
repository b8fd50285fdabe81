// SPDX-License-Identifier: GPL-2.0

//! Making segments of one large packet.
//!
//! A driver hands over a packet that is larger than any wire takes, and says of which
//! size its segments are to be. [`Segmenter::new`] checks that the packet is what the
//! driver says: whoever gets it whole may rely on that, too. A receiver that takes no
//! large packets gets the segments: their headers from [`Segmenter::write`], their payload
//! out of the packet. The payload itself is never looked at here.

mod error;
mod headers;

pub use error::SegmentError;

use super::{
    checksum::{
        PartialChecksum,
        Sum,
        TCP_CHECKSUM_OFFSET,
        UDP_CHECKSUM_OFFSET, //
    },
    frame::{
        Headers,
        Network,
        Transport,
        IPPROTO_TCP,
        IPPROTO_UDP, //
    },
};

/// Smallest payload of a TCP segment in bytes. It is what Linux raises smaller ones to: 48,
/// the smallest that it takes from another host, less the 40 that options can take of it.
pub const TCP_MIN_SIZE: u16 = 8;

/// Most segments of a UDP packet, as Linux has it.
pub const UDP_MAX_SEGMENTS: u32 = 128;

/// Most segments of any packet: no packet is longer than 65535 bytes.
pub const MAX_SEGMENTS: u32 = u16::MAX as u32 / TCP_MIN_SIZE as u32 + 1;

/// What a large packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over either.
    Udp,
}

/// What is to be done with a large packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is.
    pub kind: Kind,
    /// Largest payload of a segment in bytes.
    pub size: u16,
    /// Its checksum, which has to be the one of the TCP or UDP header.
    pub checksum: PartialChecksum,
}

/// A packet of which segments can be made.
#[derive(Clone, Copy, Debug)]
pub struct Segmenter<'a> {
    /// All headers of the packet.
    bytes: &'a [u8],
    /// Where the IP header is.
    network: Network,
    /// Where the transport header is.
    transport: Transport,
    /// The checksum, which is at the same place in each segment.
    checksum: PartialChecksum,
    /// The sum of the pseudo header without the length.
    pseudo: Sum,
    /// Largest payload of a segment in bytes.
    size: u32,
    /// Payload of the packet in bytes.
    payload: u32,
    /// Number of segments.
    count: u32,
}

/// One segment of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its payload starts, in bytes from the start of the packet's frame.
    pub offset: u32,
    /// Length of its payload in bytes.
    pub len: u32,
}

impl<'a> Segmenter<'a> {
    /// Checks a packet: a frame of `len` bytes that starts with `bytes`, in which
    /// `headers` were found.
    pub fn new(
        request: &Request,
        headers: &Headers,
        bytes: &'a [u8],
        len: u32,
    ) -> Result<Self, SegmentError> {
        let network = headers.network.ok_or(SegmentError::Version)?;
        let (protocol, field, fits) = match request.kind {
            Kind::TcpV4 => (IPPROTO_TCP, TCP_CHECKSUM_OFFSET, !network.addresses.is_v6()),
            Kind::TcpV6 => (IPPROTO_TCP, TCP_CHECKSUM_OFFSET, network.addresses.is_v6()),
            Kind::Udp => (IPPROTO_UDP, UDP_CHECKSUM_OFFSET, true),
        };
        if !fits {
            return Err(SegmentError::Version);
        }
        if network.fragment {
            return Err(SegmentError::Fragment);
        }
        let transport = headers
            .transport
            .filter(|transport| transport.protocol == protocol)
            .ok_or(SegmentError::Transport(protocol))?;
        let checksum = request.checksum;
        if checksum.start() != transport.offset || checksum.offset() != field {
            return Err(SegmentError::Checksum {
                start: checksum.start(),
                offset: checksum.offset(),
            });
        }
        // A packet without a length (a jumbogram, or what Linux has like it) is none that
        // its own length fits, either.
        if network.end != len {
            return Err(SegmentError::Length {
                end: network.end,
                len,
            });
        }
        let header_len = transport.offset.wrapping_add(transport.len);
        let bytes = bytes
            .get(..header_len.into())
            .ok_or(SegmentError::Transport(protocol))?;
        let payload = len.saturating_sub(header_len.into());
        if payload == 0 {
            return Err(SegmentError::Empty);
        }
        let least = match request.kind {
            Kind::Udp => 1,
            Kind::TcpV4 | Kind::TcpV6 => TCP_MIN_SIZE,
        };
        // Linux means something else by the largest number.
        if request.size < least || request.size == u16::MAX {
            return Err(SegmentError::Size(request.size));
        }
        let size = u32::from(request.size);
        let count = payload.div_ceil(size);
        if request.kind == Kind::Udp && count > UDP_MAX_SEGMENTS {
            return Err(SegmentError::Count(count));
        }
        headers::check(bytes, &network, &transport, len)?;
        Ok(Self {
            bytes,
            network,
            transport,
            checksum,
            pseudo: headers::pseudo(bytes, &network, &checksum, len),
            size,
            payload,
            count,
        })
    }

    /// Length of the headers in bytes, from the start of the frame to the payload; the
    /// same in the packet and in each segment.
    pub fn header_len(&self) -> u16 {
        self.transport.offset.wrapping_add(self.transport.len)
    }

    /// Number of segments: 1 or more, and at most [`MAX_SEGMENTS`]. A packet of one segment
    /// is a plain one with a prepared checksum, and is to be passed on as such: Linux counts
    /// TCP options as payload there, takes it for a large packet, and drops it later.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether the packet is one of IPv6.
    pub fn is_v6(&self) -> bool {
        self.network.addresses.is_v6()
    }

    /// The checksum of each segment: where it is in the packet.
    pub fn checksum(&self) -> PartialChecksum {
        self.checksum
    }

    /// The segment with this index, from 0 to `count() - 1`.
    pub fn segment(&self, index: u32) -> Option<Segment> {
        let at = index.checked_mul(self.size)?;
        let rest = self.payload.checked_sub(at).filter(|rest| *rest != 0)?;
        Some(Segment {
            offset: u32::from(self.header_len()).checked_add(at)?,
            len: rest.min(self.size),
        })
    }

    /// Writes the headers of a segment to the start of `to`, with a prepared checksum.
    ///
    /// None if there is no segment with this index, or if `to` is shorter than
    /// [`header_len`](Self::header_len). To fill the checksum in, give the same bytes and
    /// the sum of the segment's payload to the [`checksum`](Self::checksum).
    pub fn write(&self, index: u32, to: &mut [u8]) -> Option<Segment> {
        let segment = self.segment(index)?;
        let to = to.get_mut(..self.bytes.len())?;
        to.copy_from_slice(self.bytes);
        let place = headers::Place {
            index,
            at: segment.offset.checked_sub(self.header_len().into())?,
            len: segment.len,
            last: index.checked_add(1)? == self.count,
        };
        headers::adjust(to, &self.network, &self.transport, &place)?;
        headers::prepare(to, &self.checksum, self.pseudo, &self.transport, &place)?;
        Some(segment)
    }
}
