// SPDX-License-Identifier: GPL-2.0

//! A driver that does anything: random requests to `/dev/vhost-vdpa-*`, random rings.
//!
//! What it does depends on two numbers alone: the seed, and the number of the round. What
//! becomes of it does not, for the device's workers run meanwhile.

use crate::{
    arena::{Kind, View},
    check,
    device::{self, Device},
    kmsg::Log,
    module,
    outcome::{Outcome, While},
    sys,
    vhost::{supported, LoopPlan, Net, NewDevice, Plan, IOVA},
};
use std::time::{Duration, Instant};

mod numbers;
mod requests;
mod rings;

use numbers::Numbers;
use requests::Client;
use rings::Rings;

/// How many rounds there are until the module is loaded anew.
const LIFE: u64 = 64;
/// How many rounds there are until a well-behaved driver looks whether the device still works.
const LOOK: u64 = 8;
/// Bytes that each round shows the device.
const MEMORY: usize = 1 << 20;

/// The module's parameters, life by life.
const PARAMETERS: [&str; 4] = ["", "use_va=1", "doorbells=1", "batch_mapping=0"];

/// What there is for some rounds.
struct Life {
    devices: Vec<(Device, String)>,
    kind: Kind,
}

impl Life {
    fn begin(round: u64) -> Outcome<Self> {
        let which = (round / LIFE) as usize % PARAMETERS.len();
        let parameters = PARAMETERS[which];
        module::load(parameters)?;
        let all = supported(crate::netlink::MGMTDEV)?;
        let looped = NewDevice::named("random0").features(all).pairs(2);
        let devices = vec![
            looped.make()?,
            NewDevice::port("random1", 1).features(all).make()?,
            NewDevice::port("random2", 2).make()?,
        ];
        let kind = match parameters {
            "use_va=1" => Kind::Shared,
            _ => Kind::Anonymous,
        };
        Ok(Self { devices, kind })
    }

    fn end(self) -> Outcome {
        for (device, _) in self.devices {
            device.delete()?;
        }
        module::unload()
    }

    /// Whether a driver that behaves well gets frames through the loopback.
    fn look(&self) -> Outcome {
        let (_, path) = self.devices.first().when("a device")?;
        let plan = Plan {
            kind: self.kind,
            ..Plan::default()
        };
        let what = LoopPlan {
            count: 20,
            size: 100,
            in_flight: 4,
        };
        Net::new(path, plan)?.loop_frames(what)?;
        Ok(())
    }

    /// A round: returns how many requests there were, and how many of them were granted.
    fn round(&self, numbers: &mut Numbers) -> Outcome<(u64, u64)> {
        let (_, path) = &self.devices[numbers.below(self.devices.len() as u64) as usize];
        let memory = View::new(self.kind, IOVA, MEMORY)?;
        let mut client = Client::open(path, &memory)?;
        let mut rings = Rings::new(&memory);
        let steps = 10 + numbers.below(120);
        for step in 0..steps {
            match numbers.below(16) {
                0 if step < 8 => client.set_up(numbers, &mut rings),
                0..=5 => client.request(numbers, &mut rings),
                6 | 7 => client.map(numbers),
                8 => client.ring_bell(numbers),
                9 => rings.scribble(numbers),
                _ => {
                    rings.offer(numbers);
                    client.kick(numbers);
                }
            }
        }
        if numbers.chance(2) {
            client.reset();
        }
        Ok((client.requests, client.granted))
    }
}

/// What is to be done.
pub struct Extent {
    pub time: Duration,
    pub seed: u64,
    /// This round alone, again and again.
    pub only: Option<u64>,
}

/// Does rounds for a while. Fails if there was a complaint in the kernel's log, or if a device
/// does not work any more for those that behave well.
pub fn run(extent: &Extent) -> Outcome {
    let Extent { time, seed, only } = *extent;
    sys::modprobe(&["vhost_vdpa"])?;
    crate::ioctl::unlimited_pinning()?;
    // Which driver gets a device is not left to chance.
    device::set_autoprobe(false)?;
    let mut log = Log::from_now()?;
    let start = Instant::now();
    let (mut rounds, mut requests, mut granted) = (0_u64, 0, 0);
    let mut life = None;
    while start.elapsed() < time {
        let round = only.unwrap_or(rounds);
        let again = format!("seed {seed} round {round}");
        if life.is_none() {
            life = Some(Life::begin(round).when(&again)?);
        }
        if let Some(life) = &life {
            let mut numbers = Numbers::new(seed, round);
            let (all, good) = life.round(&mut numbers).when(&again)?;
            requests += all;
            granted += good;
            if rounds % LOOK == LOOK - 1 || only.is_some() {
                life.look().when(format_args!(
                    "{again} or one before: a driver that behaves well"
                ))?;
            }
        }
        let bad = log.bad().when(&again)?;
        check!(
            bad.is_empty(),
            "{again} or one before: the kernel says {bad:?}"
        );
        rounds += 1;
        if rounds % LIFE == 0 {
            if let Some(life) = life.take() {
                life.end().when(&again)?;
            }
            println!(
                "{rounds} rounds, {requests} requests, {granted} granted, {:.0} s",
                start.elapsed().as_secs_f64()
            );
        }
    }
    if let Some(life) = life {
        life.look().when(format_args!(
            "seed {seed}: at the end, a driver that behaves well"
        ))?;
        life.end()?;
    }
    let bad = log.bad()?;
    check!(
        bad.is_empty(),
        "seed {seed}: at the end, the kernel says {bad:?}"
    );
    check!(granted > 0, "seed {seed}: nothing was granted");
    println!("seed {seed}: {rounds} rounds, {requests} requests, {granted} granted, no complaint");
    Ok(())
}
