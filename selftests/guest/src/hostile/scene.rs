// SPDX-License-Identifier: GPL-2.0

//! The driver that attacks, and where it does.

use super::{
    beside::Beside,
    case::{Case, Chain, Link},
};
use crate::{
    arena::Kind,
    check_eq,
    device::Device,
    frame,
    outcome::{Outcome, Stop, While},
    parent::Parent,
    vhost::{mapped, supported, Format, Net, NewDevice, Plan, Queue},
};
use rvdpa_virtio::{
    features::Features,
    layout::{flags, packed, Descriptor},
    mock::{DriverMemory, DriverQueue},
    net::NetHeader,
    status::Status,
};
use vhost::vdpa::VhostVdpa;

/// Descriptors of the attacker's rings.
pub const SIZE: u16 = 64;
/// Bytes on either side of the attacker's memory that are not the device's.
pub const GUARD: usize = 8192;
/// What is in them.
pub const SECRET: [u8; 8] = *b"\xa5guard\xd3\x91";
/// The name of the attacker's device.
pub const NAME: &str = "attacked";

/// The header of a frame that is complete. A loop that does not write one of its own leaves
/// a receiver a number of buffers that is right.
pub const PLAIN: NetHeader = NetHeader {
    flags: 0,
    gso_type: 0,
    hdr_len: 0,
    gso_size: 0,
    csum_start: 0,
    csum_offset: 0,
    num_buffers: 1,
};

/// What several cases have in common: devices, and who is next door.
pub struct Room<'a> {
    pub parent: Parent,
    pub format: Format,
    pub va: bool,
    /// The device that is attacked, and its character device.
    pub device: Device,
    pub path: String,
    /// Another one, and its client.
    pub beside: &'a Beside,
}

/// What the devices offer: all that does not change what a header looks like, or the order
/// of things.
fn offered(parent: Parent, format: Format) -> Outcome<Features> {
    let all = supported(parent.mgmtdev())?;
    let left_out = Features::IN_ORDER
        | Features::NOTIFICATION_DATA
        | Features::NET_DEVICE_STATS
        | Features::NET_HASH_REPORT;
    Ok(match format {
        Format::Split => all.without(left_out | Features::RING_PACKED),
        Format::Packed => all.without(left_out),
    })
}

/// A device of the right kind, with several queue pairs if there are such.
pub fn new_device(parent: Parent, format: Format, name: &str) -> Outcome<(Device, String)> {
    let features = offered(parent, format)?;
    if format == Format::Packed && !features.contains(Features::RING_PACKED) {
        return Err(Stop::Skipped("packed rings".into()));
    }
    let device = parent.device(name);
    match parent {
        Parent::Rvdpa => device.features(features).pairs(2).make(),
        Parent::Peer => NewDevice { ..device }.make(),
    }
}

impl Room<'_> {
    /// The kind of memory that the devices reach.
    pub fn kind(&self) -> Kind {
        match self.va {
            true => Kind::Shared,
            false => Kind::Anonymous,
        }
    }

    /// What an ordinary driver wants.
    pub fn plan(&self) -> Plan {
        Plan {
            kind: self.kind(),
            size: SIZE,
            guard: GUARD,
            features: Features(u64::MAX).without(Features::NET_MQ | Features::NET_RSS),
            ..Plan::default()
        }
    }

    /// What the driver of a case wants.
    pub fn plan_of(&self, case: &Case) -> Plan {
        let plan = self.plan();
        let base = match self.format {
            Format::Split => case.base,
            Format::Packed => self.format.start(),
        };
        Plan {
            features: plan.features.union(case.needs).without(case.without),
            base: Some(base),
            map: case.mapped,
            room: case.room,
            ..plan
        }
    }

    /// Another device of this kind; none is offered, so the case is not for it.
    pub fn another(&self, name: &str) -> Outcome<(Device, String)> {
        new_device(self.parent, self.format, name)
    }
}

/// A driver that runs, or is about to.
pub struct Scene<'a> {
    pub room: &'a Room<'a>,
    pub net: Net,
}

