// SPDX-License-Identifier: GPL-2.0

//! Measures devices, and prints each figure as a line of JSON.

use rvdpa_guest::{
    bench::{alone, options::Options},
    outcome::{Outcome, Stop},
};
use std::{env, process::ExitCode};

const USAGE: &str = "\
Usage: rvdpa-bench alone [OPTION LIST]...

alone   instructions that a device takes for a frame which it gives back to a driver in
        userspace: rings are filled, the device is kicked once, nobody is interrupted
          --parents rvdpa_sim,vdpa_sim      (default rvdpa_sim)
          --memory pa,va
          --rings split,packed
          --descriptors direct,indirect
          --buffers whole,mergeable
          --order any,in-order
          --sizes BYTES,...                 of frames (64,512,1500,9000,65535)
          --ring N, --batch N, --pieces N   descriptors of a ring, frames for a kick,
                                            descriptors of a frame (256, 256, 1)
          --rounds N                        how often (9)

All combinations are measured. Counts instructions, so it wants a guest with one CPU and
QEMU's -icount shift=0,sleep=off. $RVDPA_KO names the module, $RVDPA_PEERS the folder with
the C simulator's. Must run as root, on a kernel that may be harmed.
";

fn main() -> ExitCode {
    let mut words = env::args().skip(1);
    let command = words.next().unwrap_or_else(|| "--help".into());
    let done = match command.as_str() {
        "-h" | "--help" => {
            print!("{USAGE}");
            Ok(())
        }
        "alone" => with(words, alone::OPTIONS, alone::run),
        other => Err(Stop::Failed(format!("unknown command {other}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            eprintln!("rvdpa-bench {command}: {}", stop.text());
            ExitCode::FAILURE
        }
    }
}

fn with(
    words: impl Iterator<Item = String>,
    known: &[&str],
    run: impl FnOnce(&Options) -> Outcome,
) -> Outcome {
    run(&Options::parse(words, known)?)
}
