// SPDX-License-Identifier: GPL-2.0

//! Files of debugfs, by which root looks into devices.
//!
//! A [`File`] prints what its data [shows](Show) whenever it is read, and hands what is
//! written to it to [`Store`]. Where debugfs cannot be used, because the kernel was built
//! or booted without it, or has no memory, nothing happens: directories and files are then
//! values that do nothing.
//!
//! # Lifetimes
//!
//! A file exists for as long as its value, and its directory, with all above it, at least as
//! long as that. To drop the value removes the file, and waits for those that are reading or
//! writing at that moment, but not for those that have it open only: later reads of theirs
//! fail with `EIO`. From then on nobody reaches the data.
//!
//! Whoever has a file open uses the module, also when the file was removed: meanwhile
//! `rmmod` fails with `EBUSY`. The kernel crate has files of debugfs, too, but they do not
//! say which module they belong to, so that it could go while one is open. When that one was
//! closed, debugfs would look for its file operations where there are none any more
//! (`full_proxy_release()`).
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use crate::bindings;
use core::{
    fmt,
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
    slice,
    str, //
};
use kernel::{
    bindings::{
        dentry,
        seq_file, //
    },
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
    str::CStr,
    sync::Arc, //
};

/// What can be read.
pub trait Show {
    /// Prints everything to `out`.
    ///
    /// Fails only if `out` has not enough room. It is called again then, with more.
    fn show(&self, out: &mut Seq<'_>) -> fmt::Result;
}

/// What can be written, too.
pub trait Store: Show {
    /// Takes a line of at most 64 bytes, without the blanks around it. An error is what
    /// the writer gets.
    fn store(&self, line: &str) -> Result;
}

/// Where [`Show`] prints to.
///
/// # Invariants
///
/// The pointer is a valid `seq_file` that nobody else uses during `'a`.
pub struct Seq<'a>(NonNull<seq_file>, PhantomData<&'a mut seq_file>);

impl fmt::Write for Seq<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: Valid by the type invariant, and `text` is valid for reads of its length.
        let result = unsafe {
            kernel::bindings::seq_write(self.0.as_ptr(), text.as_ptr().cast(), text.len())
        };
        if result == 0 {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// Something in debugfs.
///
/// # Invariants
///
/// `dentry` was made by one of the shims, in `parent` if there is one, and was not removed
/// yet: not by itself, because that is done on drop, nor with its parent, which lives longer.
struct Node {
    dentry: NonNull<dentry>,
    _parent: Option<Arc<Node>>,
}

// SAFETY: debugfs may be used from any thread.
unsafe impl Send for Node {}
// SAFETY: Nothing that needs `&mut` is done with a shared node.
unsafe impl Sync for Node {}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: Not removed yet by the type invariant. A directory is empty: what is in
        // it refers to it. `_parent` is dropped afterwards.
        unsafe { bindings::rvdpa_debugfs_remove(self.dentry.as_ptr()) };
    }
}

/// A directory, which is removed when it is dropped and nothing is in it any more.
///
/// Copies are of the same directory.
#[derive(Clone)]
pub struct Directory(Option<Arc<Node>>);

impl Directory {
    /// Makes a directory at the top of debugfs.
    pub fn top(name: &CStr) -> Self {
        Self::new(name, None)
    }

    /// Makes a directory in this one. If there is one of this name already, that one stays
    /// as it is, and the new one is not in the file system.
    pub fn directory(&self, name: &CStr) -> Self {
        match &self.0 {
            Some(parent) => Self::new(name, Some(parent.clone())),
            None => Self(None),
        }
    }

    fn new(name: &CStr, parent: Option<Arc<Node>>) -> Self {
        let raw = parent
            .as_ref()
            .map_or(ptr::null_mut(), |parent| parent.dentry.as_ptr());
        // SAFETY: `name` is valid for the call, which copies it, and `raw` is NULL or valid
        // by the type invariant.
        let dentry = unsafe { bindings::rvdpa_debugfs_dir(name.as_char_ptr(), raw) };
        Self(NonNull::new(dentry).and_then(|dentry| {
            // INVARIANT: Just made.
            let node = Node {
                dentry,
                _parent: parent,
            };
            Arc::new(node, GFP_KERNEL).ok()
        }))
    }

