// SPDX-License-Identifier: GPL-2.0

//! What a device added without attributes looks like through `/dev/vhost-vdpa-*`: existing
//! clients and their tests count on it.

use crate::{
    check, check_eq,
    device::{Device, Driver, MAC},
    harness::{Context, Test},
    ioctl::{self, backend},
    netlink::MGMTDEV,
    outcome::{Outcome, While},
    vhost::{refused, supported, Client, NewDevice, BASIC, SWITCH},
};
use nix::errno::Errno;
use rvdpa_virtio::{features::Features, net::NetConfig};
use vhost::{vdpa::VhostVdpa, vhost_kern::VhostKernFeatures, VhostBackend};

pub const TESTS: &[Test] = &[
    Test::new("shape.as_clients_expect", shape),
    Test::new("shape.config_space", config),
    Test::new("shape.config_is_read_only", read_only),
    Test::new("shape.features", features),
    Test::new("shape.features_on_request", on_request),
    Test::new("shape.queue_sizes", sizes),
    Test::new("shape.largest_queue_size", large).with("vq_num_max=32768"),
    Test::new("shape.smallest_queue_size", small).with("vq_num_max=2"),
];

fn plain() -> Outcome<(Device, Client)> {
    let device = Device::add("shape")?;
    device.bind(Driver::Vhost)?;
    let client = Client::open(&device.character_device()?)?;
    Ok((device, client))
}

fn done(device: Device, client: Client) -> Outcome {
    // To delete an open device would wait for ever.
    drop(client);
    device.delete()
}

fn shape(_: &mut Context) -> Outcome {
    let (device, client) = plain()?;
    let kernel = client.kernel();
    check_eq!(kernel.get_device_id()?, 1, "device ID");
    check_eq!(kernel.get_vqs_count()?, 3, "virtqueues");
    check_eq!(kernel.get_group_num()?, 2, "groups");
    check_eq!(kernel.get_as_num()?, 2, "address spaces");
    let range = kernel.get_iova_range()?;
    check_eq!((range.first, range.last), (0, u64::MAX), "iova range");
    check_eq!(kernel.get_config_size()?, 24, "bytes of the configuration");
    for (index, group) in [(0, 0), (1, 0), (2, 1)] {
        check_eq!(
            kernel.get_vring_group(index)?,
            group,
            "group of virtqueue {index}"
        );
    }
    check_eq!(
        refused(kernel.get_vring_group(3)),
        Some(Errno::ENOBUFS),
        "group of virtqueue 3"
    );
    for (group, asid, wanted) in [
        (0, 0, Ok(())),
        (0, 1, Ok(())),
        (1, 1, Ok(())),
        (0, 2, Err(Errno::EINVAL)),
        (2, 0, Err(Errno::EINVAL)),
        (0, u32::MAX, Err(Errno::EINVAL)),
    ] {
        let got = ioctl::set_group_asid(&client, group, asid);
        check_eq!(got, wanted, "group {group} to address space {asid}");
    }
    let features = client.kernel().get_backend_features()?;
    let wanted = backend::SUSPEND
        | backend::RESUME
        | backend::IOTLB_ASID
        | backend::IOTLB_PERSIST
        | backend::ENABLE_AFTER_DRIVER_OK;
    check_eq!(features & wanted, wanted, "backend features");
    done(device, client)
}

fn config(_: &mut Context) -> Outcome {
    let device = Device::add_mac("shape", MAC)?;
    device.bind(Driver::Vhost)?;
    let client = Client::open(&device.character_device()?)?;
    let mut all = [0xaa; NetConfig::LEN];
    client.kernel().get_config(0, &mut all)?;
    let mut wanted = NetConfig::new();
    wanted.set_mac(rvdpa_virtio::net::MacAddress(MAC));
    wanted.set_status(NetConfig::LINK_UP);
    wanted.set_max_virtqueue_pairs(1);
    wanted.set_mtu(1500);
    wanted.set_speed(10_000);
    wanted.set_duplex(NetConfig::DUPLEX_FULL);
    wanted.set_rss_max_key_size(40);
    wanted.set_rss_max_indirection_table_length(128);
    wanted.set_supported_hash_types(0x3f);
    check_eq!(&all, wanted.as_bytes(), "configuration");
    // Any part of it, and nothing beyond.
    for from in 0..NetConfig::LEN {
        let mut part = vec![0xaa; NetConfig::LEN - from];
        client.kernel().get_config(from as u32, &mut part)?;
        check_eq!(part, all[from..], "configuration from {from} on");
        let mut more = vec![0; NetConfig::LEN - from + 1];
        let got = client.kernel().get_config(from as u32, &mut more);
        check_eq!(
            refused(got),
            Some(Errno::EINVAL),
            "one byte too many from {from} on"
        );
    }
    done(device, client)
}

fn read_only(_: &mut Context) -> Outcome {
    let (device, client) = plain()?;
    let mut before = [0; NetConfig::LEN];
    client.kernel().get_config(0, &mut before)?;
    for (offset, len) in [(0, 6), (6, 2), (0, 24), (23, 1)] {
        client.kernel().set_config(offset, &vec![0x55; len])?;
    }
    let mut after = [0; NetConfig::LEN];
    client.kernel().get_config(0, &mut after)?;
    check_eq!(after, before, "configuration after a driver wrote to it");
    done(device, client)
}

