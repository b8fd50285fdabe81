// SPDX-License-Identifier: GPL-2.0

//! The device alone: instructions for a frame that it gives back to its driver, which is a
//! process. There is no interface, nobody is interrupted, and the driver stands still while
//! the device works.

use super::{
    batch::Batch,
    clock,
    options::Options,
    parent::{Memory, Parent},
    record::{Record, Samples},
};
use crate::{
    arena::Kind,
    check_eq, named,
    outcome::Outcome,
    vhost::{Format, NewDevice, Plan, BASIC},
};
use rvdpa_virtio::features::Features;

/// What the C simulator offers, and what this is measured with there.
const C_FEATURES: Features = Features(
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
    "parents",
    "memory",
    "rings",
    "descriptors",
    "buffers",
    "order",
    "sizes",
    "ring",
    "batch",
    "pieces",
    "rounds",
];

/// One way to drive a device.
#[derive(Clone, Copy)]
struct Way {
    parent: Parent,
    memory: Memory,
    rings: Rings,
    descriptors: Descriptors,
    buffers: Buffers,
    order: Order,
}

impl Way {
    /// The features that a device for it offers and its driver accepts.
    fn features(self) -> Features {
        let mut features = match self.parent {
            Parent::C => return C_FEATURES,
            Parent::Ours => BASIC,
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
    fn is_possible(self, size: usize) -> bool {
        match self.parent {
            Parent::Ours => true,
            Parent::C => {
                self.rings == Rings::Split
                    && self.descriptors == Descriptors::Direct
                    && self.buffers == Buffers::Whole
                    && self.order == Order::Any
                    && size + 12 <= C_MOST
            }
        }
    }

    fn record(self) -> Record {
        Record::new("alone")
            .with("parent", self.parent.name())
            .with("memory", self.memory.name())
            .with("rings", self.rings.name())
            .with("descriptors", self.descriptors.name())
            .with("buffers", self.buffers.name())
            .with("order", self.order.name())
    }
}

/// Measures all combinations of what the options say.
pub fn run(options: &Options) -> Outcome {
    clock::must_count()?;
    let sizes: Vec<usize> = options.list("sizes", "64,512,1500,9000,65535")?;
    let ring: u16 = options.get("ring", 256)?;
    let most: usize = options.get("batch", 256)?;
    let rounds: usize = options.get("rounds", 9)?;
    let pieces: usize = options.get("pieces", 1)?;
    for parent in options.list::<Parent>("parents", "rvdpa_sim")? {
        for memory in options.list::<Memory>("memory", "pa,va")? {
            let more = match parent {
                Parent::Ours => format!("vq_num_max={}", ring.max(256)),
                Parent::C => String::new(),
            };
            let loaded = parent.load(memory, &more)?;
            for rings in options.list("rings", "split,packed")? {
                for descriptors in options.list("descriptors", "direct,indirect")? {
                    for buffers in options.list("buffers", "whole,mergeable")? {
                        for order in options.list("order", "any,in-order")? {
                            let way = Way {
                                parent,
                                memory,
                                rings,
                                descriptors,
                                buffers,
                                order,
                            };
                            for &size in &sizes {
                                if way.is_possible(size) {
                                    one(way, size, ring, most, pieces, rounds)?;
                                }
                            }
                        }
                    }
                }
            }
            loaded.unload()?;
        }
    }
    Ok(())
}

/// Measures one way with frames of one size.
fn one(way: Way, size: usize, ring: u16, most: usize, pieces: usize, rounds: usize) -> Outcome {
    let features = way.features();
    let (device, path) = NewDevice {
        mgmtdev: way.parent.loopback(),
        ..NewDevice::named("bench0").features(features)
    }
    .make()?;
    let room = (size + 12).next_multiple_of(2048);
    let plan = Plan {
        features,
        size: ring,
        kind: match way.memory {
            Memory::Pa => Kind::Anonymous,
            Memory::Va => Kind::Shared,
        },
        room,
        receive_room: (way.buffers == Buffers::Mergeable).then_some(room.min(MERGED)),
        pieces,
        indirect: way.descriptors == Descriptors::Indirect,
        ..Plan::default()
    };
    let mut batch = Batch::new(&path, plan, size, most)?;
    check_eq!(batch.net().client.features(), features, "features");
    let packed = batch.net().format() == Format::Packed;
    check_eq!(packed, way.rings == Rings::Packed, "packed rings");
    clock::stand_back()?;

    // Once for all that is done once: pages, code, caches of translations.
    batch.run()?;
    let mut empty = Samples::default();
    let mut frames = Samples::default();
    let mut late = 0_u64;
    for _ in 0..rounds {
        empty.add(batch.empty()? as f64);
    }
    let kick = empty.median();
    for _ in 0..rounds {
        let (instructions, done) = batch.run()?;
        late += u64::from(!done);
        frames.add((instructions as f64 - kick) / batch.frames as f64);
    }
    way.record()
        .with("size", size)
        .with("ring", ring)
        .with("batch", batch.frames)
        .with("pieces", pieces)
        .with("empty kick", kick)
        .with("late", late)
        .print("instructions/frame", &frames);
    drop(batch);
    device.delete()
}
