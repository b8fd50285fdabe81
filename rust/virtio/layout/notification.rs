// SPDX-License-Identifier: GPL-2.0

//! What a kick carries with `VIRTIO_F_NOTIFICATION_DATA` (2.9).

use super::{
    super::features::Features,
    packed::Slot, //
};

/// Where the driver makes the next chain available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// In a split virtqueue: the available index.
    Split(u16),
    /// In a packed one: the slot, whose index may be any of 15 bits.
    Packed(Slot),
}

/// What a kick carries. It is what the driver says, and a hint: what is in the virtqueue
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The index of the virtqueue, which need not exist. With
    /// `VIRTIO_F_NOTIF_CONFIG_DATA`, it is the number that the device chose for it.
    pub queue: u16,
    /// Where the driver is in it.
    pub next: Next,
}

impl Notification {
    /// Takes the data of a kick of a device with these negotiated `features`.
    #[inline]
    pub const fn from_bits(data: u32, features: Features) -> Self {
        let [q0, q1, n0, n1] = data.to_le_bytes();
        let next = u16::from_le_bytes([n0, n1]);
        Self {
            queue: u16::from_le_bytes([q0, q1]),
            next: if features.contains(Features::RING_PACKED) {
                Next::Packed(Slot::from_bits(next))
            } else {
                Next::Split(next)
            },
        }
    }

    /// The data of the kick.
    pub const fn to_bits(self) -> u32 {
        let next = match self.next {
            Next::Split(index) => index,
            Next::Packed(slot) => slot.to_bits(),
        };
        let [q0, q1] = self.queue.to_le_bytes();
        let [n0, n1] = next.to_le_bytes();
        u32::from_le_bytes([q0, q1, n0, n1])
    }
}
