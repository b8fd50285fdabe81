// SPDX-License-Identifier: GPL-2.0

//! One attack after the other.

use super::{expect_fault, is_stopped, wait_used, Faulty};
use crate::{
    check, check_eq,
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
use std::{thread::sleep, time::Duration};

pub const TESTS: &[Test] = both! {
    "hostile_available_ring", available;
    "hostile_chains", chains;
    "hostile_indirect_tables", indirect;
    "hostile_indirect_lengths", indirect_lengths;
    "hostile_directions", directions;
    "hostile_addresses", addresses;
    "hostile_control_queue", control;
    "same_head_twice", twice;
    "lengths_of_zero_and_runts", runts;
    "tables_that_will_do", good_tables;
    "kicks_at_any_time", kicks;
    "rings_that_overlap", overlap;
    "rings_not_aligned", misaligned;
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

const SIZE: u16 = 256;

const FEW: LoopPlan = LoopPlan {
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
fn offer(net: &mut Net, descriptor: Descriptor) {
    net.tx.driver.write_descriptor(0, descriptor);
    net.tx.driver.add_head(0);
    net.tx.driver.publish();
}

/// A descriptor for a whole frame to the device itself.
fn frame_descriptor(net: &Net) -> Descriptor {
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
fn table(net: &Net, entries: &[Descriptor]) -> Descriptor {
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

/// A device with an ordinary driver.
fn ordinary(context: &Context) -> Outcome<(Device, Net)> {
    let (device, path) = Device::for_vhost("odd")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    Ok((device, Net::new(&path, plan)?))
}

/// The specification forbids it, but it harms nobody else: both are sent.
fn twice(context: &mut Context) -> Outcome {
    let (device, mut net) = ordinary(context)?;
    net.fill_rx()?;
    let descriptor = frame_descriptor(&net);
    net.tx.driver.write_descriptor(0, descriptor);
    net.tx.driver.add_head(0);
    net.tx.driver.add_head(0);
    net.tx.driver.publish();
    net.tx.kick()?;
    wait_used(&net, 2)?;
    let first = net.wait_receive()?;
    check_eq!(net.wait_receive()?, first, "the second frame");
    let mut net = net.restart()?;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

fn runts(context: &mut Context) -> Outcome {
    let (device, mut net) = ordinary(context)?;
    net.fill_rx()?;
    let at = frame_descriptor(&net).address;
    let buffers = |lens: &[u32]| {
        let mut start = at;
        let mut buffers = Vec::new();
        for len in lens {
            buffers.push(Buffer::readable(start, *len));
            start += u64::from(*len);
        }
        buffers
    };
    // Too short for a header: used, dropped and counted.
    let runts: [&[u32]; 6] = [&[0], &[0, 0, 0], &[1], &[11], &[12], &[12, 13]];
    for (count, lens) in runts.iter().enumerate() {
        net.tx
            .driver
            .add(&buffers(lens), Form::Direct)
            .expect("there is room");
        net.send()?;
        wait_used(&net, count as u16 + 1)?;
        let used = net.tx.driver.poll_used().when("the chain")?;
        check_eq!(used.len, 0, "bytes written to a chain of {lens:?}");
        let dropped = device.statistics(1)?.get("tx drops runt")?;
        check_eq!(dropped, count as u64 + 1, "runts counted after {lens:?}");
        check!(
            net.receive()?.is_none(),
            "a frame of {lens:?} was delivered"
        );
    }
    // Whole, in pieces of any kind.
    let wanted = frame::make(100, net.mac, net.mac, 1);
    let single: Vec<u32> = vec![1; 112];
    let pieces: [&[u32]; 5] = [&[12, 0, 100], &[0, 112], &[112, 0], &[13, 99], &single];
    for lens in pieces {
        net.tx
            .driver
            .add(&buffers(lens), Form::Direct)
            .expect("there is room");
        net.send()?;
        check_eq!(net.wait_receive()?, wanted, "frame in pieces of {lens:?}");
        crate::sys::wait_for("the chain", Duration::from_secs(2), || {
            Ok(net.tx.driver.poll_used())
        })?;
        net.fill_rx()?;
    }
    // A receive buffer that is too small stays for the next frame.
    let mut net = net.restart()?;
    let small = Buffer::writable(net.rx.buffers, 12 + 60);
    net.rx
        .driver
        .add(&[small], Form::Direct)
        .expect("there is room");
    net.rx.driver.publish();
    for size in [100, 61, 60] {
        let sent = frame::make(size, net.mac, net.mac, 3);
        check!(net.add_frame(&sent), "no room in the transmit queue");
    }
    net.send()?;
    wait_used(&net, 3)?;
    let used = net.rx.driver.poll_used().when("the small buffer")?;
    check_eq!(used.len, 72, "bytes written to it");
    let rx = device.statistics(0)?;
    check_eq!(
        rx.get("rx drops too large")?,
        2,
        "frames that were too large"
    );
    check_eq!(rx.get("rx drops no buffer")?, 0, "frames without a buffer");
    // And then there is none.
    let sent = frame::make(60, net.mac, net.mac, 3);
    check!(net.add_frame(&sent), "no room in the transmit queue");
    net.send()?;
    wait_used(&net, 4)?;
    let rx = device.statistics(0)?;
    check_eq!(rx.get("rx drops no buffer")?, 1, "frames without a buffer");
    drop(net);
    device.delete()
}

/// What looks odd about indirect tables, and is allowed.
fn good_tables(context: &mut Context) -> Outcome {
    let (device, mut net) = ordinary(context)?;
    net.fill_rx()?;
    let entry = frame_descriptor(&net);
    let wanted = frame::make(100, net.mac, net.mac, 1);
    // The device ignores the flag for writing on the one that refers to the table.
    let mut descriptor = table(&net, &[entry]);
    descriptor.flags |= flags::WRITE;
    offer(&mut net, descriptor);
    net.tx.kick()?;
    check_eq!(
        net.wait_receive()?,
        wanted,
        "frame from a table for writing"
    );
    net.fill_rx()?;

    // Behind a direct descriptor.
    let header = Descriptor {
        len: 12,
        flags: flags::NEXT,
        next: 1,
        ..entry
    };
    let rest = Descriptor {
        address: entry.address + 12,
        len: 100,
        ..entry
    };
    let second = table(&net, &[rest]);
    net.tx.driver.write_descriptor(1, second);
    offer(&mut net, header);
    net.tx.kick()?;
    check_eq!(
        net.wait_receive()?,
        wanted,
        "frame half direct, half indirect"
    );
    net.fill_rx()?;

    // A table that lies in two mappings.
    let view = crate::arena::View::new(net.plan.kind, 0x66_0000_0000, 0x2000)?;
    let middle = view.iova() + 0x1000;
    use crate::ioctl::Permission;
    net.client
        .map(0, &view, view.iova(), 0x1000, Permission::Read)?;
    net.client.map(0, &view, middle, 0x1000, Permission::Read)?;
    let mut entries: Vec<Descriptor> = (0..8)
        .map(|at| Descriptor {
            address: entry.address + at * 14,
            len: 14,
            flags: flags::NEXT,
            next: at as u16 + 1,
        })
        .collect();
    entries[7].flags = 0;
    for start in [middle - 64, middle - 8, middle - 72] {
        for (at, entry) in entries.iter().enumerate() {
            view.write(start + 16 * at as u64, &entry.to_bytes());
        }
        let descriptor = Descriptor {
            address: start,
            len: 128,
            flags: flags::INDIRECT,
            next: 0,
        };
        offer(&mut net, descriptor);
        net.tx.kick()?;
        let got = net
            .wait_receive()
            .when(format_args!("table at {start:#x}"))?;
        check_eq!(got, wanted, "frame from a table in two mappings");
        net.fill_rx()?;
    }
    drop(net);
    device.delete()
}

fn kicks(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("odd")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    // Before DRIVER_OK: nothing happens, and nothing is forgotten.
    let mut net = Net::prepare(&path, plan)?;
    net.fill_rx()?;
    let sent = frame::make(100, net.mac, net.mac, 4);
    net.add_frame(&sent);
    net.tx.driver.publish();
    for _ in 0..100 {
        net.tx.kick()?;
        net.rx.kick()?;
    }
    sleep(Duration::from_millis(20));
    check_eq!(
        net.tx.driver.read_used_index(),
        0,
        "used index before DRIVER_OK"
    );
    net.go()?;
    check_eq!(net.wait_receive()?, sent, "frame sent before DRIVER_OK");

    // A storm with nothing to do.
    for _ in 0..20_000 {
        net.tx.kick()?;
        net.rx.kick()?;
    }
    let mut net = net.restart()?;
    net.loop_frames(FEW)?;
    // After a reset.
    net.client.reset()?;
    for _ in 0..100 {
        net.tx.kick()?;
        net.rx.kick()?;
    }
    sleep(Duration::from_millis(10));
    let mut net = net.restart()?;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

/// A driver whose rings lie on each other harms itself only.
fn overlap(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("odd")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    for (name, shape) in [
        ("used ring on the available ring", [0, 0x1000, 0x1000]),
        ("all in one place", [0, 0, 0]),
        ("used ring on the descriptors", [0, 0x1000, 0]),
    ] {
        context.step(name);
        let mut net = Net::prepare(&path, plan)?;
        let start = net.tx.layout.descriptor;
        let layout = rvdpa_virtio::layout::QueueLayout {
            size: SIZE,
            descriptor: start + shape[0],
            driver: start + shape[1],
            device: start + shape[2],
        };
        net.client.set_addresses(TX, &layout)?;
        net.fill_rx()?;
        let descriptor = frame_descriptor(&net);
        net.tx.driver.write_descriptor(0, descriptor);
        net.memory.store_u16(layout.driver + 2, 1);
        net.go()?;
        for _ in 0..50 {
            net.tx.kick()?;
        }
        sleep(Duration::from_millis(10));
        let mut net = net.restart().when(name)?;
        net.loop_frames(FEW).when(name)?;
        drop(net);
    }
    device.delete()
}

fn misaligned(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("odd")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    let net = Net::prepare(&path, plan)?;
    let good = net.tx.layout;
    for (what, offsets) in [
        ("descriptor area", [8, 0, 0]),
        ("driver area", [0, 1, 0]),
        ("device area", [0, 0, 2]),
    ] {
        let bad = rvdpa_virtio::layout::QueueLayout {
            descriptor: good.descriptor + offsets[0],
            driver: good.driver + offsets[1],
            device: good.device + offsets[2],
            ..good
        };
        let set = net.client.set_addresses(TX, &bad);
        let refused = set
            .err()
            .is_some_and(|stop| stop.text().contains("Invalid argument"));
        check!(refused, "{what} that is not aligned");
    }
    net.client.set_addresses(TX, &good)?;
    net.go()?;
    let mut net = net;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}
