// SPDX-License-Identifier: GPL-2.0

//! The parts of a new device, put together.

use super::{
    command::Commander,
    control::ControlQueue,
    device::queues,
    doorbells::Bells,
    fabric::Fabric,
    lookups::Lookups,
    notify::Notify,
    parameters::Parameters,
    port::Port,
    provision::{
        Provision,
        Refusal, //
    },
    receive::{
        Inboxes,
        Receive, //
    },
    shared::Shared,
    slots::Slots,
    transmit::{
        Sender,
        Transmit, //
    },
    worker::Worker,
};
use crate::{
    vdpa::{
        iommu::{
            Attachment,
            Iommu,
            IommuBuilder, //
        },
        workqueue::QueueHandle,
        Callback,
        Interrupts, //
    },
    virtio::features::Features,
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::Arc, //
};

/// The parts of a device.
pub(super) struct Parts {
    pub(super) interrupts: Interrupts,
    pub(super) iommu: Arc<Iommu>,
    pub(super) shared: Arc<Shared>,
    pub(super) slots: Arc<Slots>,
    pub(super) doorbells: Option<Bells>,
}

/// The interrupt of a virtqueue.
fn interrupt(interrupts: &Interrupts, index: u16) -> Result<Arc<Callback>> {
    interrupts.queue(index).cloned().ok_or(EINVAL)
}

impl Parts {
    /// Makes the parts of a device with this name, to be connected to `fabric`.
    // Each on a stack of its own: some are large before they are where they stay.
    #[inline(never)]
    pub(super) fn new(
        name: &CStr,
        parameters: &Parameters,
        provision: &Provision,
        workers: QueueHandle,
        fabric: Arc<Fabric>,
    ) -> Result<Self, Refusal> {
        let interrupts = Interrupts::new(queues(provision.pairs))?;
        let config_interrupt = interrupts.config().clone();
        let shared = Shared::new(
            name,
            workers,
            parameters.service,
            config_interrupt,
            provision.mac,
        )?;
        let shared = Arc::new(shared, GFP_KERNEL).map_err(Error::from)?;
        let mut iommu = Iommu::builder(
            parameters.address_spaces,
            parameters.use_va,
            parameters.driver_memory,
        )?;

        let receivers = receivers(
            parameters,
            provision,
            &fabric,
            &mut iommu,
            &interrupts,
            &shared,
        )?;
        let attachments = senders(parameters, provision, &fabric, &mut iommu)?;
        let control = control(parameters, provision, &mut iommu)?;

        let port = fabric.name().map_err(|e| match e {
            ENOSPC => Refusal::Full,
            other => Refusal::Other(other),
        })?;
        let senders = copy(&attachments)?;
        let port = Port::new(shared.clone(), fabric, port, receivers, senders)?;
        let transmitters = transmitters(attachments, &port, &interrupts, &shared)?;
        let commander = Commander::new(port.clone(), copy(&transmitters)?);
        // Its index depends on what is negotiated.
        let other = interrupt(&interrupts, provision.pairs * 2)?;
        let notify = Notify::new(interrupt(&interrupts, 2)?, Some(other))?;
        let control = Worker::new(control, commander, shared.clone(), 2, notify)?;
        let slots = Slots {
            port,
            transmitters,
            control,
        };
        let slots = Arc::new(slots, GFP_KERNEL).map_err(Error::from)?;
        Ok(Self {
            iommu: iommu.build()?,
            doorbells: if parameters.doorbells {
                Some(Bells::new(queues(provision.pairs), slots.clone())?)
            } else {
                None
            },
            interrupts,
            shared,
            slots,
        })
    }
}

/// References to the same.
fn copy<T>(all: &[Arc<T>]) -> Result<KVec<Arc<T>>> {
    let mut copy = KVec::with_capacity(all.len(), GFP_KERNEL)?;
    for one in all {
        copy.push(one.clone(), GFP_KERNEL)?;
    }
    Ok(copy)
}

/// Makes what the transmit queues consist of.
#[inline(never)]
fn senders(
    parameters: &Parameters,
    provision: &Provision,
    fabric: &Fabric,
    iommu: &mut IommuBuilder,
) -> Result<KVec<Arc<Attachment<Transmit>>>> {
    let mut attachments = KVec::with_capacity(provision.pairs.into(), GFP_KERNEL)?;
    for _ in 0..provision.pairs {
        let lookups = Lookups::new(fabric)?;
        let transmit = Transmit::new(parameters.num_max, provision.features, lookups)?;
        let class = static_lock_class!();
        let attachment = iommu.attach(transmit, c"rvdpa_sim::Transmit", class)?;
        attachments.push(attachment, GFP_KERNEL)?;
    }
    Ok(attachments)
}

/// Makes what the control queue consists of.
#[inline(never)]
fn control(
    parameters: &Parameters,
    provision: &Provision,
    iommu: &mut IommuBuilder,
) -> Result<Arc<Attachment<ControlQueue>>> {
    let limits = provision.limits(Features::NONE);
    let control = ControlQueue::new(parameters.num_max, provision.features, limits)?;
    iommu.attach(control, c"rvdpa_sim::ControlQueue", static_lock_class!())
}

/// Makes the receive queues.
#[inline(never)]
fn receivers(
    parameters: &Parameters,
    provision: &Provision,
    fabric: &Fabric,
    iommu: &mut IommuBuilder,
    interrupts: &Interrupts,
    shared: &Arc<Shared>,
) -> Result<KVec<Arc<Worker<Receive>>>> {
    // Who is in the mm of one client does not reach the memory of another.
    let inboxes = Inboxes(parameters.use_va && fabric.is_switch());
    let mut receivers = KVec::new();
    for pair in 0..provision.pairs {
        let receive = Receive::new(parameters.num_max, provision.features, inboxes)?;
        let class = static_lock_class!();
        let attachment = iommu.attach(receive, c"rvdpa_sim::Receive", class)?;
        let index = pair * 2;
        let notify = Notify::new(interrupt(interrupts, index)?, None)?;
        let worker = Worker::new(attachment, inboxes, shared.clone(), index, notify)?;
        receivers.push(worker, GFP_KERNEL)?;
    }
    Ok(receivers)
}

/// Makes the workers of the transmit queues.
fn transmitters(
    attachments: KVec<Arc<Attachment<Transmit>>>,
    port: &Arc<Port>,
    interrupts: &Interrupts,
    shared: &Arc<Shared>,
) -> Result<KVec<Arc<Worker<Transmit>>>> {
    let mut transmitters = KVec::new();
    for (pair, attachment) in (0..).zip(attachments) {
        let index = pair * 2 + 1;
        let sender = Sender {
            port: port.clone(),
            pair,
        };
        let notify = Notify::new(interrupt(interrupts, index)?, None)?;
        let worker = Worker::new(attachment, sender, shared.clone(), index, notify)?;
        transmitters.push(worker, GFP_KERNEL)?;
    }
    Ok(transmitters)
}
