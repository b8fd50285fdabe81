// SPDX-License-Identifier: GPL-2.0

//! A driver in userspace that is moved from one port of a switch to another: no frame comes
//! twice, and each one that did not come is counted.

mod moves;
mod settings;
mod stream;
mod traffic;
mod trouble;

pub use moves::TESTS;
pub use traffic::TESTS as TRAFFIC;
pub use trouble::TESTS as TROUBLE;

use super::rings::kind;
use crate::{
    check_eq,
    device::Device,
    fail, frame,
    harness::Context,
    outcome::{Outcome, While},
    sys,
    vhost::{
        supported, Destination, Format, Manner, Net, NewDevice, Plan, Received, State, SWITCH,
    },
};
use rvdpa_virtio::{features::Features, layout::packed::Slot, net::NetHeader};
use settings::Settings;
use std::{fs, path::Path, time::Duration};

/// The same test with rings of each kind, in PA mode and in VA mode.
macro_rules! each_kind {
    ($($name:literal, $run:expr;)*) => {
        &[
            $(
                $crate::tests::migration::kind_of!("split", $name, $run, Split, false),
                $crate::tests::migration::kind_of!("packed", $name, $run, Packed, false),
                $crate::tests::migration::kind_of!("split_in_order", $name, $run, Split, true),
                $crate::tests::migration::kind_of!("packed_in_order", $name, $run, Packed, true),
                $crate::tests::migration::kind_of!("va_split", $name, $run, Split, false)
                    .with("use_va=1"),
                $crate::tests::migration::kind_of!("va_packed", $name, $run, Packed, false)
                    .with("use_va=1"),
            )*
        ]
    };
}
use each_kind;

/// A test with rings of one kind.
macro_rules! kind_of {
    ($kind:literal, $name:literal, $run:expr, $format:ident, $in_order:literal) => {
        $crate::harness::Test::new(concat!("migration.", $kind, ".", $name), |context| {
            let format = $crate::vhost::Format::$format;
            let in_order = $in_order;
            $run(
                context,
                $crate::tests::migration::Rings { format, in_order },
            )
        })
        .seconds(60)
    };
}
use kind_of;

/// The kind of rings.
#[derive(Clone, Copy)]
struct Rings {
    format: Format,
    in_order: bool,
}

/// How many descriptors a ring has.
const SIZE: u16 = 64;

/// How long to wait for what comes at once where nothing else is done.
const LIMIT: Duration = Duration::from_secs(30);

/// How many queue pairs there are.
const PAIRS: usize = 4;

impl Rings {
    /// What a device with such rings offers: all there is, but for what changes headers.
    fn features(self) -> Outcome<Features> {
        let on_demand = Features::RING_PACKED
            | Features::IN_ORDER
            | Features::NOTIFICATION_DATA
            | Features::NET_HASH_REPORT
            | Features::NET_STANDBY;
        let mut features = supported(SWITCH)?.without(on_demand);
        if self.format == Format::Packed {
            features = features | Features::RING_PACKED;
        }
        if self.in_order {
            features = features | Features::IN_ORDER;
        }
        Ok(features)
    }

    /// A place so many chains of one descriptor before that of a new ring.
    fn before_start(self, count: u16) -> u16 {
        match self.format {
            Format::Split => 0_u16.wrapping_sub(count),
            // On the lap before, which has the other wrap counter.
            Format::Packed => Slot {
                index: SIZE - count,
                wrap: false,
            }
            .to_bits(),
        }
    }
}

/// A port of the switch, for a driver in userspace.
struct Port {
    device: Device,
    path: String,
}

impl Port {
    fn new(name: &str, number: u8, features: Features) -> Outcome<Self> {
        let new = NewDevice::port(name, number).features(features);
        let (device, path) = new.pairs(PAIRS as u16).make()?;
        Ok(Self { device, path })
    }

    fn name(&self) -> &str {
        self.device.name()
    }

    /// What the switch has counted of it.
    fn counts(&self) -> Outcome<Counts> {
        mount_debugfs()?;
        let path = Path::new(DEBUGFS).join("switches").join(SWITCH);
        let text = fs::read_to_string(path.join("ports")).when("ports")?;
        let mut lines = text.lines().map(|line| line.split_whitespace());
        let columns: Vec<&str> = lines.next().when("a header line")?.collect();
        for words in lines {
            let words: Vec<&str> = words.collect();
            if words.last() != Some(&self.name()) {
                continue;
            }
            let get = |column: &str| -> Outcome<u64> {
                let at = columns.iter().position(|name| *name == column);
                words[at.when(column)?].parse().when(column)
            };
            return Ok(Counts {
                received_drops: get("received_drops")?,
                sent_drops: get("sent_drops")?,
                filtered: get("filtered")?,
            });
        }
        fail!("{} is not in {text}", self.name())
    }

    /// Takes the link away, or gives it back.
    fn link(&self, word: &str) -> Outcome {
        mount_debugfs()?;
        let file = Path::new(DEBUGFS).join("devices").join(self.name());
        sys::write(file.join("link"), word)
    }
}

const DEBUGFS: &str = "/sys/kernel/debug/rvdpa_sim";

