// SPDX-License-Identifier: GPL-2.0

//! The parents whose devices are compared, each loaded when it is its turn.

use crate::{
    arena::{provide_huge_pages, Kind},
    device, module, named, netdev,
    outcome::{Outcome, While},
    parent::{peer, Parent},
    sys::modprobe,
    vhost,
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

impl Memory {
    /// The memory of a client that is reached so. By physical addresses it is in few pieces,
    /// so that it is the same each time.
    pub fn kind(self) -> Kind {
        match self {
            Self::Pa => Kind::Huge,
            Self::Va => Kind::Shared,
        }
    }
}

/// How many of 2 MiB are set aside for such clients.
const HUGE_PAGES: u32 = 128;

/// A subject whose modules are loaded until the value goes.
pub struct Loaded(Subject);

impl Loaded {
    /// Loads what is needed. `more` are parameters of this module.
    pub fn new(subject: Subject, memory: Memory, more: &str) -> Outcome<Self> {
        // As many mappings as anybody wants; it is 2048 without a word.
        vhost::load(1 << 21)?;
        modprobe(&["vdpa", "virtio_vdpa", "virtio_net"])?;
        provide_huge_pages(HUGE_PAGES)?;
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
    // For scripts/profile: where the functions of the module are, as long as it is there.
    if let Some(file) = std::env::var_os("RVDPA_SYMBOLS") {
        std::fs::copy("/proc/kallsyms", file).when("copying /proc/kallsyms")?;
    }
    match subject {
        Subject::Ours => module::unload(),
        Subject::C => peer::unload(),
        Subject::Reference => Ok(()),
    }
}
