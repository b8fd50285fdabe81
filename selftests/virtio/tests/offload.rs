// SPDX-License-Identifier: GPL-2.0

//! What a packet's header leaves to the other side, and which header its receiver gets.

use proptest::prelude::*;
use rvdpa_virtio::{
    features::Features,
    net::{
        offload::*,
        NetHeader, //
    },
};

type F = Features;

/// All that a driver can negotiate for its packets.
const SENDER: Features = F::NET_CSUM
    .union(F::NET_HOST_TSO4)
    .union(F::NET_HOST_TSO6)
    .union(F::NET_HOST_ECN)
    .union(F::NET_HOST_USO);

/// A header that asks for this type of segmentation, and for a checksum.
fn gso(gso_type: u8) -> NetHeader {
    NetHeader {
        flags: NetHeader::NEEDS_CSUM,
        gso_type,
        hdr_len: 999,
        gso_size: 1448,
        csum_start: 34,
        csum_offset: 16,
        num_buffers: 7,
    }
}

const CHECKSUM: Checksum = Checksum {
    start: 34,
    offset: 16,
};

/// What is asked for.
fn segmentation(kind: SegmentationKind, ecn: bool) -> Offload {
    Offload {
        checksum: Some(CHECKSUM),
        segmentation: Some(Segmentation {
            kind,
            ecn,
            size: 1448,
        }),
    }
}

#[test]
fn a_header_of_zeroes_asks_for_nothing() {
    let offload = Offload::from_header(&NetHeader::default(), F::NONE).unwrap();
    assert_eq!(offload, Offload::NONE);
    assert!(offload.is_none());
    assert_eq!(offload.needs(false), F::NONE);
    assert!(offload.accepted_by(F::NONE, true));
    let header = NetHeader {
        num_buffers: 1,
        ..NetHeader::default()
    };
    assert_eq!(offload.header(54), header);
}

#[test]
fn what_belongs_to_nothing_is_ignored() {
    let header = NetHeader {
        flags: !NetHeader::NEEDS_CSUM,
        gso_type: NetHeader::GSO_NONE,
        ..gso(0)
    };
    assert_eq!(Offload::from_header(&header, F::NONE), Ok(Offload::NONE));
}

#[test]
fn a_checksum() {
    for flags in [1, 0xff] {
        let header = NetHeader { flags, ..gso(0) };
        let offload = Offload::from_header(&header, F::NET_CSUM).unwrap();
        assert_eq!(offload.checksum, Some(CHECKSUM));
        assert_eq!(offload.segmentation, None);
        assert!(!offload.is_none());
        assert_eq!(offload.needs(false), F::NET_GUEST_CSUM);
        assert!(offload.accepted_by(F::NET_GUEST_CSUM, false));
        assert!(!offload.accepted_by(F::NET_GUEST_TSO4, false));
        assert_eq!(
            offload.header(54),
            NetHeader {
                flags: NetHeader::NEEDS_CSUM,
                csum_start: 34,
                csum_offset: 16,
                num_buffers: 1,
                ..NetHeader::default()
            }
        );
        assert_eq!(
            Offload::from_header(&header, SENDER.without(F::NET_CSUM)),
            Err(OffloadError::NotNegotiated(F::NET_CSUM))
        );
    }
}

