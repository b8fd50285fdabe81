// SPDX-License-Identifier: GPL-2.0

//! Workers: who runs a queue, when, and what happens between two batches.
//!
//! A [`Task`] handles one batch under the lock of its attachment and says how to go on. The
//! worker does what must not be done under that lock: it interrupts drivers, brings memory
//! in, and tells of queues that broke.

use super::{
    memory::{
        permission,
        region,
        DeviceMemory, //
    },
    notify::Notify,
    polling::{
        Poll,
        Polling, //
    },
    queue::Vq,
    receive::Receive,
    shared::Shared,
};
use crate::{
    vdpa::{
        iommu::{
            Attachment,
            Context, //
        },
        lock::softirqs_disabled,
        workqueue::Turn,
    },
    virtio::fault::{
        Fault,
        Place,
        QueueError, //
    },
};
use kernel::{
    impl_has_work, new_work,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    workqueue::{
        Work,
        WorkItem, //
    },
};

/// How many batches a worker handles before it lets others use its thread.
const BATCHES: u32 = 16;

/// The same in the place of a driver, which waits meanwhile.
const BATCHES_IN_PLACE: u32 = 1;

/// How many chains are so few that it was not worth while to wake the worker.
const FEW: u32 = 2;

/// How many kicks are served in place before the worker gets one, at first. If it finds next to
/// nothing then, it is twice as many the next time.
const IN_PLACE: u32 = 16;

/// The same at most.
const MOST_IN_PLACE: u32 = 256;

/// How often in a row memory may turn out not to be resident, without a batch that gets
/// on. A chain may have as many buffers as its ring has descriptors, on either side.
const FAULT_INS: u32 = 2 * 32768;

/// A virtqueue, and what is done with it.
pub(super) trait Task: Send + Unpin + Sized + 'static {
    /// What the virtqueue is for, for the log.
    const ROLE: &'static str;

    /// What it works with beside its own state.
    type Env: Send + Sync;

    /// Whether there is anything to do after a kick.
    fn serves_kicks(_env: &Self::Env) -> bool {
        true
    }

    /// How many receivers a batch serves at most.
    fn receivers(_env: &Self::Env) -> usize {
        0
    }

    /// The virtqueue.
    fn vq(&mut self) -> &mut Vq;

    /// The index of the virtqueue that was made with `index`.
    fn index(index: u16, _shared: &Shared) -> u16 {
        index
    }

    /// Handles a batch.
    fn run(
        &mut self,
        context: &Context<'_>,
        mem: &DeviceMemory<'_>,
        env: &Self::Env,
        mode: Mode,
        after: &mut After,
    ) -> Outcome;
}

/// By whom a task is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A worker, which sleeps when there is no more.
    Worker,
    /// A worker that looks again before long, so that there is no need for kicks.
    Polling,
    /// The driver, which makes no more available meanwhile.
    InPlace,
}

/// What a batch came to.
pub(super) struct Outcome {
    /// How many chains were completed.
    pub(super) completed: u32,
    /// Whether the driver wants to be interrupted for them.
    pub(super) raise: bool,
    pub(super) next: Next,
}

/// What is to be done after a batch.
pub(super) enum Next {
    /// Wait for a kick.
    Sleep,
    /// The same, but kicks were not asked for: the worker polls.
    Poll,
    /// There is more.
    Continue,
    /// Bring memory in, and go on.
    FaultIn(Place),
    /// The same, for a receive queue of the same device.
    FaultInReceiver(Arc<Worker<Receive>>, Place),
    /// Tell that the virtqueue was stopped.
    Broken(Fault),
}

impl Next {
    /// How to go on after an error of the task's own virtqueue, which is stopped if the
    /// driver broke a rule.
    pub(super) fn after(error: QueueError, vq: &mut Vq) -> Self {
        match error {
            QueueError::NotPresent(place) => Next::FaultIn(place),
            QueueError::Fault(fault) => {
                vq.break_down();
                Next::Broken(fault)
            }
        }
    }
}

/// What became of a number of batches.
struct Done {
    /// How many chains were completed.
    completed: u32,
    /// Whether there is more to be done.
    more: bool,
}

/// What a batch leaves to be done for a receive queue when no lock is held any more.
pub(super) enum Action {
    /// Note that so many chains were completed, for which the driver wants to be
    /// interrupted or not.
    Completed(Arc<Worker<Receive>>, u32, bool),
    /// Tell that it was stopped.
    Broken(Arc<Worker<Receive>>, Fault),
}

