// SPDX-License-Identifier: GPL-2.0

//! Kicks at the wrong time, at the wrong queue, and too many of them.

use super::{
    case::{Case, Expect::*},
    scene::Scene,
};
use crate::{
    check, check_eq,
    outcome::{Outcome, While},
    sys::{scaled, SOON},
    vhost::{refused, RX, TX},
};
use nix::errno::Errno;
use rvdpa_virtio::layout::QueueLayout;
use std::{
    os::fd::AsRawFd,
    thread::sleep,
    time::{Duration, Instant},
};
use vhost::VhostBackend;
use vmm_sys_util::eventfd::EventFd;

pub const CASES: &[Case] = &[
    Case::before(14, "kicks before DRIVER_OK", GoesOn, |s| {
        s.net.fill_rx()?;
        let sent = s.frame(4);
        s.net.add_frame_to(0, super::scene::PLAIN, &sent);
        s.net.tx.driver.publish();
        for _ in 0..100 {
            s.kick()?;
        }
        sleep(Duration::from_millis(10));
        check_eq!(s.net.tx.used(), 0, "chains used before DRIVER_OK");
        s.net.go()?;
        s.kick()?;
        let got = s.net.wait_receive_from(0)?;
        check_eq!(got.frame, sent, "frame sent before DRIVER_OK");
        s.net.reap().map(drop)
    }),
    Case::run(14, "a storm of kicks with nothing to do", GoesOn, |s| {
        for _ in 0..20_000 {
            s.kick()?;
        }
        Ok(())
    }),
    Case::run(14, "kicks of several threads", GoesOn, |s| {
        let scene = &*s;
        let kicks = || -> Outcome {
            for _ in 0..3000 {
                scene.kick()?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(kicks);
            kicks()?;
            other.join().expect("it does not panic")
        })
    }),
    Case::run(14, "kicks of a queue that is disabled", Harmless, |s| {
        s.net.client.enable(TX, false)?;
        let before = s.net.tx.used();
        s.send_plain(1)?;
        for _ in 0..100 {
            s.kick()?;
        }
        sleep(Duration::from_millis(5));
        check_eq!(s.net.tx.used(), before, "chains used by a disabled queue");
        Ok(())
    }),
    Case::run(14, "kicks of a device that is suspended", Harmless, |s| {
        s.net.client.suspend()?;
        let before = s.net.tx.used();
        s.send_plain(1)?;
        for _ in 0..100 {
            s.kick()?;
        }
        sleep(Duration::from_millis(5));
        check_eq!(s.net.tx.used(), before, "chains used by a suspended device");
        s.net.client.resume()?;
        s.kick()?;
        let got = s.net.wait_receive_from(0)?;
        check_eq!(got.frame, s.frame(1), "frame sent before it was resumed");
        Ok(())
    }),
    Case::run(14, "kicks after a reset", Harmless, |s| {
        s.net.client.reset()?;
        for _ in 0..1000 {
            s.kick()?;
        }
        Ok(())
    }),
    Case::before(14, "kicks of a queue that has no rings", GoesOn, |s| {
        let nowhere = QueueLayout {
            size: 64,
            ..QueueLayout::default()
        };
        // The control queue's place is taken from it.
        let control = s.net.control()?;
        let (index, good) = (control.index, control.layout);
        let taken = s.net.client.set_addresses(index, &nowhere);
        s.net.client.enable(index, false)?;
        s.net.go()?;
        for _ in 0..100 {
            s.net.control()?.kick()?;
        }
        // Some refuse it; the frames that pass do not need it.
        drop((taken, good));
        Ok(())
    }),
    Case::run(14, "an event for a queue that there is not", GoesOn, |s| {
        let event = crate::vhost::event()?;
        for index in [100, 255, 65535, 65536, usize::MAX >> 40] {
            let set = s.net.client.kernel().set_vring_kick(index, &event);
            check!(
                matches!(refused(set), Some(Errno::ENOBUFS | Errno::EINVAL)),
                "an event for queue {index} was taken"
            );
        }
        Ok(())
    }),
    Case::run(14, "an interrupt that is the kick", GoesOn, |s| {
        // Each interrupt makes the device look again; it must not make it interrupt again.
        let event = crate::vhost::event()?;
        let set = |s: &Scene<'_>, kick: &EventFd, call: &EventFd| -> Outcome {
            let kernel = s.net.client.kernel();
            kernel.set_vring_kick(TX, kick).when("SET_VRING_KICK")?;
            kernel.set_vring_call(TX, call).when("SET_VRING_CALL")?;
            kernel.set_vring_call(RX, call).when("SET_VRING_CALL")
        };
        set(s, &event, &event)?;
        for number in 0..20 {
            let sent = s.frame(number);
            s.net.add_frame_to(0, super::scene::PLAIN, &sent);
        }
        s.net.tx.driver.publish();
        event.write(1)?;
        super::workers::rest()?;
        // As it was.
        let (kick, call) = (crate::vhost::event()?, crate::vhost::event()?);
        set(s, &kick, &call)?;
        drain(s)?;
        s.net.tx.kick_by_event(&s.net.client)?;
        s.net.tx.swap_call(&s.net.client)?;
        s.net.rx.swap_call(&s.net.client)?;
        Ok(())
    }),
    Case::run(14, "an event that is no event", GoesOn, |s| {
        let file = std::fs::File::open("/dev/null")?;
        let set = crate::ioctl::set_vring_call(&s.net.client, TX as u32, file.as_raw_fd());
        check!(set.is_err(), "/dev/null was taken for an event");
        Ok(())
    }),
];

/// Takes all frames that are on the way.
fn drain(s: &mut Scene<'_>) -> Outcome {
    let start = Instant::now();
    let mut come = 0;
    while come < 20 {
        while s.net.receive_from(0)?.is_some() {
            come += 1;
        }
        check!(start.elapsed() < scaled(SOON), "{come} of 20 frames came");
        sleep(Duration::from_millis(1));
    }
    while s.net.tx.used() < 20 {
        check!(start.elapsed() < scaled(SOON), "chains were not used");
    }
    s.net.reap().map(drop)
}
