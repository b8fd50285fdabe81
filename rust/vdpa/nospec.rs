// SPDX-License-Identifier: GPL-2.0

//! Numbers from outside that pick a place in memory, and processors that guess.
//!
//! A processor may go on behind a check of bounds before it knows how that comes out, and then
//! use what lies beyond (`Documentation/admin-guide/hw-vuln/spectre.rst` of the kernel, variant
//! 1). Here such a number becomes zero where the check would fail, without a branch that could
//! be guessed, as `array_index_nospec()` of `linux/nospec.h` does.

#[cfg(CONFIG_X86_64)]
use kernel::asm;

#[cfg(not(CONFIG_X86_64))]
use crate::bindings;

/// `index`, which was found to be less than `size`. Zero, where a processor only guesses that it
/// is, or where it is not.
#[inline(always)]
pub(super) fn index_nospec(index: usize, size: usize) -> usize {
    index & index_mask_nospec(index, size)
}

/// The element of a slice with an index that somebody outside has chosen, if there is one.
#[inline]
pub fn get_nospec<T>(of: &[T], index: usize) -> Option<&T> {
    if index < of.len() {
        of.get(index_nospec(index, of.len()))
    } else {
        None
    }
}

/// All ones if `index` is less than `size`, else zero: for the index, and for the check of it.
#[cfg(CONFIG_X86_64)]
#[inline(always)]
pub(super) fn index_mask_nospec(index: usize, size: usize) -> usize {
    let mask: usize;
    // SAFETY: It only computes.
    unsafe {
        asm!(
            "cmpq {size}, {index}
             sbbq {mask}, {mask}";
            size = in(reg) size,
            index = in(reg) index,
            mask = lateout(reg) mask,
            options(pure, nomem, nostack)
        );
    }
    mask
}

/// As above.
#[cfg(not(CONFIG_X86_64))]
#[inline(always)]
pub(super) fn index_mask_nospec(index: usize, size: usize) -> usize {
    // SAFETY: The function only computes.
    unsafe { bindings::rvdpa_index_mask_nospec(index, size) }
}

/// What leaves any index as it is that is less than `size`, and keeps others below the next power
/// of two: for many indices of something whose size most often is one.
#[inline(always)]
pub(super) fn index_bits_nospec(size: usize) -> usize {
    let bits = size.checked_next_power_of_two().unwrap_or(0);
    // So that the compiler does not find it superfluous behind a check.
    core::hint::black_box(bits.wrapping_sub(1))
}
