// SPDX-License-Identifier: GPL-2.0

//! What operations take and return.
//!
//! C header: [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h)

use super::iommu::{
    Iommu,
    MapRequest,
    Permission, //
};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The addresses of the three areas of a virtqueue, as iovas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VqAddress {
    /// Descriptor area: the descriptor table, or the packed ring.
    pub desc: u64,
    /// Driver area: the available ring, or the driver's event suppression.
    pub driver: u64,
    /// Device area: the used ring, or the device's event suppression.
    pub device: u64,
}

/// Where a packed virtqueue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedState {
    /// Next descriptor that the device looks at, from 0 to 32767.
    pub last_avail_idx: u16,
    /// The driver ring's wrap counter there.
    pub last_avail_counter: bool,
    /// Next descriptor that the device writes as used, from 0 to 32767.
    pub last_used_idx: u16,
    /// The device ring's wrap counter there.
    pub last_used_counter: bool,
}

/// The state of a virtqueue (`struct vdpa_vq_state`).
///
/// Which of the two it is depends on whether `VIRTIO_F_RING_PACKED` was negotiated, which
/// the operation that gets or gives it knows.
pub struct VqState(bindings::vdpa_vq_state);

impl VqState {
    /// The state of a split virtqueue: the index of the next available entry.
    pub fn from_split(avail_index: u16) -> Self {
        let mut raw = bindings::vdpa_vq_state::default();
        // SAFETY: `raw` is ours.
        unsafe { bindings::rvdpa_vq_state_split_set(&mut raw, avail_index) };
        Self(raw)
    }

    /// The state of a packed virtqueue. Of the indices, the low 15 bits count.
    pub fn from_packed(state: PackedState) -> Self {
        let half = |index: u16, counter: bool| index & 0x7fff | u16::from(counter) << 15;
        let avail = half(state.last_avail_idx, state.last_avail_counter);
        let used = half(state.last_used_idx, state.last_used_counter);
        let mut raw = bindings::vdpa_vq_state::default();
        // SAFETY: `raw` is ours.
        unsafe {
            bindings::rvdpa_vq_state_packed_set(&mut raw, u32::from(used) << 16 | u32::from(avail))
        };
        Self(raw)
    }

    /// As the state of a split virtqueue.
    pub fn split(&self) -> u16 {
        // SAFETY: `self.0` is valid for reads.
        unsafe { bindings::rvdpa_vq_state_split_get(&self.0) }
    }

    /// As the state of a packed virtqueue.
    pub fn packed(&self) -> PackedState {
        // SAFETY: `self.0` is valid for reads.
        let bits = unsafe { bindings::rvdpa_vq_state_packed_get(&self.0) };
        PackedState {
            last_avail_idx: (bits & 0x7fff) as u16,
            last_avail_counter: bits & 1 << 15 != 0,
            last_used_idx: (bits >> 16 & 0x7fff) as u16,
            last_used_counter: bits & 1 << 31 != 0,
        }
    }

    /// # Safety
    ///
    /// `raw` is valid for reads.
    pub(super) unsafe fn from_raw(raw: *const bindings::vdpa_vq_state) -> Self {
        // SAFETY: As required of the caller.
        Self(unsafe { *raw })
    }

    pub(super) fn into_raw(self) -> bindings::vdpa_vq_state {
        self.0
    }
}

/// The iovas that a device can use (`struct vdpa_iova_range`), both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IovaRange {
    /// The first one.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// What a reset is to do beside resetting (`VDPA_RESET_F_*`), for clients from before
/// `VHOST_BACKEND_F_IOTLB_PERSIST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetFlags(pub(super) u32);

impl ResetFlags {
    /// Whether the mappings go, too.
    pub fn clean_map(self) -> bool {
        self.0 & bindings::VDPA_RESET_F_CLEAN_MAP != 0
    }
}

/// What bus drivers find in a device by whether it has certain operations. Each device may
/// be of another shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Of a device that implements both `set_map` and `dma_map`: mappings come as whole tables,
    /// by `set_map`, not one by one.
    pub whole_tables: bool,
    /// Of a device that implements `get_vq_desc_group`: the rings of virtqueues may have
    /// an address space of their own (`VHOST_BACKEND_F_DESC_ASID`).
    pub desc_groups: bool,
}

/// How drivers of this kernel map memory for a virtqueue (`union virtio_map`).
pub struct MapToken(pub(super) bindings::virtio_map);

impl MapToken {
    /// Through the IOMMU of the device.
    pub fn new(iommu: &Arc<Iommu>) -> Self {
        Self(Iommu::token(iommu))
    }
}

/// All mappings that an address space is to have, for `set_map`
/// (`struct vhost_iotlb`).
pub struct MapTable<'a> {
    raw: *mut bindings::vhost_iotlb,
    _table: PhantomData<&'a ()>,
}

impl MapTable<'_> {
    /// # Safety
    ///
    /// `raw` is valid, and does not change, while the value exists.
    pub(super) unsafe fn from_raw(raw: *mut bindings::vhost_iotlb) -> Self {
        Self {
            raw,
            _table: PhantomData,
        }
    }

    /// The mapping that covers `iova`, if vhost-vdpa gives it a permission that exists.
    pub fn find(&self, iova: u64) -> Option<MapRequest<'_>> {
        // SAFETY: The table is valid and does not change, as `from_raw` requires.
        let map = unsafe { bindings::vhost_iotlb_itree_first(self.raw, iova, iova) };
        // SAFETY: As above, and so are its entries.
        request(unsafe { map.as_ref() }?).ok()
    }

    /// Calls `each` with the mappings in the order of their iovas, until it fails.
    ///
    /// Fails with what `each` fails with, and with `EINVAL` if vhost-vdpa gives a permission
    /// that does not exist.
    pub fn for_each(&self, mut each: impl FnMut(&MapRequest<'_>) -> Result) -> Result {
        // SAFETY: The table is valid and does not change, as `from_raw` requires.
        let mut map = unsafe { bindings::vhost_iotlb_itree_first(self.raw, 0, u64::MAX) };
        // SAFETY: As above, and so are its entries.
        while let Some(entry) = unsafe { map.as_ref() } {
            each(&request(entry)?)?;
            // SAFETY: As above.
            map = unsafe { bindings::vhost_iotlb_itree_next(map, 0, u64::MAX) };
        }
        Ok(())
    }
}

/// What an entry of a table asks for. Fails with `EINVAL` for a permission that does not
/// exist.
fn request(entry: &bindings::vhost_iotlb_map) -> Result<MapRequest<'_>> {
    Ok(MapRequest {
        iova: entry.start,
        size: entry.size,
        permission: Permission::from_vhost(entry.perm).ok_or(EINVAL)?,
        address: entry.addr,
        _operation: PhantomData,
    })
}
