// SPDX-License-Identifier: GPL-2.0

//! A software IOMMU: what a vDPA device without translation hardware needs to reach the
//! memory of its driver.
//!
//! An [`Iommu`] has address spaces, which `set_map`, `dma_map` and their like fill, and
//! [`Attachment`]s, through which the device's workers reach memory. An attachment is a
//! lock, the state that the lock protects, and an address space. Its guard gives both:
//! the state, and [`Access`] to memory.
//!
//! # Rules
//!
//! 1. Nobody sleeps or faults while holding the lock of an attachment. Memory of a client
//!    that is not resident makes an access fail with [`AccessFault::NotPresent`].
//! 2. Whoever takes a mapping away takes and releases the lock of each attachment before
//!    giving up the memory. When [`Iommu::unmap`] returns, no access to that memory is
//!    under way.
//! 3. Cached translations carry the number of the change after which they were found, and
//!    are void after the next one.
//!
//! # Examples
//!
//! A worker that reads two bytes of its queue, and brings them in if they are not there:
//!
//! ```ignore
//! fn look(attachment: &Attachment<State>) -> Option<u16> {
//!     attachment.enter(|context| loop {
//!         let mut guard = attachment.lock(context)?;
//!         let (state, access) = guard.split().ok()?;
//!         let found = access
//!             .resolve(&mut state.area, state.iova, 2, Permission::Read)
//!             .and_then(|()| access.load::<u16>(&state.area, 0));
//!         let iova = state.iova;
//!         drop(guard);
//!         match found {
//!             Ok(index) => return Some(index),
//!             Err(AccessFault::NotPresent)
//!                 if attachment.fault_in(context, iova, 2, Permission::Read) => {}
//!             Err(_) => return None,
//!         }
//!     })
//! }
//! ```
//!
//! # Lock order
//!
//! 1. the lock of an attachment (spin lock, softirqs off);
//! 2. the mappings of an address space (interrupts off).
//!
//! Two attachments, be they of one device or of two, may be locked at a time only if
//! everybody locks them in the same order: those of one class before those of another.

use crate::{
    bindings,
    vdpa::{
        lock::LockClass,
        nospec::get_nospec,
        types::MapTable, //
    },
};
use core::marker::PhantomData;
use kernel::{
    mm::Mm,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Full,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
};

mod access;
mod area;
mod attachment;
mod bulk;
mod driver_memory;
#[cfg(CONFIG_KUNIT = "y")]
mod kunit;
mod mappings;
mod near;
mod piece;
mod space;
mod stamp;

pub use access::{
    Access,
    AccessFault, //
};
pub use area::{
    Area,
    Element, //
};
pub use attachment::{
    Attachment,
    AttachmentGuard,
    Context,
    Region, //
};
pub use near::Near;
pub use piece::{
    CopyFault,
    Piece, //
};

use access::Entries;
use attachment::Attached;
use mappings::{
    Mapping,
    Mappings, //
};
use space::{
    AddressSpace,
    HeldPages,
    Place,
    Translation, //
};
use stamp::Stamp;

/// What the device may do with memory, or wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// The device reads.
    Read,
    /// The device writes.
    Write,
    /// The device reads and writes.
    ReadWrite,
}

impl Permission {
    /// Whether this permission is enough for `wanted`.
    #[inline]
    fn allows(self, wanted: Permission) -> bool {
        self == Permission::ReadWrite || self == wanted
    }

    /// From the `VHOST_ACCESS_*` of vhost-vdpa's maps.
    pub(super) fn from_vhost(perm: u32) -> Option<Self> {
        match perm {
            bindings::VHOST_ACCESS_RO => Some(Permission::Read),
            bindings::VHOST_ACCESS_WO => Some(Permission::Write),
            bindings::VHOST_ACCESS_RW => Some(Permission::ReadWrite),
            _ => None,
        }
    }
}

