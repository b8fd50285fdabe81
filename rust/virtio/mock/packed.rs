// SPDX-License-Identifier: GPL-2.0

//! The driver's side of a packed virtqueue.

use std::{
    collections::{
        BTreeMap,
        VecDeque, //
    },
    vec::Vec, //
};

use super::{
    driver::{
        copy_areas,
        full_length, //
    },
    AddError,
    Buffer,
    DriverMemory,
    DriverQueue,
    Form,
    Used, //
};
use crate::{
    features::Features,
    layout::{
        descriptor_offset,
        flags,
        packed::{
            event,
            flags_offset,
            Descriptor,
            Slot, //
        },
        Area,
        QueueLayout,
        DESCRIPTOR_LEN, //
    },
    packed::need_slot_event,
};

/// A chain that the device has.
struct Chain {
    /// How many descriptors it has in the ring.
    slots: u16,
    /// The length of its writable buffers.
    full: u32,
}

/// The driver's side of a packed virtqueue.
///
/// The rules of the specification that concern the ring are kept by the methods above
/// [`write_descriptor`](Self::write_descriptor); what the buffers are is the caller's
/// choice. The others write whatever they are told, as a hostile driver would.
pub struct PackedDriver<D> {
    memory: D,
    layout: QueueLayout,
    features: Features,
    /// Buffer ids that no chain has. With `VIRTIO_F_IN_ORDER`, a chain has the index of its
    /// first descriptor as its id instead.
    ids: Vec<u16>,
    /// The chains that the device has, by their ids.
    chains: BTreeMap<u16, Chain>,
    /// With `VIRTIO_F_IN_ORDER`: their ids in the order in which they were added.
    order: VecDeque<u16>,
    /// The last chain of those that the device has told of and that were not taken back
    /// yet.
    batch: Option<Used>,
    /// Where the next chain is added.
    next: Slot,
    /// Where the next used chain is taken back.
    used: Slot,
    /// How many descriptors in the ring are in no chain.
    free: u16,
    /// The flags that show all chains that were added, and where they go.
    held: Option<(Slot, u16)>,
    /// How many descriptors were added that the device was not kicked for, or not, at the
    /// driver's choice.
    unkicked: u16,
}

impl<D: DriverMemory> PackedDriver<D> {
    /// Lays out a queue in `memory`, both sides of which start at `start`, as if all before
    /// had been used.
    ///
    /// # Panics
    ///
    /// If the layout is not valid.
    pub fn new(memory: D, layout: QueueLayout, features: Features, start: Slot) -> Self {
        let features = features.union(Features::RING_PACKED);
        if let Err(error) = layout.validate(features) {
            panic!("{error}");
        }
        assert!(start.index < layout.size, "not a slot of the ring");
        for area in [Area::Descriptor, Area::Driver, Area::Device] {
            let zeroes = std::vec![0; layout.len(area, features)];
            memory.write(layout.address(area), &zeroes);
        }
        let driver = Self {
            memory,
            layout,
            features,
            ids: (0..layout.size).rev().collect(),
            chains: BTreeMap::new(),
            order: VecDeque::new(),
            batch: None,
            next: start,
            used: start,
            free: layout.size,
            held: None,
            unkicked: 0,
        };
        for index in 0..layout.size {
            // What is ahead was used on the lap before.
            let wrap = start.wrap == (index < start.index);
            driver.write_flags(index, Slot { index, wrap }.used());
        }
        if driver.has_event_index() {
            driver.write_driver_event(start.to_bits(), event::ONE);
        }
        driver
    }

    /// Where the next chain is added.
    pub fn next(&self) -> Slot {
        self.next
    }

    fn has_event_index(&self) -> bool {
        self.features.contains(Features::EVENT_IDX)
    }

    fn is_in_order(&self) -> bool {
        self.features.contains(Features::IN_ORDER)
    }

    fn address(&self, area: Area, offset: usize) -> u64 {
        self.layout.address(area) + offset as u64
    }

