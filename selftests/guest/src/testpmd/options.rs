// SPDX-License-Identifier: GPL-2.0

//! How `testpmd` is started.

use crate::{
    arena::provide_huge_pages,
    outcome::{Outcome, While},
    sys,
};
use std::{fs, path::Path};

/// A device of `net_virtio_user`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Vdev<'a> {
    /// The character device.
    pub path: &'a str,
    pub packed: bool,
    pub in_order: bool,
    pub mergeable: bool,
    pub vectorized: bool,
    /// Queue pairs.
    pub pairs: u16,
    /// Descriptors of a ring.
    pub size: u16,
    /// Kicks tell where the driver is. If the device has it, DPDK takes it, and it maps the
    /// pages to kick by.
    pub notification_data: bool,
    /// Frames are given to a queue by a hash. If the device has it, DPDK takes it.
    pub rss: bool,
}

impl<'a> Vdev<'a> {
    /// One as it is without a word, but for rings that are not used in order, as the
    /// default for that is not the same in all versions.
    pub fn new(path: &'a str) -> Self {
        Self {
            path,
            packed: false,
            in_order: false,
            mergeable: true,
            vectorized: false,
            pairs: 1,
            size: 256,
            notification_data: false,
            rss: false,
        }
    }

    fn argument(&self, number: usize) -> String {
        let Self {
            path, pairs, size, ..
        } = self;
        format!(
            "--vdev=net_virtio_user{number},path={path},queues={pairs},queue_size={size},\
             packed_vq={},in_order={},mrg_rxbuf={},vectorized={}",
            u8::from(self.packed),
            u8::from(self.in_order),
            u8::from(self.mergeable),
            u8::from(self.vectorized)
        )
    }
}

/// What its memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    HugePages,
    SmallPages,
}

const HUGE_FOLDER: &str = "/tmp/hugepages";

/// Huge pages for two of it.
const HUGE_PAGES: u32 = 120;

/// Has the kernel provide huge pages, in a folder. They stay.
pub(super) fn huge_pages() -> Outcome {
    provide_huge_pages(HUGE_PAGES)?;
    if !Path::new(HUGE_FOLDER).exists() {
        fs::create_dir(HUGE_FOLDER).when(HUGE_FOLDER)?;
        sys::run(&["mount", "-t", "hugetlbfs", "none", HUGE_FOLDER])?;
    }
    Ok(())
}

/// How it is started.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    pub vdev: Vdev<'a>,
    /// The CPU that forwards; the console is on the other one.
    pub cpu: u8,
    pub memory: Memory,
    /// More arguments of the application.
    pub more: &'a [&'a str],
}

impl<'a> Options<'a> {
    pub fn new(vdev: Vdev<'a>) -> Self {
        Self {
            vdev,
            cpu: 1,
            memory: Memory::HugePages,
            more: &[],
        }
    }

    /// Its arguments.
    pub(super) fn arguments(&self) -> Vec<String> {
        // Two at a time must not have a name in common, and one that was killed must be no
        // harm to the next.
        let prefix = format!("--file-prefix=rvdpa{}", self.vdev.path.replace('/', "-"));
        let console = format!("--main-lcore={}", 1 - self.cpu.min(1));
        let mut all: Vec<String> = ["-v", "-l", "0,1", "-m", "96", "--no-pci", "--no-telemetry"]
            .map(str::to_owned)
            .into();
        all.extend([console, prefix, self.vdev.argument(0)]);
        match self.memory {
            Memory::HugePages => all.extend([
                format!("--huge-dir={HUGE_FOLDER}"),
                // One that is killed leaves none behind.
                "--huge-unlink=always".into(),
            ]),
            Memory::SmallPages => all.push("--no-huge".into()),
        }
        all.extend(["--", "-i", "--total-num-mbufs=8192"].map(str::to_owned));
        let pairs = self.vdev.pairs;
        all.extend([format!("--rxq={pairs}"), format!("--txq={pairs}")]);
        all.extend(self.more.iter().map(|&word| word.to_owned()));
        all
    }
}