    /// Makes a file in this directory that only root can read.
    pub fn read_only<T>(&self, name: &CStr, data: T) -> File<T>
    where
        T: Show + Send + Sync + 'static,
    {
        self.file(name, data, None)
    }

    /// Makes a file in this directory that only root can read and write.
    pub fn read_write<T>(&self, name: &CStr, data: T) -> File<T>
    where
        T: Store + Send + Sync + 'static,
    {
        self.file(name, data, Some(store::<T>))
    }

    fn file<T>(&self, name: &CStr, data: T, store: Option<StoreLine>) -> File<T>
    where
        T: Show + Send + Sync + 'static,
    {
        File(self.0.as_ref().and_then(|parent| {
            let callbacks = bindings::rvdpa_debugfs_file {
                show: Some(show::<T>),
                store,
            };
            let entry = KBox::new(Entry { callbacks, data }, GFP_KERNEL).ok()?;
            // INVARIANT: Nobody refers to it but what is made below.
            let entry = RawEntry(NonNull::from(KBox::leak(entry)));
            // SAFETY: `name` is valid for the call, which copies it, `parent` is valid by
            // its invariant, and `entry` lives until the file was removed.
            let dentry = unsafe {
                bindings::rvdpa_debugfs_create(
                    name.as_char_ptr(),
                    parent.dentry.as_ptr(),
                    entry.0.as_ptr().cast(),
                )
            };
            // INVARIANT: Just made.
            Some(Removable {
                _node: Node {
                    dentry: NonNull::new(dentry)?,
                    _parent: Some(parent.clone()),
                },
                _entry: entry,
            })
        }))
    }
}

/// [`Store`] as C calls it.
type StoreLine =
    unsafe extern "C" fn(*const bindings::rvdpa_debugfs_file, *const c_char, usize) -> c_int;

/// What a file refers to.
#[repr(C)]
struct Entry<T> {
    callbacks: bindings::rvdpa_debugfs_file,
    data: T,
}

/// An [`Entry`] that has an owner, while C refers to it.
///
/// # Invariants
///
/// The pointer comes from a box, and belongs to this value. Nobody changes what it points
/// to.
struct RawEntry<T>(NonNull<Entry<T>>);

// SAFETY: As a `KBox<Entry<T>>`, whose callbacks are functions.
unsafe impl<T: Send> Send for RawEntry<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for RawEntry<T> {}

impl<T> Drop for RawEntry<T> {
    fn drop(&mut self) {
        // SAFETY: It came from a box, and is given back once.
        drop(unsafe { KBox::from_raw(self.0.as_ptr()) });
    }
}

/// A file, and what it refers to. Dropped in this order.
struct Removable<T> {
    _node: Node,
    _entry: RawEntry<T>,
}

/// A file, which is removed when it is dropped.
pub struct File<T>(#[expect(dead_code, reason = "there to be dropped")] Option<Removable<T>>);

/// # Safety
///
/// `file` is that of an `Entry<T>` that lives longer than the call, and nobody else uses `seq`
/// meanwhile.
unsafe extern "C" fn show<T: Show>(file: *const bindings::rvdpa_debugfs_file, seq: *mut seq_file) {
    // SAFETY: As required of the caller; the callbacks are the first field.
    let entry = unsafe { &*file.cast::<Entry<T>>() };
    if let Some(seq) = NonNull::new(seq) {
        // INVARIANT: As required of the caller.
        let mut seq = Seq(seq, PhantomData);
        // There was not enough room, which the `seq_file` knows itself.
        let _ = entry.data.show(&mut seq);
    }
}

/// # Safety
///
/// `file` is that of an `Entry<T>` that lives longer than the call, and `line` is valid for
/// reads of `len` bytes.
unsafe extern "C" fn store<T: Store>(
    file: *const bindings::rvdpa_debugfs_file,
    line: *const c_char,
    len: usize,
) -> c_int {
    // SAFETY: As required of the caller; the callbacks are the first field.
    let entry = unsafe { &*file.cast::<Entry<T>>() };
    // SAFETY: As required of the caller.
    let line = unsafe { slice::from_raw_parts(line.cast::<u8>(), len) };
    let result = str::from_utf8(line)
        .map_err(|_| EINVAL)
        .and_then(|line| entry.data.store(line.trim()));
    match result {
        Ok(()) => 0,
        Err(e) => e.to_errno(),
    }
}
