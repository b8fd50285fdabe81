// SPDX-License-Identifier: GPL-2.0

//! What the headers of packets leave to the other side: checksums and segmentation
//! (5.1.6.2, 5.1.6.4).

use core::fmt;

use super::{
    super::features::Features,
    NetHeader, //
};

/// A checksum that is only prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Where the sum starts, in bytes from the start of the frame.
    pub start: u16,
    /// Where the checksum is to be put, in bytes from `start`.
    pub offset: u16,
}

/// What a packet to be segmented is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentationKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over either.
    UdpL4,
}

/// How a packet is to be segmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// What the packet is.
    pub kind: SegmentationKind,
    /// Whether it is a TCP packet with ECN.
    pub ecn: bool,
    /// Largest payload of a segment in bytes; not zero.
    pub size: u16,
}

/// What a header leaves to the one who gets the packet.
///
/// What [`from_header`](Self::from_header) made keeps the rules for headers; whether the
/// packet behind it is what it says is another matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The checksum to fill in.
    pub checksum: Option<Checksum>,
    /// The segments to make. There is a checksum to fill in, then.
    pub segmentation: Option<Segmentation>,
}

/// A rule for the header of a transmitted packet that the driver has broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffloadError {
    /// What the header asks for needs this feature, which is not negotiated (5.1.6.2.1).
    NotNegotiated(Features),
    /// A type of segmentation that there is not, or that this layer does not know
    /// (UDP fragmentation).
    Type(u8),
    /// Segmentation, but no checksum to be filled in (5.1.6.2.1).
    NoChecksum,
    /// Segments without payload (5.1.6.2.1).
    ZeroSize,
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNegotiated(feature) => {
                write!(f, "packet header needs {feature}, which is not negotiated")
            }
            Self::Type(gso_type) => write!(f, "gso_type {gso_type:#04x}"),
            Self::NoChecksum => f.write_str("segmentation without a checksum to fill in"),
            Self::ZeroSize => f.write_str("gso_size 0"),
        }
    }
}

impl Offload {
    /// Nothing at all: the packet is complete.
    pub const NONE: Self = Self {
        checksum: None,
        segmentation: None,
    };

    /// What the header of a transmitted packet asks for, if the driver has negotiated
    /// `features`.
    ///
    /// As the specification has it, flags other than `VIRTIO_NET_HDR_F_NEEDS_CSUM` are
    /// ignored, and so is what belongs to an absent flag or type, `hdr_len`, which is only
    /// a hint, and `num_buffers` (5.1.6.2.2).
    pub fn from_header(header: &NetHeader, features: Features) -> Result<Self, OffloadError> {
        let negotiated = |feature| match features.contains(feature) {
            true => Ok(()),
            false => Err(OffloadError::NotNegotiated(feature)),
        };
        let mut offload = Self::NONE;
        if header.flags & NetHeader::NEEDS_CSUM != 0 {
            negotiated(Features::NET_CSUM)?;
            offload.checksum = Some(Checksum {
                start: header.csum_start,
                offset: header.csum_offset,
            });
        }
        if header.gso_type == NetHeader::GSO_NONE {
            return Ok(offload);
        }
        let ecn = header.gso_type & NetHeader::GSO_ECN != 0;
        let (kind, feature) = match header.gso_type & !NetHeader::GSO_ECN {
            NetHeader::GSO_TCPV4 => (SegmentationKind::TcpV4, Features::NET_HOST_TSO4),
            NetHeader::GSO_TCPV6 => (SegmentationKind::TcpV6, Features::NET_HOST_TSO6),
            NetHeader::GSO_UDP_L4 if !ecn => (SegmentationKind::UdpL4, Features::NET_HOST_USO),
            _ => return Err(OffloadError::Type(header.gso_type)),
        };
        negotiated(feature)?;
        if ecn {
            negotiated(Features::NET_HOST_ECN)?;
        }
        if offload.checksum.is_none() {
            return Err(OffloadError::NoChecksum);
        }
        if header.gso_size == 0 {
            return Err(OffloadError::ZeroSize);
        }
        offload.segmentation = Some(Segmentation {
            kind,
            ecn,
            size: header.gso_size,
        });
        Ok(offload)
    }

    /// The same, but for segmentation: what remains for each segment.
    pub const fn without_segmentation(self) -> Self {
        Self {
            checksum: self.checksum,
            segmentation: None,
        }
    }

