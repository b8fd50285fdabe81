// SPDX-License-Identifier: GPL-2.0

//! The crate `vhost` of rust-vmm: the tests that it has for `/dev/vhost-vdpa-0`, as they
//! were published. `scripts/clients/rust-vmm-vhost` builds them.

use super::{built, ClientTest};
use crate::{
    check, check_eq, fail,
    harness::Context,
    outcome::{Outcome, While},
    sys,
};
use std::{fs, path::Path};

const CLIENT: &str = "rust-vmm vhost, its own tests of vhost-vdpa";

pub const TESTS: &[ClientTest] = &[
    ClientTest::new("rust-vmm.new_device", CLIENT, new_device),
    ClientTest::new("rust-vmm.is_valid", CLIENT, is_valid),
    ClientTest::new("rust-vmm.ioctls", CLIENT, ioctls),
    ClientTest::new("rust-vmm.dma", CLIENT, dma),
];

/// Where they are in the crate, and their names.
const MODULE: &str = "vhost_kern::vdpa::tests::";
const NAMES: [&str; 4] = [
    "test_vdpa_kern_dma",
    "test_vdpa_kern_ioctls",
    "test_vdpa_kern_is_valid",
    "test_vdpa_kern_new_device",
];

fn new_device(context: &mut Context) -> Outcome {
    run(context, "test_vdpa_kern_new_device")?;
    context.exercised("open");
    Ok(())
}

fn is_valid(context: &mut Context) -> Outcome {
    run(context, "test_vdpa_kern_is_valid")?;
    context.exercised("open; which rings the crate takes");
    Ok(())
}

fn ioctls(context: &mut Context) -> Outcome {
    run(context, "test_vdpa_kern_ioctls")?;
    context.exercised(
        "features, status, config, sizes, addresses, bases and eventfds of rings, iova range, \
         counts of queues, groups and address spaces, suspend",
    );
    Ok(())
}

fn dma(context: &mut Context) -> Outcome {
    run(context, "test_vdpa_kern_dma")?;
    context.exercised("backend features, memory mapped and unmapped");
    Ok(())
}

/// Runs one of the crate's tests with a device.
fn run(context: &mut Context, name: &str) -> Outcome {
    let folder = built("rust-vmm-vhost")?;
    let version = sys::read_line(folder.join("version"))?;
    context.version(format_args!("vhost {version}"));
    let tests = folder.join("tests");
    all_are_known(&tests)?;

    let (device, path) = context.parent.device("theirs").make()?;
    check_eq!(path, "/dev/vhost-vdpa-0", "the device that they open");
    let name = format!("{MODULE}{name}");
    let program = tests.to_string_lossy();
    let output = sys::output(&[
        &program,
        "--exact",
        "--nocapture",
        "--test-threads=1",
        &name,
    ])?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    // What was in the way stands in its own line.
    if let Some(error) = said.lines().find(|line| line.contains("Err")) {
        fail!("{error}");
    }
    check!(
        output.status.success() && said.contains("1 passed"),
        "{}: {said}",
        output.status
    );
    device.delete()
}

/// A test that we do not know would never run.
fn all_are_known(tests: &Path) -> Outcome {
    check!(
        fs::exists(tests).when(tests.display())?,
        "no {}",
        tests.display()
    );
    let list = sys::run(&[&tests.to_string_lossy(), "--list", "--format=terse"])?;
    let mut names: Vec<_> = list
        .lines()
        .filter_map(|line| line.strip_prefix(MODULE)?.strip_suffix(": test"))
        .collect();
    names.sort_unstable();
    check_eq!(names, NAMES, "the crate's tests of vhost-vdpa");
    Ok(())
}
