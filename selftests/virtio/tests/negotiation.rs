// SPDX-License-Identifier: GPL-2.0

//! Feature bits and the device status (2.1, 2.2, 3.1, 5.1.3, 6).

use rvdpa_virtio::{
    features::Features,
    status::{
        Status,
        StatusError, //
    },
};

#[test]
fn sets_of_features_behave_as_sets() {
    let both = Features::NET_MAC | Features::NET_MTU;
    assert!(both.contains(Features::NET_MAC));
    assert!(!both.contains(Features::NET_MAC | Features::NET_MQ));
    assert!(both.intersects(Features::NET_MAC | Features::NET_MQ));
    assert!(!both.intersects(Features::NET_MQ));
    assert_eq!(both.without(Features::NET_MAC), Features::NET_MTU);
    assert_eq!(
        both.intersection(Features::NET_MAC | Features::NET_MQ),
        Features::NET_MAC
    );
    assert!(Features::NONE.is_empty());
    assert!(both.contains(Features::NONE));
    assert_eq!(
        both.bits().collect::<Vec<_>>(),
        [Features::NET_MTU, Features::NET_MAC]
    );
}

#[test]
fn clause_6_bits_have_their_numbers_and_names() {
    for (feature, bit, name) in [
        (Features::INDIRECT_DESC, 28, "VIRTIO_F_INDIRECT_DESC"),
        (Features::EVENT_IDX, 29, "VIRTIO_F_EVENT_IDX"),
        (Features::VERSION_1, 32, "VIRTIO_F_VERSION_1"),
        (Features::ACCESS_PLATFORM, 33, "VIRTIO_F_ACCESS_PLATFORM"),
        (Features::RING_PACKED, 34, "VIRTIO_F_RING_PACKED"),
        (Features::IN_ORDER, 35, "VIRTIO_F_IN_ORDER"),
        (Features::ORDER_PLATFORM, 36, "VIRTIO_F_ORDER_PLATFORM"),
        (Features::SR_IOV, 37, "VIRTIO_F_SR_IOV"),
        (
            Features::NOTIFICATION_DATA,
            38,
            "VIRTIO_F_NOTIFICATION_DATA",
        ),
        (Features::RING_RESET, 40, "VIRTIO_F_RING_RESET"),
        (Features::NET_MAC, 5, "VIRTIO_NET_F_MAC"),
        (Features::NET_SPEED_DUPLEX, 63, "VIRTIO_NET_F_SPEED_DUPLEX"),
    ] {
        assert_eq!(feature, Features(1 << bit));
        assert_eq!(feature.name(), Some(name));
    }
    assert_eq!(Features(1 << 24).name(), None);
    assert_eq!((Features::NET_MAC | Features::NET_MQ).name(), None);
    // No two constants have the same bit.
    let named = Features(u64::MAX).bits().filter(|bit| bit.name().is_some());
    assert_eq!(named.count(), 12 + 35);
}

#[test]
fn features_are_shown_by_name() {
    assert_eq!(Features::NONE.to_string(), "none");
    assert_eq!(
        (Features::NET_MAC | Features(1 << 24) | Features::VERSION_1).to_string(),
        "VIRTIO_NET_F_MAC|bit 24|VIRTIO_F_VERSION_1"
    );
}

