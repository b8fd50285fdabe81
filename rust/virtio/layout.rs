// SPDX-License-Identifier: GPL-2.0

//! Where things lie: descriptors, the parts of a virtqueue, and their limits.
//!
//! Clause 2.7 of the specification describes the split virtqueue, 2.8 the packed one. All
//! fields are little-endian; offsets and lengths are in bytes.

use core::fmt;

use super::{
    features::Features,
    num::{
        u64_from_usize, //
        usize_from_u32,
    },
};

pub mod notification;
pub mod packed;

/// Largest number of descriptors in a virtqueue (2.7, 2.8.10.1).
pub const MAX_SIZE: u16 = 32768;

/// How many descriptors an indirect table may have in any virtqueue, be it smaller.
///
/// The specification has no chain longer than its queue (2.7.5.3.1, 2.8.6). But a driver makes
/// its tables by the packets it has, whatever the size of its rings: those of Linux's network
/// driver have a descriptor for a header, one for each fragment, of which a kernel has 17
/// to 45 as it was built, and one for the start of the packet.
pub const MIN_TABLE_LIMIT: u16 = 64;

/// How many descriptors an indirect table may have in a virtqueue of `size` descriptors:
/// `size`, or [`MIN_TABLE_LIMIT`] if that is more.
#[inline(always)]
pub const fn table_limit(size: u16) -> u16 {
    if size > MIN_TABLE_LIMIT {
        size
    } else {
        MIN_TABLE_LIMIT
    }
}

/// Length of a descriptor in bytes (2.7.5, 2.8.13).
pub const DESCRIPTOR_LEN: usize = 16;

/// Length of an element of the used ring in bytes (2.7.8).
pub const USED_ELEMENT_LEN: usize = 8;

/// Descriptor flags (2.7.5, 2.8.1 to 2.8.5).
pub mod flags {
    /// The chain goes on.
    pub const NEXT: u16 = 1;
    /// The device may only write to the buffer; without it, only read.
    pub const WRITE: u16 = 2;
    /// The buffer holds a table of descriptors.
    pub const INDIRECT: u16 = 4;
}

/// Flags of the available ring: the driver wants no interrupts (2.7.7).
pub const AVAIL_NO_INTERRUPT: u16 = 1;

/// Flags of the used ring: the device wants no kicks (2.7.10).
pub const USED_NO_NOTIFY: u16 = 1;

/// Offsets in the driver area of a split virtqueue, the available ring (2.7.6).
pub mod available {
    /// Where the flags lie.
    pub const FLAGS: usize = 0;
    /// Where the index lies: how many heads the driver has ever made available.
    pub const INDEX: usize = 2;

    /// Where the ring's entry `slot` lies. `slot` is less than the queue's size.
    #[inline(always)]
    pub const fn ring(slot: u16) -> usize {
        4 + 2 * slot as usize
    }

    /// Where `used_event` lies in a queue of `size` descriptors.
    #[inline(always)]
    pub const fn used_event(size: u16) -> usize {
        ring(size)
    }
}

/// Offsets in the device area of a split virtqueue, the used ring (2.7.8).
pub mod used {
    /// Where the flags lie.
    pub const FLAGS: usize = 0;
    /// Where the index lies: how many heads the device has ever used.
    pub const INDEX: usize = 2;

    /// Where the ring's element `slot` lies. `slot` is less than the queue's size.
    #[inline(always)]
    pub const fn ring(slot: u16) -> usize {
        4 + super::USED_ELEMENT_LEN * slot as usize
    }

    /// Where `avail_event` lies in a queue of `size` descriptors.
    #[inline(always)]
    pub const fn avail_event(size: u16) -> usize {
        ring(size)
    }
}

/// The descriptor of a split virtqueue, or of an indirect table of one (2.7.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Where the buffer starts (iova).
    pub address: u64,
    /// Length of the buffer in bytes.
    pub len: u32,
    /// See [`flags`]; the other bits are reserved, and ignored.
    pub flags: u16,
    /// The index of the next descriptor, if [`flags::NEXT`] is set.
    pub next: u16,
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
            flags: (bits >> 96) as u16,
            next: (bits >> 112) as u16,
        }
    }

    /// The bytes of the descriptor in memory.
    pub const fn to_bytes(self) -> [u8; DESCRIPTOR_LEN] {
        let [a0, a1, a2, a3, a4, a5, a6, a7] = self.address.to_le_bytes();
        let [l0, l1, l2, l3] = self.len.to_le_bytes();
        let [f0, f1] = self.flags.to_le_bytes();
        let [n0, n1] = self.next.to_le_bytes();
        [
            a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1,
        ]
    }

    /// Whether `flag`, one of [`flags`], is set.
    #[inline(always)]
    pub const fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// The bytes of an element of the used ring (2.7.8): the head of the chain that was used,
/// and how many bytes the device wrote into it.
#[inline(always)]
pub const fn used_element(head: u16, written: u32) -> [u8; USED_ELEMENT_LEN] {
    (head as u64 | ((written as u64) << 32)).to_le_bytes()
}

/// One of the three parts of a virtqueue (2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The descriptor table, or the packed ring.
    Descriptor,
    /// What the driver writes besides: the available ring, or the driver's event
    /// suppression structure.
    Driver,
    /// What the device writes besides: the used ring, or the device's event suppression
    /// structure.
    Device,
}

impl Area {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Descriptor, Self::Driver, Self::Device];
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptor => "descriptor area",
            Self::Driver => "driver area",
            Self::Device => "device area",
        })
    }
}

