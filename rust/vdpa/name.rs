// SPDX-License-Identifier: GPL-2.0

//! Names of devices, as users give them.
//!
//! The bus passes on what came by netlink. A name becomes a folder of sysfs and a word in
//! logs and commands, so not everything will do.

use core::fmt;
use kernel::{
    ffi::c_char,
    prelude::*,
    str::CStr, //
};

/// The longest name that can be looked up in a file system (`NAME_MAX`).
const MAX: usize = 255;

/// Why a name will not do. Displays as what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameError {
    Empty,
    TooLong,
    Dots,
    Character(u8),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => write!(f, "its name is empty; give it one"),
            NameError::TooLong => {
                write!(f, "its name has more than {MAX} characters; give a shorter one")
            }
            NameError::Dots => write!(f, "'.' and '..' cannot be names; give another one"),
            NameError::Character(c) => write!(
                f,
                "its name has the character 0x{c:02x}; use printable ASCII without blanks and '/'"
            ),
        }
    }
}

/// Checks a name.
///
/// # Safety
///
/// `name` is valid for reads up to its first NUL byte, or for `MAX + 1` bytes, for `'a`.
pub(super) unsafe fn checked<'a>(name: *const c_char) -> Result<&'a CStr, NameError> {
    let mut len = 0;
    loop {
        // SAFETY: As required of the caller: no byte before this one was NUL.
        let c = unsafe { *name.add(len).cast::<u8>() };
        match c {
            0 => break,
            b'/' | ..=b' ' | 0x7f.. => return Err(NameError::Character(c)),
            _ => len += 1,
        }
        if len > MAX {
            return Err(NameError::TooLong);
        }
    }
    if len == 0 {
        return Err(NameError::Empty);
    }
    // SAFETY: The loop has found the NUL byte.
    let name = unsafe { CStr::from_char_ptr(name) };
    match name.to_bytes() {
        b"." | b".." => Err(NameError::Dots),
        _ => Ok(name),
    }
}

/// An errno, for the log.
pub(super) fn errno(e: Error) -> impl fmt::Display {
    struct Errno(Error);
    impl fmt::Display for Errno {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:?}", self.0)
        }
    }
    Errno(e)
}
