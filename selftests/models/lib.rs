// SPDX-License-Identifier: GPL-2.0

//! Models of what runs at a time in the module: see `tests/models`.
