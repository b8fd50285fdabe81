// SPDX-License-Identifier: GPL-2.0

//! Offloads that are switched on and off while the device runs.

use super::ready;
use crate::{
    check, check_eq,
    device::MAC,
    harness::{Context, Test},
    inet::Packet,
    outcome::{Outcome, While},
    tests::{delivery::looped, rings::both},
};
use rvdpa_virtio::{
    features::Features,
    net::{
        control::offloads::{CLASS, SET},
        NetHeader,
    },
};

pub const TESTS: &[Test] = both! {
    "guest_offloads", switched;
};

fn switched(context: &mut Context) -> Outcome {
    type F = Features;
    let (device, mut net) = ready(context, 1, Features(u64::MAX))?;
    let packet = Packet::new(MAC, [2, 1, 1, 1, 1, 1], false, false, 700);
    let all = F::NET_GUEST_CSUM | F::NET_GUEST_TSO4 | F::NET_GUEST_TSO6 | F::NET_GUEST_ECN;
    for (what, set, partial) in [
        ("as negotiated", None, true),
        ("none", Some(F::NONE), false),
        ("checksums alone", Some(F::NET_GUEST_CSUM), true),
        ("none again", Some(F::NONE), false),
        ("TCP", Some(all), true),
    ] {
        if let Some(set) = set {
            net.do_command(CLASS, SET, &set.0.to_le_bytes())
                .when(what)?;
        }
        let header = packet.checksum_header();
        let come = looped(&device, &mut net, 0, header, &packet.partial()).when(what)?;
        let (_, got) = come.when(what)?;
        if partial {
            check_eq!(got.header.flags, NetHeader::NEEDS_CSUM, "flags: {what}");
            check_eq!(
                got.header.csum_start,
                header.csum_start,
                "csum_start: {what}"
            );
            check_eq!(
                got.header.csum_offset,
                header.csum_offset,
                "csum_offset: {what}"
            );
            check!(
                got.frame == packet.partial(),
                "the frame was changed: {what}"
            );
        } else {
            check!(
                got.header.flags & NetHeader::NEEDS_CSUM == 0,
                "NEEDS_CSUM: {what}"
            );
            check_eq!(
                Packet::parse(&got.frame).when(what)?,
                packet,
                "frame: {what}"
            );
        }
    }
    // What was refused changes nothing: TCP without checksums.
    net.refuse_command(CLASS, SET, &F::NET_GUEST_TSO4.0.to_le_bytes())?;
    let header = packet.checksum_header();
    let come = looped(&device, &mut net, 0, header, &packet.partial())?;
    let (_, got) = come.when("a frame after the refusal")?;
    check_eq!(
        got.header.flags,
        NetHeader::NEEDS_CSUM,
        "flags after the refusal"
    );
    drop(net);
    device.delete()
}
