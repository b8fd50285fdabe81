// SPDX-License-Identifier: GPL-2.0

//! Mappings against workers, as `rust/vdpa/iommu.rs` and what is below has them: when an
//! unmap returns, nobody uses that memory.

use crate::{
    check,
    check_most,
    sync::atomic::Atomic,
    Steps, //
};
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        Mutex, //
    },
    thread,
};

#[path = "../../../../rust/vdpa/iommu/stamp.rs"]
mod stamp;

use stamp::Stamp;

/// What `Cache` and `Area` keep: where a mapping leads, and the stamp under which that was
/// found.
#[derive(Clone, Copy)]
struct Found {
    page: usize,
    stamp: u64,
}

/// `Iommu`, with one address space of one mapping, and `Attachment`s.
struct Iommu {
    changes: Atomic<u64>,
    stamp: Stamp,
    /// `AddressSpace::changes`.
    one_at_a_time: Mutex<()>,
    /// `AddressSpace::mappings`: which page each of two iovas leads to.
    mappings: Mutex<[Option<usize>; 2]>,
    /// `Attachment::inner`: what was found for each iova.
    attachments: [Mutex<[Option<Found>; 2]>; 2],
    /// Memory: reading it is an access by a worker, writing it is what its owner does when it
    /// has it back.
    pages: [UnsafeCell<u32>; 2],
}

impl Iommu {
    fn new() -> Self {
        let changes = Atomic::new(1);
        Self {
            stamp: Stamp::new(&changes),
            changes,
            one_at_a_time: Mutex::new(()),
            mappings: Mutex::new([Some(0), Some(1)]),
            attachments: [Mutex::new([None; 2]), Mutex::new([None; 2])],
            pages: [UnsafeCell::new(0), UnsafeCell::new(0)],
        }
    }

    /// A worker: `Attachment::lock`, `Access`, `AddressSpace::translate`.
    fn access(&self, attachment: usize, iova: usize) {
        let mut cache = self.attachments[attachment].lock().unwrap();
        let stamp = self.stamp.get();
        let known = cache[iova].filter(|found| found.stamp == stamp);
        let page = match known {
            Some(found) => Some(found.page),
            None => self.mappings.lock().unwrap()[iova],
        };
        if let Some(page) = page {
            cache[iova] = Some(Found { page, stamp });
            self.pages[page].with(|page| {
                // SAFETY: loom finds out whether its owner writes to it.
                unsafe { page.read() }
            });
        }
    }

    /// `Iommu::unmap` and `Iommu::settle`; then the owner uses the memory.
    fn unmap(&self, iova: usize, steps: Steps) {
        let one = self.one_at_a_time.lock().unwrap();
        let page = self.mappings.lock().unwrap()[iova].take();
        if steps.has("stamp") && steps.has("stamp before barrier") {
            self.stamp.change(&self.changes);
        }
        if steps.has("barrier") {
            for attachment in &self.attachments {
                drop(attachment.lock().unwrap());
            }
        }
        if !steps.has("stamp before barrier") {
            self.stamp.change(&self.changes);
        }
        drop(one);
        if let Some(page) = page {
            self.pages[page].with_mut(|page| {
                // SAFETY: loom finds out whether a worker reads it.
                unsafe { *page += 1 };
            });
        }
    }
}

fn unmap_under_work(steps: Steps) {
    let iommu = Arc::new(Iommu::new());
    let worker = iommu.clone();
    let thread = thread::spawn(move || {
        worker.access(0, 0);
        worker.access(0, 0);
    });
    iommu.unmap(0, steps);
    thread.join().unwrap();
}

/// Two clients' changes at a time, of two address spaces that a device has: nothing but the
/// stamp is common to them.
fn two_unmaps_under_work(steps: Steps) {
    let iommu = Arc::new(Iommu::new());
    let (worker, other) = (iommu.clone(), iommu.clone());
    let threads = [
        thread::spawn(move || {
            worker.access(1, 1);
            worker.access(1, 1);
        }),
        thread::spawn(move || other.unmap_of_other_space(1, steps)),
    ];
    iommu.unmap(0, steps);
    for thread in threads {
        thread.join().unwrap();
    }
}

impl Iommu {
    /// As [`unmap`](Self::unmap), but with a lock `AddressSpace::changes` of its own, which
    /// nobody else wants.
    fn unmap_of_other_space(&self, iova: usize, steps: Steps) {
        let page = self.mappings.lock().unwrap()[iova].take();
        if steps.has("stamp") {
            self.stamp.change(&self.changes);
        }
        drop(self.attachments[1].lock().unwrap());
        if let Some(page) = page {
            self.pages[page].with_mut(|page| {
                // SAFETY: loom finds out whether a worker reads it.
                unsafe { *page += 1 };
            });
        }
    }
}

#[test]
fn no_access_after_unmap() {
    check(|| unmap_under_work(Steps::All));
}

#[test]
fn no_access_after_two_unmaps() {
    check_most(|| two_unmaps_under_work(Steps::All));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_a_stamp_what_was_found_is_used() {
    check(|| unmap_under_work(Steps::Without("stamp")));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_the_barrier_an_access_is_under_way() {
    check(|| unmap_under_work(Steps::Without("barrier")));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn with_the_stamp_behind_the_barrier_what_was_found_is_used() {
    check(|| unmap_under_work(Steps::Without("stamp before barrier")));
}
