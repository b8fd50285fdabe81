// SPDX-License-Identifier: GPL-2.0

//! The vDPA bus.
//!
//! A vDPA device has virtqueues that a driver uses as the virtio specification says, while
//! everything else (addresses, features, status, mappings) is set by the bus through
//! operations of the device's parent. This module is for writing such parents.
//!
//! - [`Operations`] is what a device does, operation by operation.
//! - [`Device<T>`] is a device that carries a `T`, which implements the operations.
//! - [`ManagementDevice`] is where the user's `vdpa dev add` arrives; its [`Management`]
//!   says what a new device consists of.
//! - [`Callback`] is an interrupt, of a virtqueue or of the configuration. A [`Coalescer`]
//!   makes few of many.
//! - [`Doorbell`] is a page by which a client kicks a virtqueue without a system call.
//! - [`get_nospec`] takes an element by an index that a driver has chosen.
//! - [`Affinity`] is the CPUs that are to work for a virtqueue.
//! - [`iommu`] is the translation that a device without hardware for it needs, and
//!   [`workqueue`] where its work can run.
//! - [`debugfs`] has files by which root looks into devices.
//!
//! # Lifetimes
//!
//! The bus does not keep the parent's module loaded; this abstraction does. A
//! [`ManagementDevice`] cannot go while one of its devices exists, because each holds a
//! reference to the module.
//!
//! # Examples
//!
//! A management device whose devices have one virtqueue and forward nothing. `Null` carries
//! the interrupt of that queue, by which its worker would call the driver.
//!
//! ```ignore
//! struct Maker;
//!
//! impl vdpa::Management for Maker {
//!     type Device = Null;
//!     type Error = Error;
//!
//!     const DEVICE_ID: u32 = 1;
//!     const ATTRIBUTES: &'static [vdpa::Attribute] = &[vdpa::Attribute::Features];
//!
//!     fn supported_features(&self) -> u64 {
//!         1 << 32 | 1 << 33
//!     }
//!
//!     fn max_supported_vqs(&self) -> u32 {
//!         1
//!     }
//!
//!     fn dev_add(
//!         &self,
//!         _name: &CStr,
//!         _config: &vdpa::DeviceConfig,
//!     ) -> Result<vdpa::NewDevice<impl PinInit<Null, Error>>> {
//!         let interrupts = vdpa::Interrupts::new(1)?;
//!         let queue = interrupts.queue(0).ok_or(EINVAL)?.clone();
//!         let mut iommu = Iommu::builder(1, false, DriverMemory::Identity)?;
//!         let attachment = iommu.attach(Queue::new()?, c"null", static_lock_class!())?;
//!         Ok(vdpa::NewDevice {
//!             interrupts,
//!             iommu: iommu.build()?,
//!             groups: 1,
//!             shape: vdpa::Shape::default(),
//!             init: Null::new(attachment, queue),
//!         })
//!     }
//!
//!     fn dev_set_attr(
//!         &self,
//!         _device: &vdpa::Device<Null>,
//!         _config: &vdpa::DeviceConfig,
//!     ) -> Result {
//!         Err(EINVAL)
//!     }
//!
//!     fn errno(error: &Error) -> Error {
//!         *error
//!     }
//! }
//!
//! #[pin_data]
//! struct Module {
//!     #[pin]
//!     devices: vdpa::ManagementDevice<Maker>,
//! }
//!
//! impl kernel::InPlaceModule for Module {
//!     fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
//!         try_pin_init!(Self {
//!             devices <- vdpa::ManagementDevice::register(c"null", module, Maker),
//!         })
//!     }
//! }
//! ```
//!
//! C header: [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h)

mod affinity;
mod callback;
mod coalescing;
pub mod debugfs;
mod device;
mod doorbell;
pub mod iommu;
#[cfg(CONFIG_KUNIT = "y")]
mod kunit;
pub mod lock;
mod management;
mod name;
mod nospec;
mod operations;
mod stats;
mod types;
pub mod workqueue;

pub use affinity::Affinity;
pub use callback::Callback;
pub use coalescing::{
    Coalescer,
    CoalescingParameters, //
};
pub use device::{
    Device,
    Interrupts,
    NewDevice, //
};
pub use doorbell::Doorbell;
pub use management::{
    Attribute,
    DeviceConfig,
    Management,
    ManagementDevice, //
};
pub use nospec::get_nospec;
pub use operations::Operations;
pub use stats::{
    ExtAck,
    StatsWriter, //
};
pub use types::{
    IovaRange,
    MapTable,
    MapToken,
    PackedState,
    ResetFlags,
    Shape,
    VqAddress,
    VqState, //
};

/// Whether a line about something that a driver did may go to the log now.
///
/// All such lines of the module share one budget, so that no driver can flood the log.
pub fn may_log() -> bool {
    // SAFETY: The function may be called in any context.
    unsafe { crate::bindings::rvdpa_ratelimit() }
}

/// Fills `bytes` with random ones.
pub fn random_bytes(bytes: &mut [u8]) {
    // SAFETY: `bytes` is valid for writes of its length.
    unsafe { kernel::bindings::get_random_bytes(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// `VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK`: virtqueues can be started after `DRIVER_OK`.
pub const BACKEND_F_ENABLE_AFTER_DRIVER_OK: u64 =
    1 << crate::bindings::VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK;
