// SPDX-License-Identifier: GPL-2.0

//! The simulated devices.
//!
//! - [`management`] makes devices of what a user says, which [`provision`] checks;
//! - [`device`] is a device, and [`operations`] what the bus can do with it;
//! - [`worker`] runs the queues, [`pair`] moves frames, [`control`] answers commands;
//! - [`queue`] is one virtqueue, [`memory`] how its ring reaches memory;
//! - [`shared`] and [`stats`] are what the others share, and what they count.
//!
//! # Lock order
//!
//! 1. the bus's locks, held by the callers of operations;
//! 2. `control` of a device;
//! 3. the lock of an attachment, of which there is one for each worker;
//! 4. what the layers below take: mappings, callbacks.

#![forbid(unsafe_code)]

mod control;
mod device;
mod management;
mod memory;
mod operations;
mod pair;
mod provision;
mod queue;
mod shared;
mod stats;
mod worker;

pub(crate) use management::Loopback;
pub(crate) use provision::Parameters;
