// SPDX-License-Identifier: GPL-2.0

//! Does everything that can be done with devices, at random.

use rvdpa_guest::{
    harness::{run_one, say, Context, Test, Totals},
    outcome::{Outcome, Stop, While},
    soak, tests,
};
use std::{
    env,
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

const USAGE: &str = "\
Usage: rvdpa-soak [--minutes N] [--seed N]

Has devices of the module that $RVDPA_KO names come and go, be bound, used, suspended, moved
and taken away, and clients be frozen and killed, at random, in rounds of a minute or less with
different parameters of the module. Prints KTAP, and the seed: the same seed does the same in
the same order. Must run as root, on a kernel that may be harmed.

  --minutes N   for how long (10)
  --seed N      a number to begin with (the time)
";

/// The longest that the module is loaded.
const ROUND: Duration = Duration::from_secs(60);

/// What the next round does: its seed, for how long, and the module's parameters.
static NEXT: Mutex<(u64, Duration, &str)> = Mutex::new((0, ROUND, ""));

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(stop) => {
            eprint!("rvdpa-soak: {}\n{USAGE}", stop.text());
            ExitCode::from(2)
        }
    }
}

fn round(context: &mut Context) -> Outcome {
    let (seed, time, parameters) = *NEXT
        .lock()
        .map_err(|error| Stop::Failed(error.to_string()))?;
    soak::run(context, seed, time, parameters)
}

/// Returns how many rounds failed.
fn run() -> Outcome<usize> {
    let (mut minutes, mut seed) = (10.0, None);
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().when(&word);
        match word.as_str() {
            "--minutes" => minutes = value?.parse::<f64>()?,
            "--seed" => seed = Some(value?.parse::<u64>()?),
            _ => return Err(Stop::Failed(format!("unknown option {word}"))),
        }
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = seed.unwrap_or(now.as_secs());
    let time = Duration::from_secs_f64(minutes * 60.0);
    tests::prepare()?;
    say("KTAP version 1");
    let mut totals = Totals::default();
    let start = Instant::now();
    let mut number = 0;
    while number == 0 || start.elapsed() < time {
        let seed = seed.wrapping_add(number as u64);
        let parameters = soak::PARAMETERS[(seed % soak::PARAMETERS.len() as u64) as usize];
        let left = time.saturating_sub(start.elapsed());
        if let Ok(mut next) = NEXT.lock() {
            *next = (seed, left.min(ROUND), parameters);
        }
        number += 1;
        let name: &str = Box::leak(format!("soak.seed_{seed}").into_boxed_str());
        let test = Test::new(name, round).without_module().seconds(300);
        totals.count(number, name, &run_one(&test)?);
    }
    say(&format!("1..{number}"));
    say(&format!(
        "{} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.skipped
    ));
    Ok(totals.failed)
}
