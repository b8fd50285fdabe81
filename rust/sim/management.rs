// SPDX-License-Identifier: GPL-2.0

//! The management device of net devices.

use super::{
    control::ControlQueue,
    device::{
        NetDevice,
        ADDRESS_SPACES,
        GROUPS,
        QUEUES, //
    },
    pair::Pair,
    provision::{
        unicast,
        Parameters,
        Provision,
        Refusal,
        FEATURES, //
    },
    shared::Shared,
    worker::Worker,
};
use crate::{
    vdpa::{
        iommu::Iommu,
        workqueue::QueueHandle,
        Attribute,
        Device,
        DeviceConfig,
        Interrupts,
        Management,
        NewDevice, //
    },
    virtio::net::{
        self,
        MacAddress, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Makes devices each of which gives its driver back what it sends.
pub(crate) struct Loopback {
    parameters: Parameters,
    workers: QueueHandle,
}

impl Loopback {
    pub(crate) fn new(parameters: Parameters, workers: QueueHandle) -> Self {
        Self {
            parameters,
            workers,
        }
    }
}

impl Management for Loopback {
    type Device = NetDevice;
    type Error = Refusal;

    const DEVICE_ID: u32 = net::DEVICE_ID;
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::Features,
        Attribute::Mac,
        Attribute::Mtu,
        Attribute::MaxVqp,
    ];

    fn supported_features(&self) -> u64 {
        FEATURES.0
    }

    fn max_supported_vqs(&self) -> u32 {
        QUEUES.into()
    }

    fn dev_add(
        &self,
        name: &CStr,
        config: &DeviceConfig,
    ) -> Result<NewDevice<impl PinInit<NetDevice, Error>>, Refusal> {
        let parameters = self.parameters;
        let provision = Provision::new(config)?;
        let interrupts = Interrupts::new(QUEUES)?;
        let interrupt = |index| interrupts.queue(index).ok_or(EINVAL);

        let mut iommu =
            Iommu::builder(ADDRESS_SPACES, parameters.use_va, parameters.driver_memory)?;
        let pair = iommu.attach(Pair::new(parameters.num_max, provision.features)?)?;
        let control_queue =
            iommu.attach(ControlQueue::new(parameters.num_max, provision.features)?)?;

        let shared = Shared::new(
            name,
            self.workers.clone(),
            interrupts.config().clone(),
            provision.mac,
        )?;
        let shared = Arc::new(shared, GFP_KERNEL).map_err(Error::from)?;
        let pair = Worker::new(pair, shared.clone(), 0, &[interrupt(0)?, interrupt(1)?])?;
        let control_queue = Worker::new(control_queue, shared.clone(), 2, &[interrupt(2)?])?;

        Ok(NewDevice {
            iommu: iommu.build()?,
            groups: GROUPS,
            init: NetDevice::new(parameters, provision, shared, pair, control_queue),
            interrupts,
        })
    }

    fn dev_set_attr(
        &self,
        device: &Device<NetDevice>,
        config: &DeviceConfig,
    ) -> Result<(), Refusal> {
        let mac = config.mac.ok_or(Refusal::Nothing)?;
        device.provision_mac(unicast(MacAddress(mac))?);
        Ok(())
    }

    fn errno(error: &Refusal) -> Error {
        error.errno()
    }
}
