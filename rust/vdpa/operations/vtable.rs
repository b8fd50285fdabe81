// SPDX-License-Identifier: GPL-2.0

//! The C side of [`Operations`]: one shim for each, and the table of them.
//!
//! The bus calls a shim with a device that was made by [`Device::new`] with this very
//! table and that is alive: this is what "as the bus promises" means below.

use super::Operations;
use crate::{
    bindings,
    vdpa::{
        device::Device,
        doorbell::Doorbell,
        iommu::{
            MapRequest,
            Permission, //
        },
        nospec::index_nospec,
        stats::{
            ExtAck,
            StatsWriter, //
        },
        types::{
            MapTable,
            ResetFlags,
            Shape,
            VqAddress,
            VqState, //
        },
    },
};
use core::{
    marker::PhantomData,
    ptr,
    slice, //
};
use kernel::{
    cpumask::Cpumask,
    error::from_result,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    mm::Mm,
    prelude::*, //
};

/// The operations of a device that carries a `T`, for the bus.
pub(in crate::vdpa) struct OperationsVTable<T: Operations>(PhantomData<T>);

/// The device behind `vdev`.
///
/// # Safety
///
/// `vdev` is a device as the bus promises, and stays alive for `'a`.
#[inline]
unsafe fn from_raw<'a, T: Operations>(vdev: *const bindings::vdpa_device) -> &'a Device<T> {
    // SAFETY: As required of the caller.
    unsafe { Device::from_raw(vdev) }
}

/// Checks the index of a virtqueue, which may come from userspace.
#[inline]
fn checked<T: Operations>(dev: &Device<T>, idx: u16) -> Option<u16> {
    let queues = dev.parts().interrupts.queues();
    // Not more than it was.
    (u32::from(idx) < queues).then(|| index_nospec(idx.into(), queues as usize) as u16)
}

/// Runs `op` with a valid index of a virtqueue.
#[inline]
fn with_vq<T: Operations, R>(
    dev: &Device<T>,
    idx: u16,
    otherwise: R,
    op: impl FnOnce(&Device<T>, u16) -> R,
) -> R {
    match checked(dev, idx) {
        Some(idx) => op(dev, idx),
        None => otherwise,
    }
}

/// `EINVAL` as C functions return it.
fn einval() -> c_int {
    EINVAL.to_errno()
}

impl<T: Operations> OperationsVTable<T> {
    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn set_vq_address(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        desc: u64,
        driver: u64,
        device: u64,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, einval(), |dev, idx| {
            from_result(|| {
                T::set_vq_address(
                    dev,
                    idx,
                    VqAddress {
                        desc,
                        driver,
                        device,
                    },
                )?;
                Ok(0)
            })
        })
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn set_vq_num(vdev: *mut bindings::vdpa_device, idx: u16, num: u32) {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, (), |dev, idx| T::set_vq_num(dev, idx, num))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn kick_vq(vdev: *mut bindings::vdpa_device, idx: u16) {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, (), |dev, idx| T::kick_vq(dev, idx))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn kick_vq_with_data(vdev: *mut bindings::vdpa_device, data: u32) {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::kick_vq_with_data(dev, data)
    }

