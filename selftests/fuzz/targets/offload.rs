// SPDX-License-Identifier: GPL-2.0

//! Headers of packets that a driver sends.

use crate::{
    choices::Choices,
    told, //
};
use rvdpa_virtio::{
    features::Features,
    net::{
        offload::{
            guest_offloads,
            initial_guest_offloads,
            Offload,
            GUEST_OFFLOADS, //
        },
        NetConfig,
        NetHeader, //
    },
};

/// A header, what it leaves to do, and who takes it so.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    let bytes: [u8; NetHeader::LEN] = c.array();
    let header = NetHeader::from_bytes(bytes);
    assert_eq!(header.to_bytes(), bytes);
    let features = Features(c.u64());
    match Offload::from_header(&header, features) {
        Ok(offload) => check(&offload, &header, features, &c),
        Err(error) => {
            assert!(!header.is_plain(), "a plain header is refused");
            told(&error);
        }
    }
    offloads(c.u64(), features);
    config(&c);
}

fn check(offload: &Offload, header: &NetHeader, features: Features, c: &Choices<'_>) {
    let (checksum, segments) = (offload.checksum, offload.segmentation);
    assert_eq!(offload.is_none(), header.is_plain());
    assert_eq!(
        checksum.is_some(),
        header.flags & NetHeader::NEEDS_CSUM != 0
    );
    assert_eq!(segments.is_some(), header.gso_type != NetHeader::GSO_NONE);
    assert!(segments.is_none_or(|segments| segments.size > 0 && checksum.is_some()));
    assert!(checksum.is_none() || features.contains(Features::NET_CSUM));
    assert_eq!(offload.without_segmentation().segmentation, None);
    assert_eq!(offload.without_segmentation().checksum, checksum);

    // What a receiver gets says the same, if it is given everything.
    let hdr_len = c.u16();
    let passed = offload.header(hdr_len);
    assert_eq!(passed.num_buffers, 1);
    let all = Features::NET_CSUM
        | Features::NET_HOST_TSO4
        | Features::NET_HOST_TSO6
        | Features::NET_HOST_ECN
        | Features::NET_HOST_USO;
    assert_eq!(Offload::from_header(&passed, all), Ok(*offload));
    for v6 in [false, true] {
        let needs = offload.needs(v6);
        assert!(GUEST_OFFLOADS.contains(needs));
        assert!(offload.accepted_by(needs, v6));
        assert_eq!(needs.is_empty(), offload.is_none());
        for one in needs.bits() {
            assert!(!offload.accepted_by(needs.without(one), v6));
        }
    }
}

/// What a driver switches on is what it has negotiated, and goes together.
fn offloads(wanted: u64, negotiated: Features) {
    let initial = initial_guest_offloads(negotiated);
    match guest_offloads(wanted, negotiated) {
        Ok(set) => {
            assert_eq!(set.0, wanted);
            assert!(initial.contains(set) && GUEST_OFFLOADS.contains(set));
            assert_eq!(set.missing_dependency(), None);
        }
        Err(error) => told(&error),
    }
    assert!(guest_offloads(0, negotiated).is_ok());
}

/// Each field of the configuration keeps what was put there, whatever comes after.
fn config(c: &Choices<'_>) {
    let mut config = NetConfig::new();
    let (status, pairs, mtu, speed) = (c.u16(), c.u16(), c.u16(), c.u32());
    let (duplex, key, table, types) = (c.u8(), c.u8(), c.u16(), c.u32());
    let mac = rvdpa_virtio::net::MacAddress(c.array());
    config.set_status(status);
    config.set_max_virtqueue_pairs(pairs);
    config.set_mtu(mtu);
    config.set_speed(speed);
    config.set_duplex(duplex);
    config.set_rss_max_key_size(key);
    config.set_rss_max_indirection_table_length(table);
    config.set_supported_hash_types(types);
    config.set_mac(mac);
    assert_eq!(config.mac(), mac);
    assert_eq!(config.status(), status);
    assert_eq!(config.max_virtqueue_pairs(), pairs);
    assert_eq!(config.mtu(), mtu);
    assert_eq!(config.speed(), speed);
    assert_eq!(config.duplex(), duplex);
    assert_eq!(config.rss_max_key_size(), key);
    assert_eq!(config.rss_max_indirection_table_length(), table);
    assert_eq!(config.supported_hash_types(), types);
}
