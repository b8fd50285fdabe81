// SPDX-License-Identifier: GPL-2.0

//! The form in which a driver takes frames.

use crate::virtio::{
    features::Features,
    net::{
        offload::initial_guest_offloads,
        NetHeader, //
    },
};

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
