// SPDX-License-Identifier: GPL-2.0

//! Mappings that come, go and change under traffic.

use super::{batch, each_map, send_from, takes_tables, MANY};
use crate::{
    arena::View,
    check, frame,
    harness::{Context, Test},
    ioctl::{self, Permission},
    outcome::{Outcome, Stop, While},
    sys::SOON,
    tests::{
        hostile::{expect_fault, Faulty},
        rings::{kind, plan, ring_device, FEW},
    },
    vhost::{Format, LoopPlan, Net, Plan, TX},
};
use rvdpa_virtio::mock::{Buffer, DriverMemory, Form};
use std::{
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

pub const TESTS: &[Test] = each_map! {
    "traffic", traffic;
    "memory_that_is_taken_away_is_left_alone", left_alone;
    "memory_that_is_replaced", replaced;
    "memory_that_is_replaced_for_receiving", replaced_for_receiving;
    "others_are_not_disturbed", undisturbed;
};

/// Where memory lies that is mapped beside that of the driver.
const BESIDE: u64 = 0x55_0000_0000;

fn traffic(context: &mut Context) -> Outcome {
    for format in Format::ALL {
        for (pieces, indirect) in [(1, false), (3, false), (3, true)] {
            context.step(format_args!("{format:?}, {pieces} pieces, {indirect}"));
            let (device, path) = ring_device("map", format)?;
            let plan = Plan {
                pieces,
                indirect,
                ..plan(context)
            };
            let mut net = Net::new(&path, plan)?;
            net.loop_frames(MANY)?;
            net.client.unmap(0, net.memory.iova(), net.memory.len())?;
            drop(net);
            device.delete()?;
        }
    }
    Ok(())
}

/// Receive buffers are taken away while the device fills them.
fn left_alone(context: &mut Context) -> Outcome {
    const ROOM: usize = 2048;
    const COUNT: usize = 256;
    const ROUNDS: u64 = 24;
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let mut early = 0;
    for round in 0..ROUNDS {
        let view = View::new(kind(context), BESIDE, ROOM * COUNT)?;
        net.client.map_all(0, &view)?;
        for slot in 0..COUNT {
            let buffer = Buffer::writable(BESIDE + (slot * ROOM) as u64, ROOM as u32);
            if net.rx.driver.add(&[buffer], Form::Direct).is_err() {
                fail_full()?;
            }
        }
        net.rx.driver.publish();
        for number in 0..200 {
            net.add_frame(&frame::make(1500, net.mac, net.mac, number));
        }
        net.tx.driver.publish();
        net.tx.kick()?;
        if round % 4 != 0 {
            // The memory is new: with `use_va=1` the device brings it in, page by page.
            thread::sleep(Duration::from_micros(150 * (round % 16)));
        }
        let unmap = |net: &Net| net.client.unmap(0, BESIDE, view.len());
        if round % 2 == 0 {
            unmap(&net)?;
        } else {
            batch(&net.client, 0, || unmap(&net))?;
        }
        // What the device writes now is seen.
        let guard = vec![0xa5; view.len()];
        view.write(BESIDE, &guard);
        thread::sleep(Duration::from_millis(3));
        let mut after = vec![0; view.len()];
        view.read(BESIDE, &mut after);
        let changed = after.iter().position(|byte| *byte != 0xa5);
        check!(
            changed.is_none(),
            "round {round}: byte {changed:?} was written after it was taken away"
        );
        // All that had come by then, or the device found that the buffers are gone.
        if net.tx.used() < 200 {
            early += 1;
            net.client
                .wait_for_needs_reset()
                .when(format_args!("round {round}"))?;
        }
        net = net.restart()?;
    }
    context.note(format_args!(
        "{early} of {ROUNDS} times the device was not done"
    ));
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

fn fail_full() -> Outcome {
    Err(Stop::Failed("the receive queue is full".into()))
}

/// What is sent comes from the memory that is mapped now.
fn replaced(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    net.loop_frames(FEW)?;
    let views = [
        View::new(kind(context), BESIDE, 0x3000)?,
        View::new(kind(context), BESIDE, 0x3000)?,
    ];
    net.client.map_all(0, &views[0])?;
    for round in 0..60 {
        let (old, new) = (&views[round % 2], &views[(round + 1) % 2]);
        send_from(&mut net, old, BESIDE, round as u64).when("before")?;
        let change = |net: &Net| {
            net.client.unmap(0, BESIDE, old.len())?;
            net.client.map_all(0, new)
        };
        if round % 3 == 0 {
            change(&net)?;
        } else {
            batch(&net.client, 0, || change(&net))?;
        }
        // The old memory says something else.
        let length = old.len();
        old.write(BESIDE, &vec![0xee; length]);
        send_from(&mut net, new, BESIDE, 1000 + round as u64)
            .when(format_args!("after change {round}"))?;
    }
    drop(net);
    device.delete()
}

/// What is received goes to the memory that is mapped now, though its buffer was made
/// available before.
fn replaced_for_receiving(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let views = [
        View::new(kind(context), BESIDE, 0x1000)?,
        View::new(kind(context), BESIDE, 0x1000)?,
    ];
    net.client.map_all(0, &views[0])?;
    for round in 0..40 {
        let (old, new) = (&views[round % 2], &views[(round + 1) % 2]);
        let buffer = Buffer::writable(BESIDE, 0x1000);
        net.rx
            .driver
            .add(&[buffer], Form::Direct)
            .expect("there is room");
        net.rx.driver.publish();
        net.rx.kick()?;
        for view in [old, new] {
            view.write(BESIDE, &[0x5a; 0x1000]);
        }
        batch(&net.client, 0, || {
            net.client.unmap(0, BESIDE, old.len())?;
            net.client.map_all(0, new)
        })?;
        let sent = frame::make(300, net.mac, net.mac, round as u64);
        net.add_frame(&sent);
        net.send()?;
        crate::sys::wait_for("a frame comes", SOON, || {
            Ok((net.rx.used() == round + 1).then_some(()))
        })?;
        while net.rx.take_used().is_some() {}
        let mut got = vec![0; 300];
        new.read(BESIDE + net.header_len() as u64, &mut got);
        check!(
            got == sent,
            "round {round}: the frame is not where it should be"
        );
        let mut rest = vec![0; 0x1000];
        old.read(BESIDE, &mut rest);
        check!(
            rest.iter().all(|byte| *byte == 0x5a),
            "round {round}: memory that was taken away was written"
        );
        crate::sys::wait_for("it is given back", SOON, || {
            Ok((net.reap()? > 0).then_some(()))
        })?;
    }
    drop(net);
    device.delete()
}

/// Maps, replaces and takes away memory beside that of a driver until it is told to stop.
/// Returns how many changes that were.
fn change_beside(
    fd: i32,
    views: &[View],
    batched: bool,
    stop: &AtomicBool,
    changes: &AtomicU64,
) -> Outcome {
    let map = |view: &View| {
        let start = view.pointer(view.iova(), view.len());
        ioctl::map(
            &fd,
            0,
            view.iova(),
            view.len() as u64,
            start,
            Permission::Both,
        )
        .when("map")
    };
    let unmap = |view: &View| ioctl::unmap(&fd, 0, view.iova(), view.len() as u64).when("unmap");
    let begin = || match batched {
        true => ioctl::batch_begin(&fd, 0).when("BATCH_BEGIN"),
        false => Ok(()),
    };
    let end = || match batched {
        true => ioctl::batch_end(&fd, 0).when("BATCH_END"),
        false => Ok(()),
    };
    while !stop.load(Ordering::Relaxed) {
        begin()?;
        for view in views {
            map(view)?;
        }
        end()?;
        begin()?;
        for view in views {
            unmap(view)?;
            map(view)?;
        }
        end()?;
        begin()?;
        for view in views {
            unmap(view)?;
        }
        end()?;
        changes.fetch_add(4 * views.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Others come, change and go, side by side with the memory of a driver; it sees nothing.
fn undisturbed(context: &mut Context) -> Outcome {
    for format in Format::ALL {
        let (device, path) = ring_device("map", format)?;
        let mut net = Net::new(&path, plan(context))?;
        let before = net.memory.iova() - 0x4000;
        let behind = net.memory.iova() + net.memory.len() as u64;
        let mut views = Vec::new();
        for start in [before, behind, BESIDE, 0x1000] {
            views.push(View::new(kind(context), start, 0x4000)?);
        }
        for batched in [false, true] {
            context.step(format_args!("{format:?}, batched: {batched}"));
            let stop = AtomicBool::new(false);
            let fd = net.client.as_raw_fd();
            let end = Instant::now() + Duration::from_millis(800);
            let mut frames = 0;
            let changes = AtomicU64::new(0);
            thread::scope(|scope| -> Outcome {
                let other = scope.spawn(|| change_beside(fd, &views, batched, &stop, &changes));
                let mut looped = Ok(());
                let few = || changes.load(Ordering::Relaxed) <= 16;
                while looped.is_ok() && (Instant::now() < end || few()) && !other.is_finished() {
                    let what = LoopPlan { count: 100, ..MANY };
                    looped = net.loop_frames(what).map(drop);
                    frames += 100;
                }
                stop.store(true, Ordering::Relaxed);
                other.join().expect("it does not panic")?;
                looped
            })?;
            let changes = changes.into_inner();
            super::runs(&net)?;
            let how = if takes_tables(context) && batched {
                "in batches"
            } else {
                "one by one"
            };
            context.note(format_args!(
                "{format:?}: {frames} frames during {changes} changes {how}"
            ));
            check!(changes > 16, "only {changes} changes");
        }
        // What was taken away last is really gone.
        net.fill_rx()?;
        let buffer = Buffer::readable(BESIDE, 64);
        net.tx
            .driver
            .add(&[buffer], Form::Direct)
            .expect("there is room");
        net.send()?;
        expect_fault(context, &net, "map", &Faulty::at(TX, "not mapped"))?;
        drop(net);
        device.delete()?;
    }
    Ok(())
}
