// SPDX-License-Identifier: GPL-2.0

//! What the parts of a device share: its name, its address, and that it needs a reset.

use crate::{
    vdpa::{
        self,
        workqueue::QueueHandle,
        Callback, //
    },
    virtio::{
        fault::Fault,
        net::MacAddress, //
    },
};
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    },
};

/// Shared by a device and its workers.
pub(super) struct Shared {
    pub(super) name: CString,
    /// Where the workers run.
    pub(super) workers: QueueHandle,
    /// The config interrupt.
    pub(super) config_interrupt: Arc<Callback>,
    /// Counts changes of the configuration.
    generation: Atomic<u32>,
    /// Whether the device has run into something that only a reset mends.
    needs_reset: AtomicFlag,
    /// The MAC address in force, as a number, so that the datapath can read it without a
    /// lock.
    mac: Atomic<u64>,
}

impl Shared {
    pub(super) fn new(
        name: &CStr,
        workers: QueueHandle,
        config_interrupt: Arc<Callback>,
        mac: MacAddress,
    ) -> Result<Self> {
        Ok(Self {
            name: CString::try_from_fmt(fmt!("{name}"))?,
            workers,
            config_interrupt,
            generation: Atomic::new(0),
            needs_reset: AtomicFlag::new(false),
            mac: Atomic::new(to_number(mac)),
        })
    }

    pub(super) fn mac(&self) -> MacAddress {
        let [_, _, mac @ ..] = self.mac.load(Relaxed).to_be_bytes();
        MacAddress(mac)
    }

    pub(super) fn set_mac(&self, mac: MacAddress) {
        self.mac.store(to_number(mac), Relaxed);
        self.config_changed();
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    /// Notes that the configuration is not what it was.
    pub(super) fn config_changed(&self) {
        self.generation.fetch_add(1, Relaxed);
    }

    pub(super) fn needs_reset(&self) -> bool {
        self.needs_reset.load(Relaxed)
    }

    /// The device is as new.
    pub(super) fn mended(&self) {
        self.needs_reset.store(false, Relaxed);
    }

    /// Tells the driver, and the log, that a virtqueue was stopped because of what the
    /// driver did. No lock may be held.
    pub(super) fn broke(&self, index: u16, role: &str, fault: &Fault) {
        self.needs_reset.store(true, Relaxed);
        self.config_interrupt.raise();
        if vdpa::may_log() {
            pr_err!(
                "{}: virtqueue {index} ({role}) stopped until reset: {}\n",
                &*self.name,
                format_args!("{fault}")
            );
        }
    }

    /// Says in the log why something that a driver asked for was refused.
    pub(super) fn refused(&self, why: core::fmt::Arguments<'_>) {
        if vdpa::may_log() {
            pr_warn!("{}: {why}\n", &*self.name);
        }
    }
}

fn to_number(MacAddress([a, b, c, d, e, f]): MacAddress) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}
