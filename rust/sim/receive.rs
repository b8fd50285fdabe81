// SPDX-License-Identifier: GPL-2.0

//! A receive queue.
//!
//! It is filled by whoever has a frame for it, under its lock: the transmit workers of the
//! same device, or of the other ports of a switch. So a frame is copied once, and where a
//! receiver is slow nobody waits for it. Its own worker has something to do only if others
//! do not reach the memory of its driver: then their frames wait in an [`Inbox`].

use super::{
    deliver::Room,
    format::Format,
    inbox::Inbox,
    memory::DeviceMemory,
    queue::Vq,
    session::{
        End,
        Session,
        Undelivered, //
    },
    worker::{
        After,
        Mode,
        Next,
        Outcome,
        Task, //
    },
};
use crate::{
    net::frame::MAX_HEADERS,
    vdpa::iommu::Context,
    virtio::{
        fault::Place,
        features::Features, //
    },
};
use kernel::prelude::*;

/// How many frames that waited are handled under the lock at a time.
const BATCH: u32 = 64;

/// Whether receive queues have an inbox. Without, their workers have nothing to do: frames do
/// not wait for buffers.
#[derive(Clone, Copy)]
pub(super) struct Inboxes(pub(super) bool);

/// A receive queue.
pub(super) struct Receive {
    pub(super) vq: Vq,
    pub(super) format: Format,
    /// What others have sent that do not reach the memory of the driver; none where all do.
    pub(super) inbox: Option<KBox<Inbox>>,
}

impl Receive {
    /// Makes a receive queue with room for a ring of `num_max` descriptors, and for frames
    /// of others if they cannot deliver them.
    pub(super) fn new(num_max: u16, offered: Features, inboxes: Inboxes) -> Result<Self> {
        let inbox = if inboxes.0 {
            Some(KBox::new(Inbox::new()?, GFP_KERNEL)?)
        } else {
            None
        };
        Ok(Self {
            vq: Vq::new(num_max, offered)?,
            format: Format::new(Features::NONE),
            inbox,
        })
    }

    /// Starts anew with what a driver has negotiated.
    pub(super) fn set_features(&mut self, features: Features) {
        self.format = Format::new(features);
    }

    /// Drops what waits for a driver that will not get it.
    pub(super) fn drop_waiting(&mut self) {
        if let Some(inbox) = &mut self.inbox {
            self.vq.counters.drops_no_buffer += inbox.clear();
        }
    }

    /// Delivers what waits. Returns how many frames there were, what is to be done for the
    /// queue, and what keeps it from going on.
    fn deliver_waiting(
        &mut self,
        inbox: &mut Inbox,
        mem: &DeviceMemory<'_>,
    ) -> (u32, End, Option<Place>) {
        let mut built = [0; MAX_HEADERS];
        let mut session = Session::new(self, mem, true);
        let mut missing = None;
        let mut frames = 0;
        let mut result = session.begin();
        while frames < BATCH && result.is_ok() {
            let room = Room {
                built: &mut built,
                chains: None,
            };
            match inbox.with_first(|source| session.deliver(source, room)) {
                None => break,
                Some(Ok((delivered, _))) => {
                    session.count(&delivered);
                    inbox.drop_first();
                    frames += 1;
                }
                Some(Err(undelivered)) => result = Err(undelivered),
            }
        }
        match result {
            Ok(()) => {}
            Err(Undelivered::Receiver(place)) => missing = Some(place),
            // What is stored can be read; if not, it is of no use.
            Err(Undelivered::Sender(_)) => inbox.drop_first(),
        }
        (frames, session.end(), missing)
    }
}

impl Task for Receive {
    const ROLE: &'static str = "receive";

    type Env = Inboxes;

    fn serves_kicks(env: &Inboxes) -> bool {
        env.0
    }

    fn vq(&mut self) -> &mut Vq {
        &mut self.vq
    }

    fn run(
        &mut self,
        _context: &Context<'_>,
        mem: &DeviceMemory<'_>,
        _env: &Inboxes,
        _mode: Mode,
        _after: &mut After,
    ) -> Outcome {
        let mut outcome = Outcome {
            completed: 0,
            raise: false,
            next: Next::Sleep,
        };
        // Frames do not wait for buffers, so nothing else is to be done.
        let Some(mut inbox) = self.inbox.take() else {
            return outcome;
        };
        let (frames, end, missing) = self.deliver_waiting(&mut inbox, mem);
        outcome.completed = frames;
        if !inbox.is_empty() {
            outcome.next = Next::Continue;
        }
        self.inbox = Some(inbox);
        match end {
            End::Wake => {}
            End::Completed(completed, raise) => {
                outcome.completed = completed;
                outcome.raise = raise;
            }
            End::Broken(fault) => {
                self.vq.break_down();
                outcome.next = Next::Broken(fault);
            }
            End::NotPresent(place) => outcome.next = Next::FaultIn(place),
        }
        if let Some(place) = missing {
            outcome.next = Next::FaultIn(place);
        }
        outcome
    }
}
