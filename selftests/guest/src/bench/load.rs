// SPDX-License-Identifier: GPL-2.0

//! What programs notice of a device that keeps all CPUs busy.

use super::{
    pairs::Pairs,
    parent::Subject,
    record::{Record, Samples},
};
use crate::{cpus, named, outcome::Outcome, sys};
use std::{
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        Arc,
    },
    thread::{sleep, spawn},
    time::{Duration, Instant},
};

named! {
    /// What else goes on.
    Beside {
        Nothing = "nothing",
        /// As many threads as there are CPUs, none of which ever sleeps.
        Threads = "busy threads",
        /// A device with as many full queue pairs as there are CPUs.
        Device = "a device",
    }
}

/// How long sleeps are that end late.
const SLEEP: Duration = Duration::from_millis(1);

/// How many of them there are for one run of a program.
const SLEEPS: usize = 10;

/// What was noticed, in milliseconds.
#[derive(Clone, Default)]
struct Noticed {
    /// By how much sleeps were too long.
    late: Samples,
    /// How long a program took that does nothing.
    program: Samples,
}

impl Noticed {
    /// Looks once, and for as long as the load lasts.
    fn look(&mut self, lasts: impl Fn() -> bool) -> Outcome {
        let ms = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
        loop {
            for _ in 0..SLEEPS {
                let start = Instant::now();
                sleep(SLEEP);
                let late = ms(start) - SLEEP.as_secs_f64() * 1e3;
                if !lasts() {
                    return Ok(());
                }
                self.late.add(late);
            }
            let start = Instant::now();
            sys::run(&["true"])?;
            // Also if the load was over before: then it would have taken longer.
            self.program.add(ms(start));
            if !lasts() {
                return Ok(());
            }
        }
    }
}

/// Measures how late sleeps end and how long a program takes, beside each load in turns.
pub fn run(rounds: usize, all: &[u32]) -> Outcome {
    let number = all.len().min(64);
    let mut pairs = Pairs::new(number as u16, 32768)?;
    let loads = [Beside::Nothing, Beside::Threads, Beside::Device];
    let mut noticed = vec![Noticed::default(); loads.len()];
    for _ in 0..rounds {
        for (load, noticed) in loads.iter().zip(&mut noticed) {
            let until = Instant::now() + Duration::from_millis(400);
            match load {
                Beside::Nothing => noticed.look(|| Instant::now() < until)?,
                Beside::Threads => {
                    let go = Arc::new(AtomicBool::new(true));
                    for &cpu in all {
                        let go = go.clone();
                        spawn(move || {
                            let _ = cpus::pin(&[cpu]);
                            while go.load(Relaxed) {}
                        });
                    }
                    let result = noticed.look(|| Instant::now() < until);
                    go.store(false, Relaxed);
                    result?;
                }
                Beside::Device => {
                    pairs.fill(number)?;
                    let flood = pairs.kick(number, all)?;
                    noticed.look(|| flood.is_under_way())?;
                    flood.wait()?;
                    pairs.take(number)?;
                }
            }
        }
    }
    for (load, noticed) in loads.iter().zip(&noticed) {
        let record = |name, samples: &Samples| {
            Record::new(name)
                .with("subject", Subject::Ours.name())
                .with("beside", load.name())
                .and("p99", samples.percentile(99))
                .print("ms", samples);
        };
        record("late sleep", &noticed.late);
        record("program", &noticed.program);
    }
    pairs.end()
}
