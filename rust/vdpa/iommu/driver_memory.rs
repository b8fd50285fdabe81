// SPDX-License-Identifier: GPL-2.0

//! How virtio drivers of this kernel map their memory for the device.
//!
//! virtio-vdpa hands each mapping of a driver to the parent's `struct virtio_map_ops`,
//! with a token that the parent chose: here, a pointer to the [`Iommu`] of the device.
//! Driver memory belongs to address space 0, to which reset attaches all queues.
//!
//! C header: [`include/linux/virtio_config.h`](srctree/include/linux/virtio_config.h)

use super::{
    DriverMemory,
    Iommu,
    Permission,
    Place,
    Translation, //
};
use crate::{
    bindings,
    compat, //
};
use kernel::{
    alloc::Flags,
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    },
};

/// The address space that drivers of this kernel use.
const ASID: u32 = 0;

/// What a map operation returns on failure (`DMA_MAPPING_ERROR`).
const MAPPING_ERROR: u64 = u64::MAX;

/// Distinguishes strict mappings: bits 32 to 62 of their iova.
static NEXT_STRICT: Atomic<u64> = Atomic::new(0);

/// What all map operations are, unless there is something better.
const OPERATIONS: bindings::virtio_map_ops = bindings::virtio_map_ops {
    map_page: Some(map_page),
    unmap_page: Some(unmap_page),
    sync_single_for_cpu: Some(sync),
    sync_single_for_device: Some(sync),
    alloc: Some(alloc),
    free: Some(free),
    need_sync: Some(need_sync),
    mapping_error: Some(mapping_error),
    max_mapping_size: Some(max_mapping_size),
};

/// The map operations of devices whose drivers have [`DriverMemory::Strict`].
static STRICT: bindings::virtio_map_ops = OPERATIONS;

/// Those for [`DriverMemory::Identity`], where each frame is mapped and there is next to nothing
/// to do for it: less than the DMA API does.
static IDENTITY: bindings::virtio_map_ops = bindings::virtio_map_ops {
    map_page: Some(bindings::rvdpa_map_page_by_identity),
    unmap_page: Some(unmap_nothing),
    mapping_error: Some(no_mapping_error),
    ..OPERATIONS
};

impl Iommu {
    /// The token by which the map operations find `iommu`.
    pub(in crate::vdpa) fn token(iommu: &Arc<Iommu>) -> bindings::virtio_map {
        bindings::virtio_map {
            dma_dev: (&raw const **iommu).cast_mut().cast(),
        }
    }

    /// The map operations of its device.
    pub(in crate::vdpa) fn map_operations(&self) -> &'static bindings::virtio_map_ops {
        match self.core.driver_memory {
            DriverMemory::Identity => &IDENTITY,
            DriverMemory::Strict => &STRICT,
        }
    }

    /// Maps memory of a driver, and returns its iova.
    fn map_driver_memory(
        &self,
        pa: u64,
        size: usize,
        permission: Permission,
        flags: Flags,
    ) -> Result<u64> {
        match self.core.driver_memory {
            DriverMemory::Identity => {
                // Before a driver maps anything else, it allocates its rings.
                if !self.core.identity.xchg(true, Full) {
                    self.core.changed();
                }
                Ok(pa)
            }
            DriverMemory::Strict => self.map_strictly(pa, size, permission, flags),
        }
    }

    /// The same for mappings with iovas of their own.
    fn map_strictly(
        &self,
        pa: u64,
        size: usize,
        permission: Permission,
        flags: Flags,
    ) -> Result<u64> {
        // SAFETY: The function only computes.
        let place = Place::kernel(unsafe { bindings::rvdpa_virt(pa) } as usize);
        let space = self.core.space(ASID)?;
        // Two tries, in case the numbers have gone round and met a mapping that is left.
        for _ in 0..2 {
            let number = NEXT_STRICT.fetch_add(1, Relaxed) & 0x7fff_ffff;
            // The offset in the page is kept, and with it all alignment.
            let first = (number + 1) << 32 | (pa % PAGE_SIZE as u64);
            let translation = Translation {
                first,
                last: (size as u64)
                    .checked_sub(1)
                    .and_then(|more| first.checked_add(more))
                    .ok_or(EINVAL)?,
                place,
                permission,
            };
            match space.insert(translation, None, flags) {
                Err(e) if e == EEXIST => continue,
                result => return result.map(|()| first),
            }
        }
        Err(ENOSPC)
    }

    /// Undoes [`map_driver_memory`](Self::map_driver_memory).
    fn unmap_driver_memory(&self, iova: u64, size: usize) {
        if self.core.driver_memory == DriverMemory::Strict {
            let _ = self.remove(ASID, iova, size as u64);
        }
    }
}

