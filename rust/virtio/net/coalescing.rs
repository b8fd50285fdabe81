// SPDX-License-Identifier: GPL-2.0

//! Coalescing of notifications (5.1.6.5.9).

use super::control::{
    CommandError,
    Data, //
};

/// When the driver is told of used buffers: `struct virtio_net_ctrl_coal`.
///
/// Zero in both, as a reset leaves it, is at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coalescing {
    /// After so many packets at most.
    pub max_packets: u32,
    /// After so many microseconds at most.
    pub max_usecs: u32,
}

impl Coalescing {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// Takes the parameters from `data`.
    pub(super) fn take(data: &mut Data<'_>) -> Result<Self, CommandError> {
        Ok(Self {
            max_packets: data.u32()?,
            max_usecs: data.u32()?,
        })
    }

    /// The bytes as the driver reads them. They follow the byte of the answer to
    /// `VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET`.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [p0, p1, p2, p3] = self.max_packets.to_le_bytes();
        let [u0, u1, u2, u3] = self.max_usecs.to_le_bytes();
        [p0, p1, p2, p3, u0, u1, u2, u3]
    }
}
