// SPDX-License-Identifier: GPL-2.0

//! A port: a device as the frames of others see it.

use super::{
    fabric::Fabric,
    flows::Flows,
    queue::Counters,
    receive::Receive,
    shared::Shared,
    steering::Steering,
    transmit::Transmit,
    worker::{
        Task,
        Worker, //
    },
};
use crate::{
    net::{
        filter::Filter,
        table, //
    },
    vdpa::{
        iommu::Attachment,
        lock::{
            new_spinlock_bh,
            SpinLockBh, //
        }, //
    },
    virtio::net::MacAddress,
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    },
};

/// What the driver has asked for by the control queue.
struct Wishes {
    filter: Filter,
    steering: Arc<Steering>,
}

/// A port of a fabric.
#[pin_data]
pub(super) struct Port {
    pub(super) shared: Arc<Shared>,
    fabric: Arc<Fabric>,
    /// Its name in the fabric, which no other port has.
    pub(super) name: table::Port,
    /// The receive queues, one for each pair.
    pub(super) receivers: KVec<Arc<Worker<Receive>>>,
    /// The transmit queues.
    transmitters: KVec<Arc<Attachment<Transmit>>>,
    /// The steering of a driver that has not said anything.
    single: Arc<Steering>,
    #[pin]
    wishes: SpinLockBh<Wishes>,
    /// Which pair the driver sends flows from.
    pub(super) flows: Flows,
    /// Whether the driver left the steering to the device, and has several pairs.
    learns: AtomicFlag,
    /// Whether the device is gone, or on its way.
    gone: AtomicFlag,
    /// Frames that came and were for somebody else.
    pub(super) filtered: Atomic<u64>,
}

impl Port {
    /// Makes a port of `fabric`, not yet attached to it.
    pub(super) fn new(
        shared: Arc<Shared>,
        fabric: Arc<Fabric>,
        name: table::Port,
        receivers: KVec<Arc<Worker<Receive>>>,
        transmitters: KVec<Arc<Attachment<Transmit>>>,
    ) -> Result<Arc<Self>> {
        let flows = Flows::new(receivers.len() > 1)?;
        let single = Arc::new(Steering::SINGLE, GFP_KERNEL)?;
        let wishes = Wishes {
            filter: Filter::new(false),
            steering: single.clone(),
        };
        Arc::pin_init(
            pin_init!(Self {
                shared,
                fabric,
                name,
                receivers,
                transmitters,
                single,
                wishes <- new_spinlock_bh!(wishes, "rvdpa_sim::Port::wishes"),
                flows,
                learns: AtomicFlag::new(false),
                gone: AtomicFlag::new(false),
                filtered: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Where the port is.
    pub(super) fn fabric(&self) -> &Arc<Fabric> {
        &self.fabric
    }

    /// Whether the device takes frames to this address with this VLAN ID.
    pub(super) fn takes(&self, destination: [u8; 6], vlan: Option<u16>) -> bool {
        self.is_up()
            && self
                .wishes
                .lock()
                .filter
                .takes(self.shared.mac().0, destination, vlan)
    }

    /// Whether frames can go in and out.
    #[inline]
    pub(super) fn is_up(&self) -> bool {
        self.shared.link_is_up() && !self.gone.load(Relaxed)
    }

    /// Changes which frames the device takes.
    pub(super) fn set_filter<R>(&self, change: impl FnOnce(&mut Filter) -> R) -> R {
        let result = change(&mut self.wishes.lock().filter);
        self.fabric.changed();
        result
    }

    /// How received frames are spread over the queues.
    pub(super) fn steering(&self) -> Arc<Steering> {
        self.wishes.lock().steering.clone()
    }

    /// Changes how received frames are spread over the queues.
    pub(super) fn set_steering(&self, steering: Arc<Steering>) {
        self.learns.store(steering.learns(), Relaxed);
        let old = core::mem::replace(&mut self.wishes.lock().steering, steering);
        drop(old);
        self.fabric.changed();
    }

    /// Whether it matters which pair the driver sends flows from.
    #[inline]
    pub(super) fn learns(&self) -> bool {
        self.learns.load(Relaxed)
    }

    /// Gives the device another address.
    pub(super) fn set_mac(&self, mac: MacAddress) {
        self.shared.set_mac(mac);
        self.fabric.changed();
    }

    /// Takes the carrier away, or gives it back. The driver learns of it by the config
    /// interrupt.
    pub(super) fn set_link(&self, up: bool) {
        if self.shared.set_link(up) {
            self.fabric.changed();
            self.shared.config_interrupt.raise();
        }
    }

    /// Starts anew with what a driver has by default: whether it filters VLANs, and one
    /// pair.
    pub(super) fn reset(&self, filters_vlans: bool) {
        self.set_filter(|filter| *filter = Filter::new(filters_vlans));
        self.set_steering(self.single.clone());
        self.flows.forget();
    }

    /// What was received and sent, all queues together.
    pub(super) fn totals(&self) -> (Counters, Counters) {
        let mut received = Counters::default();
        for receiver in &self.receivers {
            received.add(&receiver.with(|vq| vq.counters));
        }
        let mut sent = Counters::default();
        for transmitter in &self.transmitters {
            let counters = transmitter.state().vq().counters;
            sent.add(&counters);
        }
        (received, sent)
    }

    /// From here on the port is not one any more.
    pub(super) fn leave(&self) {
        self.gone.store(true, Relaxed);
        self.fabric.changed();
    }

    /// Forgets where frames went that the device sent.
    pub(super) fn forget(&self) {
        for transmitter in &self.transmitters {
            transmitter.state().forget();
        }
    }
}
