// SPDX-License-Identifier: GPL-2.0

//! Management devices: where `vdpa dev add` makes devices.
//!
//! C header: [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h), `struct vdpa_mgmt_dev`

use super::{
    device::{
        Device,
        ModuleRef,
        NewDevice, //
    },
    name,
    operations::Operations,
};
use crate::bindings;
use core::{
    fmt,
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
    str::CStr,
    sync::{
        aref::ARef,
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
    },
    types::Opaque,
};

/// What a user may say of a new device (`struct vdpa_dev_set_config`). `None` is what was
/// not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceConfig {
    /// The features to offer, instead of all.
    pub features: Option<u64>,
    /// The MAC address of a net device.
    pub mac: Option<[u8; 6]>,
    /// The MTU of a net device, in bytes.
    pub mtu: Option<u16>,
    /// How many queue pairs a net device has at most; not 0.
    pub max_vqp: Option<u16>,
}

/// The attributes of [`DeviceConfig`], to say which of them are supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// [`DeviceConfig::features`]
    Features,
    /// [`DeviceConfig::mac`]
    Mac,
    /// [`DeviceConfig::mtu`]
    Mtu,
    /// [`DeviceConfig::max_vqp`]
    MaxVqp,
}

impl Attribute {
    /// Its bit in masks of attributes.
    const fn bit(self) -> u64 {
        1 << match self {
            Attribute::Features => bindings::vdpa_attr_VDPA_ATTR_DEV_FEATURES,
            Attribute::Mac => bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MACADDR,
            Attribute::Mtu => bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MTU,
            Attribute::MaxVqp => bindings::vdpa_attr_VDPA_ATTR_DEV_NET_CFG_MAX_VQP,
        }
    }
}

impl DeviceConfig {
    fn from_raw(raw: &bindings::vdpa_dev_set_config) -> Self {
        let said = |attribute: Attribute| raw.mask & attribute.bit() != 0;
        Self {
            features: said(Attribute::Features).then_some(raw.device_features),
            mac: said(Attribute::Mac).then_some(raw.net.mac),
            mtu: said(Attribute::Mtu).then_some(raw.net.mtu),
            max_vqp: said(Attribute::MaxVqp).then_some(raw.net.max_vq_pairs),
        }
    }
}

/// What makes and changes devices for a management device.
///
/// The bus gives no way to tell the user in words why a device could not be added, so an
/// error is a number for the user and a line for the kernel log.
pub trait Management: Send + Sync + Sized + 'static {
    /// What its devices do.
    type Device: Operations;

    /// Why a device was refused: the errno for the user, and the words for the log.
    type Error: fmt::Display + From<Error>;

    /// The virtio device type (`VIRTIO_ID_*`) of its devices.
    const DEVICE_ID: u32;

    /// What a user may say of a new device.
    const ATTRIBUTES: &'static [Attribute];

    /// The features that its devices can offer.
    fn supported_features(&self) -> u64;

    /// How many virtqueues a device has at most.
    fn max_supported_vqs(&self) -> u32;

    /// Prepares a device. The name is valid, and no other device is added meanwhile.
    fn dev_add(
        &self,
        name: &CStr,
        config: &DeviceConfig,
    ) -> Result<NewDevice<impl PinInit<Self::Device, Error>>, Self::Error>;

    /// Changes a device. Of the attributes, the bus lets through the MAC address only.
    fn dev_set_attr(
        &self,
        device: &Device<Self::Device>,
        config: &DeviceConfig,
    ) -> Result<(), Self::Error>;

    /// The errno of an error.
    fn errno(error: &Self::Error) -> Error;
}

/// A device that is nothing but a parent for others.
///
/// # Invariants
///
/// The device was made by `__root_device_register` and is unregistered on drop.
struct RootDevice(NonNull<kernel::bindings::device>);

// SAFETY: Devices may be used from any thread.
unsafe impl Send for RootDevice {}
// SAFETY: Devices may be used from any thread.
unsafe impl Sync for RootDevice {}

impl RootDevice {
    fn new(name: &CStr, module: &'static ThisModule) -> Result<Self> {
        // SAFETY: `name` is copied, and the module outlives the device, because it owns it.
        let raw = from_err_ptr(unsafe {
            bindings::__root_device_register(name.as_char_ptr(), module.as_ptr())
        })?;
        // INVARIANT: Just made.
        Ok(Self(NonNull::new(raw).ok_or(ENOMEM)?))
    }
}

