// SPDX-License-Identifier: GPL-2.0

//! What differs between the kernel series that the module builds for.
//!
//! The code is written for the newest series; this is where older ones are made to look
//! like it. Kbuild sets `rvdpa_before_7_3` for 7.2.

#[cfg(rvdpa_before_7_3)]
mod series {
    use kernel::prelude::*;

    pub(crate) use kernel::sync::barrier::smp_mb;
    #[cfg(not(CONFIG_X86_64))]
    pub(crate) use kernel::sync::barrier::{
        smp_rmb,
        smp_wmb, //
    };

    pub(crate) use kernel::bindings::{
        dma_data_direction_DMA_FROM_DEVICE as DMA_FROM_DEVICE,
        dma_data_direction_DMA_TO_DEVICE as DMA_TO_DEVICE, //
    };

    /// `EOPNOTSUPP`, which the kernel crate does not have yet.
    pub(crate) fn eopnotsupp() -> Error {
        Error::from_errno(-(kernel::bindings::EOPNOTSUPP as kernel::ffi::c_int))
    }

    /// Initialises `slot` in place.
    ///
    /// # Safety
    ///
    /// `slot` is valid for writes, and does not move as long as its value lives.
    pub(crate) unsafe fn raw_try_init<T, E>(
        slot: *mut T,
        init: impl PinInit<T, E>,
    ) -> Result<(), E> {
        // SAFETY: As required of the caller.
        unsafe { init.__pinned_init(slot) }
    }
}

#[cfg(not(rvdpa_before_7_3))]
mod series {
    use kernel::sync::barrier;

    use kernel::bindings::dma_data_direction;

    pub(crate) use pin_init::raw_try_init;

    pub(crate) const DMA_FROM_DEVICE: dma_data_direction = dma_data_direction::DMA_FROM_DEVICE;
    pub(crate) const DMA_TO_DEVICE: dma_data_direction = dma_data_direction::DMA_TO_DEVICE;

    /// `EOPNOTSUPP`.
    pub(crate) fn eopnotsupp() -> kernel::error::Error {
        kernel::error::code::EOPNOTSUPP
    }

    /// Orders all memory accesses before it with all after it.
    #[inline(always)]
    pub(crate) fn smp_mb() {
        barrier::smp_mb(barrier::Full);
    }

    /// Orders loads before it with loads after it.
    #[cfg(not(CONFIG_X86_64))]
    #[inline(always)]
    pub(crate) fn smp_rmb() {
        barrier::smp_mb(barrier::Read);
    }

    /// Orders stores before it with stores after it.
    #[cfg(not(CONFIG_X86_64))]
    #[inline(always)]
    pub(crate) fn smp_wmb() {
        barrier::smp_mb(barrier::Write);
    }
}

pub(crate) use series::*;

/// Barriers of a processor that keeps the order of loads, and that of stores: only the compiler
/// has to be told, as the kernel's own macros do it. Those of the kernel crate call a function
/// for that, which would be most of what it takes to look at a descriptor.
#[cfg(CONFIG_X86_64)]
mod barriers {
    use core::sync::atomic::{
        compiler_fence,
        Ordering, //
    };

    /// Orders loads before it with loads after it.
    #[inline(always)]
    pub(crate) fn smp_rmb() {
        compiler_fence(Ordering::SeqCst);
    }

    /// Orders stores before it with stores after it.
    #[inline(always)]
    pub(crate) fn smp_wmb() {
        compiler_fence(Ordering::SeqCst);
    }
}

#[cfg(CONFIG_X86_64)]
pub(crate) use barriers::*;

/// The value of a module parameter, which 7.2 gives by reference.
pub(crate) fn parameter<T: Copy>(value: impl core::borrow::Borrow<T>) -> T {
    *value.borrow()
}
