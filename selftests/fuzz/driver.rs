// SPDX-License-Identifier: GPL-2.0

//! A driver that writes anything into the rings, most often what comes through some checks.

use crate::memory::{
    Hostile,
    Region, //
};
use rvdpa_virtio::{
    features::Features,
    layout::{
        available,
        descriptor_offset,
        flags,
        packed::{
            flags_offset,
            Descriptor as PackedDescriptor,
            Slot, //
        },
        used,
        Area,
        Descriptor,
        QueueLayout, //
    },
    memory::Access,
};

/// Where the driver puts buffers for reading.
pub const SOURCE: u64 = 0x1_0000;
/// Where it puts those for writing.
pub const TARGET: u64 = 0x2_0000;
/// Where it puts tables, and buffers for either.
pub const TABLES: u64 = 0x3_0000;
/// The last bytes of the address space.
pub const END: u64 = u64::MAX - 63;

/// The memory of buffers and tables. Some of it consists of several mappings.
pub const BUFFERS: [Region; 6] = [
    region(SOURCE, 256, Access::Read),
    region(SOURCE + 256, 64, Access::ReadWrite),
    region(TARGET, 192, Access::Write),
    region(TABLES, 136, Access::ReadWrite),
    region(TABLES + 136, 248, Access::Read),
    region(END, 64, Access::ReadWrite),
];

const fn region(iova: u64, len: usize, permits: Access) -> Region {
    Region { iova, len, permits }
}

/// A hostile driver of one virtqueue.
pub struct Driver {
    /// Where the virtqueue is.
    pub layout: QueueLayout,
    /// What was negotiated.
    pub features: Features,
    /// The next available index.
    index: u16,
    /// The next slot of a packed ring.
    slot: Slot,
}

impl Driver {
    /// A driver of a virtqueue with its areas at `base`, that begins at `start`, an index or
    /// the bits of a slot.
    pub fn new(base: u64, size: u16, features: Features, start: u16) -> Self {
        Self {
            layout: QueueLayout {
                size,
                descriptor: base,
                driver: base + 0x1000,
                device: base + 0x2000,
            },
            features,
            index: start,
            slot: Slot::from_bits(start),
        }
    }

    /// Whether the ring is a packed one.
    pub fn is_packed(&self) -> bool {
        self.features.contains(Features::RING_PACKED)
    }

    /// The memory of the areas, for exactly what the device has to do there.
    pub fn regions(&self) -> [Region; 3] {
        Area::ALL.map(|area| {
            let permits = match area {
                Area::Descriptor if self.is_packed() => Access::ReadWrite,
                Area::Descriptor | Area::Driver => Access::Read,
                Area::Device => Access::Write,
            };
            let len = self.layout.len(area, self.features);
            region(self.layout.address(area), len, permits)
        })
    }

    /// An address for a buffer, its length, and flags.
    fn buffer(&self, mem: &Hostile<'_>) -> (u64, u32, u16) {
        let c = &mem.choices;
        let kind = c.u8();
        let bits = match kind & 0xc0 {
            0 => 0,
            0x40 => flags::WRITE,
            0x80 => flags::INDIRECT,
            _ => u16::from(c.u8() & 7),
        };
        let base = match kind & 7 {
            0 | 1 if bits & flags::WRITE != 0 => TARGET,
            0 | 1 if bits & flags::INDIRECT != 0 => TABLES,
            0 | 1 => SOURCE,
            2 => TABLES,
            3 => TARGET,
            4 => END,
            5 => self.layout.device,
            6 => self.layout.descriptor,
            _ => c.u64(),
        };
        let iova = base.wrapping_add(c.u8().into());
        let len = match (kind >> 3) & 7 {
            0 => 16 * u32::from(c.up_to(8)),
            7 => c.u32(),
            _ => c.u8().into(),
        };
        (iova, len, bits)
    }

