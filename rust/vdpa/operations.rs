// SPDX-License-Identifier: GPL-2.0

//! The operations of a vDPA device.
//!
//! C header: [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h),
//! `struct vdpa_config_ops`

use super::{
    device::Device,
    doorbell::Doorbell,
    iommu::MapRequest,
    stats::{
        ExtAck,
        StatsWriter, //
    },
    types::{
        IovaRange,
        MapTable,
        MapToken,
        ResetFlags,
        VqAddress,
        VqState, //
    },
};
use kernel::{
    cpumask::Cpumask,
    error::VTABLE_DEFAULT_ERROR,
    mm::Mm,
    prelude::*,
    sync::aref::ARef, //
};

mod vtable;

pub(super) use vtable::OperationsVTable;

/// What a vDPA device does.
///
/// The operations are those of `struct vdpa_config_ops`, with the same names. One with a
/// default is optional: if it is not implemented, its slot is NULL, and the bus drivers see
/// that the device does not have it. `free` is the `Drop` of the type.
///
/// # Context
///
/// All operations run in process context and may sleep, except `kick_vq` and
/// `kick_vq_with_data`, which are called with softirqs or interrupts off. An `idx` is
/// always less than the number of virtqueues of the device. `dma_map` and `set_map` are
/// called with the mmap lock of the client held for reading: they must not wait for what
/// may fault on that mm.
///
/// After `reset` the abstraction forgets all callbacks.
///
/// # Examples
///
/// A device that has neither features nor virtqueues worth the name needs this much:
///
/// ```ignore
/// struct Nothing {
///     status: Atomic<u32>,
/// }
///
/// #[vtable]
/// impl vdpa::Operations for Nothing {
///     fn set_vq_address(_dev: &Device<Self>, _idx: u16, _address: VqAddress) -> Result {
///         Ok(())
///     }
///     fn set_vq_num(_dev: &Device<Self>, _idx: u16, _num: u32) {}
///     fn kick_vq(_dev: &Device<Self>, _idx: u16) {}
///     // ...
///     fn get_status(dev: &Device<Self>) -> u8 {
///         dev.status.load(Relaxed) as u8
///     }
/// }
/// ```
#[vtable]
pub trait Operations: Sized + Send + Sync + 'static {
    /// Sets the addresses of a virtqueue.
    ///
    /// Fails with `EINVAL` if the device cannot use them.
    fn set_vq_address(dev: &Device<Self>, idx: u16, address: VqAddress) -> Result;

    /// Sets the size of a virtqueue, in descriptors.
    fn set_vq_num(dev: &Device<Self>, idx: u16, num: u32);

    /// Tells that the driver has made buffers available. Atomic context.
    fn kick_vq(dev: &Device<Self>, idx: u16);

    /// As `kick_vq`, with the data of `VIRTIO_F_NOTIFICATION_DATA`: the index of the
    /// virtqueue in the low 16 bits, which the device has to check, and where the driver
    /// stands in the high ones. Atomic context.
    fn kick_vq_with_data(_dev: &Device<Self>, _data: u32) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Starts (`true`) or stops a virtqueue. When it has been stopped, the device neither
    /// accesses it nor calls back for it.
    fn set_vq_ready(dev: &Device<Self>, idx: u16, ready: bool);

    /// Whether a virtqueue was started.
    fn get_vq_ready(dev: &Device<Self>, idx: u16) -> bool;

    /// Sets where a virtqueue goes on. Fails with `EINVAL` if that is out of range.
    fn set_vq_state(dev: &Device<Self>, idx: u16, state: &VqState) -> Result;

    /// Gets where a virtqueue stands.
    fn get_vq_state(dev: &Device<Self>, idx: u16) -> Result<VqState>;

    /// Writes statistics of a virtqueue.
    fn get_vendor_vq_stats(
        _dev: &Device<Self>,
        _idx: u16,
        _stats: &mut StatsWriter<'_>,
        _extack: &mut ExtAck<'_>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the page by which a client can kick a virtqueue, which is about to get it mapped.
    fn get_vq_notification(_dev: &Device<Self>, _idx: u16) -> Option<&Doorbell> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the interrupt line of a virtqueue, for hypervisors that bypass the kernel.
    ///
    /// Meaningless for a device made of software, which has no interrupt line.
    fn get_vq_irq(_dev: &Device<Self>, _idx: u16) -> Result<u32> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the size of a virtqueue: the greatest possible before `DRIVER_OK`, then that
    /// in use.
    fn get_vq_size(_dev: &Device<Self>, _idx: u16) -> u16 {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the alignment of virtqueues, in bytes.
    fn get_vq_align(dev: &Device<Self>) -> u32;

    /// Gets the group that a virtqueue belongs to.
    fn get_vq_group(_dev: &Device<Self>, _idx: u16) -> u32 {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the group that the descriptors of a virtqueue belong to, which may have an
    /// address space of their own. Left out where the [`Shape`](super::Shape) says so.
    fn get_vq_desc_group(_dev: &Device<Self>, _idx: u16) -> u32 {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the features that the device offers.
    fn get_device_features(dev: &Device<Self>) -> u64;

    /// Gets the `VHOST_BACKEND_F_*` that depend on the device.
    fn get_backend_features(_dev: &Device<Self>) -> u64 {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Sets the features that the driver accepted.
    ///
    /// Fails with `EINVAL` if the device cannot work with these. The bus calls it with 0
    /// for a driver that reads the configuration before it negotiates.
    fn set_driver_features(dev: &Device<Self>, features: u64) -> Result;

    /// Gets the features that the driver accepted.
    fn get_driver_features(dev: &Device<Self>) -> u64;

    /// Gets the greatest size of a virtqueue.
    fn get_vq_num_max(dev: &Device<Self>) -> u16;

    /// Gets the least size of a virtqueue.
    fn get_vq_num_min(_dev: &Device<Self>) -> u16 {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the virtio device type (`VIRTIO_ID_*`).
    fn get_device_id(dev: &Device<Self>) -> u32;

    /// Gets the vendor.
    fn get_vendor_id(dev: &Device<Self>) -> u32;

    /// Gets the device status.
    fn get_status(dev: &Device<Self>) -> u8;

    /// Sets the device status, never to 0. What the device does not accept it leaves unset.
    fn set_status(dev: &Device<Self>, status: u8);

    /// Resets the device. When it returns, the device accesses no virtqueue. Mappings stay.
    fn reset(dev: &Device<Self>) -> Result;

    /// Resets the device with the quirks that older clients rely on.
    fn compat_reset(_dev: &Device<Self>, _flags: ResetFlags) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Suspends the device: when it returns, no virtqueue is accessed, no interrupt comes,
    /// and the state of each virtqueue can be read and set.
    fn suspend(_dev: &Device<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Ends the suspension.
    fn resume(_dev: &Device<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the size of the configuration, in bytes.
    fn get_config_size(dev: &Device<Self>) -> usize;

    /// Reads the configuration from `offset` on. `buf` comes zeroed; the part of it that
    /// lies behind the configuration stays so.
    fn get_config(dev: &Device<Self>, offset: usize, buf: &mut [u8]);

    /// Writes the configuration from `offset` on. What a driver may not write is ignored.
    fn set_config(dev: &Device<Self>, offset: usize, buf: &[u8]);

    /// Gets a number that changes whenever the configuration does.
    fn get_generation(_dev: &Device<Self>) -> u32 {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the iovas that the device can use.
    fn get_iova_range(_dev: &Device<Self>) -> IovaRange {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Sets the CPUs that are to work for a virtqueue; any CPU may for `None`.
    fn set_vq_affinity(_dev: &Device<Self>, _idx: u16, _mask: Option<&Cpumask>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets the CPUs that work for a virtqueue, if they were set. Drivers keep the mask as
    /// long as the device exists, also when it is set anew.
    fn get_vq_affinity(_dev: &Device<Self>, _idx: u16) -> Option<&Cpumask> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Replaces all mappings of an address space.
    ///
    /// Of a device that has `dma_map`, too, the [`Shape`](super::Shape) says which one the
    /// bus drivers use.
    fn set_map(_dev: &Device<Self>, _asid: u32, _table: &MapTable<'_>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Adds a mapping to an address space. With `dma_unmap` only.
    fn dma_map(_dev: &Device<Self>, _asid: u32, _request: &MapRequest<'_>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Removes mappings from an address space. When it returns, the device does not access
    /// their memory any more. With `dma_map` only.
    fn dma_unmap(_dev: &Device<Self>, _asid: u32, _iova: u64, _size: u64) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Brings an address space back to how the device starts with it.
    fn reset_map(_dev: &Device<Self>, _asid: u32) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Attaches a group of virtqueues to an address space. Fails with `EINVAL` if there is no
    /// such group or address space.
    fn set_group_asid(_dev: &Device<Self>, _group: u32, _asid: u32) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gets how drivers of this kernel map memory for a virtqueue, if that is not the same
    /// for all: the IOMMU of the device serves where this is not implemented.
    fn get_vq_map(_dev: &Device<Self>, _idx: u16) -> MapToken {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Sets the mm that VA mappings refer to.
    fn bind_mm(_dev: &Device<Self>, _mm: ARef<Mm>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Forgets the mm that was bound.
    fn unbind_mm(_dev: &Device<Self>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}
