// SPDX-License-Identifier: GPL-2.0

//! A receive queue while frames are delivered to it, under its lock.

use super::{
    deliver::{
        Delivered,
        Room,
        Source,
        Target, //
    },
    format::Format,
    inbox::Inbox,
    memory::DeviceMemory,
    packet::Full,
    queue::{
        Completions,
        Counters, //
    },
    receive::Receive,
};
use crate::{
    vdpa::iommu::Area,
    virtio::{
        chain::{
            Reader,
            Walk, //
        },
        fault::{
            Fault,
            Place,
            QueueError,
            TransferError, //
        },
        memory::CopyTo,
        net::NetHeader,
        packed,
        queue::Queue,
        ring::Engine,
        split, //
    },
};

/// Does the same to a queue of either format.
macro_rules! with_ring {
    ($engine:expr, $ring:ident => $do:expr) => {
        match $engine {
            Engine::Split($ring) => $do,
            Engine::Packed($ring) => $do,
        }
    };
}
pub(super) use with_ring;

/// Why a frame is not delivered now.
pub(super) enum Undelivered {
    /// Something is wrong with the transmit queue that it comes from.
    Sender(QueueError),
    /// Memory of the receive queue has to be brought in.
    Receiver(Place),
}

/// What is to be done after a session.
pub(super) enum End {
    /// The worker of the queue is to look at what waits.
    Wake,
    /// So many chains were completed, for which the driver wants to be interrupted or not.
    Completed(u32, bool),
    /// The driver broke a rule: the queue is to be stopped.
    Broken(Fault),
    /// Memory has to be brought in before the driver can be shown what it has got.
    NotPresent(Place),
}

/// How far a queue was.
enum Mark {
    Split(split::Mark),
    Packed(packed::Mark),
}

/// A receive queue that frames are delivered to.
pub(super) struct Session<'r, 'a> {
    /// None if the queue does not run, or no longer.
    ring: Option<Engine<'r, Area, Completions>>,
    /// Where frames wait instead, if the driver's memory cannot be reached here.
    inbox: Option<&'r mut Inbox>,
    mem: &'r DeviceMemory<'a>,
    format: Format,
    counters: &'r mut Counters,
    /// Where the queue was before the last frame.
    mark: Option<Mark>,
    completed: u32,
    fault: Option<Fault>,
}

impl<'r, 'a> Session<'r, 'a> {
    /// Takes up a queue, whose driver's memory the caller reaches or not.
    #[inline]
    pub(super) fn new(
        receive: &'r mut Receive,
        mem: &'r DeviceMemory<'a>,
        reaches_driver: bool,
    ) -> Self {
        let format = receive.format;
        let runs = receive.vq.is_running() && reaches_driver;
        let waits = receive.vq.is_running() && !reaches_driver;
        let (ring, counters) = receive.vq.engine();
        Self {
            ring: runs.then_some(ring),
            inbox: match &mut receive.inbox {
                Some(inbox) if waits => Some(inbox),
                _ => None,
            },
            mem,
            format,
            counters,
            mark: None,
            completed: 0,
            fault: None,
        }
    }

    /// Finds the memory of the queue.
    #[inline]
    pub(super) fn begin(&mut self) -> Result<(), Undelivered> {
        let mem = self.mem;
        let Some(ring) = &mut self.ring else {
            return Ok(());
        };
        // Frames do not wait for buffers, so nobody needs to tell of them.
        let result =
            with_ring!(ring, ring => ring.begin(mem).and_then(|()| ring.suppress_kicks(mem)));
        result.or_else(|error| self.failed(error))
    }

