// SPDX-License-Identifier: GPL-2.0

//! A memory that somebody else changes while the device looks at it.

use crate::choices::Choices;
use rvdpa_virtio::memory::{
    Access,
    AccessError, //
};
use std::cell::{
    Cell,
    RefCell, //
};

mod contract;

pub use contract::HostileArea;

/// A mapping.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// Where it starts.
    pub iova: u64,
    /// Its length in bytes.
    pub len: usize,
    /// What the device may do there.
    pub permits: Access,
}

/// What the device has written in one go.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// Where.
    pub iova: u64,
    /// Its length in bytes.
    pub len: usize,
    /// The first eight of its bytes.
    pub bytes: [u8; 8],
}

/// A region, and whether it is there.
struct Mapped {
    region: Region,
    /// Where its bytes start.
    start: usize,
    /// Whether the device finds it.
    mapped: Cell<bool>,
    resident: Cell<bool>,
}

impl Mapped {
    fn offset(&self, iova: u64) -> Option<usize> {
        let offset = usize::try_from(iova.checked_sub(self.region.iova)?).ok()?;
        (offset < self.region.len).then_some(offset)
    }
}

/// The memory of a hostile driver: between any two accesses of the device it may change. What
/// the device does there is counted and written down, and has to keep to the contract of
/// [`Memory`](rvdpa_virtio::memory::Memory).
pub struct Hostile<'a> {
    /// What the driver does.
    pub choices: Choices<'a>,
    regions: Vec<Mapped>,
    /// What is in all of them, one behind the other.
    bytes: RefCell<Vec<u8>>,
    generation: Cell<u64>,
    /// After how many more reads of the device there is the next change; none if never.
    calm: Cell<Option<u8>>,
    steps: Cell<usize>,
    /// How often each descriptor's flags were loaded as 16 bits since this was last asked.
    loads: Cell<usize>,
    writes: RefCell<Vec<Write>>,
}

fn permits(permitted: Access, wanted: Access) -> bool {
    permitted == Access::ReadWrite || permitted == wanted
}

impl<'a> Hostile<'a> {
    /// A memory of zeroes. Nobody changes it before [`disturb`](Self::disturb).
    pub fn new(choices: Choices<'a>, regions: &[Region]) -> Self {
        let mut end = 0;
        let regions = regions.iter().map(|&region| {
            let start = end;
            end += region.len;
            Mapped {
                region,
                start,
                mapped: Cell::new(true),
                resident: Cell::new(true),
            }
        });
        Self {
            choices,
            regions: regions.collect(),
            bytes: RefCell::new(vec![0; end]),
            generation: Cell::new(1),
            calm: Cell::new(None),
            steps: Cell::new(0),
            loads: Cell::new(0),
            writes: RefCell::default(),
        }
    }

    /// From now on, the driver changes memory now and then.
    pub fn disturb(&self) {
        self.calm.set(Some(0));
    }

    /// How many accesses there were since this was last asked.
    pub fn take_steps(&self) -> usize {
        self.steps.take()
    }

    /// How many 16-bit fields at an odd multiple of 14 were loaded since this was last asked:
    /// in a packed ring, those are flags of descriptors.
    pub fn take_flag_loads(&self) -> usize {
        self.loads.take()
    }

    /// What the device has written since this was last asked.
    pub fn take_writes(&self) -> Vec<Write> {
        self.writes.take()
    }

    /// Calls `piece` with each part of the `len` bytes at `iova` that lies in one region: where
    /// it starts in these bytes, how many they are, and where they are kept.
    fn each(&self, iova: u64, len: usize, mut piece: impl FnMut(usize, usize, usize)) {
        for one in &self.regions {
            let Region {
                iova: base,
                len: most,
                ..
            } = one.region;
            let skip = base.saturating_sub(iova);
            let into = iova.saturating_sub(base);
            if skip < len as u64 && into < most as u64 {
                let (skip, into) = (skip as usize, into as usize);
                piece(skip, (len - skip).min(most - into), one.start + into);
            }
        }
    }

