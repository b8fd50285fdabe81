// SPDX-License-Identifier: GPL-2.0

//! What is asked of a device: who it is, how large its rings are, what it has counted.

use super::{done, each_format, is_still, prepared, running, Numbered};
use crate::{
    check, check_eq,
    device::Device,
    harness::{Context, Test},
    ioctl,
    netlink::{attribute, parse, Attributes, Bus},
    outcome::{Outcome, Stop, While},
    tests::rings::{plan, ring_device, FEW},
    vhost::{refused, Client, Format, Net, Plan, RX, TX},
};
use nix::errno::Errno;
use rvdpa_virtio::features::Features;
use std::collections::BTreeMap;
use vhost::{vdpa::VhostVdpa, VhostBackend};

pub const TESTS: &[Test] = &[
    Test::new("contract.device_and_vendor", ids),
    Test::new("contract.largest_size_follows_the_format", odd).with("vq_num_max=1000"),
];

pub const RINGS: &[Test] = each_format! {
    "sizes_of_virtqueues", sizes;
    "statistics_follow_the_traffic", statistics;
    "statistics_refused", no_statistics;
};

/// `VDPA_CMD_DEV_GET`
const DEV_GET: u8 = 5;
/// `VDPA_ATTR_DEV_ID` and what follows it.
const ID: u16 = 5;
const VENDOR_ID: u16 = 6;
const MAX_VQS: u16 = 7;
const MAX_VQ_SIZE: u16 = 8;
const MIN_VQ_SIZE: u16 = 9;

