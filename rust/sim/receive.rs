// SPDX-License-Identifier: GPL-2.0

//! A receive queue.
//!
//! It is filled by whoever has a frame for it, under its lock: the transmit workers of the
//! same device, or of the other ports of a switch. So a frame is copied once, and where a
//! receiver is slow nobody waits for it.

use super::{
    memory::DeviceMemory,
    queue::Vq,
    worker::{
        After,
        Next,
        Outcome,
        Task, //
    },
};
use crate::{
    vdpa::iommu::Context,
    virtio::{
        features::Features,
        net::{
            offload::initial_guest_offloads,
            NetHeader, //
        },
    },
};
use kernel::prelude::*;

/// How the driver wants to find frames in its receive buffers.
#[derive(Clone, Copy)]
pub(super) struct Format {
    /// Length of the virtio header, in bytes.
    pub(super) header_len: usize,
    /// Whether a frame may take several buffers.
    pub(super) mergeable: bool,
    /// The offloads that the driver takes: `GUEST_*`.
    pub(super) offloads: Features,
}

impl Format {
    /// That of a driver with these features.
    pub(super) fn new(features: Features) -> Self {
        Self {
            header_len: NetHeader::len_with(features),
            mergeable: features.contains(Features::NET_MRG_RXBUF),
            offloads: initial_guest_offloads(features),
        }
    }
}

/// A receive queue.
pub(super) struct Receive {
    pub(super) vq: Vq,
    pub(super) format: Format,
}

impl Receive {
    /// Makes a receive queue with room for a ring of `num_max` descriptors.
    pub(super) fn new(num_max: u16, offered: Features) -> Result<Self> {
        Ok(Self {
            vq: Vq::new(num_max, offered)?,
            format: Format::new(Features::NONE),
        })
    }
}

impl Task for Receive {
    const ROLE: &'static str = "receive";

    type Env = ();

    fn vq(&mut self) -> &mut Vq {
        &mut self.vq
    }

    fn run(
        &mut self,
        _context: &Context<'_>,
        _mem: &DeviceMemory<'_>,
        _env: &(),
        _after: &mut After,
    ) -> Outcome {
        // Frames do not wait for buffers.
        Outcome {
            raise: None,
            progress: false,
            next: Next::Sleep,
        }
    }
}
