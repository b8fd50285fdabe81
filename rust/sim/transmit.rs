// SPDX-License-Identifier: GPL-2.0

//! A transmit queue: its frames go where the fabric says, straight from the buffers of the
//! sender into those of the receivers.
//!
//! Frames in a row that go to the same receive queue are delivered under one hold of its
//! lock, and published at once.

use super::{
    deliver::Work,
    fabric::MAX_PORTS,
    lookups::{
        Lookups,
        Route, //
    },
    memory::DeviceMemory,
    port::Port,
    queue::{
        Counters,
        Vq, //
    },
    receive::Receive,
    session::Undelivered,
    steering::Steered,
    worker::{
        After,
        Mode,
        Next,
        Outcome,
        Task,
        Worker, //
    },
};
use crate::{
    net::frame::{
        Headers,
        MAX_HEADERS, //
    },
    vdpa::iommu::{
        Area,
        Context, //
    },
    virtio::{
        fault::{
            Place,
            QueueError, //
        },
        features::Features,
        queue::Queue,
        ring::Engine, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

mod alike;
mod forward;
mod look;
mod mover;

use alike::{
    Kept,
    Stage, //
};
use look::Frame;

/// How much is done under the lock at a time: so many frames that go the short way.
const BATCH: u32 = 256;

/// As how many of those another frame counts, for each port that it goes to.
const LONG: u32 = 4;

/// How many bytes are copied under the lock at a time, about.
const BATCH_BYTES: u64 = 1 << 20;

/// Longest virtio header, in bytes.
const MAX_HEADER: usize = 20;

/// What a transmit queue works with.
pub(super) struct Sender {
    pub(super) port: Arc<Port>,
    /// The number of the pair.
    pub(super) pair: u16,
}

/// Room for what is looked at of a frame, and for what is put in its place.
struct Scratch {
    /// The virtio header and the leading bytes of the frame.
    bytes: [u8; MAX_HEADER + MAX_HEADERS],
    built: [u8; MAX_HEADERS],
    found: Found,
}

impl Scratch {
    /// The leading bytes of the frame.
    #[inline]
    fn leading(&self) -> &[u8] {
        let found = self.found.start..self.found.end;
        self.bytes.get(found).unwrap_or(&[])
    }
}

/// What was found of the frame at the front.
struct Found {
    /// Where its leading bytes are.
    start: usize,
    end: usize,
    headers: Option<Headers>,
    /// What its sender left to be done.
    work: Option<Work>,
    /// Which queue of its receiver it is for, if it has one.
    steered: Steered,
}

/// A transmit queue.
pub(super) struct Transmit {
    vq: Vq,
    features: Features,
    scratch: KBox<Scratch>,
    stage: Stage,
    lookups: Lookups,
    /// What the last frames were like that went the short way, and where they went.
    kept: Option<Kept>,
    /// From which port on the next frame is still to be flooded, if it was begun.
    flooded: u16,
    /// A receive queue whose driver was not shown all that it has got, because memory had
    /// to be brought in.
    unpublished: Option<Arc<Worker<Receive>>>,
}

impl Transmit {
    /// Makes a transmit queue with room for a ring of `num_max` descriptors.
    pub(super) fn new(num_max: u16, offered: Features, lookups: Lookups) -> Result<Self> {
        let scratch = Scratch {
            bytes: [0; MAX_HEADER + MAX_HEADERS],
            built: [0; MAX_HEADERS],
            found: Found {
                start: 0,
                end: 0,
                headers: None,
                work: None,
                steered: Steered::default(),
            },
        };
        Ok(Self {
            vq: Vq::new(num_max, offered)?,
            features: Features::NONE,
            scratch: KBox::new(scratch, GFP_KERNEL)?,
            stage: Stage::new()?,
            lookups,
            kept: None,
            flooded: 0,
            unpublished: None,
        })
    }

    /// Sets what was negotiated.
    pub(super) fn set_features(&mut self, features: Features) {
        self.features = features;
        self.kept = None;
        self.flooded = 0;
    }

    /// Forgets how far the frame has come that was next: another one is now.
    pub(super) fn go_elsewhere(&mut self) {
        self.flooded = 0;
    }

    /// Forgets where frames went.
    pub(super) fn forget(&mut self) {
        self.lookups.forget();
        self.kept = None;
        self.unpublished = None;
    }
}

impl Task for Transmit {
    const ROLE: &'static str = "transmit";
    type Env = Sender;

    fn receivers(env: &Sender) -> usize {
        if env.port.fabric().is_switch() {
            // A frame that is flooded is not to be left half-way.
            MAX_PORTS
        } else {
            (BATCH / LONG) as usize
        }
    }

    fn vq(&mut self) -> &mut Vq {
        &mut self.vq
    }

    fn run(
        &mut self,
        context: &Context<'_>,
        mem: &DeviceMemory<'_>,
        env: &Sender,
        mode: Mode,
        after: &mut After,
    ) -> Outcome {
        if !self.vq.is_running() {
            return Outcome {
                completed: 0,
                raise: false,
                next: Next::Sleep,
            };
        }
        let (ring, counters) = self.vq.engine();
        let mut batch = Batch {
            context,
            env,
            mode,
            after,
            features: self.features,
            scratch: &mut self.scratch,
            stage: &mut self.stage,
            lookups: &mut self.lookups,
            kept: &mut self.kept,
            flooded: &mut self.flooded,
            unpublished: &mut self.unpublished,
            counters,
            second: env.port.fabric().now(),
            frames: 0,
            bytes: 0,
            spent: 0,
            raise: false,
        };
        // From here on the format is known, and the code is that for this format alone.
        let result = match ring {
            Engine::Split(ring) => batch.run(ring, mem),
            Engine::Packed(ring) => batch.run(ring, mem),
        };
        let (completed, raise) = (batch.frames, batch.raise);
        let next = match result {
            Ok(next) => next,
            Err(Stop::Sender(error)) => Next::after(error, &mut self.vq),
            Err(Stop::FaultIn(receiver, place)) => Next::FaultInReceiver(receiver, place),
            Err(Stop::Receiver(_) | Stop::Again) => Next::Continue,
        };
        Outcome {
            completed,
            raise,
            next,
        }
    }
}

/// Why a batch ends before its time.
enum Stop {
    /// Something is wrong with the transmit queue.
    Sender(QueueError),
    /// Memory of the receive queue of the session is to be brought in.
    Receiver(Place),
    /// Memory of a receive queue of the same device is to be brought in.
    FaultIn(Arc<Worker<Receive>>, Place),
    /// Something has to be prepared anew.
    Again,
}

impl From<Undelivered> for Stop {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::Sender(error) => Stop::Sender(error),
            Undelivered::Receiver(place) => Stop::Receiver(place),
        }
    }
}

