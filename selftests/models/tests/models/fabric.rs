// SPDX-License-Identifier: GPL-2.0

//! A fabric whose answers are remembered, as `rust/sim/fabric.rs` and `lookups.rs` have it: an
//! answer is good while the epoch is the same, and when a port is gone, nobody has it in hand.

use crate::{
    check,
    sync::atomic::{
        Acquire,
        Atomic,
        AtomicFlag,
        Relaxed,
        Release, //
    },
    Steps,
};
use loom::{
    sync::{
        Arc,
        Mutex, //
    },
    thread,
};

/// `Port`.
struct Port {
    /// `Wishes`: whether it takes the frames that are sent here.
    takes: Mutex<bool>,
    gone: AtomicFlag,
}

/// `Answer`.
struct Answer {
    epoch: u64,
    to: Option<Arc<Port>>,
}

/// `Fabric`, and the transmit queue of another port.
struct Fabric {
    steps: Steps,
    epoch: Atomic<u64>,
    /// `Switch::ports`.
    ports: Mutex<Vec<Arc<Port>>>,
    /// The lock of the transmit queue: `Lookups`.
    lookups: Mutex<Option<Answer>>,
}

impl Fabric {
    fn new(steps: Steps) -> (Arc<Self>, Arc<Port>) {
        let port = Arc::new(Port {
            takes: Mutex::new(true),
            gone: AtomicFlag::new(false),
        });
        let fabric = Arc::new(Self {
            steps,
            epoch: Atomic::new(1),
            ports: Mutex::new(vec![port.clone()]),
            lookups: Mutex::new(None),
        });
        (fabric, port)
    }

    fn changed(&self) {
        if self.steps.has("epoch") {
            self.epoch.fetch_add(1, Release);
        }
    }

    /// `Fabric::decide`, with `Port::takes`.
    fn decide(&self) -> Option<Arc<Port>> {
        let port = self.ports.lock().unwrap().first()?.clone();
        let takes = !port.gone.load(Relaxed) && *port.takes.lock().unwrap();
        takes.then_some(port)
    }

    /// `Lookups::route`: whether a frame is delivered.
    fn send(&self) -> bool {
        let mut lookups = self.lookups.lock().unwrap();
        let before = self.epoch.load(Acquire);
        if let Some(answer) = lookups.as_ref().filter(|answer| answer.epoch == before) {
            return answer.to.is_some();
        }
        let to = self.decide();
        let delivered = to.is_some();
        let epoch = match self.steps.has("epoch before the question") {
            true => before,
            false => self.epoch.load(Acquire),
        };
        *lookups = Some(Answer { epoch, to });
        delivered
    }

    /// `Fabric::detach`.
    fn detach(&self, port: &Arc<Port>) {
        if !self.steps.has("detach before forget") {
            self.forget();
        }
        port.gone.store(true, Relaxed);
        self.changed();
        self.ports.lock().unwrap().clear();
        self.changed();
        if self.steps.has("forget") && self.steps.has("detach before forget") {
            self.forget();
        }
    }

    /// `Port::forget`.
    fn forget(&self) {
        *self.lookups.lock().unwrap() = None;
    }

    /// `Port::set_filter`.
    fn set_filter(&self, port: &Port) {
        *port.takes.lock().unwrap() = false;
        self.changed();
    }
}

/// When a port is gone, nothing refers to it, so that its memory goes with its device.
fn port_goes(steps: Steps) {
    let (fabric, port) = Fabric::new(steps);
    let sender = fabric.clone();
    let thread = thread::spawn(move || {
        sender.send();
        sender.send();
    });
    fabric.detach(&port);
    // The sender may have it in hand for as long as it holds its lock.
    drop(fabric.lookups.lock().unwrap());
    let kept = fabric.lookups.lock().unwrap().take();
    let kept = kept.and_then(|answer| answer.to);
    assert!(kept.is_none(), "somebody has the port");
    thread.join().unwrap();
    assert_eq!(Arc::strong_count(&port), 1, "somebody has the port");
}

/// What is sent after a filter was set finds it.
fn filter_changes(steps: Steps) {
    let (fabric, port) = Fabric::new(steps);
    let set = Arc::new(AtomicFlag::new(false));
    let (sender, known) = (fabric.clone(), set.clone());
    let thread = thread::spawn(move || {
        sender.send();
        let late = known.load(Acquire);
        let delivered = sender.send();
        assert!(!(late && delivered), "what was known before was used");
    });
    fabric.set_filter(&port);
    set.store(true, Release);
    thread.join().unwrap();
    assert!(!fabric.send(), "what was known before was used");
}

#[test]
fn nobody_has_a_port_that_is_gone() {
    check(|| port_goes(Steps::All));
}

#[test]
#[should_panic(expected = "somebody has the port")]
fn without_forgetting_somebody_has_it() {
    check(|| port_goes(Steps::Without("forget")));
}

#[test]
#[should_panic(expected = "somebody has the port")]
fn with_forgetting_first_somebody_has_it() {
    check(|| port_goes(Steps::Without("detach before forget")));
}

#[test]
fn answers_are_good_for_an_epoch() {
    check(|| filter_changes(Steps::All));
}

#[test]
#[should_panic(expected = "what was known before was used")]
fn without_an_epoch_answers_are_too_old() {
    check(|| filter_changes(Steps::Without("epoch")));
}

#[test]
#[should_panic(expected = "what was known before was used")]
fn with_the_epoch_behind_the_question_answers_are_too_old() {
    check(|| filter_changes(Steps::Without("epoch before the question")));
}
