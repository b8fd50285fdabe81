// SPDX-License-Identifier: GPL-2.0

//! The tests, one module for each subject.

mod bad_input;
mod filter;
mod hostile;
mod leaks;
mod lifetime;
mod memory;
mod negotiation;
mod parameters;
mod rings;
mod shape;
mod tool;
mod traffic;
mod virtio;

use crate::{
    device,
    harness::Test,
    ioctl, netdev,
    outcome::{Outcome, Stop, While},
    sys::modprobe,
};

/// All tests, in the order in which they run.
pub fn all() -> Vec<Test> {
    let subjects = [
        parameters::TESTS,
        tool::TESTS,
        bad_input::TESTS,
        shape::TESTS,
        negotiation::TESTS,
        virtio::TESTS,
        filter::TESTS,
        rings::TESTS,
        memory::TESTS,
        memory::VA_TESTS,
        hostile::TESTS,
        hostile::ODD,
        hostile::RACES,
        lifetime::TESTS,
        leaks::TESTS,
        traffic::TESTS,
    ];
    subjects.concat()
}

/// What all tests need.
pub fn prepare() -> Outcome {
    if !nix::unistd::Uid::effective().is_root() {
        return Err(Stop::Failed("run the tests as root, in a guest".into()));
    }
    modprobe(&["vdpa", "virtio_vdpa", "vhost_vdpa", "virtio_net"]).when("modules")?;
    // Tests say who is to have a device.
    device::set_autoprobe(false)?;
    netdev::silence_new_ones()?;
    ioctl::unlimited_pinning()
}