/// What is wrong with a virtqueue's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// The size is zero or more than [`MAX_SIZE`].
    Size(u16),
    /// The size of a split virtqueue is not a power of two (2.7).
    NotPowerOfTwo(u16),
    /// An area does not start at a multiple of `alignment` (2.7, 2.8).
    Misaligned {
        /// The area in question.
        area: Area,
        /// Where it starts.
        iova: u64,
        /// What it must be a multiple of, in bytes.
        alignment: u64,
    },
    /// An area reaches beyond the end of the address space.
    Overflow {
        /// The area in question.
        area: Area,
        /// Where it starts.
        iova: u64,
    },
    /// The queue is to go on where it cannot be: at a descriptor that does not exist, or
    /// further ahead of the used ones than there are descriptors (2.8.1).
    State {
        /// The state's part about available descriptors, as 15 bits of index and one of
        /// wrap counter.
        available: u16,
        /// Its part about used descriptors.
        used: u16,
        /// Number of descriptors in the queue.
        size: u16,
    },
    /// The queue is to go on where one of the other format was.
    StateFormat,
    /// The queue was made for fewer descriptors.
    Room {
        /// Number of descriptors that it is to have.
        size: u16,
        /// Number of descriptors that it can have.
        room: usize,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Size(size) => write!(f, "queue size {size} is not from 1 to {MAX_SIZE}"),
            Self::NotPowerOfTwo(size) => write!(f, "queue size {size} is not a power of two"),
            Self::Misaligned {
                area,
                iova,
                alignment,
            } => write!(f, "{area} at {iova:#x} is not aligned to {alignment} bytes"),
            Self::Overflow { area, iova } => {
                write!(f, "{area} at {iova:#x} goes beyond the address space")
            }
            Self::State {
                available,
                used,
                size,
            } => write!(
                f,
                "state {available:#06x}, {used:#06x} is not one of {size} descriptors"
            ),
            Self::StateFormat => f.write_str("state is that of the other format"),
            Self::Room { size, room } => {
                write!(
                    f,
                    "queue size {size} is more than the {room} that there is room for"
                )
            }
        }
    }
}

/// Where a virtqueue lies, as the driver says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLayout {
    /// Number of descriptors; see [`MAX_SIZE`].
    pub size: u16,
    /// Where the descriptor area starts (iova).
    pub descriptor: u64,
    /// Where the driver area starts (iova).
    pub driver: u64,
    /// Where the device area starts (iova).
    pub device: u64,
}

impl QueueLayout {
    /// Where `area` starts.
    #[inline]
    pub const fn address(&self, area: Area) -> u64 {
        match area {
            Area::Descriptor => self.descriptor,
            Area::Driver => self.driver,
            Area::Device => self.device,
        }
    }

    /// Length of `area` in bytes with these negotiated `features`, for any size up to
    /// [`MAX_SIZE`].
    ///
    /// The event fields at the end of a split virtqueue's rings count only when
    /// [`Features::EVENT_IDX`] was negotiated: nobody touches them otherwise.
    pub const fn len(&self, area: Area, features: Features) -> usize {
        let event = if features.contains(Features::EVENT_IDX) {
            2
        } else {
            0
        };
        match area {
            Area::Descriptor => DESCRIPTOR_LEN * self.size as usize,
            _ if features.contains(Features::RING_PACKED) => 4,
            Area::Driver => available::ring(self.size) + event,
            Area::Device => used::ring(self.size) + event,
        }
    }

    /// The largest alignment that an area of either format needs, in bytes.
    pub const MAX_ALIGNMENT: u64 = 16;

    /// What the start of `area` must be a multiple of, in bytes (2.7, 2.8.10.1), in the ring
    /// format of these negotiated `features`.
    pub const fn alignment(area: Area, features: Features) -> u64 {
        match area {
            Area::Descriptor => Self::MAX_ALIGNMENT,
            Area::Driver if !features.contains(Features::RING_PACKED) => 2,
            Area::Driver | Area::Device => 4,
        }
    }

    /// Checks that all areas are aligned as the ring format in the negotiated `features`
    /// wants it. The size does not matter, and need not be known yet.
    ///
    /// # Errors
    ///
    /// [`LayoutError::Misaligned`], for the first area that is not.
    pub fn check_alignment(&self, features: Features) -> Result<(), LayoutError> {
        for area in Area::ALL {
            let iova = self.address(area);
            let alignment = Self::alignment(area, features);
            if iova % alignment != 0 {
                return Err(LayoutError::Misaligned {
                    area,
                    iova,
                    alignment,
                });
            }
        }
        Ok(())
    }

    /// Checks the layout against the rules of the ring format in `features`.
    ///
    /// The areas may overlap: a driver that does so harms only itself.
    pub fn validate(&self, features: Features) -> Result<(), LayoutError> {
        if self.size == 0 || self.size > MAX_SIZE {
            return Err(LayoutError::Size(self.size));
        }
        if !features.contains(Features::RING_PACKED) && !self.size.is_power_of_two() {
            return Err(LayoutError::NotPowerOfTwo(self.size));
        }
        self.check_alignment(features)?;
        for area in Area::ALL {
            let iova = self.address(area);
            let len = u64_from_usize(self.len(area, features));
            if iova.checked_add(len - 1).is_none() {
                return Err(LayoutError::Overflow { area, iova });
            }
        }
        Ok(())
    }
}

/// Where the descriptor `index` lies, in bytes from the start of its table.
#[inline(always)]
pub const fn descriptor_offset(index: u16) -> usize {
    DESCRIPTOR_LEN * usize_from_u32(index as u32)
}
