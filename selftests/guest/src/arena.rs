// SPDX-License-Identifier: GPL-2.0

//! Memory that a driver in userspace shares with the device.

use crate::{
    outcome::{Outcome, While},
    skip, sys,
};
use nix::{
    sys::{
        memfd::{memfd_create, MFdFlags},
        mman::{madvise, mmap, mmap_anonymous, munmap, MapFlags, MmapAdvise, ProtFlags},
    },
    unistd::ftruncate,
};
use rvdpa_virtio::mock::DriverMemory;
use std::{
    num::NonZeroUsize,
    os::fd::OwnedFd,
    ptr::NonNull,
    sync::{
        atomic::{AtomicU16, Ordering},
        Arc,
    },
};

/// What kind of memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anonymous and private, as most memory is.
    Anonymous,
    /// A shared mapping of a file, which is all that VA mode maps.
    Shared,
    /// Anonymous, of pages of 2 MiB, which the kernel must have set aside: what is next to
    /// each other is so in physical memory, too.
    Huge,
}

/// Bytes of such a page.
const HUGE: usize = 2 << 20;

/// Has the kernel set at least so many of them aside. They stay.
pub fn provide_huge_pages(count: u32) -> Outcome {
    const NUMBER: &str = "/proc/sys/vm/nr_hugepages";
    let have = || -> Outcome<u32> {
        let text = sys::read_line(NUMBER)?;
        text.parse().when(text)
    };
    if have()? < count {
        sys::write(NUMBER, &count.to_string())?;
    }
    let got = have()?;
    if got < count {
        skip!("the kernel has {got} huge pages, not {count}");
    }
    Ok(())
}

struct Arena {
    start: NonNull<u8>,
    len: usize,
    /// Where the device finds it.
    iova: u64,
    file: Option<OwnedFd>,
}

// SAFETY: The mapping belongs to the value, and is only reached through copies and atomics.
unsafe impl Send for Arena {}
// SAFETY: As above; the device reaches it at the same time anyway.
unsafe impl Sync for Arena {}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: The mapping was made by `View::new` with this length, and nobody has it
        // any more.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}

/// A view of an arena. Cheap to clone.
#[derive(Clone)]
pub struct View(Arc<Arena>);

impl View {
    /// Maps `len` bytes, which the device is to find at `iova`.
    pub fn new(kind: Kind, iova: u64, len: usize) -> Outcome<Self> {
        let len = match kind {
            Kind::Huge => len.next_multiple_of(HUGE),
            Kind::Anonymous | Kind::Shared => len,
        };
        match kind {
            Kind::Anonymous | Kind::Huge => {
                let size = NonZeroUsize::new(len).when("length of an arena")?;
                let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
                let mut how = MapFlags::MAP_PRIVATE;
                how.set(MapFlags::MAP_HUGETLB, kind == Kind::Huge);
                // SAFETY: The kernel chooses the address.
                let start = unsafe { mmap_anonymous(None, size, access, how) };
                Ok(Self(Arc::new(Arena {
                    start: start.when("mmap")?.cast(),
                    len,
                    iova,
                    file: None,
                })))
            }
            Kind::Shared => {
                let file = memfd_create(c"arena", MFdFlags::MFD_CLOEXEC).when("memfd")?;
                ftruncate(&file, len as i64).when("ftruncate")?;
                Self::of_file(file, iova, len)
            }
        }
    }

    /// Maps the first `len` bytes of a file, which others may have mapped, too.
    pub fn of_file(file: OwnedFd, iova: u64, len: usize) -> Outcome<Self> {
        let size = NonZeroUsize::new(len).when("length of an arena")?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: The kernel chooses the address.
        let start = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, &file, 0) };
        Ok(Self(Arc::new(Arena {
            start: start.when("mmap")?.cast(),
            len,
            iova,
            file: Some(file),
        })))
    }

    /// Where the device finds it.
    pub fn iova(&self) -> u64 {
        self.0.iova
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the bytes at `iova` are in this process.
    ///
    /// # Panics
    ///
    /// If they are not in the arena.
    pub fn pointer(&self, iova: u64, len: usize) -> *mut u8 {
        let offset = iova
            .checked_sub(self.0.iova)
            .and_then(|offset| usize::try_from(offset).ok())
            .filter(|offset| offset.checked_add(len).is_some_and(|end| end <= self.0.len))
            .unwrap_or_else(|| panic!("{len} bytes at {iova:#x} are not in the arena"));
        // SAFETY: The offset is within the mapping.
        unsafe { self.0.start.as_ptr().add(offset) }
    }

    /// Takes the pages out of the process's page tables, though not out of the file.
    pub fn evict(&self) -> Outcome {
        assert!(self.0.file.is_some(), "anonymous memory would be lost");
        // SAFETY: The mapping is shared, so nothing is lost.
        unsafe { madvise(self.0.start.cast(), self.0.len, MmapAdvise::MADV_DONTNEED) }
            .when("madvise")
    }

    /// Copies the bytes to other memory, which takes the place of the first one in this
    /// process. Nobody may write meanwhile. Who has the old pages keeps them.
    ///
    /// Only for memory that is no file's.
    pub fn renew(&self) -> Outcome {
        assert!(self.0.file.is_none(), "the file would be left behind");
        let mut bytes = vec![0; self.0.len];
        self.read(self.0.iova, &mut bytes);
        let start = NonZeroUsize::new(self.0.start.as_ptr() as usize);
        let size = NonZeroUsize::new(self.0.len).when("length of an arena")?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        // SAFETY: What is there is the arena's own mapping, which is only reached through
        // copies and atomics.
        unsafe { mmap_anonymous(start, size, access, flags) }.when("mmap")?;
        self.write(self.0.iova, &bytes);
        Ok(())
    }

    /// Makes the file shorter, so that what is behind cannot be reached any more.
    pub fn truncate(&self, len: usize) -> Outcome {
        let file = self.0.file.as_ref().when("the arena's file")?;
        ftruncate(file, len as i64).when("ftruncate")
    }

    fn atomic(&self, iova: u64) -> &AtomicU16 {
        let pointer = self.pointer(iova, 2).cast::<u16>();
        assert!(pointer.is_aligned(), "{iova:#x} is odd");
        // SAFETY: Two bytes are there, aligned, for as long as `self` is, and this side
        // reaches them only so.
        unsafe { AtomicU16::from_ptr(pointer) }
    }
}

impl DriverMemory for View {
    fn read(&self, iova: u64, out: &mut [u8]) {
        let from = self.pointer(iova, out.len());
        // SAFETY: So many bytes are there, and `out` is memory of its own. If the device
        // writes them now, they are bytes of either kind.
        unsafe { from.copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
    }

    fn write(&self, iova: u64, data: &[u8]) {
        let to = self.pointer(iova, data.len());
        // SAFETY: As above.
        unsafe { to.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
    }

    fn load_u16(&self, iova: u64) -> u16 {
        u16::from_le(self.atomic(iova).load(Ordering::Acquire))
    }

    fn store_u16(&self, iova: u64, value: u16) {
        self.atomic(iova).store(value.to_le(), Ordering::Release);
    }
}
