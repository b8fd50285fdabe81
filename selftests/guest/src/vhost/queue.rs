// SPDX-License-Identifier: GPL-2.0

//! A virtqueue and its buffers.

use super::{count_events, event, wait_event, Bell, Client, Plan, Ring, PATIENCE};
use crate::{
    arena::View,
    fail, ioctl,
    outcome::{Outcome, While},
};
use rvdpa_virtio::{
    layout::{QueueLayout, DESCRIPTOR_LEN},
    mock::{Buffer, Form, Used},
};
use std::{collections::VecDeque, time::Duration};
use vhost::VhostBackend;
use vmm_sys_util::eventfd::EventFd;

/// Where a virtqueue's parts lie.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub(super) layout: QueueLayout,
    pub(super) buffers: u64,
    pub(super) tables: u64,
}

/// How the device is told to look.
enum Kick {
    Event(EventFd),
    Bell(Bell),
}

/// A virtqueue and its buffers.
pub struct Queue {
    pub driver: Ring,
    pub layout: QueueLayout,
    /// Which virtqueue of the device it is.
    pub index: usize,
    kick: Kick,
    call: EventFd,
    /// Where buffers are, each with as many bytes as the plan has room for.
    pub buffers: u64,
    /// Where tables are, one for each buffer.
    pub tables: u64,
    /// Which buffer a head stands for.
    slots: Vec<Option<u16>>,
    /// Buffers that are not in use.
    pub(super) free: VecDeque<u16>,
    /// Chains that were looked at before somebody wanted them, with their buffers: their
    /// heads may be in use again.
    seen: VecDeque<(Option<u16>, Used)>,
    /// How many chains the device has used.
    used: usize,
}

impl Queue {
    /// Sets up a virtqueue and enables it.
    pub(super) fn new(
        client: &Client,
        view: &View,
        index: usize,
        places: Places,
        base: u16,
        bells: bool,
    ) -> Outcome<Self> {
        let Places {
            layout,
            buffers,
            tables,
        } = places;
        let queue = Self {
            driver: Ring::new(view.clone(), layout, client.features(), base),
            layout,
            index,
            kick: if bells {
                Kick::Bell(Bell::of(client, index)?)
            } else {
                Kick::Event(event()?)
            },
            call: event()?,
            buffers,
            tables,
            slots: vec![None; usize::from(layout.size)],
            free: (0..layout.size).collect(),
            seen: VecDeque::new(),
            used: 0,
        };
        queue.attach(client, client.format().base(base))?;
        client.enable(index, true)?;
        Ok(queue)
    }

    /// Tells a device where the virtqueue is, where it goes on, and how they call each other.
    fn attach(&self, client: &Client, base: u32) -> Outcome {
        let index = self.index;
        client.set_queue(index, &self.layout, base)?;
        let kernel = client.kernel();
        if let Kick::Event(event) = &self.kick {
            kernel.set_vring_kick(index, event).when("SET_VRING_KICK")?;
        }
        kernel
            .set_vring_call(index, &self.call)
            .when("SET_VRING_CALL")
    }

    /// Gives the virtqueue to another device, which goes on where the last one was. It is
    /// not enabled, and whoever called by the old events calls nobody any more.
    pub(super) fn move_to(&mut self, client: &Client, base: u32) -> Outcome {
        self.kick = Kick::Event(event()?);
        self.call = event()?;
        self.attach(client, base)
    }

    /// Tells the device to look, if it wants to be told.
    pub fn kick_if_needed(&mut self) -> Outcome {
        if self.driver.needs_kick() {
            self.kick()?;
        }
        Ok(())
    }

    /// Tells the device to look.
    pub fn kick(&self) -> Outcome {
        match &self.kick {
            Kick::Event(event) => event.write(1).when("kick"),
            Kick::Bell(bell) => {
                bell.ring();
                Ok(())
            }
        }
    }

    /// The events by which the driver and the device tell each other, for another thread.
    pub fn events(&self) -> Outcome<(EventFd, EventFd)> {
        let Kick::Event(kick) = &self.kick else {
            fail!("the device is told by the queue's page");
        };
        let (kick, call) = (kick.try_clone(), self.call.try_clone());
        Ok((kick.when("dup of a kick")?, call.when("dup of a call")?))
    }

    /// Notifies by an event from now on; unmaps the queue's page.
    pub fn kick_by_event(&mut self, client: &Client) -> Outcome {
        self.kick = Kick::Event(client.kick_event(self.index)?);
        Ok(())
    }

    /// Notifies by the queue's page from now on. An event that was set stays set.
    pub fn kick_by_bell(&mut self, bell: Bell) {
        self.kick = Kick::Bell(bell);
    }

    /// Whether the device has interrupted.
    pub fn interrupted(&self, limit: Duration) -> Outcome<bool> {
        wait_event(&self.call, limit)
    }

