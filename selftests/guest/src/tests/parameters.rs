// SPDX-License-Identifier: GPL-2.0

//! The module and its parameters.

use crate::{
    check, check_eq,
    device::Device,
    harness::{Context, Test},
    module,
    outcome::{Outcome, While},
    tool,
};
use nix::errno::Errno;
use std::collections::BTreeSet;

pub const TESTS: &[Test] = &[
    Test::new("module.loads_with_each_parameter", each).without_module(),
    Test::new("module.refuses_bad_ring_size", bad_ring_size).without_module(),
    Test::new("module.refuses_bad_numbers", bad_numbers).without_module(),
    Test::new("module.switches", switches)
        .without_module()
        .seconds(60),
];

fn each(_: &mut Context) -> Outcome {
    for parameters in [
        "",
        "use_va=1",
        "strict=1",
        "use_va=1 strict=1",
        "vq_num_max=2",
        "vq_num_max=1000",
        "vq_num_max=32767",
        "switches=2",
        "ageing=1",
        "ageing=65535",
        "busy_poll=10000",
        "in_place=0",
    ] {
        module::load(parameters)?;
        tool::vdpa("mgmtdev show rvdpasim_net").when(parameters)?;
        module::unload().when(parameters)?;
    }
    Ok(())
}

fn bad_ring_size(context: &mut Context) -> Outcome {
    for size in ["0", "1", "32769", "65535"] {
        let result = module::try_load(&format!("vq_num_max={size}"))?;
        check_eq!(result, Err(Errno::EINVAL), "vq_num_max={size}");
        context.log.expect(&[
            &format!("vq_num_max={size}:"),
            "give a number from 2 to 32768",
        ])?;
    }
    Ok(())
}

fn bad_numbers(context: &mut Context) -> Outcome {
    for (parameter, advice) in [
        ("use_va=2", "give 0 or 1"),
        ("strict=255", "give 0 or 1"),
        ("in_place=2", "give 0 or 1"),
        ("busy_poll=10001", "give a number from 0 to 10000"),
        ("switches=65", "give a number from 0 to 64"),
        ("switches=255", "give a number from 0 to 64"),
        ("ageing=0", "give a number from 1 to 65535"),
    ] {
        let result = module::try_load(parameter)?;
        check_eq!(result, Err(Errno::EINVAL), "{parameter}");
        let line = format!("{parameter}:");
        context.log.expect(&["rvdpa_sim:", &line, advice])?;
    }
    // What does not fit into a parameter the kernel refuses itself.
    for (name, value) in [
        ("switches", "256"),
        ("switches", "-1"),
        ("switches", "many"),
        ("ageing", "65536"),
        ("ageing", "-1"),
    ] {
        let result = module::try_load(&format!("{name}={value}"))?;
        check!(result.is_err(), "{name}={value} was accepted");
        let words = format!("`{value}' invalid for parameter `{name}'");
        context.log.expect(&["rvdpa_sim:", &words])?;
    }
    check!(!module::is_loaded(), "the module is loaded");
    Ok(())
}

fn switches(context: &mut Context) -> Outcome {
    for count in [0, 64] {
        context.step(format_args!("{count} switches"));
        module::load(&format!("switches={count}"))?;
        let shown = &tool::json("mgmtdev show")?["mgmtdev"];
        let there: BTreeSet<String> = shown.as_object().when("mgmtdev")?.keys().cloned().collect();
        let mut wanted: BTreeSet<String> = (0..count)
            .map(|number| format!("rvdpasim_switch{number}"))
            .collect();
        wanted.insert("rvdpasim_net".to_owned());
        check_eq!(there, wanted, "management devices with switches={count}");

        // The last one works, and there is none behind it.
        if count > 0 {
            let last = count - 1;
            tool::vdpa(&format!("dev add name last mgmtdev rvdpasim_switch{last}"))?;
            Device::adopt("last").delete()?;
        }
        let words = format!("dev add name none mgmtdev rvdpasim_switch{count}");
        let added = tool::try_vdpa(&words)?;
        check!(!added.status.success(), "{words} with switches={count}");
        module::unload().when(format_args!("switches={count}"))?;
    }
    Ok(())
}
