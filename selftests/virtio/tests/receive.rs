// SPDX-License-Identifier: GPL-2.0

//! Frames that take several receive buffers, in both formats.

mod split {
    use selftests_virtio::{
        Split as F,
        SplitRig as Rig,
        *, //
    };
    include!("shared/receive.rs");
}

mod packed {
    use selftests_virtio::{
        Packed as F,
        PackedRig as Rig,
        *, //
    };
    include!("shared/receive.rs");
}
