// SPDX-License-Identifier: GPL-2.0

//! Attachments: by what a worker reaches memory.

use super::{
    access::{
        Access,
        AccessFault,
        Cache,
        Entries, //
    },
    Core,
    Permission, //
};
use crate::{
    bindings,
    vdpa::lock::{
        self,
        BhBackend,
        LockClass,
        SpinLockBh, //
    },
};
use core::{
    ops::{
        Deref,
        DerefMut, //
    },
    ptr,
};
use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Relaxed, //
        },
        lock::Guard,
        Arc, //
    },
    types::NotThreadSafe,
};

/// What memory is to the worker of a virtqueue: each may have an address space of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The parts of the virtqueue itself, reached through [`Area`](super::Area)s: descriptor
    /// table, driver area and device area.
    Rings,
    /// What descriptors refer to, reached through [`Piece`](super::Piece)s: buffers and
    /// indirect tables.
    Buffers,
}

/// What the lock of an attachment protects.
struct Inner<S> {
    /// The address space of [`Region::Rings`].
    rings: u32,
    /// The address space of [`Region::Buffers`].
    buffers: u32,
    cache: Cache,
    state: S,
}

/// A lock, the state `S` behind it, and the address space that its holder may access.
#[pin_data]
pub struct Attachment<S> {
    core: Arc<Core>,
    #[pin]
    inner: SpinLockBh<Inner<S>>,
}

/// What an [`Iommu`](super::Iommu) wants of its attachments, whatever their state.
pub(super) trait Attached: Send + Sync {
    /// Waits until whoever holds the lock has let go of it.
    fn barrier(&self);

    /// Gives it room for so many recent translations, a power of two, if there is memory: else
    /// it keeps what it has.
    fn remember(&self, count: usize);
}

impl<S: Send + Unpin> Attached for Attachment<S> {
    fn barrier(&self) {
        lock::barrier(&self.inner);
    }

    fn remember(&self, count: usize) {
        if let Ok(entries) = Entries::new(count) {
            // What was there is freed after the lock has been released.
            let _old = self.inner.lock().cache.replace(entries);
        }
    }
}

impl<S: Send + Unpin> Attachment<S> {
    pub(super) fn new(
        core: Arc<Core>,
        state: S,
        name: &'static CStr,
        class: LockClass,
    ) -> Result<impl PinInit<Self>> {
        let inner = Inner {
            rings: 0,
            buffers: 0,
            cache: Cache::new()?,
            state,
        };
        Ok(pin_init!(Self {
            core,
            inner <- SpinLockBh::new(inner, name, class),
        }))
    }

    /// Attaches a region to address space `asid`, for `set_group_asid`.
    ///
    /// Fails with `EINVAL` if there is no such address space.
    pub fn set_asid(&self, region: Region, asid: u32) -> Result {
        self.core.space_from_outside(asid)?;
        let mut inner = self.inner.lock();
        let current = match region {
            Region::Rings => &mut inner.rings,
            Region::Buffers => &mut inner.buffers,
        };
        if *current != asid {
            *current = asid;
            // What is cached belongs to the old address space.
            inner.cache.clear();
            self.core.changed();
        }
        Ok(())
    }

    /// Locks the state, without access to memory. For control operations.
    pub fn state(&self) -> StateGuard<'_, S> {
        StateGuard(self.inner.lock())
    }

    /// Runs `work` such that memory of the client can be reached, if the device uses VA and
    /// an mm is bound.
    ///
    /// Sleeps only if the device uses VA; then it must be called by a worker in process
    /// context.
    pub fn enter<R>(&self, work: impl FnOnce(&Context<'_>) -> R) -> R {
        let (mm, epoch) = if self.core.use_va {
            let bound = self.core.mm.lock();
            (bound.clone(), self.core.mm_epoch.load(Relaxed))
        } else {
            (None, 0)
        };
        let used = mm.filter(|mm| {
            // SAFETY: `mm` is a valid mm; whether it can be used here is checked.
            unsafe { bindings::rvdpa_mm_use(mm.as_raw()) }
        });
        let context = Context {
            core: &self.core,
            user: used.is_some(),
            epoch,
            _not_send: NotThreadSafe::default(),
        };
        let result = work(&context);
        if let Some(mm) = used {
            unuse(mm);
        }
        result
    }

    /// The same without a client's memory, for callers that must not sleep. `None` if there is
    /// an mm, so that [`enter`](Self::enter) is needed.
    #[inline]
    pub fn enter_atomic<R>(&self, work: impl FnOnce(&Context<'_>) -> R) -> Option<R> {
        let epoch = if self.core.use_va {
            // If an mm is bound after this, the context is stale.
            let epoch = self.core.mm_epoch.load(Acquire);
            if self.core.bound.load(Acquire) {
                return None;
            }
            epoch
        } else {
            0
        };
        Some(work(&Context {
            core: &self.core,
            user: false,
            epoch,
            _not_send: NotThreadSafe::default(),
        }))
    }

    /// Locks the state and gives access to memory.
    ///
    /// `None` if another mm was bound since [`enter`](Self::enter), which has to be called
    /// anew then.
    #[inline]
    pub fn lock<'a>(&'a self, context: &'a Context<'_>) -> Option<AttachmentGuard<'a, S>> {
        let inner = self.inner.lock();
        if context.is_stale(&self.core) {
            return None;
        }
        Some(AttachmentGuard {
            core: &self.core,
            user: context.reaches(&self.core),
            stamp: self.core.stamp.get(),
            inner,
        })
    }

    /// Brings memory in after an access failed with [`AccessFault::NotPresent`].
    ///
    /// May sleep; the lock is not held meanwhile. Returns whether it is worth while to try
    /// the access again.
    pub fn fault_in(
        &self,
        context: &Context<'_>,
        region: Region,
        iova: u64,
        len: usize,
        permission: Permission,
    ) -> bool {
        let Some(mut guard) = self.lock(context) else {
            // Another mm: the next try will tell.
            return true;
        };
        let Some((address, len)) = guard.user_range(region, iova, len, permission) else {
            return false;
        };
        drop(guard);
        let write = permission.allows(Permission::Write);
        // SAFETY: The function checks the address; `context` says that this is a kernel
        // thread that uses the mm, so that it may sleep.
        unsafe { bindings::rvdpa_user_fault_in(address, len, write) }
    }
}

