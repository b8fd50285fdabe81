// SPDX-License-Identifier: GPL-2.0

//! What the parts of a device share: its name, what its configuration says, and that it
//! needs a reset.

use super::parameters::Service;
use crate::{
    compat,
    vdpa::{
        self,
        workqueue::QueueHandle,
        Callback, //
    },
    virtio::{
        fault::Fault,
        net::{
            MacAddress,
            NetConfig, //
        },
    },
};
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Full,
            Relaxed, //
        },
        Arc, //
    },
};

/// Whether the driver is to announce itself.
mod announce {
    /// It cannot, or does not run.
    pub(super) const NEVER: u32 = 0;
    /// It is not, but could.
    pub(super) const QUIET: u32 = 1;
    /// It is.
    pub(super) const WANTED: u32 = 2;
}

/// Shared by a device and its workers.
pub(super) struct Shared {
    pub(super) name: CString,
    /// Where the workers run.
    pub(super) workers: QueueHandle,
    pub(super) service: Service,
    /// The config interrupt.
    pub(super) config_interrupt: Arc<Callback>,
    /// Counts changes of the configuration.
    generation: Atomic<u32>,
    /// Whether the device has run into something that only a reset mends.
    needs_reset: AtomicFlag,
    /// The MAC address in force, as a number, so that the datapath can read it without a
    /// lock.
    mac: Atomic<u64>,
    /// Whether there is a carrier.
    link: AtomicFlag,
    /// Whether the driver is to announce itself: one of [`announce`].
    announce: Atomic<u32>,
    /// The index of the control queue, which follows negotiation.
    control_index: Atomic<u32>,
}

impl Shared {
    pub(super) fn new(
        name: &CStr,
        workers: QueueHandle,
        service: Service,
        config_interrupt: Arc<Callback>,
        mac: MacAddress,
    ) -> Result<Self> {
        Ok(Self {
            name: CString::try_from_fmt(fmt!("{name}"))?,
            workers,
            service,
            config_interrupt,
            generation: Atomic::new(0),
            needs_reset: AtomicFlag::new(false),
            mac: Atomic::new(to_number(mac)),
            link: AtomicFlag::new(true),
            announce: Atomic::new(announce::NEVER),
            control_index: Atomic::new(2),
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

    /// Whether there is a carrier.
    #[inline]
    pub(super) fn link_is_up(&self) -> bool {
        self.link.load(Relaxed)
    }

    /// Sets whether there is a carrier. Returns whether that is new.
    pub(super) fn set_link(&self, up: bool) -> bool {
        let changed = self.link.xchg(up, Full) != up;
        if changed {
            self.config_changed();
        }
        changed
    }

    /// Sets whether there is a driver that can announce itself. It is not to do so yet.
    pub(super) fn set_announces(&self, announces: bool) {
        let new = if announces {
            announce::QUIET
        } else {
            announce::NEVER
        };
        if self.announce.xchg(new, Full) == announce::WANTED {
            self.config_changed();
        }
    }

    /// Asks the driver to announce itself. Fails with `EOPNOTSUPP` if it cannot, or does not
    /// run.
    pub(super) fn ask_to_announce(&self) -> Result {
        match self
            .announce
            .cmpxchg(announce::QUIET, announce::WANTED, Full)
        {
            Ok(_) => self.config_changed(),
            // It may not have seen it yet.
            Err(announce::WANTED) => {}
            Err(_) => return Err(compat::eopnotsupp()),
        }
        self.config_interrupt.raise();
        Ok(())
    }

    /// Notes that the driver has seen that it is to announce itself.
    pub(super) fn announced(&self) {
        let result = self
            .announce
            .cmpxchg(announce::WANTED, announce::QUIET, Full);
        if result.is_ok() {
            self.config_changed();
        }
    }

    /// Whether the driver is to announce itself.
    pub(super) fn wants_announcement(&self) -> bool {
        self.announce.load(Relaxed) == announce::WANTED
    }

    /// The status in the configuration: `VIRTIO_NET_S_*`.
    pub(super) fn net_status(&self) -> u16 {
        let mut status = 0;
        if self.link_is_up() {
            status |= NetConfig::LINK_UP;
        }
        if self.wants_announcement() {
            status |= NetConfig::ANNOUNCE;
        }
        status
    }

    /// The index of the control queue.
    #[inline]
    pub(super) fn control_index(&self) -> u16 {
        // It was one.
        self.control_index.load(Relaxed) as u16
    }

    /// Sets the index of the control queue, as it was negotiated.
    pub(super) fn set_control_index(&self, index: u16) {
        self.control_index.store(index.into(), Relaxed);
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    /// Notes that the configuration is not what it was.
    fn config_changed(&self) {
        self.generation.fetch_add(1, Relaxed);
    }

    pub(super) fn needs_reset(&self) -> bool {
        self.needs_reset.load(Relaxed)
    }

    /// The device is as new.
    pub(super) fn mended(&self) {
        self.needs_reset.store(false, Relaxed);
    }

    /// Only a reset mends the device.
    pub(super) fn break_down(&self) {
        self.needs_reset.store(true, Relaxed);
    }

    /// Tells the driver, and the log, that a virtqueue was stopped because of what the
    /// driver did. No lock may be held.
    pub(super) fn broke(&self, index: u16, role: &str, fault: &Fault) {
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