impl Drop for RootDevice {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::root_device_unregister(self.0.as_ptr()) };
    }
}

/// A management device, registered with the bus for as long as the value exists.
///
/// # Invariants
///
/// `raw` is registered, and refers to `parent`, to `ids` and to the operations of `M`.
#[pin_data(PinnedDrop)]
pub struct ManagementDevice<M: Management> {
    #[pin]
    raw: Opaque<bindings::vdpa_mgmt_dev>,
    /// The device type, and an empty entry that ends the table.
    #[pin]
    ids: Opaque<[bindings::virtio_device_id; 2]>,
    parent: RootDevice,
    module: &'static ThisModule,
    management: M,
    /// Whether there ever was a device.
    used: AtomicFlag,
}

// SAFETY: The bus calls it from any thread, and `Management` requires `Send` and `Sync`.
unsafe impl<M: Management> Send for ManagementDevice<M> {}
// SAFETY: As above.
unsafe impl<M: Management> Sync for ManagementDevice<M> {}

impl<M: Management> ManagementDevice<M> {
    /// Registers a management device.
    ///
    /// `module` is whose code the devices run: it cannot be unloaded while one exists.
    pub fn register<'a>(
        name: &'a CStr,
        module: &'static ThisModule,
        management: M,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(&this in Self {
            parent: RootDevice::new(name, module)?,
            ids <- Opaque::ffi_init(|slot: *mut [bindings::virtio_device_id; 2]| {
                // SAFETY: `slot` is valid for writes.
                unsafe {
                    slot.write([
                        bindings::virtio_device_id {
                            device: M::DEVICE_ID,
                            vendor: ANY_VENDOR,
                        },
                        bindings::virtio_device_id { device: 0, vendor: 0 },
                    ])
                };
            }),
            module,
            management,
            used: AtomicFlag::new(false),
            raw <- Opaque::try_ffi_init(|slot: *mut bindings::vdpa_mgmt_dev| {
                let this = this.as_ptr();
                // SAFETY: The fields above are initialised.
                let (parent, ids, management) =
                    unsafe { ((*this).parent.0, (*this).ids.get(), &(*this).management) };
                let mut mask = 0;
                for attribute in M::ATTRIBUTES {
                    mask |= attribute.bit();
                }
                // SAFETY: `slot` is valid for writes and does not move. What it refers to
                // lies beside it, and is dropped after it was unregistered.
                to_result(unsafe {
                    slot.write(bindings::vdpa_mgmt_dev {
                        device: parent.as_ptr(),
                        ops: ManagementVTable::<M>::build(),
                        id_table: ids.cast(),
                        config_attr_mask: mask,
                        list: Default::default(),
                        supported_features: management.supported_features(),
                        max_supported_vqs: management.max_supported_vqs(),
                    });
                    bindings::vdpa_mgmtdev_register(slot)
                })
            }),
        }? Error)
    }

    /// Its name, as in `vdpa dev add ... mgmtdev NAME`.
    fn name(&self) -> &CStr {
        // SAFETY: The parent is valid by the type invariant.
        let dev: &kernel::device::Device =
            unsafe { kernel::device::Device::from_raw(self.parent.0.as_ptr()) };
        dev.name()
    }

    /// Makes a device and registers it.
    fn add(&self, name: &CStr, config: &DeviceConfig) -> Result {
        self.used.store(true, Relaxed);
        // Whoever adds a device while the module goes is too late.
        let module = ModuleRef::new(self.module)?;
        let new = self.management.dev_add(name, config).map_err(|e| {
            self.refuse("add", name, &e);
            M::errno(&e)
        })?;
        let queues = new.interrupts.queues();
        let device = Device::new(self.parent.0.as_ptr(), name, module, new)
            .inspect_err(|e| self.refuse("make", name, &format_args!("{e:?}")))?;
        // SAFETY: The device is complete, and `raw` is registered by the type invariant.
        // The bus holds the lock that `_vdpa_register_device` wants.
        let result = to_result(unsafe {
            (*device.as_raw()).mdev = self.raw.get();
            bindings::_vdpa_register_device(device.as_raw(), queues)
        });
        match result {
            Ok(()) => {
                // The reference is the bus's now: `_vdpa_unregister_device` gives it back.
                let _ = ARef::into_raw(device);
            }
            Err(e) if e == EEXIST => {
                self.refuse(
                    "add",
                    name,
                    &"there is a device of this name; choose another",
                );
            }
            Err(e) => self.refuse("register", name, &format_args!("{e:?}")),
        }
        result
    }

    fn refuse(&self, what: &str, name: &CStr, why: &dyn fmt::Display) {
        pr_err!(
            "{}: cannot {what} '{name}': {}\n",
            self.name(),
            format_args!("{why}")
        );
    }
}

