// SPDX-License-Identifier: GPL-2.0

//! Mappings that do not permit what the ring would have the device do.

use super::{
    case::{Case, Expect, Expect::*},
    scene::Scene,
};
use crate::{
    arena::View,
    check,
    ioctl::Permission,
    outcome::Outcome,
    vhost::{mapped, RX, TX},
};
use rvdpa_virtio::{
    features::Features,
    layout::Area,
    mock::{Buffer, DriverMemory},
};

pub const CASES: &[Case] = &[
    case(
        "receive buffers that may only be read",
        Fault(RX, "write of"),
        |s| {
            let (at, len) = (s.net.rx.buffers, 64 * 2048);
            with(s, at, len, Permission::Read)
        },
    ),
    case(
        "frames that may only be written",
        Fault(TX, "read of"),
        |s| {
            let (at, len) = (s.net.tx.buffers, 64 * 2048);
            with(s, at, len, Permission::Write)
        },
    ),
    case(
        "a used ring that may only be read",
        Fault(TX, "device area:"),
        |s| {
            let at = s.net.tx.layout.device;
            with(s, at, 0x1000, Permission::Read)
        },
    ),
    case(
        "a receiver's used ring that may only be read",
        Fault(RX, "device area:"),
        |s| {
            let at = s.net.rx.layout.device;
            with(s, at, 0x1000, Permission::Read)
        },
    ),
    case(
        "descriptors that may only be written",
        Fault(TX, "descriptor area: read"),
        |s| {
            let at = s.net.tx.layout.descriptor;
            with(s, at, 0x1000, Permission::Write)
        },
    ),
    case(
        "a packed ring that may only be read",
        Fault(TX, "descriptor area: read and write"),
        |s| {
            let at = s.net.tx.layout.descriptor;
            with(s, at, 0x1000, Permission::Read)
        },
    )
    .packed(),
    case(
        "an available ring that may only be written",
        Fault(TX, "driver area: read"),
        |s| {
            let at = s.net.tx.layout.driver;
            with(s, at, 0x1000, Permission::Write)
        },
    ),
    case(
        "a table that may only be written",
        Fault(TX, "indirect table of descriptor 0: read of"),
        |s| {
            let at = s.net.tx.tables;
            parts(s, at, 0x1000, Permission::Write)?;
            s.start()?;
            s.net.fill_rx()?;
            let frame = s.sent(true);
            s.offer(&frame);
            s.kick()
        },
    )
    .needs(Features::INDIRECT_DESC),
    case("no used ring at all", Fault(TX, "device area:"), |s| {
        let at = s.net.tx.layout.device;
        with(s, at, 0x1000, Permission::None)
    }),
    case("no available ring at all", Fault(TX, "driver area:"), |s| {
        let at = s.net.tx.layout.driver;
        with(s, at, 0x1000, Permission::None)
    }),
    case("half a table of descriptors", Harmless, |s| {
        let at = s.net.tx.layout.descriptor;
        check!(
            s.net.tx.layout.len(Area::Descriptor, Features::NONE) <= 0x1000,
            "the table has one page"
        );
        with(s, at, 0x1000, Permission::None)
    }),
    case(
        "an answer to a command that may only be read",
        Harmless,
        |s| {
            let view = s.net.memory.clone();
            let (start, len) = mapped(&s.net.plan, &view);
            s.net.client.map(0, &view, start, len, Permission::Both)?;
            let view = s.net.control_memory.clone();
            let (start, len) = mapped(&s.net.plan, &view);
            let buffers = s.net.control()?.buffers;
            let before = (buffers - start) as usize;
            s.net
                .client
                .map(0, &view, start, before, Permission::Both)?;
            s.net
                .client
                .map(0, &view, buffers, len - before, Permission::Read)?;
            s.start()?;
            s.net.write_command(1, 1, &[2, 0, 0, 0, 0, 9])?;
            s.net.submit(&[
                Buffer::readable(0, 2),
                Buffer::readable(crate::vhost::control::DATA, 6),
                Buffer::writable(crate::vhost::control::ANSWER, 1),
            ])?;
            unchanged(&view, buffers, len - before, |_| Ok(()))
        },
    ),
];

const fn case(name: &'static str, expect: Expect, act: fn(&mut Scene<'_>) -> Outcome) -> Case {
    Case::before(9, name, expect, act).unmapped()
}

/// Maps all of the memory, a part of it with a permission of its own.
fn parts(s: &Scene<'_>, from: u64, len: usize, permission: Permission) -> Outcome {
    let net = &s.net;
    let view = &net.memory;
    let (start, whole) = s.mapped();
    let before = (from - start) as usize;
    let after = whole - before - len;
    let map = |at, len, permission| match (len, permission) {
        (0, _) | (_, Permission::None) => Ok(()),
        _ => net.client.map(0, view, at, len, permission),
    };
    map(start, before, Permission::Both)?;
    map(from, len, permission)?;
    map(from + len as u64, after, Permission::Both)?;
    let (start, len) = mapped(&net.plan, &net.control_memory);
    net.client
        .map(0, &net.control_memory, start, len, Permission::Both)
}

/// Does so, starts the device and sends a frame. What may only be read is left alone.
fn with(s: &mut Scene<'_>, from: u64, len: usize, permission: Permission) -> Outcome {
    parts(s, from, len, permission)?;
    s.start()?;
    // Such as an ordinary driver has.
    s.net.post_rx(0, 1)?;
    let frame = s.sent(false);
    s.offer(&frame);
    let view = s.net.memory.clone();
    if permission == Permission::Both || permission == Permission::Write {
        return s.kick();
    }
    unchanged(&view, from, len, |_| s.kick())
}

/// Does something and sees that some memory stays as it is.
fn unchanged(view: &View, at: u64, len: usize, act: impl FnOnce(&View) -> Outcome) -> Outcome {
    let look = || {
        let mut bytes = vec![0; len];
        view.read(at, &mut bytes);
        bytes
    };
    let before = look();
    act(view)?;
    std::thread::sleep(std::time::Duration::from_millis(10));
    check!(before == look(), "memory that may only be read was written");
    Ok(())
}