impl Scene<'_> {
    /// Where the memory of the queues that is mapped starts, and its length.
    pub fn mapped(&self) -> (u64, usize) {
        mapped(&self.net.plan, &self.net.memory)
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        let (start, len) = self.mapped();
        start.wrapping_add(len as u64)
    }

    /// A frame to the device itself, as `number` says.
    pub fn frame(&self, number: u64) -> Vec<u8> {
        frame::make(100, self.net.mac, self.net.mac, number)
    }

    /// Writes a whole frame with its header to some place.
    pub fn write_frame(&self, at: u64, number: u64) {
        self.net.memory.write(at, &PLAIN.to_bytes());
        self.net.memory.write(at + 12, &self.frame(number));
    }

    /// A chain of two descriptors for `len` bytes at `at`, of which the first has 12.
    fn two(&self, at: u64, len: u32, bits: u16) -> Vec<Link> {
        let first = Link {
            address: at,
            len: 12,
            flags: bits | flags::NEXT,
            next: 1,
            id: 0,
        };
        let second = Link {
            address: at + 12,
            len: len - 12,
            flags: bits,
            ..Link::default()
        };
        vec![first, second]
    }

    fn in_table(&self, at: u64, mut links: Vec<Link>) -> Chain {
        if self.room.format == Format::Packed {
            // In a table they follow each other anyway.
            for link in &mut links {
                link.flags &= !flags::NEXT;
            }
        }
        let reference = Link {
            address: at,
            len: 16 * links.len() as u32,
            flags: flags::INDIRECT,
            ..Link::default()
        };
        Chain {
            links: vec![reference],
            table: links,
            head: 0,
        }
    }

    /// A good frame as a chain, in a table or not.
    pub fn sent(&self, table: bool) -> Chain {
        let tx = &self.net.tx;
        self.write_frame(tx.buffers, 1);
        let links = self.two(tx.buffers, 112, 0);
        match table {
            true => self.in_table(tx.tables, links),
            false => Chain {
                links,
                ..Chain::default()
            },
        }
    }

    /// A good receive buffer as a chain, in a table or not.
    pub fn received(&self, table: bool) -> Chain {
        let rx = &self.net.rx;
        let links = self.two(rx.buffers, 2048, flags::WRITE);
        match table {
            true => self.in_table(rx.tables, links),
            false => Chain {
                links,
                ..Chain::default()
            },
        }
    }

    /// Makes a chain available in the transmit queue, whatever it is.
    pub fn offer(&mut self, chain: &Chain) {
        let tables = self.net.tx.tables;
        write_table(&self.net.tx, tables, &chain.table);
        match self.room.format {
            Format::Split => {
                let driver = self.net.tx.driver.split_mut();
                for (index, link) in (0..SIZE).zip(&chain.links) {
                    driver.write_descriptor(index, split(link));
                }
                driver.add_head(chain.head);
                driver.publish();
            }
            Format::Packed => {
                let links: Vec<_> = chain.links.iter().map(packed).collect();
                let driver = self.net.tx.driver.packed_mut();
                driver.add_descriptors(&links);
                driver.publish();
            }
        }
    }

    /// Puts a chain in the place of the receive buffers that are next, which the device has
    /// not looked at.
    pub fn plant(&mut self, chain: &Chain) {
        let tables = self.net.rx.tables;
        write_table(&self.net.rx, tables, &chain.table);
        for (index, link) in (0..SIZE).zip(&chain.links) {
            match self.room.format {
                Format::Split => {
                    let driver = self.net.rx.driver.split();
                    driver.write_descriptor(index, split(link));
                    driver.write_available_entry(0, chain.head);
                }
                Format::Packed => {
                    let mut descriptor = packed(link);
                    descriptor.flags |= packed::AVAIL;
                    self.net
                        .rx
                        .driver
                        .packed_mut()
                        .write_descriptor(index, descriptor);
                }
            }
        }
    }

    /// Sets `DRIVER_OK`, whatever comes of it: the device may have seen by then what is wrong.
    pub fn start(&self) -> Outcome {
        let kernel = self.net.client.kernel();
        let status = self.net.client.status()?.with(Status::DRIVER_OK);
        kernel.set_status(status.0).when("DRIVER_OK")
    }

    /// Kicks both queues of the pair.
    pub fn kick(&self) -> Outcome {
        self.net.rx.kick()?;
        self.net.tx.kick()
    }

    /// Sends a good frame by an ordinary driver, without waiting for anything.
    pub fn send_plain(&mut self, number: u64) -> Outcome {
        let sent = self.frame(number);
        self.net.add_frame_to(0, PLAIN, &sent);
        self.net.tx.driver.publish();
        self.kick()
    }

    /// Has frames looped by an ordinary driver.
    pub fn frames_pass(&mut self, count: u64) -> Outcome {
        frames_pass(&mut self.net, count)
    }
}

/// Has frames looped, one at a time.
pub fn frames_pass(net: &mut Net, count: u64) -> Outcome {
    for number in 0..count {
        let sent = frame::make(100, net.mac, net.mac, number);
        net.fill_rx()?;
        net.send_frame(0, PLAIN, &sent)?;
        let got = net.wait_receive_from(0)?;
        check_eq!(got.frame, sent, "frame {number}");
    }
    Ok(())
}

fn write_table(queue: &Queue, at: u64, table: &[Link]) {
    for (entry, link) in table.iter().enumerate() {
        let bytes = match &queue.driver {
            crate::vhost::Ring::Split(_) => split(link).to_bytes(),
            crate::vhost::Ring::Packed(_) => packed(link).to_bytes(),
        };
        queue.driver.memory().write(at + 16 * entry as u64, &bytes);
    }
}

fn split(link: &Link) -> Descriptor {
    Descriptor {
        address: link.address,
        len: link.len,
        flags: link.flags,
        next: link.next,
    }
}

fn packed(link: &Link) -> packed::Descriptor {
    packed::Descriptor {
        address: link.address,
        len: link.len,
        id: link.id,
        flags: link.flags,
    }
}
