// SPDX-License-Identifier: GPL-2.0

//! An address space made of vectors.

use std::{
    boxed::Box,
    cell::Cell,
    sync::{
        atomic::{
            fence,
            Ordering, //
        },
        Arc,
        Mutex,
        MutexGuard,
        PoisonError, //
    },
    vec,
    vec::Vec, //
};

use super::DriverMemory;
use crate::{
    memory::{
        Access,
        AccessError,
        CopyError,
        CopyTo,
        Memory,
        Span, //
    },
    packed::Completion,
};

/// A mapping: bytes with an address, a permission, and a place that may be elsewhere.
struct Region {
    iova: u64,
    bytes: Vec<u8>,
    permits: Access,
    resident: bool,
}

impl Region {
    /// How far into the region `iova` is, if it lies there.
    fn offset(&self, iova: u64) -> Option<usize> {
        let offset = usize::try_from(iova.checked_sub(self.iova)?).ok()?;
        (offset < self.bytes.len()).then_some(offset)
    }
}

/// One access of the device to the memory's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAccess {
    /// Where it starts.
    pub iova: u64,
    /// Its length in bytes.
    pub len: usize,
    /// Either [`Access::Read`] or [`Access::Write`].
    pub access: Access,
}

/// What is called after each access of the device.
type Hook = Box<dyn FnMut(&MockMemory, DeviceAccess) + Send>;

#[derive(Default)]
struct State {
    regions: Vec<Region>,
    generation: u64,
    resolutions: u64,
    spans: u64,
    log: Option<Vec<DeviceAccess>>,
    hook: Option<Hook>,
}

/// Memory that a driver and a device share; a clone is the same memory.
///
/// Regions are known by their first address. All changes to them take effect with the
/// device's next access, and make the areas that it has resolved stale.
#[derive(Clone, Default)]
pub struct MockMemory(Arc<Mutex<State>>);

/// Whether what is permitted is enough for what is wanted.
fn permits(permitted: Access, wanted: Access) -> bool {
    permitted == Access::ReadWrite || permitted == wanted
}

impl MockMemory {
    /// An address space without mappings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for the translations of the three areas of a virtqueue.
    pub fn areas() -> [MockArea; 3] {
        Default::default()
    }

