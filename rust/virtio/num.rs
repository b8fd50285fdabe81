// SPDX-License-Identifier: GPL-2.0

//! Conversions between integers that lose nothing, for where `From` has none.
//!
//! The kernel and the hosts that this is built for have 32 or 64-bit addresses.

const _: () = assert!(usize::BITS >= u32::BITS && usize::BITS <= u64::BITS);

/// A `u32` as `usize`.
#[inline(always)]
pub(super) const fn usize_from_u32(value: u32) -> usize {
    value as usize
}

/// A `usize` as `u64`.
#[inline(always)]
pub(super) const fn u64_from_usize(value: usize) -> u64 {
    value as u64
}

/// A `usize` as `u32`, or the largest `u32` where it is larger than that.
#[inline(always)]
pub(super) const fn u32_at_most(value: usize) -> u32 {
    if u64_from_usize(value) > u32::MAX as u64 {
        u32::MAX
    } else {
        value as u32
    }
}

/// A `u64` as `usize`, or the largest `usize` where it is larger than that.
#[inline(always)]
pub(super) const fn usize_at_most(value: u64) -> usize {
    if value > u64_from_usize(usize::MAX) {
        usize::MAX
    } else {
        value as usize
    }
}
