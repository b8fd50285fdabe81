// SPDX-License-Identifier: GPL-2.0

//! A virtqueue, its worker, its driver and the operations of the bus: kicks and interrupts that
//! are not lost, memory and callbacks that are not used when they must not be any more.
//!
//! `rust/sim/notify.rs` is here as it is; [`Queue`] has what `Slot` and `Worker` do in
//! `rust/sim/slots.rs`, `worker.rs` and `queue.rs`.

use crate::{
    bus::Work,
    check,
    check_most,
    notify::Notify,
    sync::atomic::{
        without_order,
        Atomic,
        Relaxed, //
    },
    turns::Turn,
    vdpa::Callback,
    Steps, //
};
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        Mutex, //
    },
    thread,
};

/// `Vq`.
#[derive(Default)]
struct Vq {
    started: bool,
    broken: bool,
    /// How many chains were taken.
    taken: u32,
}

/// The memory of a driver.
#[derive(Default)]
struct Memory(UnsafeCell<u32>);

// SAFETY: loom finds out whether it is used at a time.
unsafe impl Sync for Memory {}

impl Memory {
    /// The device, or the callback, uses it.
    fn used(&self) {
        self.0.with(|bytes| {
            // SAFETY: loom finds out whether the driver writes to it.
            unsafe { bytes.read() }
        });
    }

    /// The driver has it back.
    fn given_up(&self) {
        self.0.with_mut(|bytes| {
            // SAFETY: loom finds out whether somebody uses it.
            unsafe { *bytes += 1 };
        });
    }
}

/// A virtqueue with its worker.
struct Queue {
    steps: Steps,
    work: Work,
    turn: Turn,
    notify: Notify,
    callback: Arc<Callback>,
    /// The lock of the attachment.
    vq: Mutex<Vq>,
    /// Whether the client has shown the rings to the device: the lock is that of the mappings.
    mapped: Mutex<bool>,
    /// How many chains the driver has made available.
    available: Atomic<u32>,
    /// How many the driver can see as used.
    used: Atomic<u32>,
    /// How often the driver was called.
    interrupts: Arc<Atomic<u32>>,
    /// The rings and buffers.
    memory: Memory,
    /// What the callback uses.
    private: Arc<Memory>,
}

impl Queue {
    fn new(steps: Steps) -> Arc<Self> {
        let callback = Arc::new(Callback::default());
        let interrupts = Arc::new(Atomic::new(0_u32));
        let private = Arc::new(Memory::default());
        let (counted, touched) = (interrupts.clone(), private.clone());
        callback.register(Box::new(move || {
            touched.used();
            counted.fetch_add(1, Relaxed);
        }));
        Arc::new(Self {
            steps,
            work: Work::new(),
            turn: Turn::new(()),
            notify: Notify::new(callback.clone(), None).unwrap(),
            callback,
            vq: Mutex::default(),
            mapped: Mutex::new(true),
            available: Atomic::new(0),
            used: Atomic::new(0),
            interrupts,
            memory: Memory::default(),
            private,
        })
    }

    /// The driver makes a chain available, and kicks: `Slot::kick`.
    fn make_available(&self) {
        self.available.store(1, Relaxed);
        self.notify.kick();
        if self.steps.has("wake") {
            self.work.enqueue();
        }
    }

    /// `Slot::start`.
    fn start(&self) {
        self.vq.lock().unwrap().started = true;
        self.notify.unmask();
        if self.steps.has("raise at start") && self.notify.take_stopped() {
            self.notify.raise(1);
        }
        if self.steps.has("wake at start") {
            self.work.enqueue();
        }
    }

    /// `Vq::stop`, under its lock.
    fn stop_ring(&self) -> bool {
        !self.steps.has("stop") || core::mem::take(&mut self.vq.lock().unwrap().started)
    }

    /// `Slot::stop`.
    fn stop(&self) {
        let ran = self.stop_ring();
        if self.steps.has("mask") {
            self.notify.mask();
        }
        if ran {
            self.notify.note_stopped();
        }
    }

    /// `Slot::suspend`.
    fn suspend(&self) {
        let ran = self.stop_ring();
        if ran && self.steps.has("raise at suspend") {
            self.notify.raise_now();
        }
        if self.steps.has("mask") {
            self.notify.mask();
        }
    }

    /// `Worker::batch` and what `Worker::work` does after it.
    fn batch(&self) -> bool {
        let mut vq = self.vq.lock().unwrap();
        if self.steps.has("latch")
            && !self.notify.was_kicked()
            && vq.started
            && !*self.mapped.lock().unwrap()
        {
            return false;
        }
        let mut completed = 0;
        if vq.started {
            if !*self.mapped.lock().unwrap() {
                vq.started = false;
                vq.broken = true;
                return false;
            }
            self.memory.used();
            completed = self.available.load(Relaxed) - vq.taken;
            vq.taken += completed;
            if completed > 0 {
                self.used.store(vq.taken, Relaxed);
            }
        }
        drop(vq);
        self.notify.completed(completed, completed > 0);
        false
    }

    /// The kernel runs the work, while it is on the queue.
    fn run(&self) {
        self.work.drain(3, || {
            if self.turn.run(|()| self.batch()) {
                self.work.enqueue();
            }
        });
    }
}

