// SPDX-License-Identifier: GPL-2.0

//! The simulated devices.
//!
//! - [`management`] makes devices of what a user says, which [`provision`] checks,
//!   and what holds for all of them is in [`parameters`];
//! - [`parts`] are what a device is made of, [`device`] is a device, and [`operations`] what
//!   the bus can do with it;
//! - [`worker`] runs a queue: [`transmit`] moves frames, [`control`] answers commands,
//!   which [`command`] carries out, and [`receive`] is filled by others;
//! - [`fabric`] says where frames go, from [`port`] to port, which [`lookups`] remembers,
//!   and [`steering`] which queue of a port they go to, for which [`flows`] are remembered;
//! - [`deliver`] brings a frame to a receive queue in the [`format`] that its driver wants, during
//!   a [`session`], buffer by buffer of a [`packet`]; what cannot be brought there now waits
//!   in an [`inbox`], [`stored`] in the module's own memory;
//! - [`queue`] is one virtqueue, [`notify`] how its two sides call each other, [`memory`]
//!   how its ring reaches memory; [`slots`] are the virtqueues of a device, and [`doorbells`]
//!   the pages by which clients kick them;
//! - [`shared`] and [`stats`] are what the others share, and what they count;
//! - [`debugfs`] is what root can see of all that, and change.
//!
//! # Lock order
//!
//! 1. the bus's locks, held by the callers of operations;
//! 2. `control` of a device;
//! 3. the lock of the control queue's attachment;
//! 4. the lock of a transmit queue's attachment;
//! 5. the lock of a receive queue's attachment, of the same device or of another;
//! 6. the ports of a fabric;
//! 7. the wishes of a port;
//! 8. what the layers below take: mappings, callbacks.

#![forbid(unsafe_code)]

mod command;
mod control;
mod debugfs;
mod deliver;
mod device;
mod doorbells;
mod fabric;
mod flows;
mod format;
mod inbox;
mod lookups;
mod management;
mod memory;
mod merge;
mod notify;
mod operations;
mod packet;
mod parameters;
mod parts;
mod polling;
mod port;
mod provision;
mod queue;
mod receive;
mod session;
mod shared;
mod slots;
mod stats;
mod steering;
mod stored;
mod transmit;
mod worker;

pub(crate) use debugfs::Folders;
pub(crate) use management::NetDevices;
pub(crate) use parameters::{
    Given,
    Parameters, //
};