/// What every device offers.
const USUAL: &[Features] = &[
    BASIC,
    Features::NET_CSUM,
    Features::NET_GUEST_CSUM,
    Features::NET_CTRL_GUEST_OFFLOADS,
    Features::NET_GUEST_TSO4,
    Features::NET_GUEST_TSO6,
    Features::NET_GUEST_ECN,
    Features::NET_HOST_TSO4,
    Features::NET_HOST_TSO6,
    Features::NET_HOST_ECN,
    Features::NET_MRG_RXBUF,
    Features::NET_CTRL_RX,
    Features::NET_CTRL_VLAN,
    Features::NET_CTRL_RX_EXTRA,
    Features::NET_GUEST_ANNOUNCE,
    Features::NET_VQ_NOTF_COAL,
    Features::NET_NOTF_COAL,
    Features::NET_GUEST_USO4,
    Features::NET_GUEST_USO6,
    Features::NET_HOST_USO,
    Features::NET_GUEST_HDRLEN,
    Features::NET_SPEED_DUPLEX,
];

/// What a device offers that was asked for it.
const ON_REQUEST: &[Features] = &[
    Features::RING_PACKED,
    Features::IN_ORDER,
    Features::NOTIFICATION_DATA,
    Features::NET_HASH_REPORT,
    Features::NET_DEVICE_STATS,
];

fn all(features: &[Features]) -> Features {
    features.iter().fold(Features::NONE, |all, bit| all | *bit)
}

fn features(_: &mut Context) -> Outcome {
    let several = Features::NET_MQ | Features::NET_RSS;
    for mgmtdev in [MGMTDEV, SWITCH] {
        for (pairs, wanted) in [
            (None, all(USUAL)),
            (Some(1), all(USUAL)),
            (Some(2), all(USUAL) | several),
            (Some(64), all(USUAL) | several),
        ] {
            let new = NewDevice {
                mgmtdev,
                max_vqp: pairs,
                ..NewDevice::named("shape")
            };
            let (device, path) = new.make()?;
            let client = Client::open(&path)?;
            let offered = Features(client.kernel().get_features()?);
            check_eq!(
                offered,
                wanted,
                "features at {mgmtdev} with max_vqp {pairs:?}, more: {}, fewer: {}",
                offered.without(wanted),
                wanted.without(offered)
            );
            done(device, client)?;
        }
    }
    Ok(())
}

/// A device offers exactly what it was asked for.
fn on_request(_: &mut Context) -> Outcome {
    let least = Features::VERSION_1 | Features::ACCESS_PLATFORM;
    let every = all(USUAL) | all(ON_REQUEST) | Features::NET_MQ | Features::NET_RSS;
    for mgmtdev in [MGMTDEV, SWITCH] {
        let lacking = every.without(supported(mgmtdev)?);
        check!(lacking.is_empty(), "{mgmtdev} does not support {lacking}");
    }
    let singles = every.without(least).bits().map(|bit| {
        // With what it needs.
        let mut features = least | bit;
        while let Some((_, needs)) = features.missing_dependency() {
            features = features | needs.bits().next().unwrap_or(needs);
        }
        features
    });
    for features in [least, every].into_iter().chain(singles) {
        let new = NewDevice::named("shape").features(features).pairs(2);
        let (device, path) = new.make().when(features)?;
        let client = Client::open(&path)?;
        let offered = Features(client.kernel().get_features()?);
        check_eq!(
            offered,
            features,
            "features of a device asked for {features}"
        );
        done(device, client)?;
    }
    Ok(())
}

/// What sizes of virtqueues are taken, when the largest is `most`.
fn sizes_up_to(most: u16) -> Outcome {
    let (device, client) = plain()?;
    let kernel = client.kernel();
    check_eq!(kernel.get_vring_num()?, most, "largest size");
    for index in 0..3 {
        let mut size = 1;
        while size <= most {
            kernel.set_vring_num(index, size).when(size)?;
            if size == most {
                break;
            }
            size *= 2;
        }
        let mut odd = vec![0, 3, most - 1, most | 1, u16::MAX];
        odd.retain(|size| !(size.is_power_of_two() && *size <= most));
        odd.extend(most.checked_mul(2));
        for size in odd {
            let got = refused(kernel.set_vring_num(index, size));
            check_eq!(got, Some(Errno::EINVAL), "size {size}");
        }
    }
    let size = ioctl::vring_size(&client, 0)?;
    check!(
        size == u32::from(most),
        "VHOST_VDPA_GET_VRING_SIZE says {size}"
    );
    done(device, client)
}

fn sizes(_: &mut Context) -> Outcome {
    sizes_up_to(1024)
}

fn large(_: &mut Context) -> Outcome {
    sizes_up_to(32768)
}

fn small(_: &mut Context) -> Outcome {
    sizes_up_to(2)
}
