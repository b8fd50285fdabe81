// SPDX-License-Identifier: GPL-2.0

//! Half a minute of [`soak`](crate::soak): the same each time.

use crate::{
    harness::{Context, Test},
    outcome::Outcome,
    soak::{self, PARAMETERS},
};
use std::time::Duration;

pub const TESTS: &[Test] = &[
    Test::new("soak.everything_at_random", pa)
        .without_module()
        .seconds(120),
    Test::new("soak.everything_at_random_va", va)
        .without_module()
        .seconds(120),
];

const TIME: Duration = Duration::from_secs(12);

fn pa(context: &mut Context) -> Outcome {
    soak::run(context, 4, TIME, PARAMETERS[0])
}

fn va(context: &mut Context) -> Outcome {
    soak::run(context, 5, TIME, PARAMETERS[1])
}
