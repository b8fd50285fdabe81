// SPDX-License-Identifier: GPL-2.0

//! The parents whose devices are compared, each loaded when it is its turn.

use crate::{
    device, module, named, netdev,
    outcome::Outcome,
    parent::{peer, Parent},
    sys::modprobe,
};

named! {
    /// What is measured.
    Subject {
        /// A device of this module.
        Ours = "rvdpa_sim",
        /// One of the kernel's own simulator.
        C = "vdpa_sim",
        /// What the kernel has for the same, without vDPA.
        Reference = "reference",
    }
}

impl Subject {
    /// Whose devices they are, if there is a device.
    pub fn parent(self) -> Option<Parent> {
        match self {
            Self::Ours => Some(Parent::Rvdpa),
            Self::C => Some(Parent::Peer),
            Self::Reference => None,
        }
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

/// A subject whose modules are loaded until the value goes.
pub struct Loaded(Subject);

impl Loaded {
    /// Loads what is needed. `more` are parameters of this module.
    pub fn new(subject: Subject, memory: Memory, more: &str) -> Outcome<Self> {
        modprobe(&["vdpa", "vhost_vdpa", "virtio_vdpa", "virtio_net"])?;
        // Devices are given to the driver that is meant, and interfaces send what they
        // are told to.
        device::set_autoprobe(false)?;
        netdev::silence_new_ones()?;
        let use_va = match memory {
            Memory::Pa => "use_va=0",
            Memory::Va => "use_va=1",
        };
        match subject {
            Subject::Ours => module::load(&format!("{use_va} {more}"))?,
            Subject::C => peer::load(use_va)?,
            Subject::Reference => {}
        }
        Ok(Self(subject))
    }

    /// Unloads it, which must work.
    pub fn unload(self) -> Outcome {
        let subject = self.0;
        std::mem::forget(self);
        unload(subject)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = unload(self.0);
    }
}

fn unload(subject: Subject) -> Outcome {
    match subject {
        Subject::Ours => module::unload(),
        Subject::C => peer::unload(),
        Subject::Reference => Ok(()),
    }
}
