// SPDX-License-Identifier: GPL-2.0

//! Fewer interrupts than frames, as `ethtool -C` sets it.

use crate::{
    check, check_eq,
    device::{Device, Driver},
    frame,
    harness::{Context, Test},
    module, netdev,
    netlink::attribute,
    outcome::{Outcome, While},
    packet::Socket,
    sys::{self, scaled, SOON},
    trace::Trace,
};
use rvdpa_virtio::features::Features;
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

pub const TESTS: &[Test] = &[
    Test::new("coalescing.frames_wait_for_the_time", time),
    Test::new("coalescing.frames_end_the_wait", frames),
    Test::new(
        "coalescing.frames_end_the_wait_without_event_idx",
        frames_flags,
    ),
    Test::new("coalescing.fewer_interrupts_for_received_frames", fewer),
    // Sent frames that are handled in place need no interrupt.
    Test::new("coalescing.fewer_interrupts_for_sent_frames", fewer_sent).with("in_place=0"),
    Test::new("coalescing.switched_off_while_a_frame_waits", off),
    Test::new("coalescing.ends_with_the_driver", unbind),
    Test::new("coalescing.device_goes_while_a_frame_waits", delete).without_module(),
];

/// Longer than a frame takes when nothing makes it wait, most often, on a slow machine.
const SHORT: Duration = Duration::from_millis(150);

/// Longer than anybody waits for a frame.
const NEVER: u32 = 60_000_000;

/// As with no coalescing at all. Without a tx-frame, the driver would do without polls.
const OFF: &str = "rx-usecs 0 rx-frames 0 tx-usecs 0 tx-frames 1";

/// Sets how an interface coalesces.
fn set(interface: &str, words: &str) -> Outcome {
    let mut all = vec!["ethtool", "-C", interface];
    all.extend(words.split(' '));
    sys::run(&all).map(drop)
}

/// An interface, and who sends to itself.
struct Setup {
    device: Device,
    interface: String,
    socket: Socket,
    mac: [u8; 6],
    sent: u64,
}

impl Setup {
    fn new() -> Outcome<Self> {
        let (device, interface) = Device::for_virtio("coal")?;
        Self::with(device, interface)
    }

    fn with(device: Device, interface: String) -> Outcome<Self> {
        let socket = Socket::open(&interface, 2048)?;
        let mac = netdev::mac(&interface)?;
        Ok(Self {
            device,
            interface,
            socket,
            mac,
            sent: 0,
        })
    }

    fn set(&self, words: &str) -> Outcome {
        set(&self.interface, words)
    }

    fn send(&mut self) -> Outcome {
        self.socket
            .send(&frame::make(100, self.mac, self.mac, self.sent))?;
        self.sent += 1;
        Ok(())
    }

    /// Takes the next `count` frames, the last that were sent.
    fn take(&mut self, count: u64) -> Outcome {
        let frames = self.socket.receive_count(count as usize)?;
        let numbers: Vec<_> = frames.iter().map(|got| frame::number(got)).collect();
        let wanted: Vec<_> = (self.sent - count..self.sent).map(Some).collect();
        check_eq!(numbers, wanted, "frames that came");
        Ok(())
    }

    /// Sends a frame and waits for it. Returns how long that took.
    fn ping(&mut self) -> Outcome<Duration> {
        let start = Instant::now();
        self.send()?;
        self.take(1)?;
        Ok(start.elapsed())
    }

    /// Sees that nothing makes frames wait. A busy machine may make some late, not most.
    fn is_fast(&mut self) -> Outcome {
        let mut times = (0..11).map(|_| self.ping()).collect::<Outcome<Vec<_>>>()?;
        times.sort_unstable();
        check!(times[5] < SHORT, "frames took {times:?}");
        Ok(())
    }
}

/// A single frame comes when the time is over: neither before, nor never.
fn time(context: &mut Context) -> Outcome {
    let mut setup = Setup::new()?;
    setup.is_fast()?;
    for millis in [50, 250] {
        setup.set(&format!("rx-usecs {} rx-frames 1000", millis * 1000))?;
        let wait = Duration::from_millis(millis);
        let mut times = Vec::new();
        // A busy machine may make some late, not all.
        while times.len() < 10 && times.iter().all(|&took| took > wait + SHORT) {
            let took = setup.ping()?;
            check!(took >= wait, "{took:?}, with {wait:?} to wait");
            times.push(took);
        }
        context.note(format_args!("{times:?} with {wait:?} to wait"));
        check!(
            times.iter().any(|&took| took < wait + SHORT),
            "{times:?}, with {wait:?} to wait"
        );
    }
    setup.set(OFF)?;
    setup.is_fast().when("switched off again")?;
    setup.device.delete()
}

/// So many frames do not wait until the time is over.
fn frames_with(mut setup: Setup) -> Outcome {
    const FRAMES: u64 = 4;
    setup.set(&format!("rx-usecs {NEVER} rx-frames {FRAMES}"))?;
    for round in 0..5 {
        for number in 0..FRAMES {
            if number > 0 {
                // Each by itself, and none comes early.
                sleep(Duration::from_millis(10));
            }
            setup.send()?;
        }
        setup
            .take(FRAMES)
            .when(format_args!("rx-frames {FRAMES}, round {round}"))?;
    }
    setup.device.delete()
}

fn frames(_: &mut Context) -> Outcome {
    frames_with(Setup::new()?)
}

