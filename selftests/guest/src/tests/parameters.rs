// SPDX-License-Identifier: GPL-2.0

//! The module and its parameters.

use crate::{
    check_eq,
    harness::{Context, Test},
    module,
    outcome::{Outcome, While},
    tool,
};
use nix::errno::Errno;

pub const TESTS: &[Test] = &[
    Test::new("module.loads_with_each_parameter", each).without_module(),
    Test::new("module.refuses_bad_ring_size", bad_ring_size).without_module(),
];

fn each(_: &mut Context) -> Outcome {
    for parameters in [
        "",
        "use_va=1",
        "strict=1",
        "use_va=1 strict=1",
        "vq_num_max=2",
    ] {
        module::load(parameters)?;
        tool::vdpa("mgmtdev show rvdpasim_net").when(parameters)?;
        module::unload().when(parameters)?;
    }
    Ok(())
}

fn bad_ring_size(context: &mut Context) -> Outcome {
    for size in ["0", "1", "3", "1000", "65535"] {
        let result = module::try_load(&format!("vq_num_max={size}"))?;
        check_eq!(result, Err(Errno::EINVAL), "vq_num_max={size}");
        context.log.expect(&[
            &format!("vq_num_max={size}:"),
            "give a power of two from 2 to 32768",
        ])?;
    }
    Ok(())
}