    /// The bytes of a descriptor, for a table or the ring, with `more` flags.
    fn descriptor(&self, mem: &Hostile<'_>, entries: u16, more: u16) -> [u8; 16] {
        let (address, len, bits) = self.buffer(mem);
        let next = u16::from(mem.choices.u8());
        let chained = if next & 0x80 != 0 { flags::NEXT } else { 0 };
        let name = match next & 0x40 {
            0 => (next & 0x3f) % entries.max(1),
            _ => next & 0x7f,
        };
        if self.is_packed() {
            PackedDescriptor {
                address,
                len,
                id: name,
                flags: bits | more | chained,
            }
            .to_bytes()
        } else {
            Descriptor {
                address,
                len,
                flags: bits | chained,
                next: name,
            }
            .to_bytes()
        }
    }

    /// The driver does one thing or another.
    pub fn act(&mut self, mem: &Hostile<'_>) {
        let c = &mem.choices;
        let size = self.layout.size;
        let base = self.layout.descriptor;
        match c.up_to(7) {
            0..=2 if self.is_packed() => {
                let count = u16::from(c.up_to(3)) + 1;
                for _ in 0..count {
                    let bytes = self.descriptor(mem, size, self.slot.available());
                    let at = descriptor_offset(self.slot.index) as u64;
                    mem.put(base + at, &bytes);
                    self.slot = self.slot.advance(1, size);
                }
            }
            0 | 1 => {
                let count = u16::from(c.up_to(3)) + 1;
                for _ in 0..count {
                    let index = u16::from(c.u8()) % size;
                    let bytes = self.descriptor(mem, size, 0);
                    mem.put(base + descriptor_offset(index) as u64, &bytes);
                    self.offer(mem, index);
                }
                self.publish(mem);
            }
            2 => {
                let index = u16::from(c.u8()) % size;
                let bytes = self.descriptor(mem, size, 0);
                mem.put(base + descriptor_offset(index) as u64, &bytes);
            }
            3 | 4 => {
                let first = u64::from(c.up_to(7));
                for entry in 0..u64::from(c.up_to(7)) {
                    let bytes = self.descriptor(mem, 8, 0);
                    mem.put(TABLES + 16 * (first + entry), &bytes);
                }
            }
            5 => {
                // What the driver wants to be told of.
                let event = self.event(c.u16());
                mem.put(self.layout.driver + event, c.bytes(2));
            }
            6 => self.make_again(mem),
            _ => {
                // Anything, anywhere in the rings.
                let area = c.one_of(&Area::ALL);
                let at = self.layout.address(area) + u64::from(c.u8());
                mem.put(at, c.bytes(4));
            }
        }
    }

    /// The place of what the driver wants to be told of, in its area.
    fn event(&self, which: u16) -> u64 {
        match self.is_packed() {
            true => u64::from(which & 2),
            false if which & 1 == 0 => available::FLAGS as u64,
            false => available::used_event(self.layout.size) as u64,
        }
    }

    fn offer(&mut self, mem: &Hostile<'_>, head: u16) {
        let slot = self.index & (self.layout.size - 1);
        let at = self.layout.driver + available::ring(slot) as u64;
        mem.put(at, &head.to_le_bytes());
        self.index = self.index.wrapping_add(1);
    }

    fn publish(&self, mem: &Hostile<'_>) {
        let at = self.layout.driver + available::INDEX as u64;
        mem.put(at, &self.index.to_le_bytes());
    }

    /// Chains are made available again, or an index is one that it should not be.
    fn make_again(&mut self, mem: &Hostile<'_>) {
        let c = &mem.choices;
        if self.is_packed() {
            let index = u16::from(c.u8()) % self.layout.size;
            let bits = self.slot.available() | u16::from(c.u8() & 7);
            let at = self.layout.descriptor + flags_offset(index) as u64;
            mem.put(at, &bits.to_le_bytes());
            if c.flag() {
                self.slot = self.slot.advance(1, self.layout.size);
            }
        } else {
            let by = i16::from(c.u8() as i8);
            self.index = self.index.wrapping_add_signed(by);
            self.publish(mem);
        }
    }
}

/// Where the used index of a split virtqueue is.
pub fn used_index(layout: &QueueLayout) -> u64 {
    layout.device + used::INDEX as u64
}
