// SPDX-License-Identifier: GPL-2.0

//! Status and features follow the specification's state machine.

use crate::{
    check, check_eq,
    device::Device,
    harness::{Context, Test},
    outcome::{Outcome, While},
    sys::SOON,
    tests::rings::ring_device,
    vhost::{refused, wait_event, Client, Format, LoopPlan, Net, Plan, BASIC},
};
use nix::errno::Errno;
use rvdpa_virtio::{features::Features, net::control::mac, status::Status};
use std::time::Duration;
use vhost::{vdpa::VhostVdpa, VhostBackend};

pub const TESTS: &[Test] = &[
    Test::new("negotiation.features_refused", features_refused),
    Test::new("negotiation.status_order", status_order),
    Test::new("negotiation.features_are_final", features_final),
    Test::new("negotiation.needs_reset_is_the_devices", needs_reset),
    Test::new("negotiation.reset_brings_everything_back", reset),
    Test::new("negotiation.config_interrupt_for_new_mac", config_interrupt),
    Test::new("negotiation.no_config_interrupt_after_reset", no_interrupt),
];

const DRIVER: Status = Status(1 | 2);

/// A client at the status `DRIVER`.
fn client() -> Outcome<(Device, Client)> {
    let (device, path) = Device::for_vhost("neg")?;
    let client = Client::open(&path)?;
    client.add_status(Status::ACKNOWLEDGE)?;
    client.add_status(Status::DRIVER)?;
    Ok((device, client))
}

fn features_refused(context: &mut Context) -> Outcome {
    let (device, client) = client()?;
    let offered = Features(client.kernel().get_features()?);
    for (features, words) in [
        (
            offered | Features(1 << 45),
            "the driver wants bit 45, which is not offered",
        ),
        (
            offered | Features::RING_PACKED,
            "the driver wants VIRTIO_F_RING_PACKED, which is not offered",
        ),
        (
            offered.without(Features::VERSION_1),
            "the driver does not accept VIRTIO_F_VERSION_1",
        ),
        (
            offered.without(Features::ACCESS_PLATFORM),
            "the driver does not accept VIRTIO_F_ACCESS_PLATFORM",
        ),
        (
            BASIC.without(Features::NET_CTRL_VQ),
            "the driver wants VIRTIO_NET_F_CTRL_MAC_ADDR without VIRTIO_NET_F_CTRL_VQ",
        ),
    ] {
        let got = refused(client.kernel().set_features(features.0));
        check_eq!(got, Some(Errno::EINVAL), "{words}");
        context.log.expect(&["neg:", words])?;
        // The driver sees it: FEATURES_OK does not stay.
        client
            .kernel()
            .set_status(DRIVER.with(Status::FEATURES_OK).0)?;
        check_eq!(client.status()?, DRIVER, "status after {words}");
        context
            .log
            .expect(&["neg:", "FEATURES_OK was set for refused features"])?;
    }
    // And it may do better then.
    client.kernel().set_features(offered.0)?;
    client.add_status(Status::FEATURES_OK)?;
    drop(client);
    device.delete()
}

fn status_order(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("neg")?;
    let mut client = Client::open(&path)?;
    for (status, words) in [
        (Status::DRIVER, "DRIVER was set before ACKNOWLEDGE"),
        (
            DRIVER.with(Status::DRIVER_OK),
            "DRIVER_OK was set before FEATURES_OK",
        ),
        (DRIVER.with(Status(0x10)), "is not a device status"),
        (
            DRIVER.with(Status::FEATURES_OK).with(Status::DRIVER_OK),
            "FEATURES_OK was set for refused features",
        ),
    ] {
        client.kernel().set_status(status.0)?;
        check_eq!(client.status()?, Status::RESET, "status after {status}");
        context.log.expect(&["neg:", "refused:", words])?;
    }
    // Bits go only by a reset.
    client.add_status(Status::ACKNOWLEDGE)?;
    client.add_status(Status::DRIVER)?;
    let got = refused(client.kernel().set_status(Status::ACKNOWLEDGE.0));
    check_eq!(got, Some(Errno::EINVAL), "DRIVER taken back");
    check_eq!(client.status()?, DRIVER, "status");
    // A driver may give up at any time.
    client.add_status(Status::FAILED)?;
    client.reset()?;
    drop(client);
    device.delete()
}

