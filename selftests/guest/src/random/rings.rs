// SPDX-License-Identifier: GPL-2.0

//! Random rings: chains of which most keep to the rules, and bytes that do not.

use super::{numbers::Numbers, MEMORY};
use crate::{arena::View, vhost::IOVA};
use rvdpa_virtio::{
    features::Features,
    layout::{
        available, descriptor_offset, flags,
        packed::{Descriptor as PackedDescriptor, Slot},
        Descriptor, QueueLayout,
    },
    mock::DriverMemory,
};

/// How many queues are used: two pairs, and the control queue, wherever it is.
pub const QUEUES: u32 = 5;

/// Bytes of the rings of each queue, at the start of the memory.
const RING: u64 = 0x4000;
/// Where buffers and tables begin.
const BUFFERS: u64 = RING * QUEUES as u64;

/// Where the driver is in a ring.
#[derive(Clone, Copy)]
struct Place {
    index: u16,
    slot: Slot,
}

/// The rings of a client.
pub struct Rings {
    memory: View,
    packed: bool,
    size: u16,
    places: [Place; QUEUES as usize],
}

impl Rings {
    pub fn new(memory: &View) -> Self {
        let place = Place {
            index: 0,
            slot: Slot::FIRST,
        };
        Self {
            memory: memory.clone(),
            packed: false,
            size: 64,
            places: [place; QUEUES as usize],
        }
    }

    /// New rings, with these features.
    pub fn reset(&mut self, features: Features) {
        let memory = self.memory.clone();
        *self = Self::new(&memory);
        self.packed = features.contains(Features::RING_PACKED);
        memory.write(IOVA, &vec![0; BUFFERS as usize]);
    }

    pub fn size(&self) -> u32 {
        self.size.into()
    }

    pub fn layout(&self, queue: u32) -> QueueLayout {
        let base = IOVA + RING * u64::from(queue);
        QueueLayout {
            size: self.size,
            descriptor: base,
            driver: base + 0x1000,
            device: base + 0x2000,
        }
    }

    /// A buffer: its place, length and flags. Its bytes are a frame or a command, at times.
    fn buffer(&self, numbers: &mut Numbers) -> (u64, u32, u16) {
        let room = MEMORY as u64 - BUFFERS;
        let len = match numbers.below(16) {
            0 => numbers.any() as u32,
            1 => 0,
            2 | 3 => 70_000,
            4..=8 => numbers.below(16) as u32,
            _ => numbers.below(2000) as u32,
        };
        let iova = match numbers.below(32) {
            0 => numbers.any(),
            1 => IOVA + numbers.below(BUFFERS),
            _ => IOVA + BUFFERS + numbers.below(room.saturating_sub(u64::from(len)).max(1)),
        };
        if (IOVA + BUFFERS..IOVA + MEMORY as u64 - 64).contains(&iova) {
            let mut bytes = [0; 64];
            if numbers.chance(4) {
                numbers.fill(&mut bytes);
            }
            match numbers.below(3) {
                // A command.
                0 => {
                    bytes[0] = numbers.below(9) as u8;
                    bytes[1] = numbers.below(4) as u8;
                    bytes[2..6].copy_from_slice(&(numbers.below(4) as u32).to_le_bytes());
                }
                // A frame for everyone, or for a group.
                1 => bytes[12..18].fill(0xff),
                _ => bytes[12] = 1,
            }
            self.memory.write(iova, &bytes);
        }
        let bits = match numbers.below(8) {
            0 => flags::WRITE | (numbers.any() as u16 & 7),
            1..=3 => flags::WRITE,
            4 => flags::INDIRECT,
            _ => 0,
        };
        (iova, len, bits)
    }

    /// Makes some chains of a queue available.
    pub fn offer(&mut self, numbers: &mut Numbers) {
        let queue = numbers.below(QUEUES.into()) as u32;
        let layout = self.layout(queue);
        let mut place = self.places[queue as usize];
        for _ in 0..=numbers.below(20) {
            let (address, len, mut bits) = self.buffer(numbers);
            if numbers.chance(3) {
                bits |= flags::NEXT;
            }
            if self.packed {
                let at = descriptor_offset(place.slot.index) as u64;
                let descriptor = PackedDescriptor {
                    address,
                    len,
                    id: place.slot.index,
                    flags: bits | place.slot.available(),
                };
                self.memory
                    .write(layout.descriptor + at, &descriptor.to_bytes());
                place.slot = place.slot.advance(1, self.size);
            } else {
                let head = place.index % self.size;
                let next = match numbers.below(16) {
                    0 => numbers.any() as u16,
                    _ => (head + 1) % self.size,
                };
                let descriptor = Descriptor {
                    address,
                    len,
                    flags: bits,
                    next,
                };
                let at = descriptor_offset(head) as u64;
                self.memory
                    .write(layout.descriptor + at, &descriptor.to_bytes());
                let at = layout.driver + available::ring(head) as u64;
                self.memory.store_u16(at, head);
                place.index = place.index.wrapping_add(1);
            }
        }
        if !self.packed {
            let at = layout.driver + available::INDEX as u64;
            self.memory.store_u16(at, place.index);
        }
        self.places[queue as usize] = place;
    }

    /// Writes anything anywhere in the rings.
    pub fn scribble(&mut self, numbers: &mut Numbers) {
        let mut bytes = [0; 32];
        numbers.fill(&mut bytes);
        let len = 1 + numbers.below(32) as usize;
        let at = match numbers.below(4) {
            0 => numbers.below(BUFFERS - 32),
            // The start of an area, most often of a driver's.
            _ => RING * numbers.below(QUEUES.into()) + 0x1000 * numbers.one_of(&[0, 1, 1, 2]),
        };
        self.memory.write(IOVA + at, &bytes[..len]);
    }
}