    /// Delivers a frame, or drops it if the queue cannot take it. Returns what was
    /// delivered, for [`count`](Self::count), and the length of the frame, if that is known
    /// then.
    #[inline]
    pub(super) fn deliver<'s, W>(
        &mut self,
        source: Source<'_, '_, Reader<'s, W>>,
        room: Room<'_>,
    ) -> Result<(Delivered, Option<u64>), Undelivered>
    where
        W: Walk<'s>,
        W::Memory: for<'d> CopyTo<DeviceMemory<'d>>,
    {
        let (mem, format) = (self.mem, self.format);
        let whole = source.work.is_none();
        if let Some(inbox) = &mut self.inbox {
            // What waits is counted when it is delivered.
            return match inbox.put(source) {
                Ok(Ok(bytes)) => Ok((Delivered::default(), Some(bytes))),
                Ok(Err(full)) => Ok((Delivered::nothing(full), None)),
                Err(error) => Err(Undelivered::Sender(error)),
            };
        }
        let result = match &mut self.ring {
            None => Ok(Delivered::nothing(Full::NoBuffer)),
            Some(Engine::Split(ring)) => {
                self.mark = Some(Mark::Split(ring.mark()));
                Target {
                    ring: &**ring,
                    mem,
                    format,
                }
                .deliver(source, room)
            }
            Some(Engine::Packed(ring)) => {
                self.mark = Some(Mark::Packed(ring.mark()));
                Target {
                    ring: &**ring,
                    mem,
                    format,
                }
                .deliver(source, room)
            }
        };
        let delivered = match result {
            Ok(delivered) => delivered,
            Err(error) => {
                self.rewind();
                match error {
                    TransferError::Source(error) => return Err(Undelivered::Sender(error)),
                    TransferError::Destination(error) => self.failed(error)?,
                }
                Delivered::nothing(Full::NoBuffer)
            }
        };
        let length = (whole && delivered.full.is_none()).then_some(delivered.bytes);
        Ok((delivered, length))
    }

    /// The ring and its memory, if frames can be put there without further ado: if the queue
    /// runs, the memory can be reached, and the virtio header is the short one.
    #[inline]
    pub(super) fn direct(&self) -> Option<(&Engine<'r, Area, Completions>, &'r DeviceMemory<'a>)> {
        if self.format.header_len != NetHeader::LEN {
            return None;
        }
        Some((self.ring.as_ref()?, self.mem))
    }

    /// Counts what was put there.
    #[inline]
    pub(super) fn count_direct(&mut self, frames: u32, bytes: u64) {
        self.completed += frames;
        self.counters.packets += u64::from(frames);
        self.counters.bytes += bytes;
    }

    /// Counts what was delivered, when it is not going to be taken back.
    #[inline]
    pub(super) fn count(&mut self, delivered: &Delivered) {
        self.completed += delivered.buffers;
        self.counters.packets += u64::from(delivered.frames);
        self.counters.bytes += delivered.bytes;
        self.counters.checksums += u64::from(delivered.checksums);
        if delivered.large {
            self.counters.large_packets += 1;
            self.counters.large_bytes += delivered.bytes;
        }
        match delivered.full {
            Some(Full::NoBuffer) => self.counters.drops_no_buffer += 1,
            Some(Full::TooLarge) => self.counters.drops_too_large += 1,
            None => {}
        }
    }

    /// Takes the last frame back.
    #[cold]
    pub(super) fn undo(&mut self, delivered: &Delivered) {
        match &mut self.inbox {
            Some(inbox) if delivered.full.is_none() => inbox.drop_last(),
            Some(_) => {}
            None => self.rewind(),
        }
    }

    /// Takes back what was written of the last frame.
    #[cold]
    fn rewind(&mut self) {
        match (&mut self.ring, self.mark.take()) {
            (Some(Engine::Split(ring)), Some(Mark::Split(mark))) => ring.rewind(mark),
            (Some(Engine::Packed(ring)), Some(Mark::Packed(mark))) => ring.rewind(mark),
            _ => {}
        }
    }

    /// Shows the driver what it has got.
    #[inline]
    pub(super) fn end(mut self) -> End {
        let mem = self.mem;
        if self.inbox.as_ref().is_some_and(|inbox| !inbox.is_empty()) {
            return End::Wake;
        }
        let mut raise = false;
        if let Some(ring) = &self.ring {
            let counters = &mut *self.counters;
            match with_ring!(ring, ring => counters.publish(&**ring, mem)) {
                Ok(wanted) => raise = wanted,
                Err(error) => {
                    if let Err(Undelivered::Receiver(place)) = self.failed(error) {
                        return End::NotPresent(place);
                    }
                }
            }
        }
        match self.fault {
            Some(fault) => End::Broken(fault),
            None => End::Completed(self.completed, raise),
        }
    }

    /// Notes an error of the queue. What can be mended is returned.
    #[cold]
    fn failed(&mut self, error: QueueError) -> Result<(), Undelivered> {
        match error {
            QueueError::NotPresent(place) => Err(Undelivered::Receiver(place)),
            QueueError::Fault(fault) => {
                self.fault = Some(fault);
                self.ring = None;
                Ok(())
            }
        }
    }
}
