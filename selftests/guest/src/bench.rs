// SPDX-License-Identifier: GPL-2.0

//! Measurements: what a device costs, and what another one costs for the same.
//!
//! | module | what it holds |
//! |---|---|
//! | [`clock`] | instructions, where guest time counts them |
//! | [`record`] | a figure, as a line of JSON, and the samples behind it |
//! | [`options`] | the words after a command |
//! | [`parent`] | whose device it is: this module's, or the kernel's C simulator |
//! | [`alone`], [`batch`] | the device alone: full rings and one kick, without an interface |

pub mod alone;
pub mod batch;
pub mod clock;
pub mod options;
pub mod parent;
pub mod record;
