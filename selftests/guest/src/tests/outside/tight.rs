// SPDX-License-Identifier: GPL-2.0

//! Clients whose control group has little memory, and who show the device more than that. It
//! costs them their lives or an error, and nobody else anything.

use crate::{
    arena::View,
    cgroup::Cgroup,
    check, check_eq, frame,
    harness::{Context, Test},
    ioctl::{self, Permission},
    outcome::{Outcome, While},
    sys,
    tests::{
        mapping::{next_client, undisturbed, Process},
        rings::{plan, ring_device, FEW},
        usage::nothing_is_lost,
    },
    vhost::{Format, Net, Plan},
};
use nix::{
    errno::Errno,
    sys::mman::{mlockall, munlockall, MlockAllFlags},
};
use rvdpa_virtio::{
    mock::{Buffer, DriverMemory, Form},
    net::NetHeader,
};
use std::io::Write;

pub const TESTS: &[Test] = &[
    Test::new("outside.memory_is_tight", tight).seconds(120),
    Test::new("outside.memory_is_tight_va", tight)
        .with("use_va=1")
        .seconds(120),
];

/// What the group may have: enough for a client with its rings.
const LIMIT: u64 = 8 << 20;

/// What the client shows the device beside.
const MUCH: usize = 32 << 20;

/// What of it is shown at a time: so much the kernel pins at once.
const BIT: usize = 2 << 20;

/// Where the device finds it.
const AT: u64 = 0x40_0000_0000;

/// Room for a frame in there, and how many bytes frames have.
const ROOM: usize = 64 << 10;
const FRAME: usize = 60_000;

/// How many frames are received there: as many as a ring has room for, which is too much for
/// the group.
const FRAMES: u64 = 250;
const _: () = assert!(FRAMES * FRAME as u64 > LIMIT + LIMIT / 2);

/// Shows the device all of it. Bit by bit: where only the rest of a request cannot be pinned,
/// `vhost_vdpa` of Linux 7.3 forgets to unpin some of what could (see the documentation of
/// robustness).
fn map_much(net: &Net, much: &View) -> Result<(), Errno> {
    (AT..AT + MUCH as u64).step_by(BIT).try_for_each(|at| {
        let pointer = much.pointer(at, BIT);
        ioctl::map(&net.client, 0, at, BIT as u64, pointer, Permission::Both)
    })
}

/// Has the device write to memory that nobody has touched. Nothing is in the rings yet.
fn receive_much(net: &mut Net, much: &View) -> Outcome {
    let header = net.header_len();
    for number in 0..FRAMES {
        let buffer = Buffer::writable(AT + number * ROOM as u64, ROOM as u32);
        let added = net.rx.driver.add(&[buffer], Form::Direct);
        check!(added.is_ok(), "no room for receive buffer {number}");
    }
    net.rx.driver.publish();
    // All of them are sent from the same place, at the end.
    let at = AT + (MUCH - ROOM) as u64;
    much.write(at, &[0; 20][..header]);
    much.write(at, &NetHeader::default().to_bytes());
    much.write(at + header as u64, &frame::make(FRAME, net.mac, net.mac, 0));
    let buffer = Buffer::readable(at, (header + FRAME) as u32);
    for number in 0..FRAMES {
        let added = net.tx.driver.add(&[buffer], Form::Direct);
        check!(added.is_ok(), "no room for frame {number}");
    }
    net.tx.driver.publish();
    net.tx.kick()
}

/// Brings in all memory that this process has mapped.
fn have_all() -> Outcome {
    mlockall(MlockAllFlags::MCL_CURRENT).when("mlockall")?;
    munlockall().when("munlockall")
}

/// What the kernel keeps of objects for itself after a client or two, as of so many lives.
const KEPT: usize = 60;

/// What a client does. One that must not be killed gets an error.
fn client(path: &str, plan: Plan, group: &Cgroup, spared: bool, va: bool) -> Outcome {
    group.enter()?;
    if spared {
        sys::write("/proc/self/oom_score_adj", "-1000")?;
    }
    let mut net = Net::new(path, plan)?;
    // It is not the client itself that has to find that there is no more: it would try again
    // for ever.
    have_all()?;
    let much = View::new(plan.kind, AT, MUCH)?;
    let mapped = map_much(&net, &much);
    if va {
        mapped.when("mapping what is not there yet")?;
        receive_much(&mut net, &much)?;
        // A device that finds no memory where the driver said there was some.
        net.client.wait_for_needs_reset()?;
        net.client.reset()?;
    } else {
        // The kernel has one error for all that fails here.
        check_eq!(mapped, Err(Errno::EFAULT), "mapping too much");
        ioctl::unmap(&net.client, 0, AT, MUCH as u64).when("unmapping")?;
        drop(much);
        net.loop_frames(FEW).when("after mapping too much")?;
    }
    check!(spared, "nothing has killed this client");
    Ok(())
}

/// One client that gets an error, and one that is killed.
fn clients(context: &mut Context, traffic: &mut Net, path: &str, format: Format) -> Outcome {
    let (plan, va) = (plan(context), context.has("use_va=1"));
    for spared in [false, true] {
        context.step(format_args!("{format:?}, spared: {spared}"));
        let group = Cgroup::with_memory(LIMIT)?;
        let process = Process::start(|says| {
            client(path, plan, &group, spared, va)?;
            says.write_all(b"r")?;
            Ok(())
        })?;
        undisturbed(traffic, || {
            if spared {
                process.ready()?;
                process.end()
            } else {
                process.killed()
            }
        })?;
        let (times, kills) = (group.events("oom")?, group.events("oom_kill")?);
        context.note(format_args!(
            "{format:?}: out of memory {times} times, {kills} killed"
        ));
        check!(times > 0, "the client had memory enough");
        check_eq!(kills, u64::from(!spared), "clients killed");
        // All that was the client's is given back.
        sys::wait_for("the group's memory is free", sys::SOON, || {
            Ok((group.held()? == 0).then_some(()))
        })?;
        next_client(path, plan)?;
    }
    Ok(())
}

fn tight(context: &mut Context) -> Outcome {
    let plan = plan(context);
    for format in Format::ALL {
        let (device, path) = ring_device("client", format)?;
        let (other, other_path) = ring_device("other", Format::Split)?;
        let mut traffic = Net::new(&other_path, plan)?;
        // Clients have it mapped, too, but are not to pay for it.
        have_all()?;
        next_client(&path, plan)?;
        let mut kept = 0;
        nothing_is_lost(context, |context| {
            clients(context, &mut traffic, &path, format)?;
            kept += KEPT;
            Ok(kept)
        })?;
        drop(traffic);
        device.delete()?;
        other.delete()?;
    }
    Ok(())
}
