// SPDX-License-Identifier: GPL-2.0

//! Nothing is lost over many lives of a device.

mod usage;

use crate::{
    check,
    device::Device,
    harness::{Context, Test},
    netdev,
    outcome::{Outcome, While},
    packet,
    tests::rings::kind,
    vhost::{LoopPlan, Net, Plan},
};
use usage::Usage;

pub const TESTS: &[Test] = &[
    Test::new("leaks.rounds", rounds).seconds(120),
    Test::new("leaks.rounds_va_strict", rounds_va)
        .with("use_va=1 strict=1")
        .seconds(60),
    Test::new("leaks.refused_devices", refused).seconds(40),
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
    let all = warm_up + count;
    let mut before = None;
    for round in 0..all {
        context.step(format_args!("round {round} of {all}"));
        if round == warm_up {
            before = Some(Usage::settled()?);
        }
        life(context, round).when(format_args!("round {round}"))?;
    }
    let before = before.when("rounds")?;
    let after = Usage::settled()?;
    if let Some(line) = after.changes(&before) {
        context.note(line);
    }
    let lost = after.lost_since(&before, count as i64);
    check!(
        lost.is_empty(),
        "lost in {count} rounds: {}",
        lost.join("; ")
    );
    Ok(())
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
        let attributes = match round % 4 {
            0 => named.put(attribute::NET_CFG_MACADDR, &[0xff; 6]),
            1 => named.put(attribute::NET_CFG_MAX_VQP, &9_u16.to_ne_bytes()),
            2 => named.put(attribute::FEATURES, &1_u64.to_ne_bytes()),
            _ => Attributes::named(b"a/b"),
        };
        let result = Bus::new()?.add(attributes);
        check!(result.is_err(), "a device was made");
        Ok(())
    })
}
