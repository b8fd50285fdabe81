// SPDX-License-Identifier: GPL-2.0

//! Bringing the frames of a transmit queue to where they go.

use super::{
    super::{
        deliver::{
            Delivered,
            Room,
            Source, //
        },
        lookups::Route,
        memory::DeviceMemory,
        receive::Receive,
        session::{
            End,
            Session, //
        },
        worker::{
            Action,
            Worker, //
        },
    },
    look::Frame,
    Batch,
    Scratch,
    Stop,
    LONG, //
};
use crate::{
    vdpa::iommu::Area,
    virtio::{
        chain::{
            Reader,
            Walk, //
        },
        memory::CopyTo,
        queue::Queue, //
    },
};
use kernel::sync::Arc;

impl Batch<'_, '_> {
    /// Delivers frames to one receive queue, beginning with `next`, for as long as they are
    /// for that queue. Leaves in `next` the one that is not, if there is one.
    pub(super) fn session<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        slot: usize,
        next: &mut Option<Frame<'m, 'a, Q>>,
    ) -> Result<(), Stop> {
        let pair = self.scratch.found.steered.pair;
        let receiver = match self.lookups.to(slot) {
            Some((port, _)) => port.receivers.get(usize::from(pair)).cloned(),
            None => None,
        };
        let Some(receiver) = receiver else {
            self.sent(ring, mem, next.take(), None)?;
            *next = self.next(ring, mem)?;
            return Ok(());
        };
        self.with(&receiver, |batch, session| {
            while let Some(frame) = next {
                if frame.route != Route::To(slot) || batch.scratch.found.steered.pair != pair {
                    break;
                }
                let (delivered, bytes) = batch.deliver(session, &mut frame.rest)?;
                if let Err(error) = batch.sent(ring, mem, next.take(), bytes) {
                    // Else the frame would come twice.
                    session.undo(&delivered);
                    return Err(error);
                }
                session.count(&delivered);
                if let Some(alike) = batch.alike(slot) {
                    batch.rush(ring, mem, session, &alike);
                    batch.keep(alike, &receiver);
                }
                *next = batch.next(ring, mem)?;
            }
            Ok(())
        })
    }

    /// Delivers a frame to all ports that it is for.
    #[cold]
    pub(super) fn flood<'m, 'a: 'm, Q: Queue<Area = Area>>(
        &mut self,
        ring: &'m Q,
        mem: &'m DeviceMemory<'a>,
        frame: &mut Option<Frame<'m, 'a, Q>>,
    ) -> Result<(), Stop> {
        if let Some(headers) = &self.scratch.found.headers {
            self.lookups.find_targets(&self.env.port, headers);
        }
        if *self.flooded == 0 && !self.after.has_room_for(self.lookups.targets()) {
            // A device that is suspended half-way would deliver it twice to some: the one
            // where the driver goes on does not know how far it came.
            return Err(Stop::Again);
        }
        while let (Some(port), Some(frame)) =
            (self.lookups.target(*self.flooded).cloned(), frame.as_mut())
        {
            if !self.after.has_room() {
                return Err(Stop::Again);
            }
            let steering = port.steering();
            if steering.wants_headers() {
                self.look_deeper(&mut frame.rest)?;
            }
            let headers = self.scratch.found.headers.as_ref();
            let steered = steering.steer(&port.flows, headers);
            self.scratch.found.steered = steered;
            if let Some(receiver) = port.receivers.get(usize::from(steered.pair)) {
                // The others want to read it, too.
                let mut rest = frame.rest.clone();
                self.with(receiver, |batch, session| {
                    let (delivered, _) = batch.deliver(session, &mut rest)?;
                    session.count(&delivered);
                    Ok(())
                })?;
            }
            self.frames += 1;
            self.spent += LONG;
            *self.flooded = port.name.number.saturating_add(1);
        }
        self.lookups.count_strangers();
        self.sent(ring, mem, frame.take(), None)
    }

    /// Delivers a frame to the receive queue of a session; see [`Session::deliver`].
    #[inline]
    fn deliver<'m, W>(
        &mut self,
        session: &mut Session<'_, '_>,
        rest: &mut Reader<'m, W>,
    ) -> Result<(Delivered, Option<u64>), Stop>
    where
        W: Walk<'m>,
        W::Memory: for<'d> CopyTo<DeviceMemory<'d>>,
    {
        let Scratch {
            bytes,
            built,
            found,
        } = &mut *self.scratch;
        let source = Source {
            leading: bytes.get(found.start..found.end).unwrap_or(&[]),
            rest,
            headers: found.headers.as_ref(),
            work: found.work.as_ref(),
            hash: found.steered.hash,
        };
        let room = Room {
            built,
            chains: Some(self.stage.targets()),
        };
        Ok(session.deliver(source, room)?)
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
            Err(undelivered) => Err(undelivered.into()),
        };
        let end = session.end();
        if let End::Broken(_) = end {
            receive.vq.break_down();
        }
        drop(guard);
        match end {
            End::Completed(0, false) => {}
            End::Wake => Worker::wake(receiver),
            End::Completed(completed, raise) => {
                let action = Action::Completed(receiver.clone(), completed, raise);
                self.after.push(action);
            }
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
