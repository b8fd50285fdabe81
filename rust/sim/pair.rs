// SPDX-License-Identifier: GPL-2.0

//! A queue pair: frames go from the transmit queue back into the receive queue.

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
        chain::{
            Reader,
            Walk, //
        },
        fault::{
            QueueError,
            TransferError, //
        },
        features::Features,
        net::{
            MacAddress,
            NetHeader, //
        },
        queue::Queue,
        ring::Engine, //
    },
};
use kernel::prelude::*;

/// Length of an Ethernet header, in bytes.
const ETH_HEADER: usize = 14;

/// How many frames are handled under the lock at a time.
const BATCH: u32 = 64;

/// The receive queue.
const RX: usize = 0;
/// The transmit queue.
const TX: usize = 1;

fn rx(error: QueueError) -> Failure {
    Failure { slot: RX, error }
}

fn tx(error: QueueError) -> Failure {
    Failure { slot: TX, error }
}

/// A receive queue and a transmit queue.
pub(super) struct Pair {
    rx: Vq,
    tx: Vq,
}

/// What became of a frame.
#[derive(Clone, Copy)]
enum Delivery {
    /// It lies in the receive queue, with so many bytes.
    Delivered(u64),
    /// It is for somebody else.
    Filtered,
    /// There was no receive buffer.
    NoBuffer,
    /// The receive buffer was too small, and stays for the next frame.
    TooLarge,
}

impl Task for Pair {
    const ROLES: &'static [&'static str] = &["receive", "transmit"];

    fn vq(&mut self, slot: usize) -> Option<&mut Vq> {
        match slot {
            RX => Some(&mut self.rx),
            TX => Some(&mut self.tx),
            _ => None,
        }
    }

    fn run(&mut self, mem: &DeviceMemory<'_>, shared: &Shared) -> Outcome {
        let mut frames = 0;
        let mut raise = [false; 2];
        let next = match self.batch(mem, shared, &mut frames, &mut raise) {
            Ok(next) => next,
            Err(failure) => failure.next(self),
        };
        Outcome {
            raise,
            progress: frames > 0,
            next,
        }
    }
}

impl Pair {
    /// Makes a pair with room for rings of `num_max` descriptors.
    pub(super) fn new(num_max: u16, offered: Features) -> Result<Self> {
        Ok(Self {
            rx: Vq::new(num_max, offered)?,
            tx: Vq::new(num_max, offered)?,
        })
    }

    fn batch(
        &mut self,
        mem: &DeviceMemory<'_>,
        shared: &Shared,
        frames: &mut u32,
        raise: &mut [bool; 2],
    ) -> Result<Next, Failure> {
        if !self.tx.is_running() {
            return Ok(Next::Sleep);
        }
        let receives = self.rx.is_running();
        let (rx, rx_counters) = self.rx.engine();
        let (tx, tx_counters) = self.tx.engine();
        let counters = (rx_counters, tx_counters);
        let mac = shared.mac();
        // From here on the format is known, and the code is that for this format alone.
        match (rx, tx) {
            (Engine::Split(rx), Engine::Split(tx)) => {
                Batch::new(receives.then_some(rx), tx, counters).run(mem, mac, frames, raise)
            }
            (Engine::Packed(rx), Engine::Packed(tx)) => {
                Batch::new(receives.then_some(rx), tx, counters).run(mem, mac, frames, raise)
            }
            // All that run have one format: this receive queue does not.
            (Engine::Packed(_), Engine::Split(tx)) => {
                Batch::new(None, tx, counters).run(mem, mac, frames, raise)
            }
            (Engine::Split(_), Engine::Packed(tx)) => {
                Batch::new(None, tx, counters).run(mem, mac, frames, raise)
            }
        }
    }
}

/// The rings of a pair, of one format, during a batch.
struct Batch<'q, Q> {
    /// None if the receive queue does not run.
    rx: Option<&'q mut Q>,
    tx: &'q mut Q,
    rx_counters: &'q mut Counters,
    tx_counters: &'q mut Counters,
}

impl<'q, Q: Queue<Area = Area>> Batch<'q, Q> {
    fn new(
        rx: Option<&'q mut Q>,
        tx: &'q mut Q,
        (rx_counters, tx_counters): (&'q mut Counters, &'q mut Counters),
    ) -> Self {
        Self {
            rx,
            tx,
            rx_counters,
            tx_counters,
        }
    }

    fn run(
        mut self,
        mem: &DeviceMemory<'_>,
        mac: MacAddress,
        frames: &mut u32,
        raise: &mut [bool; 2],
    ) -> Result<Next, Failure> {
        self.begin(mem)?;
        let done = self.forward(mem, mac, frames);
        // Also after a failure: what was delivered must be seen.
        if let Some(ring) = &self.rx {
            raise[RX] = self.rx_counters.publish(&**ring, mem).map_err(rx)?;
        }
        raise[TX] = self.tx_counters.publish(&*self.tx, mem).map_err(tx)?;
        if done? && !self.tx.allow_kicks(mem).map_err(tx)? {
            return Ok(Next::Sleep);
        }
        Ok(Next::Continue)
    }