fn frames_flags(_: &mut Context) -> Outcome {
    let features = Features::VERSION_1
        | Features::ACCESS_PLATFORM
        | Features::NET_MAC
        | Features::NET_CTRL_VQ
        | Features::NET_NOTF_COAL;
    let (device, interface) = Device::for_virtio_with("coal", |attributes| {
        attributes.put(attribute::FEATURES, &features.0.to_ne_bytes())
    })?;
    frames_with(Setup::with(device, interface)?)
}

/// How many frames make a load.
const LOAD: u64 = 200;

/// What virtio_net has called for the interrupts of a receive queue, and of a transmit queue.
const CALLED: [&str; 2] = ["skb_recv_done", "skb_xmit_done"];

/// Sends frames one after the other, to `to`. Returns how often the driver was interrupted
/// for received frames, or for sent ones, until the last was done.
fn interrupts(setup: &mut Setup, trace: &Trace, to: [u8; 6]) -> Outcome<usize> {
    trace.clear()?;
    for number in 0..LOAD {
        setup
            .socket
            .send(&frame::make(100, to, setup.mac, number))?;
        sleep(Duration::from_micros(200));
    }
    let own = to == setup.mac;
    if own {
        let got = setup.socket.receive_count(LOAD as usize)?;
        check_eq!(got.len() as u64, LOAD, "frames that came back");
    }
    wait_sent(&setup.interface)?;
    let [received, sent] = CALLED;
    Ok(trace.events(&[if own { received } else { sent }])?.len())
}

/// Waits until the driver knows that all frames were sent.
fn wait_sent(interface: &str) -> Outcome {
    let path = format!("/sys/class/net/{interface}/queues/tx-0/byte_queue_limits/inflight");
    sys::wait_for("all frames are sent", SOON, || {
        Ok((sys::read_line(&path)? == "0").then_some(()))
    })
}

/// Compares how often the driver is interrupted.
fn compare(context: &mut Context, to: Option<[u8; 6]>, words: &str) -> Outcome {
    let mut setup = Setup::new()?;
    let trace = Trace::calls(&CALLED)?;
    let to = to.unwrap_or(setup.mac);
    let without = interrupts(&mut setup, &trace, to)?;
    setup.set(words)?;
    // virtio_net looks itself for sent frames once it has kicked for the next one, and polls
    // without an interrupt if most are there: on a busy machine, none may be due once.
    let mut with = 0;
    for _ in 0..5 {
        with = interrupts(&mut setup, &trace, to).when(words)?;
        if with > 0 || to == setup.mac {
            break;
        }
    }
    setup.set(OFF)?;
    let again = interrupts(&mut setup, &trace, to).when("switched off again")?;
    context.note(format_args!(
        "{LOAD} frames: {without} interrupts, {with} with {words}, {again} without again"
    ));
    check!(with > 0, "no interrupt with {words}");
    for without in [without, again] {
        check!(
            with * 4 <= without,
            "{with} interrupts with {words}, {without} without"
        );
    }
    drop(trace);
    setup.device.delete()
}

fn fewer(context: &mut Context) -> Outcome {
    compare(context, None, "rx-usecs 200000 rx-frames 1000")
}

/// Sent frames come back to nobody, so that only sending is seen.
fn fewer_sent(context: &mut Context) -> Outcome {
    let stranger = [2, 9, 9, 9, 9, 9];
    compare(context, Some(stranger), "tx-usecs 200000 tx-frames 1000")
}

/// A frame that waits comes at once when there is nothing to wait for any more.
fn off(_: &mut Context) -> Outcome {
    let mut setup = Setup::new()?;
    for words in [OFF, "rx-usecs 1000 rx-frames 1000"] {
        setup.set(&format!("rx-usecs {NEVER} rx-frames 1000"))?;
        setup.send()?;
        check!(setup.socket.is_silent()?, "the frame did not wait");
        setup.set(words)?;
        setup.take(1).when(words)?;
    }
    setup.device.delete()
}

/// What one driver has set is nothing to the next, and a frame that waits for it neither.
fn unbind(_: &mut Context) -> Outcome {
    let mut setup = Setup::new()?;
    setup.set("rx-usecs 500000 rx-frames 1000")?;
    setup.send()?;
    setup.device.unbind()?;
    setup.device.bind(Driver::Virtio)?;
    let interface = setup.device.interface()?;
    netdev::up(&interface)?;
    let mut setup = Setup::with(setup.device, interface)?;
    setup.is_fast()?;
    setup.device.delete()
}

/// Nothing is left of a frame that waits: neither the device waits for it, nor does its
/// time end when the module is gone.
fn delete(_: &mut Context) -> Outcome {
    const SHORT: u32 = 1_500_000;
    for usecs in [NEVER, SHORT] {
        module::load("")?;
        let mut setup = Setup::new()?;
        setup.set(&format!(
            "rx-usecs {usecs} rx-frames 1000 tx-usecs {usecs} tx-frames 1000"
        ))?;
        setup.send()?;
        let silent = setup.socket.is_silent()?;
        check!(silent || usecs == SHORT, "the frame did not wait");
        let start = Instant::now();
        drop(setup.socket);
        setup.device.delete()?;
        module::unload().when(format_args!("{usecs} us"))?;
        let took = start.elapsed();
        check!(took < scaled(SOON), "dev del took {took:?}");
    }
    // Until the shorter time would end.
    sleep(Duration::from_micros((SHORT + 100_000).into()));
    Ok(())
}
