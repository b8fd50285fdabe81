// SPDX-License-Identifier: GPL-2.0

//! The device alone: instructions for a frame that it gives back to its driver, which is a
//! process. There is no interface, nobody is interrupted, and the driver stands still while
//! the device works.

use super::{
    batch::Batch,
    clock::{self, Ahead},
    options::Options,
    parent::{Loaded, Memory, Subject},
    record::{Record, Samples},
};
use crate::{
    check, check_eq,
    device::Device,
    named,
    outcome::{Outcome, While},
    vhost::{Format, Plan, BASIC},
};
use rvdpa_virtio::features::Features;

/// What the C simulator offers, and what this is measured with there.
pub(super) const C_FEATURES: Features = Features(
    Features::VERSION_1.0
        | Features::ACCESS_PLATFORM.0
        | Features::NET_MAC.0
        | Features::NET_STATUS.0
        | Features::NET_MTU.0
        | Features::NET_CTRL_VQ.0
        | Features::NET_CTRL_MAC_ADDR.0,
);

/// The most that a frame of the C simulator can have, with its header.
const C_MOST: usize = 4096;

/// The most that a ring of the C simulator has.
const C_RING: u16 = 256;

/// Bytes of a mergeable buffer.
const MERGED: usize = 4096;

named! {
    /// The format of the rings.
    Rings {
        Split = "split",
        Packed = "packed",
    }
}

named! {
    /// Where descriptors are.
    Descriptors {
        Direct = "direct",
        Indirect = "indirect",
    }
}

named! {
    /// What receive buffers are.
    Buffers {
        /// Each has room for a whole frame.
        Whole = "whole",
        /// A frame may lie in several.
        Mergeable = "mergeable",
    }
}

named! {
    /// In which order buffers are used.
    Order {
        Any = "any",
        InOrder = "in-order",
    }
}

pub const OPTIONS: &[&str] = &[
    "subjects",
    "memory",
    "rings",
    "descriptors",
    "buffers",
    "order",
    "sizes",
    "ring",
    "batch",
    "pieces",
    "mappings",
    "devices",
    "rounds",
];

/// How much of everything there is.
#[derive(Clone, Copy)]
struct Setup {
    /// Bytes of a frame.
    size: usize,
    /// Descriptors of a ring.
    ring: u16,
    /// Frames for a kick, at most.
    most: usize,
    /// Descriptors of a frame.
    pieces: usize,
    /// Mappings of the device's memory.
    mappings: usize,
    /// Devices in all, of which one works.
    devices: usize,
    rounds: usize,
}

/// One way to drive a device.
#[derive(Clone, Copy)]
struct Way {
    subject: Subject,
    memory: Memory,
    rings: Rings,
    descriptors: Descriptors,
    buffers: Buffers,
    order: Order,
}

impl Way {
    /// The features that a device for it offers and its driver accepts.
    fn features(self) -> Features {
        let mut features = match self.subject {
            Subject::Ours => BASIC,
            Subject::C | Subject::Reference => return C_FEATURES,
        };
        if self.rings == Rings::Packed {
            features = features | Features::RING_PACKED;
        }
        if self.buffers == Buffers::Mergeable {
            features = features | Features::NET_MRG_RXBUF;
        }
        if self.order == Order::InOrder {
            features = features | Features::IN_ORDER;
        }
        features
    }

    /// Whether the device can be driven so.
    fn is_possible(self, setup: &Setup) -> bool {
        match self.subject {
            Subject::Ours => true,
            Subject::Reference => false,
            Subject::C => {
                self.rings == Rings::Split
                    && self.descriptors == Descriptors::Direct
                    && self.buffers == Buffers::Whole
                    && self.order == Order::Any
                    && setup.size + 12 <= C_MOST
                    && setup.ring <= C_RING
            }
        }
    }

    fn record(self) -> Record {
        Record::new("alone")
            .with("subject", self.subject.name())
            .with("memory", self.memory.name())
            .with("rings", self.rings.name())
            .with("descriptors", self.descriptors.name())
            .with("buffers", self.buffers.name())
            .with("order", self.order.name())
    }
}

