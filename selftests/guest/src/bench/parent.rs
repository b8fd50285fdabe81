// SPDX-License-Identifier: GPL-2.0

//! Whose device it is.

use crate::{
    device, module, named,
    outcome::{Outcome, Stop, While},
    sys::{self, modprobe, wait_for},
};
use std::{env, path::Path, time::Duration};

named! {
    /// A module that makes vDPA devices.
    Parent {
        /// This module.
        Ours = "rvdpa_sim",
        /// The kernel's simulator.
        C = "vdpa_sim",
    }
}

named! {
    /// How memory of a client of vhost_vdpa is reached.
    Memory {
        /// By the pages that vhost_vdpa pins.
        Pa = "pa",
        /// By the client's virtual addresses.
        Va = "va",
    }
}

/// A parent whose modules are loaded until the value goes.
pub struct Loaded(Parent);

/// The C simulator's modules, in the order in which they are loaded.
const C_MODULES: [&str; 3] = ["vringh", "vdpa_sim", "vdpa_sim_net"];

impl Parent {
    /// The management device whose devices give back what they are sent.
    pub fn loopback(self) -> &'static str {
        match self {
            Self::Ours => "rvdpasim_net",
            Self::C => "vdpasim_net",
        }
    }

    /// Loads the modules.
    pub fn load(self, memory: Memory, more: &str) -> Outcome<Loaded> {
        modprobe(&["vdpa", "vhost_vdpa", "virtio_vdpa", "virtio_net"])?;
        // Devices are given to the driver that is meant.
        device::set_autoprobe(false)?;
        let use_va = u8::from(memory == Memory::Va);
        match self {
            Self::Ours => module::load(&format!("use_va={use_va} {more}"))?,
            Self::C => {
                let folder = env::var("RVDPA_PEERS")
                    .map_err(|_| Stop::Skipped("RVDPA_PEERS names no C simulator".into()))?;
                for name in C_MODULES {
                    if Path::new("/sys/module").join(name).exists() {
                        continue;
                    }
                    let file = format!("{folder}/{name}.ko");
                    let parameter = format!("use_va={use_va}");
                    let mut words = vec!["insmod", &file];
                    if name == "vdpa_sim" {
                        words.push(&parameter);
                    }
                    sys::run(&words)?;
                }
            }
        }
        Ok(Loaded(self))
    }
}

impl Loaded {
    /// Unloads the modules, which must work.
    pub fn unload(self) -> Outcome {
        let parent = self.0;
        std::mem::forget(self);
        match parent {
            Parent::Ours => module::unload(),
            Parent::C => unload_c(),
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = match self.0 {
            Parent::Ours => module::unload(),
            Parent::C => unload_c(),
        };
    }
}

fn unload_c() -> Outcome {
    // Devices are freed a moment after they were deleted.
    wait_for("rmmod vdpa_sim_net", Duration::from_secs(10), || {
        let output = sys::output(&["rmmod", "vdpa_sim_net"])?;
        Ok(output.status.success().then_some(()))
    })?;
    sys::run(&["rmmod", "vdpa_sim"]).when("the C simulator")?;
    Ok(())
}
