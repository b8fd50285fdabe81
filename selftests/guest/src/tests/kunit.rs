// SPDX-License-Identifier: GPL-2.0

//! KUnit: the module's own tests of what only lives in a kernel, where it has KUnit.

use crate::{
    check, check_eq,
    harness::{Context, Test},
    outcome::{Outcome, While},
    skip, sys,
};
use std::{fs, path::Path};

pub const TESTS: &[Test] = &[Test::new("kunit.suites", suites)];

/// Where the kernel has a folder for each suite.
const FOLDER: &str = "/sys/kernel/debug/kunit";

/// The module's suites.
const SUITES: [&str; 4] = [
    "rvdpa_address_space",
    "rvdpa_name",
    "rvdpa_nospec",
    "rvdpa_workqueue",
];

fn suites(context: &mut Context) -> Outcome {
    let folder = Path::new(FOLDER);
    if !folder.exists() {
        skip!("the kernel has no KUnit (CONFIG_KUNIT=y)");
    }
    let found: Vec<_> = sys::names(folder)
        .into_iter()
        .filter(|name| name.starts_with("rvdpa_"))
        .collect();
    check_eq!(found, SUITES, "suites of the module");
    for suite in SUITES {
        context.step(suite);
        sys::write(folder.join(suite).join("run"), "1")?;
        let path = folder.join(suite).join("results");
        let results = fs::read_to_string(&path).when(path.display())?;
        check!(
            results.lines().any(|line| line.starts_with("ok ")),
            "{suite} did not pass: {results}"
        );
        check!(!results.contains("not ok"), "{suite}: {results}");
        let passed = results
            .lines()
            .filter(|line| line.trim_start().starts_with("ok "))
            .count();
        context.note(format_args!("{suite}: {} tests", passed - 1));
    }
    Ok(())
}