fn mount_debugfs() -> Outcome {
    if !Path::new(DEBUGFS).exists() {
        sys::run(&["mount", "-t", "debugfs", "none", "/sys/kernel/debug"])?;
    }
    Ok(())
}

/// Frames that did not get through at a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    received_drops: u64,
    sent_drops: u64,
    filtered: u64,
}

impl Counts {
    /// Those that somebody else sent to it.
    fn not_received(self) -> u64 {
        self.received_drops + self.filtered
    }
}

/// A driver that is moved between two ports. The driver goes first: a device that is open
/// cannot be deleted.
struct Mover {
    net: Net,
    settings: Settings,
    /// The port where it is, and the other one.
    here: Port,
    there: Port,
}

impl Mover {
    /// Has the driver, whose device was suspended, go on at the other port, and closes the
    /// one that it was at.
    fn go_on(&mut self, state: &State, manner: Manner) -> Outcome {
        let destination = Destination::open(&self.there.path, state)?;
        let destination = destination.when("negotiation at the other device")?;
        let settings = self.settings;
        let old = self
            .net
            .go_on(destination, state, manner, |net| settings.ask(net))?;
        settings.ask_enabled(&mut self.net)?;
        drop(old);
        std::mem::swap(&mut self.here, &mut self.there);
        Ok(())
    }

    /// Waits for a frame to come on any pair.
    fn wait_receive(&mut self) -> Outcome<Received> {
        let got = sys::wait_for("a frame for the driver", LIMIT, || {
            for pair in 0..PAIRS {
                if let Some(got) = self.net.receive_from(pair)? {
                    return Ok(Some(got));
                }
            }
            Ok(None)
        })?;
        self.net.fill_rx()?;
        Ok(got)
    }

    /// How many frames for the driver were counted as lost since the ports were made.
    fn lost(&self) -> Outcome<u64> {
        Ok(self.here.counts()?.not_received() + self.there.counts()?.not_received())
    }

    /// Asserts that the device is where its driver is: all that it has taken it has used.
    /// The rings began at `start`.
    fn stands_where(&mut self, state: &State, start: u16) -> Outcome {
        let format = self.net.format();
        for pair in 0..PAIRS {
            let (rx, tx) = (2 * pair, 2 * pair + 1);
            for (index, used) in [
                (rx, self.net.rx_of(pair).used()),
                (tx, self.net.tx_of(pair).used()),
            ] {
                let place = format.advance(start, used as u16, SIZE);
                check_eq!(
                    state.bases[index],
                    format.base(place),
                    "base of virtqueue {index}"
                );
            }
        }
        Ok(())
    }
}

/// A driver, the ports that it is moved between, and a peer at a third one.
struct Scene {
    mover: Mover,
    peer: Net,
    third: Port,
}

impl Scene {
    /// Has a driver at the first port that has asked for what it wants. Its rings start at
    /// `base`.
    fn new(context: &Context, rings: Rings, settings: Settings, base: u16) -> Outcome<Self> {
        let features = rings.features()?;
        Self::unlike(context, features, features, settings, base)
    }

    /// The same where the two ports offer these features.
    fn unlike(
        context: &Context,
        here: Features,
        there: Features,
        settings: Settings,
        base: u16,
    ) -> Outcome<Self> {
        let third = Port::new("peer", 3, here)?;
        let here = Port::new("left", 1, here)?;
        let there = Port::new("right", 2, there)?;
        let plan = Plan {
            kind: kind(context),
            size: SIZE,
            pairs: PAIRS,
            control_asid: 1,
            base: Some(base),
            ..Plan::default()
        };
        let mut net = Net::new(&here.path, plan)?;
        settings.ask(&mut net)?;
        settings.ask_enabled(&mut net)?;
        net.fill_rx()?;
        let plan = Plan {
            pairs: 1,
            size: 256,
            control_asid: 0,
            base: None,
            ..plan
        };
        let mut peer = Net::new(&third.path, plan)?;
        peer.fill_rx()?;
        let mover = Mover {
            net,
            settings,
            here,
            there,
        };
        let mut scene = Self { mover, peer, third };
        scene.announce()?;
        // From here on nothing for one of them is flooded.
        let (to, from) = (settings.mac, scene.peer.mac);
        let sent = frame::make(100, to, from, 0);
        scene.peer.send_frame(0, NetHeader::default(), &sent)?;
        check_eq!(scene.mover.wait_receive()?.frame, sent, "the answer");
        Ok(scene)
    }

    /// Has the switch learn where the driver is.
    fn announce(&mut self) -> Outcome {
        let (to, from) = (self.peer.mac, self.mover.settings.mac);
        let sent = frame::make(100, to, from, 0);
        self.mover.net.send_frame(0, NetHeader::default(), &sent)?;
        check_eq!(self.peer.wait_receive()?, sent, "the announcement");
        self.peer.fill_rx().map(drop)
    }

    fn delete(self) -> Outcome {
        let Self { mover, peer, third } = self;
        drop((mover.net, peer));
        for port in [third, mover.there, mover.here] {
            port.device.delete()?;
        }
        Ok(())
    }
}
