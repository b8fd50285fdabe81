// SPDX-License-Identifier: GPL-2.0

//! The control queue.
//!
//! The driver spins for each answer, so its worker is its own and its commands are short.

use super::{
    command::{
        Commander,
        Wishes, //
    },
    memory::DeviceMemory,
    queue::{
        Counters,
        Vq, //
    },
    shared::Shared,
    worker::{
        After,
        Mode,
        Next,
        Outcome,
        Task, //
    },
};
use crate::{
    vdpa::iommu::{
        Area,
        Context, //
    },
    virtio::{
        fault::{
            Fault,
            QueueError, //
        },
        features::Features,
        net::control::{
            self,
            Command,
            Limits, //
        },
        queue::Queue,
        ring::Engine, //
    },
};
use kernel::prelude::*;

/// How many commands are handled under the lock at a time.
const BATCH: u32 = 16;

/// The control virtqueue.
pub(super) struct ControlQueue {
    vq: Vq,
    /// What bounds commands.
    limits: Limits,
    /// What commands have asked for. Apart, or an idle device would take half a KiB more.
    wishes: KBox<Wishes>,
    /// Room for the data of a command.
    data: KVec<u8>,
}

impl ControlQueue {
    /// Makes a control queue with room for a ring of `num_max` descriptors.
    pub(super) fn new(num_max: u16, offered: Features, limits: Limits) -> Result<Self> {
        Ok(Self {
            vq: Vq::new(num_max, offered)?,
            limits,
            wishes: KBox::new(Wishes::default(), GFP_KERNEL)?,
            data: KVec::from_elem(0, control::MAX_DATA_LEN, GFP_KERNEL)?,
        })
    }

    /// Sets what commands may ask for. What they have asked for so far is forgotten.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        *self.wishes = Wishes::default();
    }
}

impl Task for ControlQueue {
    const ROLE: &'static str = "control";

    type Env = Commander;

    fn vq(&mut self) -> &mut Vq {
        &mut self.vq
    }

    fn index(_index: u16, shared: &Shared) -> u16 {
        shared.control_index()
    }

    fn run(
        &mut self,
        _context: &Context<'_>,
        mem: &DeviceMemory<'_>,
        env: &Commander,
        _mode: Mode,
        _after: &mut After,
    ) -> Outcome {
        let mut commands = Commands {
            env,
            limits: &self.limits,
            wishes: &mut self.wishes,
            data: &mut self.data,
            handled: 0,
            raise: false,
        };
        let result = if self.vq.is_running() {
            let (ring, counters) = self.vq.engine();
            match ring {
                Engine::Split(ring) => commands.run(ring, counters, mem),
                Engine::Packed(ring) => commands.run(ring, counters, mem),
            }
        } else {
            Ok(Next::Sleep)
        };
        let (handled, raise) = (commands.handled, commands.raise);
        Outcome {
            completed: handled,
            raise,
            next: result.unwrap_or_else(|error| Next::after(error, &mut self.vq)),
        }
    }
}

/// What happens during a batch.
struct Commands<'a> {
    env: &'a Commander,
    limits: &'a Limits,
    wishes: &'a mut Wishes,
    data: &'a mut [u8],
    handled: u32,
    raise: bool,
}

impl Commands<'_> {
    fn run<Q: Queue<Area = Area>>(
        &mut self,
        ring: &mut Q,
        counters: &mut Counters,
        mem: &DeviceMemory<'_>,
    ) -> Result<Next, QueueError> {
        ring.begin(mem)?;
        ring.suppress_kicks(mem)?;
        let done = self.some(ring, counters, mem);
        self.raise = counters.publish(ring, mem)?;
        if done? && !ring.allow_kicks(mem)? {
            return Ok(Next::Sleep);
        }
        Ok(Next::Continue)
    }

    /// Handles commands. Returns whether there are no more.
    fn some<Q: Queue<Area = Area>>(
        &mut self,
        ring: &Q,
        counters: &mut Counters,
        mem: &DeviceMemory<'_>,
    ) -> Result<bool, QueueError> {
        while self.handled < BATCH {
            if !self.one(ring, counters, mem)? {
                return Ok(true);
            }
            self.handled += 1;
        }
        Ok(false)
    }

    /// Handles one command. Returns whether there was one.
    ///
    /// If memory has to be brought in for the answer, the command is carried out again:
    /// none of them minds.
    fn one<Q: Queue<Area = Area>>(
        &mut self,
        ring: &Q,
        counters: &mut Counters,
        mem: &DeviceMemory<'_>,
    ) -> Result<bool, QueueError> {
        let Some(head) = ring.peek(mem)? else {
            return Ok(false);
        };
        let mut reader = ring.request(mem, &head)?;
        let mut header = [0; control::HEADER_LEN];
        let whole = reader.read(&mut header)? == header.len();
        let len = reader.read(self.data)?;
        let whole = whole && reader.is_done()?;
        let mut writer = reader.into_writer()?;
        // Nothing is carried out for a chain that is not one to its end.
        let room = writer.clone().skip(u64::MAX)?;
        if room == 0 {
            return Err(Fault::NoAnswer.into());
        }

        let data = self.data.get(..len).unwrap_or(&[]);
        let parsed = if whole {
            Command::parse(header, data, self.limits).ok()
        } else {
            None
        };
        let done = parsed.and_then(|command| {
            let so_far = (counters.packets, counters.errors);
            self.env.execute(&command, self.limits, self.wishes, so_far)
        });
        let ack = [if done.is_some() {
            control::OK
        } else {
            control::ERR
        }];
        writer.write(&ack)?;
        if let Some(answer) = &done {
            self.env.answer(answer, room, &mut writer)?;
        }
        let written = writer.written();
        ring.complete(mem, head, written)?;

        counters.packets += 1;
        counters.bytes += (header.len() + len) as u64;
        if done.is_none() {
            counters.errors += 1;
        }
        Ok(true)
    }
}