#[test]
fn segments_of_each_type() {
    let ecn = F::NET_HOST_ECN;
    for (gso_type, kind, host, guest) in [
        (
            NetHeader::GSO_TCPV4,
            SegmentationKind::TcpV4,
            F::NET_HOST_TSO4,
            [F::NET_GUEST_TSO4; 2],
        ),
        (
            NetHeader::GSO_TCPV6,
            SegmentationKind::TcpV6,
            F::NET_HOST_TSO6,
            [F::NET_GUEST_TSO6; 2],
        ),
        (
            NetHeader::GSO_UDP_L4,
            SegmentationKind::UdpL4,
            F::NET_HOST_USO,
            [F::NET_GUEST_USO4, F::NET_GUEST_USO6],
        ),
    ] {
        let header = gso(gso_type);
        let offload = Offload::from_header(&header, F::NET_CSUM | host).unwrap();
        assert_eq!(offload, segmentation(kind, false));
        assert_eq!(
            Offload::from_header(&header, SENDER.without(host)),
            Err(OffloadError::NotNegotiated(host))
        );
        assert_eq!(
            Offload::from_header(&header, SENDER.without(F::NET_CSUM)),
            Err(OffloadError::NotNegotiated(F::NET_CSUM))
        );
        for (v6, guest) in [(false, guest[0]), (true, guest[1])] {
            assert_eq!(offload.needs(v6), F::NET_GUEST_CSUM | guest);
            assert!(offload.accepted_by(F::NET_GUEST_CSUM | guest, v6));
            assert!(!offload.accepted_by(GUEST_OFFLOADS.without(guest), v6));
            assert!(!offload.accepted_by(GUEST_OFFLOADS.without(F::NET_GUEST_CSUM), v6));
        }
        // The receiver's header: the exact length, and one buffer.
        let wanted = NetHeader {
            hdr_len: 66,
            num_buffers: 1,
            ..header
        };
        assert_eq!(offload.header(66), wanted);
        let rest = offload.without_segmentation();
        assert_eq!((rest.checksum, rest.segmentation), (Some(CHECKSUM), None));

        let header = gso(gso_type | NetHeader::GSO_ECN);
        if kind == SegmentationKind::UdpL4 {
            let error = OffloadError::Type(header.gso_type);
            assert_eq!(Offload::from_header(&header, SENDER), Err(error));
            continue;
        }
        let offload = Offload::from_header(&header, F::NET_CSUM | host | ecn).unwrap();
        assert_eq!(offload, segmentation(kind, true));
        assert_eq!(
            Offload::from_header(&header, SENDER.without(ecn)),
            Err(OffloadError::NotNegotiated(ecn))
        );
        let needs = F::NET_GUEST_CSUM | guest[0] | F::NET_GUEST_ECN;
        assert_eq!(offload.needs(false), needs);
        assert!(!offload.accepted_by(GUEST_OFFLOADS.without(F::NET_GUEST_ECN), false));
        assert_eq!(offload.header(66).gso_type, header.gso_type);
    }
}

#[test]
fn other_types() {
    let known = [
        NetHeader::GSO_TCPV4,
        NetHeader::GSO_TCPV6,
        NetHeader::GSO_UDP_L4,
        NetHeader::GSO_TCPV4 | NetHeader::GSO_ECN,
        NetHeader::GSO_TCPV6 | NetHeader::GSO_ECN,
    ];
    // UDP fragmentation as well, whatever is negotiated.
    for gso_type in (1..=0xff).filter(|gso_type| !known.contains(gso_type)) {
        assert_eq!(
            Offload::from_header(&gso(gso_type), Features(u64::MAX)),
            Err(OffloadError::Type(gso_type))
        );
    }
}

#[test]
fn segments_without_a_checksum_or_payload() {
    let header = gso(NetHeader::GSO_TCPV4);
    assert_eq!(
        Offload::from_header(&NetHeader { flags: 0, ..header }, SENDER),
        Err(OffloadError::NoChecksum)
    );
    let header = NetHeader {
        gso_size: 0,
        ..header
    };
    assert_eq!(
        Offload::from_header(&header, SENDER),
        Err(OffloadError::ZeroSize)
    );
}

