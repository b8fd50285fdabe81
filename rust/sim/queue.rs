// SPDX-License-Identifier: GPL-2.0

//! One virtqueue: what the bus has set, and whether the ring runs.

use super::memory::DeviceMemory;
use crate::{
    vdpa::{
        iommu::Area,
        VqAddress, //
    },
    virtio::{
        fault::QueueError,
        features::Features,
        layout::{
            Area as Part,
            LayoutError,
            QueueLayout, //
        },
        packed::{
            self,
            Completion,
            PackedQueue, //
        },
        queue::{
            Interrupt,
            Queue, //
        },
        ring::{
            Engine,
            RingQueue,
            State, //
        },
        split::SplitQueue, //
    },
};
use core::cell::Cell;
use kernel::prelude::*;

/// Room for what a packed ring has completed and not published.
pub(super) type Completions = KVVec<Cell<Completion>>;

/// What happened on a virtqueue since the device was made. Survives resets.
#[derive(Clone, Copy, Default)]
pub(super) struct Counters {
    /// Frames, or commands of the control queue, and their bytes without virtio headers.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Frames whose checksum is left to the one who gets them.
    pub(super) checksums: u64,
    /// Frames that are left to be segmented by the one who gets them, and their bytes.
    pub(super) large_packets: u64,
    pub(super) large_bytes: u64,
    /// Frames shorter than an Ethernet header.
    pub(super) drops_runt: u64,
    /// Frames whose virtio header says what cannot be.
    pub(super) drops_malformed: u64,
    /// Frames that were sent while there was no link.
    pub(super) drops_link_down: u64,
    /// Frames that found no receive buffer, or not enough of them.
    pub(super) drops_no_buffer: u64,
    /// Frames larger than the receive buffer they found.
    pub(super) drops_too_large: u64,
    /// Commands that were answered with an error, and rules that the driver broke.
    pub(super) errors: u64,
    pub(super) interrupts_raised: u64,
    pub(super) interrupts_suppressed: u64,
}

impl Counters {
    /// Frames that nobody got.
    pub(super) fn drops(&self) -> u64 {
        self.drops_runt
            + self.drops_malformed
            + self.drops_link_down
            + self.drops_no_buffer
            + self.drops_too_large
    }

    /// Adds what happened during a batch.
    pub(super) fn add(&mut self, batch: &Self) {
        self.packets += batch.packets;
        self.bytes += batch.bytes;
        self.checksums += batch.checksums;
        self.large_packets += batch.large_packets;
        self.large_bytes += batch.large_bytes;
        self.drops_runt += batch.drops_runt;
        self.drops_malformed += batch.drops_malformed;
        self.drops_link_down += batch.drops_link_down;
        self.drops_no_buffer += batch.drops_no_buffer;
        self.drops_too_large += batch.drops_too_large;
        self.errors += batch.errors;
        self.interrupts_raised += batch.interrupts_raised;
        self.interrupts_suppressed += batch.interrupts_suppressed;
    }
}

/// Room for the translations of a ring of `num_max` descriptors.
fn areas(num_max: u16, format: Features) -> Result<[Area; 3]> {
    let layout = QueueLayout {
        size: num_max,
        ..Default::default()
    };
    let room = |part| Area::new(layout.len(part, format));
    Ok([
        room(Part::Descriptor)?,
        room(Part::Driver)?,
        room(Part::Device)?,
    ])
}

/// The layout of a ring of `size` descriptors at `address`.
fn layout(size: u16, address: &VqAddress) -> QueueLayout {
    QueueLayout {
        size,
        descriptor: address.desc,
        driver: address.driver,
        device: address.device,
    }
}

/// A virtqueue.
///
/// # States
///
/// - *stopped*: `started` is false, and `ring` is not set up;
/// - *running*: `started`, and `ring` is set up where `address` and `num` said at the start;
/// - *broken*: `broken`, and stopped until the device is reset.
pub(super) struct Vq {
    ring: RingQueue<Area, Completions>,
    address: VqAddress,
    num: u16,
    /// Where a stopped queue goes on, if not at the start.
    state: Option<State>,
    ready: bool,
    started: bool,
    broken: bool,
    pub(super) counters: Counters,
}

