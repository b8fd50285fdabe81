// SPDX-License-Identifier: GPL-2.0

//! Whose devices a test uses.

use crate::{
    device::MAC,
    netlink::MGMTDEV,
    outcome::{Outcome, Stop},
    vhost::{NewDevice, SWITCH},
};

/// Who makes the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// This module.
    Rvdpa,
    /// The kernel's own simulator, in C.
    Peer,
}

impl Parent {
    /// The one that is meant by a word in arguments.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "rvdpa" => Some(Self::Rvdpa),
            "peer" => Some(Self::Peer),
            _ => None,
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rvdpa => "rvdpa_sim",
            Self::Peer => "C simulator",
        }
    }

    /// The management device whose devices loop.
    pub fn mgmtdev(self) -> &'static str {
        match self {
            Self::Rvdpa => MGMTDEV,
            Self::Peer => "vdpasim_net",
        }
    }

    /// A device that is to be made, and loops. Its attributes are those of
    /// [`NewDevice::named`].
    pub fn device(self, name: &str) -> NewDevice<'_> {
        NewDevice {
            mgmtdev: self.mgmtdev(),
            mac: MAC,
            ..NewDevice::named(name)
        }
    }

    /// A port of a switch that is to be made, with an address of its own. Skips the test
    /// where there is no switch.
    pub fn port(self, name: &str, number: u8) -> Outcome<NewDevice<'_>> {
        match self {
            Self::Rvdpa => Ok(NewDevice {
                mgmtdev: SWITCH,
                ..NewDevice::port(name, number)
            }),
            Self::Peer => Err(Stop::Skipped("there is no switch".into())),
        }
    }
}

/// The kernel's own simulator.
pub mod peer {
    use crate::{
        outcome::{Outcome, Stop, While},
        sys::{modprobe, read_line, wait_for, SOON},
    };
    use nix::{
        errno::Errno,
        kmod::{delete_module, finit_module, DeleteModuleFlags, ModuleInitFlags},
    };
    use std::{
        env,
        ffi::CString,
        fs::File,
        path::{Path, PathBuf},
    };

    /// Its modules, in the order in which they are loaded.
    const MODULES: [&str; 3] = ["vringh", "vdpa_sim", "vdpa_sim_net"];

    fn folder() -> Option<PathBuf> {
        env::var_os("RVDPA_PEERS").map(PathBuf::from)
    }

    /// Whether its modules were built for this kernel.
    pub fn is_built() -> bool {
        folder().is_some_and(|folder| folder.join("stamp").exists())
    }

    fn is_loaded(name: &str) -> bool {
        Path::new("/sys/module").join(name).exists()
    }

    /// Loads it. It reaches memory as `rvdpa_sim` does with these parameters.
    pub fn load(parameters: &str) -> Outcome {
        let Some(folder) = folder().filter(|_| is_built()) else {
            return Err(Stop::Skipped("it is not built: run scripts/peers".into()));
        };
        modprobe(&["vhost_iotlb", "vdpa"])?;
        for name in MODULES {
            let file = File::open(folder.join(name).with_extension("ko")).when(name)?;
            let parameters = match name {
                // Its own limit of mappings is low.
                "vdpa_sim" if parameters.split(' ').any(|word| word == "use_va=1") => {
                    c"use_va=1 max_iotlb_entries=2097152"
                }
                "vdpa_sim" => c"use_va=0 max_iotlb_entries=2097152",
                _ => c"",
            };
            finit_module(&file, parameters, ModuleInitFlags::empty())
                .when(format_args!("insmod {name}"))?;
        }
        Ok(())
    }

    /// Unloads what there is of it.
    pub fn unload() -> Outcome {
        for name in MODULES.into_iter().rev().filter(|name| is_loaded(name)) {
            let refcnt = Path::new("/sys/module").join(name).join("refcnt");
            wait_for(&format!("nobody uses {name}"), SOON, || {
                Ok((read_line(&refcnt)? == "0").then_some(()))
            })?;
            let name = CString::new(name).expect("no NUL");
            match delete_module(&name, DeleteModuleFlags::O_NONBLOCK) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno).when(format_args!("rmmod {name:?}")),
            }
        }
        Ok(())
    }
}
