// SPDX-License-Identifier: GPL-2.0

//! Raw declarations of the C side: what bindgen makes of
//! `rust/bindings/bindings_helper.h`, beside the kernel's own [`kernel::bindings`].
//!
//! Only `rust/vdpa` uses this module.

#![allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]
#![allow(clippy::undocumented_unsafe_blocks)]

use kernel::{bindings::*, ffi};

include!(env!("RVDPA_SIM_BINDINGS"));
