// SPDX-License-Identifier: GPL-2.0

//! The three parts of a virtqueue, which both formats have (2.6).

use super::{
    fault::{
        Part,
        Place,
        QueueError, //
    },
    features::Features,
    layout::{
        descriptor_offset,
        Area,
        LayoutError,
        QueueLayout,
        DESCRIPTOR_LEN,
        USED_ELEMENT_LEN, //
    },
    memory::{
        Access,
        AccessError,
        Memory, //
    },
    num::{
        u32_at_most,
        u64_from_usize, //
    },
};

/// Where a virtqueue lies, and the translations of its areas.
///
/// # Invariants
///
/// - `layout` is valid for `features`, or its size is zero: the queue is not set up.
/// - If `resolved`, all areas were resolved for this layout, none after `device`, and no mapping
///   changed in between.
pub(super) struct Areas<A> {
    descriptor: A,
    driver: A,
    device: A,
    layout: QueueLayout,
    features: Features,
    resolved: bool,
}

impl<A> Areas<A> {
    /// Those of a queue that is not set up, with room for the translations of its
    /// descriptor area, driver area and device area.
    pub(super) fn new(areas: [A; 3]) -> Self {
        let [descriptor, driver, device] = areas;
        // INVARIANT: The size is zero.
        Self {
            descriptor,
            driver,
            device,
            layout: QueueLayout::default(),
            features: Features::NONE,
            resolved: false,
        }
    }

    /// Sets where the areas lie from now on. They must be found in memory before they are
    /// used.
    pub(super) fn setup(
        &mut self,
        layout: QueueLayout,
        features: Features,
    ) -> Result<(), LayoutError> {
        layout.validate(features)?;
        // INVARIANT: The layout has just been validated.
        self.layout = layout;
        self.features = features;
        self.resolved = false;
        Ok(())
    }

    /// Makes them those of a queue that is not set up.
    pub(super) fn clear(&mut self) {
        // INVARIANT: The size is zero.
        self.layout = QueueLayout::default();
        self.features = Features::NONE;
        self.resolved = false;
    }

    /// Where the queue lies; all zero when it is not set up.
    #[inline(always)]
    pub(super) fn layout(&self) -> QueueLayout {
        self.layout
    }

    /// Number of descriptors, or zero when the queue is not set up.
    #[inline(always)]
    pub(super) fn size(&self) -> u16 {
        self.layout.size
    }

    /// Whether the queue is set up.
    #[inline(always)]
    pub(super) fn is_set_up(&self) -> bool {
        self.layout.size != 0
    }

    /// What was negotiated.
    #[inline(always)]
    pub(super) fn features(&self) -> Features {
        self.features
    }

    /// Whether this was negotiated.
    #[inline(always)]
    pub(super) fn has(&self, feature: Features) -> bool {
        self.features.contains(feature)
    }

    /// Finds the memory of all areas. The device uses the descriptor area for
    /// `descriptor`, the driver area for reading and the device area for writing.
    #[inline]
    pub(super) fn resolve<M: Memory<Area = A>>(
        &mut self,
        mem: &M,
        descriptor: Access,
    ) -> Result<(), QueueError> {
        if self.resolved && mem.is_resolved(&self.device) {
            return Ok(());
        }
        self.resolve_each(mem, descriptor)
    }

    #[inline(never)]
    fn resolve_each<M: Memory<Area = A>>(
        &mut self,
        mem: &M,
        descriptor: Access,
    ) -> Result<(), QueueError> {
        self.resolved = false;
        if !self.is_set_up() {
            return Ok(());
        }
        let layout = self.layout;
        for (area, access) in [
            (Area::Descriptor, descriptor),
            (Area::Driver, Access::Read),
            (Area::Device, Access::Write),
        ] {
            let len = layout.len(area, self.features);
            let translation = match area {
                Area::Descriptor => &mut self.descriptor,
                Area::Driver => &mut self.driver,
                Area::Device => &mut self.device,
            };
            mem.resolve(translation, layout.address(area), len, access)
                .map_err(|error| self.failed(error, area, 0, len, access))?;
        }
        // INVARIANT: The device area came last, and `mem` has not changed meanwhile.
        self.resolved = true;
        Ok(())
    }

    /// The translation of an area.
    #[inline(always)]
    pub(super) fn translation(&self, area: Area) -> &A {
        match area {
            Area::Descriptor => &self.descriptor,
            Area::Driver => &self.driver,
            Area::Device => &self.device,
        }
    }

    /// The error when `len` bytes at `offset` in an area could not be used.
    #[cold]
    fn failed(
        &self,
        error: AccessError,
        area: Area,
        offset: usize,
        len: usize,
        access: Access,
    ) -> QueueError {
        let iova = self.layout.address(area);
        QueueError::access(
            error,
            Place {
                part: Part::Area(area),
                iova: iova.wrapping_add(u64_from_usize(offset)),
                len: u32_at_most(len),
                access,
            },
        )
    }

    /// Reads 16 bits of an area.
    #[inline(always)]
    pub(super) fn load<M: Memory<Area = A>>(
        &self,
        mem: &M,
        area: Area,
        offset: usize,
    ) -> Result<u16, QueueError> {
        mem.load_u16(self.translation(area), offset)
            .map_err(|error| self.failed(error, area, offset, 2, Access::Read))
    }

    /// Writes 16 bits of an area.
    #[inline(always)]
    pub(super) fn store<M: Memory<Area = A>>(
        &self,
        mem: &M,
        area: Area,
        offset: usize,
        value: u16,
    ) -> Result<(), QueueError> {
        mem.store_u16(self.translation(area), offset, value)
            .map_err(|error| self.failed(error, area, offset, 2, Access::Write))
    }

    /// Writes the 8 bytes of an area that tell of a used chain.
    #[inline(always)]
    pub(super) fn store_used<M: Memory<Area = A>>(
        &self,
        mem: &M,
        area: Area,
        offset: usize,
        element: [u8; USED_ELEMENT_LEN],
    ) -> Result<(), QueueError> {
        mem.store_used(self.translation(area), offset, element)
            .map_err(|error| self.failed(error, area, offset, USED_ELEMENT_LEN, Access::Write))
    }

    /// Writes what tells of several used chains; see [`Memory::store_used_many`].
    #[inline(always)]
    pub(super) fn store_used_many<M: Memory<Area = A>, T>(
        &self,
        mem: &M,
        area: Area,
        (offset, stride): (usize, usize),
        room: &mut [u64],
        chains: &[T],
        tell: impl Fn(&T) -> Option<u64>,
    ) -> Result<usize, QueueError> {
        let before = room.len().saturating_sub(1);
        let len = stride
            .saturating_mul(before)
            .saturating_add(USED_ELEMENT_LEN);
        mem.store_used_many(self.translation(area), offset, stride, room, chains, tell)
            .map_err(|error| self.failed(error, area, offset, len, Access::Write))
    }

    /// Reads the descriptor `index` of the descriptor area.
    #[inline(always)]
    pub(super) fn load_descriptor<M: Memory<Area = A>>(
        &self,
        mem: &M,
        index: u16,
    ) -> Result<[u8; DESCRIPTOR_LEN], QueueError> {
        let offset = descriptor_offset(index);
        mem.load_descriptor(&self.descriptor, offset)
            .map_err(|error| {
                self.failed(
                    error,
                    Area::Descriptor,
                    offset,
                    DESCRIPTOR_LEN,
                    Access::Read,
                )
            })
    }
}