    /// Room for the completions of a packed virtqueue of up to `size` descriptors.
    pub fn completions(size: u16) -> Vec<Cell<Completion>> {
        (0..size).map(|_| Cell::default()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere has left nothing half done here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps `len` bytes of zeroes at `iova`, for the device to use as `permits` says. One
    /// translation covers one mapping at most, so two that adjoin make a boundary.
    ///
    /// # Panics
    ///
    /// If the address range is in use, empty, or goes beyond the address space.
    pub fn map(&self, iova: u64, len: usize, permits: Access) {
        let end = iova.checked_add(len as u64 - 1).expect("address overflow");
        let mut state = self.state();
        for region in &state.regions {
            let region_end = region.iova + (region.bytes.len() as u64 - 1);
            assert!(end < region.iova || iova > region_end, "already mapped");
        }
        state.regions.push(Region {
            iova,
            bytes: vec![0; len],
            permits,
            resident: true,
        });
        state.generation += 1;
    }

    /// Unmaps the region at `iova`; what it held is gone.
    pub fn unmap(&self, iova: u64) {
        let mut state = self.state();
        state.regions.retain(|region| region.iova != iova);
        state.generation += 1;
    }

    /// Changes the region at `iova`.
    fn change(&self, iova: u64, change: impl FnOnce(&mut Region)) {
        let mut state = self.state();
        let region = state
            .regions
            .iter_mut()
            .find(|region| region.iova == iova)
            .expect("no such region");
        change(region);
        state.generation += 1;
    }

    /// Changes what the device may do in the region at `iova`.
    pub fn set_permission(&self, iova: u64, permits: Access) {
        self.change(iova, |region| region.permits = permits);
    }

    /// Makes the region at `iova` resident or not.
    pub fn set_resident(&self, iova: u64, resident: bool) {
        self.change(iova, |region| region.resident = resident);
    }

    /// How often an area was resolved anew, rather than found to be still good.
    pub fn resolutions(&self) -> u64 {
        self.state().resolutions
    }

    /// How many spans the device has asked for.
    pub fn spans(&self) -> u64 {
        self.state().spans
    }

    /// Starts to log what the device does, from nothing.
    pub fn start_log(&self) {
        self.state().log = Some(Vec::new());
    }

    /// What the device has done since the log was started, or last taken.
    pub fn take_log(&self) -> Vec<DeviceAccess> {
        self.state().log.replace(Vec::new()).unwrap_or_default()
    }

    /// Calls `hook` after each access of the device, until another is set. It may write
    /// to the memory, as a hostile driver would at just that time.
    pub fn set_hook(&self, hook: impl FnMut(&MockMemory, DeviceAccess) + Send + 'static) {
        self.state().hook = Some(Box::new(hook));
    }

    /// Calls no hook any more.
    pub fn clear_hook(&self) {
        self.state().hook = None;
    }

    /// Translates: how many of the `len` bytes at `iova` lie in the region that the first
    /// of them lies in.
    fn translate(&self, iova: u64, len: usize, access: Access) -> Result<usize, AccessError> {
        let state = self.state();
        let (region, offset) = state
            .regions
            .iter()
            .find_map(|region| Some((region, region.offset(iova)?)))
            .ok_or(AccessError::Unmapped)?;
        if !permits(region.permits, access) {
            return Err(AccessError::Permission);
        }
        if !region.resident {
            return Err(AccessError::NotPresent);
        }
        Ok(len.min(region.bytes.len() - offset))
    }

    /// Calls `piece` with each part of the `len` bytes at `iova` that lies in one region,
    /// and how many bytes came before it.
    fn each(&self, iova: u64, len: usize, mut piece: impl FnMut(usize, &mut [u8])) {
        let mut state = self.state();
        let mut done = 0;
        while done < len {
            let iova = iova.wrapping_add(done as u64);
            let (region, offset) = state
                .regions
                .iter_mut()
                .find_map(|region| region.offset(iova).map(|offset| (region, offset)))
                .unwrap_or_else(|| panic!("{iova:#x} is not mapped"));
            let now = (len - done).min(region.bytes.len() - offset);
            piece(done, &mut region.bytes[offset..offset + now]);
            done += now;
        }
    }

    /// Checks each byte for the device, before `each`.
    fn check(&self, iova: u64, len: usize, access: Access) -> Result<(), AccessError> {
        let mut done = 0;
        while done < len {
            let at = iova.checked_add(done as u64).ok_or(AccessError::Unmapped)?;
            done += self.translate(at, len - done, access)?;
        }
        Ok(())
    }

    /// Writes down an access of the device and calls the hook.
    fn note(&self, iova: u64, len: usize, access: Access) {
        let seen = DeviceAccess { iova, len, access };
        let mut state = self.state();
        if let Some(log) = &mut state.log {
            log.push(seen);
        }
        // The hook uses the memory, so it must not be locked.
        if let Some(mut hook) = state.hook.take() {
            drop(state);
            hook(self, seen);
            self.state().hook.get_or_insert(hook);
        }
    }

    /// A read by the device.
    fn device_read(&self, iova: u64, out: &mut [u8]) -> Result<(), AccessError> {
        self.check(iova, out.len(), Access::Read)?;
        self.read(iova, out);
        self.note(iova, out.len(), Access::Read);
        Ok(())
    }

    /// A write by the device.
    fn device_write(&self, iova: u64, data: &[u8]) -> Result<(), AccessError> {
        self.check(iova, data.len(), Access::Write)?;
        self.write(iova, data);
        self.note(iova, data.len(), Access::Write);
        Ok(())
    }

    /// The address of the `len` bytes at `offset` in `area`, if they lie in it and it may
    /// be used for `access`.
    fn in_area(
        &self,
        area: &MockArea,
        offset: usize,
        len: usize,
        access: Access,
    ) -> Result<u64, AccessError> {
        let fits = offset.checked_add(len).is_some_and(|end| end <= area.len);
        if !fits || area.generation != self.state().generation {
            return Err(AccessError::Unmapped);
        }
        if !permits(area.access, access) {
            return Err(AccessError::Permission);
        }
        Ok(area.iova + offset as u64)
    }
}

impl DriverMemory for MockMemory {
    fn read(&self, iova: u64, out: &mut [u8]) {
        self.each(iova, out.len(), |done, bytes| {
            out[done..done + bytes.len()].copy_from_slice(bytes);
        });
    }

    fn write(&self, iova: u64, data: &[u8]) {
        self.each(iova, data.len(), |done, bytes| {
            bytes.copy_from_slice(&data[done..done + bytes.len()]);
        });
    }
}

/// The translation of an area: where it lies, and since when that is known.
#[derive(Debug)]
pub struct MockArea {
    iova: u64,
    len: usize,
    access: Access,
    generation: u64,
}

impl Default for MockArea {
    fn default() -> Self {
        Self {
            iova: 0,
            len: 0,
            access: Access::Read,
            generation: 0,
        }
    }
}

/// A part of one region.
#[derive(Clone, Copy)]
pub struct MockSpan<'m> {
    memory: &'m MockMemory,
    iova: u64,
    len: usize,
    access: Access,
}

impl MockSpan<'_> {
    /// The address of the `len` bytes at `offset`, if they may be used for `access`.
    fn at(&self, offset: usize, len: usize, access: Access) -> Result<u64, AccessError> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(AccessError::Unmapped);
        }
        if !permits(self.access, access) {
            return Err(AccessError::Permission);
        }
        Ok(self.iova + offset as u64)
    }
}

