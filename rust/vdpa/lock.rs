// SPDX-License-Identifier: GPL-2.0

//! Spin locks that the kernel crate does not have yet.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use crate::bindings;
use core::ptr;
use kernel::{
    ffi::c_ulong,
    prelude::*,
    sync::{
        lock::{
            Backend,
            Lock, //
        },
        LockClassKey, //
    },
};

/// The class that the kernel's lock validator puts a lock into: `static_lock_class!()`.
pub type LockClass = Pin<&'static LockClassKey>;

/// A spin lock whose holder runs with softirqs disabled on its CPU.
///
/// For data that process context and softirqs share. Must not be taken with interrupts
/// disabled.
pub type SpinLockBh<T> = Lock<T, BhBackend>;

/// A spin lock whose holder runs with interrupts disabled on its CPU.
///
/// Unlike the kernel crate's `SpinLockIrq`, it saves and restores what it found, so that
/// it can be taken in any context.
pub(super) type SpinLockIrqSave<T> = Lock<T, IrqSaveBackend>;

/// The backend of [`SpinLockBh`].
pub struct BhBackend;

/// The backend of [`SpinLockIrqSave`].
pub(super) struct IrqSaveBackend;

/// Makes an initialiser for a [`SpinLockBh`], with a lock class of its own.
macro_rules! new_spinlock_bh {
    ($inner:expr, $name:literal) => {
        $crate::vdpa::lock::SpinLockBh::new(
            $inner,
            ::kernel::c_str!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_spinlock_bh;

/// Makes an initialiser for a [`SpinLockIrqSave`], with a lock class of its own.
macro_rules! new_spinlock_irqsave {
    ($inner:expr, $name:literal) => {
        $crate::vdpa::lock::SpinLockIrqSave::new(
            $inner,
            ::kernel::c_str!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_spinlock_irqsave;

// SAFETY: `spinlock_t` ensures mutual exclusion, and `relock` is the default, which locks
// as `lock` does.
unsafe impl Backend for BhBackend {
    type State = kernel::bindings::spinlock_t;
    type GuardState = ();

    unsafe fn init(
        ptr: *mut Self::State,
        name: *const kernel::ffi::c_char,
        key: *mut kernel::bindings::lock_class_key,
    ) {
        // SAFETY: `ptr` is valid for writes, `name` and `key` for reads indefinitely, as
        // required of the caller.
        unsafe { kernel::bindings::__spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: The lock is initialised, as required of the caller.
        unsafe { bindings::rvdpa_spin_lock_bh(ptr) }
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<()> {
        // SAFETY: The lock is initialised, as required of the caller.
        unsafe { bindings::rvdpa_spin_trylock_bh(ptr) }.then_some(())
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &()) {
        // SAFETY: The caller owns the lock.
        unsafe { bindings::rvdpa_spin_unlock_bh(ptr) }
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        assert_is_held(ptr);
    }
}

// SAFETY: `spinlock_t` ensures mutual exclusion, and `relock` is the default, which locks
// as `lock` does.
unsafe impl Backend for IrqSaveBackend {
    type State = kernel::bindings::spinlock_t;
    type GuardState = c_ulong;

    unsafe fn init(
        ptr: *mut Self::State,
        name: *const kernel::ffi::c_char,
        key: *mut kernel::bindings::lock_class_key,
    ) {
        // SAFETY: `ptr` is valid for writes, `name` and `key` for reads indefinitely, as
        // required of the caller.
        unsafe { kernel::bindings::__spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) -> c_ulong {
        // SAFETY: The lock is initialised, as required of the caller.
        unsafe { bindings::rvdpa_spin_lock_irqsave(ptr) }
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<c_ulong> {
        let mut flags = 0;
        // SAFETY: The lock is initialised, as required of the caller, and `flags` is ours.
        unsafe { bindings::rvdpa_spin_trylock_irqsave(ptr, &mut flags) }.then_some(flags)
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, flags: &c_ulong) {
        // SAFETY: The caller owns the lock, and `flags` is what locking it returned.
        unsafe { bindings::rvdpa_spin_unlock_irqrestore(ptr, *flags) }
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        assert_is_held(ptr);
    }
}

/// Whether the caller has disabled softirqs, and not interrupts: a driver that transmits, or
/// polls. What must not sleep may be done in its place then, with any [`SpinLockBh`].
#[inline]
pub fn softirqs_disabled() -> bool {
    // SAFETY: The function may be called in any context.
    unsafe { bindings::rvdpa_softirqs_disabled() }
}

/// Tells lockdep, where there is one, that the lock must be held here.
#[inline]
fn assert_is_held(ptr: *mut kernel::bindings::spinlock_t) {
    if cfg!(CONFIG_LOCKDEP) {
        // SAFETY: `ptr` is the state of a `Lock`, which initialised it.
        unsafe { bindings::rvdpa_assert_spin_locked(ptr) }
    }
}

/// Waits until whoever holds `lock` has let go of it. May be called from any context.
pub(super) fn barrier<T: ?Sized>(lock: &SpinLockBh<T>) {
    // The state is the first field of a `Lock`, which is `repr(C)`.
    let state: *const kernel::bindings::spinlock_t = ptr::from_ref(lock).cast();
    // SAFETY: `state` is the `spinlock_t` of `lock`, which initialised it. The function
    // takes and releases it as a `SpinLockBh` is taken, unless interrupts are off.
    unsafe { bindings::rvdpa_spin_barrier(state.cast_mut()) }
}
