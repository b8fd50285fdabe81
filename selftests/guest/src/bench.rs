// SPDX-License-Identifier: GPL-2.0

//! Measurements: what a device costs, and what another one costs for the same.
//!
//! | module | what it holds |
//! |---|---|
//! | [`clock`] | instructions, where guest time counts them |
//! | [`record`] | a figure, as a line of JSON, and the samples behind it |
//! | [`options`] | the words after a command |
//! | [`parent`] | whose device it is: this module's, or the kernel's own simulator's |
//! | [`alone`], [`batch`] | the device alone: full rings and one kick, without an interface |
//! | [`control`] | what is not done for each frame |
//! | [`pairs`] | several queue pairs, timed |
//! | [`limit`] | a copy, and nothing else |
//! | [`kernel`], [`traffic`], [`pktgen`] | the device with the kernel's driver and an interface |

pub mod alone;
pub mod batch;
pub mod clock;
pub mod control;
pub mod kernel;
pub mod limit;
pub mod options;
pub mod pairs;
pub mod parent;
pub mod pktgen;
pub mod record;
pub mod traffic;
