// SPDX-License-Identifier: GPL-2.0

//! The targets, one per file.

pub(super) mod checksum;
pub(super) mod control;
pub(super) mod filter;
pub(super) mod flow;
pub(super) mod formats;
pub(super) mod headers;
pub(super) mod offload;
pub(super) mod ring;
pub(super) mod segment;
pub(super) mod setup;
pub(super) mod table;
pub(super) mod transfer;
