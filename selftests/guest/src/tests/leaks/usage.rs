// SPDX-License-Identifier: GPL-2.0

//! What memory the kernel uses.

use crate::{
    fail,
    harness::Context,
    outcome::{Outcome, While},
    sys,
};
use std::{collections::BTreeMap, fs, path::Path, thread::sleep, time::Duration};

/// Pages of 4 KiB that may come and go without a reason that matters here: 24 MiB. The
/// buffers of one client in 200 rounds are more than ten times that.
const FREE_PAGES: i64 = 6144;
/// The same for what is counted exactly but moves a little: page tables, stacks, slabs.
const SOME_PAGES: i64 = 768;

/// How often to look before a number is believed.
const LOOKS: usize = 8;

/// How often what looks lost gets as many rounds once more.
const PARTS: usize = 4;

/// Whether this kernel looks for mistakes, and so keeps what was freed in quarantine, by the
/// megabyte: KASAN does. There kmemleak finds what is lost, and numbers tell nothing.
pub fn is_quarantined() -> bool {
    Path::new("/sys/kernel/debug/kmemleak").exists()
}

/// What is in use: numbers of pages, and of objects of each size. Only what is pinned, where
/// the kernel has a quarantine (see [`is_quarantined`]).
pub struct Usage {
    pages: BTreeMap<String, i64>,
    objects: BTreeMap<String, i64>,
}

/// Nothing is lost in rounds, a part of which `part` lives through; it tells how many there
/// were in all.
///
/// The kernel's own caches fill and empty at times: each CPU keeps up to 128 heads of
/// `sk_buff` for itself (`napi_alloc_cache`), and up to as many that wait to be freed there
/// (`skb_defer_max`), for as long as nobody needs them. These have an end, while what is
/// lost grows with the rounds, and so does what may be. So what seems too much gets more
/// rounds: what is lost in each is too much after all of them, too.
pub fn nothing_is_lost(
    context: &mut Context,
    mut part: impl FnMut(&mut Context) -> Outcome<usize>,
) -> Outcome {
    let before = Usage::settled()?;
    let mut lost = String::new();
    for _ in 0..PARTS {
        let rounds = part(context)?;
        let after = Usage::settled()?;
        if let Some(line) = after.changes(&before) {
            context.note(format_args!("after {rounds} rounds: {line}"));
        }
        let lines = after.lost_since(&before, rounds);
        if lines.is_empty() {
            return Ok(());
        }
        lost = format!("lost in {rounds} rounds: {}", lines.join("; "));
    }
    fail!("{lost}")
}

/// Numbers of `/proc/vmstat` that grow when pages are lost. All are in pages, or in pieces
/// of memory that are not smaller.
const PAGES: [&str; 4] = [
    "nr_slab_unreclaimable",
    "nr_kernel_stack",
    "nr_page_table_pages",
    "nr_unevictable",
];

/// The number of pages that are pinned.
const PINNED: &str = "pinned";

impl Usage {
    /// What is in use when all that waits to be freed is freed: the least of several looks,
    /// for what is lost is there each time.
    pub fn settled() -> Outcome<Self> {
        let mut least = Self::now()?;
        for _ in 0..LOOKS {
            // Grace periods, and the works that wait for them.
            sleep(Duration::from_millis(100));
            let look = Self::now()?;
            for (numbers, seen) in [
                (&mut least.pages, look.pages),
                (&mut least.objects, look.objects),
            ] {
                for (name, number) in numbers {
                    *number = seen.get(name).map_or(0, |seen| (*number).min(*seen));
                }
            }
        }
        Ok(least)
    }

