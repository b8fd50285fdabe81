// SPDX-License-Identifier: GPL-2.0

//! Files that are open while their device, or the module, goes.

use super::{of_device, of_switch, port, port_down, ROOT, SOON};
use crate::{
    check, check_eq,
    device::{Device, MAC},
    harness::{Context, Test},
    module,
    netlink::Bus,
    outcome::{Outcome, While},
    sys::{self, names, read_line, scaled},
};
use nix::errno::Errno;
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Instant,
};

pub const TESTS: &[Test] = &[
    Test::new("debugfs.open_across_dev_del", open_across_del),
    Test::new("debugfs.open_file_holds_the_module", holds_the_module),
    Test::new("debugfs.second_device_of_a_name", second_of_a_name),
    Test::new("debugfs.readers_while_devices_come_and_go", readers).seconds(60),
];

/// The errno of something.
fn errno<T>(result: std::io::Result<T>) -> Option<Errno> {
    let code = result.err()?.raw_os_error();
    Some(Errno::from_raw(code.unwrap_or_default()))
}

/// Opens a file for reading and writing.
fn open(path: &Path) -> Outcome<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(path);
    file.when(path.display())
}

/// Asserts that nothing can be done with a file whose device is gone.
fn is_dead(file: &mut File, what: &str) -> Outcome {
    let mut text = String::new();
    let read = errno(file.read_to_string(&mut text));
    check_eq!(read, Some(Errno::EIO), "errno of read: {what}, {text:?}");
    let seek = errno(file.seek(SeekFrom::Start(0)));
    check_eq!(seek, Some(Errno::EIO), "errno of lseek: {what}");
    let write = errno(file.write(b"down"));
    check_eq!(write, Some(Errno::EIO), "errno of write: {what}");
    Ok(())
}

fn open_across_del(_: &mut Context) -> Outcome {
    let device = Device::add_mac("gone", MAC)?;
    let path = of_device("gone", "link");
    let mut unread = open(&path)?;
    let mut begun = open(&path)?;
    let mut byte = [0];
    begun.read_exact(&mut byte).when("the first byte")?;
    let mut queues = File::open(of_device("gone", "queues")).when("queues")?;

    let start = Instant::now();
    device.delete()?;
    let took = start.elapsed();
    check!(took < scaled(SOON), "dev del with open files took {took:?}");
    check!(!path.exists(), "the file is still there");
    is_dead(&mut unread, "a file never read")?;
    is_dead(&mut begun, "a file read from before")?;

    // Another one of this name is none of theirs.
    for _ in 0..3 {
        let device = Device::add_mac("gone", MAC)?;
        check_eq!(read_line(&path)?, "up", "link of the new device");
        is_dead(&mut unread, "an old file")?;
        sys::write(&path, "down")?;
        check_eq!(read_line(&path)?, "down", "link of the new device");
        is_dead(&mut begun, "an old file")?;
        device.delete()?;
    }
    let read = errno(queues.read_to_string(&mut String::new()));
    check_eq!(read, Some(Errno::EIO), "errno of read: queues");
    Ok(())
}

/// A module in use, as `rmmod` says it.
fn is_busy(what: &str) -> Outcome {
    // Those who ask not to wait get this one.
    let result = module::try_unload();
    check_eq!(result, Err(Errno::EWOULDBLOCK), "delete_module: {what}");
    let output = sys::output(&["rmmod", module::NAME])?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    check!(!output.status.success(), "rmmod worked: {what}");
    check!(text.contains("in use"), "rmmod said {text:?}: {what}");
    Ok(())
}

fn holds_the_module(_: &mut Context) -> Outcome {
    let device = Device::add("held")?;
    let mut link = open(&of_device("held", "link"))?;
    let mut fdb = File::open(of_switch(0, "fdb")).when("fdb")?;
    device.delete()?;
    check_eq!(
        module::users()?,
        2,
        "users of the module with two open files"
    );
    is_busy("with two open files")?;
    let mut text = String::new();
    fdb.read_to_string(&mut text).when("fdb")?;
    check!(text.starts_with("mac "), "fdb has {text:?}");
    drop(fdb);
    is_busy("with a file of a device that is gone")?;
    is_dead(&mut link, "the last open file")?;
    drop(link);
    check_eq!(module::users()?, 0, "users of the module");
    check!(Path::new(ROOT).exists(), "no {ROOT}");
    module::try_unload().when("rmmod")?;
    check!(!Path::new(ROOT).exists(), "{ROOT} is left");
    Ok(())
}

/// A device that is refused because of its name is no harm to the first one.
fn second_of_a_name(context: &mut Context) -> Outcome {
    let device = Device::add_mac("name", MAC)?;
    let path = of_device("name", "link");
    sys::write(&path, "down")?;
    for _ in 0..3 {
        let second = Bus::new()?.add(crate::netlink::Attributes::named(b"name"));
        let errno = second.err().map(|refusal| refusal.errno);
        check_eq!(errno, Some(Errno::EEXIST), "errno of the second device");
        check_eq!(read_line(&path)?, "down", "link of the first one");
    }
    sys::write(&path, "up")?;
    // debugfs did not have to say anything.
    let lines = context.log.lines()?;
    let said = lines.iter().find(|line| line.contains("debugfs"));
    check!(said.is_none(), "the log has {said:?}");
    device.delete()
}

/// Reads all files below a folder. Returns how many could be read.
fn read_all(folder: &Path) -> u64 {
    let mut count = 0;
    for name in names(folder) {
        let path = folder.join(name);
        count += if path.is_dir() {
            read_all(&path)
        } else {
            // Gone is no failure.
            u64::from(fs::read_to_string(&path).is_ok_and(|text| !text.is_empty()))
        };
    }
    count
}

fn readers(context: &mut Context) -> Outcome {
    let end = AtomicBool::new(false);
    let (read, written) = (AtomicU64::new(0), AtomicU64::new(0));
    let result = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    read.fetch_add(read_all(Path::new(ROOT)), Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            let mut up = false;
            while !end.load(Ordering::Relaxed) {
                for device in ["port1", "port2", "loop"] {
                    let word = if up { "up" } else { "down" };
                    let done = fs::write(of_device(device, "link"), word).is_ok();
                    // Nobody creates a file in debugfs.
                    written.fetch_add(done.into(), Ordering::Relaxed);
                }
                up = !up;
            }
        });
        let result = (0..8).try_for_each(|round| {
            let one = Device::add_mac("port1", MAC)?;
            one.delete()?;
            let one = Device::add_mac("loop", MAC)?;
            let two = port_down("port2", MAC)?;
            let interface = two.interface()?;
            sys::run(&["ip", "link", "set", &interface, "up"])?;
            two.delete().when(format_args!("round {round}"))?;
            one.delete().when(format_args!("round {round}"))
        });
        end.store(true, Ordering::Relaxed);
        result
    });
    result?;
    let (read, written) = (read.into_inner(), written.into_inner());
    check!(read > 0 && written > 0, "{read} reads, {written} writes");
    context.note(format_args!("{read} reads, {written} writes"));
    // What is left works.
    let (device, _) = port("port1", MAC)?;
    check_eq!(read_line(of_device("port1", "link"))?, "up", "link");
    device.delete()?;
    let left = names(Path::new(ROOT).join("devices"));
    check!(left.is_empty(), "{left:?} is left");
    Ok(())
}
