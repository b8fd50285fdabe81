// SPDX-License-Identifier: GPL-2.0

//! Numbered packets of several flows, in both directions at once.

use super::{settings::Spread, Mover, Scene, LIMIT, PAIRS};
use crate::{
    check, check_eq, fail, frame,
    inet::{payload, Packet},
    outcome::{Outcome, While},
    sys::{scaled, wait_for},
    vhost::Net,
};
use rvdpa_virtio::net::NetHeader;
use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

/// How many flows there are: the number of a packet says which one it is of.
pub const FLOWS: usize = 8;

/// The flow of a packet.
fn flow(number: u64) -> usize {
    (number % FLOWS as u64) as usize
}

/// The packet of a number.
pub fn packet(to: [u8; 6], from: [u8; 6], number: u64) -> Packet {
    let len = 8 + (number * 37 % 900) as usize;
    let mut bytes = payload(len, number);
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Packet {
        source_port: 1000 + flow(number) as u16,
        payload: bytes,
        ..Packet::new(to, from, false, true, 0)
    }
}

/// The number of a packet.
fn number(frame: &[u8]) -> Outcome<u64> {
    let bytes = frame.get(42..50).when("a number in the packet")?;
    Ok(u64::from_le_bytes(bytes.try_into()?))
}

/// The packets that came to somebody.
pub struct Arrivals {
    to: [u8; 6],
    from: [u8; 6],
    seen: HashSet<u64>,
    /// The last one of each flow.
    last: [Option<u64>; FLOWS],
    /// Whether the packets of a flow come in order.
    in_order: bool,
}

impl Arrivals {
    pub fn new(to: [u8; 6], from: [u8; 6], in_order: bool) -> Self {
        Self {
            to,
            from,
            seen: HashSet::new(),
            last: [None; FLOWS],
            in_order,
        }
    }

    /// How many have come.
    pub fn count(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Asserts that a packet is as it was sent, and not one that came before.
    pub fn take(&mut self, bytes: &[u8]) -> Outcome<Packet> {
        let number = number(bytes)?;
        let sent = packet(self.to, self.from, number);
        if let Some(difference) = frame::difference(bytes, &sent.complete()) {
            fail!("packet {number}: {difference}");
        }
        check!(self.seen.insert(number), "packet {number} came twice");
        let last = self.last[flow(number)].replace(number);
        check!(
            !self.in_order || last < Some(number),
            "packet {number} came behind {last:?}"
        );
        Ok(sent)
    }
}

/// What the two sides know of each other.
#[derive(Default)]
struct Shared {
    /// The driver sends no more.
    done: AtomicBool,
    /// It has failed: there is nothing to wait for.
    failed: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    peer_sent: AtomicU64,
    peer_received: AtomicU64,
}

/// The driver that is moved, and its packets.
pub struct Stream<'s> {
    pub mover: &'s mut Mover,
    shared: &'s Shared,
    arrivals: Arrivals,
}

impl Scene {
    /// Has packets go in both directions while `meanwhile` moves the driver. Asserts that
    /// the peer gets each packet, and that the driver gets each one or that it was counted
    /// as lost. Returns how many were sent to the driver, and how many of them were lost.
    pub fn stream(
        &mut self,
        meanwhile: impl FnOnce(&mut Stream<'_>) -> Outcome,
    ) -> Outcome<(u64, u64)> {
        let Self { mover, peer, third } = self;
        let settings = mover.settings;
        let before = mover.lost()?;
        let shared = Shared::default();
        let in_order = matches!(settings.spread, Spread::Hash);
        let mut stream = Stream {
            arrivals: Arrivals::new(settings.mac, peer.mac, in_order),
            mover,
            shared: &shared,
        };
        let result = thread::scope(|scope| -> Outcome {
            let thread = scope.spawn(|| answer(peer, &shared, settings.mac));
            let result = meanwhile(&mut stream);
            shared.failed.store(result.is_err(), SeqCst);
            shared.done.store(true, SeqCst);
            thread.join().expect("the thread does not panic")?;
            result
        });
        let left: Vec<_> = (0..PAIRS)
            .map(|pair| {
                let tx = stream.mover.net.tx_of(pair);
                tx.used();
                tx.driver.free()
            })
            .collect();
        result.when(format_args!(
            "{:?} at the peer, free in the transmit queues: {left:?}",
            third.counts()?
        ))?;
        let sent = stream.peer_sent();
        let mut lost = 0;
        let counted = wait_for("packets or drops", LIMIT, || {
            stream.step(false)?;
            lost = stream.mover.lost()? - before;
            Ok((stream.arrivals.count() + lost >= sent).then_some(()))
        });
        counted.when(format_args!(
            "of {sent} packets, {} came and {lost} were dropped",
            stream.arrivals.count()
        ))?;
        check_eq!(
            stream.arrivals.count() + lost,
            sent,
            "packets that came or were counted as lost, which are {lost}"
        );
        Ok((sent, lost))
    }
}

impl Stream<'_> {
    /// How many packets the peer has sent so far.
    fn peer_sent(&self) -> u64 {
        self.shared.peer_sent.load(SeqCst)
    }

