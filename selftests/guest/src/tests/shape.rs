// SPDX-License-Identifier: GPL-2.0

//! What a device added without attributes looks like through `/dev/vhost-vdpa-*`: existing
//! clients and their tests count on it.

use crate::{
    check, check_eq,
    device::{Device, Driver, MAC},
    harness::{Context, Test},
    ioctl::{self, backend},
    outcome::{Outcome, While},
    vhost::{refused, Client},
};
use nix::errno::Errno;
use rvdpa_virtio::{features::Features, net::NetConfig};
use vhost::{vdpa::VhostVdpa, vhost_kern::VhostKernFeatures, VhostBackend};

pub const TESTS: &[Test] = &[
    Test::new("shape.as_clients_expect", shape),
    Test::new("shape.config_space", config),
    Test::new("shape.config_is_read_only", read_only),
    Test::new("shape.features", features),
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

fn features(_: &mut Context) -> Outcome {
    let (device, client) = plain()?;
    let wanted = Features::VERSION_1
        | Features::ACCESS_PLATFORM
        | Features::ORDER_PLATFORM
        | Features::INDIRECT_DESC
        | Features::EVENT_IDX
        | Features::NET_MAC
        | Features::NET_MTU
        | Features::NET_STATUS
        | Features::NET_CTRL_VQ
        | Features::NET_CTRL_MAC_ADDR;
    check_eq!(client.kernel().get_features()?, wanted.0, "features");
    done(device, client)
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
