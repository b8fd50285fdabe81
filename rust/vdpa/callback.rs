// SPDX-License-Identifier: GPL-2.0

//! Interrupts: how a device calls its driver back.
//!
//! C header: [`include/linux/vdpa.h`](srctree/include/linux/vdpa.h), `struct vdpa_callback`

use super::lock::{
    new_spinlock_bh,
    SpinLockBh, //
};
use crate::bindings;
use kernel::{
    ffi::c_void,
    prelude::*,
    sync::Arc, //
};

/// What a bus driver registered.
///
/// # Invariants
///
/// `function` may be called with `private` until the bus driver replaces the callback or
/// the device has been reset.
struct Registered {
    function: unsafe extern "C" fn(*mut c_void) -> kernel::bindings::irqreturn_t,
    private: *mut c_void,
}

// SAFETY: The vDPA contract lets the parent call back from any CPU.
unsafe impl Send for Registered {}

/// What is behind the lock of a [`Callback`].
struct State {
    registered: Option<Registered>,
    masked: bool,
}

/// The interrupt of a virtqueue, or the config interrupt.
///
/// The abstraction fills it when the bus driver registers a callback, and empties it when
/// the device is reset or goes away: there is no way to keep what was registered. When
/// [`mask`](Self::mask) or a reset returns, the driver is not being called and will not
/// be.
///
/// # Examples
///
/// ```ignore
/// if device_published_used_buffers {
///     counters.add(interrupt.raise());
/// }
/// ```
#[pin_data]
pub struct Callback {
    #[pin]
    state: SpinLockBh<State>,
}

impl Callback {
    /// Makes a callback that nobody has registered.
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                state <- new_spinlock_bh!(
                    State { registered: None, masked: false },
                    "vdpa::Callback::state"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Calls the driver, unless none is registered or the callback is masked.
    ///
    /// From process context or softirqs, with no lock held that the driver's callback
    /// could want. Returns whether there was somebody to call.
    pub fn raise(&self) -> bool {
        let state = self.state.lock();
        if state.masked {
            return false;
        }
        let Some(registered) = &state.registered else {
            return false;
        };
        // SAFETY: By the invariant of `Registered`: replacing and clearing wait for the
        // lock that is held here. Softirqs are disabled, as network drivers expect.
        unsafe { (registered.function)(registered.private) };
        true
    }

    /// Keeps the driver, and any later one, from being called until [`unmask`](Self::unmask).
    pub fn mask(&self) {
        self.state.lock().masked = true;
    }

    /// Lets the driver be called again. What was raised meanwhile is lost.
    pub fn unmask(&self) {
        self.state.lock().masked = false;
    }

    /// Takes over what a bus driver registers; NULL, or a NULL function, clears it.
    ///
    /// # Safety
    ///
    /// `cb` is NULL or valid for reads. What it points to obeys the contract of
    /// `set_vq_cb` and `set_config_cb`: it may be called until replaced or until reset.
    pub(super) unsafe fn register(&self, cb: *const bindings::vdpa_callback) {
        let registered = if cb.is_null() {
            None
        } else {
            // SAFETY: `cb` is valid for reads, as required of the caller.
            let cb = unsafe { &*cb };
            // INVARIANT: As required of the caller.
            cb.callback.map(|function| Registered {
                function,
                private: cb.private,
            })
        };
        self.state.lock().registered = registered;
    }

    /// Forgets what was registered. When it returns, the driver is not being called. It does
    /// not unmask: what is still under way may not reach what is registered next.
    pub(super) fn clear(&self) {
        self.state.lock().registered = None;
    }
}
