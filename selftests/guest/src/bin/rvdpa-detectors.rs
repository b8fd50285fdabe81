// SPDX-License-Identifier: GPL-2.0

//! Makes mistakes, and looks whether the kernel and the log check see them.

use rvdpa_guest::{detectors, outcome::Outcome};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(stop) => {
            eprintln!("rvdpa-detectors: {}", stop.text());
            ExitCode::FAILURE
        }
    }
}

/// Returns how many mistakes were not seen.
fn run() -> Outcome<usize> {
    let totals = detectors::run_all()?;
    println!(
        "{} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.skipped
    );
    Ok(totals.failed)
}
