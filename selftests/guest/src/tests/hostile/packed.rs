// SPDX-License-Identifier: GPL-2.0

//! Packed rings: descriptors, chains and tables that break the rules, and what is only not
//! available.

use super::attacks::{frame_descriptor, try_all, Attack, FEW, SIZE};
use crate::{
    check, check_eq, frame,
    harness::{Context, Test},
    outcome::Outcome,
    sys::SOON,
    tests::rings::{both, running},
    vhost::{Format, Net, RX, TX},
};
use rvdpa_virtio::{
    features::Features,
    layout::{
        flags,
        packed::{event, Descriptor, AVAIL, USED},
    },
};
use std::{thread::sleep, time::Duration};

pub const TESTS: &[Test] = both! {
    "hostile_packed_chains", chains;
    "hostile_packed_tables", tables;
    "hostile_packed_buffers", buffers;
    "packed_not_available", not_available;
    "packed_event_suppression", suppression;
};

/// A descriptor for a whole frame to the device itself.
fn whole(net: &Net) -> Descriptor {
    let split = frame_descriptor(net);
    Descriptor {
        address: split.address,
        len: split.len,
        id: 0,
        flags: 0,
    }
}

/// Makes descriptors of the transmit ring available, whatever they are.
fn offer(net: &mut Net, descriptors: &[Descriptor]) {
    use rvdpa_virtio::mock::DriverQueue;

    let driver = net.tx.driver.packed_mut();
    driver.add_descriptors(descriptors);
    driver.publish();
}

/// Makes a descriptor of the transmit ring that refers to a table available.
fn offer_table(net: &mut Net, entries: &[Descriptor], change: impl FnOnce(&mut Descriptor)) {
    let tables = net.tx.tables;
    let mut descriptor = net.tx.driver.packed_mut().write_table(tables, entries);
    change(&mut descriptor);
    offer(net, &[descriptor]);
}

/// Replaces all receive buffers by this one, and sends a frame.
fn receive_into(net: &mut Net, change: impl Fn(&mut Descriptor)) {
    let mut descriptor = Descriptor {
        address: net.rx.buffers,
        len: 2048,
        id: 0,
        // Available on the first lap.
        flags: flags::WRITE | AVAIL,
    };
    change(&mut descriptor);
    for index in 0..SIZE {
        net.rx
            .driver
            .packed_mut()
            .write_descriptor(index, descriptor);
    }
    let sent = whole(net);
    offer(net, &[sent]);
}

fn chains(context: &mut Context) -> Outcome {
    try_all(
        context,
        Format::Packed,
        &[
            Attack::new("id just too large", TX, "buffer id 256 of 256", |net| {
                let descriptor = Descriptor {
                    id: SIZE,
                    ..whole(net)
                };
                offer(net, &[descriptor]);
            }),
            Attack::new("id far too large", TX, "buffer id 65535 of 256", |net| {
                let descriptor = Descriptor {
                    id: u16::MAX,
                    ..whole(net)
                };
                offer(net, &[descriptor]);
            }),
            Attack::new(
                "id of a receive buffer",
                RX,
                "buffer id 300 of 256",
                |net| {
                    receive_into(net, |descriptor| descriptor.id = 300);
                },
            ),
            Attack::new(
                "a chain that ends nowhere",
                TX,
                "chain has a loop or more than 256 descriptors",
                |net| {
                    let descriptor = Descriptor {
                        len: 8,
                        flags: flags::NEXT,
                        ..whole(net)
                    };
                    offer(net, &[descriptor; SIZE as usize]);
                },
            ),
            Attack::new(
                "a chain that is half available",
                TX,
                "descriptor 1: not available, but its chain is",
                |net| {
                    let descriptor = Descriptor {
                        flags: flags::NEXT,
                        ..whole(net)
                    };
                    offer(net, &[descriptor]);
                },
            ),
            Attack::new(
                "more than 4 GiB",
                TX,
                "chain has more than 4294967295 bytes",
                |net| {
                    let first = Descriptor {
                        flags: flags::NEXT,
                        ..whole(net)
                    };
                    let second = Descriptor {
                        len: u32::MAX,
                        flags: 0,
                        ..first
                    };
                    offer(net, &[first, second]);
                },
            ),
        ],
    )
}

