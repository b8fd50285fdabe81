// SPDX-License-Identifier: GPL-2.0

//! Ethernet frames: what a network device and a switch do with their bytes.
//!
//! Nothing here knows the kernel, virtio, or where a frame lies: the functions take the
//! leading bytes of a frame, lengths and sums. So the same files are a part of the kernel
//! module and a host crate (`rvdpa-net`), which is tested and fuzzed there.
//!
//! | module | what it holds |
//! |---|---|
//! | [`frame`] | which headers a frame has, and where |
//! | [`checksum`] | the Internet checksum |
//! | [`segment`] | making segments of one large packet |
//! | [`flow`] | which packets belong together: hashes for steering |
//! | [`filter`] | which frames a station takes |
//! | [`table`] | where a switch has seen which address |
//! | [`forward`] | where a switch sends a frame |
//!
//! Nothing here allocates, panics or holds `unsafe` code, whatever the frame.

pub mod checksum;
pub mod filter;
pub mod flow;
pub mod forward;
pub mod frame;
pub mod segment;
pub mod table;
