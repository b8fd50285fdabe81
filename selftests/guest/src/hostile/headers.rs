// SPDX-License-Identifier: GPL-2.0

//! Headers of frames that lie. What is not so does not reach another driver.

use super::{
    case::{Act, Case, Chain, Expect::*},
    scene::Scene,
};
use crate::{check_eq, inet::Packet, vhost::TX};
use rvdpa_virtio::{features::Features, mock::DriverMemory, net::NetHeader};

type F = Features;

/// What a sender leaves to the device.
const HOST: Features = Features(
    F::NET_CSUM.0 | F::NET_HOST_TSO4.0 | F::NET_HOST_TSO6.0 | F::NET_HOST_ECN.0 | F::NET_HOST_USO.0,
);

/// What the device leaves to a receiver.
const GUEST: Features = Features(
    F::NET_GUEST_CSUM.0
        | F::NET_GUEST_TSO4.0
        | F::NET_GUEST_TSO6.0
        | F::NET_GUEST_ECN.0
        | F::NET_GUEST_USO4.0
        | F::NET_GUEST_USO6.0,
);

/// Bytes of the packet, with an Ethernet header, one of IPv4 and one of TCP.
const LEN: u16 = 1054;

pub const CASES: &[Case] = &[
    large("segments of no bytes", |h| h.gso_size = 0),
    large("an unknown kind of segments", |h| h.gso_type = 2),
    large("fragments of UDP", |h| h.gso_type = NetHeader::GSO_UDP),
    large("all bits of the kind of segments", |h| h.gso_type = 0xff),
    large("ECN and no kind of segments", |h| {
        h.gso_type = NetHeader::GSO_ECN;
    }),
    large("segments without a checksum", |h| h.flags = 0),
    large("segments of IPv6 that are IPv4", |h| {
        h.gso_type = NetHeader::GSO_TCPV6;
    }),
    large("segments of UDP that are TCP", |h| {
        h.gso_type = NetHeader::GSO_UDP_L4;
    }),
    large("a checksum of segments from the IP header on", |h| {
        h.csum_start = 14;
    }),
    large("a checksum of segments at the place of UDP's", |h| {
        h.csum_offset = 6;
    }),
    large("a checksum of segments beyond all numbers", |h| {
        h.csum_start = 0xffff;
        h.csum_offset = 0xffff;
    }),
    partial("a checksum from the end of the frame on", |h| {
        h.csum_start = LEN;
    }),
    partial("a checksum far behind the frame", |h| h.csum_start = 0xffff),
    partial("a checksum half behind the frame", |h| {
        h.csum_offset = LEN - 34 - 1;
    }),
    partial("a checksum to be put behind the frame", |h| {
        h.csum_offset = LEN - 34;
    }),
    partial("a checksum to be put far behind the frame", |h| {
        h.csum_offset = 0xffff;
    }),
    partial("a checksum over the end of numbers", |h| {
        h.csum_start = 0xffff;
        h.csum_offset = 1;
    }),
    partial("a checksum in the Ethernet header", |h| h.csum_start = 0),
    Case::send(
        19,
        "a packet that ends in its IP header",
        Dropped(TX, "tx drops malformed"),
        |s, c| {
            tcp(s, c, true, |_| {});
            c.links[1].len = 30;
        },
    )
    .needs(HOST),
    Case::send(
        19,
        "a packet that ends in its TCP header",
        Dropped(TX, "tx drops malformed"),
        |s, c| {
            tcp(s, c, true, |_| {});
            c.links[1].len = 44;
        },
    )
    .needs(HOST),
    Case::send(
        19,
        "an IP header that is longer than the packet",
        Dropped(TX, "tx drops malformed"),
        |s, c| {
            tcp(s, c, true, |_| {});
            s.net.memory.write(s.net.tx.buffers + 12 + 14, &[0x4f]);
            c.links[1].len = 54;
        },
    )
    .needs(HOST),
    Case::send(
        19,
        "a TCP header of no bytes",
        Dropped(TX, "tx drops malformed"),
        |s, c| {
            tcp(s, c, true, |_| {});
            s.net.memory.write(s.net.tx.buffers + 12 + 46, &[0]);
        },
    )
    .needs(HOST),
    Case::send(
        19,
        "a checksum, and that was not negotiated",
        Dropped(TX, "tx drops malformed"),
        |s, c| tcp(s, c, false, |_| {}),
    )
    .without(HOST.union(GUEST)),
    Case::send(
        19,
        "segments, and they were not negotiated",
        Dropped(TX, "tx drops malformed"),
        |s, c| tcp(s, c, true, |_| {}),
    )
    .without(HOST.union(GUEST)),
    Case::send(
        19,
        "a length of headers that is greater than the frame",
        Delivered,
        |s, _| header(s, |h| h.hdr_len = 0xffff),
    ),
    Case::run(
        19,
        "a number of buffers, which is the device's to say",
        Harmless,
        |s| {
            let chain = s.sent(false);
            header(s, |h| h.num_buffers = 0xffff);
            s.offer(&chain);
            s.kick()?;
            let got = s.net.wait_receive_from(0)?;
            check_eq!(got.header.num_buffers, 1, "number of buffers");
            Ok(())
        },
    ),
    Case::run(19, "flags that only a receiver is told", Harmless, |s| {
        let chain = s.sent(false);
        header(s, |h| h.flags = 0xfe);
        s.offer(&chain);
        s.kick()?;
        let got = s.net.wait_receive_from(0)?;
        check_eq!(got.header.flags & 0xfd, 0, "flags but DATA_VALID");
        Ok(())
    }),
];

/// Changes the header of the frame that is sent.
fn header(s: &Scene<'_>, change: impl FnOnce(&mut NetHeader)) {
    let at = s.net.tx.buffers;
    let mut bytes = [0; 12];
    s.net.memory.read(at, &mut bytes);
    let mut header = NetHeader::from_bytes(bytes);
    change(&mut header);
    s.net.memory.write(at, &header.to_bytes());
}

/// Makes the frame a packet of TCP, in segments or not.
pub fn tcp(s: &Scene<'_>, c: &mut Chain, segments: bool, change: fn(&mut NetHeader)) {
    let packet = Packet::new(s.net.mac, [2, 1, 1, 1, 1, 1], false, false, 1000);
    let mut start = match segments {
        true => packet.segmentation_header(400),
        false => packet.checksum_header(),
    };
    start.num_buffers = 1;
    change(&mut start);
    let bytes = packet.partial();
    s.net.memory.write(s.net.tx.buffers, &start.to_bytes());
    s.net.memory.write(s.net.tx.buffers + 12, &bytes);
    c.links[1].len = bytes.len() as u32;
}

/// A lie about a large packet.
const fn large(name: &'static str, change: fn(&mut NetHeader)) -> Case {
    lie(name, Act::Lie(true, change))
}

/// A lie about a packet whose checksum is to be filled in.
const fn partial(name: &'static str, change: fn(&mut NetHeader)) -> Case {
    lie(name, Act::Lie(false, change))
}

const fn lie(name: &'static str, act: Act) -> Case {
    Case::new(19, name, Dropped(TX, "tx drops malformed"), act).needs(HOST)
}
