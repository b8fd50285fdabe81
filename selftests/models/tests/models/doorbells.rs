// SPDX-License-Identifier: GPL-2.0

//! Doorbells, as `rust/sim/doorbells.rs` has them: whoever maps a page and whoever starts the
//! device do so at a time, and one of them has the page looked at.

use crate::{
    bus::Work,
    check,
    sync::atomic::{
        without_order,
        Acquire,
        Atomic,
        AtomicFlag,
        Full,
        Relaxed,
        Release, //
    },
    turns::Turn,
    Steps, //
};
use loom::{
    sync::Arc,
    thread, //
};

/// `Doorbell::QUIET`.
const QUIET: u32 = u32::MAX;

/// `Bells` and `Watcher`, with one bell.
struct Bells {
    steps: Steps,
    work: Work,
    turn: Turn,
    running: AtomicFlag,
    mapped: AtomicFlag,
    /// The page.
    word: Atomic<u32>,
    /// What the client did before it wrote to the page.
    available: Atomic<u32>,
    seen: Atomic<u32>,
}

impl Bells {
    fn new(steps: Steps) -> Arc<Self> {
        Arc::new(Self {
            steps,
            work: Work::new(),
            turn: Turn::new(()),
            running: AtomicFlag::new(false),
            mapped: AtomicFlag::new(false),
            word: Atomic::new(QUIET),
            available: Atomic::new(0),
            seen: Atomic::new(0),
        })
    }

    /// `Bells::get`: a client maps the page.
    fn get(&self) {
        if !self.mapped.load(Relaxed) {
            self.word.store(QUIET, Relaxed);
            self.mapped.xchg(true, Full);
        }
        if self.running.load(Relaxed) && self.steps.has("go on at map") {
            self.work.enqueue();
        }
    }

    /// The client kicks.
    fn ring(&self) {
        self.available.store(1, Relaxed);
        self.word.store(0, Release);
    }

    /// `Bells::start`.
    fn start(&self) {
        self.running.xchg(true, Full);
        if self.mapped.load(Relaxed) && self.steps.has("go on at start") {
            self.work.enqueue();
        }
    }

    /// `Bells::stop`.
    fn stop(&self) {
        self.running.store(false, Relaxed);
        self.take();
    }

    /// `Doorbell::take`.
    fn take(&self) -> bool {
        self.word.load(Relaxed) != QUIET && self.word.xchg(QUIET, Acquire) != QUIET
    }

    /// `Watcher::watch`, which looks once here.
    fn watch(&self) -> bool {
        if !self.running.load(Relaxed) || !self.mapped.load(Relaxed) {
            return false;
        }
        if self.take() {
            self.seen.store(self.available.load(Relaxed), Relaxed);
        }
        true
    }

    /// `Watcher::run`, while the work is on the queue.
    fn run(&self, most: usize) {
        self.work.drain(most, || {
            if self.turn.run(|()| self.watch()) {
                self.work.enqueue();
            }
        });
    }
}

fn map_and_start(steps: Steps) {
    let bells = Bells::new(steps);
    let client = bells.clone();
    let thread = thread::spawn(move || {
        client.get();
        client.ring();
    });
    bells.start();
    thread.join().unwrap();
    bells.run(2);
    assert_eq!(bells.seen.load(Relaxed), 1, "nobody looks");
}

/// The device is reset and started while somebody looks.
fn start_again(steps: Steps) {
    let bells = Bells::new(steps);
    bells.get();
    bells.start();
    let watcher = bells.clone();
    let thread = thread::spawn(move || watcher.run(2));
    bells.stop();
    bells.start();
    bells.ring();
    thread.join().unwrap();
    bells.run(3);
    assert_eq!(bells.seen.load(Relaxed), 1, "nobody looks");
}

#[test]
fn one_of_two_sees_the_other() {
    check(|| map_and_start(Steps::All));
}

#[test]
#[should_panic(expected = "nobody looks")]
fn without_order_neither_sees_the_other() {
    without_order(|| check(|| map_and_start(Steps::All)));
}

#[test]
#[should_panic(expected = "nobody looks")]
fn it_is_not_enough_that_the_map_looks() {
    check(|| map_and_start(Steps::Without("go on at start")));
}

#[test]
#[should_panic(expected = "nobody looks")]
fn it_is_not_enough_that_the_start_looks() {
    check(|| map_and_start(Steps::Without("go on at map")));
}

#[test]
fn somebody_looks_after_a_reset() {
    check(|| start_again(Steps::All));
}

#[test]
#[should_panic(expected = "nobody looks")]
fn without_going_on_at_the_start_nobody_looks_after_a_reset() {
    check(|| start_again(Steps::Without("go on at start")));
}
