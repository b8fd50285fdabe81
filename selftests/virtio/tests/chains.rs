// SPDX-License-Identifier: GPL-2.0

//! Chains of every legal shape come through as they should, in both formats.

mod split {
    use selftests_virtio::{
        Split as F,
        SplitRig as Rig,
        *, //
    };
    include!("shared/chains.rs");
}

mod packed {
    use selftests_virtio::{
        Packed as F,
        PackedRig as Rig,
        *, //
    };
    include!("shared/chains.rs");
}
