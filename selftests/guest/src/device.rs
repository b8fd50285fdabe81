// SPDX-License-Identifier: GPL-2.0

//! A vDPA device, and which bus driver has it.

use crate::{
    netdev,
    netlink::{attribute, command, Attributes, Bus, Statistics, MGMTDEV},
    outcome::{Outcome, While},
    sys::{names, read_line, wait_for, write, SOON},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the bus is in sysfs.
pub const BUS: &str = "/sys/bus/vdpa";

/// The address of devices that need a certain one.
pub const MAC: [u8; 6] = [0x02, 0x5e, 0x11, 0x22, 0x33, 0x44];

/// A driver of the vDPA bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Virtio,
    Vhost,
}

impl Driver {
    /// Its name in sysfs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Virtio => "virtio_vdpa",
            Self::Vhost => "vhost_vdpa",
        }
    }
}

/// The names of all devices.
pub fn all() -> Vec<String> {
    names(format!("{BUS}/devices")).into_iter().collect()
}

/// A device that is deleted when the value goes.
pub struct Device {
    name: String,
    /// Whether it is still to be deleted.
    there: bool,
}

impl Device {
    /// Makes a device with this name and no driver.
    pub fn add(name: &str) -> Outcome<Self> {
        Self::add_with(name, |attributes| attributes)
    }

    /// Makes a device with this name and MAC address, and no driver.
    pub fn add_mac(name: &str, mac: [u8; 6]) -> Outcome<Self> {
        Self::add_with(name, |a| a.put(attribute::NET_CFG_MACADDR, &mac))
    }

    /// Makes a device with this name and further attributes, and no driver.
    pub fn add_with(name: &str, more: impl FnOnce(Attributes) -> Attributes) -> Outcome<Self> {
        Self::add_at(MGMTDEV, name, more)
    }

    /// The same at another management device.
    pub fn add_at(
        mgmtdev: &str,
        name: &str,
        more: impl FnOnce(Attributes) -> Attributes,
    ) -> Outcome<Self> {
        let attributes =
            Attributes::named(name.as_bytes()).string(attribute::MGMTDEV_DEV_NAME, mgmtdev);
        Bus::new()?
            .command(command::DEV_NEW, &more(attributes))
            .when(format_args!("dev add {name} at {mgmtdev}"))?;
        Ok(Self::adopt(name))
    }

    /// Takes responsibility for a device that is there.
    pub fn adopt(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            there: true,
        }
    }

    /// Makes a device for a driver in userspace. Returns its character device too.
    pub fn for_vhost(name: &str) -> Outcome<(Self, String)> {
        let device = Self::add_mac(name, MAC)?;
        device.bind(Driver::Vhost)?;
        let path = device.character_device()?;
        Ok((device, path))
    }

    /// Makes a device for the kernel's driver. Returns its interface too, which is up.
    pub fn for_virtio(name: &str) -> Outcome<(Self, String)> {
        Self::for_virtio_with(name, |attributes| attributes)
    }

    /// The same for a device with further attributes.
    pub fn for_virtio_with(
        name: &str,
        more: impl FnOnce(Attributes) -> Attributes,
    ) -> Outcome<(Self, String)> {
        let device = Self::add_with(name, |a| more(a.put(attribute::NET_CFG_MACADDR, &MAC)))?;
        device.bind(Driver::Virtio)?;
        let interface = device.interface()?;
        netdev::up(&interface)?;
        Ok((device, interface))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is in sysfs.
    pub fn path(&self) -> PathBuf {
        Path::new(BUS).join("devices").join(&self.name)
    }

    /// The driver that has it, if there is one.
    pub fn driver(&self) -> Option<String> {
        let link = fs::read_link(self.path().join("driver")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    /// Gives the device to a driver. It must not have one.
    pub fn bind(&self, driver: Driver) -> Outcome {
        write(self.path().join("driver_override"), driver.name())?;
        write(format!("{BUS}/drivers/{}/bind", driver.name()), &self.name)
    }

    /// Takes the device away from its driver.
    pub fn unbind(&self) -> Outcome {
        write(self.path().join("driver/unbind"), &self.name)
    }

    /// The network interface that virtio_vdpa and virtio_net have made.
    pub fn interface(&self) -> Outcome<String> {
        wait_for("a network interface", SOON, || {
            let virtio = names(self.path())
                .into_iter()
                .find(|name| name.starts_with("virtio"));
            Ok(virtio.and_then(|virtio| {
                let net = self.path().join(virtio).join("net");
                names(net).into_iter().next()
            }))
        })
    }

    /// The character device that vhost_vdpa has made.
    pub fn character_device(&self) -> Outcome<String> {
        wait_for("a character device", SOON, || {
            let name = names(self.path())
                .into_iter()
                .find(|name| name.starts_with("vhost-vdpa-"));
            Ok(name
                .map(|name| format!("/dev/{name}"))
                .filter(|path| Path::new(path).exists()))
        })
    }

    /// What a virtqueue has counted.
    pub fn statistics(&self, index: u32) -> Outcome<Statistics> {
        Bus::new()?.statistics(&self.name, index)
    }

    /// Deletes the device, which must work.
    pub fn delete(mut self) -> Outcome {
        self.there = false;
        Bus::new()?
            .delete(&self.name)
            .when(format_args!("dev del {}", self.name))
    }

    /// Leaves it to somebody else to delete the device.
    pub fn forget(mut self) {
        self.there = false;
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.there {
            // A failure shows when the devices that are left are counted.
            let _ = Bus::new().map(|mut bus| bus.delete(&self.name));
        }
    }
}

/// Whether new devices are given to a driver at once.
pub fn set_autoprobe(on: bool) -> Outcome {
    write(
        format!("{BUS}/drivers_autoprobe"),
        if on { "1" } else { "0" },
    )
}

/// Whether new devices are given to a driver at once.
pub fn autoprobe() -> Outcome<bool> {
    Ok(read_line(format!("{BUS}/drivers_autoprobe"))? == "1")
}