impl From<QueueError> for Stop {
    fn from(error: QueueError) -> Self {
        Stop::Sender(error)
    }
}

/// What happens during a batch.
struct Batch<'b, 'c> {
    context: &'b Context<'c>,
    env: &'b Sender,
    mode: Mode,
    after: &'b mut After,
    features: Features,
    scratch: &'b mut Scratch,
    stage: &'b mut Stage,
    lookups: &'b mut Lookups,
    kept: &'b mut Option<Kept>,
    flooded: &'b mut u16,
    unpublished: &'b mut Option<Arc<Worker<Receive>>>,
    counters: &'b mut Counters,
    second: u32,
    frames: u32,
    /// Of these frames, without virtio headers.
    bytes: u64,
    /// How much of [`BATCH`] is done.
    spent: u32,
    /// Whether the sender is to be interrupted.
    raise: bool,
}

impl Batch<'_, '_> {
    fn run<'a, Q: Queue<Area = Area>>(
        &mut self,
        ring: &mut Q,
        mem: &DeviceMemory<'a>,
    ) -> Result<Next, Stop> {
        ring.begin(mem)?;
        ring.suppress_kicks(mem)?;
        let ring = &*ring;
        let done = self.forward(ring, mem);
        // Also after a failure: what was sent must be seen.
        self.raise = self.counters.publish(ring, mem)?;
        Ok(match done? {
            true if self.mode == Mode::Polling => Next::Poll,
            true if !ring.allow_kicks(mem)? => Next::Sleep,
            _ => Next::Continue,
        })
    }

    /// Whether the batch is over.
    #[inline]
    fn is_over(&self) -> bool {
        self.spent >= BATCH || self.bytes >= BATCH_BYTES || !self.after.has_room()
    }

    /// Handles frames. Returns whether there are no more.
    fn forward<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
    ) -> Result<bool, Stop> {
        if let Some(receiver) = self.unpublished.take() {
            let shown = self.with(&receiver, |_, _| Ok(()));
            if let Err(Stop::Again) = shown {
                *self.unpublished = Some(receiver);
            }
            shown?;
        }
        if self.go_on(ring, mem)? && self.mode == Mode::InPlace {
            // It was for these; whoever asks for kicks now looks once more.
            return Ok(!self.is_over());
        }
        let mut next = self.next(ring, mem)?;
        while let Some(frame) = &next {
            match frame.route {
                Route::To(slot) => self.session(ring, mem, slot, &mut next)?,
                Route::Flood => {
                    self.flood(ring, mem, &mut next)?;
                    next = self.next(ring, mem)?;
                }
                Route::Drop => {
                    self.sent(ring, mem, next.take(), None)?;
                    next = self.next(ring, mem)?;
                }
            }
        }
        Ok(!self.is_over())
    }

    /// Takes a frame out of the queue. `bytes` is its length, if that is known.
    #[inline]
    fn sent<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        frame: Option<Frame<'m, 'a, Q>>,
        bytes: Option<u64>,
    ) -> Result<(), Stop> {
        let Some(Frame { head, .. }) = frame else {
            return Ok(());
        };
        let found = &self.scratch.found;
        let bytes = match (bytes, &found.work) {
            (Some(bytes), _) => bytes,
            (None, Some(work)) => work.len().into(),
            (None, None) => {
                let all = ring.reader(mem, &head)?.skip(u64::MAX)?;
                all.saturating_sub(found.start as u64)
            }
        };
        ring.complete_fully(mem, head, 0)?;
        self.frames += 1;
        self.spent += LONG;
        self.counters.packets += 1;
        self.counters.bytes += bytes;
        self.bytes += bytes;
        if let Some(work) = &found.work {
            self.counters.checksums += 1;
            if work.is_segmented() {
                self.counters.large_packets += 1;
                self.counters.large_bytes += bytes;
            }
        }
        *self.flooded = 0;
        Ok(())
    }
}