    fn begin(&mut self, mem: &DeviceMemory<'_>) -> Result<(), Failure> {
        self.tx.begin(mem).map_err(tx)?;
        self.tx.suppress_kicks(mem).map_err(tx)?;
        if let Some(ring) = &mut self.rx {
            ring.begin(mem).map_err(rx)?;
            // Frames do not wait for receive buffers, so nobody needs to tell of them.
            ring.suppress_kicks(mem).map_err(rx)?;
        }
        Ok(())
    }

    /// Handles frames. Returns whether there are no more.
    fn forward(
        &mut self,
        mem: &DeviceMemory<'_>,
        mac: MacAddress,
        frames: &mut u32,
    ) -> Result<bool, Failure> {
        while *frames < BATCH {
            if !self.frame(mem, mac)? {
                return Ok(true);
            }
            *frames += 1;
        }
        Ok(false)
    }

    /// Handles one frame. Returns whether there was one.
    ///
    /// Nothing is consumed on failure, so that it can be called again.
    fn frame(&mut self, mem: &DeviceMemory<'_>, mac: MacAddress) -> Result<bool, Failure> {
        let Some(head) = self.tx.peek(mem).map_err(tx)? else {
            return Ok(false);
        };
        let mut reader = self.tx.reader(mem, &head).map_err(tx)?;

        // What the header says is of no use, because no offload is offered; but it must be
        // there.
        let mut header = [0; NetHeader::LEN];
        let mut ethernet = [0; ETH_HEADER];
        let runt = reader.read(&mut header).map_err(tx)? < header.len()
            || reader.read(&mut ethernet).map_err(tx)? < ethernet.len();
        if runt {
            self.tx.complete(mem, head, 0).map_err(tx)?;
            self.tx_counters.drops_runt += 1;
            return Ok(true);
        }

        let receiver = self.rx.as_deref();
        let mark = receiver.map(Queue::mark);
        let delivery = match receiver {
            _ if !is_for(&ethernet, mac) => Delivery::Filtered,
            Some(ring) => deliver(ring, mem, &mut reader, &ethernet)?,
            None => Delivery::NoBuffer,
        };
        let bytes = match delivery {
            Delivery::Delivered(bytes) => bytes,
            // It counts as sent nevertheless, with the bytes that it has.
            _ => ETH_HEADER as u64 + reader.skip(u64::MAX).map_err(tx)?,
        };
        if let Err(error) = self.tx.complete(mem, head, 0) {
            // Else the frame would come twice.
            if let (Some(ring), Some(mark)) = (receiver, mark) {
                ring.rewind(mark);
            }
            return Err(tx(error));
        }

        self.tx_counters.packets += 1;
        self.tx_counters.bytes += bytes;
        match delivery {
            Delivery::Delivered(bytes) => {
                self.rx_counters.packets += 1;
                self.rx_counters.bytes += bytes;
            }
            Delivery::Filtered => self.rx_counters.drops_filtered += 1,
            Delivery::NoBuffer => self.rx_counters.drops_no_buffer += 1,
            Delivery::TooLarge => self.rx_counters.drops_too_large += 1,
        }
        Ok(true)
    }
}

/// Copies a frame, of which `ethernet` was read already, to the next receive buffer.
///
/// The bytes that were looked at are those that are delivered, whatever the driver has put
/// in their place meanwhile.
fn deliver<'m, 'a: 'm, Q, W>(
    ring: &Q,
    mem: &DeviceMemory<'a>,
    reader: &mut Reader<'m, W>,
    ethernet: &[u8; ETH_HEADER],
) -> Result<Delivery, Failure>
where
    Q: Queue<Area = Area>,
    W: Walk<'m, Memory = DeviceMemory<'a>>,
{
    let Some(head) = ring.peek(mem).map_err(rx)? else {
        return Ok(Delivery::NoBuffer);
    };
    let mut writer = ring.writer(mem, &head).map_err(rx)?;
    let header = NetHeader {
        num_buffers: 1,
        ..NetHeader::default()
    }
    .to_bytes();
    let fits = writer.write(&header).map_err(rx)? == header.len()
        && writer.write(ethernet).map_err(rx)? == ethernet.len();
    if !fits {
        return Ok(Delivery::TooLarge);
    }
    let rest = reader.copy_to(&mut writer, u64::MAX).map_err(|e| match e {
        TransferError::Source(error) => tx(error),
        TransferError::Destination(error) => rx(error),
    })?;
    if !reader.is_done().map_err(tx)? {
        return Ok(Delivery::TooLarge);
    }
    let written = writer.written();
    ring.complete(mem, head, written).map_err(rx)?;
    Ok(Delivery::Delivered(ETH_HEADER as u64 + rest))
}

/// Whether a device with address `mac` takes this frame: its own, broadcast, multicast.
fn is_for(ethernet: &[u8; ETH_HEADER], mac: MacAddress) -> bool {
    let [a, b, c, d, e, f, ..] = *ethernet;
    let to = MacAddress([a, b, c, d, e, f]);
    to == mac || to.is_multicast()
}