fn tables(context: &mut Context) -> Outcome {
    let mut not_negotiated = Attack::new(
        "a table without the feature",
        TX,
        "descriptor 0: indirect, but VIRTIO_F_INDIRECT_DESC is not negotiated",
        |net| {
            let entry = whole(net);
            offer_table(net, &[entry], |_| ());
        },
    );
    not_negotiated.features = Features(u64::MAX).without(Features::INDIRECT_DESC);
    try_all(
        context,
        Format::Packed,
        &[
            not_negotiated,
            Attack::new(
                "a table that goes on",
                TX,
                "both indirect and chained",
                |net| {
                    let entry = whole(net);
                    offer_table(net, &[entry], |descriptor| descriptor.flags |= flags::NEXT);
                },
            ),
            Attack::new(
                "a table behind another",
                TX,
                "both indirect and chained",
                |net| {
                    let first = Descriptor {
                        len: 12,
                        flags: flags::NEXT,
                        ..whole(net)
                    };
                    let tables = net.tx.tables;
                    let second = net.tx.driver.packed_mut().write_table(tables, &[first]);
                    offer(net, &[first, second]);
                },
            ),
            Attack::new("a table of no bytes", TX, "0 bytes are not 1 to", |net| {
                let entry = whole(net);
                offer_table(net, &[entry], |descriptor| descriptor.len = 0);
            }),
            Attack::new("a table of 17 bytes", TX, "17 bytes are not 1 to", |net| {
                let entry = whole(net);
                offer_table(net, &[entry], |descriptor| descriptor.len = 17);
            }),
            Attack::new(
                "a table as long as can be",
                TX,
                "4294967280 bytes are not",
                |net| {
                    let entry = whole(net);
                    offer_table(net, &[entry], |descriptor| descriptor.len = u32::MAX - 15);
                },
            ),
            Attack::new(
                "a table that is not mapped",
                TX,
                "indirect table of descriptor 0: read of",
                |net| {
                    let entry = whole(net);
                    offer_table(net, &[entry], |descriptor| {
                        descriptor.address = 0x1234_5678_0000;
                    });
                },
            ),
            Attack::new(
                "a table in a table",
                TX,
                "indirect within an indirect table",
                |net| {
                    let entry = Descriptor {
                        flags: flags::INDIRECT,
                        len: 16,
                        ..whole(net)
                    };
                    offer_table(net, &[entry], |_| ());
                },
            ),
        ],
    )
}

fn buffers(context: &mut Context) -> Outcome {
    fn changed(net: &mut Net, change: impl FnOnce(&mut Descriptor)) {
        let mut descriptor = whole(net);
        change(&mut descriptor);
        offer(net, &[descriptor]);
    }
    try_all(
        context,
        Format::Packed,
        &[
            Attack::new(
                "a frame that is for writing",
                TX,
                "descriptor 0: write-only in a queue that the device reads",
                |net| changed(net, |descriptor| descriptor.flags = flags::WRITE),
            ),
            Attack::new(
                "a receive buffer that is for reading",
                RX,
                "read-only in a queue that the device writes",
                |net| receive_into(net, |descriptor| descriptor.flags = AVAIL),
            ),
            Attack::new("at zero", TX, "at 0x0: not mapped", |net| {
                changed(net, |descriptor| descriptor.address = 0);
            }),
            Attack::new("around the end", TX, "go beyond the address space", |net| {
                changed(net, |descriptor| descriptor.address = u64::MAX - 50);
            }),
            Attack::new("just before the mapping", TX, "not mapped", |net| {
                let start = net.memory.iova();
                changed(net, |descriptor| descriptor.address = start - 1);
            }),
            Attack::new("receive buffer over the end", RX, "not mapped", |net| {
                let end = net.memory.iova() + net.memory.len() as u64;
                receive_into(net, |descriptor| descriptor.address = end - 50);
            }),
        ],
    )
}

/// Descriptors whose flags do not say that they are available are left alone: no frame, no
/// fault.
fn not_available(context: &mut Context) -> Outcome {
    let (device, mut net) = running(context, "odd", Format::Packed)?;
    net.fill_rx()?;
    let descriptor = whole(&net);
    for (what, bits) in [
        ("both clear", 0),
        ("both set", AVAIL | USED),
        ("of the other lap", USED),
        ("of the other lap, and all other flags", USED | 7),
    ] {
        let driver = net.tx.driver.packed_mut();
        driver.write_descriptor(
            0,
            Descriptor {
                flags: bits,
                ..descriptor
            },
        );
        for _ in 0..20 {
            net.tx.kick()?;
        }
        sleep(Duration::from_millis(5));
        check!(net.receive()?.is_none(), "a frame came: {what}");
        let flags = net.tx.driver.packed_mut().read_descriptor(0).flags;
        check_eq!(flags, bits, "flags of the descriptor: {what}");
    }
    // Then it is available.
    let driver = net.tx.driver.packed_mut();
    driver.write_flags(0, AVAIL);
    net.tx.kick()?;
    let wanted = frame::make(100, net.mac, net.mac, 1);
    check_eq!(net.wait_receive()?, wanted, "the frame");
    let mut net = net.restart()?;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

/// What the driver writes to its event suppression structure harms nobody: at worst it gets
/// no interrupt, or too many (2.8.10).
fn suppression(context: &mut Context) -> Outcome {
    let (device, mut net) = running(context, "odd", Format::Packed)?;
    net.fill_rx()?;
    let sent = frame::make(100, net.mac, net.mac, 1);
    for (descriptor, bits) in [
        (0, 3),
        (0xffff, 3),
        (0xffff, event::ONE),
        (0x7fff, event::ONE),
        (SIZE, event::ONE),
        (0x8000 | SIZE, event::ONE),
        (0xffff, 0xffff),
        (0, 0xfffc),
    ] {
        net.rx
            .driver
            .packed_mut()
            .write_driver_event(descriptor, bits);
        net.tx
            .driver
            .packed_mut()
            .write_driver_event(descriptor, bits);
        check!(net.add_frame(&sent), "no room in the transmit queue");
        net.send()?;
        let what = format!("event {descriptor:#x}, {bits:#x}");
        let got = crate::sys::wait_for(&what, SOON, || net.receive())?;
        check_eq!(got, sent, "frame with {what}");
        net.fill_rx()?;
        net.reap()?;
    }
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}
