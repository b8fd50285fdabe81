// SPDX-License-Identifier: GPL-2.0

//! Queue pairs that are full of frames, and what they do when all are kicked.

use super::{
    parent::{Loaded, Memory, Subject},
    record::{Record, Samples},
};
use crate::{
    check_eq, cpus,
    device::{Device, MAC},
    fail,
    inet::Packet,
    outcome::Outcome,
    vhost::{wait_event, Net, NewDevice, Plan},
};
use rvdpa_virtio::{features::Features, net::NetHeader};
use std::{
    sync::{Arc, Barrier},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long a device may take for what its rings are full of.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a frame behind its headers.
const PAYLOAD: usize = 200;

/// Room for a frame and its header.
const ROOM: usize = 512;

/// A device with some queue pairs. Its driver sleeps while the device works.
pub struct Pairs {
    pub net: Net,
    device: Device,
    loaded: Loaded,
}

/// A frame of the flow of a pair.
pub fn frame(pair: usize) -> Vec<u8> {
    let packet = Packet {
        source_port: 1000 + pair as u16,
        ..Packet::new(MAC, MAC, false, true, PAYLOAD)
    };
    packet.complete()
}

/// Pairs that were kicked.
pub struct Flood(Vec<JoinHandle<Outcome<(Instant, Instant)>>>);

impl Pairs {
    /// Makes a device with rings of `size`.
    pub fn new(pairs: u16, size: u16) -> Outcome<Self> {
        let loaded = Loaded::new(Subject::Ours, Memory::Pa, &format!("vq_num_max={size}"))?;
        let (device, path) = NewDevice::named("bench0").pairs(pairs).make()?;
        let plan = Plan {
            features: Features(u64::MAX).without(Features::NET_RSS),
            kind: Memory::Pa.kind(),
            pairs: usize::from(pairs),
            size,
            room: ROOM,
            ..Plan::default()
        };
        let mut net = Net::new(&path, plan)?;
        net.use_pairs(pairs)?;
        Ok(Self {
            net,
            device,
            loaded,
        })
    }

    /// Fills the rings of the first `pairs` pairs and all receive rings.
    pub fn fill(&mut self, pairs: usize) -> Outcome {
        let net = &mut self.net;
        let count = usize::from(net.plan.size);
        net.fill_rx()?;
        for pair in 0..pairs {
            let frame = frame(pair);
            for _ in 0..count {
                let added = net.add_frame_to(pair, NetHeader::default(), &frame);
                check_eq!(added, true, "room in the transmit queue");
            }
            net.rx_of(pair).driver.disable_interrupts();
            let tx = net.tx_of(pair);
            // One interrupt, with the last of them.
            let last = tx.driver.split().added().wrapping_sub(1);
            tx.driver.split().set_used_event(last);
            tx.driver.publish();
            tx.interrupts()?;
        }
        Ok(())
    }

    /// Kicks the first `pairs` pairs at once, each from a CPU of its own as far as there are
    /// so many, as the kernel's driver does. A thread for each sleeps until its pair is done.
    pub fn kick(&mut self, pairs: usize, cpus: &[u32]) -> Outcome<Flood> {
        let together = Arc::new(Barrier::new(pairs));
        let mut threads = Vec::new();
        for pair in 0..pairs {
            let (kick, call) = self.net.tx_of(pair).events()?;
            let (cpu, together) = (cpus[pair % cpus.len()], together.clone());
            threads.push(thread::spawn(move || {
                let pinned = cpus::pin(&[cpu]);
                together.wait();
                pinned?;
                let start = Instant::now();
                kick.write(1)?;
                if !wait_event(&call, PATIENCE)? {
                    fail!("no interrupt of pair {pair}");
                }
                Ok((start, Instant::now()))
            }));
        }
        Ok(Flood(threads))
    }

    /// Takes everything back from the first `pairs` pairs, which are done.
    pub fn take(&mut self, pairs: usize) -> Outcome {
        let net = &mut self.net;
        let count = usize::from(net.plan.size);
        let mut arrived = 0;
        for pair in 0..pairs {
            check_eq!(net.reap_of(pair)?, count, "frames sent by pair {pair}");
        }
        for pair in 0..net.plan.pairs {
            while net.receive_from(pair)?.is_some() {
                arrived += 1;
            }
        }
        check_eq!(arrived, pairs * count, "frames that came back");
        Ok(())
    }

    /// Ends the device.
    pub fn end(self) -> Outcome {
        let Self {
            net,
            device,
            loaded,
        } = self;
        drop(net);
        device.delete()?;
        loaded.unload()
    }
}

impl Flood {
    /// Whether some pair is not done yet.
    pub fn is_under_way(&self) -> bool {
        self.0.iter().any(|thread| !thread.is_finished())
    }

    /// Waits until all pairs are done. Returns the seconds that this took.
    pub fn wait(self) -> Outcome<f64> {
        let mut times = Vec::new();
        for thread in self.0 {
            match thread.join() {
                Ok(time) => times.push(time?),
                Err(_) => fail!("a thread panicked"),
            }
        }
        let start = times.iter().map(|(start, _)| *start).min();
        let end = times.iter().map(|(_, end)| *end).max();
        match (start, end) {
            (Some(start), Some(end)) => Ok((end - start).as_secs_f64()),
            _ => fail!("no pair was kicked"),
        }
    }
}

/// Measures each number of pairs, in turns, and how many times as fast they are as the first
/// number in the same turn.
pub fn run(numbers: &[u16], rounds: usize, cpus: &[u32]) -> Outcome {
    let most = numbers.iter().copied().max().unwrap_or(1);
    let mut pairs = Pairs::new(most, 8192)?;
    let mut rates = vec![Samples::default(); numbers.len()];
    let mut ratios = rates.clone();
    for round in 0..=rounds {
        let mut first = None;
        for (at, &number) in numbers.iter().enumerate() {
            let number = usize::from(number);
            pairs.fill(number)?;
            let seconds = pairs.kick(number, cpus)?.wait()?;
            pairs.take(number)?;
            // In the first round flows find their pairs.
            if round > 0 {
                let rate = (number * usize::from(pairs.net.plan.size)) as f64 / seconds;
                rates[at].add(rate);
                ratios[at].add(rate / *first.get_or_insert(rate));
            }
        }
    }
    for ((number, rates), ratios) in numbers.iter().zip(&rates).zip(&ratios) {
        let record = |name| {
            Record::new(name)
                .with("subject", Subject::Ours.name())
                .with("pairs", *number)
                .with("cpus", cpus.len())
        };
        record("pairs").print("frames/s", rates);
        record("pairs ratio").print("times", ratios);
    }
    pairs.end()
}
