// SPDX-License-Identifier: GPL-2.0

//! The virtio layer of `rvdpa_sim` as an ordinary crate.
//!
//! The files are the ones that the kernel module is built from; this one only gives them
//! a crate of their own. With the feature `mock`, there is a [`mock`] memory and the
//! driver side of a virtqueue, for tests.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "mock")]
extern crate std;

#[path = "lib.rs"]
mod virtio;
pub use virtio::*;

#[cfg(feature = "mock")]
pub mod mock;
