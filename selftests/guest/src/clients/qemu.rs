// SPDX-License-Identifier: GPL-2.0

//! QEMU's vhost-vdpa backend.

mod migration;
mod plug;
mod set_up;
mod shadow;
mod stops;

pub use migration::TESTS as MIGRATION;
pub use plug::TESTS as PLUG;
pub use set_up::TESTS;
pub use shadow::TESTS as SHADOW;
pub use stops::TESTS as STOPS;

use super::ClientTest;
use crate::{
    arena::Kind,
    check,
    device::Device,
    frame,
    harness::Context,
    outcome::{Outcome, Stop},
    parent::Parent,
    qemu::{finish, Flow, Machine, Net, Setup, Station},
    sys::{names, wait_for},
    vhost::{self, NewDevice, Plan},
};
use rvdpa_virtio::features::Features;
use std::{fs, time::Duration};

/// What the table calls it.
const CLIENT: &str = "QEMU vhost-vdpa";

/// What precedes QEMU's complaints.
const SAID: &str = "QEMU said: ";

/// How long frames may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many frames are on the way at a time: fewer than there are receive buffers.
const BURST: u64 = 64;

/// What marks the end of what a station is to see.
const MARK: u64 = u64::MAX;

/// What the driver on the other side wants. Its memory is of the kind that always works.
fn plan() -> Plan {
    Plan {
        kind: Kind::Shared,
        ..Plan::default()
    }
}

/// A test of this client.
const fn test(name: &'static str, run: fn(&mut Context) -> Outcome) -> ClientTest {
    ClientTest::new(name, CLIENT, run).seconds(240)
}

/// The device that is QEMU's, and who is on the other side.
///
/// With a switch that is another device, with a driver of ours; without one the device's own
/// frames come back. The driver goes before its device, which cannot be deleted while it is
/// open.
struct Network {
    peer: Option<vhost::Net>,
    devices: Vec<Device>,
    /// The character device for QEMU.
    path: String,
    /// Its address.
    mac: [u8; 6],
}

impl Network {
    /// Makes devices. `change` says what is asked of QEMU's.
    fn new(
        context: &Context,
        change: impl FnOnce(NewDevice<'static>) -> NewDevice<'static>,
    ) -> Outcome<Self> {
        if context.parent == Parent::Peer {
            let new = change(context.parent.device("machine"));
            let (device, path) = new.make()?;
            return Ok(Self {
                peer: None,
                devices: vec![device],
                path,
                mac: new.mac,
            });
        }
        let new = change(context.parent.port("machine", 1)?);
        let (device, path) = new.make()?;
        let (other, other_path) = context.parent.port("peer", 9)?.make()?;
        let mut peer = vhost::Net::new(&other_path, plan())?;
        peer.fill_rx()?;
        Ok(Self {
            peer: Some(peer),
            devices: vec![other, device],
            path,
            mac: new.mac,
        })
    }

    /// A machine with a card for the device.
    fn machine(&self, name: &'static str) -> Setup {
        Setup {
            name,
            path: self.path.clone(),
            mac: self.mac,
            netdev: "",
            card: "",
            incoming: false,
        }
    }

    /// Sends so many frames each way, and waits for all of them.
    fn pass(&mut self, net: &mut Net, count: u64) -> Outcome {
        let Some(peer) = &mut self.peer else {
            let mut flow = Flow::new(net.mac, net.mac);
            while flow.sent < count {
                flow.send(net, BURST.min(count - flow.sent))?;
                finish(&mut flow, net)?;
            }
            return Ok(());
        };
        let mut out = Flow::new(net.mac, peer.mac);
        let mut back = Flow::new(peer.mac, net.mac);
        while out.sent < count {
            let burst = BURST.min(count - out.sent);
            out.send(net, burst)?;
            finish(&mut out, peer)?;
            // The switch has learned where the machine is.
            back.send(peer, burst)?;
            finish(&mut back, net)?;
        }
        Ok(())
    }

    /// Takes what is still on its way to the machine, whatever it is.
    fn settle(&mut self, net: &mut Net) -> Outcome {
        let Some(peer) = &mut self.peer else {
            return Ok(());
        };
        let mark = frame::make(60, net.mac, peer.mac, MARK);
        Station::tidy(peer)?;
        check!(peer.add_frame(&mark), "no room for the mark");
        peer.send()?;
        wait_for("the mark", PATIENCE, || {
            while let Some(got) = Station::take(net)? {
                net.tidy()?;
                if frame::number(&got) == Some(MARK) {
                    return Ok(Some(()));
                }
            }
            Ok(None)
        })
    }

    /// How the frames went, in words.
    fn way(&self) -> &'static str {
        match self.peer {
            Some(_) => "each way over the switch",
            None => "looped",
        }
    }

    /// Deletes the devices.
    fn delete(self) -> Outcome {
        drop(self.peer);
        self.devices.into_iter().try_for_each(Device::delete)
    }
}

/// Runs QEMU while `body` does, and ends it. What QEMU complains of goes with the outcome.
fn with_machine(
    context: &mut Context,
    setup: &Setup,
    body: impl FnOnce(&mut Context, &mut Machine) -> Outcome,
) -> Outcome {
    context.step("starting QEMU");
    let mut machine = Machine::start(setup)?;
    context.version(machine.qmp.version());
    let result = body(context, &mut machine);
    let refused = machine.refused();
    if !refused.is_empty() {
        context.note(format_args!("refused: {}", refused.join("; ")));
    }
    match result {
        Ok(()) => {
            context.step("ending QEMU");
            let said = machine.quit()?;
            if !said.is_empty() {
                context.note(format_args!("QEMU said: {said}"));
            }
            Ok(())
        }
        Err(Stop::Failed(text)) => {
            // Once, where there are several machines.
            if !text.contains(SAID) {
                note_queues(context);
            }
            let said = machine.said();
            Err(Stop::Failed(format!("{text}; {SAID}{said}")))
        }
        skipped => skipped,
    }
}

/// Shows where the virtqueues of our devices are, while there are any.
fn note_queues(context: &mut Context) {
    const DEVICES: &str = "/sys/kernel/debug/rvdpa_sim/devices";
    for name in names(DEVICES) {
        let table = fs::read_to_string(format!("{DEVICES}/{name}/queues")).unwrap_or_default();
        for line in table.lines() {
            context.note(format_args!("{name}: {line}"));
        }
    }
}

/// What a device with one pair offers by default, without what QEMU refuses to shadow: features
/// of the ring that it does not know itself, and some of the network card. `using.rst` has it.
const SHADOWED: Features = Features(0x8000_0003_209f_bbaf);

/// A device whose virtqueues QEMU can shadow.
fn can_be_shadowed(new: NewDevice<'_>) -> NewDevice<'_> {
    // The simulator offers nothing else.
    if new.mgmtdev == Parent::Peer.mgmtdev() {
        new
    } else {
        new.features(SHADOWED)
    }
}
