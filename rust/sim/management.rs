// SPDX-License-Identifier: GPL-2.0

//! The management devices of net devices.

use super::{
    debugfs::{
        DeviceFiles,
        Folders,
        SwitchFiles, //
    },
    device::{
        queues,
        NetDevice, //
    },
    fabric::Fabric,
    operations::groups,
    parameters::Parameters,
    parts::Parts,
    provision::{
        unicast,
        Provision,
        Refusal,
        FEATURES,
        MAX_PAIRS, //
    },
};
use crate::{
    vdpa::{
        self,
        workqueue::QueueHandle,
        Attribute,
        Device,
        DeviceConfig,
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
        let workers = self.workers.clone();
        let parts = Parts::new(name, &parameters, &provision, workers, fabric)?;
        let files = DeviceFiles::new(&self.folders, &parts.slots);
        let Parts {
            interrupts,
            iommu,
            shared,
            slots,
            doorbells,
        } = parts;
        Ok(NewDevice {
            iommu,
            groups: groups(parameters.shape),
            shape: parameters.shape,
            init: NetDevice::new(parameters, provision, shared, slots, doorbells, files),
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
