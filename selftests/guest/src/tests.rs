// SPDX-License-Identifier: GPL-2.0

//! The tests, one module for each subject.

mod affinity;
mod answers;
mod bad_input;
mod capture;
mod coalescing;
mod contract;
mod control_queue;
mod debugfs;
mod delivery;
mod ethtool;
mod fail_nth;
mod filter;
mod headers;
mod hostile;
mod in_place;
mod kunit;
mod leaks;
mod lifetime;
mod link;
mod link_filter;
mod mapping;
mod matrix;
mod memory;
mod mergeable;
mod migration;
mod multiqueue;
mod negotiation;
mod outside;
mod parameters;
mod polling;
mod ports;
mod rings;
mod shape;
mod soak;
mod steering;
mod switch_raw;
mod tool;
mod traffic;
mod virtio;
mod xdp;

pub use leaks::usage;

use crate::{
    device,
    harness::Test,
    ioctl, netdev,
    outcome::{Outcome, Stop, While},
    sys::modprobe,
    vhost,
};

/// All tests, in the order in which they run.
pub fn all() -> Vec<Test> {
    let subjects = [
        parameters::TESTS,
        kunit::TESTS,
        tool::TESTS,
        answers::TESTS,
        bad_input::TESTS,
        shape::TESTS,
        negotiation::TESTS,
        virtio::TESTS,
        filter::TESTS,
        rings::TESTS,
        rings::STATE,
        rings::NOTIFICATIONS,
        rings::IN_ORDER,
        polling::TESTS,
        control_queue::TESTS,
        control_queue::CHAINS,
        control_queue::FILTERS,
        control_queue::OFFLOADS,
        control_queue::HASHING,
        control_queue::COALESCING,
        control_queue::STATISTICS,
        control_queue::ANNOUNCE,
        multiqueue::TESTS,
        multiqueue::RINGS,
        headers::CHECKSUMS,
        headers::TESTS,
        headers::LIES,
        mergeable::TESTS,
        switch_raw::TESTS,
        switch_raw::PORTS,
        switch_raw::TROUBLE,
        migration::TRAFFIC,
        migration::TESTS,
        migration::TROUBLE,
        debugfs::TESTS,
        debugfs::TABLES,
        debugfs::LIFETIMES,
        memory::TESTS,
        memory::VA_TESTS,
        mapping::CHANGES,
        mapping::BATCHES,
        mapping::TABLES,
        mapping::RANGES,
        mapping::ENDS,
        mapping::PERSIST,
        mapping::SPACES,
        mapping::RINGS,
        mapping::MILLION,
        mapping::DOORBELLS,
        mapping::DOORBELL_PAGES,
        mapping::CLIENTS,
        mapping::LOST_MEMORY,
        affinity::TESTS,
        in_place::TESTS,
        coalescing::TESTS,
        ports::TESTS,
        lifetime::TESTS,
        leaks::TESTS,
        soak::TESTS,
        outside::TESTS,
        outside::TIGHT,
        fail_nth::TESTS,
        traffic::TESTS,
        capture::TESTS,
        link::TESTS,
        link_filter::TESTS,
        ethtool::TESTS,
        steering::TESTS,
        xdp::TESTS,
        matrix::TESTS,
    ];
    let mut all = subjects.concat();
    all.extend(contract::tests());
    all
}

/// How many mappings an address space has room for. Each page of a client's memory can be one,
/// where it is scattered; `vhost_vdpa` takes 2048 without a word, and says `EFAULT` then.
const MAPPINGS: u64 = 65536;

/// What all tests need.
pub fn prepare() -> Outcome {
    if !nix::unistd::Uid::effective().is_root() {
        return Err(Stop::Failed("run the tests as root, in a guest".into()));
    }
    // In this order, for a new device goes to the driver that was there first.
    modprobe(&["virtio_vdpa", "virtio_net"]).when("modules")?;
    vhost::load(MAPPINGS)?;
    // Tests say who is to have a device.
    device::set_autoprobe(false)?;
    netdev::silence_new_ones()?;
    ioctl::unlimited_pinning()
}