/// Any vendor (`VIRTIO_DEV_ANY_ID`).
const ANY_VENDOR: u32 = u32::MAX;

#[pinned_drop]
impl<M: Management> PinnedDrop for ManagementDevice<M> {
    fn drop(self: Pin<&mut Self>) {
        // The bus deletes the devices that are left. There are none, because each holds a
        // reference to the module.
        // SAFETY: `raw` is registered by the type invariant.
        unsafe { bindings::vdpa_mgmtdev_unregister(self.raw.get()) };
        // The last device may have been released on another CPU just now. Nobody adds one
        // any more, and whoever did has let go of the bus's lock since.
        if self.used.load(Relaxed) {
            // SAFETY: The function may be called in process context.
            unsafe { bindings::rvdpa_wait_for_text() };
        }
    }
}

/// The C side of a management device.
struct ManagementVTable<M: Management>(PhantomData<M>);

impl<M: Management> ManagementVTable<M> {
    /// # Safety
    ///
    /// `mdev` is part of a registered `ManagementDevice<M>`.
    unsafe fn from_raw<'a>(mdev: *mut bindings::vdpa_mgmt_dev) -> &'a ManagementDevice<M> {
        let raw: *mut Opaque<bindings::vdpa_mgmt_dev> = mdev.cast();
        // SAFETY: As required of the caller.
        unsafe { &*kernel::container_of!(raw, ManagementDevice<M>, raw) }
    }

    /// # Safety
    ///
    /// Called by the bus with a name, which need not end, and with a valid configuration.
    unsafe extern "C" fn dev_add(
        mdev: *mut bindings::vdpa_mgmt_dev,
        name: *const c_char,
        config: *const bindings::vdpa_dev_set_config,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let (this, config) = unsafe { (Self::from_raw(mdev), DeviceConfig::from_raw(&*config)) };
        from_result(|| {
            // SAFETY: As the bus promises.
            let name = unsafe { name::checked(name) }.map_err(|e| {
                pr_err!("{}: cannot add {}\n", this.name(), format_args!("{e}"));
                EINVAL
            })?;
            this.add(name, &config)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the bus, with its lock held, with a device that `dev_add` has registered.
    unsafe extern "C" fn dev_del(
        _mdev: *mut bindings::vdpa_mgmt_dev,
        vdev: *mut bindings::vdpa_device,
    ) {
        // SAFETY: As the bus promises.
        unsafe { bindings::_vdpa_unregister_device(vdev) };
    }

    /// # Safety
    ///
    /// Called by the bus with a device that `dev_add` has registered, and with a valid
    /// configuration.
    unsafe extern "C" fn dev_set_attr(
        mdev: *mut bindings::vdpa_mgmt_dev,
        vdev: *mut bindings::vdpa_device,
        config: *const bindings::vdpa_dev_set_config,
    ) -> c_int {
        // SAFETY: As the bus promises.
        let (this, config) = unsafe { (Self::from_raw(mdev), DeviceConfig::from_raw(&*config)) };
        // SAFETY: As the bus promises.
        let device = unsafe { Device::<M::Device>::from_raw(vdev) };
        from_result(|| {
            this.management.dev_set_attr(device, &config).map_err(|e| {
                this.refuse("change", device.name(), &e);
                M::errno(&e)
            })?;
            Ok(0)
        })
    }

    const VTABLE: bindings::vdpa_mgmtdev_ops = bindings::vdpa_mgmtdev_ops {
        dev_add: Some(Self::dev_add),
        dev_del: Some(Self::dev_del),
        dev_set_attr: Some(Self::dev_set_attr),
    };

    const fn build() -> &'static bindings::vdpa_mgmtdev_ops {
        &Self::VTABLE
    }
}
