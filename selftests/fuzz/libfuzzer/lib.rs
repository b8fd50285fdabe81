// SPDX-License-Identifier: GPL-2.0

//! What the programs of libFuzzer have in common.

pub use libfuzzer_sys;
pub use rvdpa_fuzz;

/// The program of a target.
#[macro_export]
macro_rules! program {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            static TARGET: std::sync::LazyLock<fn(&[u8])> =
                std::sync::LazyLock::new(|| $crate::rvdpa_fuzz::target($name).expect($name));
            TARGET(data);
        });
    };
}
