// SPDX-License-Identifier: GPL-2.0

//! The configuration and its interrupt.
//!
//! Clients of vhost-vdpa do not see the generation: there is no ioctl for it. What it is for,
//! that nobody reads half of a change, holds for each `VHOST_VDPA_GET_CONFIG`.

use super::{done, forget_interrupts, no_interrupts, prepared, running, set_link, QUIET, SOON};
use crate::{
    check, check_eq,
    harness::{Context, Test},
    ioctl,
    netlink::Bus,
    outcome::{Outcome, While},
    vhost::{count_events, refused, wait_event, Client, Format, Net},
};
use nix::errno::Errno;
use rvdpa_virtio::net::NetConfig;
use std::{
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, sleep},
    time::Duration,
};
use vhost::vdpa::VhostVdpa;

pub const TESTS: &[Test] = &[
    Test::new("contract.config_in_any_part", parts),
    Test::new("contract.config_is_not_for_the_driver_to_write", written),
    Test::new("contract.config_is_never_half_changed", torn),
    Test::new("contract.config_interrupts_for_changes", interrupts),
    Test::new("contract.config_event_swapped_and_taken_away", swapped),
    Test::new("contract.config_event_outlives_the_client", closed),
];

const LEN: usize = NetConfig::LEN;

fn read(client: &Client) -> Outcome<[u8; LEN]> {
    let mut all = [0; LEN];
    client.kernel().get_config(0, &mut all)?;
    Ok(all)
}

/// Each part of it, whenever; vhost-vdpa itself refuses what is beyond its end, or nothing.
fn parts(context: &mut Context) -> Outcome {
    let (device, net) = prepared(context, Format::Split)?;
    let all = read(&net.client)?;
    for runs in [false, true] {
        if runs {
            net.go()?;
        }
        for from in 0..=LEN + 1 {
            for len in 0..=LEN + 2 {
                let mut part = vec![0xaa; len];
                let got = net.client.kernel().get_config(from as u32, &mut part);
                if len == 0 || from + len > LEN {
                    let got = refused(got);
                    check_eq!(got, Some(Errno::EINVAL), "{len} bytes from {from} on");
                    continue;
                }
                got.when(format_args!("{len} bytes from {from} on"))?;
                check_eq!(part, all[from..from + len], "{len} bytes from {from} on");
            }
        }
        for from in [0x8000_0000, u32::MAX - 1, u32::MAX] {
            let got = refused(net.client.kernel().get_config(from, &mut [0; 2]));
            check_eq!(got, Some(Errno::EINVAL), "two bytes from {from} on");
        }
    }
    done(device, net)
}

/// Nothing in it is writable since version 1: what is written is taken, and changes nothing.
fn written(context: &mut Context) -> Outcome {
    let (device, mut net) = running(context, Format::Split)?;
    let before = read(&net.client)?;
    forget_interrupts(&net)?;
    for from in 0..=LEN {
        for len in [1, 2, 6, LEN, LEN + 1] {
            let got = net
                .client
                .kernel()
                .set_config(from as u32, &vec![0x55; len]);
            if from + len > LEN {
                let got = refused(got);
                check_eq!(got, Some(Errno::EINVAL), "{len} bytes to {from}");
            } else {
                got.when(format_args!("{len} bytes to {from}"))?;
            }
            check_eq!(read(&net.client)?, before, "configuration");
        }
    }
    sleep(QUIET);
    no_interrupts(&net, "after the driver wrote")?;
    net.loop_frames(crate::tests::rings::FEW)?;
    check_eq!(read(&net.client)?, before, "configuration");
    done(device, net)
}

/// The address is one or the other, while it changes.
fn torn(context: &mut Context) -> Outcome {
    let (device, net) = running(context, Format::Split)?;
    let macs = [[2, 2, 2, 2, 2, 2], [0x66; 6]];
    let name = device.name();
    let mut bus = Bus::new()?;
    bus.set_mac(name, macs[0])?;
    let stop = AtomicBool::new(false);
    let (reads, changes) = thread::scope(|scope| -> Outcome<(u32, u32)> {
        let setter = scope.spawn(|| -> Outcome<u32> {
            let mut changes = 0;
            while !stop.load(Ordering::Relaxed) {
                changes += 1;
                bus.set_mac(name, macs[changes as usize % 2])?;
            }
            Ok(changes)
        });
        let mut seen = [0; 2];
        let run = (|| -> Outcome<u32> {
            let mut reads = 0;
            while reads < 3000 || seen.contains(&0) {
                let mac = net.client.config()?.mac().0;
                let which = macs.iter().position(|known| *known == mac);
                check!(which.is_some(), "half of an address: {mac:x?}");
                seen[which.unwrap_or_default()] += 1;
                reads += 1;
                check!(reads < 1_000_000, "the address does not change: {seen:?}");
            }
            Ok(reads)
        })();
        stop.store(true, Ordering::Relaxed);
        let changes = setter.join().expect("the setter does not panic")?;
        Ok((run?, changes))
    })?;
    context.note(format_args!("{changes} changes, {reads} reads"));
    done(device, net)
}

