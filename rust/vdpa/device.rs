// SPDX-License-Identifier: GPL-2.0

//! vDPA devices.
//!
//! C header: [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h), `struct vdpa_device`

use super::{
    callback::Callback,
    iommu::Iommu,
    operations::{
        Operations,
        OperationsVTable, //
    },
    types::Shape,
};
use crate::{
    bindings,
    compat, //
};
use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    error::from_err_ptr,
    prelude::*,
    str::CStr,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        Arc,
    },
    types::Opaque,
};

/// A reference to a module, which cannot be unloaded while it exists.
///
/// # Invariants
///
/// A reference to the module has been taken, and belongs to this value.
pub(super) struct ModuleRef(NonNull<kernel::bindings::module>);

// SAFETY: Module references may be given back by any thread.
unsafe impl Send for ModuleRef {}
// SAFETY: Nothing can be done with a shared module reference.
unsafe impl Sync for ModuleRef {}

impl ModuleRef {
    /// Takes a reference. Fails with `ENODEV` if the module is on its way out.
    pub(super) fn new(module: &'static ThisModule) -> Result<Self> {
        let raw = module.as_ptr();
        // SAFETY: `raw` is NULL or the module that this code belongs to.
        if !unsafe { bindings::rvdpa_module_get(raw) } {
            return Err(ENODEV);
        }
        // Built-in code has no module, and needs no reference.
        // INVARIANT: The reference has just been taken.
        Ok(Self(NonNull::new(raw).unwrap_or(NonNull::dangling())))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        if self.0 != NonNull::dangling() {
            // SAFETY: The reference is ours by the type invariant. The instructions that
            // follow are still the module's: `ManagementDevice` waits for them.
            unsafe { bindings::rvdpa_module_put(self.0.as_ptr()) };
        }
    }
}

/// The interrupts of one device: one for each virtqueue, and that of the configuration.
///
/// Made before the device, so that what the device consists of can share them.
pub struct Interrupts {
    queues: KVec<Arc<Callback>>,
    config: Arc<Callback>,
}

impl Interrupts {
    /// Makes the interrupts of a device with `queues` virtqueues.
    pub fn new(queues: u16) -> Result<Self> {
        let mut all = KVec::with_capacity(queues.into(), GFP_KERNEL)?;
        for _ in 0..queues {
            all.push(Callback::new()?, GFP_KERNEL)?;
        }
        Ok(Self {
            queues: all,
            config: Callback::new()?,
        })
    }

    /// The interrupt of virtqueue `index`.
    pub fn queue(&self, index: u16) -> Option<&Arc<Callback>> {
        self.queues.get(usize::from(index))
    }

    /// The config interrupt.
    pub fn config(&self) -> &Arc<Callback> {
        &self.config
    }

    /// How many virtqueues there are.
    pub(super) fn queues(&self) -> u32 {
        self.queues.len() as u32
    }

    /// Forgets all that bus drivers have registered.
    pub(super) fn clear(&self) {
        for callback in &self.queues {
            callback.clear();
        }
        self.config.clear();
    }
}

/// What a device is made of, beside its `struct vdpa_device`.
#[pin_data]
pub(super) struct Parts<T> {
    pub(super) interrupts: Interrupts,
    pub(super) iommu: Arc<Iommu>,
    #[pin]
    pub(super) data: T,
    /// Last, so that it is given back last.
    _module: ModuleRef,
}

/// A vDPA device whose operations are those of `T`, and which carries a `T`.
///
/// Reference-counted: the bus frees it when the last reference goes, which may be long
/// after it was deleted.
///
/// # Invariants
///
/// `vdev` was made by `__vdpa_alloc_device` with the operations of `T`. `parts` is
/// initialised if `live` is set, and `live` is set for all that code outside of this
/// module gets to see.
#[repr(C)]
pub struct Device<T: Operations> {
    vdev: Opaque<bindings::vdpa_device>,
    live: UnsafeCell<bool>,
    parts: UnsafeCell<MaybeUninit<Parts<T>>>,
}

// SAFETY: The bus uses devices from any thread, and `Operations` requires `Send` and `Sync`
// of `T`.
unsafe impl<T: Operations> Send for Device<T> {}
// SAFETY: As above.
unsafe impl<T: Operations> Sync for Device<T> {}

