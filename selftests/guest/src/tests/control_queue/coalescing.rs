// SPDX-License-Identifier: GPL-2.0

//! Coalesced interrupts: fewer of them, and none too late.

use super::{
    data::{coalescing, queue_coalescing},
    ready,
};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    sys::{wait_for, SOON},
    tests::rings::both,
    vhost::Net,
};
use rvdpa_virtio::{
    features::Features,
    net::{
        control::{
            coalescing::{CLASS, RX_SET, TX_SET, VQ_GET, VQ_SET},
            ERR, OK,
        },
        NetHeader,
    },
};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = both! {
    "coalesced_interrupts", fewer;
    "coalescing_per_queue", per_queue;
    "coalescing_is_kept", kept;
};

/// Every interrupt is wanted, and none is suppressed by the ring.
fn plain() -> Features {
    Features(u64::MAX).without(Features::EVENT_IDX)
}

/// Has `count` frames looped one after the other, with all interrupts wanted. Asserts how many
/// come of the receive and of the transmit queue.
fn interrupts(net: &mut Net, count: u64, wanted: (u64, u64), what: &str) -> Outcome {
    let mut come = loop_by_hand(net, count)?;
    // The last one may be on its way.
    let _ = wait_for("the interrupts", SOON, || {
        come = (come.0 + net.rx.interrupts()?, come.1 + net.tx.interrupts()?);
        Ok((come.0 >= wanted.0 && come.1 >= wanted.1).then_some(()))
    });
    // And one too many, too.
    std::thread::sleep(Duration::from_millis(5));
    let come = (come.0 + net.rx.interrupts()?, come.1 + net.tx.interrupts()?);
    check_eq!(come, wanted, "interrupts for {count} frames, {what}");
    Ok(())
}

/// Has `count` frames looped one after the other, with all interrupts wanted. Returns how
/// many have come so far of the receive and of the transmit queue.
fn loop_by_hand(net: &mut Net, count: u64) -> Outcome<(u64, u64)> {
    net.rx.interrupts()?;
    net.tx.interrupts()?;
    net.rx.driver.enable_interrupts();
    net.tx.driver.enable_interrupts();
    for number in 0..count {
        net.fill_rx()?;
        let sent = frame::make(100, net.mac, net.mac, number);
        check!(
            net.add_frame_to(0, NetHeader::default(), &sent),
            "no room in the transmit queue"
        );
        net.send()?;
        let got = wait_for("the frame", SOON, || net.receive())?;
        check_eq!(got, sent, "frame {number}");
        wait_for("the frame sent", SOON, || {
            Ok((net.reap()? > 0).then_some(()))
        })?;
    }
    Ok((net.rx.interrupts()?, net.tx.interrupts()?))
}

/// A time that does not end during a test.
const LONG: u32 = 60_000_000;

fn fewer(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 1, plain())?;
    interrupts(&mut net, 40, (40, 40), "one by one")?;
    net.do_command(CLASS, RX_SET, &coalescing(8, LONG))?;
    interrupts(&mut net, 40, (5, 40), "8 received each")?;
    net.do_command(CLASS, TX_SET, &coalescing(20, LONG))?;
    interrupts(&mut net, 40, (5, 2), "20 sent each")?;

    // Too few frames for the number: the time brings the interrupt.
    let wait = Duration::from_millis(300);
    let usecs = wait.as_micros() as u32;
    net.do_command(CLASS, RX_SET, &coalescing(1000, usecs))?;
    while net.rx.interrupted(Duration::ZERO)? {}
    let start = Instant::now();
    let early = loop_by_hand(&mut net, 3)?.0;
    // On a machine that stands still, the time may be over before the last frame.
    let within = start.elapsed() < wait;
    check!(early == 0 || !within, "{early} interrupts within {wait:?}");
    check!(
        early > 0 || net.rx.interrupted(SOON)?,
        "no interrupt after {usecs} us"
    );
    let took = start.elapsed();
    check!(took >= wait, "an interrupt after {took:?}, before {wait:?}");
    check!(
        !within || !net.rx.interrupted(2 * wait)?,
        "an interrupt without a new frame"
    );

    // And all of them again.
    net.do_command(CLASS, RX_SET, &coalescing(0, 0))?;
    net.do_command(CLASS, TX_SET, &coalescing(0, 0))?;
    // What was held back comes now.
    check!(
        net.tx.interrupted(SOON)?,
        "no interrupt for frames that waited"
    );
    interrupts(&mut net, 10, (10, 10), "at once")?;
    drop(net);
    device.delete()
}

fn per_queue(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 1, plain())?;
    net.do_command(CLASS, VQ_SET, &queue_coalescing(1, 10, LONG))?;
    interrupts(&mut net, 40, (40, 4), "10 sent each")?;
    net.do_command(CLASS, VQ_SET, &queue_coalescing(0, 20, LONG))?;
    interrupts(&mut net, 40, (2, 4), "20 received each")?;
    // A reset forgets it.
    let mut net = net.restart()?;
    interrupts(&mut net, 10, (10, 10), "after a reset")?;
    drop(net);
    device.delete()
}

/// What is set can be read, of each queue.
fn kept(context: &mut Context) -> Outcome {
    let (device, mut net) = ready(context, 4, Features(u64::MAX))?;
    let get = |net: &mut Net, index: u16| -> Outcome<[u8; 8]> {
        let data = &queue_coalescing(index, 0, 0)[..4];
        let reply = net.query(CLASS, VQ_GET, data, 8)?;
        check_eq!(reply.answer, OK, "answer for virtqueue {index}");
        let result: Result<[u8; 8], _> = reply.result.try_into();
        result.ok().when("eight bytes of result")
    };
    for index in 0..8 {
        check_eq!(
            get(&mut net, index)?,
            [0; 8],
            "virtqueue {index} at the start"
        );
    }
    net.do_command(CLASS, RX_SET, &coalescing(3, 4))?;
    net.do_command(CLASS, TX_SET, &coalescing(5, 6))?;
    net.do_command(CLASS, VQ_SET, &queue_coalescing(5, 7, 8))?;
    net.do_command(CLASS, VQ_SET, &queue_coalescing(2, u32::MAX, u32::MAX))?;
    for index in 0..8 {
        let wanted = match index {
            5 => coalescing(7, 8),
            2 => coalescing(u32::MAX, u32::MAX),
            _ if index % 2 == 0 => coalescing(3, 4),
            _ => coalescing(5, 6),
        };
        check_eq!(get(&mut net, index)?, wanted, "virtqueue {index}");
    }
    // The command for all of a kind is for all of them.
    net.do_command(CLASS, RX_SET, &coalescing(9, 10))?;
    check_eq!(
        get(&mut net, 2)?,
        coalescing(9, 10),
        "virtqueue 2 afterwards"
    );
    check_eq!(
        get(&mut net, 5)?,
        coalescing(7, 8),
        "virtqueue 5 afterwards"
    );
    for index in [8, 9, 65535] {
        let reply = net.query(CLASS, VQ_GET, &queue_coalescing(index, 0, 0)[..4], 8)?;
        check_eq!(reply.answer, ERR, "answer for virtqueue {index}");
        check_eq!(reply.result, [0; 0], "result for virtqueue {index}");
    }
    // Not of virtqueues that the driver has not enabled (5.1.6.5.9.2).
    net.plan.pairs = 2;
    net = net.restart()?;
    check_eq!(get(&mut net, 3)?, [0; 8], "virtqueue 3 after a reset");
    net.refuse_command(CLASS, VQ_SET, &queue_coalescing(4, 1, 1))?;
    drop(net);
    device.delete()
}