/// # Safety
///
/// `map` is a token of [`Iommu::token`], whose IOMMU is alive.
unsafe fn iommu<'a>(map: bindings::virtio_map) -> &'a Iommu {
    // SAFETY: The token holds a pointer to an `Iommu`, which is alive as required.
    unsafe { &*map.dma_dev.cast::<Iommu>() }
}

/// # Safety
///
/// Called by virtio-vdpa with the token of the device, which is alive, and a page of the
/// driver.
unsafe extern "C" fn map_page(
    map: bindings::virtio_map,
    page: *mut kernel::bindings::page,
    offset: c_ulong,
    size: usize,
    dir: kernel::bindings::dma_data_direction,
    _attrs: c_ulong,
) -> kernel::bindings::dma_addr_t {
    let permission = if dir == compat::DMA_TO_DEVICE {
        Permission::Read
    } else if dir == compat::DMA_FROM_DEVICE {
        Permission::Write
    } else {
        Permission::ReadWrite
    };
    // SAFETY: As required of the caller.
    let (iommu, pa) = unsafe { (iommu(map), bindings::rvdpa_page_address(page, offset)) };
    iommu
        .map_driver_memory(pa, size, permission, GFP_ATOMIC)
        .unwrap_or(MAPPING_ERROR)
}

extern "C" fn unmap_nothing(
    _map: bindings::virtio_map,
    _map_handle: kernel::bindings::dma_addr_t,
    _size: usize,
    _dir: kernel::bindings::dma_data_direction,
    _attrs: c_ulong,
) {
}

/// # Safety
///
/// Called by virtio-vdpa with the token of the device, which is alive.
unsafe extern "C" fn unmap_page(
    map: bindings::virtio_map,
    map_handle: kernel::bindings::dma_addr_t,
    size: usize,
    _dir: kernel::bindings::dma_data_direction,
    _attrs: c_ulong,
) {
    // SAFETY: As required of the caller.
    unsafe { iommu(map) }.unmap_driver_memory(map_handle, size);
}

extern "C" fn sync(
    _map: bindings::virtio_map,
    _map_handle: kernel::bindings::dma_addr_t,
    _size: usize,
    _dir: kernel::bindings::dma_data_direction,
) {
}

/// # Safety
///
/// Called by virtio-vdpa with the token of the device, which is alive; `map_handle` is
/// valid for writes.
unsafe extern "C" fn alloc(
    map: bindings::virtio_map,
    size: usize,
    map_handle: *mut kernel::bindings::dma_addr_t,
    gfp: kernel::bindings::gfp_t,
) -> *mut c_void {
    let mut pa = 0;
    // SAFETY: `pa` is ours.
    let vaddr = unsafe { bindings::rvdpa_ring_alloc(size, gfp, &mut pa) };
    if vaddr.is_null() {
        return vaddr;
    }
    // SAFETY: As required of the caller.
    let iommu = unsafe { iommu(map) };
    match iommu.map_driver_memory(pa, size, Permission::ReadWrite, GFP_ATOMIC) {
        Ok(iova) => {
            // SAFETY: As required of the caller.
            unsafe { *map_handle = iova };
            vaddr
        }
        Err(_) => {
            // SAFETY: `vaddr` is what `rvdpa_ring_alloc` returned for `size`.
            unsafe { bindings::rvdpa_ring_free(vaddr, size) };
            core::ptr::null_mut()
        }
    }
}

/// # Safety
///
/// Called by virtio-vdpa with the token of the device, which is alive, and what `alloc`
/// returned.
unsafe extern "C" fn free(
    map: bindings::virtio_map,
    size: usize,
    vaddr: *mut c_void,
    map_handle: kernel::bindings::dma_addr_t,
    _attrs: c_ulong,
) {
    // SAFETY: As required of the caller.
    unsafe { iommu(map) }.unmap_driver_memory(map_handle, size);
    // SAFETY: As required of the caller; the device does not reach it any more, or, with
    // identity, has been told by the driver not to.
    unsafe { bindings::rvdpa_ring_free(vaddr, size) };
}

extern "C" fn need_sync(
    _map: bindings::virtio_map,
    _map_handle: kernel::bindings::dma_addr_t,
) -> bool {
    false
}

extern "C" fn mapping_error(
    _map: bindings::virtio_map,
    map_handle: kernel::bindings::dma_addr_t,
) -> c_int {
    if map_handle == MAPPING_ERROR {
        ENOMEM.to_errno()
    } else {
        0
    }
}

extern "C" fn no_mapping_error(
    _map: bindings::virtio_map,
    _map_handle: kernel::bindings::dma_addr_t,
) -> c_int {
    0
}

extern "C" fn max_mapping_size(_map: bindings::virtio_map) -> usize {
    // A strict mapping must not reach the iovas of the next one.
    u32::MAX as usize - PAGE_SIZE
}
