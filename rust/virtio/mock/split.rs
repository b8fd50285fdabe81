// SPDX-License-Identifier: GPL-2.0

//! The driver's side of a split virtqueue.

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
        available,
        descriptor_offset,
        flags,
        used,
        Area,
        Descriptor,
        QueueLayout,
        AVAIL_NO_INTERRUPT,
        DESCRIPTOR_LEN,
        USED_ELEMENT_LEN,
        USED_NO_NOTIFY, //
    },
    queue::need_event,
};

/// A chain that the device has.
struct Chain {
    /// Its descriptors in the ring.
    indices: Vec<u16>,
    /// The length of its writable buffers.
    full: u32,
}

/// The driver's side of a split virtqueue.
///
/// The rules of the specification that concern the ring are kept by the methods above
/// [`write_descriptor`](Self::write_descriptor); what the buffers are is the caller's
/// choice. The others write whatever they are told, as a hostile driver would.
pub struct SplitDriver<D> {
    memory: D,
    layout: QueueLayout,
    features: Features,
    /// Descriptors that are in no chain. The last ones are taken first.
    free: VecDeque<u16>,
    /// The chains that the device has, by their heads.
    chains: BTreeMap<u16, Chain>,
    /// With `VIRTIO_F_IN_ORDER`: their heads in the order in which they were added.
    order: VecDeque<u16>,
    /// The last chain of those that the device has told of and that were not taken back
    /// yet.
    batch: Option<Used>,
    /// How many chains were ever added.
    added: u16,
    /// How many of them the device was kicked for, or not, at the driver's choice.
    kicked: u16,
    /// How many used chains were taken back.
    taken: u16,
}

impl<D: DriverMemory> SplitDriver<D> {
    /// Lays out a queue in `memory`, with all indices at `index`.
    ///
    /// # Panics
    ///
    /// If the layout is not valid.
    pub fn new(memory: D, layout: QueueLayout, features: Features, index: u16) -> Self {
        if let Err(error) = layout.validate(features) {
            panic!("{error}");
        }
        for area in [Area::Descriptor, Area::Driver, Area::Device] {
            let zeroes = std::vec![0; layout.len(area, features)];
            memory.write(layout.address(area), &zeroes);
        }
        let driver = Self {
            memory,
            layout,
            features,
            free: (0..layout.size).rev().collect(),
            chains: BTreeMap::new(),
            order: VecDeque::new(),
            batch: None,
            added: index,
            kicked: index,
            taken: index,
        };
        driver.store(Area::Device, used::INDEX, index);
        driver.write_available_index(index);
        if driver.has_event_index() {
            driver.set_used_event(index);
        }
        driver
    }

    /// The memory that the queue lies in.
    pub fn memory(&self) -> &D {
        &self.memory
    }

