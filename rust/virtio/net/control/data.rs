// SPDX-License-Identifier: GPL-2.0

//! Taking a command's data apart.

use super::CommandError;

/// The data of a command, from the front.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Data<'a> {
    rest: &'a [u8],
    taken: usize,
}

impl<'a> Data<'a> {
    /// All of `bytes`.
    pub(in super::super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            taken: 0,
        }
    }

    /// Takes the next `len` bytes.
    pub(in super::super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], CommandError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(len) else {
            return Err(CommandError::Short {
                len: self.taken.saturating_add(self.rest.len()),
                least: self.taken.saturating_add(len),
            });
        };
        self.rest = rest;
        self.taken = self.taken.saturating_add(len);
        Ok(bytes)
    }

    /// Takes the next `N` bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CommandError> {
        let bytes = self.bytes(N)?;
        // `bytes` has that length.
        Ok(bytes.first_chunk().copied().unwrap_or([0; N]))
    }

    /// Takes a number of one byte.
    pub(in super::super) fn u8(&mut self) -> Result<u8, CommandError> {
        self.array().map(u8::from_le_bytes)
    }

    /// Takes a number of two bytes.
    pub(in super::super) fn u16(&mut self) -> Result<u16, CommandError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes a number of four bytes.
    pub(in super::super) fn u32(&mut self) -> Result<u32, CommandError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes a number of eight bytes.
    pub(in super::super) fn u64(&mut self) -> Result<u64, CommandError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes an Ethernet address.
    pub(in super::super) fn mac(&mut self) -> Result<[u8; 6], CommandError> {
        self.array()
    }

    /// Whether all is taken.
    pub(in super::super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes all that is left.
    pub(in super::super) fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        self.taken = self.taken.saturating_add(rest.len());
        rest
    }

    /// Takes what is left, if that is no more than `len` bytes.
    pub(in super::super) fn padding(&mut self, len: usize) {
        if self.rest.len() <= len {
            self.rest();
        }
    }

    /// Asserts that all is taken.
    pub(in super::super) fn end(self) -> Result<(), CommandError> {
        if !self.rest.is_empty() {
            return Err(CommandError::Long {
                len: self.taken.saturating_add(self.rest.len()),
                most: self.taken,
            });
        }
        Ok(())
    }
}
