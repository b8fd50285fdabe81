// SPDX-License-Identifier: GPL-2.0

//! Stamps: until when what was found in the mappings is good.
//!
//! This file needs nothing but atomics: on the host, it is a part of the models
//! (`selftests/models`).

use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};

/// The number of an IOMMU's latest change. `changes` numbers those of all IOMMUs, so that one
/// number says which IOMMU, and when.
pub(super) struct Stamp(Atomic<u64>);

impl Stamp {
    pub(super) fn new(changes: &Atomic<u64>) -> Self {
        Self(Atomic::new(Self::next(changes)))
    }

    fn next(changes: &Atomic<u64>) -> u64 {
        changes.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// Makes void what was found so far. To be called when a mapping was taken out, and before
    /// the locks of attachments are waited for.
    ///
    /// Of two changes at a time, either may be the latest one: no number comes twice.
    pub(super) fn change(&self, changes: &Atomic<u64>) {
        // Pairs with the load.
        self.0.store(Self::next(changes), Release);
    }

    /// The number of the latest change. To be called under the lock of an attachment: who has
    /// taken a mapping away either is seen here, or waits for this lock.
    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Acquire)
    }
}
