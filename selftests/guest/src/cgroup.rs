// SPDX-License-Identifier: GPL-2.0

//! A control group whose processes have little memory.

use crate::{
    outcome::{Outcome, While},
    skip, sys,
};
use std::{fs, path::PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";

/// The group, which has to be empty when the value goes. The hierarchy is mounted for as long.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes a group whose processes may have so many bytes together.
    pub fn with_memory(bytes: u64) -> Outcome<Self> {
        let known = fs::read_to_string("/proc/filesystems").when("/proc/filesystems")?;
        if !known.lines().any(|line| line.ends_with("\tcgroup2")) {
            skip!("this kernel has no control groups (CONFIG_CGROUPS)");
        }
        sys::run(&["mount", "-t", "cgroup2", "cgroup2", MOUNT])?;
        let group = Self(PathBuf::from(MOUNT).join("tight"));
        let controllers = sys::read_line(format!("{MOUNT}/cgroup.controllers"))?;
        if !controllers.split(' ').any(|name| name == "memory") {
            skip!("no control groups for memory (CONFIG_MEMCG); there is: '{controllers}'");
        }
        sys::write(format!("{MOUNT}/cgroup.subtree_control"), "+memory")?;
        fs::create_dir(&group.0).when(group.0.display())?;
        sys::write(group.0.join("memory.max"), &bytes.to_string())?;
        Ok(group)
    }

    /// Puts this process into the group.
    pub fn enter(&self) -> Outcome {
        sys::write(self.0.join("cgroup.procs"), &std::process::id().to_string())
    }

    /// How many bytes of its processes' own memory there are. What the kernel keeps of files
    /// that were read counts for the group, too, and stays.
    pub fn held(&self) -> Outcome<u64> {
        Ok(self.number("memory.stat", "anon")? + self.number("memory.stat", "shmem")?)
    }

    /// How often something has happened, by its name in `memory.events`.
    pub fn events(&self, name: &str) -> Outcome<u64> {
        self.number("memory.events", name)
    }

    fn number(&self, file: &str, name: &str) -> Outcome<u64> {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).when(path.display())?;
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value.parse().ok())
            .when(format_args!("{name} in {text}"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
        let _ = sys::run(&["umount", MOUNT]);
    }
}
