// SPDX-License-Identifier: GPL-2.0

//! Runs the tests with clients that others wrote.

use rvdpa_guest::{
    clients::{self, ClientTest},
    outcome::Outcome,
    parent::Parent,
    tests,
};
use std::{env, process::ExitCode};

const USAGE: &str = "\
Usage: rvdpa-clients [--list] [--quick] [--parent rvdpa|peer] [PATTERN...]

Runs programs that use a vDPA device with devices of the module that $RVDPA_KO names,
then with those of the kernel's own simulator in the folder $RVDPA_PEERS: all tests, or
those whose names contain one of the patterns. Prints KTAP for the former, a table with
both, and how many passed, failed and were skipped with ours. Must run as root, on a
kernel that may be harmed.

  --list      print the names of the tests only; slow ones are marked
  --quick     leave out the slow ones
  --parent P  with devices of one of the two only
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(stop) => {
            eprintln!("rvdpa-clients: {}", stop.text());
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<ExitCode> {
    let (mut list, mut quick) = (false, false);
    let mut parents = vec![Parent::Rvdpa, Parent::Peer];
    let mut patterns = Vec::new();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => list = true,
            "--quick" => quick = true,
            "--parent" => match arguments.next().as_deref().and_then(Parent::from_word) {
                Some(one) => parents = vec![one],
                None => return Ok(wrong("--parent: rvdpa or peer")),
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
    let selected: Vec<ClientTest> = clients::all()
        .into_iter()
        .filter(|test| !(quick && test.slow))
        .filter(|test| patterns.is_empty() || patterns.iter().any(|p| test.name.contains(p)))
        .collect();
    if selected.is_empty() {
        eprintln!("there is no such test");
        return Ok(ExitCode::from(2));
    }
    if list {
        for test in selected {
            println!("{}{}", test.name, if test.slow { " (slow)" } else { "" });
        }
        return Ok(ExitCode::SUCCESS);
    }
    tests::prepare()?;
    let totals = clients::run_all(&selected, &parents)?;
    println!(
        "{} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.skipped
    );
    Ok(match totals.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn wrong(what: &str) -> ExitCode {
    eprint!("{what}\n{USAGE}");
    ExitCode::from(2)
}
