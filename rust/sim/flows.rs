// SPDX-License-Identifier: GPL-2.0

//! Which pair a driver sends flows from (5.1.6.5.5).

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// How many flows are remembered; a power of two.
const FLOWS: usize = 256;

/// Pairs by the hash of a flow. Those whose hashes collide share a place.
pub(super) struct Flows(KVec<Atomic<i32>>);

impl Flows {
    /// Makes one with room for flows of several pairs, or for none.
    pub(super) fn new(several: bool) -> Result<Self> {
        let mut flows = KVec::new();
        if several {
            flows.reserve(FLOWS, GFP_KERNEL)?;
            for _ in 0..FLOWS {
                flows.push(Atomic::new(0), GFP_KERNEL)?;
            }
        }
        Ok(Self(flows))
    }

    /// Notes that the driver sends the flow with this hash from this pair.
    #[inline]
    pub(super) fn learn(&self, flow: u32, pair: u16) {
        if let Some(seen) = self.0.get(flow as usize % FLOWS) {
            if seen.load(Relaxed) != i32::from(pair) {
                seen.store(pair.into(), Relaxed);
            }
        }
    }

    /// The pair that the driver last sent this flow from.
    #[inline]
    pub(super) fn pair_of(&self, flow: u32) -> u16 {
        self.0
            .get(flow as usize % FLOWS)
            .map_or(0, |seen| seen.load(Relaxed) as u16)
    }

    /// Forgets all of them.
    pub(super) fn forget(&self) {
        for flow in &self.0 {
            flow.store(0, Relaxed);
        }
    }
}
