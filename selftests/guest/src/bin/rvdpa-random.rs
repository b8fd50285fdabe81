// SPDX-License-Identifier: GPL-2.0

//! Has a driver do anything to devices, and looks whether that does harm.

use rvdpa_guest::random::{run, Extent};
use std::{
    env,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const USAGE: &str = "\
Usage: rvdpa-random SECONDS [SEED [ROUND]]

Loads the module, makes devices, and does random requests to /dev/vhost-vdpa-* and writes
random rings, in rounds. Between them, a driver that behaves well has frames looped, and the
kernel's log must be silent. The same SEED does the same again; with ROUND, that round alone
is done, again and again.

Must run as root, in a guest. Ends with 1 if there was a complaint.
";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let numbers: Option<Vec<u64>> = words.iter().map(|word| word.parse().ok()).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let extent = match numbers.as_deref() {
        Some(&[seconds]) => (seconds, now.map_or(1, |now| now.as_secs()), None),
        Some(&[seconds, seed]) => (seconds, seed, None),
        Some(&[seconds, seed, round]) => (seconds, seed, Some(round)),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (seconds, seed, only) = extent;
    println!("SEED={seed}");
    let extent = Extent {
        time: Duration::from_secs(seconds),
        seed,
        only,
    };
    match run(&extent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            println!("rvdpa-random: {}", stop.text());
            ExitCode::FAILURE
        }
    }
}
