// SPDX-License-Identifier: GPL-2.0

//! The Internet checksum (RFC 1071).

use core::fmt;

use super::frame::{
    Addresses,
    Headers,
    ETHERNET_LEN,
    IPPROTO_TCP,
    IPPROTO_UDP,
    MAX_HEADERS, //
};

/// Where the checksum is in a TCP header, in bytes from its start.
pub const TCP_CHECKSUM_OFFSET: u16 = 16;
/// Where the checksum is in a UDP header, in bytes from its start.
pub const UDP_CHECKSUM_OFFSET: u16 = 6;

/// The sum of bytes that are seen one piece after the other.
///
/// The bytes are taken two by two as numbers in network order, and added with the carry
/// added in again. A piece may have any length: the next one goes on where it ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// The sum, as if the numbers were in the machine's order: the bytes of the result are
    /// the same ones.
    value: u16,
    /// Whether an odd number of bytes has been seen.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    pub const fn new() -> Self {
        Self {
            value: 0,
            odd: false,
        }
    }

    /// The sum of the pseudo header of a TCP or UDP packet (RFC 9293 3.1, RFC 8200 8.1):
    /// `len` is the length of the transport header and the payload in bytes.
    pub fn pseudo(addresses: &Addresses, protocol: u8, len: u32) -> Self {
        let mut sum = Self::new();
        match addresses {
            Addresses::V4(source, destination) => {
                sum.add(source);
                sum.add(destination);
            }
            Addresses::V6(source, destination) => {
                sum.add(source);
                sum.add(destination);
            }
        }
        sum.add_u16(protocol.into());
        sum.add(&len.to_be_bytes());
        sum
    }

    /// Goes on with these bytes.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        self.append(Self {
            value: fold(sum(bytes)),
            odd: bytes.len() % 2 != 0,
        });
    }

    /// Goes on with a number of two bytes in network order.
    #[inline]
    pub fn add_u16(&mut self, value: u16) {
        self.append(Self {
            value: u16::from_ne_bytes(value.to_be_bytes()),
            odd: false,
        });
    }

    /// Goes on with the bytes that `next` is the sum of.
    #[inline]
    pub fn append(&mut self, next: Self) {
        let value = match self.odd {
            // Each byte has the other's place.
            true => next.value.swap_bytes(),
            false => next.value,
        };
        self.value = fold(u64::from(self.value).wrapping_add(value.into()));
        self.odd ^= next.odd;
    }

    /// The sum, not complemented.
    #[inline]
    pub fn value(self) -> u16 {
        u16::from_be_bytes(self.value.to_ne_bytes())
    }

    /// The checksum: the complement of the sum. It is zero if these bytes hold a right
    /// checksum.
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.value()
    }
}

/// The sum of bytes that start at an even place, not folded.
#[inline]
fn sum(bytes: &[u8]) -> u64 {
    let mut value = 0u64;
    let mut carries = 0u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        if let Some(&word) = word.first_chunk() {
            let (next, carry) = value.overflowing_add(u64::from_ne_bytes(word));
            value = next;
            carries = carries.wrapping_add(carry.into());
        }
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(words.remainder()) {
        *to = *from;
    }
    let (next, carry) = value.overflowing_add(u64::from_ne_bytes(last));
    carries = carries.wrapping_add(carry.into());
    u64::from(fold(next)).wrapping_add(fold(carries).into())
}

/// A sum in 16 bits.
#[inline]
fn fold(value: u64) -> u16 {
    // At most 0x1_ffff_fffe, 0xffff_ffff, 0x1_fffe and 0xffff. What was not zero does not
    // get zero.
    let value = (value & 0xffff_ffff).wrapping_add(value >> 32);
    let value = (value & 0xffff_ffff).wrapping_add(value >> 32);
    let value = (value & 0xffff).wrapping_add(value >> 16);
    let value = (value & 0xffff).wrapping_add(value >> 16);
    value as u16
}

/// A checksum that is only prepared: its field holds the sum of what is not in the packet
/// (the pseudo header), and the sum of the bytes from `start` to the end of the frame has
/// to be added.
///
/// Its field lies within the frame, and within the first [`MAX_HEADERS`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// See [`start`](Self::start).
    start: u16,
    /// See [`offset`](Self::offset).
    offset: u16,
}

/// Why a [`PartialChecksum`] cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumError {
    /// It starts within the Ethernet header.
    Start(u16),
    /// Its field, which starts at this byte of the frame, is not in the frame whole.
    Field {
        /// Where the field is.
        field: u32,
        /// Length of the frame in bytes.
        len: u32,
    },
    /// Its field, which starts at this byte of the frame, is too far from the start.
    Far(u32),
}

impl fmt::Display for ChecksumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(start) => {
                write!(f, "checksum from byte {start}, in the Ethernet header")
            }
            Self::Field { field, len } => {
                write!(f, "checksum field at byte {field} of a frame of {len}")
            }
            Self::Far(field) => write!(
                f,
                "checksum field at byte {field}, not within the first {MAX_HEADERS}"
            ),
        }
    }
}

impl PartialChecksum {
    /// A checksum over what is behind `start`, in bytes from the start of the frame, to be
    /// put at `offset`, in bytes from `start`, of a frame of `len` bytes.
    pub fn new(start: u16, offset: u16, len: u32) -> Result<Self, ChecksumError> {
        if start < ETHERNET_LEN {
            return Err(ChecksumError::Start(start));
        }
        let field = u32::from(start).wrapping_add(offset.into());
        let end = field.wrapping_add(2);
        if end > len {
            return Err(ChecksumError::Field { field, len });
        }
        if end > MAX_HEADERS as u32 {
            return Err(ChecksumError::Far(field));
        }
        Ok(Self { start, offset })
    }

    /// Where the sum starts, in bytes from the start of the frame.
    pub const fn start(&self) -> u16 {
        self.start
    }

    /// Where the checksum is to be put, in bytes from [`start`](Self::start).
    pub const fn offset(&self) -> u16 {
        self.offset
    }

    /// Where the field ends, in bytes from the start of the frame: so many of its bytes
    /// [`complete`](Self::complete) needs.
    pub fn end(&self) -> usize {
        usize::from(self.start)
            .wrapping_add(self.offset.into())
            .wrapping_add(2)
    }

    /// Whether it is the checksum of the TCP or UDP header in `headers`. If it is not, a
    /// receiver may take it amiss: it is better completed than passed on.
    pub fn is_transport(&self, headers: &Headers) -> bool {
        headers.transport.is_some_and(|transport| {
            let offset = match transport.protocol {
                IPPROTO_TCP => TCP_CHECKSUM_OFFSET,
                IPPROTO_UDP => UDP_CHECKSUM_OFFSET,
                _ => return false,
            };
            transport.offset == self.start && offset == self.offset
        })
    }

    /// Fills it in: `leading` is the start of the frame, [`end`](Self::end) bytes or more,
    /// and `rest` the sum of all bytes behind that. None if `leading` is too short.
    ///
    /// Zero is never put there, but 0xffff, which is the same to TCP; to UDP, zero means
    /// that there is no checksum.
    pub fn complete(&self, leading: &mut [u8], rest: Sum) -> Option<()> {
        let part = leading.get_mut(usize::from(self.start)..)?;
        let mut sum = Sum::new();
        sum.add(part);
        sum.append(rest);
        let field = part
            .get_mut(usize::from(self.offset)..)?
            .first_chunk_mut()?;
        *field = match sum.checksum() {
            0 => [0xff; 2],
            checksum => checksum.to_be_bytes(),
        };
        Some(())
    }
}
