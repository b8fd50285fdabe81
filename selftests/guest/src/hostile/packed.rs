// SPDX-License-Identifier: GPL-2.0

//! Packed rings: names, wrap counters, flags; and where a ring of either format goes on.

use super::{
    case::{Case, Expect::*},
    scene::{Scene, SIZE},
};
use crate::{
    check, check_eq, ioctl,
    outcome::Outcome,
    parent::Parent,
    vhost::{RX, TX},
};
use rvdpa_virtio::layout::packed::{AVAIL, USED};
use std::{thread::sleep, time::Duration};

pub const CASES: &[Case] = &[
    Case::send(
        15,
        "transmit: the first name that there is not",
        Fault(TX, "chain has buffer id 64 of 64"),
        |_, c| c.links[1].id = SIZE,
    )
    .packed(),
    Case::send(
        15,
        "transmit: the greatest name",
        Fault(TX, "chain has buffer id 65535 of 64"),
        |_, c| c.links[1].id = 0xffff,
    )
    .packed(),
    Case::send(
        15,
        "transmit: a name that there is not before the last descriptor",
        Delivered,
        |_, c| c.links[0].id = 0xffff,
    )
    .packed(),
    Case::receive(
        15,
        "receive: a name that there is not",
        Fault(RX, "chain has buffer id 300 of 64"),
        |_, c| c.links[1].id = 300,
    )
    .packed(),
    Case::run(15, "transmit: all chains have one name", Harmless, |s| {
        for _ in 0..SIZE / 2 {
            let chain = s.sent(false);
            s.offer(&chain);
        }
        s.kick()
    })
    .packed(),
    Case::send_table(
        15,
        "transmit: a table with a name that there is not",
        Fault(TX, "chain has buffer id 9999 of 64"),
        |_, c| c.links[0].id = 9999,
    )
    .packed(),
    Case::run(15, "transmit: both flags clear", GoesOn, |s| {
        not_available(s, 0)
    })
    .packed(),
    Case::run(15, "transmit: both flags set", GoesOn, |s| {
        not_available(s, AVAIL | USED)
    })
    .packed(),
    Case::run(15, "transmit: available on the other lap", GoesOn, |s| {
        not_available(s, USED)
    })
    .packed(),
    Case::run(
        15,
        "transmit: available on the other lap, with all other flags",
        GoesOn,
        |s| not_available(s, USED | 7),
    )
    .packed(),
    Case::run(
        15,
        "transmit: available again before it was used",
        Harmless,
        |s| {
            // The whole ring, and the first one again for the next lap.
            for _ in 0..SIZE / 2 {
                let chain = s.sent(false);
                s.offer(&chain);
            }
            s.net.tx.driver.packed_mut().write_flags(0, USED);
            s.kick()
        },
    )
    .packed(),
    Case::run(15, "transmit: reserved flags", Harmless, |s| {
        let mut chain = s.sent(false);
        for link in &mut chain.links {
            link.flags |= 0x7f78 & !(AVAIL | USED);
        }
        s.offer(&chain);
        s.kick()?;
        let got = s.net.wait_receive_from(0)?;
        check_eq!(got.frame, s.frame(1), "the frame");
        Ok(())
    })
    .packed(),
    Case::run(
        15,
        "transmit: the ring is full of one-byte chains",
        Harmless,
        |s| {
            let mut chain = s.sent(false);
            chain.links.truncate(1);
            chain.links[0].flags = 0;
            chain.links[0].len = 1;
            for _ in 0..SIZE {
                s.offer(&chain);
            }
            s.kick()
        },
    )
    .packed(),
    Case::receive(
        15,
        "receive: a chain that is half available",
        Fault(RX, "descriptor 1: not available, but its chain is"),
        |_, c| {
            // The bit that makes it available is taken away by setting the other one.
            c.links[1].flags |= USED;
            c.links[0].len = 20;
        },
    )
    .packed(),
];

/// A descriptor with these flags is not looked at; then it is made available.
fn not_available(s: &mut Scene<'_>, bits: u16) -> Outcome {
    let mut chain = s.sent(false);
    chain.links.truncate(1);
    let link = chain.links[0];
    let descriptor = rvdpa_virtio::layout::packed::Descriptor {
        address: link.address,
        len: 112,
        id: 0,
        flags: bits,
    };
    let driver = s.net.tx.driver.packed_mut();
    driver.write_descriptor(0, descriptor);
    for _ in 0..20 {
        s.kick()?;
    }
    sleep(Duration::from_millis(5));
    check!(s.net.receive_from(0)?.is_none(), "a frame came");
    let now = s.net.tx.driver.packed_mut().read_descriptor(0).flags;
    check_eq!(now, bits, "flags of the descriptor");
    // As it was, for the driver's own eyes.
    s.net.tx.driver.packed_mut().write_flags(0, 0);
    Ok(())
}

pub const BASES: &[Case] = &[
    Case::before(16, "packed: a place behind the ring", GoesOn, |s| {
        refuse(s, &[64, 64 | 0x8000, 0x7fff, 0xffff])
    })
    .packed(),
    Case::before(16, "packed: a used place behind the ring", GoesOn, |s| {
        refuse(s, &[0x0040_8000, 0x7fff_8000, 0xffff_8000, 0xc040_0000])
    })
    .packed(),
    Case::before(
        16,
        "packed: the used place before the available one",
        Harmless,
        |s| {
            // Chains that were available and not used, which do not exist.
            let _ = ioctl::set_vring_base(&s.net.client, TX as u32, 0x8000_8020);
            s.start()?;
            s.send_plain(1)
        },
    )
    .packed(),
    Case::before(16, "split: more than 16 bits of index", Harmless, |s| {
        for base in [0x1_0000, 0x8000_0000, 0xffff_ffff] {
            let _ = ioctl::set_vring_base(&s.net.client, TX as u32, base);
        }
        s.start()?;
        s.send_plain(1)
    })
    .split(),
    Case::before(
        16,
        "split: an index that the driver is not at",
        Fault(TX, "available index"),
        |s| {
            s.net.client.set_base(TX, 1000)?;
            s.start()?;
            s.net.fill_rx()?;
            let chain = s.sent(false);
            s.offer(&chain);
            s.kick()
        },
    )
    .split(),
    Case::run(16, "the place of a queue that runs is set", GoesOn, |s| {
        let set = ioctl::set_vring_base(&s.net.client, TX as u32, 5);
        check!(
            s.room.parent == Parent::Peer || set.is_err(),
            "it was taken"
        );
        Ok(())
    }),
];

/// Places that are refused, all of them.
fn refuse(s: &mut Scene<'_>, bases: &[u32]) -> Outcome {
    for base in bases {
        let set = ioctl::set_vring_base(&s.net.client, TX as u32, *base);
        check!(set.is_err(), "{base:#x} was taken");
    }
    let start = s.net.client.format().base(s.net.client.format().start());
    s.net.client.set_base(TX, start)?;
    s.start()
}
