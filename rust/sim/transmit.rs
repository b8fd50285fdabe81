// SPDX-License-Identifier: GPL-2.0

//! A transmit queue: its frames go where the fabric says, straight from the buffers of the
//! sender into those of the receivers.
//!
//! Frames in a row that go to the same receive queue are delivered under one hold of its
//! lock, and published at once.

use super::{
    deliver::{
        Source,
        Work, //
    },
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
    session::{
        End,
        Session,
        Undelivered, //
    },
    steering::Steered,
    worker::{
        Action,
        After,
        Next,
        Outcome,
        Task,
        Worker, //
    },
};
use crate::{
    net::{
        flow,
        frame::{
            Headers,
            ETHERNET_LEN,
            ETH_P_8021AD,
            ETH_P_8021Q,
            MAX_HEADERS, //
        },
    },
    vdpa::iommu::{
        Area,
        Context, //
    },
    virtio::{
        chain::Reader,
        fault::{
            Place,
            QueueError, //
        },
        features::Features,
        net::{
            offload::Offload,
            NetHeader, //
        },
        queue::Queue,
        ring::Engine, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// How many frames are handled under the lock at a time. A frame counts once for each port
/// that it goes to.
const BATCH: u32 = 64;

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
}

/// A transmit queue.
pub(super) struct Transmit {
    vq: Vq,
    features: Features,
    scratch: KBox<Scratch>,
    lookups: Lookups,
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
        };
        Ok(Self {
            vq: Vq::new(num_max, offered)?,
            features: Features::NONE,
            scratch: KBox::new(scratch, GFP_KERNEL)?,
            lookups,
            flooded: 0,
            unpublished: None,
        })
    }

    /// Sets what was negotiated.
    pub(super) fn set_features(&mut self, features: Features) {
        self.features = features;
        self.flooded = 0;
    }

    /// Forgets where frames went.
    pub(super) fn forget(&mut self) {
        self.lookups.forget();
        self.unpublished = None;
    }
}

impl Task for Transmit {
    const ROLE: &'static str = "transmit";
    const RECEIVERS: usize = BATCH as usize;

    type Env = Sender;

    fn vq(&mut self) -> &mut Vq {
        &mut self.vq
    }

