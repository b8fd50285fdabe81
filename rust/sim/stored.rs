// SPDX-License-Identifier: GPL-2.0

//! Bytes of the module's own as a chain of one buffer, so that they can be delivered as
//! those of a sender are.

use super::memory::{
    DeviceMemory,
    DeviceSpan, //
};
use crate::virtio::{
    chain::{
        Buffer,
        Walk, //
    },
    fault::{
        Position,
        QueueError, //
    },
    memory::{
        Access,
        AccessError,
        CopyError,
        CopyTo,
        Memory,
        Span, //
    },
};

/// Bytes, of which the first has the address 0.
pub(super) struct Stored<'b>(pub(super) &'b [u8]);

/// Some of these bytes.
#[derive(Clone, Copy)]
pub(super) struct StoredSpan<'b>(&'b [u8]);

impl<'b> StoredSpan<'b> {
    fn part(&self, offset: usize, len: usize) -> Result<&'b [u8], AccessError> {
        let rest = self.0.get(offset..).ok_or(AccessError::Unmapped)?;
        rest.get(..len).ok_or(AccessError::Unmapped)
    }
}

impl Span for StoredSpan<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), AccessError> {
        out.copy_from_slice(self.part(offset, out.len())?);
        Ok(())
    }

    fn write(&self, _offset: usize, _data: &[u8]) -> Result<(), AccessError> {
        Err(AccessError::Permission)
    }
}

/// There are no rings in it, only a buffer.
impl Memory for Stored<'_> {
    type Span<'m>
        = StoredSpan<'m>
    where
        Self: 'm;
    type Area = ();

    fn span(&self, iova: u64, len: u32, _access: Access) -> Result<StoredSpan<'_>, AccessError> {
        let rest = usize::try_from(iova)
            .ok()
            .and_then(|start| self.0.get(start..))
            .filter(|rest| !rest.is_empty())
            .ok_or(AccessError::Unmapped)?;
        Ok(StoredSpan(rest.get(..len as usize).unwrap_or(rest)))
    }

    fn resolve(
        &self,
        _area: &mut (),
        _iova: u64,
        _len: usize,
        _access: Access,
    ) -> Result<(), AccessError> {
        Err(AccessError::Unmapped)
    }

    fn load_u16(&self, _area: &(), _offset: usize) -> Result<u16, AccessError> {
        Err(AccessError::Unmapped)
    }

    fn store_u16(&self, _area: &(), _offset: usize, _value: u16) -> Result<(), AccessError> {
        Err(AccessError::Unmapped)
    }

    fn load_descriptor(&self, _area: &(), _offset: usize) -> Result<[u8; 16], AccessError> {
        Err(AccessError::Unmapped)
    }

    fn store_used(&self, _area: &(), _offset: usize, _element: [u8; 8]) -> Result<(), AccessError> {
        Err(AccessError::Unmapped)
    }

    fn acquire(&self) {}

    fn release(&self) {}

    fn fence(&self) {}
}

impl<'d> CopyTo<DeviceMemory<'d>> for Stored<'_> {
    fn copy(
        source: (&StoredSpan<'_>, usize),
        destination: (&DeviceSpan<'_>, usize),
        len: usize,
    ) -> Result<(), CopyError> {
        let (span, offset) = source;
        let bytes = span.part(offset, len).map_err(CopyError::Source)?;
        let (span, offset) = destination;
        span.write(offset, bytes).map_err(CopyError::Destination)
    }
}

/// The one buffer.
#[derive(Clone)]
pub(super) struct StoredWalk<'m, 'b> {
    memory: &'m Stored<'b>,
    done: bool,
}

impl<'m, 'b> StoredWalk<'m, 'b> {
    pub(super) fn new(memory: &'m Stored<'b>) -> Self {
        Self {
            memory,
            done: false,
        }
    }
}

impl<'m, 'b> Walk<'m> for StoredWalk<'m, 'b> {
    type Memory = Stored<'b>;

    fn memory(&self) -> &'m Stored<'b> {
        self.memory
    }

    fn next(&mut self) -> Result<Option<Buffer>, QueueError> {
        let first = !core::mem::replace(&mut self.done, true);
        Ok(first.then(|| Buffer {
            position: Position::Ring(0),
            iova: 0,
            len: u32::try_from(self.memory.0.len()).unwrap_or(u32::MAX),
            writable: false,
        }))
    }
}
