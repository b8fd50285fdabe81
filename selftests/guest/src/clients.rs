// SPDX-License-Identifier: GPL-2.0

//! Tests with clients that others wrote, as they come.
//!
//! A test is run with the devices of this module, and then with those of the kernel's own
//! simulator ([`Parent`]). With ours it has to pass. With the simulator how it ended is a
//! result, to compare with, whatever it is. A test
//!
//! - makes its devices by `context.parent`: [`Parent::device`] and [`Parent::port`];
//! - names the client's version with [`Context::version`], which it must;
//! - says what it has seen the client do with [`Context::exercised`];
//! - fails with the request or the feature that was in the way (`fail!`, `check!`), and
//!   skips (`skip!`) with what is missing to try it at all.

mod blkio;
mod dpdk;
mod linux;
mod nested;
mod qemu;
mod rust_vmm;
mod table;
mod virtio_driver;

use crate::{
    device::Device,
    harness::{run_one, say, Context, Test, Totals, Verdict},
    outcome::{Outcome, Stop, While},
    parent::Parent,
    sys,
    vhost::{supported, BASIC},
};
use rvdpa_virtio::features::Features;
use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};
use table::{Row, Table};

/// A test with a client.
#[derive(Clone, Copy)]
pub struct ClientTest {
    /// Its name: the client and the subject.
    pub name: &'static str,
    /// The client, in words.
    pub client: &'static str,
    run: fn(&mut Context) -> Outcome,
    /// Parameters of the module. The simulator knows `use_va` of them.
    parameters: &'static str,
    limit: Duration,
    /// Whether it takes minutes.
    pub slow: bool,
    /// Why there is nothing to try with the simulator.
    not_for_peer: Option<&'static str>,
}

impl ClientTest {
    /// A test that takes less than a minute.
    pub const fn new(
        name: &'static str,
        client: &'static str,
        run: fn(&mut Context) -> Outcome,
    ) -> Self {
        Self {
            name,
            client,
            run,
            parameters: "",
            limit: Duration::from_secs(60),
            slow: false,
            not_for_peer: None,
        }
    }

    /// The same test with parameters for the module.
    pub const fn with(self, parameters: &'static str) -> Self {
        Self { parameters, ..self }
    }

    /// The same test with another limit, in seconds.
    pub const fn seconds(self, limit: u64) -> Self {
        Self {
            limit: Duration::from_secs(limit),
            ..self
        }
    }

    /// The same test, left out of quick runs.
    pub const fn slow(self) -> Self {
        Self { slow: true, ..self }
    }

    /// The same test, for our devices only.
    pub const fn not_for_peer(self, why: &'static str) -> Self {
        Self {
            not_for_peer: Some(why),
            ..self
        }
    }

    /// What is run for one of the two.
    fn test(&self, parent: Parent) -> Test {
        let name = match parent {
            Parent::Rvdpa => self.name,
            Parent::Peer => Box::leak(format!("{}/c-simulator", self.name).into_boxed_str()),
        };
        Test {
            limit: self.limit,
            parent,
            ..Test::new(name, self.run).with(self.parameters)
        }
    }
}

/// All tests, in the order in which they run.
pub fn all() -> Vec<ClientTest> {
    let clients = [
        linux::TESTS,
        dpdk::RINGS,
        dpdk::FRAMES,
        dpdk::PAIRS,
        dpdk::WIRE,
        dpdk::RESTART,
        qemu::TESTS,
        qemu::STOPS,
        qemu::SHADOW,
        qemu::PLUG,
        qemu::MIGRATION,
        rust_vmm::TESTS,
        virtio_driver::TESTS,
        blkio::TESTS,
        nested::TESTS,
    ];
    clients.concat()
}

