// SPDX-License-Identifier: GPL-2.0

//! What a transmit queue remembers of where its frames go.

use super::{
    fabric::{
        Decision,
        Fabric,
        MAX_PORTS, //
    },
    port::Port,
    steering::Steering,
};
use crate::net::frame::Headers;
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
};

/// How many answers are remembered; a power of two.
const ANSWERS: usize = 8;

/// What an answer is about.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Question {
    destination: [u8; 6],
    source: [u8; 6],
    vlan: Option<u16>,
    epoch: u64,
    /// A switch wants to see addresses now and then.
    second: u32,
}

impl Question {
    fn new(headers: &Headers, epoch: u64, second: u32) -> Self {
        Self {
            destination: headers.destination,
            source: headers.source,
            vlan: headers.vlan,
            epoch,
            second,
        }
    }

    /// Where the answer is remembered.
    fn slot(&self) -> usize {
        let [.., a] = self.destination;
        let [.., b] = self.source;
        usize::from(a ^ b.rotate_left(4)) % ANSWERS
    }
}

/// Where a frame goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Nowhere.
    Drop,
    /// To the port in this slot.
    To(usize),
    /// To all [`Lookups::targets`].
    Flood,
}

struct Answer {
    question: Question,
    route: Route,
    to: Option<(Arc<Port>, Arc<Steering>)>,
}

/// Answers of the fabric, for as long as they are good.
pub(super) struct Lookups {
    answers: KBox<[Option<Answer>; ANSWERS]>,
    flood: Option<Question>,
    targets: KVec<Arc<Port>>,
    /// Those that do not want the flooded frame.
    strangers: KVec<Arc<Port>>,
}

impl Lookups {
    /// Makes one that remembers nothing.
    pub(super) fn new(fabric: &Fabric) -> Result<Self> {
        let room = if fabric.is_switch() { MAX_PORTS } else { 0 };
        Ok(Self {
            answers: KBox::new([const { None }; ANSWERS], GFP_KERNEL)?,
            flood: None,
            targets: KVec::with_capacity(room, GFP_KERNEL)?,
            strangers: KVec::with_capacity(room, GFP_KERNEL)?,
        })
    }

    /// Where a frame from `from` with these headers goes, at the time `second`.
    #[inline]
    pub(super) fn route(&mut self, from: &Arc<Port>, headers: &Headers, second: u32) -> Route {
        let question = Question::new(headers, from.fabric().epoch(), second);
        let slot = question.slot();
        let known = match self.answers.get(slot) {
            Some(Some(answer)) if answer.question == question => Some(answer.route),
            _ => None,
        };
        let route = known.unwrap_or_else(|| self.ask(from, headers, question));
        if route == Route::Drop {
            if let Some((port, _)) = self.to(slot) {
                port.filtered.fetch_add(1, Relaxed);
            }
        }
        route
    }

    #[cold]
    fn ask(&mut self, from: &Arc<Port>, headers: &Headers, question: Question) -> Route {
        let slot = question.slot();
        let with_steering = |port: Arc<Port>| {
            let steering = port.steering();
            Some((port, steering))
        };
        let (route, to) = match from.fabric().decide(from, headers, question.second) {
            Decision::To(port) => (Route::To(slot), with_steering(port)),
            Decision::Filtered(port) => (Route::Drop, with_steering(port)),
            Decision::Nobody => (Route::Drop, None),
            Decision::Flood => (Route::Flood, None),
        };
        if let Some(answer) = self.answers.get_mut(slot) {
            *answer = Some(Answer {
                question,
                route,
                to,
            });
        }
        route
    }

    /// The port in a slot, and how it spreads frames over its queues.
    #[inline]
    pub(super) fn to(&self, slot: usize) -> Option<&(Arc<Port>, Arc<Steering>)> {
        self.answers.get(slot)?.as_ref()?.to.as_ref()
    }

    /// The epoch of the fabric from which on the answer in a slot is good.
    pub(super) fn epoch(&self, slot: usize) -> Option<u64> {
        let answer = self.answers.get(slot)?.as_ref()?;
        Some(answer.question.epoch)
    }

    /// Finds the ports that a flooded frame goes to.
    pub(super) fn find_targets(&mut self, from: &Arc<Port>, headers: &Headers) {
        let question = Question::new(headers, from.fabric().epoch(), 0);
        if self.flood != Some(question) {
            let Self {
                targets, strangers, ..
            } = self;
            from.fabric().flood(from, headers, targets, strangers);
            self.flood = Some(question);
        }
    }

    /// How many ports the last flooded frame goes to.
    pub(super) fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Counts a flooded frame for the ports that do not want it.
    pub(super) fn count_strangers(&self) {
        for port in &self.strangers {
            port.filtered.fetch_add(1, Relaxed);
        }
    }

    /// The ports that the last flooded frame goes to, from number `first` on.
    pub(super) fn target(&self, first: u16) -> Option<&Arc<Port>> {
        self.targets.iter().find(|port| port.name.number >= first)
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        *self.answers = [const { None }; ANSWERS];
        self.flood = None;
        self.targets.clear();
        self.strangers.clear();
    }
}
