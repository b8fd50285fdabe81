// SPDX-License-Identifier: GPL-2.0

//! Where things lie in a packed virtqueue, and how its ring is counted (2.8).

use super::{
    descriptor_offset,
    DESCRIPTOR_LEN,
    USED_ELEMENT_LEN, //
};

/// Descriptor flag: as the driver's wrap counter when it made the descriptor available;
/// as [`USED`] when the device has used it (2.8.1).
pub const AVAIL: u16 = 1 << 7;

/// Descriptor flag: not as the driver's wrap counter when it made the descriptor
/// available; as the device's when it has used it (2.8.1).
pub const USED: u16 = 1 << 15;

/// Where the length lies in a descriptor, which is also where the 8 bytes start that the
/// device writes: length, buffer id, flags (2.8.13).
const DESCRIPTOR_RESULT: usize = 8;
/// Where the buffer id lies in a descriptor (2.8.13).
const DESCRIPTOR_ID: usize = 12;
/// Where the flags lie in a descriptor (2.8.13).
pub(in super::super) const DESCRIPTOR_FLAGS: usize = 14;

/// Where the part of the descriptor `index` lies that tells of a used chain.
#[inline(always)]
pub const fn result_offset(index: u16) -> usize {
    descriptor_offset(index).wrapping_add(DESCRIPTOR_RESULT)
}

/// Where the buffer id of the descriptor `index` lies.
#[inline(always)]
pub const fn id_offset(index: u16) -> usize {
    descriptor_offset(index).wrapping_add(DESCRIPTOR_ID)
}

/// Where the flags of the descriptor `index` lie.
#[inline(always)]
pub const fn flags_offset(index: u16) -> usize {
    descriptor_offset(index).wrapping_add(DESCRIPTOR_FLAGS)
}

/// The bytes of a descriptor that tell of a used chain.
#[inline(always)]
pub const fn used_result(id: u16, written: u32, flags: u16) -> [u8; USED_ELEMENT_LEN] {
    (written as u64 | ((id as u64) << 32) | ((flags as u64) << 48)).to_le_bytes()
}

/// The event suppression structures: all that lies in the driver area, and in the device
/// area (2.8.14).
pub mod event {
    /// Where the descriptor that the other side waits for is named, as
    /// [`Slot::to_bits`](super::Slot::to_bits) has it.
    pub const DESCRIPTOR: usize = 0;
    /// Where the flags lie.
    pub const FLAGS: usize = 2;

    /// The bits of the flags that are not reserved.
    pub const MASK: u16 = 3;
    /// Flags: all events are wanted.
    pub const ENABLE: u16 = 0;
    /// Flags: none are.
    pub const DISABLE: u16 = 1;
    /// Flags: that of one descriptor is. Only with `VIRTIO_F_EVENT_IDX`.
    pub const ONE: u16 = 2;
}

/// The descriptor of a packed virtqueue, or of an indirect table of one (2.8.13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Where the buffer starts (iova).
    pub address: u64,
    /// Length of the buffer in bytes.
    pub len: u32,
    /// What the driver calls the chain that ends here. Not used in a table.
    pub id: u16,
    /// See [`flags`](super::flags), [`AVAIL`] and [`USED`]; the other bits are reserved,
    /// and ignored.
    pub flags: u16,
}

impl Descriptor {
    /// Takes a descriptor from its bytes in memory.
    #[inline(always)]
    pub const fn from_bytes(bytes: [u8; DESCRIPTOR_LEN]) -> Self {
        // As a number, out of which compilers take the fields without looking at each byte.
        let bits = u128::from_le_bytes(bytes);
        Self {
            address: bits as u64,
            len: (bits >> 64) as u32,
            id: (bits >> 96) as u16,
            flags: (bits >> 112) as u16,
        }
    }

    /// The bytes of the descriptor in memory.
    pub const fn to_bytes(self) -> [u8; DESCRIPTOR_LEN] {
        let [a0, a1, a2, a3, a4, a5, a6, a7] = self.address.to_le_bytes();
        let [l0, l1, l2, l3] = self.len.to_le_bytes();
        let [i0, i1] = self.id.to_le_bytes();
        let [f0, f1] = self.flags.to_le_bytes();
        [
            a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, i0, i1, f0, f1,
        ]
    }
}

/// A place in the ring, with the wrap counter of whoever has got there (2.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The index of the descriptor.
    pub index: u16,
    /// The wrap counter: changes each time that the end of the ring is passed.
    pub wrap: bool,
}

impl Slot {
    /// Where both sides start.
    pub const FIRST: Self = Self {
        index: 0,
        wrap: true,
    };

    /// Takes a slot from 15 bits of index and one of wrap counter above them, as they are
    /// in an event suppression structure and in the state of a queue.
    #[inline(always)]
    pub const fn from_bits(bits: u16) -> Self {
        Self {
            index: bits & 0x7fff,
            wrap: bits >> 15 != 0,
        }
    }

    /// The slot as 15 bits of index and one of wrap counter. The index is less than 32768.
    #[inline(always)]
    pub const fn to_bits(self) -> u16 {
        (self.index & 0x7fff) | ((self.wrap as u16) << 15)
    }

    /// The flags of a descriptor that is made available here.
    #[inline(always)]
    pub const fn available(self) -> u16 {
        if self.wrap {
            AVAIL
        } else {
            USED
        }
    }

    /// The flags of a descriptor that is used here.
    #[inline(always)]
    pub const fn used(self) -> u16 {
        if self.wrap {
            AVAIL | USED
        } else {
            0
        }
    }

    /// Whether a descriptor with these flags is available here.
    #[inline(always)]
    pub const fn is_available(self, flags: u16) -> bool {
        flags & (AVAIL | USED) == self.available()
    }

    /// Whether a descriptor with these flags is used here.
    #[inline(always)]
    pub const fn is_used(self, flags: u16) -> bool {
        flags & (AVAIL | USED) == self.used()
    }

    /// The slot `count` descriptors further on, in a ring of `size` descriptors. `count`
    /// is at most `size`, and the index less than it.
    #[inline(always)]
    pub const fn advance(self, count: u16, size: u16) -> Self {
        // No more than 65535.
        let index = self.index.wrapping_add(count);
        if index < size {
            Self { index, ..self }
        } else {
            Self {
                index: index.wrapping_sub(size),
                wrap: !self.wrap,
            }
        }
    }

    /// How many descriptors this slot is ahead of `other`, in a ring of `size` descriptors.
    /// None if that is more than there are. Both indices are less than `size`.
    #[inline(always)]
    pub const fn ahead_of(self, other: Self, size: u16) -> Option<u16> {
        if self.wrap == other.wrap {
            self.index.checked_sub(other.index)
        } else if self.index <= other.index {
            Some(size.wrapping_sub(other.index).wrapping_add(self.index))
        } else {
            None
        }
    }
}
