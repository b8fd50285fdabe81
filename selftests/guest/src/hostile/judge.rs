// SPDX-License-Identifier: GPL-2.0

//! Runs a case and looks at what came of it.

use super::{
    beside::Guards,
    case::{Act, Case, Chain},
    headers, limits,
    look::{counted, look},
    meanwhile,
    scene::{frames_pass, Room, Scene},
    users, workers,
};
use crate::{
    check, check_eq,
    harness::Context,
    outcome::{Outcome, Stop, While},
    parent::Parent,
    vhost::{supported, Net},
};
use rvdpa_virtio::features::Features;

/// How a case ended that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All is as it should be.
    Held,
    /// The same, but the driver was not told that its virtqueue is stopped.
    NotTold,
}

/// Runs a case. It fails if anything is wrong, and is skipped if what it needs is not offered.
pub fn run(context: &mut Context, room: &Room<'_>, case: &Case) -> Outcome<End> {
    let needs = case.needs.without(Features::INDIRECT_DESC);
    let offered = supported(room.parent.mgmtdev())?;
    if !offered.contains(needs) {
        let missing = needs.without(offered);
        return Err(Stop::Skipped(missing.to_string()));
    }
    context.log.skip()?;
    let end = match case.act {
        Act::Without(act) => others(room, || act(room))?,
        Act::Nobody(act) => others(room, || users::as_nobody(room, act))?,
        _ => with_driver(context, room, case)?,
    };
    room.beside.goes_on()?;
    Ok(end)
}

/// What others do, and a driver behind.
fn others(room: &Room<'_>, act: impl FnOnce() -> Outcome) -> Outcome<End> {
    act()?;
    end_well(room, None)?;
    Ok(End::Held)
}

fn with_driver(context: &mut Context, room: &Room<'_>, case: &Case) -> Outcome<End> {
    for _ in 1..case.rounds {
        let (mut scene, guards, _) = begin(room, case)?;
        act(&mut scene, case.act)?;
        guards.check()?;
        scene.net.client.reset()?;
    }
    let (mut scene, guards, before) = begin(room, case)?;
    act(&mut scene, case.act)?;
    let end = look(context, &mut scene, case, before)?;
    guards.check()?;
    end_well(room, Some(scene.net))?;
    guards.check().when("after a reset")?;
    Ok(end)
}

/// A driver for a case, what lies around its memory, and what was counted before.
fn begin<'a>(room: &'a Room<'a>, case: &Case) -> Outcome<(Scene<'a>, Guards, u64)> {
    let net = Net::prepare(&room.path, room.plan_of(case))?;
    check_eq!(net.format(), room.format, "format of the rings");
    check!(net.has(needed(room, case)), "features were not negotiated");
    let guards = Guards::new(&net);
    let mut scene = Scene { room, net };
    if !matches!(case.act, Act::Before(_)) {
        scene.net.go()?;
        scene.net.fill_rx()?;
    }
    let before = counted(&scene, case.expect)?;
    Ok((scene, guards, before))
}

fn needed(room: &Room<'_>, case: &Case) -> Features {
    match room.parent {
        Parent::Rvdpa => case.needs,
        // It takes indirect tables, and does not say so.
        Parent::Peer => case.needs.without(Features::INDIRECT_DESC),
    }
}

fn act(scene: &mut Scene<'_>, act: Act) -> Outcome {
    match act {
        Act::Send(change) | Act::SendTable(change) => {
            let mut chain = scene.sent(matches!(act, Act::SendTable(_)));
            change(scene, &mut chain);
            send(scene, &chain)
        }
        Act::Lie(segments, change) => {
            let mut chain = scene.sent(false);
            headers::tcp(scene, &mut chain, segments, change);
            send(scene, &chain)
        }
        Act::Receive(change) | Act::ReceiveTable(change) => {
            let mut chain = scene.received(matches!(act, Act::ReceiveTable(_)));
            change(scene, &mut chain);
            scene.plant(&chain);
            let frame = scene.sent(false);
            send(scene, &frame)
        }
        Act::Flip(what) => meanwhile::frames(scene, what),
        Act::Index(taken) => limits::beyond(scene, taken),
        Act::Busy(act) => {
            for number in 0..40 {
                scene.send_plain(number)?;
            }
            act(scene)
        }
        Act::Do(act) | Act::Before(act) => act(scene),
        Act::Without(_) | Act::Nobody(_) => Ok(()),
    }
}

pub fn send(scene: &mut Scene<'_>, chain: &Chain) -> Outcome {
    scene.offer(chain);
    scene.kick()
}

/// All are well at the end, and a new driver has the device as ever.
fn end_well(room: &Room<'_>, attacker: Option<Net>) -> Outcome {
    // A worker that spins shows while the driver is still there.
    workers::rest()?;
    let mut net = match attacker {
        None => Net::prepare(&room.path, room.plan())?,
        Some(net) => {
            let Net { mut client, .. } = net;
            client.reset()?;
            drop(client);
            Net::prepare(&room.path, room.plan())?
        }
    };
    net.go()?;
    frames_pass(&mut net, 3).when("after a reset")
}
