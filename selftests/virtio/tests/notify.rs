// SPDX-License-Identifier: GPL-2.0

//! When the driver sees what was used, and who notifies whom, in both formats.

mod split {
    use selftests_virtio::{
        Split as F,
        SplitRig as Rig,
        *, //
    };
    include!("shared/notify.rs");
}

mod packed {
    use selftests_virtio::{
        Packed as F,
        PackedRig as Rig,
        *, //
    };
    include!("shared/notify.rs");
}
