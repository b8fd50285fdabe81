// SPDX-License-Identifier: GPL-2.0

//! Several queue pairs at work at a time. It takes several CPUs, so it is time that is
//! measured, and only its ratios mean something.

use super::{
    options::Options,
    parent::{Loaded, Memory, Subject},
    record::{Record, Samples},
};
use crate::{
    check_eq, cpus,
    device::MAC,
    inet::Packet,
    outcome::Outcome,
    skip,
    vhost::{Net, NewDevice, Plan},
};
use rvdpa_virtio::{features::Features, net::NetHeader};
use std::time::{Duration, Instant};

pub const OPTIONS: &[&str] = &["pairs", "rounds"];

/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures each number of pairs, in turns.
pub fn run(options: &Options) -> Outcome {
    let rounds: usize = options.get("rounds", 15)?;
    let numbers: Vec<u16> = options.list("pairs", "1,2,4")?;
    let most = numbers.iter().copied().max().unwrap_or(1);
    let cpus = cpus::online()?.len();
    if cpus < 2 {
        skip!("there is only one CPU");
    }
    let loaded = Loaded::new(Subject::Ours, Memory::Pa, "")?;
    let (device, path) = NewDevice::named("bench0").pairs(most).make()?;
    let plan = Plan {
        features: Features(u64::MAX).without(Features::NET_RSS),
        kind: Memory::Pa.kind(),
        pairs: usize::from(most),
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    let mut samples = vec![Samples::default(); numbers.len()];
    for round in 0..=rounds {
        for (at, &pairs) in numbers.iter().enumerate() {
            net.use_pairs(pairs)?;
            let rate = one(&mut net, usize::from(pairs))?;
            // In the first round flows find their pairs.
            if round > 0 {
                samples[at].add(rate);
            }
        }
    }
    for (pairs, samples) in numbers.iter().zip(&samples) {
        Record::new("pairs")
            .with("subject", Subject::Ours.name())
            .with("pairs", *pairs)
            .with("cpus", cpus)
            .print("frames/s", samples);
    }
    drop(net);
    device.delete()?;
    loaded.unload()
}

/// Fills the rings of some pairs, kicks all of them, and waits. Returns frames a second.
fn one(net: &mut Net, pairs: usize) -> Outcome<f64> {
    let count = usize::from(net.plan.size);
    net.fill_rx()?;
    for pair in 0..pairs {
        let frame = Packet {
            source_port: 1000 + pair as u16,
            ..Packet::new(MAC, MAC, false, true, 1400)
        }
        .complete();
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
    let start = Instant::now();
    for pair in 0..pairs {
        net.tx_of(pair).kick()?;
    }
    for pair in 0..pairs {
        check_eq!(
            net.tx_of(pair).interrupted(PATIENCE)?,
            true,
            "interrupt of pair {pair}"
        );
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut arrived = 0;
    for pair in 0..pairs {
        check_eq!(net.reap_of(pair)?, count, "frames sent by pair {pair}");
        while net.receive_from(pair)?.is_some() {
            arrived += 1;
        }
    }
    check_eq!(arrived, pairs * count, "frames that came back");
    Ok(arrived as f64 / seconds)
}
