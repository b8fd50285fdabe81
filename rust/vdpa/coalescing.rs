// SPDX-License-Identifier: GPL-2.0

//! Fewer interrupts than packets.
//!
//! # The timer
//!
//! The timer that limits the delay belongs to memory that must outlive it, and whoever drops
//! a [`Coalescer`] may not be able to wait. So a timer that was started owns a reference to
//! that memory, by [`State::armed`]. It is started only when it neither waits nor runs;
//! hence, while it is armed, either it waits and can be stopped, or its handler has begun,
//! has not got the lock yet, and takes the reference with the lock. Everything about it is
//! done under that lock.
//!
//! C header: [`include/linux/hrtimer.h`](srctree/include/linux/hrtimer.h)

use super::{
    lock::{
        new_spinlock_irqsave,
        SpinLockIrqSave, //
    },
    Callback, //
};
use crate::bindings;
use kernel::{
    impl_has_hr_timer,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow, //
    },
    time::{
        hrtimer::{
            HasHrTimer,
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerRestart,
            RelativeSoftMode, //
        },
        Delta,
        Monotonic, //
    },
};

/// When the driver of a virtqueue is interrupted (virtio specification, 5.1.6.5.9).
///
/// If one of them is 0, there is an interrupt each time that one is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoalescingParameters {
    /// How many packets may come before an interrupt.
    pub max_packets: u32,
    /// How long an interrupt may come after the first packet that it is for, in
    /// microseconds.
    pub max_usecs: u32,
}

impl CoalescingParameters {
    fn from_bits(bits: u64) -> Self {
        Self {
            max_packets: bits as u32,
            max_usecs: (bits >> 32) as u32,
        }
    }

    fn to_bits(self) -> u64 {
        u64::from(self.max_packets) | u64::from(self.max_usecs) << 32
    }

    fn is_off(self) -> bool {
        self.max_packets == 0 || self.max_usecs == 0
    }
}

/// The interrupt of a virtqueue, raised for several packets at once.
///
/// It starts with all parameters 0, and then interrupts the driver as [`Callback::raise`]
/// does. No interrupt is lost: whatever becomes of the parameters, what is pending is raised,
/// and not later than they said. Only dropping it and [`reset`](Self::reset) forget what is
/// pending.
///
/// A driver that was masked or reset is not called: the [`Callback`] sees to that.
///
/// # Examples
///
/// ```ignore
/// if driver_wants_to_be_told {
///     coalescer.raise(packets);
/// }
/// ```
pub struct Coalescer(Arc<Shared>);

/// What a [`Coalescer`] and its timer share.
#[pin_data]
struct Shared {
    #[pin]
    timer: HrTimer<Shared>,
    #[pin]
    state: SpinLockIrqSave<State>,
    /// [`CoalescingParameters`] in one word. Written under the lock.
    parameters: Atomic<u64>,
    callback: Arc<Callback>,
}

/// What is behind the lock.
struct State {
    /// How many packets came since the last interrupt; 0 unless the timer is armed.
    pending: u32,
    /// The timer's reference, from its start until its handler or whoever stops it takes it.
    ///
    /// Others hold one, too, when it is taken under the lock and dropped: the lock stays.
    armed: Option<Arc<Shared>>,
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Shared {
        mode: RelativeSoftMode<Monotonic>, field: self.timer
    }
}

impl Coalescer {
    /// Makes one that does not coalesce.
    ///
    /// Fails with `ENOMEM`.
    pub fn new(callback: Arc<Callback>) -> Result<Self> {
        let shared = Arc::pin_init(
            pin_init!(Shared {
                timer <- HrTimer::new(),
                state <- new_spinlock_irqsave!(
                    State { pending: 0, armed: None },
                    "vdpa::Coalescer::state"
                ),
                parameters: Atomic::new(0),
                callback,
            }),
            GFP_KERNEL,
        )?;
        Ok(Self(shared))
    }

    /// The interrupt itself, for what must not wait.
    pub fn callback(&self) -> &Arc<Callback> {
        &self.0.callback
    }

    /// Gets the parameters as they were set.
    pub fn parameters(&self) -> CoalescingParameters {
        self.0.parameters()
    }

    /// Sets the parameters. If packets are pending, the driver is interrupted for them now,
    /// from a softirq.
    ///
    /// Any context.
    pub fn set_parameters(&self, parameters: CoalescingParameters) {
        let mut state = self.0.state.lock();
        self.0.parameters.store(parameters.to_bits(), Relaxed);
        // What is pending has an armed timer. If that cannot be stopped, its handler waits
        // for the lock and raises what is pending.
        if state.pending > 0 && self.0.stop() {
            Shared::start(&self.0, &mut state, Delta::ZERO);
        }
    }

    /// Sets all parameters to 0 and forgets what is pending, as a reset of the device
    /// requires.
    ///
    /// Any context.
    pub fn reset(&self) {
        let mut state = self.0.state.lock();
        self.0.parameters.store(0, Relaxed);
        self.0.forget(&mut state);
    }

