// SPDX-License-Identifier: GPL-2.0

//! What `vdpa dev vstats show` tells of a virtqueue.

use super::queue::Counters;
use crate::vdpa::StatsWriter;
use kernel::prelude::*;

/// A receive queue. Frames that did not reach it count here, with the reason; those that
/// the device did not want count for its first one.
pub(super) fn receive(
    stats: &mut StatsWriter<'_>,
    counters: &Counters,
    filtered: u64,
    kicks: u64,
) -> Result {
    stats.put(c"rx packets", counters.packets)?;
    stats.put(c"rx bytes", counters.bytes)?;
    stats.put(c"rx drops filtered", filtered)?;
    stats.put(c"rx drops no buffer", counters.drops_no_buffer)?;
    stats.put(c"rx drops too large", counters.drops_too_large)?;
    stats.put(c"rx errors", counters.errors)?;
    notifications(stats, counters, kicks)
}

/// A transmit queue.
pub(super) fn transmit(stats: &mut StatsWriter<'_>, counters: &Counters, kicks: u64) -> Result {
    stats.put(c"tx packets", counters.packets)?;
    stats.put(c"tx bytes", counters.bytes)?;
    stats.put(c"tx drops runt", counters.drops_runt)?;
    stats.put(c"tx drops malformed", counters.drops_malformed)?;
    stats.put(c"tx drops link down", counters.drops_link_down)?;
    stats.put(c"tx errors", counters.errors)?;
    notifications(stats, counters, kicks)
}

/// The control queue.
pub(super) fn control(stats: &mut StatsWriter<'_>, counters: &Counters, kicks: u64) -> Result {
    stats.put(c"cvq commands", counters.packets)?;
    stats.put(c"cvq errors", counters.errors)?;
    notifications(stats, counters, kicks)
}

fn notifications(stats: &mut StatsWriter<'_>, counters: &Counters, kicks: u64) -> Result {
    stats.put(c"kicks", kicks)?;
    stats.put(c"interrupts raised", counters.interrupts_raised)?;
    stats.put(c"interrupts suppressed", counters.interrupts_suppressed)
}