    /// Adds a packet to its ring, if there is room. The device is not told.
    fn add(&mut self) -> Outcome<Option<usize>> {
        let number = self.shared.sent.load(SeqCst);
        let (to, from) = (self.arrivals.from, self.arrivals.to);
        let pair = flow(number) % PAIRS;
        let bytes = packet(to, from, number).complete();
        let net = &mut self.mover.net;
        if !net.add_frame_to(pair, NetHeader::default(), &bytes) {
            return Ok(None);
        }
        net.tx_of(pair).driver.publish();
        self.shared.sent.store(number + 1, SeqCst);
        Ok(Some(pair))
    }

    /// Leaves packets in the rings, of which the device is not told.
    pub fn leave_packets(&mut self, count: usize) -> Outcome {
        self.mover.net.reap()?;
        for _ in 0..count {
            check!(self.add()?.is_some(), "no room in the transmit queues");
        }
        Ok(())
    }

    /// Sends what may be sent, and receives what has come. Returns whether there was
    /// something.
    fn step(&mut self, sends: bool) -> Outcome<bool> {
        let mut some = false;
        let shared = self.shared;
        let on_the_way = || shared.sent.load(SeqCst) - shared.peer_received.load(SeqCst);
        // The peer has room for all of them.
        while sends && on_the_way() < 128 {
            let Some(pair) = self.add()? else { break };
            self.mover.net.tx_of(pair).kick_if_needed()?;
            some = true;
        }
        self.mover.net.reap()?;
        for pair in 0..PAIRS {
            while let Some(got) = self.mover.net.receive_from(pair)? {
                let packet = self.arrivals.take(&got.frame)?;
                if let Some(wanted) = self.mover.settings.pair(&packet) {
                    check_eq!(pair, wanted, "pair of port {}", packet.source_port);
                }
                shared.received.fetch_add(1, SeqCst);
                some = true;
            }
            self.mover.net.post_rx(pair, usize::MAX)?;
        }
        Ok(some)
    }

    /// Has so many more packets sent and received in each direction.
    pub fn run(&mut self, count: u64) -> Outcome {
        let received = self.arrivals.count() + count;
        let sent = self.shared.peer_received.load(SeqCst) + count;
        let mut quiet = Instant::now();
        loop {
            let peer_received = self.shared.peer_received.load(SeqCst);
            if self.arrivals.count() >= received && peer_received >= sent {
                return Ok(());
            }
            if self.step(true)? {
                quiet = Instant::now();
            }
            check!(
                quiet.elapsed() < scaled(LIMIT),
                "the stream came to a halt: {} came of {} sent, {peer_received} of {}",
                self.arrivals.count(),
                self.peer_sent(),
                self.shared.sent.load(SeqCst)
            );
        }
    }

    /// Waits until the peer has sent so many more packets, whether they come or not.
    pub fn wait_for_peer(&self, count: u64) -> Outcome {
        let goal = self.peer_sent() + count;
        wait_for("packets of the peer", LIMIT, || {
            Ok((self.peer_sent() >= goal).then_some(()))
        })
    }

    /// Waits until the peer has got everything that was sent so far, of which the device is
    /// not told any more.
    pub fn wait_for_sent(&mut self) -> Outcome {
        let start = Instant::now();
        loop {
            let sent = self.shared.sent.load(SeqCst);
            let come = self.shared.peer_received.load(SeqCst);
            if sent == come {
                return Ok(());
            }
            self.step(false)?;
            check!(
                start.elapsed() < scaled(LIMIT),
                "{come} of {sent} packets came"
            );
        }
    }
}

/// The other side: sends, whether somebody is there or not, and receives.
fn answer(net: &mut Net, shared: &Shared, to: [u8; 6]) -> Outcome {
    let from = net.mac;
    let mut arrivals = Arrivals::new(from, to, true);
    let mut last = Instant::now();
    let mut done = None;
    let mut sent = 0;
    while !shared.failed.load(SeqCst) {
        if done.is_none() && shared.done.load(SeqCst) {
            done = Some(Instant::now());
        }
        while let Some(got) = net.receive()? {
            arrivals.take(&got)?;
            // First the buffer: more is sent as soon as it is known that this one came.
            net.fill_rx()?;
            shared.peer_received.store(arrivals.count(), SeqCst);
        }
        net.reap()?;
        if let Some(since) = done {
            let (all, come) = (shared.sent.load(SeqCst), arrivals.count());
            if all == come && net.tx.posted() == 0 {
                break;
            }
            check!(
                since.elapsed() < scaled(LIMIT),
                "{come} of {all} packets came"
            );
            continue;
        }
        // Where nobody answers, it sends more slowly.
        let ahead = sent - shared.received.load(SeqCst).min(sent);
        let waits = ahead >= 24 && last.elapsed() < Duration::from_micros(500);
        if waits || net.tx.posted() >= 128 {
            thread::yield_now();
            continue;
        }
        let bytes = packet(to, from, sent).complete();
        check!(net.add_frame(&bytes), "no room in the transmit queue");
        net.send()?;
        sent += 1;
        last = Instant::now();
        shared.peer_sent.store(sent, SeqCst);
    }
    Ok(())
}
