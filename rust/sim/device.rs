// SPDX-License-Identifier: GPL-2.0

//! The net device: what it consists of, and how its queues start and stop.

use super::{
    debugfs::DeviceFiles,
    doorbells::Bells,
    parameters::Parameters,
    port::Port,
    provision::Provision,
    queue::Vq,
    shared::Shared,
    slots::{
        Slot,
        Slots, //
    },
};
use crate::{
    vdpa::iommu::Region,
    virtio::{
        features::Features,
        net::MacAddress,
        status::Status, //
    },
};
use core::ops::Deref;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// How many virtqueues a device with so many pairs has.
pub(super) const fn queues(pairs: u16) -> u16 {
    pairs * 2 + 1
}

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

/// A port while it is one of its fabric.
pub(super) struct Connection(Arc<Port>);

impl Connection {
    fn new(port: Arc<Port>) -> Result<Self> {
        port.fabric().attach(&port)?;
        Ok(Self(port))
    }
}

impl Deref for Connection {
    type Target = Port;

    fn deref(&self) -> &Port {
        &self.0
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fabric().detach(&self.0);
    }
}

/// A net device.
#[pin_data]
pub(crate) struct NetDevice {
    pub(super) parameters: Parameters,
    pub(super) shared: Arc<Shared>,
    /// Before the connection, so that nobody looks at the device when that goes.
    _files: DeviceFiles,
    /// Where it is connected, with its receive queues.
    pub(super) port: Connection,
    pub(super) slots: Arc<Slots>,
    /// None if clients cannot have them.
    pub(super) doorbells: Option<Bells>,
    #[pin]
    pub(super) control: Mutex<Control>,
}

impl NetDevice {
    pub(super) fn new(
        parameters: Parameters,
        provision: Provision,
        shared: Arc<Shared>,
        slots: Arc<Slots>,
        doorbells: Option<Bells>,
        files: DeviceFiles,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            parameters,
            shared,
            _files: files,
            doorbells,
            control <- new_mutex!(Control {
                provision,
                status: Status::RESET,
                features: Features::NONE,
                accepted: false,
                suspended: false,
            }),
            port: Connection::new(slots.port.clone())?,
            slots,
        })
    }

    /// The virtqueue `idx`, as negotiated.
    #[inline]
    pub(super) fn slot(&self, idx: u16) -> Option<Slot<'_>> {
        self.slots.get(idx)
    }

    /// Whether the rings have the packed format.
    pub(super) fn is_packed(&self) -> bool {
        let features = self.control.lock().features;
        features.contains(Features::RING_PACKED)
    }

    /// Does something with virtqueue `idx`, under its lock.
    pub(super) fn with_vq<R>(&self, idx: u16, f: impl FnOnce(&mut Vq) -> R) -> Option<R> {
        Some(self.slot(idx)?.with(f))
    }

    /// Sets what was negotiated.
    pub(super) fn set_features(&self, control: &mut Control, features: Features) {
        control.features = features;
        let index = control.provision.control_index(features);
        self.shared.set_control_index(index);
        self.slots.control.notify.set_moved(index != 2);
    }

    /// Starts virtqueue `idx`, if it and the device can run.
    pub(super) fn start_vq(&self, control: &Control, idx: u16) {
        // Without the feature, there is no control queue.
        let exists =
            idx != self.shared.control_index() || control.features.contains(Features::NET_CTRL_VQ);
        if let (true, true, Some(slot)) = (control.runs(), exists, self.slot(idx)) {
            slot.start(&self.shared, idx, control.features);
        }
    }

    /// Starts all virtqueues that can run: those that send, which have the odd indices, when
    /// their frames find all receivers running.
    pub(super) fn start_all(&self, control: &Control) {
        let last = self.shared.control_index();
        let others = (0..=last).step_by(2);
        let transmitters = (1..=last).step_by(2);
        for idx in Iterator::chain(others, transmitters) {
            self.start_vq(control, idx);
        }
    }

    /// Tells the parts of the device what its driver has negotiated, when it is complete.
    pub(super) fn driver_ok(&self, control: &Control) {
        let features = control.features;
        for receiver in &self.port.receivers {
            receiver.attachment().state().set_features(features);
        }
        for transmitter in &self.slots.transmitters {
            transmitter.attachment().state().set_features(features);
        }
        let limits = control.provision.limits(features);
        self.slots.control.attachment().state().set_limits(limits);
        self.forget_wishes(features);
        let announces = features.contains(Features::NET_GUEST_ANNOUNCE);
        self.shared.set_announces(announces);
        self.start_all(control);
        if let Some(bells) = &self.doorbells {
            bells.start();
        }
    }

    /// Forgets what the driver has asked for by the control queue.
    fn forget_wishes(&self, features: Features) {
        let filters_vlans = features.contains(Features::NET_CTRL_VLAN);
        self.port.reset(filters_vlans);
        for slot in self.slots.all() {
            slot.notify().forget_wishes();
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
        control.accepted = false;
        control.suspended = false;
        if let Some(bells) = &self.doorbells {
            bells.stop();
        }
        for slot in self.slots.all() {
            slot.stop();
            let num_max = self.parameters.vq_num_max(Features::NONE);
            slot.with(|vq| vq.reset(num_max));
            slot.notify().reset();
            // There is always one address space, so this does not fail.
            let _ = slot.set_asid(Region::Rings, 0);
            let _ = slot.set_asid(Region::Buffers, 0);
        }
        for receiver in &self.port.receivers {
            receiver.attachment().state().drop_waiting();
        }
        self.set_features(control, Features::NONE);
        self.forget_wishes(Features::NONE);
        self.shared.mended();
        self.shared.set_announces(false);
        if self.shared.mac() != control.provision.mac {
            self.port.set_mac(control.provision.mac);
        }
    }

    /// Gives the device another address, for good.
    pub(super) fn provision_mac(&self, mac: MacAddress) {
        let mut control = self.control.lock();
        control.provision.mac = mac;
        self.port.set_mac(mac);
        drop(control);
        self.shared.config_interrupt.raise();
    }
}