impl<T: Operations> Device<T> {
    /// Makes a device, which is not registered yet.
    ///
    /// `parent` is the device of the management device.
    pub(super) fn new<E>(
        parent: *mut kernel::bindings::device,
        name: &CStr,
        module: ModuleRef,
        new: NewDevice<impl PinInit<T, E>>,
    ) -> Result<ARef<Self>>
    where
        Error: From<E>,
    {
        const {
            // What kzalloc() promises for sizes that are no power of two.
            assert!(align_of::<Self>() <= align_of::<u64>());
        }
        let NewDevice {
            interrupts,
            iommu,
            groups,
            shape,
            init,
        } = new;
        // SAFETY: `parent` is valid, the operations are static, and `name` is copied.
        let vdev = from_err_ptr(unsafe {
            bindings::__vdpa_alloc_device(
                parent,
                OperationsVTable::<T>::build(shape),
                iommu.map_operations(),
                groups,
                iommu.spaces(),
                size_of::<Self>(),
                name.as_char_ptr(),
                iommu.uses_va(),
            )
        })?;
        let this = NonNull::new(vdev.cast::<Self>()).ok_or(ENOMEM)?;
        // The reference that allocation gave: dropping it calls `release`, which copes
        // with a device that is not live.
        // SAFETY: `vdev` is at offset 0 of a `Device`, and we own that reference.
        let device = unsafe { ARef::from_raw(this) };

        // SAFETY: `vdev` is valid and nobody else knows it yet.
        unsafe { (*vdev).vmap = Iommu::token(&iommu) };
        let parts = try_pin_init!(Parts {
            interrupts,
            iommu,
            data <- init,
            _module: module,
        }? Error);
        // SAFETY: The slot is part of the allocation, which does not move, and nobody else
        // knows it yet.
        unsafe { compat::raw_try_init((*device.parts.get()).as_mut_ptr(), parts) }?;
        // INVARIANT: `parts` is initialised.
        // SAFETY: Nobody else knows the device yet.
        unsafe { *device.live.get() = true };
        Ok(device)
    }

    /// The C device.
    pub(super) fn as_raw(&self) -> *mut bindings::vdpa_device {
        self.vdev.get()
    }

    /// The device that `vdev` is part of.
    ///
    /// # Safety
    ///
    /// `vdev` belongs to a live `Device<T>` and stays valid for `'a`.
    #[inline]
    pub(super) unsafe fn from_raw<'a>(vdev: *const bindings::vdpa_device) -> &'a Self {
        // SAFETY: `vdev` is at offset 0 of a `Device<T>`, as required of the caller.
        unsafe { &*vdev.cast::<Self>() }
    }

    /// What the device is made of.
    #[inline]
    pub(super) fn parts(&self) -> &Parts<T> {
        // SAFETY: `parts` is initialised by the type invariant, and changed by `release`
        // only, when no reference is left.
        unsafe { (*self.parts.get()).assume_init_ref() }
    }

    /// Its name on the bus.
    pub fn name(&self) -> &CStr {
        // SAFETY: The device is valid and has a name since it was allocated.
        let dev: &kernel::device::Device =
            unsafe { kernel::device::Device::from_raw(&raw mut (*self.as_raw()).dev) };
        dev.name()
    }

    /// Its IOMMU.
    pub fn iommu(&self) -> &Arc<Iommu> {
        &self.parts().iommu
    }

    /// Ends what the device consists of; the bus frees the memory afterwards.
    ///
    /// # Safety
    ///
    /// `vdev` is part of a `Device<T>` to which no reference is left.
    pub(super) unsafe extern "C" fn release(vdev: *mut bindings::vdpa_device) {
        // SAFETY: As required of the caller.
        let this = unsafe { &*vdev.cast::<Self>() };
        // SAFETY: Nobody else has a reference.
        if unsafe { *this.live.get() } {
            this.parts().interrupts.clear();
            // SAFETY: `parts` is initialised by the type invariant; it is dropped once.
            unsafe { ptr::drop_in_place((*this.parts.get()).as_mut_ptr()) };
        }
    }
}

impl<T: Operations> Deref for Device<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.parts().data
    }
}

// SAFETY: The count is that of the `struct device`.
unsafe impl<T: Operations> AlwaysRefCounted for Device<T> {
    fn inc_ref(&self) {
        // SAFETY: The existence of a reference shows that the count is not zero.
        unsafe { kernel::bindings::get_device(&raw mut (*self.as_raw()).dev) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference; `vdev` is at offset 0.
        unsafe {
            kernel::bindings::put_device(
                &raw mut (*obj.cast::<bindings::vdpa_device>().as_ptr()).dev,
            )
        };
    }
}

/// What a management device gives in order to have a device made.
pub struct NewDevice<I> {
    /// One interrupt for each virtqueue of the device, and that of its configuration.
    pub interrupts: Interrupts,
    /// The translation, by which drivers of this kernel map memory, too. Its address
    /// spaces are those of the device.
    pub iommu: Arc<Iommu>,
    /// How many groups of virtqueues there are.
    pub groups: u32,
    /// Which operations it has of those that a device need not have.
    pub shape: Shape,
    /// Makes what the device carries, in place.
    pub init: I,
}
