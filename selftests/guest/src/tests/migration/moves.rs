// SPDX-License-Identifier: GPL-2.0

//! What is in the rings when the driver is moved, and what is sent while it is nowhere.

use super::{
    each_kind,
    settings::{Settings, Spread},
    Counts, Rings, Scene, LIMIT, PAIRS,
};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    ioctl,
    outcome::{Outcome, While},
    sys::wait_for,
    vhost::{Manner, TX},
};
use rvdpa_virtio::net::NetHeader;

pub const TESTS: &[Test] = each_kind! {
    "frames_for_nobody", nobody;
};

/// Frames that come while the driver is nowhere are counted at the port where it was, and
/// that until it sends from elsewhere: as dropped for want of a buffer while that device is
/// suspended, as somebody else's when it has its own address again.
fn nobody(context: &mut Context, rings: Rings) -> Outcome {
    let mut scene = Scene::new(
        context,
        rings,
        Settings::new(Spread::Hash),
        rings.before_start(1),
    )?;
    let (to, from) = (scene.mover.settings.mac, scene.peer.mac);
    let send = |scene: &mut Scene, count: u64| -> Outcome<(Counts, Counts)> {
        for number in 0..count {
            let sent = frame::make(100, to, from, number);
            scene.peer.send_frame(0, NetHeader::default(), &sent)?;
        }
        Ok((scene.mover.here.counts()?, scene.mover.there.counts()?))
    };
    // What was flooded came to the other port, too.
    let (none, fresh) = send(&mut scene, 0)?;
    check_eq!(none, Counts::default(), "frames lost at the start");

    let state = scene.mover.net.leave()?;
    let (here, there) = send(&mut scene, 100)?;
    let mut left = Counts {
        received_drops: 100,
        ..Counts::default()
    };
    check_eq!((here, there), (left, fresh), "while suspended");

    scene.mover.go_on(&state, Manner::default())?;
    // The switch has not heard of it yet.
    let (here, there) = send(&mut scene, 50)?;
    left.filtered = 50;
    check_eq!((here, there), (fresh, left), "before it sends");

    scene.announce()?;
    let (here, there) = send(&mut scene, 10)?;
    check_eq!((here, there), (fresh, left), "afterwards");
    let mut come = Vec::new();
    wait_for("ten frames", LIMIT, || {
        for pair in 0..PAIRS {
            while let Some(got) = scene.mover.net.receive_from(pair)? {
                come.push(frame::number(&got.frame).when("a number")?);
            }
        }
        Ok((come.len() >= 10).then_some(()))
    })?;
    check_eq!(come, (0..10).collect::<Vec<_>>(), "frames that came");
    // None can be set back while the device runs.
    let back = ioctl::set_vring_base(&scene.mover.net.client, TX as u32, state.bases[TX]);
    check!(back.is_err(), "a base was set while the device runs");
    scene.delete()
}
