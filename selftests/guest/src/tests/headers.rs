// SPDX-License-Identifier: GPL-2.0

//! What the header of a frame leaves to the device or to the receiver: checksums and
//! segmentation, carried through or carried out.

mod checksums;
mod lies;
mod segments;

pub use checksums::TESTS as CHECKSUMS;
pub use lies::TESTS as LIES;
pub use segments::TESTS;

use super::rings::kind;
use crate::{
    check_eq,
    device::{Device, MAC},
    harness::Context,
    inet::{tcp, Packet},
    outcome::Outcome,
    vhost::{Format, Net, NewDevice, Plan, BASIC},
};
use rvdpa_virtio::features::Features;

/// What a sender leaves to the device.
const HOST: Features = Features(
    Features::NET_CSUM.0
        | Features::NET_HOST_TSO4.0
        | Features::NET_HOST_TSO6.0
        | Features::NET_HOST_ECN.0
        | Features::NET_HOST_USO.0,
);

/// What the device leaves to a receiver, but for checksums.
const GUEST_SEGMENTS: Features = Features(
    Features::NET_GUEST_TSO4.0
        | Features::NET_GUEST_TSO6.0
        | Features::NET_GUEST_ECN.0
        | Features::NET_GUEST_USO4.0
        | Features::NET_GUEST_USO6.0,
);

/// All that the device leaves to a receiver.
const GUEST: Features = Features(GUEST_SEGMENTS.0 | Features::NET_GUEST_CSUM.0);

/// How many bytes there are for a frame.
const ROOM: usize = 68 * 1024;

/// A device that loops, with these features beside the ones that every driver wants.
fn ready(context: &Context, format: Format, features: Features) -> Outcome<(Device, Net)> {
    let more = HOST | GUEST | Features::NET_GUEST_HDRLEN | Features::NET_CTRL_GUEST_OFFLOADS;
    let (device, path) = NewDevice::named("head").format(format, more).make()?;
    let ring = Features::RING_PACKED;
    let plan = Plan {
        kind: kind(context),
        features: BASIC | ring | features,
        size: 64,
        room: ROOM,
        ..Plan::default()
    };
    let net = Net::new(&path, plan)?;
    check_eq!(net.format(), format, "format of the rings");
    Ok((device, net))
}

/// A kind of large packet.
#[derive(Clone, Copy, Debug)]
struct Large {
    v6: bool,
    udp: bool,
    ecn: bool,
}

impl Large {
    const ALL: [Self; 6] = [
        Self::new(false, false, false),
        Self::new(true, false, false),
        Self::new(false, false, true),
        Self::new(true, false, true),
        Self::new(false, true, false),
        Self::new(true, true, false),
    ];

    const fn new(v6: bool, udp: bool, ecn: bool) -> Self {
        Self { v6, udp, ecn }
    }

    /// Such a packet to the device itself.
    fn packet(self, len: usize) -> Packet {
        let congestion = if self.ecn { tcp::CWR } else { 0 };
        Packet {
            flags: tcp::ACK | tcp::PSH | tcp::FIN | congestion,
            ..Packet::new(MAC, [2, 1, 1, 1, 1, 1], self.v6, self.udp, len)
        }
    }

    /// The longest payload that the length fields of its headers can say.
    fn longest(self) -> usize {
        let network = if self.v6 { 0 } else { 20 };
        65535 - network - if self.udp { 8 } else { 20 }
    }
}