    /// Interrupts the driver for `packets` packets that it has not been told of, now or as
    /// the parameters allow. Returns whether it was called now.
    ///
    /// To be called only if the driver wants to be told. Contexts are those of
    /// [`Callback::raise`].
    #[inline]
    pub fn raise(&self, packets: u32) -> bool {
        if self.0.parameters().is_off() || Shared::is_due(&self.0, packets, true) {
            self.0.callback.raise()
        } else {
            false
        }
    }

    /// Counts `packets` packets of which the driver does not want to be told: with an event
    /// index, that is so for those that follow what it has not been told of yet. If an
    /// interrupt is pending, they may be what makes it due. Returns whether the driver was
    /// called now. Contexts are those of [`Callback::raise`].
    #[inline]
    pub fn add(&self, packets: u32) -> bool {
        if packets > 0 && !self.0.parameters().is_off() && Shared::is_due(&self.0, packets, false) {
            self.0.callback.raise()
        } else {
            false
        }
    }
}

impl Drop for Coalescer {
    /// Stops the timer. Its handler has ended when this returns, except where one cannot wait
    /// for it (in interrupts, or with interrupts off): there it may go on for a moment. The
    /// handler is over before the module's text goes even so, because softirqs are readers
    /// of RCU, which unloading a module waits for.
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        self.0.forget(&mut state);
        drop(state);
        // SAFETY: The function may be called in any context.
        if unsafe { bindings::rvdpa_may_wait_for_softirq() } {
            // SAFETY: The timer is initialised, and waiting for it is allowed here. No one
            // starts it any more.
            unsafe { kernel::bindings::hrtimer_cancel(self.0.raw_timer()) };
        }
    }
}

impl Shared {
    fn parameters(&self) -> CoalescingParameters {
        CoalescingParameters::from_bits(self.parameters.load(Relaxed))
    }

    /// Counts packets that the driver has `asked` to be told of, or that follow such ones.
    /// Returns whether it is to be interrupted now, else sees to it that it will be.
    fn is_due(this: &Arc<Self>, packets: u32, asked: bool) -> bool {
        let mut state = this.state.lock();
        let parameters = this.parameters();
        if !asked && state.pending == 0 {
            return false;
        }
        if parameters.is_off() {
            return asked;
        }
        // An interrupt may be for something that is not a packet.
        state.pending = state.pending.saturating_add(packets.max(1));
        let waits = state.pending < parameters.max_packets
            && (state.armed.is_some() || Self::arm(this, &mut state, parameters.max_usecs));
        if !waits {
            this.forget(&mut state);
        }
        !waits
    }

    /// Starts the timer, unless its handler has not quite ended: then the interrupt has to
    /// come at once, which is never wrong. Returns whether it started it.
    fn arm(this: &Arc<Self>, state: &mut State, usecs: u32) -> bool {
        // SAFETY: The timer is initialised.
        if unsafe { kernel::bindings::hrtimer_active(this.raw_timer()) } {
            return false;
        }
        Self::start(this, state, Delta::from_micros(i64::from(usecs)));
        true
    }

    /// Starts the timer, which neither waits nor runs.
    fn start(this: &Arc<Self>, state: &mut State, delay: Delta) {
        state.armed = Some(this.clone());
        // SAFETY: `this` is valid, and lives until the timer fires or is stopped, because of
        // the reference that the state has from here on: only the handler and who has
        // stopped the timer take it.
        unsafe { <Self as HasHrTimer<Self>>::start(Arc::as_ptr(this), delay) };
    }

    /// Forgets what is pending. The timer does not fire for it any more.
    fn forget(&self, state: &mut State) {
        state.pending = 0;
        if state.armed.is_some() && self.stop() {
            // Not the last reference: the caller has one.
            state.armed = None;
        }
    }

    /// Stops the timer, which is armed. Fails if its handler has begun, which waits for the
    /// lock then.
    fn stop(&self) -> bool {
        // SAFETY: The timer is initialised.
        unsafe { kernel::bindings::hrtimer_try_to_cancel(self.raw_timer()) >= 0 }
    }

    fn raw_timer(&self) -> *mut kernel::bindings::hrtimer {
        // SAFETY: `self` is valid.
        unsafe { <Self as HasHrTimer<Self>>::c_timer_ptr(self) }.cast_mut()
    }
}

impl HrTimerCallback for Shared {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        let mut state = this.state.lock();
        let pending = core::mem::take(&mut state.pending);
        let armed = state.armed.take();
        drop(state);
        if pending > 0 {
            this.callback.raise();
        }
        // Maybe the last reference: neither `this` nor the timer is touched after this, as
        // the kernel allows for a timer that is not restarted.
        drop(armed);
        HrTimerRestart::NoRestart
    }
}