    fn run(
        &mut self,
        context: &Context<'_>,
        mem: &DeviceMemory<'_>,
        env: &Sender,
        after: &mut After,
    ) -> Outcome {
        if !self.vq.is_running() {
            return Outcome {
                raise: None,
                progress: false,
                next: Next::Sleep,
            };
        }
        let mut batch = Batch {
            context,
            env,
            after,
            features: self.features,
            scratch: &mut self.scratch,
            lookups: &mut self.lookups,
            flooded: &mut self.flooded,
            unpublished: &mut self.unpublished,
            counters: Counters::default(),
            second: env.port.fabric().now(),
            frames: 0,
        };
        let (ring, counters) = self.vq.engine();
        // From here on the format is known, and the code is that for this format alone.
        let result = match ring {
            Engine::Split(ring) => batch.run(ring, mem),
            Engine::Packed(ring) => batch.run(ring, mem),
        };
        counters.add(&batch.counters);
        let progress = batch.frames > 0;
        let raise = match batch.counters.interrupts_raised {
            0 => None,
            _ => Some(batch.frames),
        };
        let next = match result {
            Ok(next) => next,
            Err(Stop::Sender(error)) => Next::after(error, &mut self.vq),
            Err(Stop::FaultIn(receiver, place)) => Next::FaultInReceiver(receiver, place),
            Err(Stop::Receiver(_) | Stop::Again) => Next::Continue,
        };
        Outcome {
            raise,
            progress,
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

impl From<QueueError> for Stop {
    fn from(error: QueueError) -> Self {
        Stop::Sender(error)
    }
}

/// A frame at the front of the transmit queue.
struct Frame<'m, 'a: 'm, Q: Queue<Area = Area> + 'm> {
    head: Q::Head,
    /// What follows the leading bytes.
    rest: Reader<'m, Q::Walk<'m, DeviceMemory<'a>>>,
    /// Where the leading bytes are in the scratch buffer.
    start: usize,
    end: usize,
    headers: Headers,
    work: Option<Work>,
    route: Route,
    steered: Steered,
}

/// What was found at the start of a frame; see [`Frame`].
struct Look {
    start: usize,
    end: usize,
    headers: Headers,
    work: Option<Work>,
    route: Route,
    steered: Steered,
}

/// Why a frame goes nowhere.
enum Reason {
    /// It is shorter than an Ethernet header.
    Runt,
    /// Its virtio header says what cannot be.
    Malformed,
    /// There is no link.
    LinkDown,
}

/// What happens during a batch.
struct Batch<'b, 'c> {
    context: &'b Context<'c>,
    env: &'b Sender,
    after: &'b mut After,
    features: Features,
    scratch: &'b mut Scratch,
    lookups: &'b mut Lookups,
    flooded: &'b mut u16,
    unpublished: &'b mut Option<Arc<Worker<Receive>>>,
    counters: Counters,
    second: u32,
    frames: u32,
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
        self.counters.publish(ring, mem)?;
        if done? && !ring.allow_kicks(mem)? {
            return Ok(Next::Sleep);
        }
        Ok(Next::Continue)
    }

    /// Whether the batch is over.
    #[inline]
    fn is_over(&self) -> bool {
        self.frames >= BATCH || self.counters.bytes >= BATCH_BYTES || !self.after.has_room()
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
        let mut next = self.next(ring, mem)?;
        while let Some(frame) = next {
            next = match frame.route {
                Route::To(slot) => self.session(ring, mem, slot, frame)?,
                Route::Flood => {
                    self.flood(ring, mem, frame)?;
                    self.next(ring, mem)?
                }
                Route::Drop => {
                    self.sent(ring, mem, frame, None)?;
                    self.next(ring, mem)?
                }
            };
        }
        Ok(!self.is_over())
    }

    /// The next frame that is one. None if there are none, or if the batch is over.
    ///
    /// It stays in the queue until it was [`sent`](Self::sent).
    #[inline]
    fn next<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
    ) -> Result<Option<Frame<'m, 'a, Q>>, Stop> {
        while !self.is_over() {
            let Some(head) = ring.peek(mem)? else {
                return Ok(None);
            };
            let mut reader = ring.reader(mem, &head)?;
            match self.look(&mut reader)? {
                Ok(look) => {
                    return Ok(Some(Frame {
                        head,
                        rest: reader,
                        start: look.start,
                        end: look.end,
                        headers: look.headers,
                        work: look.work,
                        route: look.route,
                        steered: look.steered,
                    }))
                }
                Err(reason) => {
                    ring.complete_fully(mem, head, 0)?;
                    self.frames += 1;
                    match reason {
                        Reason::Runt => self.counters.drops_runt += 1,
                        Reason::Malformed => self.counters.drops_malformed += 1,
                        Reason::LinkDown => self.counters.drops_link_down += 1,
                    }
                }
            }
        }
        Ok(None)
    }

    /// Looks at the start of a frame.
    #[inline]
    fn look<'m, W>(&mut self, reader: &mut Reader<'m, W>) -> Result<Result<Look, Reason>, Stop>
    where
        W: crate::virtio::chain::Walk<'m>,
    {
        let start = NetHeader::len_with(self.features);
        let mut end = start + usize::from(ETHERNET_LEN);
        if self.fill(reader, 0, end)? < end {
            return Ok(Err(Reason::Runt));
        }
        let header = self
            .scratch
            .bytes
            .first_chunk()
            .copied()
            .unwrap_or_default();
        let header = NetHeader::from_bytes(header);
        let port = &self.env.port;
        if !port.is_up() {
            return Ok(Err(Reason::LinkDown));
        }
        let plain =
            header.flags & NetHeader::NEEDS_CSUM == 0 && header.gso_type == NetHeader::GSO_NONE;
        let offload = if plain {
            Offload::NONE
        } else {
            match Offload::from_header(&header, self.features) {
                Ok(offload) => offload,
                Err(_) => return Ok(Err(Reason::Malformed)),
            }
        };
        let learns = port.learns();
        let mut parsed = false;
        let mut headers = Headers::parse(self.leading(start, end));
        let tagged =
            headers.is_some_and(|headers| matches!(headers.ethertype, ETH_P_8021Q | ETH_P_8021AD));
        if learns || tagged || !offload.is_none() {
            end = self.fill(reader, end, start + MAX_HEADERS)?;
            headers = Headers::parse(self.leading(start, end));
            parsed = true;
        }
        let Some(mut headers) = headers else {
            return Ok(Err(Reason::Runt));
        };
        let work = if offload.is_none() {
            None
        } else {
            let rest = reader.clone().skip(u64::MAX)?;
            let len = u32::try_from((end - start) as u64 + rest).unwrap_or(u32::MAX);
            let leading = self.leading(start, end);
            match Work::new(offload, Some(&headers), leading, len) {
                Some(work) => Some(work),
                None => return Ok(Err(Reason::Malformed)),
            }
        };
        if learns {
            port.learn(flow::symmetric(&headers), self.env.pair);
        }
        let route = match self.lookups.route(port, &headers, self.second) {
            // What was begun is ended in the same way.
            Route::To(_) if *self.flooded != 0 => Route::Flood,
            route => route,
        };
        let mut steered = Steered::default();
        if let Route::To(slot) = route {
            let wants = self
                .lookups
                .to(slot)
                .is_some_and(|(_, steering)| steering.wants_headers());
            if wants {
                if !parsed {
                    end = self.fill(reader, end, start + MAX_HEADERS)?;
                    headers = Headers::parse(self.leading(start, end)).unwrap_or(headers);
                }
                if let Some((port, steering)) = self.lookups.to(slot) {
                    steered = steering.steer(port, Some(&headers));
                }
            }
        }
        Ok(Ok(Look {
            start,
            end,
            headers,
            work,
            route,
            steered,
        }))
    }

