// SPDX-License-Identifier: GPL-2.0

//! The rings' memory: accesses through the IOMMU.
//!
//! The one place where `virtio` and `vdpa` meet.

use crate::{
    compat::{
        smp_mb,
        smp_rmb,
        smp_wmb, //
    },
    vdpa::iommu::{
        self,
        AccessFault,
        CopyFault,
        Element,
        Near,
        Permission,
        Piece,
        Region, //
    },
    virtio::{
        fault::Part,
        memory::{
            Access,
            AccessError,
            CopyError,
            CopyTo,
            Memory,
            Span, //
        },
    },
};

// Many numbers of a ring at a time are taken as they are in memory.
const _: () = assert!(cfg!(target_endian = "little"));

/// Memory as the holder of an attachment's lock sees it.
pub(super) struct DeviceMemory<'a>(pub(super) iommu::Access<'a>);

/// Memory that lies side by side.
#[derive(Clone, Copy)]
pub(super) struct DeviceSpan<'a>(Piece<'a>);

/// Memory of buffers that are most often in the same mapping as the one before.
pub(super) struct NearMemory<'a>(Near<'a>);

impl DeviceMemory<'_> {
    /// Memory for one kind of access.
    #[inline]
    pub(super) fn near(&self, access: Access) -> NearMemory<'_> {
        NearMemory(self.0.near(permission(access)))
    }
}

impl<'a> NearMemory<'a> {
    /// The span of a whole buffer, if its bytes lie side by side.
    #[inline(always)]
    pub(super) fn whole(&mut self, iova: u64, len: usize) -> Option<DeviceSpan<'a>> {
        self.0.whole(iova, len).map(DeviceSpan)
    }

    /// The same, if that is known already and direct; see [`Near::direct`].
    #[inline(always)]
    pub(super) fn direct(&self, iova: u64, len: usize) -> Option<DeviceSpan<'a>> {
        self.0.direct(iova, len).map(DeviceSpan)
    }
}

impl DeviceSpan<'_> {
    /// Whether it is memory of a client; see [`Piece::is_user`].
    #[inline(always)]
    pub(super) fn is_user(&self) -> bool {
        self.0.is_user()
    }

    /// Reads a number; see [`Piece::load`].
    #[inline(always)]
    pub(super) fn load<T: Element>(&self, offset: usize) -> Option<T> {
        self.0.load(offset).ok()
    }

    /// Writes a number; see [`Piece::store`].
    #[inline(always)]
    pub(super) fn store<T: Element>(&self, offset: usize, value: T) -> Option<()> {
        self.0.store(offset, value).ok()
    }

    /// Copies what is from the byte `at` on; see [`Piece::copy_rest`].
    #[inline(always)]
    pub(super) fn copy_rest(&self, at: usize, destination: &DeviceSpan<'_>) -> Option<()> {
        self.0.copy_rest(at, &destination.0).ok()
    }
}

fn error(fault: AccessFault) -> AccessError {
    match fault {
        AccessFault::Unmapped => AccessError::Unmapped,
        AccessFault::Permission => AccessError::Permission,
        AccessFault::NotPresent => AccessError::NotPresent,
    }
}

/// What the IOMMU calls an access of the rings.
pub(super) fn permission(access: Access) -> Permission {
    match access {
        Access::Read => Permission::Read,
        Access::Write => Permission::Write,
        Access::ReadWrite => Permission::ReadWrite,
    }
}

/// What the IOMMU calls a part of a virtqueue.
pub(super) fn region(part: Part) -> Region {
    match part {
        Part::Area(_) => Region::Rings,
        Part::Table(_) | Part::Buffer(_) => Region::Buffers,
    }
}

impl Span for DeviceSpan<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn read(&self, offset: usize, out: &mut [u8]) -> Result<(), AccessError> {
        self.0.read(offset, out).map_err(error)
    }

    #[inline(always)]
    fn write(&self, offset: usize, data: &[u8]) -> Result<(), AccessError> {
        self.0.write(offset, data).map_err(error)
    }
}

