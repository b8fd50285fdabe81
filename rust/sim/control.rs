// SPDX-License-Identifier: GPL-2.0

//! The control queue.
//!
//! The driver spins for each answer, so its worker is its own and its commands are short.

use super::{
    memory::DeviceMemory,
    queue::{
        Counters,
        Vq, //
    },
    shared::Shared,
    worker::{
        Failure,
        Next,
        Outcome,
        Task, //
    },
};
use crate::{
    vdpa::iommu::Area,
    virtio::{
        fault::QueueError,
        features::Features,
        net::{
            control,
            MacAddress, //
        },
        queue::Queue,
        ring::Engine, //
    },
};
use kernel::prelude::*;

/// How many commands are handled under the lock at a time.
const BATCH: u32 = 16;

/// Longer data than any command has.
const DATA_MAX: usize = 16;

/// The control virtqueue.
pub(super) struct ControlQueue {
    vq: Vq,
    features: Features,
}

/// One command, as the driver wrote it.
struct Command<'a> {
    class: u8,
    command: u8,
    data: &'a [u8],
}

fn failure(error: QueueError) -> Failure {
    Failure { slot: 0, error }
}

impl Task for ControlQueue {
    const ROLES: &'static [&'static str] = &["control"];

    fn vq(&mut self, slot: usize) -> Option<&mut Vq> {
        (slot == 0).then_some(&mut self.vq)
    }

    fn run(&mut self, mem: &DeviceMemory<'_>, shared: &Shared) -> Outcome {
        let mut commands = 0;
        let mut raise = false;
        let next = match self.batch(mem, shared, &mut commands, &mut raise) {
            Ok(next) => next,
            Err(error) => failure(error).next(self),
        };
        Outcome {
            raise: [raise, false],
            progress: commands > 0,
            next,
        }
    }
}

impl ControlQueue {
    /// Makes a control queue with room for a ring of `num_max` descriptors.
    pub(super) fn new(num_max: u16, offered: Features) -> Result<Self> {
        Ok(Self {
            vq: Vq::new(num_max, offered)?,
            features: Features::NONE,
        })
    }

    /// Sets the features that commands may rely on.
    pub(super) fn set_features(&mut self, features: Features) {
        self.features = features;
    }

    fn batch(
        &mut self,
        mem: &DeviceMemory<'_>,
        shared: &Shared,
        commands: &mut u32,
        raise: &mut bool,
    ) -> Result<Next, QueueError> {
        if !self.vq.is_running() {
            return Ok(Next::Sleep);
        }
        let features = self.features;
        let (ring, counters) = self.vq.engine();
        let device = Commands { features, shared };
        match ring {
            Engine::Split(ring) => device.run(ring, counters, mem, commands, raise),
            Engine::Packed(ring) => device.run(ring, counters, mem, commands, raise),
        }
    }
}

/// Who carries out commands.
struct Commands<'a> {
    features: Features,
    shared: &'a Shared,
}

impl Commands<'_> {
    fn run<Q: Queue<Area = Area>>(
        &self,
        ring: &mut Q,
        counters: &mut Counters,
        mem: &DeviceMemory<'_>,
        commands: &mut u32,
        raise: &mut bool,
    ) -> Result<Next, QueueError> {
        ring.begin(mem)?;
        ring.suppress_kicks(mem)?;
        let done = self.some(ring, counters, mem, commands);
        *raise = counters.publish(ring, mem)?;
        if done? && !ring.allow_kicks(mem)? {
            return Ok(Next::Sleep);
        }
        Ok(Next::Continue)
    }

    /// Handles commands. Returns whether there are no more.
    fn some<Q: Queue<Area = Area>>(
        &self,
        ring: &Q,
        counters: &mut Counters,
        mem: &DeviceMemory<'_>,
        commands: &mut u32,
    ) -> Result<bool, QueueError> {
        while *commands < BATCH {
            if !self.one(ring, counters, mem)? {
                return Ok(true);
            }
            *commands += 1;
        }
        Ok(false)
    }

    /// Handles one command. Returns whether there was one.
    ///
    /// If memory has to be brought in for the answer, the command is carried out again:
    /// none of them minds.
    fn one<Q: Queue<Area = Area>>(
        &self,
        ring: &Q,
        counters: &mut Counters,
        mem: &DeviceMemory<'_>,
    ) -> Result<bool, QueueError> {
        let Some(head) = ring.peek(mem)? else {
            return Ok(false);
        };
        let mut reader = ring.request(mem, &head)?;
        let mut header = [0; control::HEADER_LEN];
        let mut data = [0; DATA_MAX];
        let whole = reader.read(&mut header)? == header.len();
        let len = reader.read(&mut data)?;
        let whole = whole && reader.is_done()?;
        let mut writer = reader.into_writer()?;
        // Nothing is carried out for a chain that is not one to its end.
        writer.clone().skip(u64::MAX)?;

        let [class, command] = header;
        let understood = match data.get(..len) {
            Some(data) if whole => self.execute(&Command {
                class,
                command,
                data,
            }),
            _ => false,
        };
        let ack = if understood {
            control::OK
        } else {
            control::ERR
        };
        // A command without room for the answer is carried out, and has none.
        writer.write(&[ack])?;
        let written = writer.written();
        ring.complete(mem, head, written)?;

        counters.packets += 1;
        counters.bytes += (header.len() + len) as u64;
        if !understood {
            counters.errors += 1;
        }
        Ok(true)
    }

    /// Carries out a command. Returns whether it could be.
    fn execute(&self, command: &Command<'_>) -> bool {
        match (command.class, command.command) {
            (control::mac::CLASS, control::mac::ADDR_SET)
                if self.features.contains(Features::NET_CTRL_MAC_ADDR) =>
            {
                self.set_mac(command.data)
            }
            _ => false,
        }
    }

    fn set_mac(&self, data: &[u8]) -> bool {
        match <[u8; 6]>::try_from(data).map(MacAddress) {
            Ok(mac) if mac.is_unicast() => {
                if mac != self.shared.mac() {
                    self.shared.set_mac(mac);
                }
                true
            }
            _ => false,
        }
    }
}
