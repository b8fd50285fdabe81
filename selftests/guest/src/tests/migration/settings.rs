// SPDX-License-Identifier: GPL-2.0

//! What a driver asks for by the control queue, and whether it has it.

use super::{Scene, LIMIT, PAIRS};
use crate::{
    check_eq, fail, frame,
    inet::{payload, Packet},
    outcome::{Outcome, While},
    sys::scaled,
    tests::control_queue::{coalescing, mac_tables, queue_coalescing, rss},
    toeplitz,
    vhost::Net,
};
use rvdpa_virtio::{
    features::Features,
    net::{
        control::{self, mac, mq, offloads, rx, vlan},
        NetHeader,
    },
};
use std::time::Instant;

const STATION: [u8; 6] = [2, 0, 0, 0, 0x61, 1];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0x61, 1];
const EVERYONE: [u8; 6] = [0xff; 6];
/// The VLAN that the driver is a member of.
const VLAN: u16 = 7;
/// Hashes of UDP over IPv4.
const UDPV4: u32 = 1 << 2;

/// Which of the queue pairs frames come on.
#[derive(Clone, Copy)]
pub enum Spread {
    /// The one that their flow is sent from.
    Flow,
    /// The one that their hash means.
    Hash,
}

/// What a driver asks for.
#[derive(Clone, Copy)]
pub struct Settings {
    pub mac: [u8; 6],
    pub spread: Spread,
    /// Offloads of received frames.
    pub offloads: Features,
}

impl Settings {
    pub fn new(spread: Spread) -> Self {
        Self {
            mac: [2, 0, 0, 0, 0x60, 1],
            spread,
            offloads: match spread {
                Spread::Flow => Features::NONE,
                Spread::Hash => Features::NET_GUEST_CSUM,
            },
        }
    }

    fn key() -> Vec<u8> {
        payload(40, 7)
    }

    /// Not each pair at its place.
    fn table() -> [u16; 8] {
        [3, 1, 0, 2, 2, 3, 1, 0]
    }

    /// The pair on which the frames of a flow come, if that is fixed.
    pub fn pair(&self, packet: &Packet) -> Option<usize> {
        match self.spread {
            Spread::Flow => None,
            Spread::Hash => {
                let hash = toeplitz::hash(&Self::key(), &packet.hash_input(true));
                let table = Self::table();
                Some(table[hash as usize % table.len()].into())
            }
        }
    }

    /// Asks for all that can be asked for before the other virtqueues are enabled.
    pub fn ask(&self, net: &mut Net) -> Outcome {
        net.do_command(mac::CLASS, mac::ADDR_SET, &self.mac)?;
        let class = mq::CLASS;
        match self.spread {
            Spread::Flow => net.use_pairs(PAIRS as u16)?,
            Spread::Hash => {
                let data = rss(UDPV4, &Self::table(), 1, PAIRS as u16, &Self::key());
                net.do_command(class, mq::RSS_CONFIG, &data)?;
            }
        }
        let bits = self.offloads.0.to_le_bytes();
        net.do_command(offloads::CLASS, offloads::SET, &bits)?;
        net.do_command(rx::CLASS, rx::PROMISC, &[0])?;
        net.do_command(rx::CLASS, rx::ALLMULTI, &[0])?;
        let tables = mac_tables(&[STATION], &[GROUP]);
        net.do_command(mac::CLASS, mac::TABLE_SET, &tables)?;
        net.do_command(vlan::CLASS, vlan::ADD, &VLAN.to_le_bytes())?;
        let class = control::coalescing::CLASS;
        net.do_command(class, control::coalescing::RX_SET, &coalescing(8, 900))?;
        net.do_command(class, control::coalescing::TX_SET, &coalescing(16, 1000))
    }

    /// Asks for what can only be asked for virtqueues that are enabled.
    pub fn ask_enabled(&self, net: &mut Net) -> Outcome {
        let class = control::coalescing::CLASS;
        let data = queue_coalescing(3, 5, 800);
        net.do_command(class, control::coalescing::VQ_SET, &data)
    }
}

