// SPDX-License-Identifier: GPL-2.0

//! Several chains of which the driver is told at once, in both formats.

mod split {
    use selftests_virtio::{
        Split as F,
        SplitRig as Rig,
        *, //
    };
    include!("shared/in_order.rs");
}

mod packed {
    use selftests_virtio::{
        Packed as F,
        PackedRig as Rig,
        *, //
    };
    include!("shared/in_order.rs");
}
