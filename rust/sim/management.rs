// SPDX-License-Identifier: GPL-2.0

//! The management devices of net devices.

use super::{
    command::Commander,
    control::ControlQueue,
    debugfs::{
        DeviceFiles,
        Folders,
        SwitchFiles, //
    },
    device::{
        queues,
        NetDevice,
        ADDRESS_SPACES,
        GROUPS, //
    },
    fabric::Fabric,
    lookups::Lookups,
    notify::Notify,
    port::Port,
    provision::{
        unicast,
        Parameters,
        Provision,
        Refusal,
        FEATURES,
        MAX_PAIRS, //
    },
    receive::Receive,
    shared::Shared,
    transmit::{
        Sender,
        Transmit, //
    },
    worker::Worker,
};
use crate::{
    vdpa::{
        self,
        iommu::Iommu,
        workqueue::QueueHandle,
        Attribute,
        Device,
        DeviceConfig,
        Interrupts,
        Management,
        NewDevice, //
    },
    virtio::{
        features::Features,
        net::{
            self,
            MacAddress, //
        },
    },
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::Arc, //
};

/// Makes net devices.
pub(crate) struct NetDevices {
    parameters: Parameters,
    workers: QueueHandle,
    folders: Folders,
    /// The switch that they are ports of. Without one, each device gives its driver back
    /// what it sends.
    switch: Option<Arc<Fabric>>,
    _files: Option<SwitchFiles>,
}

impl NetDevices {
    /// Makes devices each of which gives its driver back what it sends.
    pub(crate) fn loopback(
        parameters: Parameters,
        workers: QueueHandle,
        folders: &Folders,
    ) -> Self {
        Self {
            parameters,
            workers,
            folders: folders.clone(),
            switch: None,
            _files: None,
        }
    }

    /// Makes devices that are the ports of one switch, which has this name.
    pub(crate) fn switch(
        name: &CStr,
        parameters: Parameters,
        workers: QueueHandle,
        folders: &Folders,
    ) -> Result<Self> {
        let mut seed = [0; 16];
        vdpa::random_bytes(&mut seed);
        let seed = u128::from_ne_bytes(seed);
        let seed = [seed as u64, (seed >> 64) as u64];
        let fabric = Fabric::switch(parameters.ageing, seed)?;
        Ok(Self {
            parameters,
            workers,
            folders: folders.clone(),
            _files: Some(SwitchFiles::new(folders, name, &fabric)),
            switch: Some(fabric),
        })
    }
}

impl Management for NetDevices {
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
        queues(MAX_PAIRS).into()
    }

    fn dev_add(
        &self,
        name: &CStr,
        config: &DeviceConfig,
    ) -> Result<NewDevice<impl PinInit<NetDevice, Error>>, Refusal> {
        let parameters = self.parameters;
        let provision = Provision::new(config)?;
        let fabric = match &self.switch {
            Some(switch) => switch.clone(),
            None => Fabric::loopback()?,
        };
        let (num_max, offered, pairs) = (parameters.num_max, provision.features, provision.pairs);
        let interrupts = Interrupts::new(queues(pairs))?;
        let interrupt = |index| interrupts.queue(index).cloned().ok_or(EINVAL);
        let shared = Shared::new(
            name,
            self.workers.clone(),
            interrupts.config().clone(),
            provision.mac,
        )?;
        let shared = Arc::new(shared, GFP_KERNEL).map_err(Error::from)?;

        let mut iommu =
            Iommu::builder(ADDRESS_SPACES, parameters.use_va, parameters.driver_memory)?;
        // Who is in the mm of one client does not reach the memory of another.
        let has_inbox = parameters.use_va && fabric.is_switch();
        let mut receivers = KVec::new();
        let mut attachments = KVec::new();
        for pair in 0..pairs {
            let index = pair * 2;
            let receive = iommu.attach(
                Receive::new(num_max, offered, has_inbox)?,
                c"rvdpa_sim::Receive",
                static_lock_class!(),
            )?;
            let notify = Notify::new(interrupt(index)?, None)?;
            let receiver = Worker::new(receive, (), shared.clone(), index, notify)?;
            receivers.push(receiver, GFP_KERNEL).map_err(Error::from)?;
            let transmit = iommu.attach(
                Transmit::new(num_max, offered, Lookups::new(&fabric)?)?,
                c"rvdpa_sim::Transmit",
                static_lock_class!(),
            )?;
            attachments
                .push(transmit, GFP_KERNEL)
                .map_err(Error::from)?;
        }
        let control = iommu.attach(
            ControlQueue::new(num_max, offered, provision.limits(Features::NONE))?,
            c"rvdpa_sim::ControlQueue",
            static_lock_class!(),
        )?;

        let mut transmitters = KVec::new();
        let mut senders = KVec::new();
        for attachment in &attachments {
            senders
                .push(attachment.clone(), GFP_KERNEL)
                .map_err(Error::from)?;
        }
        let port = fabric.name().map_err(|e| match e {
            ENOSPC => Refusal::Full,
            other => Refusal::Other(other),
        })?;
        let port = Port::new(shared.clone(), fabric, port, receivers, senders)?;
        for (pair, attachment) in (0..pairs).zip(attachments) {
            let index = pair * 2 + 1;
            let sender = Sender {
                port: port.clone(),
                pair,
            };
            let notify = Notify::new(interrupt(index)?, None)?;
            let worker = Worker::new(attachment, sender, shared.clone(), index, notify)?;
            transmitters.push(worker, GFP_KERNEL).map_err(Error::from)?;
        }
        let commander = Commander::new(port.clone(), &transmitters)?;
        let notify = Notify::new(interrupt(2)?, Some(interrupt(pairs * 2)?))?;
        let control_queue = Worker::new(control, commander, shared.clone(), 2, notify)?;
        let files = DeviceFiles::new(&self.folders, &port, &transmitters, &control_queue)?;

        Ok(NewDevice {
            iommu: iommu.build()?,
            groups: GROUPS,
            init: NetDevice::new(
                parameters,
                provision,
                shared,
                port,
                transmitters,
                control_queue,
                files,
            ),
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