/// How a virtio driver of this kernel (virtio-vdpa) maps its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverMemory {
    /// The iova of memory is its physical address. Fast; the device can reach all memory
    /// while such a driver uses it.
    Identity,
    /// Each mapping has iovas of its own, for as long as it lasts, and permits what the
    /// driver said. Shows drivers that use memory they have not mapped.
    Strict,
}

/// The last iova of a range. Fails with `EINVAL` if there is none.
fn last(iova: u64, size: u64) -> Result<u64> {
    size.checked_sub(1)
        .and_then(|more| iova.checked_add(more))
        .ok_or(EINVAL)
}

/// Numbers the changes of all IOMMUs, so that one number says which IOMMU, and when.
static CHANGES: Atomic<u64> = Atomic::new(1);

/// What the IOMMU and its attachments share.
#[pin_data]
struct Core {
    spaces: KVec<Pin<KBox<AddressSpace>>>,
    /// The latest change of a mapping.
    stamp: Stamp,
    driver_memory: DriverMemory,
    /// Whether a driver has mapped memory by identity since the last detach.
    identity: AtomicFlag,
    use_va: bool,
    /// Whether there is an mm.
    bound: AtomicFlag,
    /// The mm that addresses of VA mappings belong to.
    #[pin]
    mm: SpinLock<Option<ARef<Mm>>>,
    /// Counts how often `mm` was set.
    mm_epoch: Atomic<u64>,
}

impl Core {
    fn space(&self, asid: u32) -> Result<&AddressSpace> {
        self.spaces
            .get(asid as usize)
            .map(|space| &**space)
            .ok_or(EINVAL)
    }

    /// The same for a number from outside, beyond which no processor shall guess.
    fn space_from_outside(&self, asid: u32) -> Result<&AddressSpace> {
        let found = get_nospec(&self.spaces, asid as usize);
        found.map(|space| &**space).ok_or(EINVAL)
    }

    /// What a request of vhost-vdpa means. Fails with `EINVAL` for a range that is empty or
    /// overflows, and for what is not memory.
    fn translation(&self, request: &MapRequest<'_>) -> Result<Translation> {
        let MapRequest {
            iova,
            size,
            permission,
            address,
            ..
        } = *request;
        let last = last(iova, size)?;
        address.checked_add(size - 1).ok_or(EINVAL)?;
        let place = if self.use_va {
            Place {
                address: address as usize,
                user: true,
            }
        } else {
            // SAFETY: The function only computes.
            Place::kernel(unsafe { bindings::rvdpa_virt(address) } as usize)
        };
        Ok(Translation {
            first: iova,
            last,
            place,
            permission,
        })
    }

    /// Takes references to the pages of a request, if it is about pages. Fails with `EINVAL`
    /// for what is not memory.
    fn hold(&self, request: &MapRequest<'_>) -> Result<Option<HeldPages>> {
        if self.use_va {
            return Ok(None);
        }
        let writable = request.permission.allows(Permission::Write);
        // SAFETY: vhost-vdpa, which alone makes a `MapRequest`, has pinned these pages and
        // keeps them pinned during the operation that brings the request.
        unsafe { HeldPages::get(request.address, request.size, writable) }.map(Some)
    }

    /// Makes all cached translations void.
    fn changed(&self) {
        self.stamp.change(&CHANGES);
    }
}

/// A range that vhost-vdpa wants to map.
///
/// Its memory is sure to be there only during the operation that brings the request, so it
/// cannot be kept.
#[derive(Debug)]
pub struct MapRequest<'a> {
    /// First iova.
    pub iova: u64,
    /// Length in bytes.
    pub size: u64,
    /// What the device may do.
    pub permission: Permission,
    /// The physical address, or that in the client's mm if the device uses VA.
    ///
    /// Private, because whoever could choose it could make the device write anywhere.
    pub(super) address: u64,
    pub(super) _operation: PhantomData<&'a ()>,
}

/// The translation of one device.
pub struct Iommu {
    core: Arc<Core>,
    attachments: KVec<Arc<dyn Attached>>,
}

