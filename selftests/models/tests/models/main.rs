// SPDX-License-Identifier: GPL-2.0

//! Models of the protocols between the workers, the operations of the bus and the driver.
//!
//! A model is a small program of a few threads, which loom runs in every order of their steps
//! that can make a difference, with what the ordering of memory allows. It asserts what the
//! module promises.
//!
//! The parts of the module that are nothing but a protocol over atomics are here as they are:
//! this crate has, under the name `kernel`, what they use of the kernel's ([`sync`]). What
//! refers to more of the kernel is written again, with the names that it has there and the
//! place of the original.
//!
//! A model that finds nothing proves little if it cannot find anything. So each of them is also
//! run with one step left out, or with atomics that order nothing, and has to fail then.

extern crate self as kernel;

pub mod prelude;
pub mod sync;

mod attachments;
mod bus;
mod doorbells;
mod fabric;
mod queue;
mod turns;
mod vdpa;

#[path = "../../../../rust/sim/notify.rs"]
#[allow(dead_code, reason = "not all of it is modelled")]
mod notify;

/// What a model keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Steps {
    /// All that the module does.
    All,
    /// All but this.
    Without(&'static str),
}

impl Steps {
    /// Whether the step is done.
    fn has(self, step: &'static str) -> bool {
        self != Self::Without(step)
    }
}

/// Runs a model of two threads in all orders.
fn check(model: impl Fn() + Sync + Send + 'static) {
    loom::model::Builder::new().check(model);
}

/// Runs a model of three threads in those orders in which threads are interrupted in the middle
/// of something three times at most: others find nothing new, and are without number.
fn check_most(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}
