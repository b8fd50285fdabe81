// SPDX-License-Identifier: GPL-2.0

//! Each allocation fails in turn: the first of a system call, the second, and so on until the
//! call needs no more. The kernel has to be built for it (`CONFIG_FAULT_INJECTION`): it is told
//! by `/proc/self/fail-nth` which one of this process fails.

use super::usage::Usage;
use crate::{
    arena::{provide_huge_pages, Kind, View},
    check,
    device::{Device, Driver, MAC},
    harness::{Context, Test},
    ioctl::{self, backend, Permission},
    netlink::{attribute, Attributes, Bus},
    outcome::{Outcome, While},
    skip,
    sys::{self, wait_for, SOON},
    tests::rings::{kind, plan, FEW},
    vhost::{Client, Net},
};
use nix::errno::Errno;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

pub const TESTS: &[Test] = &[
    test("fail_nth.dev_add", add),
    test("fail_nth.bind_vhost", bind_vhost),
    test("fail_nth.bind_virtio", bind_virtio),
    test("fail_nth.open", open),
    test("fail_nth.map", map),
    test("fail_nth.map_va", map).with("use_va=1"),
    test("fail_nth.set_map", set_map).with("batch_mapping=1"),
    test("fail_nth.set_map_va", set_map).with("batch_mapping=1 use_va=1"),
    test("fail_nth.until_driver_ok", start),
    test("fail_nth.until_driver_ok_va", start).with("use_va=1"),
];

const fn test(name: &'static str, run: fn(&mut Context) -> Outcome) -> Test {
    Test::new(name, run).seconds(300).without_memory()
}

const FILE: &str = "/proc/self/fail-nth";

/// No system call is to need so many allocations.
const MOST: u32 = 5000;

/// What a call may say whose allocation failed, or whose copy from or to the process did.
const CLEAN: [Errno; 6] = [
    Errno::ENOMEM,
    Errno::EFAULT,
    Errno::ENOBUFS,
    Errno::ENFILE,
    Errno::EAGAIN,
    Errno::ENOSPC,
];

/// What vhost says, beside that, of a message that it could not copy.
const NO_MESSAGE: &[Errno] = &[Errno::EINVAL];

/// Has allocations of this process fail.
struct Injector(File);

impl Injector {
    fn new() -> Outcome<Self> {
        if !Path::new(FILE).exists() {
            skip!("this kernel has no {FILE} (CONFIG_FAULT_INJECTION)");
        }
        // Copies from and to the process fail in the same row, where the kernel can do that.
        for kind in ["failslab", "fail_page_alloc", "fail_usercopy"] {
            let folder = Path::new("/sys/kernel/debug").join(kind);
            if !folder.exists() && kind != "fail_usercopy" {
                skip!("this kernel has no {}", folder.display());
            }
            // Those that may wait, too; and without a word each time.
            for (name, value) in [
                ("ignore-gfp-wait", "N"),
                ("ignore-gfp-highmem", "N"),
                ("min-order", "0"),
                ("verbose", "0"),
            ] {
                let file = folder.join(name);
                if file.exists() {
                    sys::write(file, value)?;
                }
            }
        }
        let file = OpenOptions::new().read(true).write(true).open(FILE)?;
        Ok(Self(file))
    }

    /// Does something with the `nth` allocation failing. Returns how it went, and whether there
    /// were so many.
    fn with<T>(&mut self, nth: u32, act: impl FnOnce() -> T) -> Outcome<(T, bool)> {
        self.write(nth)?;
        let got = act();
        let mut text = [0; 16];
        // What is left of the number: nothing, if it has failed. If this is what fails, it had
        // not failed before.
        let failed = match self.0.read_at(&mut text, 0) {
            Ok(len) => String::from_utf8_lossy(&text[..len]).trim() == "0",
            Err(error) if is_bad_copy(&error) => false,
            Err(error) => return Err(error).when(FILE),
        };
        self.write(0)?;
        Ok((got, failed))
    }

    fn write(&mut self, nth: u32) -> Outcome {
        // In one call, with nothing allocated after it.
        let text = nth.to_string();
        let written = match self.0.write_at(text.as_bytes(), 0) {
            // It was this call's turn to fail: the next one does not.
            Err(error) if is_bad_copy(&error) => self.0.write_at(text.as_bytes(), 0),
            result => result,
        };
        let written = written.when(FILE)?;
        check!(written == text.len(), "{FILE}: {written} bytes written");
        Ok(())
    }
}

/// Whether copying from or to this process failed.
fn is_bad_copy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EFAULT)
}

/// Whether an error is one that a failed allocation may end in, or one of `also`.
fn is_clean(text: &str, also: &[Errno]) -> bool {
    CLEAN.iter().chain(also).any(|errno| {
        let number = format!("os error {})", *errno as i32);
        text.contains(&format!("{errno:?}")) || text.contains(&number)
    })
}