    /// Whether there is nothing left to do.
    pub const fn is_none(&self) -> bool {
        self.checksum.is_none() && self.segmentation.is_none()
    }

    /// The guest offloads that a receiver needs to get the packet as it is; `v6` tells
    /// whether it is one of IPv6, which counts for UDP alone.
    pub fn needs(&self, v6: bool) -> Features {
        let mut needs = Features::NONE;
        if self.checksum.is_some() {
            needs = needs | Features::NET_GUEST_CSUM;
        }
        if let Some(segmentation) = self.segmentation {
            needs = needs
                | match (segmentation.kind, v6) {
                    (SegmentationKind::TcpV4, _) => Features::NET_GUEST_TSO4,
                    (SegmentationKind::TcpV6, _) => Features::NET_GUEST_TSO6,
                    (SegmentationKind::UdpL4, false) => Features::NET_GUEST_USO4,
                    (SegmentationKind::UdpL4, true) => Features::NET_GUEST_USO6,
                };
            if segmentation.ecn {
                needs = needs | Features::NET_GUEST_ECN;
            }
        }
        needs
    }

    /// Whether a receiver with these guest offloads (see [`guest_offloads`]) takes the
    /// packet as it is.
    pub fn accepted_by(&self, offloads: Features, v6: bool) -> bool {
        offloads.contains(self.needs(v6))
    }

    /// The header of the packet for a receiver, in one buffer. `hdr_len` is the length of
    /// all headers of the packet in bytes; it is written only if there are segments to
    /// make (5.1.6.4.1).
    pub fn header(&self, hdr_len: u16) -> NetHeader {
        let mut header = NetHeader {
            num_buffers: 1,
            ..NetHeader::default()
        };
        if let Some(checksum) = self.checksum {
            header.flags = NetHeader::NEEDS_CSUM;
            header.csum_start = checksum.start;
            header.csum_offset = checksum.offset;
        }
        if let Some(segmentation) = self.segmentation {
            header.gso_type = match segmentation.kind {
                SegmentationKind::TcpV4 => NetHeader::GSO_TCPV4,
                SegmentationKind::TcpV6 => NetHeader::GSO_TCPV6,
                SegmentationKind::UdpL4 => NetHeader::GSO_UDP_L4,
            };
            if segmentation.ecn {
                header.gso_type |= NetHeader::GSO_ECN;
            }
            header.gso_size = segmentation.size;
            header.hdr_len = hdr_len;
        }
        header
    }
}

/// The guest offloads: the features that the driver can switch on and off with
/// `VIRTIO_NET_CTRL_GUEST_OFFLOADS` (5.1.6.5.6).
pub const GUEST_OFFLOADS: Features = Features::NET_GUEST_CSUM
    .union(Features::NET_GUEST_TSO4)
    .union(Features::NET_GUEST_TSO6)
    .union(Features::NET_GUEST_ECN)
    .union(Features::NET_GUEST_UFO)
    .union(Features::NET_GUEST_USO4)
    .union(Features::NET_GUEST_USO6)
    // Not one of the specification's, but of those that Linux names in its commands.
    .union(Features::NET_GUEST_HDRLEN);

/// Why guest offloads cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestOffloadsError {
    /// These are not negotiated, or are no guest offloads at all (5.1.6.5.6.2).
    NotNegotiated(Features),
    /// A guest offload needs others, any one of which would do (5.1.3.1).
    Missing {
        /// The one that is set.
        offload: Features,
        /// Those of which none is set.
        needs: Features,
    },
}

impl fmt::Display for GuestOffloadsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNegotiated(offloads) => write!(f, "{offloads} not negotiated"),
            Self::Missing { offload, needs } => write!(f, "{offload} without {needs}"),
        }
    }
}

/// The guest offloads in effect before the driver has set any: all that are negotiated.
pub const fn initial_guest_offloads(negotiated: Features) -> Features {
    negotiated.intersection(GUEST_OFFLOADS)
}

/// The guest offloads in effect after the driver has set these, if it may.
pub fn guest_offloads(offloads: u64, negotiated: Features) -> Result<Features, GuestOffloadsError> {
    let offloads = Features(offloads);
    let other = offloads.without(initial_guest_offloads(negotiated));
    if !other.is_empty() {
        return Err(GuestOffloadsError::NotNegotiated(other));
    }
    match offloads.missing_dependency() {
        None => Ok(offloads),
        Some((offload, needs)) => Err(GuestOffloadsError::Missing { offload, needs }),
    }
}