/// The numbers that the bus shows of a device.
fn shown(name: &str) -> Outcome<BTreeMap<u16, u64>> {
    let answer = Bus::new()?
        .command(DEV_GET, &Attributes::named(name.as_bytes()))
        .when("dev show")?;
    let mut numbers = BTreeMap::new();
    for (kind, value) in parse(&answer) {
        let number = match *value {
            [a, b] => u16::from_ne_bytes([a, b]).into(),
            [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
            _ => continue,
        };
        numbers.insert(kind, number);
    }
    Ok(numbers)
}

/// The same by the client's ioctls and by the bus, in all states.
fn ids(context: &mut Context) -> Outcome {
    let (device, net) = prepared(context, Format::Split)?;
    let look = |net: &Net| -> Outcome {
        let kernel = net.client.kernel();
        check_eq!(kernel.get_device_id()?, 1, "device ID");
        check_eq!(kernel.get_vqs_count()?, 3, "virtqueues");
        check_eq!(kernel.get_group_num()?, 2, "groups");
        check_eq!(kernel.get_as_num()?, 2, "address spaces");
        check_eq!(kernel.get_config_size()?, 24, "bytes of the configuration");
        let range = kernel.get_iova_range()?;
        check_eq!((range.first, range.last), (0, u64::MAX), "iova range");
        Ok(())
    };
    look(&net)?;
    net.go()?;
    look(&net)?;
    net.client.suspend()?;
    look(&net)?;
    net.client.resume()?;
    let numbers = shown(device.name())?;
    for (attribute, wanted, what) in [
        (ID, 1, "device ID"),
        (VENDOR_ID, 0, "vendor ID"),
        (MAX_VQS, 3, "virtqueues"),
        (MAX_VQ_SIZE, 1024, "largest size"),
        (MIN_VQ_SIZE, 1, "smallest size"),
    ] {
        check_eq!(numbers.get(&attribute), Some(&wanted), "{what}");
    }
    done(device, net)
}

/// What was set is what is said of a device that runs; before, it says what could be.
fn sizes(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("contract", format)?;
    for size in [2, 64, 256, 1024] {
        let plan = Plan {
            size,
            ..plan(context)
        };
        let mut net = Net::prepare(&path, plan)?;
        let look = |net: &Net, wanted: [u32; 3], when: &str| -> Outcome {
            for (index, wanted) in wanted.into_iter().enumerate() {
                let got = ioctl::vring_size(&net.client, index as u32)?;
                check_eq!(got, wanted, "size of virtqueue {index} {when}");
            }
            check_eq!(net.client.kernel().get_vring_num()?, 1024, "largest size");
            Ok(())
        };
        look(&net, [1024; 3], "before DRIVER_OK")?;
        net.go()?;
        let set = [size.into(), size.into(), 64];
        look(&net, set, "of a device that runs")?;
        net.loop_frames(FEW)?;
        net.client.suspend()?;
        look(&net, set, "of a suspended device")?;
        net.client.resume()?;
        net.loop_frames(FEW)?;
        net.client.reset()?;
        look(&net, [1024; 3], "after a reset")?;
        for index in [3, u32::MAX] {
            let got = ioctl::vring_size(&net.client, index);
            check_eq!(got, Err(Errno::ENOBUFS), "size of virtqueue {index}");
        }
    }
    device.delete()
}

/// Split rings have powers of two; vhost-vdpa sets no other sizes of either format.
fn odd(_: &mut Context) -> Outcome {
    let (device, path) = ring_device("contract", Format::Packed)?;
    let mut client = Client::open(&path)?;
    let kernel_says = |client: &Client| client.kernel().get_vring_num();
    check_eq!(kernel_says(&client)?, 512, "largest size at first");
    client.negotiate(Features(u64::MAX))?;
    check_eq!(client.format(), Format::Packed, "format");
    check_eq!(kernel_says(&client)?, 1000, "largest size of packed rings");
    for (size, wanted) in [
        (512, None),
        (1000, Some(Errno::EINVAL)),
        (1024, Some(Errno::EINVAL)),
    ] {
        let got = refused(client.kernel().set_vring_num(TX, size));
        check_eq!(got, wanted, "size {size}");
    }
    client.negotiate(Features(u64::MAX).without(Features::RING_PACKED))?;
    check_eq!(kernel_says(&client)?, 512, "largest size of split rings");
    drop(client);
    device.delete()
}

/// A number that a virtqueue has counted.
fn number(device: &Device, index: usize, name: &str) -> Outcome<u64> {
    device.statistics(index as u32)?.get(name)
}

fn statistics(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    let mut frames = Numbered::default();
    let size = super::SIZE as u64;
    let mut kicks = 0;
    for round in 1..=10 {
        net.fill_rx()?;
        frames.add(&mut net, 50);
        net.tx.kick()?;
        kicks += 1;
        frames.take_all(&mut net)?;
        let sent = round * 50;
        for (index, name, wanted) in [
            (RX, "rx packets", sent),
            (RX, "rx bytes", sent * size),
            (RX, "rx drops no buffer", 0),
            (RX, "rx errors", 0),
            (TX, "tx packets", sent),
            (TX, "tx bytes", sent * size),
            (TX, "tx errors", 0),
            (TX, "kicks", kicks),
            (2, "cvq commands", 0),
        ] {
            check_eq!(number(&device, index, name)?, wanted, "{name}");
        }
        for index in [RX, TX] {
            let all = device.statistics(index as u32)?;
            let decided = all.get("interrupts raised")? + all.get("interrupts suppressed")?;
            check!(
                (round..=sent).contains(&decided),
                "{decided} decisions about interrupts in {round} rounds"
            );
        }
    }

    // Those that find no buffer.
    let mut posted = net.rx.posted() as u64;
    let mut sent = 500;
    for _ in 0..6 {
        sent += Numbered::default().add(&mut net, 100);
        net.tx.kick()?;
        crate::sys::wait_for("frames given back", super::SOON, || {
            net.reap()?;
            Ok((net.tx.posted() == 0).then_some(()))
        })?;
    }
    let taken = posted.min(sent - 500);
    posted -= taken;
    check_eq!(posted, 0, "receive buffers left");
    check_eq!(number(&device, RX, "rx packets")?, 500 + taken, "delivered");
    let drops = number(&device, RX, "rx drops no buffer")?;
    check_eq!(drops, sent - 500 - taken, "frames dropped");
    check_eq!(number(&device, TX, "tx packets")?, sent, "frames sent");

    // They stay while nothing happens, and outlive a reset.
    net.client.suspend()?;
    Numbered::default().add(&mut net, 10);
    is_still(&net, "while suspended")?;
    check_eq!(number(&device, TX, "tx packets")?, sent, "while suspended");
    let mut net = net.restart()?;
    check_eq!(number(&device, TX, "tx packets")?, sent, "after a reset");
    net.loop_frames(FEW)?;
    let wanted = sent + FEW.count;
    check_eq!(number(&device, TX, "tx packets")?, wanted, "frames sent");
    done(device, net)
}

/// The bus asks the device only once features were negotiated, and only for virtqueues that
/// it has.
fn no_statistics(_: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("contract", format)?;
    let mut client = Client::open(&path)?;
    let ask = |index: u32| -> Outcome<Option<Errno>> {
        let attributes = Attributes::named(device.name().as_bytes())
            .put(attribute::QUEUE_INDEX, &index.to_ne_bytes());
        let got = Bus::new()?.command(crate::netlink::command::DEV_VSTATS_GET, &attributes);
        Ok::<_, Stop>(got.err().map(|refusal| refusal.errno))
    };
    check_eq!(ask(0)?, Some(Errno::EAGAIN), "before negotiation");
    client.negotiate(Features(u64::MAX))?;
    for index in 0..3 {
        check_eq!(ask(index)?, None, "virtqueue {index}");
    }
    for index in [3, 4, 0x7fff] {
        check_eq!(ask(index)?, Some(Errno::EINVAL), "virtqueue {index}");
    }
    // Netlink itself.
    for index in [0xffff, 0x1_0000, u32::MAX] {
        check_eq!(ask(index)?, Some(Errno::ERANGE), "virtqueue {index}");
    }
    drop(client);
    device.delete()
}
