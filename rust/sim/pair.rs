// SPDX-License-Identifier: GPL-2.0

//! A queue pair: frames go from the transmit queue back into the receive queue.

use super::{
    memory::DeviceMemory,
    queue::Vq,
    shared::Shared,
    worker::{
        Failure,
        Next,
        Outcome,
        Task, //
    },
};
use crate::virtio::{
    chain::Reader,
    fault::{
        QueueError,
        TransferError, //
    },
    net::{
        MacAddress,
        NetHeader, //
    },
    queue::Queue,
    split::SplitWalk,
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
    pub(super) fn new(num_max: u16) -> Result<Self> {
        Ok(Self {
            rx: Vq::new(num_max)?,
            tx: Vq::new(num_max)?,
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
        self.begin(mem)?;
        let done = self.forward(mem, shared.mac(), frames);
        // Also after a failure: what was delivered must be seen.
        if self.rx.is_running() {
            raise[RX] = self.rx.publish(mem).map_err(rx)?;
        }
        raise[TX] = self.tx.publish(mem).map_err(tx)?;
        if done? && !self.tx.ring.allow_kicks(mem).map_err(tx)? {
            return Ok(Next::Sleep);
        }
        Ok(Next::Continue)
    }

    fn begin(&mut self, mem: &DeviceMemory<'_>) -> Result<(), Failure> {
        self.tx.ring.begin(mem).map_err(tx)?;
        self.tx.ring.suppress_kicks(mem).map_err(tx)?;
        if self.rx.is_running() {
            self.rx.ring.begin(mem).map_err(rx)?;
            // Frames do not wait for receive buffers, so nobody needs to tell of them.
            self.rx.ring.suppress_kicks(mem).map_err(rx)?;
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
        let Some(head) = self.tx.ring.peek(mem).map_err(tx)? else {
            return Ok(false);
        };
        let mut reader = self.tx.ring.reader(mem, &head).map_err(tx)?;

        // What the header says is of no use, because no offload is offered; but it must be
        // there.
        let mut header = [0; NetHeader::LEN];
        let mut ethernet = [0; ETH_HEADER];
        let runt = reader.read(&mut header).map_err(tx)? < header.len()
            || reader.read(&mut ethernet).map_err(tx)? < ethernet.len();
        if runt {
            self.tx.ring.complete(mem, head, 0).map_err(tx)?;
            self.tx.counters.drops_runt += 1;
            return Ok(true);
        }

        let mark = self.rx.ring.mark();
        let delivery = if is_for(&ethernet, mac) {
            Self::deliver(&self.rx, mem, &mut reader, &ethernet)?
        } else {
            Delivery::Filtered
        };
        let bytes = match delivery {
            Delivery::Delivered(bytes) => bytes,
            // It counts as sent nevertheless, with the bytes that it has.
            _ => ETH_HEADER as u64 + reader.skip(u64::MAX).map_err(tx)?,
        };
        if let Err(error) = self.tx.ring.complete(mem, head, 0) {
            // Else the frame would come twice.
            self.rx.ring.rewind(mark);
            return Err(tx(error));
        }

        self.tx.counters.packets += 1;
        self.tx.counters.bytes += bytes;
        match delivery {
            Delivery::Delivered(bytes) => {
                self.rx.counters.packets += 1;
                self.rx.counters.bytes += bytes;
            }
            Delivery::Filtered => self.rx.counters.drops_filtered += 1,
            Delivery::NoBuffer => self.rx.counters.drops_no_buffer += 1,
            Delivery::TooLarge => self.rx.counters.drops_too_large += 1,
        }
        Ok(true)
    }

    /// Copies a frame, of which `ethernet` was read already, to the next receive buffer.
    ///
    /// The bytes that were looked at are those that are delivered, whatever the driver has
    /// put in their place meanwhile.
    fn deliver<'m, 'a: 'm>(
        to: &Vq,
        mem: &DeviceMemory<'a>,
        reader: &mut Reader<'m, SplitWalk<'m, DeviceMemory<'a>>>,
        ethernet: &[u8; ETH_HEADER],
    ) -> Result<Delivery, Failure> {
        if !to.is_running() {
            return Ok(Delivery::NoBuffer);
        }
        let Some(head) = to.ring.peek(mem).map_err(rx)? else {
            return Ok(Delivery::NoBuffer);
        };
        let mut writer = to.ring.writer(mem, &head).map_err(rx)?;
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
        to.ring.complete(mem, head, written).map_err(rx)?;
        Ok(Delivery::Delivered(ETH_HEADER as u64 + rest))
    }
}

/// Whether a device with address `mac` takes this frame: its own, broadcast, multicast.
fn is_for(ethernet: &[u8; ETH_HEADER], mac: MacAddress) -> bool {
    let [a, b, c, d, e, f, ..] = *ethernet;
    let to = MacAddress([a, b, c, d, e, f]);
    to == mac || to.is_multicast()
}
