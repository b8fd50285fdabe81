// SPDX-License-Identifier: GPL-2.0

//! What a case is.

use super::{
    meanwhile::Changing,
    scene::{Room, Scene},
};
use crate::{outcome::Outcome, vhost::Format};
use rvdpa_virtio::{features::Features, net::NetHeader};

/// A descriptor as the attacker writes it, of either format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    pub address: u64,
    pub len: u32,
    pub flags: u16,
    /// In a split ring: where the chain goes on.
    pub next: u16,
    /// In a packed ring: what the chain is called.
    pub id: u16,
}

/// A chain before the device sees it.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Descriptors of the ring, from the first one on.
    pub links: Vec<Link>,
    /// Descriptors of the table that the first link refers to, if there is one.
    pub table: Vec<Link>,
    /// In a split ring: what the available ring says.
    pub head: u16,
}

/// A change to a good chain.
pub type Change = fn(&Scene<'_>, &mut Chain);

/// What is done.
#[derive(Clone, Copy)]
pub enum Act {
    /// A frame in two descriptors is changed and sent.
    Send(Change),
    /// The same in an indirect table.
    SendTable(Change),
    /// A receive buffer of two descriptors is changed; then a good frame is sent.
    Receive(Change),
    /// The same in an indirect table.
    ReceiveTable(Change),
    /// A packet of TCP, in segments or not, whose header is changed.
    Lie(bool, fn(&mut NetHeader)),
    /// Frames are sent while this changes.
    Flip(Changing),
    /// Something is done with indices that there are not. Says whether it was.
    Index(fn(&Scene<'_>, usize) -> bool),
    /// Anything else, by a driver that runs.
    Do(fn(&mut Scene<'_>) -> Outcome),
    /// The same, when it has just sent many frames.
    Busy(fn(&mut Scene<'_>) -> Outcome),
    /// By a driver that is all set up but for `DRIVER_OK`, and the memory, if the case says so.
    Before(fn(&mut Scene<'_>) -> Outcome),
    /// By others, while the device has no driver.
    Without(fn(&Room<'_>) -> Outcome),
    /// The same, by a user who is not root.
    Nobody(fn(&Room<'_>) -> Outcome),
}

/// What has to come of it.
#[derive(Clone, Copy)]
pub enum Expect {
    /// This virtqueue is stopped and no other, with this in the log, once; the driver is told.
    Fault(usize, &'static str),
    /// The same, with a text for each format.
    Faults(usize, &'static str, &'static str),
    /// The frame is used and not delivered, this is counted for the virtqueue, and the next
    /// frame comes.
    Dropped(usize, &'static str),
    /// The frame is delivered, as it would have been otherwise, and the next one, too.
    Delivered,
    /// The device goes on without a reset.
    GoesOn,
    /// The device goes on or is stopped; what matters is that nobody else is harmed.
    Harmless,
}

/// Rings that a case makes sense with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rings {
    Split,
    Packed,
    Both,
}

/// Modes of memory that a case makes sense with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Modes {
    Pinned,
    Virtual,
    Both,
}

/// A thing to try.
#[derive(Clone, Copy)]
pub struct Case {
    /// See [`class_name`](super::class_name).
    pub class: u8,
    /// What is tried, in a few words. No other case has them.
    pub name: &'static str,
    pub act: Act,
    pub expect: Expect,
    pub rings: Rings,
    pub modes: Modes,
    /// What has to be negotiated beside what every driver wants.
    pub needs: Features,
    /// What must not be negotiated.
    pub without: Features,
    /// Where the rings of a split virtqueue start.
    pub base: u16,
    /// Whether the memory is mapped for it.
    pub mapped: bool,
    /// Bytes for a frame.
    pub room: usize,
    /// How often it is done, by a new driver each time.
    pub rounds: u32,
}

impl Case {
    pub const fn new(class: u8, name: &'static str, expect: Expect, act: Act) -> Self {
        Self {
            class,
            name,
            act,
            expect,
            rings: Rings::Both,
            modes: Modes::Both,
            needs: Features::NONE,
            without: Features::NONE,
            base: 0,
            mapped: true,
            room: 2048,
            rounds: 1,
        }
    }

    pub const fn send(class: u8, name: &'static str, expect: Expect, change: Change) -> Self {
        Self::new(class, name, expect, Act::Send(change))
    }

    pub const fn send_table(class: u8, name: &'static str, expect: Expect, change: Change) -> Self {
        Self::new(class, name, expect, Act::SendTable(change))
    }

    pub const fn receive(class: u8, name: &'static str, expect: Expect, change: Change) -> Self {
        Self::new(class, name, expect, Act::Receive(change))
    }

    pub const fn receive_table(
        class: u8,
        name: &'static str,
        expect: Expect,
        change: Change,
    ) -> Self {
        Self::new(class, name, expect, Act::ReceiveTable(change))
    }

    pub const fn run(
        class: u8,
        name: &'static str,
        expect: Expect,
        act: fn(&mut Scene<'_>) -> Outcome,
    ) -> Self {
        Self::new(class, name, expect, Act::Do(act))
    }

    pub const fn before(
        class: u8,
        name: &'static str,
        expect: Expect,
        act: fn(&mut Scene<'_>) -> Outcome,
    ) -> Self {
        Self::new(class, name, expect, Act::Before(act))
    }

    /// One without a driver, whose rings have no format.
    pub const fn others(class: u8, name: &'static str, act: fn(&Room<'_>) -> Outcome) -> Self {
        Self::new(class, name, Expect::Harmless, Act::Without(act)).split()
    }

    pub const fn split(self) -> Self {
        Self {
            rings: Rings::Split,
            ..self
        }
    }

    pub const fn packed(self) -> Self {
        Self {
            rings: Rings::Packed,
            ..self
        }
    }

    pub const fn pinned(self) -> Self {
        Self {
            modes: Modes::Pinned,
            ..self
        }
    }

    pub const fn va(self) -> Self {
        Self {
            modes: Modes::Virtual,
            ..self
        }
    }

    pub const fn needs(self, needs: Features) -> Self {
        Self { needs, ..self }
    }

    pub const fn without(self, without: Features) -> Self {
        Self { without, ..self }
    }

    pub const fn base(self, base: u16) -> Self {
        Self { base, ..self }
    }

    pub const fn unmapped(self) -> Self {
        Self {
            mapped: false,
            ..self
        }
    }

    pub const fn room(self, room: usize) -> Self {
        Self { room, ..self }
    }

    pub const fn rounds(self, rounds: u32) -> Self {
        Self { rounds, ..self }
    }

    /// Whether it makes sense with these rings and this mode of memory.
    pub fn suits(&self, format: Format, va: bool) -> bool {
        let rings = match self.rings {
            Rings::Both => true,
            Rings::Split => format == Format::Split,
            Rings::Packed => format == Format::Packed,
        };
        rings
            && match self.modes {
                Modes::Both => true,
                Modes::Pinned => !va,
                Modes::Virtual => va,
            }
    }
}
