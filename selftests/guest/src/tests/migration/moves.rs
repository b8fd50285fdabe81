// SPDX-License-Identifier: GPL-2.0

//! What is in the rings when the driver is moved, and what is sent while it is nowhere.

use super::{
    each_kind,
    settings::{Settings, Spread},
    Counts, Rings, Scene, LIMIT, PAIRS, SIZE,
};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    ioctl,
    outcome::{Outcome, While},
    sys::wait_for,
    tests::control_queue::coalescing,
    vhost::{Manner, TX},
};
use rvdpa_virtio::net::{
    control::coalescing::{CLASS, RX_SET},
    NetHeader,
};
use std::time::Duration;

pub const TESTS: &[Test] = each_kind! {
    "chains_in_flight", in_flight;
    "interrupts_that_were_due", interrupts;
    "frames_for_nobody", nobody;
};

/// What is available and not used when the driver leaves is used by the next device, without
/// a kick, wherever in the ring that is.
fn in_flight(context: &mut Context, rings: Rings) -> Outcome {
    // The announcement is the first chain of the first pair. At 5, all others stand where a
    // new ring starts when they are moved.
    for before in [5, 6, 3, SIZE - 1] {
        let start = rings.before_start(before);
        let mut scene = Scene::new(context, rings, Settings::new(Spread::Flow), start)?;
        let (to, from) = (scene.peer.mac, scene.mover.settings.mac);
        for number in 0..5 {
            for pair in 0..PAIRS {
                if pair == 0 && number == 0 {
                    continue;
                }
                let sent = frame::make(100, to, from, number);
                let net = &mut scene.mover.net;
                net.send_frame(pair, NetHeader::default(), &sent)?;
                check_eq!(scene.peer.wait_receive()?, sent, "frame {number}");
            }
        }
        scene.peer.fill_rx()?;
        let net = &mut scene.mover.net;
        let state = net.leave()?;
        scene.mover.stands_where(&state, start)?;
        let net = &mut scene.mover.net;
        for number in 0..40 {
            let pair = number as usize % PAIRS;
            let sent = frame::make(100 + pair, to, from, number);
            let added = net.add_frame_to(pair, NetHeader::default(), &sent);
            check!(added, "no room in the transmit queue");
            net.tx_of(pair).driver.publish();
        }
        scene.mover.go_on(&state, Manner::default())?;
        let mut come = [0; 40];
        for _ in 0..40 {
            let got = scene.peer.wait_receive();
            let got = got.when(format_args!("{before} before the start, after {come:?}"))?;
            let number = frame::number(&got).when("a number")?;
            let count = come.get_mut(number as usize).when("a known number")?;
            *count += 1;
            let pair = number as usize % PAIRS;
            check_eq!(
                got,
                frame::make(100 + pair, to, from, number),
                "frame {number}"
            );
        }
        check_eq!(come, [1; 40], "how often frames came");
        // Receive buffers, too, that the old device had and did not use.
        scene.peer.fill_rx()?;
        for number in 0..10 {
            let sent = frame::make(100, from, to, number);
            scene.peer.send_frame(0, NetHeader::default(), &sent)?;
            let got = scene.mover.wait_receive()?;
            check_eq!(got.frame, sent, "frame {number} for the driver");
        }
        scene.delete()?;
    }
    Ok(())
}

/// A driver that waits for an interrupt which was held back gets it at the latest when its
/// device is suspended: the next one does not know of it.
fn interrupts(context: &mut Context, rings: Rings) -> Outcome {
    let start = rings.before_start(4);
    let mut scene = Scene::new(context, rings, Settings::new(Spread::Flow), start)?;
    let net = &mut scene.mover.net;
    net.do_command(CLASS, RX_SET, &coalescing(1000, 60_000_000))?;
    let (to, from) = (scene.mover.settings.mac, scene.peer.mac);
    // What a worker has shown it may not have interrupted for yet.
    std::thread::sleep(Duration::from_millis(200));
    let mut before = [0; PAIRS];
    for (pair, before) in before.iter_mut().enumerate() {
        let queue = scene.mover.net.rx_of(pair);
        queue.interrupts()?;
        check!(!queue.driver.enable_interrupts(), "a frame came");
        *before = queue.used();
    }
    let sent = frame::make(100, to, from, 1);
    scene.peer.send_frame(0, NetHeader::default(), &sent)?;
    let net = &mut scene.mover.net;
    let pair = wait_for("the frame", LIMIT, || {
        let mut pairs = (0..PAIRS).zip(before);
        Ok(pairs.find_map(|(pair, before)| (net.rx_of(pair).used() > before).then_some(pair)))
    })?;
    let early = net.rx_of(pair).interrupts()?;
    check_eq!(early, 0, "interrupts of one packet");
    let state = net.leave()?;
    let late = net.rx_of(pair).interrupts()?;
    check!(late > 0, "no interrupt came for the frame");
    scene.mover.go_on(&state, Manner::default())?;
    let got = scene.mover.net.receive_from(pair)?.when("the frame")?;
    check_eq!(got.frame, sent, "the frame");
    scene.delete()
}

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