/// Changes the configuration: the link, or the address. Returns whether it has changed.
fn change(net: &Net, device: &crate::device::Device, what: usize) -> Outcome {
    match what {
        0 => set_link(device, false)?,
        1 => set_link(device, true)?,
        _ => Bus::new()?.set_mac(device.name(), [2, 0, 0, 0, 9, what as u8])?,
    }
    let config = net.client.config()?;
    let right = match what {
        0 | 1 => (config.status() & NetConfig::LINK_UP != 0) == (what == 1),
        _ => config.mac().0 == [2, 0, 0, 0, 9, what as u8],
    };
    check!(
        right,
        "change {what} is not in the configuration: {config:?}"
    );
    Ok(())
}

/// One for each change, and none for what changes nothing.
fn interrupts(context: &mut Context) -> Outcome {
    let (device, mut net) = running(context, Format::Split)?;
    net.loop_frames(crate::tests::rings::FEW)?;
    check_eq!(
        count_events(&net.config_call)?,
        0,
        "config interrupts for traffic"
    );
    for what in 0..6 {
        change(&net, &device, what)?;
        check!(
            wait_event(&net.config_call, SOON)?,
            "no config interrupt for change {what}"
        );
        sleep(QUIET);
        check_eq!(count_events(&net.config_call)?, 0, "more config interrupts");
    }
    set_link(&device, true)?;
    sleep(QUIET);
    check_eq!(
        count_events(&net.config_call)?,
        0,
        "config interrupts for no change"
    );
    done(device, net)
}

fn swapped(context: &mut Context) -> Outcome {
    let (device, net) = running(context, Format::Split)?;
    let second = net.client.config_interrupt()?;
    change(&net, &device, 0)?;
    check!(wait_event(&second, SOON)?, "no interrupt by the new event");
    check_eq!(
        count_events(&net.config_call)?,
        0,
        "interrupts by the old event"
    );

    ioctl::set_config_call(&net.client, -1).when("SET_CONFIG_CALL of none")?;
    change(&net, &device, 1)?;
    change(&net, &device, 2)?;
    sleep(QUIET);
    for event in [&net.config_call, &second] {
        check_eq!(count_events(event)?, 0, "interrupts by an event taken away");
    }

    ioctl::set_config_call(&net.client, second.as_raw_fd()).when("SET_CONFIG_CALL")?;
    sleep(QUIET);
    check_eq!(count_events(&second)?, 0, "interrupts for what was before");
    change(&net, &device, 3)?;
    check!(wait_event(&second, SOON)?, "no interrupt by the event");

    // What is no event is refused by vhost-vdpa itself, and the event stays.
    let file = std::fs::File::open("/dev/null")?;
    for fd in [file.as_raw_fd(), 9999] {
        let got = ioctl::set_config_call(&net.client, fd);
        let wanted = if fd == 9999 {
            Errno::EBADF
        } else {
            Errno::EINVAL
        };
        check_eq!(got, Err(wanted), "SET_CONFIG_CALL of what is no event");
    }
    change(&net, &device, 4)?;
    check!(wait_event(&second, SOON)?, "no interrupt by the event");
    done(device, net)
}

/// Nobody raises the event of a client that has gone, though there are others that hold it.
fn closed(context: &mut Context) -> Outcome {
    let (device, mut net) = running(context, Format::Split)?;
    let path = device.character_device()?;
    for round in 0..5 {
        let held = net.config_call.try_clone()?;
        drop(net);
        while wait_event(&held, Duration::ZERO)? {}
        set_link(&device, false)?;
        Bus::new()?.set_mac(device.name(), [2, 0, 0, 0, 8, round])?;
        set_link(&device, true)?;
        sleep(QUIET);
        check_eq!(
            count_events(&held)?,
            0,
            "interrupts by the event after close"
        );
        net = Net::new(&path, super::plan(context))?;
        change(&net, &device, 2 + usize::from(round))?;
        check!(wait_event(&net.config_call, SOON)?, "no interrupt");
        check_eq!(count_events(&held)?, 0, "interrupts by the event of before");
    }
    done(device, net)
}
