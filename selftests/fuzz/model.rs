// SPDX-License-Identifier: GPL-2.0

//! What a device may tell its driver: each chain that it has completed, once, in order, and
//! nothing else.

use crate::{
    driver::{
        used_index,
        Driver, //
    },
    memory::Write,
};
use rvdpa_virtio::{
    features::Features,
    layout::{
        flags,
        packed::{
            flags_offset,
            result_offset,
            used_result,
            Slot, //
        },
        used,
        used_element,
        QueueLayout, //
    },
    packed,
    ring::State,
};

/// A chain that was completed.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// What the driver calls it.
    pub name: u16,
    /// How many descriptors it has in a packed ring.
    pub slots: u16,
    /// How many bytes were written.
    pub written: u32,
    /// Whether it was used to its end.
    pub fully: bool,
}

/// What was completed, and what the driver was shown.
pub struct Model {
    layout: QueueLayout,
    in_order: bool,
    is_packed: bool,
    /// Those that the driver was not shown yet.
    pending: Vec<Chain>,
    /// The most that these ever were.
    most: usize,
    /// How many there were before those.
    shown: usize,
    /// How many were completed when showing them was begun.
    begun: usize,
    /// Where the next used one is told of: an index.
    index: u16,
    /// The same in a packed ring.
    slot: Slot,
    /// What the device wrote last, by place.
    ring: Vec<Write>,
}

impl Model {
    /// That of a new queue of this driver.
    pub fn new(driver: &Driver, state: State) -> Self {
        let (index, slot) = match state {
            State::Split(index) => (index, Slot::FIRST),
            State::Packed(packed::State { used, .. }) => (0, used),
        };
        Self {
            layout: driver.layout,
            in_order: driver.features.contains(Features::IN_ORDER),
            is_packed: driver.is_packed(),
            pending: Vec::new(),
            most: 0,
            shown: 0,
            begun: 0,
            index,
            slot,
            ring: Vec::new(),
        }
    }

    /// How many chains were completed.
    pub fn completed(&self) -> usize {
        self.shown + self.pending.len()
    }

    /// How many descriptors of a packed ring the driver has.
    pub fn room(&self) -> Option<usize> {
        let pending = self.pending.iter();
        let with_device: usize = pending.map(|chain| usize::from(chain.slots)).sum();
        self.is_packed
            .then(|| usize::from(self.layout.size) - with_device)
    }

    /// A chain was completed, and the device wrote this.
    pub fn complete(&mut self, chain: Chain, writes: &[Write]) {
        self.note(writes);
        self.pending.push(chain);
        self.most = self.most.max(self.pending.len());
    }

    /// All since `completed` were taken back, if that is still possible.
    pub fn rewind(&mut self, completed: usize) {
        let first = match self.is_packed {
            true => self.begun,
            false => self.shown,
        };
        if (first.max(self.shown)..=self.completed()).contains(&completed) {
            self.pending.truncate(completed - self.shown);
        }
    }

    fn note(&mut self, writes: &[Write]) {
        for write in writes {
            let same = |old: &&mut Write| (old.iova, old.len) == (write.iova, write.len);
            match self.ring.iter_mut().find(same) {
                Some(old) => *old = *write,
                None => self.ring.push(*write),
            }
        }
    }

    /// The device has written this to show what was completed, and says that it is `done`.
    pub fn show(&mut self, writes: &[Write], done: bool) {
        for (at, write) in writes.iter().enumerate() {
            self.note(&writes[at..=at]);
            if self.is_packed {
                self.begun = self.completed();
                if write.len == 2 {
                    self.show_packed(write);
                }
            } else if write.len == 2 {
                self.show_split(write);
            }
        }
        assert!(!done || self.pending.is_empty(), "chains were not shown");
    }

    fn wrote<const N: usize>(&self, iova: u64) -> [u8; N] {
        let mut writes = self.ring.iter();
        let write = writes.find(|write| (write.iova, write.len) == (iova, N));
        let write = write.unwrap_or_else(|| panic!("nothing written at {iova:#x}"));
        *write.bytes.first_chunk().expect("a short field")
    }

    /// The chains that each entry tells of: how many they are, and the last one.
    fn entries(&self) -> Vec<(usize, Chain)> {
        let mut entries = Vec::new();
        let mut count = 0;
        for (at, chain) in self.pending.iter().enumerate() {
            count += 1;
            let last = at + 1 == self.pending.len();
            if last || !(self.in_order && chain.fully) {
                entries.push((count, *chain));
                count = 0;
            }
        }
        entries
    }

    fn shown(&mut self) {
        self.shown += self.pending.len();
        self.begun = self.shown;
        self.most = 0;
        self.pending.clear();
    }

    fn show_split(&mut self, write: &Write) {
        assert_eq!(write.iova, used_index(&self.layout), "what was written");
        // A driver that goes on without looking has some of them overwritten.
        let readable = self.most <= self.layout.size.into();
        for (count, last) in self.entries() {
            let slot = self.index & (self.layout.size - 1);
            let element = self.wrote(self.layout.device + used::ring(slot) as u64);
            if readable {
                assert_eq!(element, used_element(last.name, last.written));
            }
            self.index = self.index.wrapping_add(count as u16);
        }
        assert_eq!(write.bytes[..2], self.index.to_le_bytes(), "used index");
        self.shown();
    }

    fn show_packed(&mut self, write: &Write) {
        let first = self.slot;
        let base = self.layout.descriptor;
        let at = base + flags_offset(first.index) as u64;
        assert_eq!(write.iova, at, "the flags that were written last");
        let mut rest = &self.pending[..];
        for (count, last) in self.entries() {
            let (batch, later) = rest.split_at(count);
            rest = later;
            let written = match last.written {
                0 => 0,
                _ => flags::WRITE,
            };
            let bits = self.slot.used() | written;
            let place = base + result_offset(self.slot.index) as u64;
            let result: [u8; 8] = self.wrote(place);
            if self.slot == first {
                // Its flags come last of all.
                let shown = used_result(last.name, last.written, first.available());
                assert_eq!(result, shown);
                assert_eq!(self.wrote(at), bits.to_le_bytes(), "flags of the first");
            } else {
                assert_eq!(result, used_result(last.name, last.written, bits));
            }
            let slots = batch.iter().map(|chain| chain.slots).sum();
            self.slot = self.slot.advance(slots, self.layout.size);
        }
        self.shown();
    }

    /// Where the queue has to go on when it is set up anew: what the driver was not shown is
    /// taken again, but for what may be half shown in a packed ring.
    pub fn state(&self) -> State {
        if !self.is_packed {
            return State::Split(self.index);
        }
        let begun = self.begun.saturating_sub(self.shown);
        let begun = self.pending[..begun].iter().map(|chain| chain.slots);
        let slot = self.slot.advance(begun.sum(), self.layout.size);
        State::Packed(packed::State::at(slot))
    }
}
