// SPDX-License-Identifier: GPL-2.0

//! Groups of virtqueues, and the address spaces that they are attached to.

use super::{done, each_format, Numbered};
use crate::{
    arena::View,
    check, check_eq,
    device::Device,
    harness::{Context, Test},
    ioctl,
    outcome::{Outcome, While},
    tests::rings::{plan, FEW},
    vhost::{refused, Client, Format, LoopPlan, Net, NewDevice, Plan, BASIC},
};
use nix::errno::Errno;
use rvdpa_virtio::{features::Features, mock::DriverMemory, status::Status};
use vhost::{vdpa::VhostVdpa, VhostBackend};

pub const TESTS: &[Test] = each_format! {
    "groups_follow_negotiation", groups;
    "address_spaces_refused", refusals;
    "control_queue_in_memory_of_its_own", spaces;
    "address_spaces_after_reset", reset;
};

/// A device with three pairs.
fn three_pairs(format: Format) -> Outcome<(Device, String)> {
    let ring = match format {
        Format::Split => Features::NONE,
        Format::Packed => Features::RING_PACKED,
    };
    NewDevice::named("contract")
        .features(BASIC | Features::NET_MQ | ring)
        .pairs(3)
        .make()
}

/// Sees that this virtqueue alone, of seven, is in the group of the control queue.
fn control_is(client: &Client, control: Option<u32>, when: &str) -> Outcome {
    for index in 0..7 {
        let wanted = u32::from(control == Some(index));
        let got = client.kernel().get_vring_group(index)?;
        check_eq!(got, wanted, "group of virtqueue {index} {when}");
    }
    for index in [7, 8, u32::MAX] {
        let got = refused(client.kernel().get_vring_group(index));
        check_eq!(got, Some(Errno::ENOBUFS), "group of virtqueue {index}");
    }
    Ok(())
}

/// Hypervisors ask after `FEATURES_OK`; the answer is right as soon as the features are set,
/// and again after a reset.
fn groups(_: &mut Context, format: Format) -> Outcome {
    let (device, path) = three_pairs(format)?;
    let mut client = Client::open(&path)?;
    let offered = Features(client.kernel().get_features()?);
    for (features, control) in [
        (offered, 6),
        (offered.without(Features::NET_MQ), 2),
        (offered, 6),
    ] {
        control_is(&client, Some(2), "before negotiation")?;
        client.add_status(Status::ACKNOWLEDGE)?;
        client.add_status(Status::DRIVER)?;
        control_is(&client, Some(2), "before SET_FEATURES")?;
        client.kernel().set_features(features.0)?;
        control_is(&client, Some(control), "after SET_FEATURES")?;
        client.add_status(Status::FEATURES_OK)?;
        control_is(&client, Some(control), "after FEATURES_OK")?;
        client.add_status(Status::DRIVER_OK)?;
        control_is(&client, Some(control), "after DRIVER_OK")?;
        client.suspend()?;
        control_is(&client, Some(control), "while suspended")?;
        client.reset()?;
    }
    control_is(&client, Some(2), "after a reset")?;
    drop(client);
    device.delete()
}

/// vhost-vdpa itself looks at the numbers, and at `DRIVER_OK`. It takes the number of the group
/// for one of a virtqueue first.
fn refusals(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = three_pairs(format)?;
    let mut net = Net::prepare(&path, plan(context))?;
    for (group, asid, wanted) in [
        (0, 2, Errno::EINVAL),
        (0, u32::MAX, Errno::EINVAL),
        (1, 2, Errno::EINVAL),
        (2, 0, Errno::EINVAL),
        (6, 0, Errno::EINVAL),
        (7, 0, Errno::ENOBUFS),
        (u32::MAX, 0, Errno::ENOBUFS),
    ] {
        let got = ioctl::set_group_asid(&net.client, group, asid);
        check_eq!(got, Err(wanted), "group {group} to address space {asid}");
    }
    net.go()?;
    for suspended in [false, true] {
        if suspended {
            net.client.suspend()?;
        }
        for (group, asid) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let got = ioctl::set_group_asid(&net.client, group, asid);
            check_eq!(
                got,
                Err(Errno::EBUSY),
                "group {group} to {asid} after DRIVER_OK, suspended: {suspended}"
            );
        }
    }
    net.client.resume()?;
    net.loop_frames(FEW)?;
    done(device, net)
}

/// Memory of the same addresses as that of another arena, for the other address space.
fn decoy(of: &View, context: &Context) -> Outcome<View> {
    let view = View::new(crate::tests::rings::kind(context), of.iova(), of.len())?;
    view.write(of.iova(), &vec![DECOY; of.len()]);
    Ok(view)
}

const DECOY: u8 = 0xa5;

fn untouched(view: &View) -> bool {
    let mut bytes = vec![0; view.len()];
    view.read(view.iova(), &mut bytes);
    bytes.iter().all(|byte| *byte == DECOY)
}

/// Each address means one thing to the frames' queues and another to the control queue, which
/// is at another index with and without `MQ`.
fn spaces(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = three_pairs(format)?;
    for pairs in [1, 3_u16] {
        let plan = Plan {
            pairs: pairs.into(),
            control_asid: 1,
            ..plan(context)
        };
        let plan = if pairs == 1 {
            plan.without(Features::NET_MQ)
        } else {
            plan
        };
        let mut net = Net::prepare(&path, plan)?;
        let index = net.control()?.index;
        check_eq!(index, 2 * usize::from(pairs), "index of the control queue");
        let data = decoy(&net.memory, context)?;
        let control = decoy(&net.control_memory, context)?;
        net.client.map_all(1, &data)?;
        net.client.map_all(0, &control)?;
        net.go()?;
        for round in 0..5 {
            let mac = [2, 0, 0, 0, 3, round];
            let class = rvdpa_virtio::net::control::mac::CLASS;
            net.do_command(class, rvdpa_virtio::net::control::mac::ADDR_SET, &mac)?;
            check_eq!(net.client.config()?.mac().0, mac, "address");
            net.mac = mac;
            if pairs > 1 {
                net.use_pairs(pairs)?;
            }
            net.loop_frames(LoopPlan {
                count: 200,
                size: 300,
                in_flight: 60,
            })?;
            net.client.suspend()?;
            net.client.resume()?;
        }
        check!(
            untouched(&data),
            "the device wrote frames to the control queue's address space"
        );
        check!(
            untouched(&control),
            "the device wrote answers to the frames' address space"
        );
    }
    device.delete()
}

/// A reset attaches all groups to the first address space; what is mapped there stays.
fn reset(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = three_pairs(format)?;
    let plan = plan(context);
    let mut net = Net::prepare(&path, plan)?;
    for group in [0, 1] {
        ioctl::set_group_asid(&net.client, group, 1).when("SET_GROUP_ASID")?;
    }
    // Everything is in the other address space now, but nothing mapped there.
    let data = decoy(&net.memory, context)?;
    net.client.map_all(1, &data)?;
    net.client.reset()?;
    let client = net.client;
    for view in [&net.memory, &net.control_memory] {
        client.unmap(0, view.iova(), view.len())?;
    }
    let mut net = Net::with(client, plan)?;
    net.go()?;
    let mut frames = Numbered::default();
    net.fill_rx()?;
    frames.add(&mut net, 100);
    net.tx.kick()?;
    frames.take_all(&mut net)?;
    check!(
        untouched(&data),
        "the device wrote to an address space that it was detached from"
    );
    done(device, net)
}