    /// How many interrupts there were since they were last asked for.
    pub fn interrupts(&self) -> Outcome<u64> {
        count_events(&self.call)
    }

    /// Has the interrupts come by a new event. Returns the one before.
    pub fn swap_call(&mut self, client: &Client) -> Outcome<EventFd> {
        let new = event()?;
        client
            .kernel()
            .set_vring_call(self.index, &new)
            .when("SET_VRING_CALL")?;
        Ok(std::mem::replace(&mut self.call, new))
    }

    /// Has no interrupts come.
    pub fn drop_call(&self, client: &Client) -> Outcome {
        ioctl::set_vring_call(client, self.index as u32, -1).when("SET_VRING_CALL of none")
    }

    /// Moves the rings, with all that is in them, and tells the device, which must not run.
    pub fn relocate(&mut self, client: &Client, view: View, layout: QueueLayout) -> Outcome {
        self.driver.relocate(view, layout);
        self.layout = layout;
        client.set_addresses(self.index, &layout)
    }

    /// Begins with new rings at another place, and tells the device, which must not run.
    /// Chains that it had and has not used are taken back.
    pub fn renew(&mut self, client: &Client, place: u16) -> Outcome {
        self.used();
        if !self.seen.is_empty() {
            fail!("the device has used chains that nobody has taken");
        }
        let memory = self.driver.memory().clone();
        self.driver = Ring::new(memory, self.layout, client.features(), place);
        self.free
            .extend(self.slots.iter_mut().filter_map(Option::take));
        client.set_base(self.index, client.format().base(place))
    }

    /// How many chains the device has used so far, of those that the driver has added
    /// itself.
    pub fn used(&mut self) -> usize {
        while let Some(used) = self.driver.poll_used() {
            let slot = self.slots[usize::from(used.head)].take();
            self.seen.push_back((slot, used));
            self.used += 1;
        }
        self.used
    }

    /// Waits until the device has used a chain, by its interrupt. Returns whether it has.
    pub(super) fn wait_used(&self) -> Outcome<bool> {
        if !self.seen.is_empty() || self.driver.enable_interrupts() {
            return Ok(true);
        }
        let come = wait_event(&self.call, PATIENCE)?;
        self.driver.disable_interrupts();
        Ok(come)
    }

    /// The buffers of a slot.
    fn pieces(&self, slot: u16, len: usize, plan: &Plan, writable: bool) -> Vec<Buffer> {
        let start = self.start(slot, plan);
        // Uneven on purpose, so that headers and pages are split anywhere.
        let mut pieces = Vec::new();
        let mut at = 0;
        for left in (1..=plan.pieces).rev() {
            let rest = len - at;
            let piece = if left == 1 {
                rest
            } else {
                (rest / left / 2).max(1)
            };
            if piece == 0 {
                break;
            }
            pieces.push(Buffer {
                iova: start + at as u64,
                len: piece as u32,
                writable,
            });
            at += piece;
        }
        pieces
    }

    /// Adds a buffer. Returns the slot, or nothing if the ring is full.
    pub(super) fn add(&mut self, len: usize, plan: &Plan, writable: bool) -> Option<u16> {
        let slot = *self.free.front()?;
        let buffers = self.pieces(slot, len, plan, writable);
        let form = if plan.indirect {
            Form::Indirect {
                table: self.tables + u64::from(slot) * (plan.pieces * DESCRIPTOR_LEN) as u64,
            }
        } else {
            Form::Direct
        };
        let head = self.driver.add(&buffers, form).ok()?;
        self.slots[usize::from(head)] = Some(slot);
        self.free.pop_front();
        Some(slot)
    }

    /// Takes back a chain, whatever it was made of.
    pub fn take_used(&mut self) -> Option<Used> {
        self.next_used().map(|(_, used)| used)
    }

    fn next_used(&mut self) -> Option<(Option<u16>, Used)> {
        self.used();
        self.seen.pop_front()
    }

    /// Takes back a buffer. Returns its slot too.
    pub(super) fn take(&mut self) -> Option<(u16, Used)> {
        let (slot, used) = self.next_used()?;
        let slot = slot.expect("the driver knows the head");
        self.free.push_back(slot);
        Some((slot, used))
    }

    /// Where a slot's bytes start.
    pub(super) fn start(&self, slot: u16, plan: &Plan) -> u64 {
        self.buffers + u64::from(slot) * plan.room as u64
    }

    /// Where its parts lie.
    pub(super) fn places(&self) -> Places {
        Places {
            layout: self.layout,
            buffers: self.buffers,
            tables: self.tables,
        }
    }

    /// How many buffers the device has.
    pub fn posted(&self) -> usize {
        usize::from(self.layout.size) - self.free.len()
    }
}
