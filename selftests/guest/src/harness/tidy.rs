// SPDX-License-Identifier: GPL-2.0

//! Whether a test left everything as it was.

use super::Report;
use crate::{
    device, module,
    netlink::Bus,
    outcome::Outcome,
    parent::peer,
    sys::{names, wait_for, SOON},
};
use std::collections::BTreeSet;

const INTERFACES: &str = "/sys/class/net";

/// What there was before the test.
pub struct Before {
    interfaces: BTreeSet<String>,
}

impl Before {
    pub fn new() -> Self {
        Self {
            interfaces: names(INTERFACES),
        }
    }

    /// Reports what the test left behind, removes it, and unloads the module.
    pub fn tidy(&self, report: &Report) {
        report.step("looking for devices that are left");
        for name in device::all() {
            report.failure(&format!("device {name} is left"));
            let deleted = Bus::new().and_then(|mut bus| Ok(bus.delete(&name)?));
            report.outcome(deleted);
        }
        report.outcome(self.no_interface_left());
        if module::is_loaded() {
            report.step("unloading the module");
            report.outcome(module::unload());
        }
        report.outcome(peer::unload());
    }

    /// Interfaces go a moment after their device.
    fn no_interface_left(&self) -> Outcome {
        wait_for("no network interface is left", SOON, || {
            let gone = names(INTERFACES).is_subset(&self.interfaces);
            Ok(gone.then_some(()))
        })
    }
}
