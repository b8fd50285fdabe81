// SPDX-License-Identifier: GPL-2.0

//! What devices are connected to: themselves, or a switch.
//!
//! A transmit worker asks the fabric where frames from a station to a station go, and keeps
//! the answer until the fabric [`epoch`](Fabric::epoch) says that something has changed.
//! So no lock is taken for a frame that is like one before it.

use super::port::Port;
use crate::{
    net::{
        forward::{
            self,
            Forward, //
        },
        frame::Headers,
        table::{
            self,
            Bucket,
            Entry,
            Learned,
            Table,
            BUCKET_LEN, //
        },
    },
    vdpa::lock::{
        new_spinlock_bh,
        SpinLockBh, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc, //
    },
    time::{
        Instant,
        Monotonic, //
    },
};

/// The most ports of a switch.
pub(super) const MAX_PORTS: usize = 256;

/// How many addresses a switch remembers, in buckets of four.
const BUCKETS: usize = 1024;

/// Where a frame goes.
#[derive(Clone)]
pub(super) enum Decision {
    /// Nowhere: the device does not want it.
    Filtered(Arc<Port>),
    /// Nowhere: it is for the port that it comes from, or that port is no more.
    Nobody,
    /// To this port.
    To(Arc<Port>),
    /// To all but the one it comes from.
    Flood,
}

/// A piece of what a switch has learned.
pub(super) type Piece = [Option<(Entry, Arc<Port>)>; BUCKET_LEN];

/// The ports of a switch, and what it has learned.
struct Switch {
    /// In the order of their numbers.
    ports: KVec<Arc<Port>>,
    table: Table<KVVec<Bucket>>,
    /// For how long an address is remembered, in seconds.
    ageing: u64,
    /// When old addresses were last forgotten.
    swept: u32,
}

impl Switch {
    /// The port with this number, unless it is another one now.
    fn port(&self, name: table::Port) -> Option<&Arc<Port>> {
        let at = self
            .ports
            .binary_search_by_key(&name.number, |port| port.name.number);
        self.ports.get(at.ok()?).filter(|port| port.name == name)
    }

    /// Forgets addresses that were not seen for long.
    fn sweep(&mut self, now: u32) -> bool {
        if self.swept == now {
            return false;
        }
        self.swept = now;
        self.table.age_out(self.since(now)) > 0
    }

    /// When an address must have been seen to be remembered.
    fn since(&self, now: u32) -> u64 {
        u64::from(now).saturating_sub(self.ageing)
    }
}

/// What a device is connected to.
#[pin_data]
pub(super) struct Fabric {
    /// Counts what makes answers void.
    epoch: Atomic<u64>,
    /// Counts ports.
    generation: Atomic<u32>,
    /// None if each frame goes back to where it comes from.
    #[pin]
    switch: SpinLockBh<Option<Switch>>,
    is_switch: bool,
    start: Instant<Monotonic>,
}

impl Fabric {
    /// One that gives its only port back what it sends.
    pub(super) fn loopback() -> Result<Arc<Self>> {
        Self::new(None)
    }

    /// A learning switch that forgets an address which it has not seen for `ageing`
    /// seconds. `seed` is random.
    pub(super) fn switch(ageing: u16, seed: [u64; 2]) -> Result<Arc<Self>> {
        let room = KVVec::from_elem(Bucket::EMPTY, BUCKETS, GFP_KERNEL)?;
        Self::new(Some(Switch {
            ports: KVec::with_capacity(MAX_PORTS, GFP_KERNEL)?,
            table: Table::new(room, seed),
            ageing: ageing.into(),
            swept: 0,
        }))
    }

    fn new(switch: Option<Switch>) -> Result<Arc<Self>> {
        let is_switch = switch.is_some();
        Arc::pin_init(
            pin_init!(Self {
                epoch: Atomic::new(1),
                generation: Atomic::new(0),
                switch <- new_spinlock_bh!(switch, "rvdpa_sim::Fabric::switch"),
                is_switch,
                start: Instant::now(),
            }),
            GFP_KERNEL,
        )
    }

    /// Whether frames can go to other devices.
    pub(super) fn is_switch(&self) -> bool {
        self.is_switch
    }

