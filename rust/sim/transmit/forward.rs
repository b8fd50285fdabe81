// SPDX-License-Identifier: GPL-2.0

//! Bringing the frames of a transmit queue to where they go.

use super::{
    super::{
        deliver::Source,
        memory::DeviceMemory,
        receive::Receive,
        session::{
            End,
            Session,
            Undelivered, //
        },
        worker::{
            Action,
            Worker, //
        },
    },
    look::Frame,
    Batch,
    Scratch,
    Stop, //
};
use crate::{
    vdpa::iommu::Area,
    virtio::queue::Queue, //
};
use kernel::sync::Arc;

impl Batch<'_, '_> {
    /// Delivers frames to one receive queue, beginning with `frame`, for as long as they
    /// are for that queue. Returns the next frame, if there is one.
    pub(super) fn session<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        slot: usize,
        mut frame: Frame<'m, 'a, Q>,
    ) -> Result<Option<Frame<'m, 'a, Q>>, Stop> {
        let (route, pair) = (frame.look.route, frame.look.steered.pair);
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
                Some(next) if next.look.route == route && next.look.steered.pair == pair => {
                    frame = next
                }
                next => return Ok(next),
            }
        })
    }

    /// Delivers a frame to all ports that it is for.
    #[cold]
    pub(super) fn flood<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        mut frame: Frame<'m, 'a, Q>,
    ) -> Result<(), Stop> {
        self.lookups
            .find_targets(&self.env.port, &frame.look.headers);
        while let Some(port) = self.lookups.target(*self.flooded).cloned() {
            if !self.after.has_room() {
                return Err(Stop::Again);
            }
            let steering = port.steering();
            if steering.wants_headers() {
                self.look_deeper(&mut frame)?;
            }
            let steered = steering.steer(&port, Some(&frame.look.headers));
            frame.look.steered = steered;
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
            leading: bytes.get(frame.look.start..frame.look.end).unwrap_or(&[]),
            rest: &mut frame.rest,
            headers: Some(&frame.look.headers),
            work: frame.look.work.as_ref(),
            hash: frame.look.steered.hash,
        };
        match session.deliver(source, built) {
            Ok(bytes) => Ok(bytes),
            Err(Undelivered::Sender(error)) => Err(Stop::Sender(error)),
            Err(Undelivered::Receiver(place)) => Err(Stop::Receiver(place)),
        }
    }

    /// Does something while the lock of a receive queue is held, and shows its driver what
    /// it has got.
    pub(super) fn with<R>(
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