/// All combinations of amounts that the options say.
fn setups(options: &Options) -> Outcome<Vec<Setup>> {
    let mut all = Vec::new();
    for ring in options.list("ring", "256")? {
        for most in options.list("batch", "256")? {
            for pieces in options.list("pieces", "1")? {
                for mappings in options.list("mappings", "1")? {
                    for devices in options.list("devices", "1")? {
                        for size in options.list("sizes", "64,512,1500,9000,65535")? {
                            all.push(Setup {
                                size,
                                ring,
                                most,
                                pieces,
                                mappings,
                                devices,
                                rounds: options.get("rounds", 9)?,
                            });
                        }
                    }
                }
            }
        }
    }
    Ok(all)
}

/// All ways that the options say, for one subject and one kind of memory.
fn ways(options: &Options, subject: Subject, memory: Memory) -> Outcome<Vec<Way>> {
    let mut all = Vec::new();
    for rings in options.list("rings", "split,packed")? {
        for descriptors in options.list("descriptors", "direct,indirect")? {
            for buffers in options.list("buffers", "whole,mergeable")? {
                for order in options.list("order", "any,in-order")? {
                    all.push(Way {
                        subject,
                        memory,
                        rings,
                        descriptors,
                        buffers,
                        order,
                    });
                }
            }
        }
    }
    Ok(all)
}

/// Measures all combinations of what the options say.
pub fn run(options: &Options) -> Outcome {
    clock::must_count()?;
    let setups = setups(options)?;
    let largest = setups.iter().map(|setup| setup.ring).max().unwrap_or(256);
    for subject in options.list::<Subject>("subjects", "rvdpa_sim")? {
        for memory in options.list::<Memory>("memory", "pa,va")? {
            let more = format!("vq_num_max={}", largest.max(256));
            let loaded = Loaded::new(subject, memory, &more)?;
            for way in ways(options, subject, memory)? {
                for setup in setups.iter().filter(|setup| way.is_possible(setup)) {
                    one(way, *setup)?;
                }
            }
            loaded.unload()?;
        }
    }
    Ok(())
}

/// Measures one way with one set of amounts.
fn one(way: Way, setup: Setup) -> Outcome {
    let features = way.features();
    let parent = way.subject.parent().when("a device")?;
    let others = (1..setup.devices)
        .map(|number| parent.device(&format!("idle{number}")).add())
        .collect::<Outcome<Vec<_>>>()?;
    let (device, path) = parent.device("bench0").features(features).make()?;
    let room = (setup.size + 12).next_multiple_of(2048);
    let plan = Plan {
        features,
        size: setup.ring,
        kind: way.memory.kind(),
        room,
        receive_room: (way.buffers == Buffers::Mergeable).then_some(room.min(MERGED)),
        pieces: setup.pieces,
        indirect: way.descriptors == Descriptors::Indirect,
        ..Plan::default()
    };
    let mut batch = Batch::new(&path, plan, setup.size, setup.most, setup.mappings)?;
    check_eq!(batch.net().client.features(), features, "features");
    let packed = batch.net().format() == Format::Packed;
    check_eq!(packed, way.rings == Rings::Packed, "packed rings");

    // Once for all that is done once: pages, code, caches of translations.
    batch.run()?;
    let ahead = Ahead::new()?;
    let mut empty = Samples::default();
    let mut frames = Samples::default();
    let mut late = 0_u64;
    for _ in 0..setup.rounds {
        empty.add(batch.empty()? as f64);
    }
    let kick = empty.median();
    for _ in 0..setup.rounds {
        let (instructions, done) = batch.run()?;
        if done {
            frames.add((instructions as f64 - kick) / batch.frames as f64);
        } else {
            // The driver got the processor in between.
            late += 1;
        }
    }
    drop(ahead);
    check!(
        frames.count() * 2 > setup.rounds,
        "the driver ran before the device was done, {late} times of {}",
        setup.rounds
    );
    way.record()
        .with("size", setup.size)
        .with("ring", setup.ring)
        .with("batch", batch.frames)
        .with("pieces", setup.pieces)
        .with("mappings", setup.mappings)
        .with("devices", setup.devices)
        .and("empty kick", kick)
        .and("late", late)
        .print("instructions/frame", &frames);
    drop(batch);
    others.into_iter().try_for_each(Device::delete)?;
    device.delete()
}
