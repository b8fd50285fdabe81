// SPDX-License-Identifier: GPL-2.0

//! Tests of the frame layer on the host.

pub mod packets;