fn features_final(_: &mut Context) -> Outcome {
    let (device, client) = client()?;
    let offered = client.kernel().get_features()?;
    let fewer = Features(offered).without(Features::EVENT_IDX).0;
    client.kernel().set_features(fewer)?;
    // Not yet final.
    client.kernel().set_features(offered)?;
    client.add_status(Status::FEATURES_OK)?;
    for features in [fewer, offered, 0] {
        let got = refused(client.kernel().set_features(features));
        check_eq!(
            got,
            Some(Errno::EBUSY),
            "features {features:#x} after FEATURES_OK"
        );
    }
    client.add_status(Status::DRIVER_OK)?;
    let got = refused(client.kernel().set_features(offered));
    check_eq!(got, Some(Errno::EBUSY), "features after DRIVER_OK");
    drop(client);
    device.delete()
}

fn needs_reset(_: &mut Context) -> Outcome {
    let (device, client) = client()?;
    client
        .kernel()
        .set_status(DRIVER.with(Status::NEEDS_RESET).0)?;
    check_eq!(
        client.status()?,
        DRIVER,
        "status after the driver set NEEDS_RESET"
    );
    drop(client);
    device.delete()
}

fn reset(_: &mut Context) -> Outcome {
    for format in Format::ALL {
        let (device, path) = ring_device("neg", format)?;
        let mut net = Net::new(&path, Plan::default())?;
        let provisioned = net.mac;
        net.loop_frames(LoopPlan {
            count: 10,
            size: 100,
            in_flight: 2,
        })?;
        let other = [2, 0, 0, 0, 0, 99];
        net.do_command(mac::CLASS, mac::ADDR_SET, &other)?;
        check_eq!(net.client.config()?.mac().0, other, "MAC address");
        net.client.reset()?;
        check_eq!(
            net.client.config()?.mac().0,
            provisioned,
            "MAC address after a reset"
        );
        net.client.negotiate(net.plan.features)?;
        for index in 0..3 {
            check_eq!(
                net.client.base(index)?,
                format.base(format.start()),
                "base of {} virtqueue {index} after a reset",
                format.name()
            );
        }
        drop(net);
        device.delete()?;
    }
    Ok(())
}

fn config_interrupt(_: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("neg")?;
    let net = Net::new(&path, Plan::default())?;
    check!(
        !wait_event(&net.config_call, Duration::from_millis(50))?,
        "a config interrupt without a reason"
    );
    let mac = [2, 0xa, 0xb, 0xc, 0xd, 0xe];
    for _ in 0..3 {
        crate::netlink::Bus::new()?
            .set_mac("neg", mac)
            .when("dev set")?;
        let come = wait_event(&net.config_call, SOON)?;
        check!(come, "no config interrupt for the new MAC address");
        check_eq!(net.client.config()?.mac().0, mac, "MAC address");
    }
    drop(net);
    device.delete()
}

fn no_interrupt(_: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("neg")?;
    let mut net = Net::new(&path, Plan::default())?;
    net.client.reset()?;
    crate::netlink::Bus::new()?.set_mac("neg", [2, 0, 0, 0, 0, 3])?;
    check!(
        !wait_event(&net.config_call, Duration::from_millis(100))?,
        "a config interrupt after a reset"
    );
    // It was taken note of nevertheless.
    check_eq!(
        net.client.config()?.mac().0,
        [2, 0, 0, 0, 0, 3],
        "MAC address"
    );
    drop(net);
    device.delete()
}
