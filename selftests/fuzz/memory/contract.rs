// SPDX-License-Identifier: GPL-2.0

//! The memory as the device has it. Whatever the device asks for that it may not ask for is a
//! failure here.

use super::{
    permits,
    Hostile, //
};
use rvdpa_virtio::memory::{
    Access,
    AccessError,
    CopyError,
    CopyTo,
    Memory,
    Span, //
};

impl Hostile<'_> {
    fn in_area(&self, area: &HostileArea, offset: usize, len: usize) -> u64 {
        let end = offset.checked_add(len).expect("offset in an area");
        assert!(end <= area.len, "{offset} in an area of {}", area.len);
        assert_eq!(area.generation, self.generation.get(), "a stale area");
        area.iova + offset as u64
    }
}

/// The translation of an area.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostileArea {
    iova: u64,
    len: usize,
    generation: u64,
}

/// Some bytes that are side by side.
#[derive(Clone, Copy)]
pub struct HostileSpan<'m, 'a> {
    memory: &'m Hostile<'a>,
    iova: u64,
    len: usize,
    access: Access,
}

impl HostileSpan<'_, '_> {
    fn at(&self, offset: usize, len: usize, access: Access) -> u64 {
        let end = offset.checked_add(len).expect("offset in a span");
        assert!(end <= self.len, "{offset} in a span of {}", self.len);
        assert!(permits(self.access, access), "a span for the other way");
        self.iova + offset as u64
    }
}

impl Span for HostileSpan<'_, '_> {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), AccessError> {
        let iova = self.at(offset, out.len(), Access::Read);
        self.memory.read(iova, out)
    }

    fn write(&self, offset: usize, data: &[u8]) -> Result<(), AccessError> {
        let iova = self.at(offset, data.len(), Access::Write);
        self.memory.write(iova, data)
    }
}

impl<'a> CopyTo<Hostile<'a>> for Hostile<'a> {
    fn copy(
        source: (&HostileSpan<'_, '_>, usize),
        destination: (&HostileSpan<'_, '_>, usize),
        len: usize,
    ) -> Result<(), CopyError> {
        assert!(len > 0, "nothing to copy");
        let mut bytes = vec![0; len];
        let (span, offset) = source;
        span.read(offset, &mut bytes).map_err(CopyError::Source)?;
        let (span, offset) = destination;
        span.write(offset, &bytes).map_err(CopyError::Destination)
    }
}

impl<'a> Memory for Hostile<'a> {
    type Span<'m>
        = HostileSpan<'m, 'a>
    where
        Self: 'm;
    type Area = HostileArea;

    fn span(
        &self,
        iova: u64,
        len: u32,
        access: Access,
    ) -> Result<HostileSpan<'_, 'a>, AccessError> {
        assert!(len > 0 && iova.checked_add(u64::from(len) - 1).is_some());
        self.steps.set(self.steps.get() + 1);
        Ok(HostileSpan {
            memory: self,
            iova,
            len: self.translate(iova, len as usize, access)?,
            access,
        })
    }

    fn resolve(
        &self,
        area: &mut HostileArea,
        iova: u64,
        len: usize,
        access: Access,
    ) -> Result<(), AccessError> {
        self.steps.set(self.steps.get() + 1);
        self.check(iova, len, access)?;
        *area = HostileArea {
            iova,
            len,
            generation: self.generation.get(),
        };
        Ok(())
    }

    fn load_u16(&self, area: &HostileArea, offset: usize) -> Result<u16, AccessError> {
        assert_eq!(offset % 2, 0);
        let mut bytes = [0; 2];
        self.read(self.in_area(area, offset, 2), &mut bytes)?;
        if offset % 16 == 14 {
            self.loads.set(self.loads.get() + 1);
        }
        Ok(u16::from_le_bytes(bytes))
    }

    fn store_u16(&self, area: &HostileArea, offset: usize, value: u16) -> Result<(), AccessError> {
        assert_eq!(offset % 2, 0);
        self.write(self.in_area(area, offset, 2), &value.to_le_bytes())
    }

    fn load_descriptor(&self, area: &HostileArea, offset: usize) -> Result<[u8; 16], AccessError> {
        assert_eq!(offset % 16, 0);
        let mut bytes = [0; 16];
        self.read(self.in_area(area, offset, 16), &mut bytes)?;
        Ok(bytes)
    }

    /// A device may leave it to this to find that there is no such descriptor.
    fn gather_descriptors(
        &self,
        area: &HostileArea,
        indices: &[u16],
        room: &mut [u128],
        mut each: impl FnMut(u16, u128) -> bool,
    ) -> Result<(), AccessError> {
        for (_, &index) in room.iter().zip(indices) {
            let offset = usize::from(index) * 16;
            if offset + 16 > area.len {
                return Err(AccessError::Unmapped);
            }
            let bytes = self.load_descriptor(area, offset)?;
            if !each(index, u128::from_le_bytes(bytes)) {
                break;
            }
        }
        Ok(())
    }

    fn store_used(
        &self,
        area: &HostileArea,
        offset: usize,
        element: [u8; 8],
    ) -> Result<(), AccessError> {
        assert_eq!(offset % 4, 0);
        self.write(self.in_area(area, offset, 8), &element)
    }

    fn acquire(&self) {}

    fn release(&self) {}

    fn fence(&self) {}
}
