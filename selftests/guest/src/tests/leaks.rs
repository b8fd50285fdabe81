// SPDX-License-Identifier: GPL-2.0

//! Nothing is lost over many lives of a device.

pub mod usage;

use crate::{
    check,
    device::Device,
    harness::{Context, Test},
    netdev,
    outcome::{Outcome, While},
    packet, skip,
    tests::rings::kind,
    vhost::{LoopPlan, Net, Plan},
};
use rvdpa_virtio::features::Features;
use usage::nothing_is_lost;

pub const TESTS: &[Test] = &[
    Test::new("leaks.rounds", rounds).seconds(360),
    Test::new("leaks.rounds_va_strict", rounds_va)
        .with("use_va=1 strict=1")
        .seconds(240),
    Test::new("leaks.refused_devices", refused).seconds(120),
];

/// One life: made, bound, used, deleted; with one driver, then with the other.
fn life(context: &Context, round: usize) -> Outcome {
    if round % 2 == 0 {
        let (device, interface) = Device::for_virtio("life")?;
        let mac = netdev::mac(&interface)?;
        let flood = packet::flood(&interface, mac, 20, 200, 10)?;
        check!(
            flood.received == 20,
            "only {} frames came back",
            flood.received
        );
        device.delete()
    } else {
        let (device, path) = Device::for_vhost("life")?;
        let plan = Plan {
            kind: kind(context),
            ..Plan::default()
        };
        let mut net = Net::new(&path, plan)?;
        net.loop_frames(LoopPlan {
            count: 20,
            size: 200,
            in_flight: 10,
        })?;
        drop(net);
        device.delete()
    }
}

/// Lives through so many rounds, after some to warm up, and looks what was lost.
fn live(
    context: &mut Context,
    warm_up: usize,
    count: usize,
    life: impl Fn(&Context, usize) -> Outcome,
) -> Outcome {
    if usage::is_quarantined() {
        skip!("freed memory stays in KASAN's quarantine here; kmemleak looks for what is lost");
    }
    let mut round = 0;
    let mut lives = |context: &mut Context, count: usize| {
        for _ in 0..count {
            context.step(format_args!("round {round}"));
            life(context, round).when(format_args!("round {round}"))?;
            round += 1;
        }
        Outcome::Ok(round)
    };
    lives(context, warm_up)?;
    nothing_is_lost(context, |context| Ok(lives(context, count)? - warm_up))
}

fn rounds(context: &mut Context) -> Outcome {
    live(context, 20, 200, life)
}

fn rounds_va(context: &mut Context) -> Outcome {
    live(context, 20, 120, life)
}

/// Devices that are refused leave nothing either.
fn refused(context: &mut Context) -> Outcome {
    live(context, 40, 400, |_, round| {
        use crate::netlink::{attribute, Attributes, Bus};
        let named = Attributes::named(b"refused");
        let of = |features: Features| {
            let named = Attributes::named(b"refused");
            named.put(attribute::FEATURES, &features.0.to_ne_bytes())
        };
        let needed = Features::VERSION_1 | Features::ACCESS_PLATFORM;
        let attributes = match round % 8 {
            0 => named.put(attribute::NET_CFG_MACADDR, &[0xff; 6]),
            1 => named.put(attribute::NET_CFG_MAX_VQP, &65_u16.to_ne_bytes()),
            2 => named.put(attribute::NET_CFG_MTU, &67_u16.to_ne_bytes()),
            // Without what no driver can do without.
            3 => of(Features::NET_CSUM),
            4 => of(needed | Features::RING_RESET),
            // Without what it needs.
            5 => of(needed | Features::NET_GUEST_TSO4),
            // More queue pairs than there is a way to use.
            6 => of(needed).put(attribute::NET_CFG_MAX_VQP, &2_u16.to_ne_bytes()),
            _ => Attributes::named(b"a/b"),
        };
        let result = Bus::new()?.add(attributes);
        check!(result.is_err(), "a device was made in round {round}");
        Ok(())
    })
}