/// The actions of a batch, of which there are at most [`Task::receivers`].
pub(super) struct After(KVec<Action>);

impl After {
    /// Whether there is room for another action.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.has_room_for(1)
    }

    /// Whether there is room for so many actions.
    #[inline]
    pub(super) fn has_room_for(&self, actions: usize) -> bool {
        self.0.capacity() - self.0.len() >= actions
    }

    /// Adds an action. Where there is no room it is carried out at once, which is rude but
    /// loses nothing.
    pub(super) fn push(&mut self, action: Action) {
        if self.has_room() {
            // There is room, so nothing is allocated and it does not fail.
            let _ = self.0.push(action, GFP_ATOMIC);
        } else {
            action.carry_out();
        }
    }

    fn carry_out(&mut self) {
        for action in self.0.drain_all() {
            action.carry_out();
        }
    }
}

impl Action {
    fn carry_out(self) {
        match self {
            Action::Completed(receiver, completed, raise) => {
                receiver.notify.completed(completed, raise)
            }
            Action::Broken(receiver, fault) => receiver.broke(&fault),
        }
    }
}

/// Runs a [`Task`].
#[pin_data]
pub(super) struct Worker<T: Task> {
    #[pin]
    work: Work<Worker<T>>,
    attachment: Arc<Attachment<T>>,
    env: T::Env,
    shared: Arc<Shared>,
    /// See [`Task::index`].
    index: u16,
    pub(super) notify: Notify,
    polling: Polling,
    /// Keeps the work from running twice at a time.
    turn: Turn<After>,
    /// How many of the next kicks are served in place: see [`kicked`](Self::kicked).
    in_place: Atomic<u32>,
    /// How many it was the last time.
    in_place_last: Atomic<u32>,
}

impl_has_work! {
    impl{T: Task} HasWork<Self> for Worker<T> { self.work }
}