impl<'d> CopyTo<DeviceMemory<'d>> for DeviceMemory<'_> {
    #[inline(always)]
    fn copy(
        source: (&DeviceSpan<'_>, usize),
        destination: (&DeviceSpan<'_>, usize),
        len: usize,
    ) -> Result<(), CopyError> {
        Piece::copy(
            (&source.0 .0, source.1),
            (&destination.0 .0, destination.1),
            len,
        )
        .map_err(|fault| match fault {
            CopyFault::Source(fault) => CopyError::Source(error(fault)),
            CopyFault::Destination(fault) => CopyError::Destination(error(fault)),
        })
    }
}

impl Memory for DeviceMemory<'_> {
    type Span<'m>
        = DeviceSpan<'m>
    where
        Self: 'm;
    type Area = iommu::Area;

    #[inline(always)]
    fn span(&self, iova: u64, len: u32, access: Access) -> Result<DeviceSpan<'_>, AccessError> {
        self.0
            .piece(iova, len as usize, permission(access))
            .map(DeviceSpan)
            .map_err(error)
    }

    #[inline(always)]
    fn resolve(
        &self,
        area: &mut iommu::Area,
        iova: u64,
        len: usize,
        access: Access,
    ) -> Result<(), AccessError> {
        self.0
            .resolve(area, iova, len, permission(access))
            .map_err(error)
    }

    #[inline(always)]
    fn is_resolved(&self, area: &iommu::Area) -> bool {
        self.0.is_resolved(area)
    }

    #[inline(always)]
    fn load_u16(&self, area: &iommu::Area, offset: usize) -> Result<u16, AccessError> {
        self.0.load(area, offset).map(u16::from_le).map_err(error)
    }

    #[inline(always)]
    fn store_u16(&self, area: &iommu::Area, offset: usize, value: u16) -> Result<(), AccessError> {
        self.0.store(area, offset, value.to_le()).map_err(error)
    }

    #[inline(always)]
    fn load_descriptor(&self, area: &iommu::Area, offset: usize) -> Result<[u8; 16], AccessError> {
        self.0
            .load_chosen(area, offset)
            .map(u128::to_ne_bytes)
            .map_err(error)
    }

    #[inline(always)]
    fn store_used(
        &self,
        area: &iommu::Area,
        offset: usize,
        element: [u8; 8],
    ) -> Result<(), AccessError> {
        // An element may lie on two pages, each half of it on one.
        let bits = u64::from_le_bytes(element);
        let (first, second) = (bits as u32, (bits >> 32) as u32);
        self.0
            .store(area, offset, first.to_le())
            .and_then(|()| self.0.store(area, offset.wrapping_add(4), second.to_le()))
            .map_err(error)
    }

    #[inline(always)]
    fn load_u16s(
        &self,
        area: &iommu::Area,
        offset: usize,
        out: &mut [u16],
    ) -> Result<(), AccessError> {
        self.0.collect(area, offset, out).map_err(error)
    }

    #[inline(always)]
    fn load_available(
        &self,
        area: &iommu::Area,
        offset: usize,
        room: &mut [u128],
        available: (u16, u16),
        each: impl FnMut(u64, u64) -> bool,
    ) -> Result<(), AccessError> {
        self.0
            .available(area, offset, room, available, each)
            .map_err(error)
    }

    #[inline(always)]
    fn gather_descriptors(
        &self,
        area: &iommu::Area,
        indices: &[u16],
        room: &mut [u128],
        each: impl FnMut(u16, u128) -> bool,
    ) -> Result<(), AccessError> {
        self.0.gather(area, indices, room, each).map_err(error)
    }

    #[inline(always)]
    fn store_used_many<T>(
        &self,
        area: &iommu::Area,
        offset: usize,
        stride: usize,
        room: &mut [u64],
        chains: &[T],
        tell: impl Fn(&T) -> Option<u64>,
    ) -> Result<usize, AccessError> {
        self.0
            .scatter(area, offset, stride, room, chains, tell)
            .map_err(error)
    }

    #[inline(always)]
    fn acquire(&self) {
        smp_rmb();
    }

    #[inline(always)]
    fn release(&self) {
        smp_wmb();
    }

    #[inline(always)]
    fn fence(&self) {
        smp_mb();
    }
}