#[test]
fn guest_offloads_in_effect() {
    let negotiated = SENDER | GUEST_OFFLOADS.without(F::NET_GUEST_UFO) | F::NET_CTRL_VQ;
    let all = GUEST_OFFLOADS.without(F::NET_GUEST_UFO);
    assert_eq!(initial_guest_offloads(negotiated), all);
    assert_eq!(initial_guest_offloads(SENDER), F::NONE);
    for offloads in [
        F::NONE,
        F::NET_GUEST_CSUM,
        F::NET_GUEST_CSUM | F::NET_GUEST_USO6,
        F::NET_GUEST_CSUM | F::NET_GUEST_TSO6 | F::NET_GUEST_ECN,
        all,
    ] {
        assert_eq!(guest_offloads(offloads.0, negotiated), Ok(offloads));
    }
    for other in [
        F::NET_GUEST_UFO,
        F::NET_CSUM,
        F::NET_CTRL_VQ,
        Features(1 << 63),
        Features(1 << 6),
    ] {
        assert_eq!(
            guest_offloads((all | other).0, negotiated),
            Err(GuestOffloadsError::NotNegotiated(other))
        );
    }
    let tso = F::NET_GUEST_TSO4 | F::NET_GUEST_TSO6;
    for (offloads, offload, needs) in [
        (F::NET_GUEST_TSO4, F::NET_GUEST_TSO4, F::NET_GUEST_CSUM),
        (F::NET_GUEST_USO4, F::NET_GUEST_USO4, F::NET_GUEST_CSUM),
        (F::NET_GUEST_CSUM | F::NET_GUEST_ECN, F::NET_GUEST_ECN, tso),
    ] {
        assert_eq!(
            guest_offloads(offloads.0, negotiated),
            Err(GuestOffloadsError::Missing { offload, needs })
        );
    }
}

#[test]
fn errors_say_what_is_wrong() {
    for (error, text) in [
        (
            OffloadError::NotNegotiated(F::NET_HOST_TSO4),
            "packet header needs VIRTIO_NET_F_HOST_TSO4, which is not negotiated",
        ),
        (OffloadError::Type(0x83), "gso_type 0x83"),
        (
            OffloadError::NoChecksum,
            "segmentation without a checksum to fill in",
        ),
        (OffloadError::ZeroSize, "gso_size 0"),
    ] {
        assert_eq!(error.to_string(), text);
    }
    let error = GuestOffloadsError::NotNegotiated(F::NET_GUEST_UFO);
    assert_eq!(error.to_string(), "VIRTIO_NET_F_GUEST_UFO not negotiated");
    let error = GuestOffloadsError::Missing {
        offload: F::NET_GUEST_TSO4,
        needs: F::NET_GUEST_CSUM,
    };
    assert_eq!(
        error.to_string(),
        "VIRTIO_NET_F_GUEST_TSO4 without VIRTIO_NET_F_GUEST_CSUM"
    );
}

proptest! {
    /// A header from a receiver's side says the same again, and nothing that was not
    /// negotiated gets through.
    #[test]
    fn any_header(
        bytes in any::<[u8; NetHeader::LEN]>(),
        flags in prop_oneof![Just(1), any::<u8>()],
        gso_type in prop_oneof![0..6_u8, Just(0x81), Just(0x84), any::<u8>()],
        features in prop_oneof![Just(SENDER.0), any::<u64>()],
        hdr_len in any::<u16>(),
    ) {
        let header = NetHeader { flags, gso_type, ..NetHeader::from_bytes(bytes) };
        let features = Features(features);
        let Ok(offload) = Offload::from_header(&header, features) else {
            prop_assert!(flags & 1 != 0 || gso_type != 0);
            return Ok(());
        };
        prop_assert_eq!(offload.checksum.is_some(), flags & 1 != 0);
        prop_assert_eq!(offload.segmentation.is_some(), gso_type != 0);
        prop_assert!(offload.checksum.is_none() || features.contains(F::NET_CSUM));
        if let Some(segmentation) = offload.segmentation {
            prop_assert!(offload.checksum.is_some());
            prop_assert_ne!(segmentation.size, 0);
            prop_assert!(!segmentation.ecn || features.contains(F::NET_HOST_ECN));
        }
        prop_assert_eq!(offload.needs(false).missing_dependency(), None);
        prop_assert_eq!(offload.needs(true).missing_dependency(), None);
        let received = offload.header(hdr_len);
        prop_assert_eq!(received.num_buffers, 1);
        prop_assert_eq!(received.flags & !NetHeader::NEEDS_CSUM, 0);
        prop_assert_eq!(received.gso_type, gso_type);
        let wanted = if gso_type != 0 { hdr_len } else { 0 };
        prop_assert_eq!(received.hdr_len, wanted);
        prop_assert_eq!(Offload::from_header(&received, SENDER), Ok(offload));
    }
}