    /// # Safety
    ///
    /// Called by the bus with a callback that is valid for reads.
    unsafe extern "C" fn set_vq_cb(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        cb: *mut bindings::vdpa_callback,
    ) {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, (), |dev, idx| {
            if let Some(callback) = dev.parts().interrupts.queue(idx) {
                // SAFETY: As the bus promises.
                unsafe { callback.register(cb) };
            }
        })
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn set_vq_ready(vdev: *mut bindings::vdpa_device, idx: u16, ready: bool) {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, (), |dev, idx| T::set_vq_ready(dev, idx, ready))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_ready(vdev: *mut bindings::vdpa_device, idx: u16) -> bool {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, false, |dev, idx| T::get_vq_ready(dev, idx))
    }

    /// # Safety
    ///
    /// Called by the bus with a state that is valid for reads.
    unsafe extern "C" fn set_vq_state(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        state: *const bindings::vdpa_vq_state,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, einval(), |dev, idx| {
            from_result(|| {
                // SAFETY: As the bus promises.
                let state = unsafe { VqState::from_raw(state) };
                T::set_vq_state(dev, idx, &state)?;
                Ok(0)
            })
        })
    }

    /// # Safety
    ///
    /// Called by the bus with a state that is valid for writes.
    unsafe extern "C" fn get_vq_state(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        state: *mut bindings::vdpa_vq_state,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, einval(), |dev, idx| {
            from_result(|| {
                let got = T::get_vq_state(dev, idx)?.into_raw();
                // SAFETY: As the bus promises.
                unsafe { *state = got };
                Ok(0)
            })
        })
    }

    /// # Safety
    ///
    /// Called by the bus with a message under construction.
    unsafe extern "C" fn get_vendor_vq_stats(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        msg: *mut kernel::bindings::sk_buff,
        extack: *mut kernel::bindings::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        // SAFETY: As the bus promises.
        let mut extack = unsafe { ExtAck::from_raw(extack) };
        from_result(|| {
            let Some(idx) = checked(dev, idx) else {
                extack.set(c"there is no virtqueue of this index");
                return Err(EINVAL);
            };
            // SAFETY: As the bus promises.
            let mut stats = unsafe { StatsWriter::from_raw(msg) }.ok_or(EINVAL)?;
            T::get_vendor_vq_stats(dev, idx, &mut stats, &mut extack)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_notification(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
    ) -> bindings::vdpa_notification_area {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        const NONE: bindings::vdpa_notification_area =
            bindings::vdpa_notification_area { addr: 0, size: 0 };
        with_vq(dev, idx, NONE, |dev, idx| {
            T::get_vq_notification(dev, idx).map_or(NONE, Doorbell::area)
        })
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_irq(vdev: *mut bindings::vdpa_device, idx: u16) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, einval(), |dev, idx| {
            match T::get_vq_irq(dev, idx) {
                Ok(irq) => c_int::try_from(irq).unwrap_or(einval()),
                Err(e) => e.to_errno(),
            }
        })
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_size(vdev: *mut bindings::vdpa_device, idx: u16) -> u16 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, 0, |dev, idx| T::get_vq_size(dev, idx))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_align(vdev: *mut bindings::vdpa_device) -> u32 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_vq_align(dev)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_group(vdev: *mut bindings::vdpa_device, idx: u16) -> u32 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, u32::MAX, |dev, idx| T::get_vq_group(dev, idx))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_desc_group(vdev: *mut bindings::vdpa_device, idx: u16) -> u32 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, u32::MAX, |dev, idx| {
            T::get_vq_desc_group(dev, idx)
        })
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_device_features(vdev: *mut bindings::vdpa_device) -> u64 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_device_features(dev)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_backend_features(vdev: *const bindings::vdpa_device) -> u64 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_backend_features(dev)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn set_driver_features(
        vdev: *mut bindings::vdpa_device,
        features: u64,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        from_result(|| {
            T::set_driver_features(dev, features)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_driver_features(vdev: *mut bindings::vdpa_device) -> u64 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_driver_features(dev)
    }

    /// # Safety
    ///
    /// Called by the bus with a callback that is valid for reads.
    unsafe extern "C" fn set_config_cb(
        vdev: *mut bindings::vdpa_device,
        cb: *mut bindings::vdpa_callback,
    ) {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        // SAFETY: As the bus promises.
        unsafe { dev.parts().interrupts.config().register(cb) }
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_num_max(vdev: *mut bindings::vdpa_device) -> u16 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_vq_num_max(dev)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_num_min(vdev: *mut bindings::vdpa_device) -> u16 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_vq_num_min(dev)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_device_id(vdev: *mut bindings::vdpa_device) -> u32 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_device_id(dev)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vendor_id(vdev: *mut bindings::vdpa_device) -> u32 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_vendor_id(dev)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_status(vdev: *mut bindings::vdpa_device) -> u8 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_status(dev)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn set_status(vdev: *mut bindings::vdpa_device, status: u8) {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::set_status(dev, status)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn reset(vdev: *mut bindings::vdpa_device) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        let result = T::reset(dev);
        // Nobody else clears them, and what they call may be gone after this.
        dev.parts().interrupts.clear();
        from_result(|| result.map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn compat_reset(vdev: *mut bindings::vdpa_device, flags: u32) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        let result = T::compat_reset(dev, ResetFlags(flags));
        dev.parts().interrupts.clear();
        from_result(|| result.map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn suspend(vdev: *mut bindings::vdpa_device) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        from_result(|| T::suspend(dev).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn resume(vdev: *mut bindings::vdpa_device) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        from_result(|| T::resume(dev).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_config_size(vdev: *mut bindings::vdpa_device) -> usize {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_config_size(dev)
    }

    /// # Safety
    ///
    /// Called by the bus with `len` bytes that are valid for writes.
    unsafe extern "C" fn get_config(
        vdev: *mut bindings::vdpa_device,
        offset: c_uint,
        buf: *mut c_void,
        len: c_uint,
    ) {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        if buf.is_null() {
            return;
        }
        let buf: *mut u8 = buf.cast();
        // SAFETY: As the bus promises. What the device does not fill must not leak what
        // was there.
        let buf = unsafe {
            ptr::write_bytes(buf, 0, len as usize);
            slice::from_raw_parts_mut(buf, len as usize)
        };
        T::get_config(dev, offset as usize, buf)
    }

    /// # Safety
    ///
    /// Called by the bus with `len` bytes that are valid for reads.
    unsafe extern "C" fn set_config(
        vdev: *mut bindings::vdpa_device,
        offset: c_uint,
        buf: *const c_void,
        len: c_uint,
    ) {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        if buf.is_null() {
            return;
        }
        // SAFETY: As the bus promises.
        let buf = unsafe { slice::from_raw_parts(buf.cast::<u8>(), len as usize) };
        T::set_config(dev, offset as usize, buf)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_generation(vdev: *mut bindings::vdpa_device) -> u32 {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::get_generation(dev)
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_iova_range(
        vdev: *mut bindings::vdpa_device,
    ) -> bindings::vdpa_iova_range {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        let range = T::get_iova_range(dev);
        bindings::vdpa_iova_range {
            first: range.first,
            last: range.last,
        }
    }

    /// # Safety
    ///
    /// Called by the bus with NULL or a valid mask.
    unsafe extern "C" fn set_vq_affinity(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
        mask: *const kernel::bindings::cpumask,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, einval(), |dev, idx| {
            // SAFETY: As the bus promises, where it is not NULL.
            let mask = (!mask.is_null()).then(|| unsafe { Cpumask::from_raw(mask) });
            from_result(|| T::set_vq_affinity(dev, idx, mask).map(|()| 0))
        })
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_affinity(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
    ) -> *const kernel::bindings::cpumask {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(dev, idx, ptr::null(), |dev, idx| {
            T::get_vq_affinity(dev, idx).map_or(ptr::null(), |mask| mask.as_raw().cast_const())
        })
    }

    /// # Safety
    ///
    /// Called by the bus with a table that does not change meanwhile.
    unsafe extern "C" fn set_map(
        vdev: *mut bindings::vdpa_device,
        asid: c_uint,
        iotlb: *mut bindings::vhost_iotlb,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        // SAFETY: As the bus promises.
        let table = unsafe { MapTable::from_raw(iotlb) };
        from_result(|| T::set_map(dev, asid, &table).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the bus with memory that is pinned, or in the bound mm.
    unsafe extern "C" fn dma_map(
        vdev: *mut bindings::vdpa_device,
        asid: c_uint,
        iova: u64,
        size: u64,
        pa: u64,
        perm: u32,
        _opaque: *mut c_void,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        from_result(|| {
            let request = MapRequest {
                iova,
                size,
                permission: Permission::from_vhost(perm).ok_or(EINVAL)?,
                address: pa,
                _operation: PhantomData,
            };
            T::dma_map(dev, asid, &request)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn dma_unmap(
        vdev: *mut bindings::vdpa_device,
        asid: c_uint,
        iova: u64,
        size: u64,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        from_result(|| T::dma_unmap(dev, asid, iova, size).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn reset_map(vdev: *mut bindings::vdpa_device, asid: c_uint) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        from_result(|| T::reset_map(dev, asid).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn set_group_asid(
        vdev: *mut bindings::vdpa_device,
        group: c_uint,
        asid: c_uint,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        from_result(|| T::set_group_asid(dev, group, asid).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn get_vq_map(
        vdev: *mut bindings::vdpa_device,
        idx: u16,
    ) -> bindings::virtio_map {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        with_vq(
            dev,
            idx,
            bindings::virtio_map {
                dma_dev: ptr::null_mut(),
            },
            |dev, idx| T::get_vq_map(dev, idx).0,
        )
    }

    /// # Safety
    ///
    /// Called by the bus with a valid mm.
    unsafe extern "C" fn bind_mm(
        vdev: *mut bindings::vdpa_device,
        mm: *mut kernel::bindings::mm_struct,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        // SAFETY: As the bus promises.
        let mm = unsafe { Mm::from_raw(mm) };
        from_result(|| T::bind_mm(dev, mm.into()).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the bus.
    unsafe extern "C" fn unbind_mm(vdev: *mut bindings::vdpa_device) {
        // SAFETY: As the bus promises.
        let dev = unsafe { from_raw::<T>(vdev) };
        T::unbind_mm(dev)
    }

    /// The table of a device of this shape. Its slots are NULL for what `T` does not implement,
    /// and for what the shape leaves out.
    const fn table(shape: Shape) -> bindings::vdpa_config_ops {
        let Shape {
            whole_tables,
            desc_groups,
        } = shape;
        // The bus drivers go by which operations there are.
        let has_set_map = T::HAS_SET_MAP && (whole_tables || !T::HAS_DMA_MAP);
        let has_dma_map = T::HAS_DMA_MAP && !has_set_map;
        bindings::vdpa_config_ops {
            set_vq_address: Some(Self::set_vq_address),
            set_vq_num: Some(Self::set_vq_num),
            kick_vq: Some(Self::kick_vq),
            kick_vq_with_data: if T::HAS_KICK_VQ_WITH_DATA {
                Some(Self::kick_vq_with_data)
            } else {
                None
            },
            set_vq_cb: Some(Self::set_vq_cb),
            set_vq_ready: Some(Self::set_vq_ready),
            get_vq_ready: Some(Self::get_vq_ready),
            set_vq_state: Some(Self::set_vq_state),
            get_vq_state: Some(Self::get_vq_state),
            get_vendor_vq_stats: if T::HAS_GET_VENDOR_VQ_STATS {
                Some(Self::get_vendor_vq_stats)
            } else {
                None
            },
            get_vq_notification: if T::HAS_GET_VQ_NOTIFICATION {
                Some(Self::get_vq_notification)
            } else {
                None
            },
            get_vq_irq: if T::HAS_GET_VQ_IRQ {
                Some(Self::get_vq_irq)
            } else {
                None
            },
            get_vq_size: if T::HAS_GET_VQ_SIZE {
                Some(Self::get_vq_size)
            } else {
                None
            },
            get_vq_align: Some(Self::get_vq_align),
            get_vq_group: if T::HAS_GET_VQ_GROUP {
                Some(Self::get_vq_group)
            } else {
                None
            },
            get_vq_desc_group: if T::HAS_GET_VQ_DESC_GROUP && desc_groups {
                Some(Self::get_vq_desc_group)
            } else {
                None
            },
            get_device_features: Some(Self::get_device_features),
            get_backend_features: if T::HAS_GET_BACKEND_FEATURES {
                Some(Self::get_backend_features)
            } else {
                None
            },
            set_driver_features: Some(Self::set_driver_features),
            get_driver_features: Some(Self::get_driver_features),
            set_config_cb: Some(Self::set_config_cb),
            get_vq_num_max: Some(Self::get_vq_num_max),
            get_vq_num_min: if T::HAS_GET_VQ_NUM_MIN {
                Some(Self::get_vq_num_min)
            } else {
                None
            },
            get_device_id: Some(Self::get_device_id),
            get_vendor_id: Some(Self::get_vendor_id),
            get_status: Some(Self::get_status),
            set_status: Some(Self::set_status),
            reset: Some(Self::reset),
            compat_reset: if T::HAS_COMPAT_RESET {
                Some(Self::compat_reset)
            } else {
                None
            },
            suspend: if T::HAS_SUSPEND {
                Some(Self::suspend)
            } else {
                None
            },
            resume: if T::HAS_RESUME {
                Some(Self::resume)
            } else {
                None
            },
            get_config_size: Some(Self::get_config_size),
            get_config: Some(Self::get_config),
            set_config: Some(Self::set_config),
            get_generation: if T::HAS_GET_GENERATION {
                Some(Self::get_generation)
            } else {
                None
            },
            get_iova_range: if T::HAS_GET_IOVA_RANGE {
                Some(Self::get_iova_range)
            } else {
                None
            },
            set_vq_affinity: if T::HAS_SET_VQ_AFFINITY {
                Some(Self::set_vq_affinity)
            } else {
                None
            },
            get_vq_affinity: if T::HAS_GET_VQ_AFFINITY {
                Some(Self::get_vq_affinity)
            } else {
                None
            },
            set_map: if has_set_map {
                Some(Self::set_map)
            } else {
                None
            },
            dma_map: if has_dma_map {
                Some(Self::dma_map)
            } else {
                None
            },
            dma_unmap: if T::HAS_DMA_UNMAP && has_dma_map {
                Some(Self::dma_unmap)
            } else {
                None
            },
            reset_map: if T::HAS_RESET_MAP {
                Some(Self::reset_map)
            } else {
                None
            },
            set_group_asid: if T::HAS_SET_GROUP_ASID {
                Some(Self::set_group_asid)
            } else {
                None
            },
            get_vq_map: if T::HAS_GET_VQ_MAP {
                Some(Self::get_vq_map)
            } else {
                None
            },
            bind_mm: if T::HAS_BIND_MM {
                Some(Self::bind_mm)
            } else {
                None
            },
            unbind_mm: if T::HAS_UNBIND_MM {
                Some(Self::unbind_mm)
            } else {
                None
            },
            free: Some(Device::<T>::release),
        }
    }

    /// The table of a device of this shape.
    pub(in crate::vdpa) fn build(shape: Shape) -> &'static bindings::vdpa_config_ops {
        match (shape.whole_tables, shape.desc_groups) {
            (false, false) => &Self::INCREMENTAL,
            (false, true) => &Self::INCREMENTAL_DESC_GROUPS,
            (true, false) => &Self::WHOLE,
            (true, true) => &Self::WHOLE_DESC_GROUPS,
        }
    }

    const INCREMENTAL: bindings::vdpa_config_ops = Self::table(Shape {
        whole_tables: false,
        desc_groups: false,
    });
    const INCREMENTAL_DESC_GROUPS: bindings::vdpa_config_ops = Self::table(Shape {
        whole_tables: false,
        desc_groups: true,
    });
    const WHOLE: bindings::vdpa_config_ops = Self::table(Shape {
        whole_tables: true,
        desc_groups: false,
    });
    const WHOLE_DESC_GROUPS: bindings::vdpa_config_ops = Self::table(Shape {
        whole_tables: true,
        desc_groups: true,
    });
}