    /// Reads bytes `from` to `to` of the scratch buffer, or as many as there are. Returns
    /// where they end.
    #[inline]
    fn fill<'m, W>(
        &mut self,
        reader: &mut Reader<'m, W>,
        from: usize,
        to: usize,
    ) -> Result<usize, QueueError>
    where
        W: crate::virtio::chain::Walk<'m>,
    {
        match self.scratch.bytes.get_mut(from..to) {
            Some(room) => Ok(from + reader.read(room)?),
            None => Ok(from),
        }
    }

    /// The bytes that were looked at.
    #[inline]
    fn leading(&self, start: usize, end: usize) -> &[u8] {
        self.scratch.bytes.get(start..end).unwrap_or(&[])
    }

    /// Takes a frame out of the queue. `bytes` is its length, if that is known.
    fn sent<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        frame: Frame<'m, 'a, Q>,
        bytes: Option<u64>,
    ) -> Result<(), Stop> {
        let bytes = match (bytes, &frame.work) {
            (Some(bytes), _) => bytes,
            (None, Some(work)) => work.len().into(),
            (None, None) => {
                let all = ring.reader(mem, &frame.head)?.skip(u64::MAX)?;
                all.saturating_sub(frame.start as u64)
            }
        };
        ring.complete_fully(mem, frame.head, 0)?;
        self.frames += 1;
        self.counters.packets += 1;
        self.counters.bytes += bytes;
        if let Some(work) = &frame.work {
            self.counters.checksums += 1;
            if work.is_segmented() {
                self.counters.large_packets += 1;
                self.counters.large_bytes += bytes;
            }
        }
        *self.flooded = 0;
        Ok(())
    }

    /// Delivers frames to one receive queue, beginning with `frame`, for as long as they
    /// are for that queue. Returns the next frame, if there is one.
    fn session<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        slot: usize,
        mut frame: Frame<'m, 'a, Q>,
    ) -> Result<Option<Frame<'m, 'a, Q>>, Stop> {
        let (route, pair) = (frame.route, frame.steered.pair);
        let receiver = match self.lookups.to(slot) {
            Some((port, _)) => port.receivers.get(usize::from(pair)).cloned(),
            None => None,
        };
        let Some(receiver) = receiver else {
            self.sent(ring, mem, frame, None)?;
            return self.next(ring, mem);
        };
        self.with(&receiver, |batch, session| loop {
            let bytes = batch.deliver(session, &mut frame)?;
            if let Err(error) = batch.sent(ring, mem, frame, bytes) {
                // Else the frame would come twice.
                session.undo();
                return Err(error);
            }
            match batch.next(ring, mem)? {
                Some(next) if next.route == route && next.steered.pair == pair => frame = next,
                next => return Ok(next),
            }
        })
    }

    /// Delivers a frame to all ports that it is for.
    #[cold]
    fn flood<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        mut frame: Frame<'m, 'a, Q>,
    ) -> Result<(), Stop> {
        self.lookups.find_targets(&self.env.port, &frame.headers);
        while let Some(port) = self.lookups.target(*self.flooded).cloned() {
            if !self.after.has_room() {
                return Err(Stop::Again);
            }
            let steering = port.steering();
            if steering.wants_headers() {
                self.look_deeper(&mut frame)?;
            }
            let steered = steering.steer(&port, Some(&frame.headers));
            frame.steered = steered;
            if let Some(receiver) = port.receivers.get(usize::from(steered.pair)) {
                let mut copy = frame.rest.clone();
                core::mem::swap(&mut copy, &mut frame.rest);
                let result = self.with(receiver, |batch, session| {
                    batch.deliver(session, &mut frame).map(drop)
                });
                frame.rest = copy;
                result?;
            }
            self.frames += 1;
            *self.flooded = port.name.number.saturating_add(1);
        }
        self.sent(ring, mem, frame, None)
    }

    /// Parses the headers of a frame that was looked at as an Ethernet frame only.
    fn look_deeper<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        frame: &mut Frame<'m, 'a, Q>,
    ) -> Result<(), Stop> {
        frame.end = self.fill(&mut frame.rest, frame.end, frame.start + MAX_HEADERS)?;
        if let Some(headers) = Headers::parse(self.leading(frame.start, frame.end)) {
            frame.headers = headers;
        }
        Ok(())
    }

    /// Delivers a frame to the receive queue of a session. Returns its length, if that is
    /// known then.
    #[inline]
    fn deliver<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        session: &mut Session<'_, '_>,
        frame: &mut Frame<'m, 'a, Q>,
    ) -> Result<Option<u64>, Stop> {
        let Scratch { bytes, built } = &mut *self.scratch;
        let source = Source {
            leading: bytes.get(frame.start..frame.end).unwrap_or(&[]),
            rest: &mut frame.rest,
            headers: Some(&frame.headers),
            work: frame.work.as_ref(),
            hash: frame.steered.hash,
        };
        match session.deliver(source, built) {
            Ok(bytes) => Ok(bytes),
            Err(Undelivered::Sender(error)) => Err(Stop::Sender(error)),
            Err(Undelivered::Receiver(place)) => Err(Stop::Receiver(place)),
        }
    }

    /// Does something while the lock of a receive queue is held, and shows its driver what
    /// it has got.
    fn with<R>(
        &mut self,
        receiver: &Arc<Worker<Receive>>,
        f: impl FnOnce(&mut Self, &mut Session<'_, '_>) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let Some(mut guard) = receiver.attachment().lock(self.context) else {
            // Another client's memory: has to be prepared anew.
            return Err(Stop::Again);
        };
        let reaches = guard.reaches_driver();
        let Ok((receive, access)) = guard.split() else {
            return Err(Stop::Again);
        };
        let mem = DeviceMemory(access);
        let mut session = Session::new(receive, &mem, reaches);
        let result = match session.begin() {
            Ok(()) => f(self, &mut session),
            Err(Undelivered::Receiver(place)) => Err(Stop::Receiver(place)),
            Err(Undelivered::Sender(error)) => Err(Stop::Sender(error)),
        };
        let end = session.end();
        if let End::Broken(_) = end {
            receive.vq.break_down();
        }
        drop(mem);
        drop(guard);
        match end {
            End::Quiet => {}
            End::Wake => Worker::wake(receiver),
            End::Raise(completed) => self.after.push(Action::Raise(receiver.clone(), completed)),
            End::Broken(fault) => self.after.push(Action::Broken(receiver.clone(), fault)),
            End::NotPresent(place) => {
                *self.unpublished = Some(receiver.clone());
                return Err(Stop::FaultIn(receiver.clone(), place));
            }
        }
        match result {
            Err(Stop::Receiver(place)) => Err(Stop::FaultIn(receiver.clone(), place)),
            result => result,
        }
    }
}
