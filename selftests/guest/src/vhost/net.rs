// SPDX-License-Identifier: GPL-2.0

//! A network driver in userspace: sets the device up.

use super::{
    plan::{Layouter, Plan},
    queue::{Places, Queue},
    Client, Format,
};
use crate::{
    arena::View,
    fail,
    ioctl::{self, Permission},
    outcome::{Outcome, While},
};
use rvdpa_virtio::{
    features::Features,
    layout::{QueueLayout, DESCRIPTOR_LEN},
    net::NetHeader,
    status::Status,
};
use vmm_sys_util::eventfd::EventFd;

/// The first receive queue.
pub const RX: usize = 0;
/// The first transmit queue.
pub const TX: usize = 1;

/// The size of the control queue.
const CONTROL_SIZE: u16 = 64;

/// A device that runs, with its driver.
pub struct Net {
    pub client: Client,
    pub plan: Plan,
    pub memory: View,
    pub control_memory: View,
    pub rx: Queue,
    pub tx: Queue,
    /// The queue pairs behind the first one, receive and transmit.
    pub(super) more: Vec<(Queue, Queue)>,
    pub control: Option<Queue>,
    pub config_call: EventFd,
    /// The device's address when it was set up.
    pub mac: [u8; 6],
}

/// Hands out the parts of a virtqueue of frames.
fn places(at: &mut Layouter, plan: &Plan) -> Places {
    let slots = usize::from(plan.size);
    Places {
        layout: at.layout(plan.size),
        tables: at.take(slots * plan.pieces * DESCRIPTOR_LEN),
        buffers: at.take(slots * plan.room),
    }
}

/// Where the queue pairs lie.
struct Parts {
    receive: Vec<Places>,
    transmit: Vec<Places>,
    /// How many bytes they have together.
    len: usize,
}

/// All of receiving before all of transmitting.
fn parts(plan: &Plan) -> Parts {
    let mut at = Layouter(plan.iova);
    let mut pieces = || (0..plan.pairs).map(|_| places(&mut at, plan)).collect();
    let (receive, transmit) = (pieces(), pieces());
    Parts {
        receive,
        transmit,
        len: at.0.wrapping_sub(plan.iova) as usize,
    }
}

/// Where the control queue lies, and how many bytes it has.
fn control_part(plan: &Plan) -> (Places, usize) {
    let mut at = Layouter(plan.control_iova);
    let places = Places {
        layout: at.layout(CONTROL_SIZE),
        tables: at.take(4096),
        buffers: at.take(super::control::LEN),
    };
    (places, at.0.wrapping_sub(plan.control_iova) as usize)
}

/// The part of an arena that the device is shown: where it starts, and its length.
pub fn mapped(plan: &Plan, view: &View) -> (u64, usize) {
    let start = view.iova().wrapping_add(plan.guard as u64);
    (start, view.len() - 2 * plan.guard)
}

impl Net {
    /// Opens a device and sets it up until it runs.
    pub fn new(path: &str, plan: Plan) -> Outcome<Self> {
        let net = Self::prepare(path, plan)?;
        net.go()?;
        Ok(net)
    }

    /// Opens a device and sets it up, all but `DRIVER_OK`.
    pub fn prepare(path: &str, plan: Plan) -> Outcome<Self> {
        Self::with(Client::open(path)?, plan)
    }

    /// Sets a device up with memory of its own, all but `DRIVER_OK`.
    pub fn with(client: Client, plan: Plan) -> Outcome<Self> {
        let arena = |iova: u64, len: usize| {
            let start = iova.wrapping_sub(plan.guard as u64);
            View::new(plan.kind, start, len + 2 * plan.guard)
        };
        let memory = arena(plan.iova, parts(&plan).len)?;
        let control_memory = arena(plan.control_iova, control_part(&plan).1)?;
        Self::on(client, plan, memory, control_memory)
    }

