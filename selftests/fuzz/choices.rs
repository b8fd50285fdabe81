// SPDX-License-Identifier: GPL-2.0

//! Choices, made of the bytes of an input.

use std::cell::Cell;

/// The bytes of an input, each of which is used once, from the first to the last. When there
/// are no more, each choice is zero, or the first one there is. So nearly all inputs mean
/// something, and one that is cut off means what it meant, up to there.
pub struct Choices<'a>(Cell<&'a [u8]>);

impl<'a> Choices<'a> {
    /// Those of an input.
    pub fn new(data: &'a [u8]) -> Self {
        Self(Cell::new(data))
    }

    /// Whether there are no more bytes.
    pub fn is_empty(&self) -> bool {
        self.0.get().is_empty()
    }

    /// `len` bytes, or those that there are.
    pub fn bytes(&self, len: usize) -> &'a [u8] {
        let all = self.0.get();
        let (bytes, rest) = all.split_at(len.min(all.len()));
        self.0.set(rest);
        bytes
    }

    /// All bytes that are left.
    pub fn rest(&self) -> &'a [u8] {
        self.0.take()
    }

    /// `N` bytes.
    pub fn array<const N: usize>(&self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    /// A number of one byte.
    pub fn u8(&self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    /// A number of two bytes.
    pub fn u16(&self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// A number of four bytes.
    pub fn u32(&self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number of eight bytes.
    pub fn u64(&self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Yes or no.
    pub fn flag(&self) -> bool {
        self.u8() & 1 != 0
    }

    /// A number from 0 to `most`. Takes one byte.
    pub fn up_to(&self, most: u8) -> u8 {
        match most {
            u8::MAX => self.u8(),
            _ => self.u8() % (most + 1),
        }
    }

    /// One of these, of which there are no more than 256. Takes one byte.
    pub fn one_of<T: Copy>(&self, all: &[T]) -> T {
        all[usize::from(self.up_to((all.len() - 1) as u8))]
    }
}
