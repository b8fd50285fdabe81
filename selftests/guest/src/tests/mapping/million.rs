// SPDX-License-Identifier: GPL-2.0

//! As many mappings as a large machine has pages in 4 GiB.

use super::batch;
use crate::{
    arena::View,
    check, frame,
    harness::{Context, Test},
    ioctl::{self, Permission},
    outcome::{Outcome, While},
    sys::{self, wait_for, SOON},
    tests::{
        rings::{kind, plan, ring_device},
        MAPPINGS,
    },
    vhost::{self, Format, Net},
};
use rvdpa_virtio::mock::{Buffer, DriverMemory, Form};
use std::{fs, time::Instant};

pub const TESTS: &[Test] = &[
    Test::new("mapping.million.dma_map.pa", million).seconds(280),
    Test::new("mapping.million.set_map.va", million)
        .with("batch_mapping=1 use_va=1")
        .seconds(280),
];

const MILLION: u64 = 1_000_000;
const START: u64 = 0x100_0000_0000;
const PAGE: u64 = 4096;
/// From one mapping to the next: there are holes, so that none can become one.
const STEP: u64 = 2 * PAGE;
/// How many different pages are behind the mappings.
const PAGES: u64 = 16;
/// How many frames are timed.
const FRAMES: u64 = 4000;
/// How often each is timed.
const TURNS: usize = 4;
/// Slower than with one mapping by no more than this.
const SLOWER: u64 = 3;

/// vhost_vdpa with room for more mappings than for other tests, until the value goes.
struct Roomy;

impl Roomy {
    fn new(entries: u64) -> Outcome<Self> {
        reload(entries)?;
        Ok(Self)
    }

    fn end(self) -> Outcome {
        std::mem::forget(self);
        reload(MAPPINGS)
    }
}

impl Drop for Roomy {
    fn drop(&mut self) {
        let _ = reload(MAPPINGS);
    }
}

fn reload(mappings: u64) -> Outcome {
    sys::run(&["rmmod", "vhost_vdpa"])?;
    vhost::load(mappings)
}

/// The iova of a mapping.
fn place(number: u64) -> u64 {
    START + number * STEP
}

/// Maps from one number to another.
fn map(net: &Net, view: &View, from: u64, to: u64) -> Outcome {
    batch(&net.client, 0, || {
        for number in from..to {
            let pointer = view.pointer(view.iova() + number % PAGES * PAGE, PAGE as usize);
            ioctl::map(
                &net.client,
                0,
                place(number),
                PAGE,
                pointer,
                Permission::Read,
            )
            .when(format_args!("mapping {number}"))?;
        }
        Ok(())
    })
}

/// Sends frames from all over so many mappings. Returns how many there were in a second.
fn rate(net: &mut Net, mappings: u64) -> Outcome<u64> {
    let start = Instant::now();
    let (mut sent, mut received) = (0, 0);
    let len = 100;
    while received < FRAMES {
        net.fill_rx()?;
        while sent < FRAMES && sent - received < 64 {
            // Anywhere, and each of them once.
            let number = sent.wrapping_mul(0x9e37_79b9_7f4a_7c15) % mappings;
            let iova = place(number);
            let buffer = Buffer::readable(iova, (net.header_len() + len) as u32);
            if net.tx.driver.add(&[buffer], Form::Direct).is_err() {
                break;
            }
            sent += 1;
        }
        net.send()?;
        let number = received.wrapping_mul(0x9e37_79b9_7f4a_7c15) % mappings;
        let got = net.wait_receive()?;
        check!(
            frame::number(&got) == Some(number % PAGES) && got.len() == len,
            "frame {received}, from mapping {number}, is that of {:?}",
            frame::number(&got)
        );
        received += 1;
        while net.tx.take_used().is_some() {}
    }
    // All are given back, a moment after they have come.
    wait_for("frames are given back", SOON, || {
        while net.tx.take_used().is_some() {}
        Ok((net.tx.driver.free() == usize::from(net.plan.size)).then_some(()))
    })?;
    let rate = FRAMES as f64 / start.elapsed().as_secs_f64();
    Ok(rate as u64)
}

/// Pages of slab caches that cannot be had back, and how often pages are pinned.
fn usage() -> Outcome<(i64, i64)> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let get = |name: &str| -> Outcome<i64> {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            .when(name)
    };
    let pinned = get("nr_foll_pin_acquired")? - get("nr_foll_pin_released")?;
    Ok((get("nr_slab_unreclaimable")?, pinned))
}

fn million(context: &mut Context) -> Outcome {
    let slow = sys::is_for_debugging();
    let most = if slow { MILLION / 20 } else { MILLION };
    let counts = [1, 1000, most];
    // The client's own memory takes some, too: as many as it has pages, if these are scattered.
    let roomy = Roomy::new(2 * most)?;
    let (device, path) = ring_device("million", Format::Split)?;
    let before = usage()?;
    let mut net = Net::new(&path, plan(context))?;
    let view = View::new(kind(context), 0, (PAGES * PAGE) as usize)?;
    for page in 0..PAGES {
        view.write(page * PAGE, &[0; 12]);
        view.write(page * PAGE + 12, &frame::make(100, net.mac, net.mac, page));
    }
    let mut mapped = 0;
    for count in counts {
        context.step(format_args!("{count} mappings"));
        let start = Instant::now();
        map(&net, &view, mapped, count)?;
        if count == most {
            let seconds = start.elapsed().as_secs_f32();
            context.note(format_args!("mapping {most} took {seconds:.1} s"));
        }
        mapped = count;
        rate(&mut net, count)?;
    }
    // In turn, as a machine is slower at times: from one mapping, which is remembered, and from
    // all over so many of them.
    let mut rates = counts.map(|_| 0);
    for turn in 0..TURNS {
        context.step(format_args!("turn {turn}"));
        for (best, count) in rates.iter_mut().zip(counts) {
            *best = rate(&mut net, count)?.max(*best);
        }
    }
    let words: Vec<_> = rates.iter().map(|rate| rate.to_string()).collect();
    context.note(format_args!(
        "frames a second from 1, 1000 and {most} mappings: {}",
        words.join(", ")
    ));
    let full = usage()?;
    context.note(format_args!(
        "{most} mappings take {} MiB of slabs",
        (full.0 - before.0) / 256
    ));
    context.step("unmapping one");
    let start = Instant::now();
    net.client.unmap(0, place(most / 2), PAGE as usize)?;
    context.note(format_args!(
        "unmapping one of {most} took {:.1} ms",
        start.elapsed().as_secs_f32() * 1e3
    ));
    rate(&mut net, 1000)?;
    context.step("closing");
    let start = Instant::now();
    drop(net);
    context.note(format_args!(
        "closing took {:.1} s",
        start.elapsed().as_secs_f32()
    ));
    // 8 MiB may come and go otherwise: a few in a hundred of what a million takes. A slow kernel
    // keeps what was freed for a while, to see who uses it still, and looks itself for what is lost.
    wait_for("all is given back", SOON, || {
        let now = usage()?;
        let slabs = slow || now.0 < before.0 + 2048;
        Ok((slabs && now.1 == before.1).then_some(()))
    })
    .when(format_args!(
        "{before:?} before, {full:?} with all, {:?} now",
        usage()?
    ))?;
    device.delete()?;
    roomy.end()?;
    let [one, _, all] = rates;
    check!(
        one < SLOWER * all,
        "{all} frames a second from {most} mappings, {one} from one"
    );
    Ok(())
}