/// Does something with each allocation failing in turn, which may end in an error of `also`,
/// too; `undo` removes what there is of it.
fn sweep<T>(
    context: &mut Context,
    also: &[Errno],
    mut act: impl FnMut() -> Outcome<T>,
    mut undo: impl FnMut(Option<T>) -> Outcome,
) -> Outcome {
    let mut injector = Injector::new()?;
    let mut both = |context: &mut Context, nth: Option<u32>| -> Outcome<(bool, bool)> {
        let Some(nth) = nth else {
            let made = act().when("with nothing failing")?;
            undo(Some(made))?;
            return Ok((true, false));
        };
        context.step(format_args!("allocation {nth}"));
        let (got, failed) = injector.with(nth, &mut act)?;
        match got {
            Ok(made) => {
                undo(Some(made)).when(format_args!("allocation {nth}"))?;
                Ok((true, failed))
            }
            Err(stop) => {
                check!(failed, "it fails with nothing failing: {}", stop.text());
                check!(
                    is_clean(stop.text(), also),
                    "allocation {nth}: {}",
                    stop.text()
                );
                undo(None).when(format_args!("allocation {nth}"))?;
                Ok((false, failed))
            }
        }
    };
    // What is made once is there.
    for _ in 0..20 {
        both(context, None)?;
    }
    let before = Usage::settled()?;
    let (mut errors, mut last) = (0, 0);
    for nth in 1.. {
        check!(nth < MOST, "it allocates for ever");
        let (went, failed) = both(context, Some(nth))?;
        if !failed {
            break;
        }
        last = nth;
        if !went {
            errors += 1;
        }
        // The next try works.
        both(context, None).when(format_args!("after allocation {nth}"))?;
    }
    context.note(format_args!(
        "{last} failures injected, {errors} of them made it fail"
    ));
    check!(last > 0 && errors > 0, "no allocation failed");
    let lost = Usage::settled()?.lost_since(&before, last as usize);
    check!(lost.is_empty(), "lost: {}", lost.join("; "));
    Ok(())
}

const NAME: &str = "nth";

/// Deletes the device, if it is there.
fn delete() -> Outcome {
    if crate::device::all().iter().any(|name| name == NAME) {
        Bus::new()?.delete(NAME).when("dev del")?;
    }
    Ok(())
}

fn add(context: &mut Context) -> Outcome {
    let mut bus = Bus::new()?;
    let attributes = || Attributes::named(NAME.as_bytes()).put(attribute::NET_CFG_MACADDR, &MAC);
    sweep(
        context,
        &[],
        || Ok(bus.add(attributes())?),
        // It may be there though its maker was not told.
        |_| delete(),
    )
}

fn bind(context: &mut Context, driver: Driver) -> Outcome {
    let device = Device::add_mac(NAME, MAC)?;
    let path = device.path();
    sys::write(path.join("driver_override"), driver.name())?;
    let bind = format!("{}/drivers/{}/bind", crate::device::BUS, driver.name());
    sweep(
        context,
        &[],
        || sys::write(&bind, NAME),
        |_| {
            if device.driver().is_some() {
                device.unbind()?;
            }
            Ok(())
        },
    )?;
    device.delete()
}

fn bind_vhost(context: &mut Context) -> Outcome {
    bind(context, Driver::Vhost)
}

fn bind_virtio(context: &mut Context) -> Outcome {
    bind(context, Driver::Virtio)
}

/// Waits until nobody has the device open.
fn free(path: &str) -> Outcome {
    wait_for("the device is free", SOON, || {
        match Client::open_only(path) {
            Ok(_) => Ok(Some(())),
            Err(error) if crate::vhost::errno(&error) == Some(Errno::EBUSY) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

fn open(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost(NAME)?;
    sweep(
        context,
        &[],
        || Ok(Client::open_only(&path)?),
        |client| {
            drop(client);
            free(&path)
        },
    )?;
    device.delete()
}

/// What is shown to the device at a time, in bytes.
const PAGE: usize = 4096;

/// Where memory is shown to the device.
const AT: u64 = 0x4000_0000;

/// How much of it there is.
const LEN: usize = 64 * PAGE;

/// A client with memory, which has been there once.
fn client(context: &Context, path: &str, features: u64) -> Outcome<(Client, View)> {
    let client = Client::open_with(path, backend::ALWAYS | features)?;
    let view = View::new(kind(context), AT, LEN)?;
    rvdpa_virtio::mock::DriverMemory::write(&view, AT, &vec![1; LEN]);
    Ok((client, view))
}

/// Shows the device every other page, one by one: where one of several cannot be shown,
/// `vhost_vdpa` of Linux 7.3 forgets to unpin some (see the documentation of robustness).
fn show(client: &Client, view: &View) -> Outcome {
    for offset in (0..LEN).step_by(2 * PAGE) {
        let iova = AT + offset as u64;
        let pointer = view.pointer(iova, PAGE);
        ioctl::map(client, 0, iova, PAGE as u64, pointer, Permission::Both)?;
    }
    Ok(())
}

fn map(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost(NAME)?;
    let (client, view) = client(context, &path, 0)?;
    sweep(
        context,
        NO_MESSAGE,
        || show(&client, &view),
        |_| Ok(ioctl::unmap(&client, 0, AT, LEN as u64)?),
    )?;
    drop(client);
    device.delete()
}

fn set_map(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost(NAME)?;
    let (client, view) = client(context, &path, 0)?;
    sweep(
        context,
        NO_MESSAGE,
        || {
            ioctl::batch_begin(&client, 0)?;
            let mapped = show(&client, &view);
            let end = ioctl::batch_end(&client, 0);
            mapped?;
            Ok(end?)
        },
        |_| {
            ioctl::batch_begin(&client, 0)?;
            ioctl::unmap(&client, 0, AT, LEN as u64)?;
            Ok(ioctl::batch_end(&client, 0)?)
        },
    )?;
    drop(client);
    device.delete()
}

/// All that a driver does until it runs, and its first frames without anything failing.
fn start(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost(NAME)?;
    let mut plan = plan(context);
    // What is not in one piece may stay pinned: see `show`.
    if plan.kind == Kind::Anonymous {
        provide_huge_pages(8)?;
        plan.kind = Kind::Huge;
    }
    sweep(
        context,
        NO_MESSAGE,
        || Net::new(&path, plan),
        |net| {
            if let Some(mut net) = net {
                net.loop_frames(FEW)?;
            }
            free(&path)
        },
    )?;
    device.delete()
}