#[test]
fn clause_5_1_3_1_a_bit_needs_those_it_depends_on() {
    use Features as F;
    let cases = [
        (F::NET_GUEST_TSO4, F::NET_GUEST_CSUM),
        (F::NET_GUEST_TSO6, F::NET_GUEST_CSUM),
        (F::NET_GUEST_UFO, F::NET_GUEST_CSUM),
        (F::NET_GUEST_USO4, F::NET_GUEST_CSUM),
        (F::NET_GUEST_USO6, F::NET_GUEST_CSUM),
        (F::NET_HOST_TSO4, F::NET_CSUM),
        (F::NET_HOST_TSO6, F::NET_CSUM),
        (F::NET_HOST_UFO, F::NET_CSUM),
        (F::NET_HOST_USO, F::NET_CSUM),
        (F::NET_CTRL_RX, F::NET_CTRL_VQ),
        (F::NET_CTRL_RX_EXTRA, F::NET_CTRL_VQ),
        (F::NET_CTRL_VLAN, F::NET_CTRL_VQ),
        (F::NET_GUEST_ANNOUNCE, F::NET_CTRL_VQ),
        (F::NET_MQ, F::NET_CTRL_VQ),
        (F::NET_CTRL_MAC_ADDR, F::NET_CTRL_VQ),
        (F::NET_NOTF_COAL, F::NET_CTRL_VQ),
        (F::NET_VQ_NOTF_COAL, F::NET_CTRL_VQ),
        (F::NET_RSS, F::NET_CTRL_VQ),
        (F::NET_HASH_REPORT, F::NET_CTRL_VQ),
        (F::NET_CTRL_GUEST_OFFLOADS, F::NET_CTRL_VQ),
        (F::NET_DEVICE_STATS, F::NET_CTRL_VQ),
    ];
    for (bit, needs) in cases {
        assert_eq!(bit.missing_dependency(), Some((bit, needs)));
        assert_eq!((bit | needs).missing_dependency(), None);
    }
}

#[test]
fn clause_5_1_3_1_some_bits_need_any_of_several() {
    use Features as F;
    for (bit, one, other, base) in [
        (
            F::NET_GUEST_ECN,
            F::NET_GUEST_TSO4,
            F::NET_GUEST_TSO6,
            F::NET_GUEST_CSUM,
        ),
        (
            F::NET_HOST_ECN,
            F::NET_HOST_TSO4,
            F::NET_HOST_TSO6,
            F::NET_CSUM,
        ),
        (
            F::NET_RSC_EXT,
            F::NET_HOST_TSO4,
            F::NET_HOST_TSO6,
            F::NET_CSUM,
        ),
        (
            F::NET_HASH_TUNNEL,
            F::NET_RSS,
            F::NET_HASH_REPORT,
            F::NET_CTRL_VQ,
        ),
    ] {
        let lonely = bit | base;
        assert_eq!(lonely.missing_dependency(), Some((bit, one | other)));
        assert_eq!((lonely | one).missing_dependency(), None);
        assert_eq!((lonely | other).missing_dependency(), None);
    }
}

#[test]
fn bits_without_dependencies_stand_alone() {
    let alone = Features::VERSION_1
        | Features::ACCESS_PLATFORM
        | Features::NET_MAC
        | Features::NET_MTU
        | Features::NET_STATUS
        | Features::NET_MRG_RXBUF;
    assert_eq!(alone.missing_dependency(), None);
    assert_eq!(Features::NONE.missing_dependency(), None);
}

const ACK: Status = Status::ACKNOWLEDGE;
const DRIVER: Status = ACK.with(Status::DRIVER);
const FEATURES: Status = DRIVER.with(Status::FEATURES_OK);
const READY: Status = FEATURES.with(Status::DRIVER_OK);

#[test]
fn clause_3_1_1_the_usual_way() {
    let way = [Status::RESET, ACK, DRIVER, FEATURES, READY];
    for (at, &current) in way.iter().enumerate() {
        for &requested in &way[at..] {
            if requested == Status::RESET {
                continue;
            }
            assert_eq!(Status::next(current, requested, true), Ok(requested));
        }
    }
}

#[test]
fn clause_3_1_1_bits_come_in_order() {
    for (requested, wanted, needs) in [
        (Status::DRIVER, Status::DRIVER, ACK),
        (
            DRIVER.with(Status::DRIVER_OK),
            Status::DRIVER_OK,
            Status::FEATURES_OK,
        ),
        (
            ACK.with(Status::DRIVER_OK),
            Status::DRIVER_OK,
            Status::FEATURES_OK,
        ),
    ] {
        assert_eq!(
            Status::next(Status::RESET, requested, true),
            Err(StatusError::Order { wanted, needs })
        );
    }
}

