// SPDX-License-Identifier: GPL-2.0

//! The Toeplitz hash.

use core::borrow::BorrowMut;

/// Longest key in bytes.
pub const KEY_LEN: usize = 40;

/// Most bytes that are hashed: two addresses of IPv6 and two ports.
const MAX_INPUT: usize = 36;

/// The sums for the values of half a byte.
pub type Sums = [u32; 16];

/// How many [`Sums`] there are: for the high and the low half of each byte.
pub const SUMS: usize = MAX_INPUT * 2;

/// The Toeplitz hash with a certain key.
///
/// The hash is the sum, without carries, of a part of the key for each bit that is set. The
/// sums for each four bits are kept, 4.5 KiB, so that a byte costs two additions. Where they
/// are kept is up to the user: that is much for a stack.
#[derive(Clone)]
pub struct Toeplitz<S = [Sums; SUMS]>(S);

impl<S: BorrowMut<[Sums]>> Toeplitz<S> {
    /// The hash with `key`, which uses `room` for [`SUMS`] sums. With less room, as many bytes
    /// fewer are hashed.
    pub fn new(room: S, key: &[u8]) -> Self {
        let mut hash = Self(room);
        hash.set_key(key);
        hash
    }

    /// Changes the key. What it lacks to [`KEY_LEN`] bytes counts as zero, and what is
    /// beyond is not used.
    pub fn set_key(&mut self, key: &[u8]) {
        const { assert!(KEY_LEN == MAX_INPUT + 4) };
        let mut bytes = key.iter().copied().chain(core::iter::repeat(0));
        // The 40 bits of the key from the byte on that is handled.
        let mut window = 0_u64;
        let mut next = |window: u64| (window << 8) | u64::from(bytes.next().unwrap_or(0));
        for _ in 0..4 {
            window = next(window);
        }
        for halves in self.0.borrow_mut().chunks_exact_mut(2) {
            window = next(window);
            for (half, sums) in halves.iter_mut().enumerate() {
                // The 35 bits from the half on, of which each bit has 32.
                let shift = if half == 0 { 5 } else { 1 };
                let bits = window >> shift;
                for (value, sum) in sums.iter_mut().enumerate() {
                    *sum = (0..4)
                        .filter(|bit| (value >> bit) & 1 != 0)
                        // The lowest bit of a half is the last one in order.
                        .fold(0, |sum, bit| sum ^ (bits >> bit) as u32);
                }
            }
        }
    }

    /// Starts a hash.
    #[inline(always)]
    pub(super) fn start(&self) -> Digest<'_> {
        Digest {
            rest: self.0.borrow(),
            value: 0,
        }
    }

    /// The hash of `bytes`, of which the first 36 count.
    pub fn hash_bytes(&self, bytes: &[u8]) -> u32 {
        let mut digest = self.start();
        digest.add(bytes);
        digest.value()
    }
}

/// A hash in the making.
pub(super) struct Digest<'a> {
    /// The sums for what comes next.
    rest: &'a [Sums],
    value: u32,
}

impl Digest<'_> {
    /// Goes on with `bytes`.
    #[inline(always)]
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let [high, low, rest @ ..] = self.rest else {
                return;
            };
            self.rest = rest;
            // Neither is beyond the 16 values.
            let high = high.get(usize::from(byte >> 4)).copied().unwrap_or(0);
            let low = low.get(usize::from(byte & 15)).copied().unwrap_or(0);
            self.value ^= high ^ low;
        }
    }

    /// The hash of what was added.
    #[inline(always)]
    pub(super) const fn value(&self) -> u32 {
        self.value
    }
}
