// SPDX-License-Identifier: GPL-2.0

//! Virtqueues that are notified by a write to a page: `doorbells=1`.

use super::MANY;
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    tests::rings::{plan, ring_device, FEW},
    vhost::{Bell, Client, Format, LoopPlan, Net, NewDevice, Plan, RX, TX},
};
use rvdpa_virtio::net::NetHeader;
use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

const ON: &str = "doorbells=1";
const ON_VA: &str = "doorbells=1 use_va=1";

pub const TESTS: &[Test] = &[
    Test::new("doorbell.split", |context| traffic(context, Format::Split)).with(ON),
    Test::new("doorbell.packed", |context| {
        traffic(context, Format::Packed)
    })
    .with(ON),
    Test::new("doorbell.split.va", |context| {
        traffic(context, Format::Split)
    })
    .with(ON_VA),
    Test::new("doorbell.packed.va", |context| {
        traffic(context, Format::Packed)
    })
    .with(ON_VA),
    Test::new("doorbell.several_queues", several).with(ON),
    Test::new("doorbell.sixty_four_pairs", most).with(ON),
    Test::new("doorbell.writes_of_32_bits", wide).with(ON),
    Test::new("doorbell.after_a_while", idle)
        .with(ON)
        .seconds(60),
    Test::new("doorbell.on_to_events_and_back", events).with(ON),
    Test::new("doorbell.over_a_reset", reset).with(ON),
    Test::new("doorbell.other_writes", odd_writes).with(ON),
    Test::new("doorbell.cost_of_idling", cost)
        .with(ON)
        .seconds(180),
];

/// A client that notifies by pages only: it sets no events.
fn bells(context: &Context) -> Plan {
    Plan {
        bells: true,
        ..plan(context)
    }
}

fn traffic(context: &mut Context, format: Format) -> Outcome {
    let (device, path) = ring_device("bell", format)?;
    let mut net = Net::new(&path, bells(context))?;
    net.loop_frames(LoopPlan {
        count: 100,
        size: 100,
        in_flight: 1,
    })
    .when("one by one")?;
    net.loop_frames(MANY)?;
    super::command(&mut net)?;
    let kicks = device.statistics(1)?.get("kicks")?;
    check!(kicks > 0, "no kicks are counted");
    drop(net);
    device.delete()
}

/// Each pair by its own page.
fn pairs(context: &mut Context, pairs: usize, rounds: u64) -> Outcome {
    for format in Format::ALL {
        context.step(format_args!("{format:?}"));
        let (device, path) = NewDevice::named("bell")
            .format(format, rvdpa_virtio::features::Features::NET_MQ)
            .pairs(pairs as u16)
            .make()?;
        let plan = Plan {
            pairs,
            size: 16,
            ..bells(context)
        };
        let mut net = Net::new(&path, plan)?;
        net.use_pairs(pairs as u16)?;
        net.fill_rx()?;
        for number in 0..rounds {
            for pair in 0..pairs {
                let sent = frame::make(100, net.mac, net.mac, number * 100 + pair as u64);
                net.send_frame(pair, NetHeader::default(), &sent)
                    .when(format_args!("pair {pair}"))?;
                // It has come, on whichever queue.
                let mut come = None;
                for pair in 0..pairs {
                    if let Some(got) = net.receive_from(pair)? {
                        come = Some(got.frame);
                    }
                }
                check_eq!(come, Some(sent), "frame {number} of pair {pair}");
                net.fill_rx()?;
            }
        }
        drop(net);
        device.delete()?;
    }
    Ok(())
}

fn several(context: &mut Context) -> Outcome {
    pairs(context, 4, 20)
}

fn most(context: &mut Context) -> Outcome {
    pairs(context, 64, 1)
}

fn wide(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("bell", Format::Split)?;
    let mut net = Net::new(&path, bells(context))?;
    for queue in [&mut net.rx, &mut net.tx] {
        let bell = Bell::of(&net.client, queue.index)?.wide();
        queue.kick_by_bell(bell);
    }
    net.loop_frames(MANY)?;
    drop(net);
    device.delete()
}