    /// Numbers the state of the fabric: answers are good while it stays the same.
    #[inline]
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Acquire)
    }

    /// Makes all answers void.
    pub(super) fn changed(&self) {
        self.epoch.fetch_add(1, Release);
    }

    /// The time, in seconds.
    #[inline]
    pub(super) fn now(&self) -> u32 {
        if self.is_switch {
            (self.start.elapsed().as_millis() / 1000) as u32
        } else {
            0
        }
    }

    /// A name for a new port. Fails with `ENOSPC` if the switch is full.
    pub(super) fn name(&self) -> Result<table::Port> {
        let number = match &*self.switch.lock() {
            None => 0,
            Some(switch) => {
                let taken = |number: &u16| {
                    let mut ports = switch.ports.iter();
                    ports.any(|port| port.name.number == *number)
                };
                (0..MAX_PORTS as u16)
                    .find(|number| !taken(number))
                    .ok_or(ENOSPC)?
            }
        };
        Ok(table::Port {
            number,
            generation: self.generation.fetch_add(1, Relaxed),
        })
    }

    /// Connects a port.
    pub(super) fn attach(&self, port: &Arc<Port>) -> Result {
        if let Some(switch) = &mut *self.switch.lock() {
            let before = |other: &Arc<Port>| other.name.number < port.name.number;
            let at = switch.ports.partition_point(before);
            switch
                .ports
                .insert_within_capacity(at, port.clone())
                .map_err(|_| ENOSPC)?;
        }
        self.changed();
        Ok(())
    }

    /// Disconnects a port. When it returns, nobody refers to it because of frames.
    pub(super) fn detach(&self, port: &Arc<Port>) {
        port.leave();
        if let Some(switch) = &mut *self.switch.lock() {
            switch.ports.retain(|other| !Arc::ptr_eq(other, port));
            switch.table.forget_port(port.name);
        }
        self.changed();
        port.forget();
        for other in self.ports() {
            other.forget();
        }
    }

    /// The ports of a switch, by their numbers. The list may change meanwhile.
    pub(super) fn ports(&self) -> impl Iterator<Item = Arc<Port>> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let switch = self.switch.lock();
            let rest = switch.as_ref()?.ports.iter();
            let rest = rest.filter(|port| port.name.number >= from);
            let port = rest.min_by_key(|port| port.name.number)?.clone();
            from = port.name.number.saturating_add(1);
            Some(port)
        })
    }

    /// Where frames from `from` with these headers go, at the time `now`.
    pub(super) fn decide(&self, from: &Arc<Port>, headers: &Headers, now: u32) -> Decision {
        if !from.is_up() {
            return Decision::Nobody;
        }
        let to = match &mut *self.switch.lock() {
            None => from.clone(),
            Some(switch) => {
                let mut changed = switch.sweep(now);
                match switch
                    .table
                    .learn(forward::sender(headers), from.name, now.into())
                {
                    Learned::Ignored | Learned::Refreshed => {}
                    Learned::New | Learned::Replaced(_) | Learned::Moved(_) => changed = true,
                }
                if changed {
                    self.changed();
                }
                match forward::forward(&switch.table, headers, from.name) {
                    Forward::Nowhere => return Decision::Nobody,
                    Forward::Flood => return Decision::Flood,
                    Forward::To(name) => match switch.port(name) {
                        Some(port) => port.clone(),
                        None => return Decision::Flood,
                    },
                }
            }
        };
        if to.takes(headers.destination, headers.vlan) {
            Decision::To(to)
        } else {
            Decision::Filtered(to)
        }
    }

    /// Makes `targets` the ports that a flooded frame from `from` goes to, and `strangers`
    /// those that do not want it. Both have room for [`MAX_PORTS`].
    pub(super) fn flood(
        &self,
        from: &Arc<Port>,
        headers: &Headers,
        targets: &mut KVec<Arc<Port>>,
        strangers: &mut KVec<Arc<Port>>,
    ) {
        targets.clear();
        strangers.clear();
        if let Some(switch) = &*self.switch.lock() {
            for port in &switch.ports {
                if Arc::ptr_eq(port, from) {
                    continue;
                }
                let list = if port.takes(headers.destination, headers.vlan) {
                    &mut *targets
                } else {
                    &mut *strangers
                };
                let _ = list.push(port.clone(), GFP_ATOMIC);
            }
        }
    }

    /// A piece of what the switch has learned: addresses that it still remembers at the time
    /// `now`, and their ports. The pieces are numbered from 0 on; there is none behind the
    /// last one.
    pub(super) fn learned(&self, piece: usize, now: u32) -> Option<Piece> {
        let switch = self.switch.lock();
        let switch = switch
            .as_ref()
            .filter(|switch| piece < switch.table.buckets())?;
        let mut found = Piece::default();
        let room = found.iter_mut();
        for (slot, entry) in room.zip(switch.table.bucket(piece)) {
            if entry.seen >= switch.since(now) {
                *slot = switch.port(entry.port).map(|port| (entry, port.clone()));
            }
        }
        Some(found)
    }
}
