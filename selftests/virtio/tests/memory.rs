// SPDX-License-Identifier: GPL-2.0

//! Shared memory that changes, moves or is away while the device uses it, in both formats.

mod split {
    use selftests_virtio::{
        Split as F,
        SplitRig as Rig,
        *, //
    };
    include!("shared/memory.rs");
}

mod packed {
    use selftests_virtio::{
        Packed as F,
        PackedRig as Rig,
        *, //
    };
    include!("shared/memory.rs");
}
