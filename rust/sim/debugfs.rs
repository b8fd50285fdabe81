// SPDX-License-Identifier: GPL-2.0

//! What root sees of devices and switches in debugfs, and can do with them.
//!
//! Below `/sys/kernel/debug/rvdpa_sim`:
//!
//! - `devices/NAME/link`: whether the device has a carrier, `up` or `down`; can be written;
//! - `devices/NAME/announce`: whether the driver is to announce itself; writing `1` asks for
//!   it;
//! - `devices/NAME/queues`: a table of the virtqueues;
//! - `switches/NAME/ports`: a table of the ports of a switch, which has the name of its
//!   management device;
//! - `switches/NAME/fdb`: a table of the addresses that it has learned.
//!
//! The files of a device go when it is deleted. A module with an open file is in use, and
//! cannot be removed (see [`debugfs`]).
//!
//! Tables are put together line by line, each from what the locks gave for it, and none is
//! held while it is printed. So what a table says may not have been so all at once.

use super::{
    fabric::Fabric,
    port::Port,
    slots::Slots, //
};
use crate::vdpa::debugfs::{
    Directory,
    File,
    Seq,
    Show,
    Store, //
};
use core::fmt::{
    self,
    Write, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
};

mod queues;

use queues::Queues;

/// Where the files are.
#[derive(Clone)]
pub(crate) struct Folders {
    devices: Directory,
    switches: Directory,
}

impl Folders {
    /// Makes them, with nothing in them.
    pub(crate) fn new() -> Self {
        let top = Directory::top(c"rvdpa_sim");
        Self {
            devices: top.directory(c"devices"),
            switches: top.directory(c"switches"),
        }
    }
}

/// The files of a device.
pub(super) struct DeviceFiles {
    _link: File<Link>,
    _announce: File<Announce>,
    _queues: File<Queues>,
}

impl DeviceFiles {
    /// Makes the files of the device with these virtqueues.
    pub(super) fn new(folders: &Folders, slots: &Arc<Slots>) -> Self {
        let port = &slots.port;
        let folder = folders.devices.directory(&port.shared.name);
        Self {
            _link: folder.read_write(c"link", Link(port.clone())),
            _announce: folder.read_write(c"announce", Announce(port.clone())),
            _queues: folder.read_only(c"queues", Queues(slots.clone())),
        }
    }
}

/// The files of a switch.
pub(super) struct SwitchFiles {
    _ports: File<Ports>,
    _fdb: File<Fdb>,
}

impl SwitchFiles {
    /// Makes the files of a switch with this name.
    pub(super) fn new(folders: &Folders, name: &CStr, fabric: &Arc<Fabric>) -> Self {
        let folder = folders.switches.directory(name);
        Self {
            _ports: folder.read_only(c"ports", Ports(fabric.clone())),
            _fdb: folder.read_only(c"fdb", Fdb(fabric.clone())),
        }
    }
}

/// The carrier of a device.
struct Link(Arc<Port>);

/// The words for a carrier.
const fn link_word(up: bool) -> &'static str {
    if up {
        "up"
    } else {
        "down"
    }
}

impl Show for Link {
    fn show(&self, out: &mut Seq<'_>) -> fmt::Result {
        writeln!(out, "{}", link_word(self.0.shared.link_is_up()))
    }
}

impl Store for Link {
    fn store(&self, line: &str) -> Result {
        let up = [true, false].into_iter().find(|up| line == link_word(*up));
        self.0.set_link(up.ok_or(EINVAL)?);
        Ok(())
    }
}

/// Whether the driver is to announce itself.
struct Announce(Arc<Port>);

impl Show for Announce {
    fn show(&self, out: &mut Seq<'_>) -> fmt::Result {
        writeln!(out, "{}", u8::from(self.0.shared.wants_announcement()))
    }
}

impl Store for Announce {
    fn store(&self, line: &str) -> Result {
        match line {
            "1" => self.0.shared.ask_to_announce(),
            _ => Err(EINVAL),
        }
    }
}

/// The name of a port.
fn name(port: &Port) -> &str {
    // It has printable ASCII only.
    port.shared.name.to_str().unwrap_or("?")
}

/// The ports of a switch.
struct Ports(Arc<Fabric>);

impl Show for Ports {
    /// Received and sent are as the devices see it. Of what was to be received, dropped is
    /// what found no room, and filtered what the device did not want; of what was sent, what
    /// was malformed, or came while there was no link.
    fn show(&self, out: &mut Seq<'_>) -> fmt::Result {
        writeln!(
            out,
            "number mac               link     received   received_bytes         sent       \
             sent_bytes received_drops   sent_drops     filtered name"
        )?;
        for port in self.0.ports() {
            let (received, sent) = port.totals();
            writeln!(
                out,
                "{:>6} {} {:<4} {:>12} {:>16} {:>12} {:>16} {:>14} {:>12} {:>12} {}",
                port.name.number,
                port.shared.mac(),
                link_word(port.shared.link_is_up()),
                received.packets,
                received.bytes,
                sent.packets,
                sent.bytes,
                received.drops(),
                sent.drops(),
                port.filtered.load(Relaxed),
                name(&port)
            )?;
        }
        Ok(())
    }
}

/// What a switch has learned.
struct Fdb(Arc<Fabric>);

impl Show for Fdb {
    fn show(&self, out: &mut Seq<'_>) -> fmt::Result {
        writeln!(out, "mac               vlan   age port")?;
        let now = self.0.now();
        let pieces = (0..).map_while(|piece| self.0.learned(piece, now));
        for (entry, port) in pieces.flatten().flatten() {
            let station = entry.station;
            writeln!(
                out,
                "{} {:>4} {:>5} {}",
                crate::virtio::net::MacAddress(station.mac),
                station.vlan,
                u64::from(now).saturating_sub(entry.seen),
                name(&port)
            )?;
        }
        Ok(())
    }
}