/// An [`Iommu`] to which attachments can still be added.
pub struct IommuBuilder(Iommu);

impl IommuBuilder {
    /// Adds an attachment to address space 0, with the state that its lock protects.
    ///
    /// Attachments whose locks are held at a time must be of different classes.
    pub fn attach<S: Send + Unpin + 'static>(
        &mut self,
        state: S,
        name: &'static CStr,
        class: LockClass,
    ) -> Result<Arc<Attachment<S>>> {
        let core = self.0.core.clone();
        let attachment = Arc::pin_init(Attachment::new(core, state, name, class)?, GFP_KERNEL)?;
        self.0.attachments.push(attachment.clone(), GFP_KERNEL)?;
        Ok(attachment)
    }

    /// Ends the adding.
    pub fn build(self) -> Result<Arc<Iommu>> {
        Ok(Arc::new(self.0, GFP_KERNEL)?)
    }
}

impl Iommu {
    /// Makes an IOMMU with `spaces` empty address spaces.
    ///
    /// With `use_va`, maps give addresses in the mm that gets bound, else physical ones.
    /// It must be the same as what the device is registered with.
    pub fn builder(spaces: u32, use_va: bool, driver_memory: DriverMemory) -> Result<IommuBuilder> {
        let mut all = KVec::with_capacity(spaces as usize, GFP_KERNEL)?;
        for _ in 0..spaces {
            all.push(KBox::pin_init(AddressSpace::new(), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let core = Arc::pin_init(
            pin_init!(Core {
                spaces: all,
                stamp: Stamp::new(&CHANGES),
                driver_memory,
                identity: AtomicFlag::new(false),
                use_va,
                bound: AtomicFlag::new(false),
                mm <- new_spinlock!(None),
                mm_epoch: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        Ok(IommuBuilder(Iommu {
            core,
            attachments: KVec::new(),
        }))
    }

    /// How many address spaces there are.
    pub fn spaces(&self) -> u32 {
        self.core.spaces.len() as u32
    }

    /// Whether maps give addresses in a client's mm.
    pub fn uses_va(&self) -> bool {
        self.core.use_va
    }

    /// Adds a mapping to address space `asid`, for `dma_map`.
    ///
    /// Never waits for the datapath. Fails with `EINVAL` (no such address space, empty or
    /// overflowing range, not memory), `EEXIST` (overlaps another mapping), `ENOMEM`.
    pub fn map(&self, asid: u32, request: &MapRequest<'_>) -> Result {
        let space = self.core.space_from_outside(asid)?;
        let mut made = space.changes.lock();
        let translation = self.core.translation(request)?;
        let pages = self.core.hold(request)?;
        // Nobody can have cached that there was no mapping: misses are not cached. But
        // areas that failed to resolve are tried again anyway.
        space.insert(translation, pages, GFP_KERNEL)?;
        let now = made.saturating_add(1);
        self.count(&mut made, now);
        Ok(())
    }

    /// Counts the mappings that were made: they are `now` so many. Where there are many, more
    /// translations are remembered.
    fn count(&self, made: &mut usize, now: usize) {
        let before = core::mem::replace(made, now);
        match (before > Entries::FEW, now > Entries::FEW) {
            (false, true) => self.remember(Entries::MANY),
            (true, false) => self.remember(Entries::FEW),
            _ => {}
        }
    }

    /// Has all attachments remember so many translations.
    fn remember(&self, count: usize) {
        for attachment in &self.attachments {
            attachment.remember(count);
        }
    }

    /// Makes the mappings of address space `asid` those of `table`, for `set_map`.
    ///
    /// What is in both is reachable all the time. When it returns, no access to the memory of
    /// mappings that are not in `table` is under way, also if it fails: what is in both stays
    /// then, and the rest is gone. Never waits for the datapath any longer than
    /// [`unmap`](Self::unmap) does.
    ///
    /// Fails with `EINVAL` (no such address space, something that is not memory), `ENOMEM`.
    pub fn set(&self, asid: u32, table: &MapTable<'_>) -> Result {
        let space = self.core.space_from_outside(asid)?;
        let mut made = space.changes.lock();
        match self.table(space, table) {
            Ok((new, count)) => {
                let old = space.replace(new);
                self.settle();
                space.hand_on(old);
                self.count(&mut made, count);
                Ok(())
            }
            Err(error) => {
                let keep = |mapping: &Translation| {
                    table.find(mapping.first).is_some_and(|request| {
                        self.core.translation(&request).ok().as_ref() == Some(mapping)
                    })
                };
                let mut from = 0;
                while let Some(removed) = space.remove_unless(from, keep) {
                    self.settle();
                    from = removed.last();
                    drop(removed);
                }
                Err(error)
            }
        }
    }

    /// The mappings of `table`, and how many there are. Those that `space` has come without
    /// their pages.
    fn table(&self, space: &AddressSpace, table: &MapTable<'_>) -> Result<(Mappings, usize)> {
        let mut new = Mappings::new();
        let mut count = 0_usize;
        table.for_each(|request| {
            let translation = self.core.translation(request)?;
            let pages = if space.holds(&translation) {
                None
            } else {
                self.core.hold(request)?
            };
            let mapping = Mapping { translation, pages };
            space::insert(mapping, GFP_KERNEL, |one, room| new.insert(one, room))?;
            count = count.saturating_add(1);
            Ok(())
        })?;
        Ok((new, count))
    }

    /// Removes all mappings of address space `asid` that overlap `size` bytes at `iova`,
    /// for `dma_unmap`.
    ///
    /// When it returns, no access to their memory is under way. It waits for at most one
    /// batch of each worker, none of which can be waiting for a fault. Fails with
    /// `EINVAL` (no such address space, empty or overflowing range).
    pub fn unmap(&self, asid: u32, iova: u64, size: u64) -> Result {
        let _one_at_a_time = self.core.space_from_outside(asid)?.changes.lock();
        self.remove(asid, iova, size)
    }

    fn remove(&self, asid: u32, iova: u64, size: u64) -> Result {
        let space = self.core.space_from_outside(asid)?;
        let last = last(iova, size)?;
        let mut from = iova;
        while let Some(removed) = space.remove(from, last) {
            self.settle();
            // Another one overlaps the range behind this one, if any does.
            from = removed.last();
            drop(removed);
            if from >= last {
                break;
            }
        }
        Ok(())
    }

    /// Removes all mappings of address space `asid`, for `reset_map`.
    ///
    /// Fails with `EINVAL` (no such address space).
    pub fn unmap_all(&self, asid: u32) -> Result {
        let space = self.core.space_from_outside(asid)?;
        let mut made = space.changes.lock();
        let removed = space.take_all();
        self.settle();
        drop(removed);
        self.count(&mut made, 0);
        Ok(())
    }

    /// Makes cached translations void and waits for accesses under way.
    fn settle(&self) {
        self.core.changed();
        for attachment in &self.attachments {
            attachment.barrier();
        }
    }

    /// Ends the identity mapping, if a driver of this kernel had one, for `reset`. The next
    /// such driver gets it anew when it allocates its rings.
    ///
    /// When it returns, no access by identity is under way.
    pub fn detach_driver_memory(&self) {
        if self.core.identity.xchg(false, Full) {
            self.settle();
        }
    }

    /// Sets the mm that VA mappings refer to, for `bind_mm` and `unbind_mm`.
    ///
    /// When it returns, the old mm is not accessed any more.
    pub fn bind_mm(&self, mm: Option<ARef<Mm>>) {
        let mut bound = self.core.mm.lock();
        self.core.bound.store(mm.is_some(), Relaxed);
        let old = core::mem::replace(&mut *bound, mm);
        // Under the lock, so that an mm and its number belong together.
        self.core.mm_epoch.fetch_add(1, Full);
        drop(bound);
        self.settle();
        drop(old);
    }
}
