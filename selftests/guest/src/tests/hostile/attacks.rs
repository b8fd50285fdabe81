// SPDX-License-Identifier: GPL-2.0

//! One attack after the other.

use super::{expect_fault, is_stopped, Faulty};
use crate::{
    check_eq,
    device::Device,
    frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    tests::rings::{both, kind},
    vhost::{LoopPlan, Net, Plan, RX, TX},
};
use rvdpa_virtio::{
    features::Features,
    layout::{flags, Descriptor},
    mock::{Buffer, DriverMemory, Form},
};
use std::time::Duration;

pub const TESTS: &[Test] = both! {
    "hostile_available_ring", available;
    "hostile_chains", chains;
    "hostile_indirect_tables", indirect;
    "hostile_indirect_lengths", indirect_lengths;
    "hostile_directions", directions;
    "hostile_addresses", addresses;
    "hostile_control_queue", control;
};

/// What a driver does that it must not do, and what comes of it.
struct Attack {
    name: &'static str,
    act: fn(&mut Net),
    queue: usize,
    text: &'static str,
    features: Features,
}

impl Attack {
    const fn new(name: &'static str, queue: usize, text: &'static str, act: fn(&mut Net)) -> Self {
        Self {
            name,
            act,
            queue,
            text,
            features: Features(u64::MAX),
        }
    }
}

pub(super) const SIZE: u16 = 256;

pub(super) const FEW: LoopPlan = LoopPlan {
    count: 5,
    size: 100,
    in_flight: 2,
};