    /// Sets a device up in memory that is there, all but `DRIVER_OK`.
    pub fn on(mut client: Client, plan: Plan, memory: View, control_memory: View) -> Outcome<Self> {
        client.negotiate(plan.features)?;
        let features = client.features();
        if plan.indirect && !features.contains(Features::INDIRECT_DESC) {
            fail!("indirect descriptors are not offered");
        }
        // Groups are chosen after each reset.
        ioctl::set_group_asid(&client, 0, plan.asid).when("SET_GROUP_ASID")?;
        ioctl::set_group_asid(&client, 1, plan.control_asid).when("SET_GROUP_ASID")?;
        if plan.map {
            for (asid, view) in [(plan.asid, &memory), (plan.control_asid, &control_memory)] {
                let (start, len) = mapped(&plan, view);
                client.map(asid, view, start, len, Permission::Both)?;
            }
        }
        let start = client.format().start();
        let base = plan.base.unwrap_or(start);
        let Parts {
            receive, transmit, ..
        } = parts(&plan);
        let mut pairs = Vec::new();
        for (pair, (receive, transmit)) in receive.into_iter().zip(transmit).enumerate() {
            let rx = Queue::new(&client, &memory, RX + 2 * pair, receive, base, plan.bells)?;
            let tx = Queue::new(&client, &memory, TX + 2 * pair, transmit, base, plan.bells)?;
            pairs.push((rx, tx));
        }
        let mut pairs = pairs.into_iter();
        let (rx, tx) = pairs.next().when("a queue pair in the plan")?;
        let control = match client.control_index()? {
            Some(index) => Some(Queue::new(
                &client,
                &control_memory,
                index,
                control_part(&plan).0,
                start,
                plan.bells,
            )?),
            None => None,
        };
        let config_call = client.config_interrupt()?;
        let mac = client.config()?.mac().0;
        Ok(Self {
            client,
            plan,
            memory,
            control_memory,
            rx,
            tx,
            more: pairs.collect(),
            control,
            config_call,
            mac,
        })
    }

    /// Sets `DRIVER_OK`.
    pub fn go(&self) -> Outcome {
        self.client.add_status(Status::DRIVER_OK)
    }

    /// Resets the device and sets it up anew, until it runs.
    pub fn restart(self) -> Outcome<Self> {
        let Self {
            mut client,
            plan,
            memory,
            control_memory,
            ..
        } = self;
        client.reset()?;
        if plan.map {
            for (asid, view) in [(plan.asid, memory), (plan.control_asid, control_memory)] {
                let (start, len) = mapped(&plan, &view);
                client.unmap(asid, start, len)?;
            }
        }
        let net = Self::with(client, plan)?;
        net.go()?;
        Ok(net)
    }

    /// Memory for another ring as the plan's, which the device has from `iova` on.
    pub fn spare_ring(&self, iova: u64) -> Outcome<(View, QueueLayout)> {
        let mut at = Layouter(iova);
        let layout = at.layout(self.plan.size);
        let view = View::new(self.plan.kind, iova, (at.0 - iova) as usize)?;
        self.client.map_all(0, &view)?;
        Ok((view, layout))
    }

    /// The format of the rings.
    pub fn format(&self) -> Format {
        self.client.format()
    }

    /// Whether these features are negotiated.
    pub fn has(&self, features: Features) -> bool {
        self.client.features().contains(features)
    }

    /// Length of what precedes each frame.
    pub fn header_len(&self) -> usize {
        let hash = if self.has(Features::NET_HASH_REPORT) {
            8
        } else {
            0
        };
        NetHeader::LEN + hash
    }

    /// The receive queue of a pair.
    ///
    /// # Panics
    ///
    /// If the plan has no such pair.
    pub fn rx_of(&mut self, pair: usize) -> &mut Queue {
        match pair.checked_sub(1) {
            None => &mut self.rx,
            Some(at) => &mut self.more[at].0,
        }
    }

    /// The transmit queue of a pair.
    ///
    /// # Panics
    ///
    /// If the plan has no such pair.
    pub fn tx_of(&mut self, pair: usize) -> &mut Queue {
        match pair.checked_sub(1) {
            None => &mut self.tx,
            Some(at) => &mut self.more[at].1,
        }
    }
}
