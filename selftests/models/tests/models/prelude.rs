// SPDX-License-Identifier: GPL-2.0

//! What the modelled files use of `kernel::prelude`.

/// The kernel's error, of which no model has one.
#[derive(Debug)]
pub struct Error;

/// The kernel's result.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;