    /// Number of descriptors in the ring that are in no chain.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// How many chains were ever added; the available index after
    /// [`publish`](Self::publish).
    pub fn added(&self) -> u16 {
        self.added
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

    fn load(&self, area: Area, offset: usize) -> u16 {
        self.memory.load_u16(self.address(area, offset))
    }

    fn store(&self, area: Area, offset: usize, value: u16) {
        self.memory.store_u16(self.address(area, offset), value);
    }

    /// Adds a chain of `buffers`, in the order given. The device sees it after
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    ///
    /// If there is no room; nothing has changed then.
    pub fn add(&mut self, buffers: &[Buffer], form: Form) -> Result<u16, AddError> {
        let (direct, table) = match form {
            Form::Direct => (buffers.len(), None),
            Form::Indirect { table } => (0, Some(table)),
            Form::Mixed { direct, table } => (direct, Some(table)),
        };
        if buffers.is_empty() || (table.is_some() && direct >= buffers.len()) {
            return Err(AddError::Empty);
        }
        let (ring, rest) = buffers.split_at(direct);
        let needed = ring.len() + usize::from(table.is_some());
        let start = self.free.len().checked_sub(needed).ok_or(AddError::Full)?;
        let indices: Vec<u16> = self.free.drain(start..).rev().collect();
        for (at, &index) in indices.iter().enumerate() {
            let next = indices.get(at + 1).copied();
            let descriptor = match (ring.get(at), table) {
                (Some(buffer), _) => descriptor(*buffer, next),
                (None, Some(table)) => self.write_buffers(table, rest),
                (None, None) => unreachable!(),
            };
            self.write_descriptor(index, descriptor);
        }
        let head = indices[0];
        let full = full_length(buffers);
        self.chains.insert(head, Chain { indices, full });
        if self.is_in_order() {
            self.order.push_back(head);
        }
        self.add_head(head);
        Ok(head)
    }

    /// Writes a table of chained descriptors for `buffers`. Returns the descriptor that
    /// refers to it.
    fn write_buffers(&self, table: u64, buffers: &[Buffer]) -> Descriptor {
        let last = buffers.len() - 1;
        let entries: Vec<Descriptor> = buffers
            .iter()
            .enumerate()
            .map(|(at, buffer)| {
                descriptor(
                    *buffer,
                    (at < last).then(|| u16::try_from(at + 1).expect("too many")),
                )
            })
            .collect();
        self.write_table(table, &entries)
    }

    /// Shows the device all chains that were added.
    pub fn publish(&mut self) {
        self.memory.fence();
        self.write_available_index(self.added);
    }

    /// Whether the device wants to be kicked for what was published since this was last
    /// asked.
    pub fn needs_kick(&mut self) -> bool {
        self.memory.fence();
        let old = std::mem::replace(&mut self.kicked, self.added);
        if self.has_event_index() {
            need_event(self.read_avail_event(), self.added, old)
        } else {
            self.added != old && self.read_used_flags() & USED_NO_NOTIFY == 0
        }
    }

    /// Takes back the next chain that the device has used, if there is one. Its
    /// descriptors are free again.
    ///
    /// # Panics
    ///
    /// If the device has used a chain that it does not have.
    pub fn poll_used(&mut self) -> Option<Used> {
        if self.is_in_order() {
            return self.poll_in_order();
        }
        let used = self.read_used()?;
        let Chain { indices, .. } = self.take_chain(used.head);
        self.free.extend(indices.into_iter().rev());
        Some(used)
    }

    /// The next element of the used ring, if there is one.
    fn read_used(&self) -> Option<Used> {
        if self.read_used_index() == self.taken {
            return None;
        }
        self.memory.fence();
        Some(self.read_used_element(self.taken % self.layout.size))
    }

    /// Takes back a chain.
    fn take_chain(&mut self, head: u16) -> Chain {
        self.taken = self.taken.wrapping_add(1);
        self.chains
            .remove(&head)
            .unwrap_or_else(|| panic!("device used {head}, which it does not have"))
    }

    /// Takes back the next chain when one element may tell of several (2.7.9).
    fn poll_in_order(&mut self) -> Option<Used> {
        if self.batch.is_none() {
            let last = self.read_used()?;
            let at = self.order.iter().position(|&head| head == last.head);
            let count = 1 + at.unwrap_or_else(|| {
                panic!("device used {}, which it does not have", last.head);
            });
            let told = self.read_used_index().wrapping_sub(self.taken);
            assert!(
                count <= usize::from(told),
                "{count} chains, index is {told} on"
            );
            self.batch = Some(last);
        }
        let head = self.order.pop_front()?;
        let Chain { indices, full } = self.take_chain(head);
        // They are taken again in order, after all others.
        for index in indices {
            self.free.push_front(index);
        }
        match self.batch.take_if(|last| last.head == head) {
            Some(last) => Some(last),
            None => Some(Used { head, len: full }),
        }
    }

    /// Asks for an interrupt when the next chain is used. Returns whether there are used
    /// chains already, for which none may come.
    pub fn enable_interrupts(&self) -> bool {
        if self.has_event_index() {
            self.set_used_event(self.taken);
        } else {
            self.store(Area::Driver, available::FLAGS, 0);
        }
        self.memory.fence();
        self.read_used_index() != self.taken
    }

    /// Asks for no interrupts.
    pub fn disable_interrupts(&self) {
        if self.has_event_index() {
            // As far away as an index can be.
            self.set_used_event(self.taken.wrapping_sub(1));
        } else {
            self.store(Area::Driver, available::FLAGS, AVAIL_NO_INTERRUPT);
        }
    }

    /// Writes a descriptor of the ring.
    pub fn write_descriptor(&self, index: u16, descriptor: Descriptor) {
        let iova = self.address(Area::Descriptor, descriptor_offset(index));
        self.memory.write(iova, &descriptor.to_bytes());
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
            flags: flags::INDIRECT,
            next: 0,
        }
    }