impl Scene {
    /// Asserts that the device does all that the driver asked for.
    pub fn has_settings(&mut self) -> Outcome {
        let mac = self.mover.net.client.config()?.mac().0;
        check_eq!(mac, self.mover.settings.mac, "address in the configuration");
        for (index, wanted) in [
            (0, coalescing(8, 900)),
            (1, coalescing(16, 1000)),
            (3, coalescing(5, 800)),
            (6, coalescing(8, 900)),
        ] {
            let class = control::coalescing::CLASS;
            let data = &queue_coalescing(index, 0, 0)[..4];
            let reply = self
                .mover
                .net
                .query(class, control::coalescing::VQ_GET, data, 8)?;
            check_eq!(reply.result, wanted, "coalescing of virtqueue {index}");
        }
        self.filters()?;
        self.checksums()
    }

    /// Which frames come, and which do not.
    fn filters(&mut self) -> Outcome {
        let own = self.mover.settings.mac;
        let near = |mut address: [u8; 6]| {
            address[5] ^= 2;
            address
        };
        let cases = [
            ("own", own, None, true),
            ("a station of the table", STATION, None, true),
            ("another station", near(STATION), None, false),
            ("the address before", self.here_mac(), None, false),
            ("a group of the table", GROUP, None, true),
            ("another group", near(GROUP), None, false),
            ("everyone", EVERYONE, None, true),
            ("the VLAN", own, Some(VLAN), true),
            ("another VLAN", own, Some(VLAN + 1), false),
        ];
        // The last one says that there are no more.
        let end = cases.len() as u64;
        for (number, (_, to, tag, _)) in cases.iter().enumerate() {
            self.probe(number as u64, *to, *tag)?;
        }
        self.probe(end, own, None)?;
        let mut come = Vec::new();
        let start = Instant::now();
        'all: loop {
            for pair in 0..PAIRS {
                while let Some(got) = self.mover.net.receive_from(pair)? {
                    let tagged = got.frame[12] == 0x81;
                    let frame = &got.frame[if tagged { 4 } else { 0 }..];
                    let number = frame::number(frame).when("a number")?;
                    if number == end {
                        break 'all;
                    }
                    come.push(number);
                }
            }
            if start.elapsed() > scaled(LIMIT) {
                fail!("of the frames for filters, only {come:?} came");
            }
        }
        self.mover.net.fill_rx()?;
        for (number, (what, _, _, wanted)) in cases.iter().enumerate() {
            let count = come.iter().filter(|come| **come == number as u64).count();
            check_eq!(count, usize::from(*wanted), "frames for {what}");
        }
        Ok(())
    }

    /// The address that the port itself has.
    fn here_mac(&self) -> [u8; 6] {
        let number = if self.mover.here.name() == "left" {
            1
        } else {
            2
        };
        [2, 0, 0, 0, 0x50, number]
    }

    /// Has the peer send a frame.
    fn probe(&mut self, number: u64, to: [u8; 6], tag: Option<u16>) -> Outcome {
        let mut bytes = frame::make(100, to, self.peer.mac, number);
        if let Some(tag) = tag {
            let [high, low] = tag.to_be_bytes();
            bytes.splice(12..12, [0x81, 0, high, low]);
        }
        self.peer.send_frame(0, NetHeader::default(), &bytes)
    }

    /// Whether checksums are left to the driver.
    fn checksums(&mut self) -> Outcome {
        let packet = Packet::new(self.mover.settings.mac, self.peer.mac, false, true, 300);
        let header = packet.checksum_header();
        self.peer.send_frame(0, header, &packet.partial())?;
        let got = self.mover.wait_receive()?;
        let partial = self
            .mover
            .settings
            .offloads
            .contains(Features::NET_GUEST_CSUM);
        let flag = got.header.flags & NetHeader::NEEDS_CSUM != 0;
        check_eq!(flag, partial, "NEEDS_CSUM");
        let wanted = if partial {
            packet.partial()
        } else {
            packet.complete()
        };
        if let Some(difference) = frame::difference(&got.frame, &wanted) {
            fail!("{difference}");
        }
        Ok(())
    }
}
