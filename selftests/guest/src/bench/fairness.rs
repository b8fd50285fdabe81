// SPDX-License-Identifier: GPL-2.0

//! What one queue pair notices of another one that is flooded.

use super::{
    pairs::{frame, Pairs},
    parent::Subject,
    record::{Record, Samples},
};
use crate::{check, check_eq, outcome::Outcome};
use rvdpa_virtio::net::NetHeader;
use std::time::Instant;

/// Round trips without a flood.
const QUIET: usize = 200;

/// The pair that frames go through one at a time; the first one is flooded.
const PAIR: usize = 1;

/// Has a frame looped. Returns the microseconds.
fn ping(pairs: &mut Pairs, frame: &[u8]) -> Outcome<f64> {
    let net = &mut pairs.net;
    let start = Instant::now();
    net.send_frame(PAIR, NetHeader::default(), frame)?;
    let got = net.wait_receive_from(PAIR)?;
    let took = start.elapsed().as_secs_f64() * 1e6;
    check!(got.frame == frame, "the frame came back as another one");
    Ok(took)
}

/// Makes room for more of them, as often as is needed.
fn refill(pairs: &mut Pairs, number: usize) -> Outcome {
    let net = &mut pairs.net;
    net.reap_of(PAIR)?;
    if number % 64 == 0 {
        net.post_rx(PAIR, 64)?;
    }
    Ok(())
}

/// Measures round trips on one pair while the other one is idle and while it is flooded.
pub fn run(rounds: usize, cpus: &[u32]) -> Outcome {
    let mut pairs = Pairs::new(2, 8192)?;
    let frame = frame(PAIR);
    let (mut quiet, mut loaded) = (Samples::default(), Samples::default());
    let mut ratios = Samples::default();
    for round in 0..=rounds {
        pairs.fill(1)?;
        let (mut before, mut beside) = (Samples::default(), Samples::default());
        for number in 0..QUIET {
            before.add(ping(&mut pairs, &frame)?);
            refill(&mut pairs, number)?;
        }
        let flood = pairs.kick(1, &cpus[..1])?;
        for number in 0.. {
            let took = ping(&mut pairs, &frame)?;
            if !flood.is_under_way() {
                break;
            }
            beside.add(took);
            refill(&mut pairs, number)?;
        }
        flood.wait()?;
        let count = usize::from(pairs.net.plan.size);
        check_eq!(pairs.net.reap_of(0)?, count, "frames of the flood");
        let mut arrived = 0;
        while pairs.net.receive_from(0)?.is_some() {
            arrived += 1;
        }
        check_eq!(arrived, count, "frames of the flood that came back");
        pairs.net.reap_of(PAIR)?;
        check!(beside.count() > 0, "the flood was over before a round trip");
        // In the first round flows find their pairs.
        if round > 0 {
            quiet.add(before.median());
            loaded.add(beside.median());
            ratios.add(beside.median() / before.median());
        }
    }
    let record = |name| Record::new(name).with("subject", Subject::Ours.name());
    record("round trip")
        .with("beside", "nothing")
        .print("us", &quiet);
    record("round trip")
        .with("beside", "a flood")
        .print("us", &loaded);
    record("round trip ratio").print("times", &ratios);
    pairs.end()
}
