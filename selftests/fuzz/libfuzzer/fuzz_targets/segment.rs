// SPDX-License-Identifier: GPL-2.0

#![no_main]

rvdpa_libfuzzer::program!("segment");
