// SPDX-License-Identifier: GPL-2.0

//! A place for a device, and what can be done with it.

use super::{
    client::{Client, Of, LOST},
    dice::Dice,
};
use crate::{
    arena::Kind,
    check_eq,
    device::{Device, Driver, MAC},
    fail, netdev,
    outcome::{Outcome, While},
    sys::{self, wait_for, SOON},
    vhost::{Format, NewDevice},
};
use rvdpa_virtio::features::Features;
use std::{thread::sleep, time::Duration};

/// A device, and who uses it.
pub struct Slot {
    name: String,
    format: Format,
    kind: Kind,
    state: State,
}

enum State {
    Empty,
    Unbound(Device),
    Virtio(Device, String, Option<Client>),
    Vhost(Device, String, Option<Client>),
}

/// What can be done with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Add,
    Delete,
    DeleteUnderTraffic,
    BindVirtio,
    BindVhost,
    Unbind,
    UnbindUnderTraffic,
    Start,
    Quit,
    Kill,
    Freeze,
    Thaw,
    Count,
    Link,
    Suspend,
    Restart,
    Migrate,
}

impl Slot {
    pub fn new(number: usize, kind: Kind) -> Self {
        Self {
            name: format!("soak{number}"),
            format: Format::ALL[number % 2],
            kind,
            state: State::Empty,
        }
    }

