// SPDX-License-Identifier: GPL-2.0

//! The net device: what it consists of, and how its queues start and stop.

use super::{
    control::ControlQueue,
    pair::Pair,
    provision::{
        Parameters,
        Provision, //
    },
    queue::Vq,
    shared::Shared,
    worker::{
        Port,
        Task,
        Worker, //
    },
};
use crate::virtio::{
    features::Features,
    net::MacAddress,
    ring::State,
    status::Status, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// How many groups there are.
pub(super) const GROUPS: u32 = 2;
/// How many address spaces there are.
pub(super) const ADDRESS_SPACES: u32 = 2;
/// How many queue pairs there are.
pub(super) const PAIRS: u16 = 1;
/// How many virtqueues there are.
pub(super) const QUEUES: u16 = 3;

/// What control operations change. Its lock is taken before that of an attachment.
pub(super) struct Control {
    pub(super) provision: Provision,
    pub(super) status: Status,
    pub(super) features: Features,
    /// Whether `features` was accepted since the last reset.
    pub(super) accepted: bool,
    pub(super) suspended: bool,
}

impl Control {
    /// Whether virtqueues may run.
    fn runs(&self) -> bool {
        self.status.contains(Status::DRIVER_OK) && !self.suspended
    }
}

/// A net device that gives its driver back what it sends.
#[pin_data]
pub(crate) struct NetDevice {
    pub(super) parameters: Parameters,
    pub(super) shared: Arc<Shared>,
    pub(super) pair: Arc<Worker<Pair>>,
    pub(super) control_queue: Arc<Worker<ControlQueue>>,
    #[pin]
    pub(super) control: Mutex<Control>,
}

/// The worker of a virtqueue.
enum WorkerOf<'a> {
    Pair(&'a Arc<Worker<Pair>>),
    Control(&'a Arc<Worker<ControlQueue>>),
}

/// Which virtqueue an index means.
pub(super) struct Slot<'a> {
    worker: WorkerOf<'a>,
    slot: usize,
}

impl Slot<'_> {
    /// Does something with the virtqueue, under its lock.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Vq) -> R) -> Option<R> {
        match self.worker {
            WorkerOf::Pair(worker) => worker.attachment().state().vq(self.slot).map(f),
            WorkerOf::Control(worker) => worker.attachment().state().vq(self.slot).map(f),
        }
    }

    pub(super) fn port(&self) -> Option<&Port> {
        match self.worker {
            WorkerOf::Pair(worker) => worker.port(self.slot),
            WorkerOf::Control(worker) => worker.port(self.slot),
        }
    }

    #[inline]
    pub(super) fn wake(&self) {
        match self.worker {
            WorkerOf::Pair(worker) => Worker::wake(worker),
            WorkerOf::Control(worker) => Worker::wake(worker),
        }
    }

    /// Whether there may be buffers for which no kick will come.
    fn was_used(&self, features: Features) -> bool {
        let start = State::start(features);
        self.port().is_some_and(Port::was_kicked)
            || self.with(|vq| vq.state().is_some_and(|state| state != start)) == Some(true)
    }

    /// Starts the virtqueue, if it can run.
    fn start(&self, shared: &Shared, index: u16, features: Features) {
        match self.with(|vq| vq.start(features)) {
            Some(Ok(true)) => {
                if let Some(port) = self.port() {
                    port.interrupt.unmask();
                }
                // Before the first kick the ring is not touched: its memory may not be
                // mapped yet. A queue that goes on from elsewhere was kicked there.
                if self.was_used(features) {
                    self.wake();
                }
            }
            Some(Err(e)) => {
                shared.refused(format_args!("virtqueue {index} cannot be started: {e}"));
            }
            Some(Ok(false)) | None => {}
        }
    }

    /// Stops the virtqueue. When it returns, neither its memory is accessed nor its driver
    /// called.
    pub(super) fn stop(&self) {
        self.with(Vq::stop);
        if let Some(port) = self.port() {
            port.interrupt.mask();
        }
    }
}

impl NetDevice {
    pub(super) fn new(
        parameters: Parameters,
        provision: Provision,
        shared: Arc<Shared>,
        pair: Arc<Worker<Pair>>,
        control_queue: Arc<Worker<ControlQueue>>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            parameters,
            shared,
            pair,
            control_queue,
            control <- new_mutex!(Control {
                provision,
                status: Status::RESET,
                features: Features::NONE,
                accepted: false,
                suspended: false,
            }),
        })
    }

    /// The virtqueue `idx`.
    #[inline]
    pub(super) fn slot(&self, idx: u16) -> Option<Slot<'_>> {
        match idx {
            0 | 1 => Some(Slot {
                worker: WorkerOf::Pair(&self.pair),
                slot: usize::from(idx),
            }),
            2 => Some(Slot {
                worker: WorkerOf::Control(&self.control_queue),
                slot: 0,
            }),
            _ => None,
        }
    }

    /// Whether the rings have the packed format.
    pub(super) fn is_packed(&self) -> bool {
        let features = self.control.lock().features;
        features.contains(Features::RING_PACKED)
    }

    /// All virtqueues.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..QUEUES).filter_map(|idx| self.slot(idx))
    }

    /// Does something with virtqueue `idx`, under its lock.
    pub(super) fn with_vq<R>(&self, idx: u16, f: impl FnOnce(&mut Vq) -> R) -> Option<R> {
        self.slot(idx)?.with(f)
    }

    /// Starts virtqueue `idx`, if it and the device can run.
    pub(super) fn start_vq(&self, control: &Control, idx: u16) {
        // Without the feature, there is no control queue.
        let exists = idx != 2 || control.features.contains(Features::NET_CTRL_VQ);
        if let (true, true, Some(slot)) = (control.runs(), exists, self.slot(idx)) {
            slot.start(&self.shared, idx, control.features);
        }
    }

    /// The status, with what the device itself has to say.
    pub(super) fn status(&self, control: &Control) -> Status {
        if self.shared.needs_reset() {
            control.status.with(Status::NEEDS_RESET)
        } else {
            control.status
        }
    }

    pub(super) fn do_reset(&self, control: &mut Control) {
        control.status = Status::RESET;
        control.features = Features::NONE;
        control.accepted = false;
        control.suspended = false;
        for slot in self.slots() {
            slot.stop();
            slot.with(|vq| vq.reset(self.parameters.num_max));
            if let Some(port) = slot.port() {
                port.reset();
            }
        }
        // Numbers of address spaces that were checked when the device was made.
        let _ = self.pair.attachment().set_asid(0);
        let _ = self.control_queue.attachment().set_asid(0);
        self.shared.mended();
        if self.shared.mac() != control.provision.mac {
            self.shared.set_mac(control.provision.mac);
        }
    }

    /// Gives the device another address, for good.
    pub(super) fn provision_mac(&self, mac: MacAddress) {
        let mut control = self.control.lock();
        control.provision.mac = mac;
        self.shared.set_mac(mac);
        drop(control);
        self.shared.config_interrupt.raise();
    }
}
