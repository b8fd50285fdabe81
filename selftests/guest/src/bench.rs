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
//! | [`crowd`] | many devices at work |
//! | [`control`], [`idle`] | what is not done for each frame; devices that nobody uses |
//! | [`timed`] | what is timed: |
//! | [`pairs`], [`fairness`] | several queue pairs |
//! | [`load`] | programs beside a device at work |
//! | [`rate`] | frames beside copies |
//! | [`limit`] | a copy, and nothing else |
//! | [`kernel`], [`traffic`], [`pktgen`] | the device with the kernel's driver and an interface |

pub mod alone;
pub mod batch;
pub mod clock;
pub mod control;
pub mod crowd;
pub mod fairness;
pub mod idle;
pub mod kernel;
pub mod limit;
pub mod load;
pub mod options;
pub mod pairs;
pub mod parent;
pub mod pktgen;
pub mod rate;
pub mod record;
pub mod timed;
pub mod traffic;
