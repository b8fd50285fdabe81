// SPDX-License-Identifier: GPL-2.0

//! Runs the guest tests, and prints how they went as KTAP.

use rvdpa_guest::{
    harness::{run_all, Test},
    outcome::Outcome,
    tests,
};
use std::{env, process::ExitCode};

const USAGE: &str = "\
Usage: rvdpa-selftest [--list] [PATTERN...]

Runs the tests of the module that $RVDPA_KO names: all of them, or those whose names
contain one of the patterns. Prints KTAP and, at the end, how many passed, failed and
were skipped. Must run as root, on a kernel that may be harmed.

  --list   print the names of the tests only
";

fn main() -> ExitCode {
    let mut list = false;
    let mut patterns = Vec::new();
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--list" => list = true,
            "-h" | "--help" => {
                print!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            option if option.starts_with('-') => {
                eprint!("unknown option {option}\n{USAGE}");
                return ExitCode::from(2);
            }
            pattern => patterns.push(pattern.to_owned()),
        }
    }
    let selected: Vec<Test> = tests::all()
        .into_iter()
        .filter(|test| {
            patterns.is_empty() || patterns.iter().any(|pattern| test.name.contains(pattern))
        })
        .collect();
    if selected.is_empty() {
        eprintln!("no test has a name with {}", patterns.join(" or "));
        return ExitCode::from(2);
    }
    if list {
        for test in selected {
            println!("{}", test.name);
        }
        return ExitCode::SUCCESS;
    }
    match run(&selected) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(stop) => {
            eprintln!("rvdpa-selftest: {}", stop.text());
            ExitCode::FAILURE
        }
    }
}

/// Runs tests. Returns how many failed.
fn run(selected: &[Test]) -> Outcome<usize> {
    tests::prepare()?;
    let totals = run_all(selected)?;
    println!(
        "{} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.skipped
    );
    Ok(totals.failed)
}