    /// Writes descriptors into the ring that are available, as one chain. All flags but
    /// those of the first are written; that one's are returned.
    fn write_chain(&mut self, chain: &[Descriptor]) -> u16 {
        let mut first_flags = 0;
        for (at, &descriptor) in chain.iter().enumerate() {
            let slot = self.next;
            let bits = descriptor.flags | slot.available();
            let mut now = bits;
            if at == 0 {
                first_flags = bits;
                // As they are.
                now = self.read_descriptor(slot.index).flags;
            }
            let descriptor = Descriptor {
                flags: now,
                ..descriptor
            };
            self.write_descriptor(slot.index, descriptor);
            self.next = slot.advance(1, self.layout.size);
        }
        first_flags
    }

    /// Makes descriptors available as they are, but for the two flags that say so, whether
    /// they are a chain or not. The device sees them after `publish`.
    pub fn add_descriptors(&mut self, descriptors: &[Descriptor]) {
        let slot = self.next;
        let bits = self.write_chain(descriptors);
        if self.held.is_none() {
            self.held = Some((slot, bits));
        } else {
            self.write_flags(slot.index, bits);
        }
    }

    /// Writes a descriptor of the ring.
    pub fn write_descriptor(&self, index: u16, descriptor: Descriptor) {
        let iova = self.address(Area::Descriptor, descriptor_offset(index));
        self.memory.write(iova, &descriptor.to_bytes());
    }

    /// Writes the flags of a descriptor of the ring.
    pub fn write_flags(&self, index: u16, bits: u16) {
        let iova = self.address(Area::Descriptor, flags_offset(index));
        self.memory.store_u16(iova, bits);
    }

    /// Reads a descriptor of the ring.
    pub fn read_descriptor(&self, index: u16) -> Descriptor {
        let mut bytes = [0; DESCRIPTOR_LEN];
        let iova = self.address(Area::Descriptor, descriptor_offset(index));
        self.memory.read(iova, &mut bytes);
        Descriptor::from_bytes(bytes)
    }

    /// Writes a table of descriptors at `iova`. Returns the descriptor that refers to it.
    pub fn write_table(&self, iova: u64, entries: &[Descriptor]) -> Descriptor {
        for (at, entry) in entries.iter().enumerate() {
            let offset = (at * DESCRIPTOR_LEN) as u64;
            self.memory.write(iova + offset, &entry.to_bytes());
        }
        Descriptor {
            address: iova,
            len: (entries.len() * DESCRIPTOR_LEN) as u32,
            id: 0,
            flags: flags::INDIRECT,
        }
    }

    /// Writes the driver's event suppression structure: what interrupts are wanted.
    pub fn write_driver_event(&self, descriptor: u16, bits: u16) {
        let store = |offset, value| {
            let iova = self.address(Area::Driver, offset);
            self.memory.store_u16(iova, value);
        };
        store(event::DESCRIPTOR, descriptor);
        self.memory.fence();
        store(event::FLAGS, bits);
    }

    /// Reads the device's event suppression structure: what kicks are wanted. Returns the
    /// descriptor and the flags.
    pub fn read_device_event(&self) -> (u16, u16) {
        let load = |offset| self.memory.load_u16(self.address(Area::Device, offset));
        let bits = load(event::FLAGS);
        self.memory.fence();
        (load(event::DESCRIPTOR), bits)
    }

    /// Whether the device has used the descriptor that is looked at next.
    fn has_used(&self) -> bool {
        let iova = self.address(Area::Descriptor, flags_offset(self.used.index));
        self.used.is_used(self.memory.load_u16(iova))
    }

    /// The used descriptor that is looked at next, if it is one.
    fn read_used(&self) -> Option<Used> {
        if !self.has_used() {
            return None;
        }
        self.memory.fence();
        let descriptor = self.read_descriptor(self.used.index);
        // Without the flag, the length does not count.
        let written = descriptor.flags & flags::WRITE != 0;
        Some(Used {
            head: descriptor.id,
            len: if written { descriptor.len } else { 0 },
        })
    }

    /// Takes back a chain.
    fn take_chain(&mut self, id: u16) -> Chain {
        let chain = self
            .chains
            .remove(&id)
            .unwrap_or_else(|| panic!("device used {id}, which it does not have"));
        self.free += chain.slots;
        self.used = self.used.advance(chain.slots, self.layout.size);
        chain
    }