/// Tries each attack, and whether a reset mends the device.
///
/// There may be ten lines in the log in five seconds.
fn try_all(context: &mut Context, attacks: &[Attack]) -> Outcome {
    assert!(attacks.len() <= 10, "the log is limited");
    let (device, path) = Device::for_vhost("bad")?;
    let plan = Plan {
        kind: kind(context),
        size: SIZE,
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    for attack in attacks {
        context.step(attack.name);
        net.plan.features = attack.features;
        net = net.restart().when(attack.name)?;
        net.fill_rx()?;
        (attack.act)(&mut net);
        for queue in [&net.rx, &net.tx] {
            queue.kick()?;
        }
        let fault = Faulty::at(attack.queue, attack.text);
        expect_fault(context, &net, "bad", &fault).when(attack.name)?;
        if attack.queue != 2 {
            is_stopped(&net, attack.queue).when(attack.name)?;
        }
        net.plan.features = Features(u64::MAX);
        net = net.restart().when(attack.name)?;
        net.loop_frames(FEW)
            .when(format_args!("after {}", attack.name))?;
    }
    let errors: u64 = [
        device.statistics(0)?.get("rx errors")?,
        device.statistics(1)?.get("tx errors")?,
        device.statistics(2)?.get("cvq errors")?,
    ]
    .iter()
    .sum();
    check_eq!(errors, attacks.len() as u64, "errors counted");
    drop(net);
    device.delete()
}

/// Makes descriptor 0 of the transmit ring available, whatever it is.
pub(super) fn offer(net: &mut Net, descriptor: Descriptor) {
    net.tx.driver.write_descriptor(0, descriptor);
    net.tx.driver.add_head(0);
    net.tx.driver.publish();
}

/// A descriptor for a whole frame to the device itself.
pub(super) fn frame_descriptor(net: &Net) -> Descriptor {
    let at = net.tx.buffers;
    net.memory.write(at, &[0; 12]);
    net.memory
        .write(at + 12, &frame::make(100, net.mac, net.mac, 1));
    Descriptor {
        address: at,
        len: 112,
        flags: 0,
        next: 0,
    }
}

fn available(context: &mut Context) -> Outcome {
    let index = "available index";
    let names = "available ring names descriptor";
    try_all(
        context,
        &[
            Attack::new(
                "index too far ahead",
                TX,
                "available index 257 is not within 256",
                |net| {
                    net.tx.driver.write_available_index(SIZE + 1);
                },
            ),
            Attack::new("index far ahead", TX, index, |net| {
                net.tx.driver.write_available_index(0x8000);
            }),
            Attack::new("index backwards", TX, "available index 65535", |net| {
                net.tx.driver.write_available_index(0xffff);
            }),
            Attack::new("receive index backwards", RX, index, |net| {
                let index = net.rx.driver.added().wrapping_sub(SIZE + 1);
                net.rx.driver.write_available_index(index);
                let descriptor = frame_descriptor(net);
                offer(net, descriptor);
            }),
            Attack::new(
                "head just too large",
                TX,
                "names descriptor 256 of 256",
                |net| {
                    net.tx.driver.add_head(SIZE);
                    net.tx.driver.publish();
                },
            ),
            Attack::new("head far too large", TX, names, |net| {
                net.tx.driver.add_head(0xffff);
                net.tx.driver.publish();
            }),
            Attack::new("receive head too large", RX, names, |net| {
                net.rx.driver.write_available_entry(0, SIZE);
                let descriptor = frame_descriptor(net);
                offer(net, descriptor);
            }),
        ],
    )
}

fn chained(next: u16) -> impl Fn(Descriptor) -> Descriptor {
    move |descriptor| Descriptor {
        len: 8,
        flags: descriptor.flags | flags::NEXT,
        next,
        ..descriptor
    }
}

fn chains(context: &mut Context) -> Outcome {
    let looped = "chain has a loop or more than 256 descriptors";
    try_all(
        context,
        &[
            Attack::new(
                "next just too large",
                TX,
                "descriptor 0: goes on at 256 of 256",
                |net| {
                    let descriptor = chained(SIZE)(frame_descriptor(net));
                    offer(net, descriptor);
                },
            ),
            Attack::new("next far too large", TX, "goes on at 65535 of 256", |net| {
                let descriptor = chained(0xffff)(frame_descriptor(net));
                offer(net, descriptor);
            }),
            Attack::new("a loop of one", TX, looped, |net| {
                let descriptor = chained(0)(frame_descriptor(net));
                offer(net, descriptor);
            }),
            Attack::new("a loop of two", TX, looped, |net| {
                let descriptor = frame_descriptor(net);
                net.tx.driver.write_descriptor(1, chained(0)(descriptor));
                offer(net, chained(1)(descriptor));
            }),
            Attack::new("a loop through all", TX, looped, |net| {
                let descriptor = frame_descriptor(net);
                for index in 1..SIZE {
                    let next = (index + 1) % SIZE;
                    net.tx
                        .driver
                        .write_descriptor(index, chained(next)(descriptor));
                }
                offer(net, chained(1)(descriptor));
            }),
            Attack::new("a loop of empty buffers", TX, looped, |net| {
                let mut descriptor = chained(0)(frame_descriptor(net));
                descriptor.len = 0;
                offer(net, descriptor);
            }),
            Attack::new("a loop in the receive queue", RX, looped, |net| {
                let descriptor = Descriptor {
                    address: net.rx.buffers,
                    len: 1,
                    flags: flags::WRITE | flags::NEXT,
                    next: 3,
                };
                for index in 0..SIZE {
                    net.rx.driver.write_descriptor(index, descriptor);
                }
                let sent = frame::make(1500, net.mac, net.mac, 1);
                net.add_frame(&sent);
                net.tx.driver.publish();
            }),
            Attack::new(
                "more than 4 GiB",
                TX,
                "chain has more than 4294967295 bytes",
                |net| {
                    let first = frame_descriptor(net);
                    let second = Descriptor {
                        len: u32::MAX,
                        flags: 0,
                        ..first
                    };
                    net.tx.driver.write_descriptor(1, second);
                    let first = Descriptor {
                        flags: flags::NEXT,
                        next: 1,
                        ..first
                    };
                    offer(net, first);
                },
            ),
        ],
    )
}

/// A table with these descriptors, and the descriptor that refers to it.
pub(super) fn table(net: &Net, entries: &[Descriptor]) -> Descriptor {
    net.tx.driver.write_table(net.tx.tables, entries)
}

fn indirect(context: &mut Context) -> Outcome {
    let mut not_negotiated = Attack::new(
        "a table without the feature",
        TX,
        "descriptor 0: indirect, but VIRTIO_F_INDIRECT_DESC is not negotiated",
        |net| {
            let entry = frame_descriptor(net);
            let descriptor = table(net, &[entry]);
            offer(net, descriptor);
        },
    );
    not_negotiated.features = Features(u64::MAX).without(Features::INDIRECT_DESC);
    try_all(
        context,
        &[
            not_negotiated,
            Attack::new(
                "a table in a table",
                TX,
                "descriptor 0, entry 0 of its table: indirect within an indirect table",
                |net| {
                    let inner = table(net, &[frame_descriptor(net)]);
                    let descriptor = table(net, &[inner]);
                    offer(net, descriptor);
                },
            ),
            Attack::new(
                "a table that goes on",
                TX,
                "both indirect and chained",
                |net| {
                    let mut descriptor = table(net, &[frame_descriptor(net)]);
                    descriptor.flags |= flags::NEXT;
                    descriptor.next = 1;
                    offer(net, descriptor);
                },
            ),
            Attack::new("next beyond the table", TX, "goes on at 2 of 2", |net| {
                let first = chained(1)(frame_descriptor(net));
                let second = chained(2)(first);
                let descriptor = table(net, &[first, second]);
                offer(net, descriptor);
            }),
            Attack::new("a loop in a table", TX, "chain has a loop", |net| {
                let entry = chained(0)(frame_descriptor(net));
                let descriptor = table(net, &[entry]);
                offer(net, descriptor);
            }),
            Attack::new(
                "a table that is not mapped",
                TX,
                "indirect table of descriptor 0: read of",
                |net| {
                    let mut descriptor = table(net, &[frame_descriptor(net)]);
                    descriptor.address = 0x1234_5678_0000;
                    offer(net, descriptor);
                },
            ),
            Attack::new("a table at the end of all", TX, "descriptor 0", |net| {
                let mut descriptor = table(net, &[frame_descriptor(net)]);
                descriptor.address = u64::MAX - 7;
                offer(net, descriptor);
            }),
            Attack::new(
                "the table's end is not mapped",
                TX,
                "indirect table of descriptor 0: read of",
                |net| {
                    let end = net.memory.iova() + net.memory.len() as u64;
                    let entry = chained(1)(frame_descriptor(net));
                    net.memory.write(end - 16, &entry.to_bytes());
                    let descriptor = Descriptor {
                        address: end - 16,
                        len: 32,
                        flags: flags::INDIRECT,
                        next: 0,
                    };
                    offer(net, descriptor);
                },
            ),
        ],
    )
}

fn indirect_lengths(context: &mut Context) -> Outcome {
    fn with_len(net: &mut Net, len: u32) {
        let mut descriptor = table(net, &[frame_descriptor(net)]);
        descriptor.len = len;
        offer(net, descriptor);
    }
    try_all(
        context,
        &[
            Attack::new("0", TX, "descriptor 0: 0 bytes are not 1 to", |net| {
                with_len(net, 0)
            }),
            Attack::new("1", TX, "1 bytes are not 1 to", |net| with_len(net, 1)),
            Attack::new("15", TX, "15 bytes are not 1 to", |net| with_len(net, 15)),
            Attack::new("17", TX, "17 bytes are not 1 to", |net| with_len(net, 17)),
            Attack::new(
                "65536 entries",
                TX,
                "1048576 bytes are not 1 to 65535",
                |net| {
                    with_len(net, 65536 * 16);
                },
            ),
            Attack::new("as long as can be", TX, "4294967280 bytes are not", |net| {
                with_len(net, u32::MAX - 15);
            }),
        ],
    )
}

fn directions(context: &mut Context) -> Outcome {
    try_all(
        context,
        &[
            Attack::new(
                "a frame that is for writing",
                TX,
                "descriptor 0: write-only in a queue that the device reads",
                |net| {
                    let mut descriptor = frame_descriptor(net);
                    descriptor.flags = flags::WRITE;
                    offer(net, descriptor);
                },
            ),
            Attack::new(
                "a frame that is for writing at its end",
                TX,
                "descriptor 1: write-only in a queue that the device reads",
                |net| {
                    let descriptor = frame_descriptor(net);
                    let second = Descriptor {
                        flags: flags::WRITE,
                        ..descriptor
                    };
                    net.tx.driver.write_descriptor(1, second);
                    let first = Descriptor {
                        flags: flags::NEXT,
                        next: 1,
                        ..descriptor
                    };
                    offer(net, first);
                },
            ),
            Attack::new(
                "a receive buffer that is for reading",
                RX,
                "read-only in a queue that the device writes",
                |net| {
                    for index in 0..SIZE {
                        let descriptor = Descriptor {
                            address: net.rx.buffers,
                            len: 2048,
                            flags: 0,
                            next: 0,
                        };
                        net.rx.driver.write_descriptor(index, descriptor);
                    }
                    let descriptor = frame_descriptor(net);
                    offer(net, descriptor);
                },
            ),
        ],
    )
}

fn addresses(context: &mut Context) -> Outcome {
    fn at(net: &mut Net, address: u64, len: u32) {
        let mut descriptor = frame_descriptor(net);
        descriptor.address = address;
        descriptor.len = len;
        offer(net, descriptor);
    }
    try_all(
        context,
        &[
            Attack::new("at zero", TX, "at 0x0: not mapped", |net| at(net, 0, 100)),
            Attack::new("around the end", TX, "go beyond the address space", |net| {
                at(net, u64::MAX - 50, 100);
            }),
            Attack::new(
                "as far as can be",
                TX,
                "go beyond the address space",
                |net| {
                    at(net, u64::MAX, u32::MAX);
                },
            ),
            Attack::new("at the end", TX, "not mapped", |net| {
                at(net, u64::MAX - 99, 100)
            }),
            Attack::new("just before the mapping", TX, "not mapped", |net| {
                let start = net.memory.iova();
                at(net, start - 1, 100);
            }),
            Attack::new("over the mapping's end", TX, "not mapped", |net| {
                // To the device itself: of frames to others it reads the start only.
                let end = net.memory.iova() + net.memory.len() as u64;
                let start = frame::make(38, net.mac, net.mac, 1);
                net.memory.write(end - 50, &[0; 12]);
                net.memory.write(end - 38, &start);
                at(net, end - 50, 100);
            }),
            Attack::new("receive buffer over the end", RX, "not mapped", |net| {
                let end = net.memory.iova() + net.memory.len() as u64;
                for index in 0..SIZE {
                    let descriptor = Descriptor {
                        address: end - 50,
                        len: 2048,
                        flags: flags::WRITE,
                        next: 0,
                    };
                    net.rx.driver.write_descriptor(index, descriptor);
                }
                let descriptor = frame_descriptor(net);
                offer(net, descriptor);
            }),
        ],
    )
}

fn control(context: &mut Context) -> Outcome {
    fn chain(net: &mut Net, buffers: &[Buffer]) {
        let control = net.control.as_mut().expect("it was negotiated");
        control
            .driver
            .add(buffers, Form::Direct)
            .expect("there is room");
        control.driver.publish();
        control.kick().expect("an eventfd");
    }
    fn at(net: &Net) -> u64 {
        net.control.as_ref().expect("it was negotiated").buffers
    }
    try_all(
        context,
        &[
            Attack::new(
                "reading after writing",
                2,
                "read-only after a write-only one",
                |net| {
                    let at = at(net);
                    chain(
                        net,
                        &[
                            Buffer::readable(at, 2),
                            Buffer::writable(at + 64, 1),
                            Buffer::readable(at + 128, 6),
                        ],
                    );
                },
            ),
            Attack::new("an answer that is not mapped", 2, "not mapped", |net| {
                let at = at(net);
                chain(
                    net,
                    &[Buffer::readable(at, 2), Buffer::writable(0x123_4000, 1)],
                );
            }),
            Attack::new("a command that is not mapped", 2, "not mapped", |net| {
                let at = at(net);
                chain(
                    net,
                    &[Buffer::readable(0x123_4000, 2), Buffer::writable(at, 1)],
                );
            }),
        ],
    )?;
    // What is only useless is answered, where there is room for an answer.
    let (device, path) = Device::for_vhost("bad")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    let start = at(&net);
    for (what, buffers, written) in [
        ("no room for an answer", vec![Buffer::readable(start, 2)], 0),
        ("no command", vec![Buffer::writable(start + 64, 1)], 1),
        (
            "half a command",
            vec![Buffer::readable(start, 1), Buffer::writable(start + 64, 1)],
            1,
        ),
        (
            "much room",
            vec![
                Buffer::readable(start, 2),
                Buffer::writable(start + 64, 500),
            ],
            1,
        ),
    ] {
        net.control_memory.write(start, &[9; 600]);
        chain(&mut net, &buffers);
        let control = net.control.as_mut().when("a control queue")?;
        let used = crate::sys::wait_for(what, Duration::from_secs(2), || {
            Ok(control.driver.poll_used())
        })?;
        check_eq!(used.len, written, "bytes of the answer to {what}");
        let mut answer = [0; 2];
        net.control_memory.read(start + 64, &mut answer);
        let wanted = if written == 0 { [9, 9] } else { [1, 9] };
        check_eq!(answer, wanted, "answer to {what}");
    }
    drop(net);
    device.delete()
}
