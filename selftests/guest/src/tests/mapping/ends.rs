// SPDX-License-Identifier: GPL-2.0

//! The range of addresses that a device can translate, and its very ends.

use super::MANY;
use crate::{
    arena::View,
    check_eq,
    harness::{Context, Test},
    ioctl::{self, Permission},
    module,
    outcome::{Outcome, While},
    tests::rings::{kind, plan, ring_device, FEW},
    vhost::{Client, Format, Net, Plan},
};
use nix::errno::Errno;
use vhost::vdpa::VhostVdpa;

const SMALL: &str = "iova_first=0x100000 iova_last=0x7fffffff";
const SMALL_TABLES: &str = "batch_mapping=1 iova_first=0x100000 iova_last=0x7fffffff";
const SMALL_VA: &str = "use_va=1 iova_first=0x100000 iova_last=0x7fffffff";

pub const TESTS: &[Test] = &[
    Test::new("mapping.range.is_what_the_parameters_say", told).without_module(),
    Test::new("mapping.range.that_cannot_be", refused).without_module(),
    Test::new("mapping.range.maps_outside_are_refused", outside).with(SMALL),
    Test::new("mapping.range.maps_outside_are_refused.set_map", outside).with(SMALL_TABLES),
    Test::new("mapping.range.maps_outside_are_refused.va", outside).with(SMALL_VA),
    Test::new("mapping.range.traffic_at_both_ends", both_ends).with(SMALL),
    Test::new("mapping.range.traffic_at_both_ends.set_map", both_ends).with(SMALL_TABLES),
    Test::new("mapping.range.traffic_at_both_ends.va", both_ends).with(SMALL_VA),
    Test::new("mapping.range.first_and_last_address_of_all", all),
    Test::new("mapping.range.first_and_last_address_of_all.set_map", all).with("batch_mapping=1"),
    Test::new("mapping.range.first_and_last_address_of_all.va", all).with("use_va=1"),
    Test::new(
        "mapping.range.first_and_last_address_of_all.set_map.va",
        all,
    )
    .with("batch_mapping=1 use_va=1"),
];

fn told(context: &mut Context) -> Outcome {
    for (parameters, first, last) in [
        ("", 0, u64::MAX),
        ("iova_first=4096", 4096, u64::MAX),
        ("iova_last=0xffffffff", 0, 0xffff_ffff),
        ("iova_first=5 iova_last=5", 5, 5),
        ("iova_first=0xffffffffffffffff", u64::MAX, u64::MAX),
        ("iova_last=0", 0, 0),
        (
            "iova_first=0x8000000000000000 iova_last=0xfffffffffffffffe",
            1 << 63,
            u64::MAX - 1,
        ),
    ] {
        context.step(format_args!("'{parameters}'"));
        module::load(parameters)?;
        let (device, path) = ring_device("range", Format::Split)?;
        let client = Client::open(&path)?;
        let range = client.kernel().get_iova_range()?;
        check_eq!((range.first, range.last), (first, last), "'{parameters}'");
        drop(client);
        device.delete()?;
        module::unload().when(parameters)?;
    }
    Ok(())
}

fn refused(context: &mut Context) -> Outcome {
    for (first, last) in [
        ("1", "0"),
        ("0x80000000", "0x7fffffff"),
        ("18446744073709551615", "0"),
    ] {
        let parameters = format!("iova_first={first} iova_last={last}");
        let got = module::try_load(&parameters)?;
        check_eq!(got, Err(Errno::EINVAL), "{parameters}");
        context.log.expect(&["rvdpa_sim:", "iova_first"])?;
    }
    // What is no number of 64 bits the kernel refuses itself.
    for value in ["18446744073709551616", "-1", "low"] {
        let got = module::try_load(&format!("iova_first={value}"))?;
        crate::check!(got.is_err(), "iova_first={value} was accepted");
    }
    crate::check!(!module::is_loaded(), "the module is loaded");
    Ok(())
}

fn outside(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("range", Format::Split)?;
    let client = Client::open(&path)?;
    let range = client.kernel().get_iova_range()?;
    let (first, last) = (range.first, range.last);
    let view = View::new(kind(context), 0, 0x4000)?;
    let try_map = |iova: u64, len: u64| {
        let pointer = view.pointer(0, 0x4000);
        ioctl::map(&client, 0, iova, len, pointer, Permission::Both)
    };
    for (iova, len) in [
        (0, 0x1000),
        (first - 0x1000, 0x1000),
        (first - 0x1000, 0x2000),
        (last + 1, 0x1000),
        (last - 0xfff, 0x2000),
        (first - 0x1000, last - first + 0x2001),
        (u64::MAX - 0xfff, 0x1000),
        (1 << 32, 0x1000),
    ] {
        check_eq!(
            try_map(iova, len),
            Err(Errno::EFAULT),
            "{len:#x} bytes at {iova:#x}"
        );
    }
    for (iova, len) in [(first, 0x1000), (last - 0xfff, 0x1000)] {
        check_eq!(try_map(iova, len), Ok(()), "{len:#x} bytes at {iova:#x}");
    }
    drop(client);
    device.delete()
}

/// How many bytes the memory of a driver with a plan has: of its pairs, of its control queue.
fn lengths(path: &str, plan: Plan) -> Outcome<(u64, u64)> {
    let net = Net::prepare(path, plan)?;
    Ok((net.memory.len() as u64, net.control_memory.len() as u64))
}

/// Traffic with the rings first, and with the last buffers last.
fn traffic_between(context: &mut Context, first: u64, last: u64) -> Outcome {
    for format in Format::ALL {
        let (device, path) = ring_device("range", format)?;
        let inside = Plan {
            iova: first,
            control_iova: first + 0x1000_0000,
            indirect: format == Format::Packed,
            ..plan(context)
        };
        let (len, control_len) = lengths(&path, inside)?;
        for (where_, iova, control_iova) in [
            ("start", first, last - control_len + 1),
            ("end", last - len + 1, first),
        ] {
            context.step(format_args!("{format:?}, memory at the {where_}"));
            let plan = Plan {
                iova,
                control_iova,
                ..inside
            };
            let mut net = Net::new(&path, plan)?;
            // More than there are buffers, so that each is used.
            net.loop_frames(MANY)?;
            super::command(&mut net).when(format_args!("control queue, memory at the {where_}"))?;
            let net = net.restart()?;
            net.client.unmap(0, iova, net.memory.len())?;
            drop(net);
        }
        device.delete()?;
    }
    Ok(())
}

fn both_ends(context: &mut Context) -> Outcome {
    traffic_between(context, 0x10_0000, 0x7fff_ffff)
}

fn all(context: &mut Context) -> Outcome {
    traffic_between(context, 0, u64::MAX)?;
    // The bus hands on the greatest range that it can.
    let (device, path) = ring_device("range", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    net.client.unmap(0, 0, usize::MAX)?;
    net = net.restart()?;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}
