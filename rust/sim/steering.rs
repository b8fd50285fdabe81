// SPDX-License-Identifier: GPL-2.0

//! Which receive queue a frame goes to (5.1.6.5.5, 5.1.6.5.7), and what is said of its
//! hash (5.1.6.4.3).

use super::flows::Flows;
use crate::{
    net::{
        flow::{
            self,
            Hash,
            HashTypes,
            Sums,
            Toeplitz, //
        },
        frame::Headers,
    },
    virtio::net::rss::Indirection,
};
use kernel::prelude::*;

/// How received frames are spread over the receive queues of a device.
pub(super) struct Steering {
    pub(super) spread: Spread,
    /// What is hashed, if anything is.
    pub(super) hasher: Option<(HashTypes, Toeplitz<KVec<Sums>>)>,
    /// Whether the hash is reported with each frame.
    pub(super) report: bool,
}

/// What decides about the queue.
pub(super) enum Spread {
    /// So many pairs are in use; a frame goes to the one that the driver last sent its
    /// flow from.
    Automatic(u16),
    /// The driver has said which hash goes where.
    Table(KBox<Indirection>),
}

/// Where a frame goes, and what is said of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Steered {
    pub(super) pair: u16,
    /// The hash to be reported.
    pub(super) hash: Option<Hash>,
}

impl Steering {
    /// One pair, and no hash.
    pub(super) const SINGLE: Self = Self {
        spread: Spread::Automatic(1),
        hasher: None,
        report: false,
    };

    /// Whether the device has to look from which pair flows come.
    pub(super) fn learns(&self) -> bool {
        matches!(self.spread, Spread::Automatic(2..))
    }

    /// Whether the headers of a frame matter.
    #[inline]
    pub(super) fn wants_headers(&self) -> bool {
        self.hasher.is_some() || self.learns()
    }

    /// Where a frame goes for a driver that sends these flows.
    #[inline]
    pub(super) fn steer(&self, flows: &Flows, headers: Option<&Headers>) -> Steered {
        let Some(headers) = headers else {
            return Steered::default();
        };
        let hash = match &self.hasher {
            Some((types, toeplitz)) => toeplitz.hash(headers, *types),
            None => None,
        };
        let pair = match &self.spread {
            Spread::Automatic(pairs @ 2..) => {
                Some(flows.pair_of(flow::symmetric(headers))).filter(|pair| pair < pairs)
            }
            Spread::Automatic(_) => None,
            Spread::Table(table) => Some(table.queue(hash.map(|hash| hash.value))),
        };
        Steered {
            pair: pair.unwrap_or(0),
            hash: hash.filter(|_| self.report),
        }
    }
}