/// However long nothing came, a frame comes soon.
fn idle(context: &mut Context) -> Outcome {
    for format in Format::ALL {
        let (device, path) = ring_device("bell", format)?;
        let mut net = Net::new(&path, bells(context))?;
        net.loop_frames(FEW)?;
        let mut times = Vec::new();
        for (round, pause) in [0, 100, 1000, 2000, 2000].into_iter().enumerate() {
            net.fill_rx()?;
            sleep(Duration::from_millis(pause));
            let sent = frame::make(100, net.mac, net.mac, round as u64);
            check!(net.add_frame(&sent), "no room");
            let start = Instant::now();
            net.send()?;
            let got = net
                .wait_receive()
                .when(format_args!("{format:?}, after {pause} ms"))?;
            times.push(format!(
                "{pause} ms: {:.1} ms",
                start.elapsed().as_secs_f32() * 1e3
            ));
            check_eq!(got, sent, "frame after {pause} ms");
            net.reap()?;
        }
        context.note(format_args!(
            "{format:?}: after idling for {}",
            times.join(", ")
        ));
        net.loop_frames(FEW)?;
        drop(net);
        device.delete()?;
    }
    Ok(())
}

/// Events work beside the pages, and without them.
fn events(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("bell", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    net.loop_frames(FEW).when("by events")?;
    for round in 0..3 {
        net.tx.kick_by_bell(Bell::of(&net.client, TX)?);
        net.loop_frames(FEW)
            .when(format_args!("by the page, round {round}"))?;
        // Unmaps it.
        net.tx.kick_by_event(&net.client)?;
        net.loop_frames(FEW)
            .when(format_args!("by an event, round {round}"))?;
    }
    drop(net);
    device.delete()
}

/// Pages stay mapped over resets, and mean nothing while the device does not run.
fn reset(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("bell", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let mut bell = Bell::of(&net.client, TX)?;
    for round in 0..4 {
        context.step(format_args!("round {round}"));
        net.tx.kick_by_bell(bell);
        net.loop_frames(FEW).when(format_args!("round {round}"))?;
        // Another one of the same page, which stays.
        bell = Bell::of(&net.client, TX)?;
        net.client.reset()?;
        for _ in 0..10 {
            bell.ring();
            sleep(Duration::from_millis(2));
        }
        check_eq!(
            net.client.status()?,
            rvdpa_virtio::status::Status::RESET,
            "status of a device that is reset"
        );
        net = net.restart()?;
    }
    drop(bell);
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

/// What is written elsewhere, and what is no index of this queue.
fn odd_writes(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("bell", Format::Split)?;
    let mut net = Net::new(&path, bells(context))?;
    let odd = Bell::of(&net.client, TX)?;
    for value in [0_u32, 1, 2, 3, 77, 0xffff, 0x1_0000, u32::MAX] {
        odd.write(0, value);
        odd.write(4, value);
        odd.write(4092, value);
        net.loop_frames(FEW)
            .when(format_args!("after {value:#x} was written"))?;
    }
    for at in (0..4096).step_by(8) {
        odd.write(at, u64::MAX);
    }
    net.loop_frames(FEW).when("after the page was filled")?;
    // As fast as it can, while frames go.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut value = 0_u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                odd.write(0, value);
                value = value.wrapping_mul(0x9e37_79b9).wrapping_add(1);
            }
        });
        let looped = net.loop_frames(MANY);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        looped
    })?;
    super::runs(&net)?;
    // As long as a page is mapped, the device is open.
    drop((net, odd));
    device.delete()
}

/// For how long kernel threads have run so far, in milliseconds.
fn threads() -> Outcome<u64> {
    let mut all = 0;
    for process in crate::sys::names("/proc") {
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else {
            continue;
        };
        // What the parent's number is, behind the name and the state.
        let parent = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(1));
        if parent != Some("2") {
            continue;
        }
        // One may have ended meanwhile.
        let Ok(text) = fs::read_to_string(format!("/proc/{process}/schedstat")) else {
            continue;
        };
        let time: u64 = text.split(' ').next().when("schedstat")?.parse()?;
        all += time;
    }
    if all == 0 {
        crate::skip!("this kernel does not say for how long threads ran (/proc/*/schedstat)");
    }
    Ok(all / 1_000_000)
}