    /// The driver writes; what lies in no region is left out.
    pub fn put(&self, iova: u64, data: &[u8]) {
        let mut bytes = self.bytes.borrow_mut();
        self.each(iova, data.len(), |skip, len, at| {
            bytes[at..at + len].copy_from_slice(&data[skip..skip + len]);
        });
    }

    /// A region comes or goes, or its memory does. What was resolved is void.
    pub fn change_mapping(&self, which: usize, mapped: bool, resident: bool) {
        if let Some(one) = self.regions.get(which) {
            one.mapped.set(mapped);
            one.resident.set(resident);
        }
        self.generation.set(self.generation.get() + 1);
    }

    /// Brings all memory in.
    pub fn bring_in(&self) {
        for one in &self.regions {
            one.resident.set(true);
        }
    }

    fn translate(&self, iova: u64, len: usize, access: Access) -> Result<usize, AccessError> {
        let (found, offset) = self
            .regions
            .iter()
            .filter(|one| one.mapped.get())
            .find_map(|one| Some((one, one.offset(iova)?)))
            .ok_or(AccessError::Unmapped)?;
        if !permits(found.region.permits, access) {
            return Err(AccessError::Permission);
        }
        if !found.resident.get() {
            return Err(AccessError::NotPresent);
        }
        Ok(len.min(found.region.len - offset))
    }

    fn check(&self, iova: u64, len: usize, access: Access) -> Result<(), AccessError> {
        let mut done = 0;
        while done < len {
            let at = iova.checked_add(done as u64).ok_or(AccessError::Unmapped)?;
            done += self.translate(at, len - done, access)?;
        }
        Ok(())
    }

    /// What another processor does meanwhile to memory at or near the `len` bytes at `iova`,
    /// or anywhere.
    fn meanwhile(&self, iova: u64, len: usize) {
        let Some(calm) = self.calm.get() else {
            return;
        };
        if let Some(calm) = calm.checked_sub(1) {
            self.calm.set(Some(calm));
            return;
        }
        if self.choices.is_empty() {
            self.calm.set(None);
            return;
        }
        let kind = self.choices.u8();
        self.calm.set(Some(kind >> 3));
        match kind & 7 {
            0..=2 => {}
            3 | 4 => {
                // What is being read, for those who read it twice.
                let skip = u64::from(self.choices.up_to(len.min(16) as u8));
                let some = self.choices.bytes(2);
                self.put(iova.wrapping_add(skip), some);
            }
            5 => self.put(iova, self.choices.bytes(len.min(16))),
            6 => {
                let near = u64::from(self.choices.u8());
                self.put(iova.wrapping_add(near), self.choices.bytes(2));
            }
            _ => {
                let which = usize::from(self.choices.u8()) % self.regions.len();
                let base = self.regions[which].region.iova;
                let offset = u64::from(self.choices.u8());
                self.put(base.wrapping_add(offset), self.choices.bytes(2));
            }
        }
    }

    /// The device reads.
    fn read(&self, iova: u64, out: &mut [u8]) -> Result<(), AccessError> {
        self.check(iova, out.len(), Access::Read)?;
        self.steps.set(self.steps.get() + 1);
        let bytes = self.bytes.borrow();
        self.each(iova, out.len(), |skip, len, at| {
            out[skip..skip + len].copy_from_slice(&bytes[at..at + len]);
        });
        drop(bytes);
        self.meanwhile(iova, out.len());
        Ok(())
    }

    /// The device writes.
    fn write(&self, iova: u64, data: &[u8]) -> Result<(), AccessError> {
        self.check(iova, data.len(), Access::Write)?;
        self.steps.set(self.steps.get() + 1);
        self.put(iova, data);
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(data) {
            *to = *from;
        }
        let len = data.len();
        self.writes.borrow_mut().push(Write { iova, len, bytes });
        self.meanwhile(iova, len);
        Ok(())
    }
}
