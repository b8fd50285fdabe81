// SPDX-License-Identifier: GPL-2.0

//! Batches of changes, as a device that takes whole tables sees them: all at once, when the
//! batch ends.

use super::{batch, each_map, each_table, send_from, MANY};
use crate::{
    arena::View,
    check, check_eq,
    harness::{Context, Test},
    ioctl::{self, Permission},
    outcome::{Outcome, While},
    tests::{
        hostile::{expect_fault, Faulty},
        rings::{kind, plan, ring_device, FEW},
    },
    vhost::{Format, LoopPlan, Net, TX},
};
use nix::errno::Errno;
use rvdpa_virtio::mock::{Buffer, Form};
use std::{
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

pub const TESTS: &[Test] = each_map! {
    "batch_of_additions_and_removals", additions;
    "batch_of_nothing", nothing;
    "batch_of_another_space", other_space;
};

pub const TABLES: &[Test] = each_table! {
    "table_is_replaced_as_a_whole", whole;
    "bad_entry_in_a_batch", bad_entry;
};

const START: u64 = 0x55_0000_0000;

/// Some memory, in pieces of a page that are not side by side.
fn pieces(context: &Context, count: u64) -> Outcome<Vec<View>> {
    (0..count)
        .map(|at| View::new(kind(context), START + at * 0x3000, 0x1000))
        .collect()
}

/// A buffer that is not mapped stops the transmit queue.
fn is_gone(context: &mut Context, net: &mut Net, iova: u64) -> Outcome {
    net.fill_rx()?;
    net.tx
        .driver
        .add(&[Buffer::readable(iova, 64)], Form::Direct)
        .expect("there is room");
    net.send()?;
    expect_fault(context, net, "map", &Faulty::at(TX, "not mapped"))
        .when(format_args!("buffer at {iova:#x}"))
}

fn additions(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let views = pieces(context, 64)?;
    let (first, second) = views.split_at(32);
    batch(&net.client, 0, || {
        first
            .iter()
            .try_for_each(|view| net.client.map_all(0, view))
    })?;
    for (number, view) in first.iter().enumerate() {
        send_from(&mut net, view, view.iova(), number as u64)?;
    }
    // Half of them go, others come.
    batch(&net.client, 0, || {
        for (at, view) in first.iter().enumerate() {
            if at % 2 == 0 {
                net.client.unmap(0, view.iova(), view.len())?;
            }
        }
        second
            .iter()
            .try_for_each(|view| net.client.map_all(0, view))
    })?;
    let left: Vec<&View> = first.iter().skip(1).step_by(2).chain(second).collect();
    for (number, view) in left.iter().enumerate() {
        send_from(&mut net, view, view.iova(), 100 + number as u64)?;
    }
    for gone in first.iter().step_by(2).take(3) {
        is_gone(context, &mut net, gone.iova())?;
        net = net.restart()?;
    }
    // One removal takes them all, holes and all.
    batch(&net.client, 0, || net.client.unmap(0, START, 64 * 0x3000))?;
    is_gone(context, &mut net, left[0].iova())?;
    net = net.restart()?;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

/// Batches without changes, an end without a beginning, two beginnings.
fn nothing(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    for _ in 0..3 {
        batch(&net.client, 0, || Ok(()))?;
        net.loop_frames(FEW)?;
    }
    ioctl::batch_end(&net.client, 0).when("an end without a beginning")?;
    net.loop_frames(FEW)?;
    ioctl::batch_begin(&net.client, 0).when("BATCH_BEGIN")?;
    ioctl::batch_begin(&net.client, 0).when("BATCH_BEGIN again")?;
    net.loop_frames(FEW)?;
    let view = View::new(kind(context), START, 0x1000)?;
    net.client.map_all(0, &view)?;
    ioctl::batch_end(&net.client, 0).when("BATCH_END")?;
    send_from(&mut net, &view, START, 5)?;
    // A client that goes in the middle of a batch.
    ioctl::batch_begin(&net.client, 0).when("BATCH_BEGIN")?;
    net.client.unmap(0, START, view.len())?;
    drop(net);
    let mut net = Net::new(&path, plan(context))?;
    net.loop_frames(FEW)?;
    is_gone(context, &mut net, START)?;
    drop(net);
    device.delete()
}

/// A batch is of one address space, and another one has its own.
fn other_space(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let views = pieces(context, 4)?;
    let view = &views[0];
    batch(&net.client, 1, || {
        net.client.map_all(1, view)?;
        let refused = ioctl::map(
            &net.client,
            0,
            views[1].iova(),
            0x1000,
            views[1].pointer(views[1].iova(), 0x1000),
            Permission::Both,
        );
        check_eq!(refused, Err(Errno::EFAULT), "a map in another batch");
        Ok(())
    })?;
    net.loop_frames(FEW)?;
    // It is of no use in the first address space.
    is_gone(context, &mut net, view.iova())?;
    drop(net);
    device.delete()
}

/// The table with all of a driver's memory is replaced by one that says the same: there is
/// no moment at which it is not mapped.
fn whole(context: &mut Context) -> Outcome {
    for format in Format::ALL {
        context.step(format_args!("{format:?}"));
        let (device, path) = ring_device("map", format)?;
        let mut net = Net::new(&path, plan(context))?;
        let stop = AtomicBool::new(false);
        let fd = net.client.as_raw_fd();
        let memory = net.memory.clone();
        let count = AtomicU64::new(0);
        let again = || -> Outcome {
            let (iova, len) = (memory.iova(), memory.len() as u64);
            let start = memory.pointer(iova, memory.len());
            while !stop.load(Ordering::Relaxed) {
                ioctl::batch_begin(&fd, 0).when("BATCH_BEGIN")?;
                ioctl::unmap(&fd, 0, iova, len).when("unmap")?;
                ioctl::map(&fd, 0, iova, len, start, Permission::Both).when("map")?;
                ioctl::batch_end(&fd, 0).when("BATCH_END")?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let end = Instant::now() + Duration::from_millis(1500);
        let mut frames = 0;
        thread::scope(|scope| -> Outcome {
            let other = scope.spawn(again);
            let mut looped = Ok(());
            let few = || count.load(Ordering::Relaxed) <= 10;
            while looped.is_ok() && (Instant::now() < end || few()) && !other.is_finished() {
                let what = LoopPlan { count: 100, ..MANY };
                looped = net.loop_frames(what).map(drop);
                frames += 100;
            }
            stop.store(true, Ordering::Relaxed);
            other.join().expect("it does not panic")?;
            looped
        })?;
        let count = count.into_inner();
        super::runs(&net)?;
        check!(count > 10, "the table was replaced {count} times only");
        context.note(format_args!(
            "{format:?}: {frames} frames during {count} replacements"
        ));
        drop(net);
        device.delete()?;
    }
    Ok(())
}

/// A table with something that cannot be: vhost-vdpa does not say so at the end of a batch.
/// What was taken away in the same batch is gone nevertheless.
fn bad_entry(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let views = pieces(context, 2)?;
    net.client.map_all(0, &views[0])?;
    send_from(&mut net, &views[0], START, 1)?;
    batch(&net.client, 0, || {
        net.client.unmap(0, START, 0x1000)?;
        let view = &views[1];
        net.client
            .map(0, view, view.iova(), view.len(), Permission::None)
    })?;
    is_gone(context, &mut net, START)?;
    net.client.unmap(0, views[1].iova(), views[1].len())?;
    net = net.restart()?;
    net.loop_frames(FEW)?;
    // Alone it is refused.
    let refused = ioctl::map(
        &net.client,
        0,
        views[1].iova(),
        0x1000,
        views[1].pointer(views[1].iova(), 0x1000),
        Permission::None,
    );
    check_eq!(refused, Err(Errno::EFAULT), "a map that permits nothing");
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}
