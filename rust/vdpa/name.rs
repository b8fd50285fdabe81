// SPDX-License-Identifier: GPL-2.0

//! Names of devices, as users give them.
//!
//! The bus passes on what came by netlink. A name becomes a folder of sysfs and a word in
//! logs and commands, so not everything will do.

use core::{
    fmt,
    slice, //
};
use kernel::{
    ffi::c_char,
    prelude::*,
    str::CStr, //
};

/// The longest name that can be looked up in a file system (`NAME_MAX`).
const MAX: usize = 255;

/// How much of a name that will not do is shown.
const SHOWN: usize = 32;

/// What sysfs has in the folders that a device appears in: that of its parent, and that of
/// its bus driver.
const TAKEN: [&[u8]; 7] = [
    b"bind",
    b"module",
    b"new_id",
    b"power",
    b"remove_id",
    b"uevent",
    b"unbind",
];

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Empty,
    TooLong,
    Dots,
    Taken,
    Character(u8),
}

/// A name that will not do. Displays as what to change.
pub(super) struct BadName<'a> {
    /// What came before the first byte that is wrong, if any.
    start: &'a [u8],
    wrong: Wrong,
}

impl fmt::Display for BadName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'")?;
        for c in self.start.iter().take(SHOWN) {
            write!(f, "{}", char::from(*c))?;
        }
        let more = match self.wrong {
            Wrong::TooLong | Wrong::Character(_) => "...",
            Wrong::Empty | Wrong::Dots | Wrong::Taken => "",
        };
        write!(f, "{more}': ")?;
        match self.wrong {
            Wrong::Empty => write!(f, "the name is empty; give one"),
            Wrong::TooLong => {
                write!(
                    f,
                    "the name has more than {MAX} characters; give a shorter one"
                )
            }
            Wrong::Dots => write!(f, "'.' and '..' cannot be names; give another one"),
            Wrong::Taken => write!(
                f,
                "sysfs has this name for something else; give another one"
            ),
            Wrong::Character(c) => write!(
                f,
                "the name has the byte {c:#04x}; use printable ASCII without blanks and '/'"
            ),
        }
    }
}

/// Checks a name.
///
/// # Safety
///
/// `name` is valid for reads up to its first NUL byte, or for `MAX + 1` bytes, for `'a`.
pub(super) unsafe fn checked<'a>(name: *const c_char) -> Result<&'a CStr, BadName<'a>> {
    let mut len = 0;
    let wrong = loop {
        // SAFETY: As required of the caller: no byte before this one was NUL.
        let c = unsafe { *name.add(len).cast::<u8>() };
        match c {
            0 if len == 0 => break Some(Wrong::Empty),
            0 => break None,
            b'/' | ..=b' ' | 0x7f.. => break Some(Wrong::Character(c)),
            _ if len == MAX => break Some(Wrong::TooLong),
            _ => len += 1,
        }
    };
    // SAFETY: The loop has read these bytes.
    let start = unsafe { slice::from_raw_parts(name.cast::<u8>(), len) };
    match (wrong, start) {
        (Some(wrong), _) => Err(BadName { start, wrong }),
        (None, b"." | b"..") => Err(BadName {
            start,
            wrong: Wrong::Dots,
        }),
        (None, name) if TAKEN.contains(&name) => Err(BadName {
            start,
            wrong: Wrong::Taken,
        }),
        // SAFETY: The loop has found the NUL byte.
        (None, _) => Ok(unsafe { CStr::from_char_ptr(name) }),
    }
}
