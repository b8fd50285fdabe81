// SPDX-License-Identifier: GPL-2.0

//! The frame layer of `rvdpa_sim` as an ordinary crate.
//!
//! The files are the ones that the kernel module is built from; this one only gives them
//! a crate of their own.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[path = "lib.rs"]
mod net;
pub use net::*;
