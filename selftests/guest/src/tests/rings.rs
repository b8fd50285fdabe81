// SPDX-License-Identifier: GPL-2.0

//! Frames through rings of every legal shape, of either format, in both modes of memory.

mod in_order;
mod notifications;
mod state;

use crate::{
    arena::Kind,
    check, check_eq,
    device::Device,
    frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    vhost::{Format, LoopPlan, Net, NewDevice, Plan},
};
use rvdpa_virtio::features::Features;

/// The same test in PA mode and in VA mode.
macro_rules! both {
    ($($name:literal, $run:expr;)*) => {
        &[
            $(
                Test::new(concat!("vhost_pa.", $name), $run),
                Test::new(concat!("vhost_va.", $name), $run).with("use_va=1"),
            )*
        ]
    };
}
pub(super) use both;

/// The same test with split and with packed rings, in PA mode and in VA mode.
macro_rules! each_ring {
    ($($name:literal, $run:expr;)*) => {
        &[
            $(
                Test::new(concat!("vhost_pa.split.", $name), |context| {
                    $run(context, $crate::vhost::Format::Split)
                }),
                Test::new(concat!("vhost_pa.packed.", $name), |context| {
                    $run(context, $crate::vhost::Format::Packed)
                }),
                Test::new(concat!("vhost_va.split.", $name), |context| {
                    $run(context, $crate::vhost::Format::Split)
                })
                .with("use_va=1"),
                Test::new(concat!("vhost_va.packed.", $name), |context| {
                    $run(context, $crate::vhost::Format::Packed)
                })
                .with("use_va=1"),
            )*
        ]
    };
}
pub(super) use each_ring;

pub(super) use notifications::is_idle;

pub use in_order::TESTS as IN_ORDER;
pub use notifications::TESTS as NOTIFICATIONS;
pub use state::TESTS as STATE;

pub const TESTS: &[Test] = each_ring! {
    "direct_descriptors", direct;
    "indirect_descriptors", indirect;
    "without_event_index", no_event_index;
    "every_ring_size", sizes;
    "indices_wrap", wrap;
    "chains_of_many_descriptors", many;
    "buffers_across_pages", across;
    "frames_of_every_size", every_size;
    "large_frames", large;
};

/// The kind of memory that works with the module's parameters.
pub(super) fn kind(context: &Context) -> Kind {
    if context.has("use_va=1") {
        Kind::Shared
    } else {
        Kind::Anonymous
    }
}

/// A client with that kind of memory.
pub(super) fn plan(context: &Context) -> Plan {
    Plan {
        kind: kind(context),
        ..Plan::default()
    }
}

/// Enough frames to see that the rings work.
pub(super) const FEW: LoopPlan = LoopPlan {
    count: 20,
    size: 100,
    in_flight: 8,
};

/// A device whose rings have a format: one without attributes, if that will do.
pub(super) fn ring_device(name: &str, format: Format) -> Outcome<(Device, String)> {
    match format {
        Format::Split => Device::for_vhost(name),
        Format::Packed => NewDevice::named(name).format(format, Features::NONE).make(),
    }
}

/// Such a device that runs, with a driver that has all else as usual.
pub(super) fn running(context: &Context, name: &str, format: Format) -> Outcome<(Device, Net)> {
    let (device, path) = ring_device(name, format)?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    let net = Net::new(&path, plan)?;
    check_eq!(net.format(), format, "format of the rings");
    Ok((device, net))
}

/// Has frames looped by a new device.
fn looped(context: &mut Context, format: Format, plan: Plan, what: LoopPlan) -> Outcome {
    let made = ring_device("ring", format)?;
    looped_by(context, made, plan, what)
}

/// Has frames looped, and the device deleted.
fn looped_by(
    context: &mut Context,
    (device, path): (Device, String),
    plan: Plan,
    what: LoopPlan,
) -> Outcome {
    let plan = Plan {
        kind: kind(context),
        ..plan
    };
    let mut net = Net::new(&path, plan)?;
    net.loop_frames(what)?;
    let rx = device.statistics(0)?;
    check_eq!(rx.get("rx packets")?, what.count, "frames counted");
    check_eq!(
        rx.get("rx bytes")?,
        what.count * what.size as u64,
        "bytes counted"
    );
    check_eq!(
        device.statistics(1)?.get("tx packets")?,
        what.count,
        "frames counted"
    );
    drop(net);
    device.delete()
}

const SOME: LoopPlan = LoopPlan {
    count: 2000,
    size: 100,
    in_flight: 64,
};