    fn now() -> Outcome<Self> {
        for cache in sys::names("/sys/kernel/slab") {
            if is_ours(&cache) {
                // Else objects that wait for reuse on a CPU count as in use.
                let _ = fs::write(format!("/sys/kernel/slab/{cache}/shrink"), "1");
            }
        }
        sys::write("/proc/sys/vm/drop_caches", "3")?;
        // Numbers that each CPU keeps for itself for a while.
        sys::write("/proc/sys/vm/stat_refresh", "1")?;
        let (mut pages, mut objects) = (pages()?, objects()?);
        if is_quarantined() {
            pages.retain(|name, _| name == PINNED);
            objects.clear();
        }
        Ok(Self { pages, objects })
    }

    /// How much more is in use than before, by name, with how much more may be.
    fn growth(&self, before: &Self, rounds: usize) -> Vec<(String, i64, i64)> {
        let mut all = Vec::new();
        // Less than one in each life of a device.
        let objects = rounds as i64 * 2 / 5;
        for (name, now) in &self.pages {
            let grown = now - before.pages.get(name).copied().unwrap_or_default();
            let most = match name.as_str() {
                "used" => FREE_PAGES,
                // Each that was pinned must be unpinned.
                PINNED => 0,
                _ => SOME_PAGES,
            };
            all.push((format!("pages {name}"), grown, most));
        }
        for (name, now) in &self.objects {
            let grown = now - before.objects.get(name).copied().unwrap_or_default();
            all.push((format!("objects {name}"), grown, objects));
        }
        all
    }

    /// What was lost.
    pub fn lost_since(&self, before: &Self, rounds: usize) -> Vec<String> {
        self.growth(before, rounds)
            .into_iter()
            .filter(|(_, grown, most)| grown > most)
            .map(|(name, grown, most)| format!("{name}: {grown} more, {most} may be"))
            .collect()
    }

    /// What changed most, for the record.
    fn changes(&self, before: &Self) -> Option<String> {
        let mut all = self.growth(before, 0);
        all.retain(|(_, grown, _)| *grown != 0);
        all.sort_by_key(|(_, grown, _)| -grown.abs());
        let words: Vec<_> = all
            .iter()
            .take(8)
            .map(|(name, grown, _)| format!("{name} {grown:+}"))
            .collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

fn pages() -> Outcome<BTreeMap<String, i64>> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let all: BTreeMap<&str, i64> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, number)| Some((name, number.parse().ok()?)))
        .collect();
    let get = |name: &str| all.get(name).copied().when(name);
    let mut pages = BTreeMap::new();
    for name in PAGES {
        pages.insert(name.to_owned(), get(name)?);
    }
    pages.insert(
        PINNED.into(),
        get("nr_foll_pin_acquired")? - get("nr_foll_pin_released")?,
    );
    pages.insert("used".into(), -get("nr_free_pages")?);
    let text = fs::read_to_string("/proc/meminfo")?;
    for (name, label) in [("vmalloc", "VmallocUsed:"), ("percpu", "Percpu:")] {
        let number: i64 = text
            .lines()
            .find_map(|line| line.strip_prefix(label))
            .and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
            .when(label)?;
        pages.insert(name.into(), number / 4);
    }
    Ok(pages)
}

/// Whether a slab cache is one that the module's objects, or those that it causes, are in.
fn is_ours(cache: &str) -> bool {
    cache.starts_with("kmalloc-") || cache.contains("skbuff") || cache == "eventfd_ctx"
}

/// Numbers of objects in use, by size: there are several caches for each.
fn objects() -> Outcome<BTreeMap<String, i64>> {
    let mut objects = BTreeMap::new();
    for line in fs::read_to_string("/proc/slabinfo")
        .when("/proc/slabinfo")?
        .lines()
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, active, ..] = words[..] else {
            continue;
        };
        if !is_ours(name) {
            continue;
        }
        let Ok(active) = active.parse::<i64>() else {
            continue;
        };
        // "kmalloc-cg-64", "kmalloc-rnd-03-64": the size is the last word.
        let size = name.rsplit('-').next().unwrap_or(name);
        *objects.entry(size.to_owned()).or_default() += active;
    }
    Ok(objects)
}