#[test]
fn a_hypervisor_may_begin_with_the_features() {
    let features = Status::FEATURES_OK;
    assert_eq!(Status::next(Status::RESET, features, true), Ok(features));
    let running = features.with(Status::DRIVER_OK);
    assert_eq!(Status::next(features, running, true), Ok(running));
    assert_eq!(
        Status::next(Status::RESET, features, false),
        Err(StatusError::FeaturesRefused)
    );
}

#[test]
fn clause_2_1_1_the_driver_clears_no_bits() {
    assert_eq!(
        Status::next(READY, FEATURES, true),
        Err(StatusError::Cleared(Status::DRIVER_OK))
    );
    assert_eq!(
        Status::next(READY, Status::RESET, true),
        Err(StatusError::Cleared(READY))
    );
}

#[test]
fn clause_2_2_1_refused_features_are_not_ok() {
    let refused = Err(StatusError::FeaturesRefused);
    assert_eq!(Status::next(DRIVER, FEATURES, false), refused);
    assert_eq!(Status::next(DRIVER, READY, false), refused);
    // Once accepted, it is not asked again.
    assert_eq!(Status::next(FEATURES, READY, false), Ok(READY));
}

#[test]
fn clause_2_1_failed_at_any_time() {
    for current in [Status::RESET, ACK, DRIVER, FEATURES, READY] {
        let failed = current.with(Status::FAILED);
        assert_eq!(Status::next(current, failed, false), Ok(failed));
    }
}

#[test]
fn clause_2_1_2_needs_reset_belongs_to_the_device() {
    let broken = READY.with(Status::NEEDS_RESET);
    // Whether the driver writes it back or not, it stays.
    assert_eq!(Status::next(broken, READY, true), Ok(broken));
    assert_eq!(Status::next(broken, broken, true), Ok(broken));
    let failed = READY.with(Status::FAILED);
    assert_eq!(
        Status::next(broken, failed, true),
        Ok(failed.with(Status::NEEDS_RESET))
    );
    assert_eq!(
        Status::next(FEATURES, broken.without(Status::DRIVER_OK), true),
        Ok(FEATURES)
    );
}

#[test]
fn clause_2_1_unknown_bits_are_refused() {
    assert_eq!(
        Status::next(ACK, Status(0x31), true),
        Err(StatusError::Unknown(Status(0x30)))
    );
}

#[test]
fn every_status_that_can_be_reached_is_in_order() {
    for current in 0..=255 {
        for requested in 0..=255 {
            let (current, requested) = (Status(current), Status(requested));
            if let Ok(next) = Status::next(current, requested, true) {
                assert!(next.contains(current));
                assert_eq!(
                    next.without(Status::NEEDS_RESET),
                    requested.without(Status::NEEDS_RESET)
                );
            }
        }
    }
}

#[test]
fn a_status_is_shown_by_name() {
    assert_eq!(Status::RESET.to_string(), "RESET");
    assert_eq!(
        READY.with(Status::NEEDS_RESET).to_string(),
        "ACKNOWLEDGE|DRIVER|DRIVER_OK|FEATURES_OK|NEEDS_RESET"
    );
    assert_eq!(Status(0x30 | 128).to_string(), "FAILED|0x30");
    for (error, text) in [
        (
            StatusError::Cleared(ACK),
            "ACKNOWLEDGE can only be cleared by a reset",
        ),
        (
            StatusError::Unknown(Status(16)),
            "0x10 is not a device status",
        ),
        (
            StatusError::Order {
                wanted: Status::DRIVER,
                needs: ACK,
            },
            "DRIVER was set before ACKNOWLEDGE",
        ),
        (
            StatusError::FeaturesRefused,
            "FEATURES_OK was set for refused features",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