impl Vq {
    /// Makes a stopped virtqueue with room for rings of `num_max` descriptors, packed ones
    /// only if they are `offered`.
    pub(super) fn new(num_max: u16, offered: Features) -> Result<Self> {
        let split = SplitQueue::new(areas(num_max, Features::EVENT_IDX)?);
        let room = if offered.contains(Features::RING_PACKED) {
            num_max
        } else {
            0
        };
        let completions =
            Completions::from_elem(Cell::new(Completion::default()), room.into(), GFP_KERNEL)?;
        let packed = PackedQueue::new(areas(room, Features::RING_PACKED)?, completions);
        Ok(Self {
            ring: RingQueue::new(split, packed),
            address: VqAddress::default(),
            num: num_max,
            state: None,
            ready: false,
            started: false,
            broken: false,
            counters: Counters::default(),
        })
    }

    /// Forgets all that a driver has set. `num_max` is the size it starts with.
    pub(super) fn reset(&mut self, num_max: u16) {
        self.stop();
        self.address = VqAddress::default();
        self.num = num_max;
        self.state = None;
        self.ready = false;
        self.broken = false;
    }

    /// Sets where the rings will be at the next start. Fails if they are not aligned as the
    /// format of the negotiated `features` has it.
    pub(super) fn set_address(
        &mut self,
        address: VqAddress,
        features: Features,
    ) -> Result<(), LayoutError> {
        layout(0, &address).check_alignment(features)?;
        self.address = address;
        Ok(())
    }

    pub(super) fn set_num(&mut self, num: u16) {
        self.num = num;
    }

    pub(super) fn num(&self) -> u16 {
        self.num
    }

    pub(super) fn set_ready(&mut self, ready: bool) {
        self.ready = ready;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Sets where the queue goes on. Fails with `EBUSY` while it runs, and with `EINVAL` if
    /// that cannot be in a packed ring.
    pub(super) fn set_state(&mut self, state: State) -> Result {
        if self.started {
            return Err(EBUSY);
        }
        if let State::Packed(state) = state {
            let packed::State { available, used } = state;
            if available.index >= self.num
                || used.index >= self.num
                || available.ahead_of(used, self.num).is_none()
            {
                return Err(EINVAL);
            }
        }
        self.state = Some(state);
        Ok(())
    }

    /// Where the queue stands, if it is not at the start.
    pub(super) fn state(&self) -> Option<State> {
        if self.started {
            Some(self.ring.state())
        } else {
            self.state
        }
    }

    /// The ring of the format that was negotiated, to be asked for once per batch, and the
    /// counters.
    #[inline]
    pub(super) fn engine(&mut self) -> (Engine<'_, Area, Completions>, &mut Counters) {
        (self.ring.engine(), &mut self.counters)
    }

    /// Whether the worker may use the ring.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.started
    }

    /// Whether the ring of a running queue is in memory that the device was shown.
    pub(super) fn is_mapped(&mut self, mem: &DeviceMemory<'_>) -> bool {
        let result = match self.ring.engine() {
            Engine::Split(ring) => ring.begin(mem),
            Engine::Packed(ring) => ring.begin(mem),
        };
        !matches!(result, Err(QueueError::Fault(_)))
    }

    /// Whether the queue was stopped because the driver broke a rule.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Starts the queue if it is ready and not broken. Returns whether it runs now and did
    /// not before.
    pub(super) fn start(&mut self, features: Features) -> Result<bool, LayoutError> {
        if self.started || !self.ready || self.broken {
            return Ok(false);
        }
        let layout = layout(self.num, &self.address);
        let state = self.state.unwrap_or(State::start(features));
        self.ring.setup(layout, features, state)?;
        self.started = true;
        Ok(true)
    }

    /// Stops the queue, which can be started again where it was. Returns whether it ran.
    pub(super) fn stop(&mut self) -> bool {
        let ran = self.started;
        if ran {
            self.state = Some(self.ring.state());
            self.ring.clear();
            self.started = false;
        }
        ran
    }

    /// Stops the queue for good, because the driver broke a rule.
    pub(super) fn break_down(&mut self) {
        self.stop();
        self.broken = true;
        self.counters.errors += 1;
    }
}

impl Counters {
    /// Shows the driver what was completed on `ring`. Returns whether to interrupt it.
    #[inline]
    pub(super) fn publish<Q>(
        &mut self,
        ring: &Q,
        mem: &DeviceMemory<'_>,
    ) -> Result<bool, QueueError>
    where
        Q: Queue<Area = Area>,
    {
        Ok(match ring.publish(mem)? {
            Interrupt::Nothing => false,
            Interrupt::Suppressed => {
                self.interrupts_suppressed += 1;
                false
            }
            Interrupt::Raise => {
                self.interrupts_raised += 1;
                true
            }
        })
    }
}
