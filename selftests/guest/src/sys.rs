// SPDX-License-Identifier: GPL-2.0

//! Small things of the operating system.

use crate::outcome::{Outcome, Stop, While};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

/// How long to wait for what has to come. A machine may be slow, and stand still for seconds:
/// only what never comes takes as long.
pub const SOON: Duration = Duration::from_secs(20);

/// How many times longer all may take on the kernel that runs than on Debian's own.
pub fn slowness() -> u32 {
    static SLOWNESS: OnceLock<u32> = OnceLock::new();
    *SLOWNESS.get_or_init(|| {
        let text = std::env::var("RVDPA_SLOWNESS").unwrap_or_default();
        text.parse().unwrap_or(1).max(1)
    })
}

/// Whether the kernel that runs checks all memory and takes notes of it, so that a million of
/// something takes most of an hour, or more memory than a guest has.
pub fn is_for_debugging() -> bool {
    slowness() >= 8
}

/// A limit for the kernel that runs: limits are made for Debian's own.
pub fn scaled(limit: Duration) -> Duration {
    limit * slowness()
}

/// Waits until `ready` gives something. Fails after `limit` (see [`scaled`]), with `what`
/// was waited for.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    let limit = scaled(limit);
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            return Err(Stop::Failed(format!(
                "{what}: not within {} s",
                limit.as_secs_f32()
            )));
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Runs a command. The caller looks at the status.
pub fn output(words: &[&str]) -> Outcome<Output> {
    Command::new(words[0])
        .args(&words[1..])
        .output()
        .when(words.join(" "))
}

/// Runs a command that must work. Returns what it printed.
pub fn run(words: &[&str]) -> Outcome<String> {
    let output = output(words)?;
    if !output.status.success() {
        return Err(Stop::Failed(format!(
            "{}: {}: {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Loads modules that come with the kernel, with all that they need.
pub fn modprobe(names: &[&str]) -> Outcome {
    let mut words = vec!["modprobe", "-a"];
    words.extend(names);
    run(&words).map(drop)
}

/// Reads a file that has one line.
pub fn read_line(path: impl AsRef<Path>) -> Outcome<String> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).when(path.display())?;
    Ok(text.trim_end().to_owned())
}

/// Writes to a file of sysfs or procfs.
pub fn write(path: impl AsRef<Path>, text: &str) -> Outcome {
    let path = path.as_ref();
    fs::write(path, text).when(format_args!("'{text}' to {}", path.display()))
}

/// The names in a folder; none if there is no such folder.
pub fn names(folder: impl AsRef<Path>) -> BTreeSet<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Lets this process have so many files open.
pub fn raise_files(count: usize) -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: count as libc::rlim_t,
        rlim_max: count as libc::rlim_t,
    };
    // SAFETY: The argument is valid for the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    nix::errno::Errno::result(result)
        .map(drop)
        .when(format_args!("room for {count} files"))
}
