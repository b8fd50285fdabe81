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
        queue::{
            Interrupt,
            Queue, //
        },
        split::SplitQueue, //
    },
};
use kernel::prelude::*;

/// What happened on a virtqueue since the device was made. Survives resets.
#[derive(Clone, Copy, Default)]
pub(super) struct Counters {
    /// Frames, or commands of the control queue, and their bytes without virtio headers.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Frames shorter than an Ethernet header.
    pub(super) drops_runt: u64,
    /// Frames for somebody else.
    pub(super) drops_filtered: u64,
    /// Frames that found no receive buffer.
    pub(super) drops_no_buffer: u64,
    /// Frames larger than the receive buffer they found.
    pub(super) drops_too_large: u64,
    /// Commands that were answered with an error, and rules that the driver broke.
    pub(super) errors: u64,
    pub(super) interrupts_raised: u64,
    pub(super) interrupts_suppressed: u64,
}

/// A virtqueue.
///
/// # States
///
/// - *stopped*: `started` is false, and `ring` is not set up;
/// - *running*: `started`, and `ring` is set up where `address` and `num` said at the start;
/// - *broken*: `broken`, and stopped until the device is reset.
pub(super) struct Vq {
    pub(super) ring: SplitQueue<Area>,
    address: VqAddress,
    num: u16,
    /// Where a stopped queue goes on.
    index: u16,
    ready: bool,
    started: bool,
    broken: bool,
    pub(super) counters: Counters,
}

impl Vq {
    /// Makes a stopped virtqueue with room for rings of `num_max` descriptors.
    pub(super) fn new(num_max: u16) -> Result<Self> {
        let layout = QueueLayout {
            size: num_max,
            ..Default::default()
        };
        let room = |part| Area::new(layout.len(part, Features::EVENT_IDX));
        let areas = [
            room(Part::Descriptor)?,
            room(Part::Driver)?,
            room(Part::Device)?,
        ];
        Ok(Self {
            ring: SplitQueue::new(areas),
            address: VqAddress::default(),
            num: num_max,
            index: 0,
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
        self.index = 0;
        self.ready = false;
        self.broken = false;
    }

    /// Sets where the rings will be at the next start. Fails with `EINVAL` if they are not
    /// aligned as the specification has it (2.7).
    pub(super) fn set_address(&mut self, address: VqAddress) -> Result {
        if address.desc % 16 != 0 || address.driver % 2 != 0 || address.device % 4 != 0 {
            return Err(EINVAL);
        }
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

    /// Sets where the queue goes on. Fails with `EBUSY` while it runs.
    pub(super) fn set_index(&mut self, index: u16) -> Result {
        if self.started {
            return Err(EBUSY);
        }
        self.index = index;
        Ok(())
    }

    /// Where the queue stands.
    pub(super) fn index(&self) -> u16 {
        if self.started {
            self.ring.avail_index()
        } else {
            self.index
        }
    }

    /// Whether the worker may use the ring.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.started
    }

    /// Starts the queue if it is ready and not broken. Returns whether it runs now and did
    /// not before.
    pub(super) fn start(&mut self, features: Features) -> Result<bool, LayoutError> {
        if self.started || !self.ready || self.broken {
            return Ok(false);
        }
        let layout = QueueLayout {
            size: self.num,
            descriptor: self.address.desc,
            driver: self.address.driver,
            device: self.address.device,
        };
        self.ring.setup(layout, features, self.index)?;
        self.started = true;
        Ok(true)
    }

    /// Stops the queue, which can be started again where it was.
    pub(super) fn stop(&mut self) {
        if self.started {
            self.index = self.ring.avail_index();
            self.ring.clear();
            self.started = false;
        }
    }

    /// Stops the queue for good, because the driver broke a rule.
    pub(super) fn break_down(&mut self) {
        self.stop();
        self.broken = true;
        self.counters.errors += 1;
    }

    /// Shows the driver what was completed. Returns whether to interrupt it.
    #[inline]
    pub(super) fn publish(&mut self, mem: &DeviceMemory<'_>) -> Result<bool, QueueError> {
        Ok(match self.ring.publish(mem)? {
            Interrupt::Nothing => false,
            Interrupt::Suppressed => {
                self.counters.interrupts_suppressed += 1;
                false
            }
            Interrupt::Raise => {
                self.counters.interrupts_raised += 1;
                true
            }
        })
    }
}