impl<T: Task> Worker<T> {
    /// Makes the worker of a virtqueue.
    pub(super) fn new(
        attachment: Arc<Attachment<T>>,
        env: T::Env,
        shared: Arc<Shared>,
        index: u16,
        notify: Notify,
    ) -> Result<Arc<Self>> {
        let busy_poll = shared.service.busy_poll;
        let room = KVec::with_capacity(T::receivers(&env), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                work <- new_work!("rvdpa_sim::Worker::work"),
                attachment,
                env,
                shared,
                index,
                notify,
                polling: Polling::new(busy_poll),
                turn: Turn::new(After(room)),
                in_place: Atomic::new(0),
                in_place_last: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// The lock of the task, and how it reaches memory.
    pub(super) fn attachment(&self) -> &Attachment<T> {
        &self.attachment
    }

    /// Does something with the virtqueue, under its lock.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Vq) -> R) -> R {
        f(self.attachment.state().vq())
    }

    /// Has the worker look at its virtqueue. Any context.
    #[inline]
    pub(super) fn wake(this: &Arc<Self>) {
        let cpu = this.notify.affinity.cpu();
        this.shared.workers.enqueue_on(cpu, this.clone());
    }

    /// Has the worker look at its virtqueue after a kick, or looks at it at once.
    ///
    /// A worker takes its time to wake up. That is well spent where the driver makes more
    /// buffers available meanwhile, as it does under load: then there is a batch of them to be
    /// handled. Where the worker found next to nothing to do, the next kicks are served in
    /// place, if the driver's context allows that: it may have been waiting for just this
    /// frame. Now and then the worker gets one, so that a change is noticed.
    #[inline]
    pub(super) fn kicked(this: &Arc<Self>) {
        if !T::serves_kicks(&this.env) {
            return;
        }
        let left = this.in_place.load(Relaxed);
        if left == 0 || !softirqs_disabled() {
            return Self::wake(this);
        }
        // A kick that gets lost here, to another at the same time, does not matter.
        this.in_place.store(left - 1, Relaxed);
        let more = this.turn.run(|after| {
            this.attachment
                .enter_atomic(|context| {
                    this.work(context, BATCHES_IN_PLACE, Mode::InPlace, after)
                        .more
                })
                .unwrap_or(true)
        });
        if more {
            Self::wake(this);
        }
    }

    /// Has the next kicks be served in place or not, because there was next to nothing to do
    /// for the worker, or there was.
    fn serve_in_place(&self, few: bool) {
        let kicks = if few {
            let last = self.in_place_last.load(Relaxed);
            last.saturating_mul(2).clamp(IN_PLACE, MOST_IN_PLACE)
        } else {
            0
        };
        self.in_place_last.store(kicks, Relaxed);
        self.in_place.store(kicks, Relaxed);
    }

    /// Handles batches until there is nothing to do, or enough was done.
    fn work(&self, context: &Context<'_>, enough: u32, mode: Mode, after: &mut After) -> Done {
        let mut mode = mode;
        let mut poll: Option<Poll> = None;
        let mut fault_ins = 0;
        let mut batches = 0;
        let mut done = Done {
            completed: 0,
            more: true,
        };
        while batches < enough {
            let Some(outcome) = self.batch(context, mode, after) else {
                // Another client's memory: has to be prepared anew.
                return done;
            };
            after.carry_out();
            self.notify.completed(outcome.completed, outcome.raise);
            if outcome.completed > 0 {
                fault_ins = 0;
                done.completed = done.completed.saturating_add(outcome.completed);
                if poll.take().is_some() {
                    self.polling.end(true);
                }
            }
            match outcome.next {
                Next::Sleep => {
                    done.more = false;
                    return done;
                }
                Next::Poll => {
                    let poll = poll.get_or_insert_with(|| self.polling.start());
                    if !self.polling.goes_on(poll) {
                        self.polling.end(false);
                        // Once more, to ask for kicks.
                        mode = Mode::Worker;
                    }
                }
                Next::Continue => batches += 1,
                Next::FaultIn(place) => {
                    fault_ins += 1;
                    self.bring_in(context, place, fault_ins);
                }
                Next::FaultInReceiver(receiver, place) => {
                    fault_ins += 1;
                    receiver.bring_in(context, place, fault_ins);
                }
                Next::Broken(fault) => self.broke(&fault),
            }
        }
        done
    }

    fn batch(&self, context: &Context<'_>, mode: Mode, after: &mut After) -> Option<Outcome> {
        let mut guard = self.attachment.lock(context)?;
        let (task, access) = guard.split().ok()?;
        let mem = DeviceMemory(access);
        // The driver may show its rings to a device that runs already, and kick it then.
        if !self.notify.was_kicked() && task.vq().is_running() && !task.vq().is_mapped(&mem) {
            return Some(Outcome {
                completed: 0,
                raise: false,
                next: Next::Sleep,
            });
        }
        Some(task.run(context, &mem, &self.env, mode, after))
    }

    /// Brings memory in for the `times`th time, or stops the virtqueue if its client has
    /// no memory where it said there was some.
    fn bring_in(&self, context: &Context<'_>, place: Place, times: u32) {
        let go_on = times <= FAULT_INS
            && self.attachment.fault_in(
                context,
                region(place.part),
                place.iova,
                place.len as usize,
                permission(place.access),
            );
        if go_on {
            return;
        }
        // Unless it was stopped or unmapped meanwhile: then the next batch finds out.
        let running = self.with(|vq| {
            let running = vq.is_running();
            if running {
                vq.break_down();
            }
            running
        });
        if running {
            self.broke(&Fault::Unmapped(place));
        }
    }

    /// Tells that the virtqueue was stopped because of what the driver did, unless a reset has
    /// mended it meanwhile.
    fn broke(&self, fault: &Fault) {
        let broken = self.with(|vq| {
            let broken = vq.is_broken();
            if broken {
                // Under the lock that the reset takes before it forgets this.
                self.shared.break_down();
            }
            broken
        });
        if broken {
            let index = T::index(self.index, &self.shared);
            self.shared.broke(index, T::ROLE, fault);
        }
    }
}

impl<T: Task> WorkItem for Worker<T> {
    type Pointer = Arc<Worker<T>>;

    fn run(this: Arc<Worker<T>>) {
        // One CPU may be asked for while the work runs on another.
        let more = this.turn.run(|after| {
            let mode = if this.polling.is_on() {
                Mode::Polling
            } else {
                Mode::Worker
            };
            let done = this
                .attachment
                .enter(|context| this.work(context, BATCHES, mode, after));
            let few = this.shared.service.in_place && !done.more && done.completed <= FEW;
            this.serve_in_place(few);
            done.more
        });
        if more {
            Self::wake(&this);
        }
    }
}
