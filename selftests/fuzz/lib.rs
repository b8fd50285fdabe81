// SPDX-License-Identifier: GPL-2.0

//! What is fuzzed.
//!
//! A *target* is a function that makes something of any bytes, gives that to the module's
//! code and looks at what comes out; it panics if that is wrong. A fuzzer calls it with inputs
//! that it changes such that they reach more and more of the code (`selftests/fuzz/libfuzzer`).
//! What it has found worth while is kept in `corpus`, and tried again with the host tests
//! (`tests/corpus.rs`).

#![warn(missing_docs)]

use std::fmt;

mod choices;
mod driver;
mod memory;
mod model;
pub mod pack;
mod targets;

/// A name, and what is called with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("split_ring", targets::ring::split),
    ("packed_ring", targets::ring::packed),
    ("formats", targets::formats::run),
    ("transfer", targets::transfer::run),
    ("setup", targets::setup::run),
    ("control", targets::control::run),
    ("offload", targets::offload::run),
    ("headers", targets::headers::run),
    ("segment", targets::segment::run),
    ("checksum", targets::checksum::run),
    ("flow", targets::flow::run),
    ("filter", targets::filter::run),
    ("table", targets::table::run),
];

/// Has a message made, which nobody reads.
fn told(message: &dyn fmt::Display) {
    struct Nowhere;
    impl fmt::Write for Nowhere {
        fn write_str(&mut self, _: &str) -> fmt::Result {
            Ok(())
        }
    }
    fmt::write(&mut Nowhere, format_args!("{message}")).expect("a message");
}

/// The target of this name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, run)| *run)
}
