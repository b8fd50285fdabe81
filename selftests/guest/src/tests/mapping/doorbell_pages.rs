// SPDX-License-Identifier: GPL-2.0

//! The pages of `doorbells=1`: how they can be mapped, and that they tell nothing.

use crate::{
    check, check_eq,
    harness::{Context, Test},
    outcome::{Outcome, While},
    tests::{
        mapping::clients::{next_client, Process},
        rings::{plan, ring_device, FEW},
    },
    vhost::{Bell, Client, Format, Net, Plan, RX, TX},
};
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use nix::errno::Errno;
use std::time::Duration;

const ON: &str = "doorbells=1";

pub const TESTS: &[Test] = &[
    Test::new("doorbell.off", off),
    Test::new("doorbell.ways_to_map", ways).with(ON),
    Test::new("doorbell.pages_tell_nothing", secrets).with(ON),
    Test::new("doorbell.client_killed", killed).with(ON),
    Test::new("doorbell.client_killed.va", killed).with("doorbells=1 use_va=1"),
    Test::new("doorbell.device_deleted", deleted).with(ON),
];

/// `ENOTSUPP` of the kernel, which has no name here.
const ENOTSUPP: i32 = 524;

fn off(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("bell", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    for index in [RX, TX, 2] {
        // SAFETY: The kernel chooses the address, and nothing is done with it.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                PROT_WRITE,
                MAP_SHARED,
                std::os::fd::AsRawFd::as_raw_fd(&net.client),
                index as i64 * 4096,
            )
        };
        check!(page == libc::MAP_FAILED, "virtqueue {index} has a page");
        let errno = std::io::Error::last_os_error().raw_os_error();
        check_eq!(errno, Some(ENOTSUPP), "errno for virtqueue {index}");
    }
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

fn ways(_: &mut Context) -> Outcome {
    let (device, path) = ring_device("bell", Format::Split)?;
    let client = Client::open(&path)?;
    for (what, index, len, access, flags) in [
        ("for reading", TX, 4096, PROT_READ, MAP_SHARED),
        ("for both", TX, 4096, PROT_READ | PROT_WRITE, MAP_SHARED),
        ("privately", TX, 4096, PROT_WRITE, MAP_PRIVATE),
        ("of two queues", RX, 8192, PROT_WRITE, MAP_SHARED),
        ("of no queue", 3, 4096, PROT_WRITE, MAP_SHARED),
        ("far away", 65536, 4096, PROT_WRITE, MAP_SHARED),
    ] {
        let got = Bell::map(&client, index, len, access, flags).err();
        check_eq!(got, Some(Errno::EINVAL), "a page mapped {what}");
    }
    // Each queue has one, from the start, as often as it is wanted.
    for index in 0..3 {
        let (first, second) = (Bell::of(&client, index)?, Bell::of(&client, index)?);
        first.ring();
        second.ring();
    }
    drop(client);
    device.delete()
}

/// Neither another queue's page nor the next client sees what was written.
fn secrets(_: &mut Context) -> Outcome {
    const SECRET: u64 = 0x5ec3_e75e_c3e7_5ec3;
    let (device, path) = ring_device("bell", Format::Split)?;
    let secret = SECRET.to_ne_bytes();
    let shows = |bell: &Bell| bell.read().chunks(8).any(|part| part == secret);
    for round in 0..2 {
        let client = Client::open(&path)?;
        let bells: Vec<Bell> = (0..3)
            .map(|index| Bell::of(&client, index))
            .collect::<Outcome<_>>()?;
        for (index, bell) in bells.iter().enumerate() {
            check!(
                !shows(bell),
                "the page of virtqueue {index} shows what the client before has written"
            );
            // The first bytes are the device's, to know what was written; the rest is not.
            let page = bell.read();
            check!(
                page.iter().skip(8).all(|byte| *byte == 0),
                "the page of virtqueue {index} is not empty, client {round}"
            );
        }
        for at in (8..4096).step_by(8) {
            bells[RX].write(at, SECRET);
        }
        check!(
            !shows(&bells[TX]) && !shows(&bells[2]),
            "a page shows what was written to another one"
        );
    }
    device.delete()
}

/// A client that is killed with its pages mapped, while it uses them.
fn killed(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("bell", Format::Split)?;
    let bells = Plan {
        bells: true,
        ..plan(context)
    };
    for round in 0..6 {
        context.step(format_args!("round {round}"));
        let client = Process::flooding(&path, bells)?;
        client.ready()?;
        std::thread::sleep(Duration::from_millis(7 * round));
        client.kill()?;
        // With `use_va=1` the page stays mapped until the device has left the client's memory.
        next_client(&path, bells).when(format_args!("round {round}"))?;
    }
    device.delete()
}

/// Pages outlive neither the file nor the device.
fn deleted(context: &mut Context) -> Outcome {
    for _ in 0..5 {
        let (device, path) = ring_device("bell", Format::Split)?;
        let mut net = Net::new(&path, plan(context))?;
        net.loop_frames(FEW)?;
        // It keeps the file open that it is of.
        let bell = Bell::of(&net.client, TX)?;
        drop(net);
        let got = Client::open_only(&path)
            .err()
            .and_then(|e| crate::vhost::errno(&e));
        check_eq!(got, Some(Errno::EBUSY), "a device whose page is mapped");
        bell.ring();
        drop(bell);
        device.delete()?;
    }
    Ok(())
}
