// SPDX-License-Identifier: GPL-2.0

//! Moves that do not succeed, and devices without a link.

use super::{
    each_kind,
    settings::{Settings, Spread},
    Rings, Scene,
};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    ioctl,
    outcome::{Outcome, Stop, While},
    vhost::{Destination, Format, Manner},
};
use nix::errno::Errno;
use rvdpa_virtio::{features::Features, net::NetHeader};

pub const TESTS: &[Test] = each_kind! {
    "refused_by_another_device", refused;
    "without_a_link", no_link;
};

/// A device that lacks a feature does not take the driver, which stays where it is and has
/// all that it had.
fn refused(context: &mut Context, rings: Rings) -> Outcome {
    let all = rings.features()?;
    let mut lacks = vec![Features::NET_CTRL_VLAN, Features::NET_RSS];
    if rings.format == Format::Packed {
        lacks.push(Features::RING_PACKED);
    }
    if rings.in_order {
        lacks.push(Features::IN_ORDER);
    }
    for lack in lacks {
        context.step(format_args!("without {lack}"));
        let start = rings.before_start(20);
        let settings = Settings::new(Spread::Hash);
        let mut scene = Scene::unlike(context, all, all.without(lack), settings, start)?;
        let (_, lost) = scene.stream(|stream| {
            stream.run(100)?;
            let state = stream.mover.net.leave()?;
            stream.wait_for_peer(20)?;
            stream.leave_packets(16)?;
            let there = Destination::open(&stream.mover.there.path, &state)?;
            match there {
                Err(errno) => check_eq!(errno, Errno::EINVAL, "errno without {lack}"),
                Ok(_) => return Err(Stop::Failed(format!("accepted without {lack}"))),
            }
            ioctl::resume(&stream.mover.net.client)?;
            stream.wait_for_sent()?;
            stream.run(100)
        })?;
        check!(lost >= 16, "{lost} packets were lost while suspended");
        let words = format!("the driver wants {lack}, which is not offered");
        context.log.expect(&["right: ", &words])?;
        scene.has_settings().when(format_args!("without {lack}"))?;
        scene.delete()?;
    }
    Ok(())
}

/// Without a link at the old device nothing comes and goes there, all of which is counted;
/// at the new one it does.
fn no_link(context: &mut Context, rings: Rings) -> Outcome {
    let start = rings.before_start(20);
    let mut scene = Scene::new(context, rings, Settings::new(Spread::Hash), start)?;
    let (_, lost) = scene.stream(|stream| {
        stream.run(50)?;
        // What is on the way must not be lost.
        stream.wait_for_sent()?;
        stream.mover.here.link("down")?;
        let link = stream.mover.net.client.config()?.status() & 1;
        check_eq!(link, 0, "link in the configuration");
        let before = stream.mover.lost()?;
        stream.wait_for_peer(30)?;
        let lost = stream.mover.lost()? - before;
        check!(lost >= 20, "{lost} packets were counted without a link");
        let state = stream.mover.net.leave()?;
        stream.mover.stands_where(&state, start)?;
        // Left for the next device, which has a link.
        stream.leave_packets(16)?;
        stream.mover.go_on(&state, Manner::default())?;
        let link = stream.mover.net.client.config()?.status() & 1;
        check_eq!(link, 1, "link in the configuration");
        stream.wait_for_sent()?;
        stream.run(100)
    })?;
    context.note(format_args!("{lost} packets were lost"));
    scene.has_settings()?;
    // The other way round: what is sent without a link does not come, and is counted.
    scene.mover.here.link("down")?;
    let (to, from) = (scene.peer.mac, scene.mover.settings.mac);
    for number in 0..5 {
        let sent = frame::make(100, to, from, number + 1);
        let net = &mut scene.mover.net;
        net.send_frame(0, NetHeader::default(), &sent)?;
    }
    let dropped = scene.mover.here.counts()?.sent_drops;
    check_eq!(dropped, 5, "frames sent without a link");
    let state = scene.mover.net.leave()?;
    scene.mover.there.link("up")?;
    scene.mover.go_on(&state, Manner::default())?;
    // The next one that the peer gets is this one.
    scene.announce()?;
    scene.delete()
}
