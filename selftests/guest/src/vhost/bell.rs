// SPDX-License-Identifier: GPL-2.0

//! The pages by which virtqueues are notified.

use super::Client;
use crate::outcome::{Outcome, While};
use nix::errno::Errno;
use std::{
    os::fd::AsRawFd,
    ptr::NonNull,
    sync::atomic::{fence, Ordering},
};

/// Length of a page.
pub const PAGE: usize = 4096;

/// A virtqueue's page, for as long as the value lives.
pub struct Bell {
    page: NonNull<u8>,
    /// What is written to it.
    index: u32,
    /// Whether 32 bits are written, not 16.
    wide: bool,
}

// SAFETY: The mapping belongs to the value, and can be written from any thread.
unsafe impl Send for Bell {}
// SAFETY: As above; each write is one store.
unsafe impl Sync for Bell {}

impl Bell {
    /// Maps the page of a virtqueue.
    pub fn of(client: &Client, index: usize) -> Outcome<Self> {
        Self::map(client, index, PAGE, libc::PROT_WRITE, libc::MAP_SHARED)
            .when(format_args!("mmap of virtqueue {index}'s page"))
    }

    /// Tries to map the page of a virtqueue in some way.
    pub fn map(
        client: &Client,
        index: usize,
        len: usize,
        access: i32,
        flags: i32,
    ) -> Result<Self, Errno> {
        let offset = (index * PAGE) as i64;
        let null = std::ptr::null_mut();
        // SAFETY: The kernel chooses the address.
        let page = unsafe { libc::mmap(null, len, access, flags, client.as_raw_fd(), offset) };
        if page == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Self {
            page: NonNull::new(page.cast()).ok_or(Errno::EFAULT)?,
            index: index as u32,
            wide: false,
        })
    }

    /// Writes 32 bits from now on.
    pub fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Notifies the device.
    pub fn ring(&self) {
        // What the driver has written to the ring comes first.
        fence(Ordering::SeqCst);
        if self.wide {
            self.write(0, self.index);
        } else {
            self.write(0, self.index as u16);
        }
    }

    /// Writes anything to any place of the page that it fits in.
    pub fn write<T: Copy>(&self, at: usize, value: T) {
        assert!(at % size_of::<T>() == 0 && at + size_of::<T>() <= PAGE);
        // SAFETY: The place is in the page, which is mapped for writing, and aligned.
        unsafe { self.page.as_ptr().add(at).cast::<T>().write_volatile(value) };
    }

    /// What is in the page. On some processors what can be written can be read.
    pub fn read(&self) -> Vec<u8> {
        (0..PAGE)
            // SAFETY: The place is in the page; x86 has no memory that can only be written.
            .map(|at| unsafe { self.page.as_ptr().add(at).read_volatile() })
            .collect()
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // SAFETY: The mapping was made by `map`, and nobody has it any more.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE) };
    }
}