/// A driver that kicks while the virtqueue is started: the chain is used, in the end.
fn kick_and_start(steps: Steps) {
    let queue = Queue::new(steps);
    let (driver, worker) = (queue.clone(), queue.clone());
    let threads = [
        thread::spawn(move || driver.make_available()),
        thread::spawn(move || worker.run()),
    ];
    queue.start();
    for thread in threads {
        thread.join().unwrap();
    }
    queue.run();
    assert_eq!(queue.used.load(Relaxed), 1, "a kick was lost");
    assert_eq!(queue.interrupts.load(Relaxed), 1, "an interrupt was lost");
}

/// A client that shows its rings to a device which runs already, and then kicks: that is no
/// fault.
fn shown_later(steps: Steps) {
    let queue = Queue::new(steps);
    *queue.mapped.lock().unwrap() = false;
    queue.start();
    let worker = queue.clone();
    let thread = thread::spawn(move || worker.run());
    *queue.mapped.lock().unwrap() = true;
    queue.make_available();
    thread.join().unwrap();
    queue.run();
    assert!(!queue.vq.lock().unwrap().broken, "no fault of the driver's");
    assert_eq!(queue.used.load(Relaxed), 1, "a kick was lost");
}

/// A virtqueue that runs, with a chain, a worker at work in another thread.
fn running(steps: Steps) -> (Arc<Queue>, thread::JoinHandle<()>) {
    let queue = Queue::new(steps);
    queue.start();
    queue.make_available();
    let worker = queue.clone();
    let thread = thread::spawn(move || worker.run());
    (queue, thread)
}

/// When suspend returns, memory and callback are the driver's again, and it was told of all
/// that was used.
fn suspended(steps: Steps) {
    let (queue, thread) = running(steps);
    queue.suspend();
    queue.memory.given_up();
    queue.private.given_up();
    let (used, told) = (queue.used.load(Relaxed), queue.interrupts.load(Relaxed));
    assert!(told >= used, "the driver was not told");
    thread.join().unwrap();
    assert_eq!(queue.used.load(Relaxed), used, "used after suspend");
}

/// The same for a reset; and what is registered next is not called before the next start.
fn reset(steps: Steps) {
    let (queue, thread) = running(steps);
    queue.stop();
    queue.notify.reset();
    queue.callback.clear();
    queue.memory.given_up();
    queue.private.given_up();
    let early = Arc::new(Atomic::new(0_u32));
    let counted = early.clone();
    queue.callback.register(Box::new(move || {
        counted.fetch_add(1, Relaxed);
    }));
    thread.join().unwrap();
    queue.run();
    assert_eq!(early.load(Relaxed), 0, "called before the start");
}

/// A virtqueue that is stopped and started again: the driver is told of what was used.
fn started_again(steps: Steps) {
    let (queue, thread) = running(steps);
    queue.stop();
    queue.start();
    thread.join().unwrap();
    queue.run();
    assert_eq!(queue.used.load(Relaxed), 1, "a kick was lost");
    assert!(queue.interrupts.load(Relaxed) >= 1, "an interrupt was lost");
}

#[test]
fn no_kick_is_lost() {
    check_most(|| kick_and_start(Steps::All));
}

#[test]
#[should_panic(expected = "a kick was lost")]
fn without_waking_at_the_start_a_kick_is_lost() {
    check_most(|| kick_and_start(Steps::Without("wake at start")));
}

#[test]
#[should_panic(expected = "a kick was lost")]
fn without_waking_at_the_kick_it_is_lost() {
    check_most(|| kick_and_start(Steps::Without("wake")));
}

#[test]
#[should_panic(expected = "a kick was lost")]
fn without_order_a_kick_is_lost() {
    without_order(|| check_most(|| kick_and_start(Steps::All)));
}

#[test]
fn rings_may_be_shown_later() {
    check(|| shown_later(Steps::All));
}

#[test]
#[should_panic(expected = "no fault of the driver's")]
fn without_the_latch_it_is_a_fault() {
    check(|| shown_later(Steps::Without("latch")));
}

#[test]
fn nothing_is_used_after_suspend() {
    check(|| suspended(Steps::All));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_stopping_the_ring_memory_is_used_after_suspend() {
    check(|| suspended(Steps::Without("stop")));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_the_mask_the_driver_is_called_after_suspend() {
    check(|| suspended(Steps::Without("mask")));
}

#[test]
#[should_panic(expected = "the driver was not told")]
fn without_an_interrupt_at_suspend_the_driver_does_not_know() {
    check(|| suspended(Steps::Without("raise at suspend")));
}

#[test]
fn nothing_is_used_after_reset() {
    check(|| reset(Steps::All));
}

#[test]
#[should_panic(expected = "called before the start")]
fn without_the_mask_the_next_driver_is_called_early() {
    check(|| reset(Steps::Without("mask")));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_stopping_the_ring_memory_is_used_after_reset() {
    check(|| reset(Steps::Without("stop")));
}

#[test]
fn no_interrupt_is_lost_over_a_stop() {
    check(|| started_again(Steps::All));
}

#[test]
#[should_panic(expected = "an interrupt was lost")]
fn without_an_interrupt_at_the_start_it_is_lost() {
    check(|| started_again(Steps::Without("raise at start")));
}
