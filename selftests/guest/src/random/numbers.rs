// SPDX-License-Identifier: GPL-2.0

//! Numbers that look random, and are the same ones each time.

/// SplitMix64.
pub struct Numbers(u64);

impl Numbers {
    /// Those of a round.
    pub fn new(seed: u64, round: u64) -> Self {
        let mut start = Self(seed);
        let mixed = start.any() ^ round.wrapping_mul(0xd134_2543_de82_ef95);
        Self(mixed)
    }

    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `count`, which is not zero.
    pub fn below(&mut self, count: u64) -> u64 {
        self.any() % count
    }

    /// Whether one of `count` equally likely things is so.
    pub fn chance(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let more = self.any().to_ne_bytes();
            piece.copy_from_slice(&more[..piece.len()]);
        }
    }
}
