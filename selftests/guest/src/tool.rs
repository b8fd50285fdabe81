// SPDX-License-Identifier: GPL-2.0

//! The `vdpa` tool of iproute2.

use crate::{
    outcome::{Outcome, While},
    sys,
};
use serde_json::Value;
use std::process::Output;

/// Runs `vdpa` with some words, which must work. Returns what it printed.
pub fn vdpa(words: &str) -> Outcome<String> {
    let mut all = vec!["vdpa"];
    all.extend(words.split_whitespace());
    sys::run(&all)
}

/// Runs `vdpa -j` with some words, which must work. Returns what it printed.
pub fn json(words: &str) -> Outcome<Value> {
    let text = vdpa(&format!("-j {words}"))?;
    serde_json::from_str(&text).when(format_args!("JSON of vdpa {words}: {text}"))
}

/// Runs `vdpa` with some words.
pub fn try_vdpa(words: &str) -> Outcome<Output> {
    let mut all = vec!["vdpa"];
    all.extend(words.split_whitespace());
    sys::output(&all)
}