/// Where a client is that was built from its source.
fn built(name: &str) -> Outcome<PathBuf> {
    let folder = env::var_os("RVDPA_CLIENTS").map(|all| Path::new(&all).join(name));
    match folder.filter(|folder| folder.join("stamp").exists()) {
        Some(folder) => Ok(folder),
        None => Err(Stop::Skipped(format!(
            "{name} is not built: scripts/check-clients does it"
        ))),
    }
}

/// A device that loops and offers packed rings, and its character device.
fn with_packed(parent: Parent, name: &str) -> Outcome<(Device, String)> {
    let wanted = BASIC | Features::RING_PACKED;
    if !supported(parent.mgmtdev())?.contains(Features::RING_PACKED) {
        return Err(Stop::Skipped("there are no packed rings".into()));
    }
    parent.device(name).features(wanted).make()
}

/// What `/dev/kmsg` is told: what comes behind it is no fault of this module.
const PEER_BEGINS: &str = "rvdpa-clients: the kernel's own simulator from here on";

/// Runs tests with each of `parents`: all with ours first, so that nothing that the
/// simulator does to the kernel is in their way. Prints KTAP and a table.
pub fn run_all(tests: &[ClientTest], parents: &[Parent]) -> Outcome<Totals> {
    let mut totals = Totals::default();
    let mut table = Table::new(tests);
    let mut stuck = false;
    say("KTAP version 1");
    if parents.contains(&Parent::Rvdpa) {
        say(&format!("1..{}", tests.len()));
        for (at, test) in tests.iter().enumerate() {
            let verdict = if stuck {
                left_out("an earlier test did not end")
            } else {
                with_version(run_one(&test.test(Parent::Rvdpa))?)
            };
            totals.count(at + 1, test.name, &verdict);
            stuck |= verdict.stuck;
            table.rows[at].set(Parent::Rvdpa, &verdict);
        }
    }
    if parents.contains(&Parent::Peer) {
        sys::write("/dev/kmsg", PEER_BEGINS)?;
        for (row, test) in table.rows.iter_mut().zip(tests) {
            let verdict = match test.not_for_peer {
                Some(why) => left_out(why),
                None if stuck => left_out("an earlier test did not end"),
                None => run_one(&test.test(Parent::Peer)).when(test.name)?,
            };
            stuck |= verdict.stuck;
            row.set(Parent::Peer, &verdict);
            say(&format!("# C simulator: {}: {}", test.name, row.peer));
        }
    }
    table.print();
    Ok(totals)
}

fn left_out(why: &str) -> Verdict {
    Verdict {
        skip: Some(why.to_owned()),
        ..Verdict::default()
    }
}

/// A client that nobody knows the version of is as good as none.
fn with_version(mut verdict: Verdict) -> Verdict {
    if verdict.version.is_none() && verdict.skip.is_none() && verdict.failures.is_empty() {
        verdict
            .failures
            .push("the test did not name the client's version".into());
        say("# the test did not name the client's version");
    }
    verdict
}

impl Row {
    /// Enters how a test ended.
    fn set(&mut self, parent: Parent, verdict: &Verdict) {
        let mut result = match (verdict.failures.first(), &verdict.skip) {
            (Some(failure), _) => format!("failed: {}", without_lines(failure)),
            (None, Some(reason)) => format!("not tried: {reason}"),
            (None, None) => "works".to_owned(),
        };
        if let Some(complaint) = verdict.complaints.first() {
            result.push_str(&format!("; the kernel complained: {complaint}"));
        }
        match parent {
            Parent::Rvdpa => self.rvdpa = result,
            Parent::Peer => self.peer = result,
        }
        if let Some(version) = &verdict.version {
            self.version.clone_from(version);
        }
        // What was seen with ours, or at least with the simulator.
        if self.exercised.is_empty() {
            self.exercised = verdict.exercised.join("; ");
        }
    }
}

/// A failure without the places in our source where it was found.
fn without_lines(failure: &str) -> String {
    let parts = failure.split(": ").filter(|part| !part.contains(".rs:"));
    parts.collect::<Vec<_>>().join(": ")
}