    /// Takes back the next chain when one used descriptor may tell of several (2.8.8).
    fn poll_in_order(&mut self) -> Option<Used> {
        if self.batch.is_none() {
            let last = self.read_used()?;
            assert!(
                self.order.contains(&last.head),
                "device used {}, which it does not have",
                last.head
            );
            self.batch = Some(last);
        }
        let head = self.order.pop_front()?;
        let Chain { full, .. } = self.take_chain(head);
        match self.batch.take_if(|last| last.head == head) {
            Some(last) => Some(last),
            None => Some(Used { head, len: full }),
        }
    }
}

/// The descriptor of a buffer of a chain, which goes on behind it or not.
fn descriptor(buffer: Buffer, goes_on: bool, id: u16) -> Descriptor {
    let mut bits = 0;
    if buffer.writable {
        bits |= flags::WRITE;
    }
    if goes_on {
        bits |= flags::NEXT;
    }
    Descriptor {
        address: buffer.iova,
        len: buffer.len,
        id,
        flags: bits,
    }
}

impl<D: DriverMemory> DriverQueue for PackedDriver<D> {
    type Memory = D;

    fn memory(&self) -> &D {
        &self.memory
    }

    fn free(&self) -> usize {
        usize::from(self.free)
    }

    fn add(&mut self, buffers: &[Buffer], form: Form) -> Result<u16, AddError> {
        if buffers.is_empty() {
            return Err(AddError::Empty);
        }
        let needed = match form {
            Form::Direct => buffers.len(),
            Form::Indirect { .. } => 1,
            Form::Mixed { .. } => return Err(AddError::Mixed),
        };
        if needed > usize::from(self.free) {
            return Err(AddError::Full);
        }
        let id = match self.is_in_order() {
            true => self.next.index,
            false => self.ids.pop().expect("more chains than descriptors"),
        };
        let chain = match form {
            Form::Indirect { table } => {
                let entries: Vec<_> = buffers
                    .iter()
                    .map(|&buffer| descriptor(buffer, false, 0))
                    .collect();
                let reference = self.write_table(table, &entries);
                std::vec![Descriptor { id, ..reference }]
            }
            _ => {
                let last = buffers.len() - 1;
                // Only the last id counts.
                buffers
                    .iter()
                    .enumerate()
                    .map(|(at, &buffer)| {
                        let id = if at == last { id } else { !id };
                        descriptor(buffer, at < last, id)
                    })
                    .collect()
            }
        };
        self.add_descriptors(&chain);
        let slots = needed as u16;
        self.free -= slots;
        self.unkicked = (self.unkicked + slots).min(self.layout.size);
        let full = full_length(buffers);
        self.chains.insert(id, Chain { slots, full });
        if self.is_in_order() {
            self.order.push_back(id);
        }
        Ok(id)
    }

    fn publish(&mut self) {
        self.memory.fence();
        if let Some((slot, bits)) = self.held.take() {
            self.write_flags(slot.index, bits);
        }
    }

    fn needs_kick(&mut self) -> bool {
        self.memory.fence();
        let count = std::mem::take(&mut self.unkicked);
        let (descriptor, bits) = self.read_device_event();
        match bits {
            event::DISABLE => false,
            event::ONE => need_slot_event(
                Slot::from_bits(descriptor),
                self.next,
                count,
                self.layout.size,
            ),
            _ => count != 0,
        }
    }

    fn poll_used(&mut self) -> Option<Used> {
        if self.is_in_order() {
            return self.poll_in_order();
        }
        let used = self.read_used()?;
        self.take_chain(used.head);
        self.ids.push(used.head);
        Some(used)
    }

    fn enable_interrupts(&self) -> bool {
        if self.has_event_index() {
            self.write_driver_event(self.used.to_bits(), event::ONE);
        } else {
            self.write_driver_event(0, event::ENABLE);
        }
        self.memory.fence();
        self.batch.is_some() || self.has_used()
    }

    fn disable_interrupts(&self) {
        self.write_driver_event(0, event::DISABLE);
    }

    fn relocate(&mut self, memory: D, layout: QueueLayout) {
        let from = (&self.memory, self.layout);
        copy_areas(from, (&memory, layout), self.features);
        self.memory = memory;
        self.layout = layout;
    }
}