/// For how long interrupts and softirqs ran on all processors, in milliseconds.
fn interrupts() -> Outcome<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().when("/proc/stat")?;
    let numbers: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    // In hundredths of a second.
    let (irq, softirq) = (numbers.get(5).when("irq")?, numbers.get(6).when("softirq")?);
    Ok((irq + softirq) * 10)
}

/// What a device costs that does nothing, in milliseconds of kernel threads and of interrupts
/// in three seconds.
fn idling() -> Outcome<(u64, u64)> {
    // The poller slows down first.
    sleep(Duration::from_secs(2));
    let (thread, interrupt) = (threads()?, interrupts()?);
    sleep(Duration::from_secs(3));
    // A thread that ended is not counted any more.
    Ok((
        threads()?.saturating_sub(thread),
        interrupts()?.saturating_sub(interrupt),
    ))
}

/// What a thread costs that sleeps for a millisecond at a time, in the same way: a poller that
/// has slowed down does no more.
fn sleeping() -> Outcome<(u64, u64)> {
    let ran = || -> Outcome<u64> {
        let text = fs::read_to_string("/proc/thread-self/schedstat")?;
        let time: u64 = text.split(' ').next().when("schedstat")?.parse()?;
        Ok(time / 1_000_000)
    };
    let (thread, interrupt) = (ran()?, interrupts()?);
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        sleep(Duration::from_millis(1));
    }
    Ok((ran()? - thread, interrupts()?.saturating_sub(interrupt)))
}

/// What an idle device costs, the least of several times: others have threads, too, and what is polled is so
/// each time.
fn idling_at_least() -> Outcome<(u64, u64)> {
    let mut least = idling()?;
    for _ in 0..2 {
        let again = idling()?;
        least = (least.0.min(again.0), least.1.min(again.1));
    }
    Ok(least)
}

fn cost(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("bell", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    net.loop_frames(FEW)?;
    let without = idling_at_least()?;
    drop(net);
    let mut net = Net::new(&path, bells(context))?;
    net.loop_frames(FEW)?;
    let with = idling_at_least()?;
    net.loop_frames(FEW)?;
    drop(net);
    let closed = idling_at_least()?;
    // A client that maps pages, and nothing else.
    let client = Client::open(&path)?;
    let bells = [Bell::of(&client, RX)?, Bell::of(&client, TX)?];
    bells[1].ring();
    drop((client, bells));
    let never_ran = idling_at_least()?;
    context.note(format_args!(
        "in 3 s idle, ms of kernel threads and of interrupts: {without:?} without pages, \
         {with:?} with all mapped, {closed:?} when they are closed, {never_ran:?} after a \
         client that never ran"
    ));
    let sleeper = sleeping()?;
    context.note(format_args!(
        "a thread that sleeps for a millisecond at a time: {sleeper:?}"
    ));
    // Machines are slower at times; this is the same for both.
    let limit = |before: u64, sleeper: u64| before + 4 * sleeper + 100;
    check!(
        with.0 < limit(without.0, sleeper.0),
        "threads ran for {} ms in 3 s, {} ms without pages",
        with.0,
        without.0
    );
    check!(
        with.1 < limit(without.1, sleeper.1),
        "interrupts took {} ms in 3 s, {} ms without pages",
        with.1,
        without.1
    );
    // Nobody is to look at what nobody has.
    for (what, threads) in [("closed", closed.0), ("closed, and never ran", never_ran.0)] {
        check!(
            threads < without.0 + 50 + sleeper.0 / 4,
            "threads ran for {threads} ms in 3 s when all is {what}, {} ms without pages",
            without.0
        );
    }
    device.delete()
}