fn direct(context: &mut Context, format: Format) -> Outcome {
    looped(context, format, Plan::default(), SOME)
}

fn indirect(context: &mut Context, format: Format) -> Outcome {
    let plan = Plan {
        indirect: true,
        pieces: 3,
        ..Plan::default()
    };
    looped(context, format, plan, SOME)
}

fn no_event_index(context: &mut Context, format: Format) -> Outcome {
    for (pieces, indirect) in [(1, false), (2, false), (2, true)] {
        let plan = Plan {
            features: Features(u64::MAX).without(Features::EVENT_IDX),
            pieces,
            indirect,
            ..Plan::default()
        };
        looped(context, format, plan, SOME)?;
    }
    // Not even indirect descriptors.
    let plan = Plan {
        features: Features::VERSION_1 | Features::ACCESS_PLATFORM,
        ..Plan::default()
    };
    looped(context, format, plan, SOME)
}

fn sizes(context: &mut Context, format: Format) -> Outcome {
    let mut size = 2;
    while size <= 1024 {
        context.step(format_args!("rings of {size}"));
        for in_flight in [1, u64::from(size)] {
            let plan = Plan {
                size,
                ..Plan::default()
            };
            let what = LoopPlan {
                count: 2 * u64::from(size) + 5,
                size: 60,
                in_flight,
            };
            if in_flight == 1 && size > 64 {
                continue;
            }
            looped(context, format, plan, what).when(format_args!("rings of {size}"))?;
        }
        size *= 2;
    }
    Ok(())
}

fn wrap(context: &mut Context, format: Format) -> Outcome {
    // Once all the way around, and once over the edge with each form.
    let (count, base) = match format {
        Format::Split => (66_000, 65_000),
        Format::Packed => (2000, 200),
    };
    let what = LoopPlan {
        count,
        size: 60,
        in_flight: 128,
    };
    looped(context, format, Plan::default(), what)?;
    for (features, indirect) in [
        (Features(u64::MAX), true),
        (Features(u64::MAX).without(Features::EVENT_IDX), false),
    ] {
        let plan = Plan {
            features,
            indirect,
            pieces: 2,
            base: Some(base),
            ..Plan::default()
        };
        let what = LoopPlan {
            count: 1500,
            ..what
        };
        looped(context, format, plan, what)?;
    }
    Ok(())
}

fn many(context: &mut Context, format: Format) -> Outcome {
    for (size, pieces, indirect) in [
        (256, 16, false),
        (64, 64, false),
        (256, 40, true),
        (256, 256, true),
    ] {
        context.step(format_args!("{pieces} descriptors, indirect: {indirect}"));
        let plan = Plan {
            size,
            pieces,
            indirect,
            ..Plan::default()
        };
        let what = LoopPlan {
            count: 100,
            size: 1514,
            in_flight: 4,
        };
        looped(context, format, plan, what)
            .when(format_args!("{pieces} descriptors, indirect: {indirect}"))?;
    }
    Ok(())
}

fn across(context: &mut Context, format: Format) -> Outcome {
    for pieces in [1, 3] {
        let plan = Plan {
            room: 3001,
            pieces,
            ..Plan::default()
        };
        let what = LoopPlan {
            count: 300,
            size: 2900,
            in_flight: 32,
        };
        looped(context, format, plan, what)?;
    }
    Ok(())
}

fn every_size(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("ring", format)?;
    let plan = Plan {
        kind: kind(context),
        pieces: 2,
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    net.fill_rx()?;
    let mac = net.mac;
    for size in frame::HEADER..=1514 {
        let sent = frame::make(size, mac, mac, size as u64);
        check!(net.add_frame(&sent), "no room in the transmit queue");
        net.send()?;
        let got = net.wait_receive()?;
        let difference = frame::difference(&got, &sent);
        check!(
            difference.is_none(),
            "size {size}: {}",
            difference.unwrap_or_default()
        );
        net.fill_rx()?;
        net.reap()?;
    }
    drop(net);
    device.delete()
}

fn large(context: &mut Context, format: Format) -> Outcome {
    for size in [4096, 9014, 65549, 300_000] {
        context.step(format_args!("frames of {size}"));
        let plan = Plan {
            room: size + 12,
            size: 16,
            pieces: 3,
            ..Plan::default()
        };
        let what = LoopPlan {
            count: 20,
            size,
            in_flight: 4,
        };
        looped(context, format, plan, what).when(format_args!("frames of {size}"))?;
    }
    Ok(())
}
