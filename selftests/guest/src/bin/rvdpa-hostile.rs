// SPDX-License-Identifier: GPL-2.0

//! Runs the driver that plays foul.

use rvdpa_guest::{
    hostile::{self, Run, REBOOT},
    outcome::Outcome,
    parent::Parent,
    tests,
};
use std::{env, process::ExitCode};

const USAGE: &str = "\
Usage: rvdpa-hostile [--list] [--quick] [--parent rvdpa|peer] [--from N] [PATTERN...]
       rvdpa-hostile --table FILE

Plays a malicious driver of devices of the module that $RVDPA_KO names, or of the kernel's
own simulator in the folder $RVDPA_PEERS: all cases, or those whose names contain one of the
patterns, with rings of either format and in both modes of memory. Must run as root, on a
kernel that may be harmed.

For each run there is a line when it starts and one when it ends:

  start|NUMBER|CLASS|NAME|RINGS|MEMORY|PARENT
  case|NUMBER|CLASS|NAME|RINGS|MEMORY|PARENT|VERDICT|MORE

The verdict is one of: held, not told (all is well but that the driver is not told), wrong,
hang, complaint (of the kernel), not offered. Exits with 0 if all that were tried held, and
with 3 if the kernel can run no further cases.

  --list      print the runs only
  --quick     each case once: with one format, in one mode of memory
  --parent P  with devices of one of the two
  --from N    from run N on
  --table F   print the table that the lines in a file make
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(stop) => {
            eprintln!("rvdpa-hostile: {}", stop.text());
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<ExitCode> {
    let (mut list, mut quick, mut parent, mut from) = (false, false, Parent::Rvdpa, 1);
    let mut patterns = Vec::new();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => list = true,
            "--quick" => quick = true,
            "--parent" => match arguments.next().as_deref().and_then(Parent::from_word) {
                Some(one) => parent = one,
                None => return Ok(wrong("--parent: rvdpa or peer")),
            },
            "--from" => match arguments.next().map(|number| number.parse()) {
                Some(Ok(number)) => from = number,
                _ => return Ok(wrong("--from: a number")),
            },
            "--table" => match arguments.next() {
                Some(path) => {
                    hostile::print_table(&path)?;
                    return Ok(ExitCode::SUCCESS);
                }
                None => return Ok(wrong("--table: a file")),
            },
            "-h" | "--help" => {
                print!("{USAGE}");
                return Ok(ExitCode::SUCCESS);
            }
            option if option.starts_with('-') => {
                return Ok(wrong(&format!("unknown option {option}")))
            }
            pattern => patterns.push(pattern.to_owned()),
        }
    }
    let mut all = hostile::runs();
    if quick {
        all = hostile::quick(&all);
    }
    let selected: Vec<Run> = all
        .into_iter()
        .filter(|run| run.number >= from)
        .filter(|run| patterns.is_empty() || patterns.iter().any(|p| run.case.name.contains(p)))
        .collect();
    if list {
        for run in selected {
            let (number, class, name) = (run.number, run.case.class, run.case.name);
            let memory = if run.va { "va" } else { "pa" };
            println!("{number}|{class}|{name}|{}|{memory}", run.format.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    if selected.is_empty() {
        eprintln!("there is no such case");
        return Ok(ExitCode::from(2));
    }
    tests::prepare()?;
    let totals = hostile::run_all(&selected, parent)?;
    println!(
        "{} held, {} failed, {} not offered",
        totals.held, totals.failed, totals.not_offered
    );
    Ok(match totals.failed {
        _ if totals.reboot => ExitCode::from(REBOOT),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn wrong(what: &str) -> ExitCode {
    eprint!("{what}\n{USAGE}");
    ExitCode::from(2)
}
