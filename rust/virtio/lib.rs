// SPDX-License-Identifier: GPL-2.0

//! The device side of virtio: layouts, negotiation, rings.
//!
//! Everything here comes from the virtio 1.3 specification, whose clauses are named where
//! a rule comes from one. Nothing here knows the kernel, or where memory lies: the rings
//! reach it through [`memory::Memory`]. So the same files are a part of the kernel module
//! and a host crate (`rvdpa-virtio`), which is tested, fuzzed and reused there.
//!
//! From the bottom up:
//!
//! | module | what it holds |
//! |---|---|
//! | [`memory`] | what the rings ask of the memory they live in |
//! | [`features`], [`status`] | negotiation: feature bits, device status |
//! | [`layout`] | where things lie in a ring and in a descriptor |
//! | [`fault`] | each rule a driver can break, by name |
//! | [`chain`] | readers and writers over one chain of buffers |
//! | [`queue`] | what a device asks of a virtqueue of either format |
//! | [`split`], [`packed`] | the virtqueues of the two formats |
//! | [`ring`] | a virtqueue whose format is negotiated |
//! | [`net`] | the network device's structures |
//!
//! Nothing here allocates, panics or holds `unsafe` code, whatever the driver does.

mod areas;
pub mod chain;
pub mod fault;
pub mod features;
pub mod layout;
pub mod memory;
pub mod net;
mod num;
pub mod packed;
pub mod queue;
pub mod ring;
pub mod short;
pub mod split;
pub mod status;
mod table;
