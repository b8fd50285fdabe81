// SPDX-License-Identifier: GPL-2.0

//! The virtqueues of a device, by their indices.

use super::{
    control::ControlQueue,
    notify::Notify,
    port::Port,
    queue::Vq,
    receive::Receive,
    shared::Shared,
    transmit::Transmit,
    worker::Worker, //
};
use crate::{
    vdpa::{
        get_nospec,
        iommu::Region, //
    },
    virtio::features::Features, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The virtqueues of a device.
pub(super) struct Slots {
    /// Has the receive queues.
    pub(super) port: Arc<Port>,
    pub(super) transmitters: KVec<Arc<Worker<Transmit>>>,
    pub(super) control: Arc<Worker<ControlQueue>>,
}

impl Slots {
    /// The virtqueue `idx`, as negotiated.
    #[inline]
    pub(super) fn get(&self, idx: u16) -> Option<Slot<'_>> {
        let control = self.port.shared.control_index();
        let pair = usize::from(idx / 2);
        if idx == control {
            Some(Slot::Control(&self.control))
        } else if idx > control {
            None
        } else if idx % 2 == 0 {
            get_nospec(&self.port.receivers, pair).map(Slot::Receive)
        } else {
            get_nospec(&self.transmitters, pair).map(Slot::Transmit)
        }
    }

    /// All virtqueues, negotiated or not. Those that send come first: whoever stops them all
    /// stops these before a frame of theirs finds its receiver stopped.
    pub(super) fn all(&self) -> impl Iterator<Item = Slot<'_>> {
        let receivers = self.port.receivers.iter().map(Slot::Receive);
        let transmitters = self.transmitters.iter().map(Slot::Transmit);
        let control = core::iter::once(Slot::Control(&self.control));
        Iterator::chain(Iterator::chain(transmitters, receivers), control)
    }
}

/// A virtqueue.
pub(super) enum Slot<'a> {
    Receive(&'a Arc<Worker<Receive>>),
    Transmit(&'a Arc<Worker<Transmit>>),
    Control(&'a Arc<Worker<ControlQueue>>),
}

/// Does the same with the worker of a [`Slot`], whichever it is.
macro_rules! with_worker {
    ($slot:expr, $worker:ident => $do:expr) => {
        match $slot {
            Slot::Receive($worker) => $do,
            Slot::Transmit($worker) => $do,
            Slot::Control($worker) => $do,
        }
    };
}

impl Slot<'_> {
    /// Does something with the virtqueue, under its lock.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Vq) -> R) -> R {
        with_worker!(self, worker => worker.with(f))
    }

    #[inline]
    pub(super) fn notify(&self) -> &Notify {
        with_worker!(self, worker => &worker.notify)
    }

    #[inline]
    fn wake(&self) {
        with_worker!(self, worker => Worker::wake(worker));
    }

    /// Notes that the driver has made buffers available.
    #[inline]
    pub(super) fn kick(&self) {
        self.notify().kick();
        with_worker!(self, worker => Worker::kicked(worker));
    }

    /// Attaches a region of it to another address space.
    pub(super) fn set_asid(&self, region: Region, asid: u32) -> Result {
        with_worker!(self, worker => worker.attachment().set_asid(region, asid))
    }

    /// Starts the virtqueue, if it can run.
    pub(super) fn start(&self, shared: &Shared, index: u16, features: Features) {
        match self.with(|vq| vq.start(features)) {
            Ok(true) => {
                self.notify().unmask();
                // What was to come when it was stopped did not.
                if self.notify().take_stopped() {
                    self.notify().raise(1);
                }
                // The driver may have kicked another device that the queue was at before,
                // and does not do it again.
                self.wake();
            }
            Ok(false) => {}
            Err(e) => {
                shared.refused(format_args!("virtqueue {index} cannot be started: {e}"));
            }
        }
    }

    /// Stops the virtqueue. When it returns, neither its memory is accessed nor its driver
    /// called.
    pub(super) fn stop(&self) {
        let ran = self.with(Vq::stop);
        self.notify().mask();
        if ran {
            self.notify().note_stopped();
        }
    }

    /// The same for a queue that may go on at another device: that does not know of what the
    /// driver has not been told of yet, so it is told now.
    pub(super) fn suspend(&self) {
        let ran = self.with(Vq::stop);
        if ran {
            self.notify().raise_now();
        }
        self.notify().mask();
    }
}
