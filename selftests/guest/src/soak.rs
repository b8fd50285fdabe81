// SPDX-License-Identifier: GPL-2.0

//! Everything at random, for as long as is wanted: devices come and go, are bound and unbound,
//! have clients that are suspended, moved, frozen and killed, and lose their link.
//!
//! What is done follows from a seed. What is asserted at any time: each frame comes, counters
//! agree, the module cannot be unloaded; and at the end: nothing was lost.

pub mod client;
mod dice;
mod slot;

use crate::{
    arena::Kind,
    check, check_eq, fail,
    harness::Context,
    module,
    outcome::{Outcome, While},
    sys::{scaled, SOON},
    tests::usage::nothing_is_lost,
};
use dice::Dice;
use nix::errno::Errno;
use slot::{Action, Slot};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// What the module is loaded with, from one round to the next.
pub const PARAMETERS: [&str; 4] = ["", "use_va=1", "strict=1", "batch_mapping=1 use_va=1"];

/// How many devices there are at most.
const SLOTS: usize = 8;

/// How much is done before it is looked what memory is in use.
const WARM_UP: u64 = 60;

/// How many of the last actions are told where something fails.
const TOLD: usize = 12;

/// What the kernel keeps for itself, as of so many lives more: up to 160 objects of a size.
const KEPT: usize = 400;

/// Devices, and what was done so far.
struct World {
    slots: Vec<Slot>,
    dice: Dice,
    done: BTreeMap<String, u64>,
    last: VecDeque<String>,
    step: u64,
}

impl World {
    fn new(seed: u64, kind: Kind) -> Self {
        Self {
            slots: (0..SLOTS).map(|number| Slot::new(number, kind)).collect(),
            dice: Dice::new(seed),
            done: BTreeMap::new(),
            last: VecDeque::new(),
            step: 0,
        }
    }

    fn note(&mut self, context: &mut Context, what: &str, name: &str) {
        *self.done.entry(what.to_owned()).or_default() += 1;
        let line = format!("{}: {what} {name}", self.step);
        context.step(&line);
        self.last.push_back(line);
        if self.last.len() > TOLD {
            self.last.pop_front();
        }
    }

    /// Does one thing.
    fn step(&mut self, context: &mut Context) -> Outcome {
        self.step += 1;
        if self.dice.hits(1, 12) {
            self.note(context, "Unload", "");
            return self.refuses_to_go();
        }
        let at = self.dice.below(SLOTS as u64) as usize;
        let slot = &self.slots[at];
        let actions = slot.actions();
        let mut number = self
            .dice
            .below(actions.iter().map(|(_, weight)| weight).sum());
        let mut action = Action::Add;
        for (possible, weight) in actions {
            action = *possible;
            match number.checked_sub(*weight) {
                Some(rest) => number = rest,
                None => break,
            }
        }
        if action == Action::Migrate {
            let free: Vec<usize> = (0..SLOTS)
                .filter(|to| self.slots[*to].takes_over(slot))
                .collect();
            let Some(&to) = self.dice.pick(&free) else {
                return Ok(());
            };
            self.note(context, "Migrate", &format!("{at} to {to}"));
            let mut from = std::mem::replace(&mut self.slots[at], Slot::new(at, Kind::Shared));
            let done = slot::migrate(&mut from, &mut self.slots[to]);
            self.slots[at] = from;
            return done;
        }
        self.note(context, &format!("{action:?}"), &at.to_string());
        self.slots[at].act(action, &mut self.dice)
    }

    /// The module stays as long as there is a device, and says so without waiting for it.
    fn refuses_to_go(&self) -> Outcome {
        if !self.slots.iter().any(Slot::has_device) {
            return Ok(());
        }
        let start = Instant::now();
        let got = module::try_unload();
        check_eq!(got, Err(Errno::EWOULDBLOCK), "rmmod with a device");
        check!(
            start.elapsed() < scaled(SOON),
            "rmmod took {:?}",
            start.elapsed()
        );
        Ok(())
    }

    /// Does things until `over`, and removes all devices.
    fn run(&mut self, context: &mut Context, over: impl Fn(u64) -> bool) -> Outcome {
        let begin = self.step;
        while !over(self.step - begin) {
            if let Err(stop) = self.step(context) {
                let last: Vec<_> = self.last.iter().map(String::as_str).collect();
                fail!("{}; done before: {}", stop.text(), last.join(", "));
            }
        }
        context.step("deleting all");
        self.slots.iter_mut().try_for_each(Slot::clear)
    }

    /// How often devices came so far.
    fn lives(&self) -> usize {
        self.done.get("Add").map_or(0, |count| *count as usize)
    }
}

/// Loads the module, does things for a while and unloads it.
pub fn run(context: &mut Context, seed: u64, time: Duration, parameters: &str) -> Outcome {
    let kind = if parameters.contains("use_va=1") {
        Kind::Shared
    } else {
        Kind::Anonymous
    };
    context.note(format_args!("seed {seed}, parameters '{parameters}'"));
    module::load(parameters)?;
    let mut world = World::new(seed, kind);
    world
        .run(context, |steps| steps >= WARM_UP)
        .when(format_args!("seed {seed}"))?;
    let first = world.lives();
    let lost = nothing_is_lost(context, |context| {
        let end = Instant::now() + time;
        world.run(context, |_| Instant::now() >= end)?;
        Ok(KEPT + world.lives() - first)
    });
    let done: Vec<_> = world
        .done
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    context.note(format_args!("{} steps: {}", world.step, done.join(", ")));
    lost.when(format_args!("seed {seed}"))?;
    module::unload()
}