    /// What can be done now, with how often it is.
    pub fn actions(&self) -> &'static [(Action, u64)] {
        use Action::{
            Add, BindVhost, BindVirtio, Count, Delete, DeleteUnderTraffic, Freeze, Kill, Link,
            Migrate, Quit, Restart, Start, Suspend, Thaw, Unbind, UnbindUnderTraffic,
        };
        match &self.state {
            State::Empty => &[(Add, 1)],
            State::Unbound(_) => &[(BindVirtio, 4), (BindVhost, 6), (Delete, 1)],
            State::Virtio(_, _, None) => &[(Start, 5), (Unbind, 1), (Delete, 1)],
            State::Virtio(_, _, Some(client)) if client.frozen => {
                &[(Thaw, 3), (Kill, 1), (DeleteUnderTraffic, 1)]
            }
            State::Virtio(..) => &[
                (Count, 3),
                (Link, 3),
                (Freeze, 2),
                (Quit, 1),
                (Kill, 1),
                (UnbindUnderTraffic, 2),
                (DeleteUnderTraffic, 2),
            ],
            State::Vhost(_, _, None) => &[(Start, 8), (Unbind, 1), (Delete, 1)],
            // Who unbinds or deletes it would wait until it is closed.
            State::Vhost(_, _, Some(client)) if client.frozen => &[(Thaw, 3), (Kill, 1)],
            State::Vhost(..) => &[
                (Count, 4),
                (Link, 3),
                (Suspend, 5),
                (Restart, 3),
                (Migrate, 5),
                (Freeze, 2),
                (Quit, 1),
                (Kill, 3),
            ],
        }
    }

    /// Whether there is a device.
    pub fn has_device(&self) -> bool {
        !matches!(self.state, State::Empty)
    }

    /// Where a client of `other` could go on.
    pub fn takes_over(&self, other: &Self) -> bool {
        matches!(self.state, State::Vhost(_, _, None)) && self.format == other.format
    }

    /// The device, and its client that runs.
    fn running(&mut self) -> Outcome<(&Device, &mut Client, Option<&str>)> {
        match &mut self.state {
            State::Virtio(device, interface, Some(client)) => Ok((device, client, Some(interface))),
            State::Vhost(device, _, Some(client)) => Ok((device, client, None)),
            _ => fail!("{} has no client", self.name),
        }
    }

    fn take_client(&mut self) -> Outcome<Client> {
        let (State::Virtio(_, _, client) | State::Vhost(_, _, client)) = &mut self.state else {
            fail!("{} has no client", self.name);
        };
        client.take().when("a client")
    }

    /// Does something that is possible now; [`Action::Migrate`] is [`migrate`].
    pub fn act(&mut self, action: Action, dice: &mut Dice) -> Outcome {
        match action {
            Action::Add => {
                let device = NewDevice::named(&self.name)
                    .format(self.format, Features::NONE)
                    .add()?;
                self.state = State::Unbound(device);
                Ok(())
            }
            Action::Delete => self.device()?.delete(),
            Action::Unbind => {
                let device = self.device()?;
                device.unbind()?;
                self.state = State::Unbound(device);
                Ok(())
            }
            Action::DeleteUnderTraffic => self.without_device(dice, |device| {
                device.delete()?;
                Ok(State::Empty)
            }),
            Action::UnbindUnderTraffic => self.without_device(dice, |device| {
                device.unbind()?;
                Ok(State::Unbound(device))
            }),
            Action::BindVirtio => {
                let device = self.device()?;
                device.bind(Driver::Virtio)?;
                let interface = device.interface()?;
                netdev::up(&interface)?;
                self.state = State::Virtio(device, interface, None);
                Ok(())
            }
            Action::BindVhost => {
                let device = self.device()?;
                device.bind(Driver::Vhost)?;
                let path = device.character_device()?;
                self.state = State::Vhost(device, path, None);
                Ok(())
            }
            Action::Start => {
                let kind = self.kind;
                match &mut self.state {
                    State::Virtio(_, interface, client) => {
                        *client = Some(Client::start(&Of::Interface(interface.clone(), MAC))?);
                    }
                    State::Vhost(_, path, client) => {
                        *client = Some(Client::start(&Of::Vhost(path.clone(), kind))?);
                    }
                    _ => fail!("{} has no driver", self.name),
                }
                Ok(())
            }
            Action::Quit => self.take_client()?.quit(),
            Action::Kill => {
                let client = self.take_client()?;
                a_moment(dice);
                client.kill()
            }
            Action::Freeze => {
                a_moment(dice);
                self.running()?.1.freeze()
            }
            Action::Thaw => self.running()?.1.thaw(),
            Action::Count => self.count(),
            Action::Link => self.lose_link(),
            Action::Suspend => self.running()?.1.tell("suspend"),
            Action::Restart => self.running()?.1.tell("restart"),
            Action::Migrate => fail!("migration takes two"),
        }
    }

    /// Takes the device out; its client must be gone.
    fn device(&mut self) -> Outcome<Device> {
        match std::mem::replace(&mut self.state, State::Empty) {
            State::Unbound(device)
            | State::Virtio(device, _, None)
            | State::Vhost(device, _, None) => Ok(device),
            _ => fail!("{} has no device without a client", self.name),
        }
    }

    /// Takes the device of an interface away from a client that uses it.
    fn without_device(
        &mut self,
        dice: &mut Dice,
        act: impl FnOnce(Device) -> Outcome<State>,
    ) -> Outcome {
        let client = self.take_client()?;
        a_moment(dice);
        let device = self.device()?;
        self.state = act(device)?;
        // It has failed by now, or will soon.
        drop(client);
        Ok(())
    }

    /// All frames that were sent have come, or were dropped for a reason.
    fn count(&mut self) -> Outcome {
        let (device, client, _) = self.running()?;
        client.tell("pause")?;
        counters_agree(device)?;
        client.tell("run")
    }

    /// Takes the link away for a while, in which frames are sent, and counted as dropped.
    fn lose_link(&mut self) -> Outcome {
        let (device, client, interface) = self.running()?;
        client.tell("pause")?;
        let link = format!("/sys/kernel/debug/rvdpa_sim/devices/{}/link", device.name());
        let dropped = |device: &Device| device.statistics(1)?.get("tx drops link down");
        let before = dropped(device)?;
        sys::write(&link, "down")?;
        client.tell("lose")?;
        let lost = dropped(device)? - before;
        match interface {
            // The kernel's driver sends nothing then.
            Some(_) => {}
            None => check_eq!(lost, LOST, "frames dropped without a link"),
        }
        sys::write(&link, "up")?;
        if let Some(interface) = interface {
            netdev::wait_up(interface)?;
        }
        counters_agree(device)?;
        client.tell("run")
    }

    /// Ends whatever there is.
    pub fn clear(&mut self) -> Outcome {
        match std::mem::replace(&mut self.state, State::Empty) {
            State::Empty => Ok(()),
            State::Unbound(device) => device.delete(),
            State::Virtio(device, _, client) | State::Vhost(device, _, client) => {
                drop(client);
                device.delete()
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The client first: who deletes a device waits for those that have it open.
        let _ = self.clear();
    }
}

/// Has the client of one slot go on at the device of another one.
pub fn migrate(from: &mut Slot, to: &mut Slot) -> Outcome {
    let State::Vhost(_, path, free @ None) = &mut to.state else {
        fail!("{} takes no client", to.name);
    };
    let mut client = from.take_client()?;
    client.tell(&format!("migrate {path}"))?;
    *free = Some(client);
    Ok(())
}

/// Up to twenty milliseconds.
fn a_moment(dice: &mut Dice) {
    sleep(Duration::from_micros(dice.below(20_000)));
}

/// Frames that a device was given are in receive buffers, or were dropped for a reason: each
/// of them, and no other.
fn counters_agree(device: &Device) -> Outcome {
    let mut last = String::new();
    let agree = wait_for("counters that agree", SOON, || {
        let (rx, tx) = (device.statistics(0)?, device.statistics(1)?);
        let sent = tx.get("tx packets")?;
        let mut come = 0;
        for name in [
            "rx packets",
            "rx drops filtered",
            "rx drops no buffer",
            "rx drops too large",
        ] {
            come += rx.get(name)?;
        }
        last = format!("{sent} sent, {come} received or dropped: {rx:?} {tx:?}");
        Ok((sent == come).then_some(()))
    });
    agree.when(format_args!("{}: {last}", device.name()))
}
