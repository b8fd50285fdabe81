// SPDX-License-Identifier: GPL-2.0

//! What the driver says of the interrupts that it wants: whatever it is, it harms nobody.

use super::{
    case::{Case, Expect::*},
    scene::{Scene, PLAIN, SIZE},
};
use crate::{
    check, check_eq,
    outcome::Outcome,
    sys::{wait_for, SOON},
};
use rvdpa_virtio::{
    features::Features,
    layout::{available, packed::event, used},
    mock::DriverMemory,
};

const INDEX: Features = Features::EVENT_IDX;

pub const CASES: &[Case] = &[
    Case::run(
        17,
        "the used index after which to interrupt is any",
        GoesOn,
        |s| {
            for value in [0, 1, 63, 64, 65, 0x7fff, 0x8000, 0xffff] {
                frame_comes(s, |s| {
                    s.net.rx.driver.split().set_used_event(value);
                    s.net.tx.driver.split().set_used_event(value);
                })?;
            }
            Ok(())
        },
    )
    .needs(INDEX)
    .split(),
    Case::run(17, "the driver writes the available event", GoesOn, |s| {
        for value in [0, 64, 0x8000, 0xffff] {
            frame_comes(s, |s| {
                let at = s.net.tx.layout.device + used::avail_event(SIZE) as u64;
                s.net.memory.store_u16(at, value);
            })?;
        }
        Ok(())
    })
    .needs(INDEX)
    .split(),
    Case::run(
        17,
        "flags of the available ring that are reserved",
        GoesOn,
        |s| {
            for value in [1, 2, 0x8000, 0xffff, 0] {
                frame_comes(s, |s| {
                    for layout in [s.net.rx.layout, s.net.tx.layout] {
                        let at = layout.driver + available::FLAGS as u64;
                        s.net.memory.store_u16(at, value);
                    }
                })?;
            }
            Ok(())
        },
    )
    .split(),
    Case::run(17, "the driver writes the used ring's flags", GoesOn, |s| {
        for value in [1, 0xffff, 0] {
            frame_comes(s, |s| {
                let at = s.net.tx.layout.device + used::FLAGS as u64;
                s.net.memory.store_u16(at, value);
            })?;
        }
        Ok(())
    })
    .split(),
    Case::run(17, "packed: an event beyond the ring", GoesOn, |s| {
        packed(s, &[(SIZE, event::ONE), (0x8000 | SIZE, event::ONE)])
    })
    .needs(INDEX)
    .packed(),
    Case::run(17, "packed: the greatest events", GoesOn, |s| {
        packed(s, &[(0xffff, event::ONE), (0x7fff, event::ONE)])
    })
    .needs(INDEX)
    .packed(),
    Case::run(17, "packed: flags that are reserved", GoesOn, |s| {
        packed(s, &[(0, 3), (0xffff, 3), (0xffff, 0xffff), (0, 0xfffc)])
    })
    .packed(),
    Case::run(17, "packed: one event without the feature", GoesOn, |s| {
        packed(s, &[(0, event::ONE), (SIZE, event::ONE)])
    })
    .without(INDEX)
    .packed(),
];

/// Has a frame looped after a change to what is wanted; it is not waited for by interrupt.
fn frame_comes(s: &mut Scene<'_>, change: impl FnOnce(&mut Scene<'_>)) -> Outcome {
    let sent = s.frame(6);
    change(s);
    check!(s.net.add_frame_to(0, PLAIN, &sent), "no room");
    s.net.tx.driver.publish();
    s.net.tx.kick()?;
    let got = wait_for("the frame", SOON, || s.net.receive_from(0))?;
    check_eq!(got.frame, sent, "the frame");
    wait_for("the chain", SOON, || Ok((s.net.reap()? > 0).then_some(())))?;
    s.net.fill_rx().map(drop)
}

fn packed(s: &mut Scene<'_>, events: &[(u16, u16)]) -> Outcome {
    for &(descriptor, bits) in events {
        frame_comes(s, |s| {
            for queue in [&mut s.net.rx, &mut s.net.tx] {
                let driver = queue.driver.packed_mut();
                driver.write_driver_event(descriptor, bits);
            }
        })?;
    }
    Ok(())
}
