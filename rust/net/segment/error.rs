// SPDX-License-Identifier: GPL-2.0

//! Why no segments can be made of a packet.

use core::fmt;

/// Why a packet is not what it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentError {
    /// There is no sound IP header of the version.
    Version,
    /// It is a fragment.
    Fragment,
    /// There is no sound header of this transport protocol, or it is not in the bytes that
    /// were looked at.
    Transport(u8),
    /// The checksum is not the one of the transport header.
    Checksum {
        /// Where it starts, in bytes from the start of the frame.
        start: u16,
        /// Where it is to be put, in bytes from its start.
        offset: u16,
    },
    /// The packet does not end with the frame, as the length in one of its headers has it.
    Length {
        /// Where it ends, in bytes from the start of the frame.
        end: u32,
        /// Length of the frame in bytes.
        len: u32,
    },
    /// There is no payload.
    Empty,
    /// No segments can have this size.
    Size(u16),
    /// There would be too many segments.
    Count(u32),
    /// The TCP packet starts or resets a connection.
    Flags(u8),
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("no IP header of the version to be segmented"),
            Self::Fragment => f.write_str("a fragment to be segmented"),
            Self::Transport(protocol) => {
                write!(f, "no header of IP protocol {protocol} to be segmented")
            }
            Self::Checksum { start, offset } => write!(
                f,
                "checksum from byte {start}, at {offset}, of a packet to be segmented \
                 that has it elsewhere"
            ),
            Self::Length { end, len } => write!(
                f,
                "packet to be segmented that ends at byte {end} of a frame of {len}"
            ),
            Self::Empty => f.write_str("nothing to be segmented"),
            Self::Size(size) => write!(f, "segments of {size} bytes"),
            Self::Count(count) => write!(f, "{count} segments"),
            Self::Flags(flags) => write!(f, "TCP flags {flags:#04x} to be segmented"),
        }
    }
}