impl Span for MockSpan<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), AccessError> {
        let iova = self.at(offset, out.len(), Access::Read)?;
        self.memory.device_read(iova, out)
    }

    fn write(&self, offset: usize, data: &[u8]) -> Result<(), AccessError> {
        let iova = self.at(offset, data.len(), Access::Write)?;
        self.memory.device_write(iova, data)
    }
}

impl CopyTo<MockMemory> for MockMemory {
    fn copy(
        source: (&MockSpan<'_>, usize),
        destination: (&MockSpan<'_>, usize),
        len: usize,
    ) -> Result<(), CopyError> {
        let mut bytes = vec![0; len];
        let (span, offset) = source;
        span.read(offset, &mut bytes).map_err(CopyError::Source)?;
        let (span, offset) = destination;
        span.write(offset, &bytes).map_err(CopyError::Destination)
    }
}

impl Memory for MockMemory {
    type Span<'m> = MockSpan<'m>;
    type Area = MockArea;

    fn span(&self, iova: u64, len: u32, access: Access) -> Result<MockSpan<'_>, AccessError> {
        assert!(len > 0 && iova.checked_add(u64::from(len) - 1).is_some());
        self.state().spans += 1;
        Ok(MockSpan {
            memory: self,
            iova,
            len: self.translate(iova, len as usize, access)?,
            access,
        })
    }

    fn resolve(
        &self,
        area: &mut MockArea,
        iova: u64,
        len: usize,
        access: Access,
    ) -> Result<(), AccessError> {
        let generation = self.state().generation;
        let same = area.iova == iova && area.len == len && area.access == access;
        if same && area.generation == generation {
            return Ok(());
        }
        self.check(iova, len, access)?;
        self.state().resolutions += 1;
        *area = MockArea {
            iova,
            len,
            access,
            generation,
        };
        Ok(())
    }

    fn load_u16(&self, area: &MockArea, offset: usize) -> Result<u16, AccessError> {
        assert_eq!(offset % 2, 0);
        let mut bytes = [0; 2];
        self.device_read(self.in_area(area, offset, 2, Access::Read)?, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    fn store_u16(&self, area: &MockArea, offset: usize, value: u16) -> Result<(), AccessError> {
        assert_eq!(offset % 2, 0);
        let iova = self.in_area(area, offset, 2, Access::Write)?;
        self.device_write(iova, &value.to_le_bytes())
    }

    fn load_descriptor(&self, area: &MockArea, offset: usize) -> Result<[u8; 16], AccessError> {
        assert_eq!(offset % 16, 0);
        let mut bytes = [0; 16];
        self.device_read(self.in_area(area, offset, 16, Access::Read)?, &mut bytes)?;
        Ok(bytes)
    }

    fn store_used(
        &self,
        area: &MockArea,
        offset: usize,
        element: [u8; 8],
    ) -> Result<(), AccessError> {
        assert_eq!(offset % 4, 0);
        let iova = self.in_area(area, offset, 8, Access::Write)?;
        self.device_write(iova, &element)
    }

    fn acquire(&self) {
        fence(Ordering::Acquire);
    }

    fn release(&self) {
        fence(Ordering::Release);
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}