/// Gives back what `rvdpa_mm_use` took.
fn unuse(mm: ARef<kernel::mm::Mm>) {
    // SAFETY: `Attachment::enter` took it in this very thread.
    unsafe { bindings::rvdpa_mm_unuse(mm.as_raw()) };
}

/// What a worker has prepared in order to reach memory.
pub struct Context<'a> {
    core: &'a Core,
    /// The current mm is the one that is bound to the device of `core`.
    user: bool,
    /// Which of the mms that were bound this is about.
    epoch: u64,
    _not_send: NotThreadSafe,
}

impl Context<'_> {
    /// Whether another mm was bound to the device since the context was made for it.
    fn is_stale(&self, core: &Core) -> bool {
        core.use_va && ptr::eq(self.core, core) && self.epoch != core.mm_epoch.load(Acquire)
    }

    /// Whether memory of the client of `core` can be reached.
    fn reaches(&self, core: &Core) -> bool {
        self.user && ptr::eq(self.core, core)
    }
}

/// The lock of an [`Attachment`], held for control.
pub struct StateGuard<'a, S>(Guard<'a, Inner<S>, BhBackend>);

impl<S> Deref for StateGuard<'_, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0.state
    }
}

impl<S: Unpin> DerefMut for StateGuard<'_, S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.0.state
    }
}

/// The lock of an [`Attachment`], held by a worker.
pub struct AttachmentGuard<'a, S> {
    inner: Guard<'a, Inner<S>, BhBackend>,
    core: &'a Core,
    stamp: u64,
    user: bool,
}

impl<S: Unpin> AttachmentGuard<'_, S> {
    /// Whether the memory of the device's driver can be reached here: it cannot if it is
    /// that of a client in whose mm the caller is not.
    #[inline]
    pub fn reaches_driver(&self) -> bool {
        self.user || !self.core.use_va || !self.core.bound.load(Relaxed)
    }

    /// The state, and access to memory.
    ///
    /// Fails with [`AccessFault::Unmapped`] if the address space is gone, which cannot be.
    #[inline]
    pub fn split(&mut self) -> Result<(&mut S, Access<'_>), AccessFault> {
        let inner = &mut *self.inner;
        let space = |asid| self.core.space(asid).map_err(|_| AccessFault::Unmapped);
        let (rings, buffers) = (space(inner.rings)?, space(inner.buffers)?);
        // SAFETY: The lock is held for as long as `self` is borrowed, `stamp` was read
        // under it, and `user` comes from a context that outlives this guard.
        let access = unsafe {
            Access::new(
                rings,
                buffers,
                &inner.cache,
                self.stamp,
                self.core.identity.load(Relaxed),
                self.user,
            )
        };
        Ok((&mut inner.state, access))
    }

    /// Where the client sees `iova`, and how many of `len` bytes lie side by side there.
    fn user_range(
        &mut self,
        region: Region,
        iova: u64,
        len: usize,
        permission: Permission,
    ) -> Option<(usize, usize)> {
        let (_, access) = self.split().ok()?;
        let found = match region {
            Region::Rings => access
                .translate_rings(iova)
                .and_then(|found| access.place_of(&found, iova, len, permission)),
            Region::Buffers => access.translate(iova, len, permission),
        };
        let (place, len) = found.ok()?;
        place.user.then_some((place.address, len))
    }
}
