// SPDX-License-Identifier: GPL-2.0

//! Measures devices, and prints each figure as a line of JSON.

use rvdpa_guest::{
    bench::{alone, control, crowd, idle, kernel, limit, options::Options, timed},
    outcome::{Outcome, Stop},
};
use std::{env, process::ExitCode};

const USAGE: &str = "\
Usage: rvdpa-bench alone|crowd|kernel|control|idle|limit|timed [OPTION LIST]...

alone   instructions that a device takes for a frame which it gives back to a driver in
        userspace: rings are filled, the device is kicked once, nobody is interrupted
          --subjects rvdpa_sim,vdpa_sim     whose device (rvdpa_sim)
          --memory pa,va
          --rings split,packed
          --descriptors direct,indirect
          --buffers whole,mergeable
          --order any,in-order
          --sizes BYTES,...                 of frames (64,512,1500,9000,65535)
          --ring N,... --batch N,...        descriptors of a ring, frames for a kick (256)
          --pieces N,...                    descriptors of a frame (1)
          --mappings N,...                  of the driver's memory and more (1)
          --devices N,...                   that there are, all but one of them idle (1)
          --rounds N                        how often (9)
crowd   the same with many devices that all have a full ring before the first is done
          --subjects rvdpa_sim,vdpa_sim
          --devices N,...                   (1,10,100,1000)
          --rounds N                        how often (5)
kernel  instructions that the whole machine takes with the kernel's driver
          --subjects rvdpa_sim,vdpa_sim,reference   the last is veth
          --tasks pktgen,ping,flood,tcp
          --sizes BYTES,...                 of frames (64,1500)
          --frames N, --megabytes N         how much (10000, 8)
          --over loopback,switch,veth       what TCP goes over (these, and veth without offloads)
          --parameters NAME=VALUE,...       of this module
          --rounds N                        how often (5)
control instructions for making devices, mappings and the like
          --subjects rvdpa_sim,vdpa_sim
          --regions N                       that are mapped (10000)
          --rounds N                        how often (9)
idle    memory and tasks of devices that nobody uses; to compare subjects, boot for each
          --subjects rvdpa_sim,vdpa_sim
          --devices N                       idle ones (400)
limit   instructions of a copy in the kernel, by the module that $RVDPA_COPY names
          --sizes BYTES,...  --rounds N
timed   on several CPUs, in time, in turns; only what is compared within a run means something
          --tasks pairs,fairness,load,rate  full queue pairs at work; round trips beside a
                                            flood; programs beside a device at work; the
                                            device alone beside copies
          --pairs N,...                     for the first task (1,2,4)
          --rounds N                        how often (9)

All combinations are measured. All but the last count instructions, so they want a guest with
one CPU and QEMU's -icount shift=0,sleep=off (scripts/guest --counted). $RVDPA_KO names the
module, $RVDPA_PEERS the folder with the C simulator's. Must run as root, on a kernel that
may be harmed.
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
        "kernel" => with(words, kernel::OPTIONS, kernel::run),
        "control" => with(words, control::OPTIONS, control::run),
        "crowd" => with(words, crowd::OPTIONS, crowd::run),
        "idle" => with(words, idle::OPTIONS, idle::run),
        "limit" => with(words, limit::OPTIONS, limit::run),
        "timed" => with(words, timed::OPTIONS, timed::run),
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
