// SPDX-License-Identifier: GPL-2.0

//! Turns, as `rust/vdpa/workqueue/turn.rs` has them: work that may be started twice at a time
//! runs once at a time, and no start is forgotten.

use crate::{
    check,
    sync::atomic::{
        without_order,
        AtomicFlag,
        Relaxed, //
    },
    Steps,
};
use loom::{
    cell::UnsafeCell,
    sync::Arc,
    thread, //
};

#[path = "../../../../rust/vdpa/workqueue/turn.rs"]
mod turn;

pub(crate) use turn::Turn;

/// Work with a turn, and what is to be done.
struct Worker {
    turn: Turn,
    /// What only one may use at a time.
    state: UnsafeCell<u32>,
    /// What others leave to be done: no order but that of the turn makes it seen.
    wanted: [AtomicFlag; 2],
    done: [AtomicFlag; 2],
}

impl Worker {
    fn work(&self) -> bool {
        self.state.with_mut(|state| {
            // SAFETY: loom finds out whether somebody else uses it.
            unsafe { *state += 1 };
        });
        for (wanted, done) in self.wanted.iter().zip(&self.done) {
            if wanted.load(Relaxed) {
                done.store(true, Relaxed);
            }
        }
        false
    }

    /// As the worker of the kernel's queue would run it, over and over if it has to.
    fn run(&self, steps: Steps) {
        if !steps.has("turn") {
            self.work();
            return;
        }
        while self.turn.run(|()| self.work()) {
            if !steps.has("again") {
                return;
            }
        }
    }
}

fn two_runs(steps: Steps) {
    let worker = Arc::new(Worker {
        turn: Turn::new(()),
        state: UnsafeCell::new(0),
        wanted: [AtomicFlag::new(false), AtomicFlag::new(false)],
        done: [AtomicFlag::new(false), AtomicFlag::new(false)],
    });
    let other = worker.clone();
    let thread = thread::spawn(move || {
        other.wanted[1].store(true, Relaxed);
        other.run(steps);
    });
    worker.wanted[0].store(true, Relaxed);
    worker.run(steps);
    thread.join().unwrap();
    for done in &worker.done {
        assert!(done.load(Relaxed), "something was not done");
    }
}

#[test]
fn runs_once_at_a_time_and_forgets_nothing() {
    check(|| two_runs(Steps::All));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_a_turn_it_runs_twice() {
    check(|| two_runs(Steps::Without("turn")));
}

#[test]
#[should_panic(expected = "something was not done")]
fn without_another_run_something_is_forgotten() {
    check(|| two_runs(Steps::Without("again")));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_order_it_goes_wrong() {
    without_order(|| check(|| two_runs(Steps::All)));
}