    /// Puts `head` into the available ring, whatever it is. The device sees it after
    /// [`publish`](Self::publish).
    pub fn add_head(&mut self, head: u16) {
        self.write_available_entry(self.added % self.layout.size, head);
        self.added = self.added.wrapping_add(1);
    }

    /// Writes an entry of the available ring.
    pub fn write_available_entry(&self, slot: u16, head: u16) {
        self.store(Area::Driver, available::ring(slot), head);
    }

    /// Writes the available index.
    pub fn write_available_index(&self, index: u16) {
        self.store(Area::Driver, available::INDEX, index);
    }

    /// Writes the used event: the used index after which an interrupt is wanted.
    pub fn set_used_event(&self, event: u16) {
        let offset = available::used_event(self.layout.size);
        self.store(Area::Driver, offset, event);
    }

    /// Reads the used index.
    pub fn read_used_index(&self) -> u16 {
        self.load(Area::Device, used::INDEX)
    }

    /// Reads the flags of the used ring.
    pub fn read_used_flags(&self) -> u16 {
        self.load(Area::Device, used::FLAGS)
    }

    /// Reads the available event: the available index after which a kick is wanted.
    pub fn read_avail_event(&self) -> u16 {
        self.load(Area::Device, used::avail_event(self.layout.size))
    }

    /// Reads an element of the used ring.
    ///
    /// # Panics
    ///
    /// If the element's head is more than 16 bits can say.
    pub fn read_used_element(&self, slot: u16) -> Used {
        let mut bytes = [0; USED_ELEMENT_LEN];
        let iova = self.address(Area::Device, used::ring(slot));
        self.memory.read(iova, &mut bytes);
        let [h0, h1, h2, h3, l0, l1, l2, l3] = bytes;
        let head = u32::from_le_bytes([h0, h1, h2, h3]);
        Used {
            head: u16::try_from(head).expect("used element with a wide head"),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
        }
    }
}

/// The descriptor of a buffer, which goes on at `next` if there is one.
fn descriptor(buffer: Buffer, next: Option<u16>) -> Descriptor {
    let mut bits = 0;
    if buffer.writable {
        bits |= flags::WRITE;
    }
    if next.is_some() {
        bits |= flags::NEXT;
    }
    Descriptor {
        address: buffer.iova,
        len: buffer.len,
        flags: bits,
        next: next.unwrap_or(0),
    }
}

impl<D: DriverMemory> DriverQueue for SplitDriver<D> {
    type Memory = D;

    fn memory(&self) -> &D {
        self.memory()
    }

    fn free(&self) -> usize {
        self.free()
    }

    fn add(&mut self, buffers: &[Buffer], form: Form) -> Result<u16, AddError> {
        self.add(buffers, form)
    }

    fn publish(&mut self) {
        self.publish();
    }

    fn needs_kick(&mut self) -> bool {
        self.needs_kick()
    }

    fn poll_used(&mut self) -> Option<Used> {
        self.poll_used()
    }

    fn enable_interrupts(&self) -> bool {
        self.enable_interrupts()
    }

    fn disable_interrupts(&self) {
        self.disable_interrupts();
    }

    fn relocate(&mut self, memory: D, layout: QueueLayout) {
        let from = (&self.memory, self.layout);
        copy_areas(from, (&memory, layout), self.features);
        self.memory = memory;
        self.layout = layout;
    }
}
