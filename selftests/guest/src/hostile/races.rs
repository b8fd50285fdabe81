// SPDX-License-Identifier: GPL-2.0

//! Mappings and states that change while the device has frames to move.

use super::{
    case::{Case, Expect::*},
    meanwhile::Dice,
    scene::{Scene, PLAIN, SECRET},
};
use crate::{
    arena::View,
    check, ioctl,
    ioctl::Permission,
    outcome::Outcome,
    vhost::{RX, TX},
};
use rvdpa_virtio::{
    mock::{Buffer, DriverMemory, Form},
    status::Status,
};
use std::{thread::sleep, time::Duration};

/// Where memory is that comes and goes, and how much of it.
const THERE: u64 = 0x55_0000_0000;
const PAGES: usize = 8;

/// How often it comes and goes.
const TIMES: u64 = 12;

pub const MAPPINGS: &[Case] = &[
    Case::run(12, "frames lose their memory", Harmless, |s| {
        let view = View::new(s.room.kind(), THERE, PAGES * 0x1000)?;
        for time in 0..TIMES {
            s.net.client.map_all(0, &view)?;
            lies_in(s, &view, time)?;
            s.kick()?;
            wait(time);
            s.net.client.unmap(0, THERE, view.len())?;
            // What is written now must not be seen by anybody.
            view.write(THERE, &SECRET.repeat(PAGES * 0x1000 / SECRET.len()));
        }
        Ok(())
    })
    .rounds(3),
    Case::run(12, "receive buffers lose their memory", Harmless, |s| {
        let view = View::new(s.room.kind(), THERE, PAGES * 0x1000)?;
        let before = vec![0x5a; view.len()];
        for time in 0..TIMES {
            s.net.client.map_all(0, &view)?;
            move_rings_first_buffer(s, THERE + 0x800);
            s.send_plain(time)?;
            wait(time);
            s.net.client.unmap(0, THERE, view.len())?;
            view.write(THERE, &before);
            sleep(Duration::from_millis(1));
            let mut after = vec![0; view.len()];
            view.read(THERE, &mut after);
            check!(before == after, "memory was written after it was unmapped");
        }
        Ok(())
    })
    .rounds(3),
    Case::run(12, "frames get other memory", Harmless, |s| {
        let one = View::new(s.room.kind(), THERE, PAGES * 0x1000)?;
        for time in 0..TIMES {
            let other = View::new(s.room.kind(), THERE, PAGES * 0x1000)?;
            s.net.client.map_all(0, &one)?;
            lies_in(s, &one, time)?;
            s.kick()?;
            wait(time);
            s.net.client.unmap(0, THERE, one.len())?;
            s.net.client.map_all(0, &other)?;
            one.write(THERE, &SECRET.repeat(PAGES * 0x1000 / SECRET.len()));
            s.kick()?;
            wait(time);
            s.net.client.unmap(0, THERE, other.len())?;
        }
        Ok(())
    })
    .rounds(3),
    Case::run(12, "the rings lose their memory", Harmless, |s| {
        for number in 0..40 {
            s.send_plain(number)?;
        }
        let (start, len) = s.mapped();
        s.net.client.unmap(0, start, len)?;
        untouched(s, "unmapped")?;
        let memory = s.net.memory.clone();
        s.net.client.map(0, &memory, start, len, Permission::Both)
    })
    .rounds(5),
    Case::run(12, "the rings lose half of their memory", Harmless, |s| {
        for number in 0..40 {
            s.send_plain(number)?;
        }
        let at = s.net.tx.layout.device;
        let (start, len) = s.mapped();
        // One of several pages: this is refused, or it is done. It must not be both.
        let _ = ioctl::unmap(&s.net.client, 0, at, 0x1000);
        s.kick()?;
        s.net.client.unmap(0, start, len)?;
        let memory = s.net.memory.clone();
        s.net.client.map(0, &memory, start, len, Permission::Both)
    })
    .rounds(5),
    Case::run(
        12,
        "the address space changes while frames are sent",
        Harmless,
        |s| {
            for time in 0..TIMES {
                s.send_plain(time)?;
                // A device that runs has the address space that it was started with, or is
                // told of nothing by the new one.
                for asid in [1, 0] {
                    let _ = ioctl::set_group_asid(&s.net.client, 0, asid);
                }
            }
            Ok(())
        },
    )
    .rounds(3),
    Case::run(
        12,
        "the file with the rings becomes shorter",
        Harmless,
        |s| {
            for number in 0..40 {
                s.send_plain(number)?;
            }
            let memory = s.net.memory.clone();
            let len = memory.len();
            memory.truncate(0)?;
            s.kick()?;
            sleep(Duration::from_millis(5));
            // Long enough again to be looked at, and empty.
            memory.truncate(len)?;
            restore_guards(s);
            Ok(())
        },
    )
    .va()
    .rounds(3),
    Case::run(12, "the rings are taken out of memory", GoesOn, |s| {
        for _ in 0..10 {
            s.frames_pass(2)?;
            s.net.memory.evict()?;
        }
        Ok(())
    })
    .va(),
];

/// Offers frames that lie in other memory, as many as there is room for.
fn lies_in(s: &mut Scene<'_>, view: &View, number: u64) -> Outcome {
    for page in 0..PAGES as u64 {
        let at = THERE + page * 0x1000;
        view.write(at, &PLAIN.to_bytes());
        view.write(at + 12, &s.frame(number));
        let _ = s
            .net
            .tx
            .driver
            .add(&[Buffer::readable(at, 112)], Form::Direct);
    }
    s.net.tx.driver.publish();
    Ok(())
}

/// Has all receive buffers lie there.
fn move_rings_first_buffer(s: &Scene<'_>, at: u64) {
    let ring = s.net.rx.layout.descriptor;
    for index in 0..u64::from(s.net.rx.layout.size) {
        s.net.memory.write(ring + 16 * index, &at.to_le_bytes());
    }
}

fn restore_guards(s: &Scene<'_>) {
    drop(super::beside::Guards::new(&s.net));
}

/// Waits a little, not always the same.
fn wait(time: u64) {
    let micros = Dice(time + 77).throw() % 400;
    sleep(Duration::from_micros(micros));
}

/// The driver's memory stays as it is.
fn untouched(s: &Scene<'_>, when: &str) -> Outcome {
    let look = || {
        let mut bytes = vec![0; s.net.memory.len()];
        s.net.memory.read(s.net.memory.iova(), &mut bytes);
        bytes
    };
    let before = look();
    s.kick()?;
    sleep(Duration::from_millis(2));
    check!(before == look(), "memory was written after it was {when}");
    Ok(())
}

pub const STATES: &[Case] = &[
    state("reset while frames are sent", |s| {
        s.net.client.reset()?;
        untouched(s, "reset")
    }),
    state("suspended while frames are sent", |s| {
        s.net.client.suspend()?;
        untouched(s, "suspended")
    }),
    state("disabled while frames are sent", |s| {
        s.net.client.enable(TX, false)?;
        s.net.client.enable(RX, false)?;
        untouched(s, "disabled")
    }),
    state("disabled and enabled again and again", |s| {
        for _ in 0..30 {
            s.net.client.enable(TX, false)?;
            s.kick()?;
            s.net.client.enable(TX, true)?;
            s.kick()?;
        }
        Ok(())
    }),
    state("suspended and resumed again and again", |s| {
        for _ in 0..30 {
            s.net.client.suspend()?;
            s.kick()?;
            s.net.client.resume()?;
        }
        Ok(())
    }),
    state("DRIVER_OK taken back while frames are sent", |s| {
        let status = s.net.client.status()?.without(Status::DRIVER_OK);
        let _ = vhost::vdpa::VhostVdpa::set_status(s.net.client.kernel(), status.0);
        s.kick()
    }),
    state("told of other rings while frames are sent", |s| {
        let good = s.net.tx.layout;
        for _ in 0..20 {
            let bad = rvdpa_virtio::layout::QueueLayout {
                descriptor: s.net.rx.buffers,
                ..good
            };
            let _ = s.net.client.set_addresses(TX, &bad);
            s.kick()?;
            let _ = s.net.client.set_addresses(TX, &good);
        }
        Ok(())
    }),
    state(
        "told of another place to go on while frames are sent",
        |s| {
            for base in [0, 63, 64, 0x8000, 0xffff, 0xffff_ffff] {
                let _ = ioctl::set_vring_base(&s.net.client, TX as u32, base);
                s.kick()?;
            }
            Ok(())
        },
    ),
    state("told of another size while frames are sent", |s| {
        for size in [1, 2, 32, 64, 128, 1024, 32768] {
            let _ = vhost::VhostBackend::set_vring_num(s.net.client.kernel(), TX, size);
            s.kick()?;
        }
        Ok(())
    }),
    state("given other events while frames are sent", |s| {
        for _ in 0..20 {
            s.net.tx.drop_call(&s.net.client)?;
            let _ = s.net.tx.swap_call(&s.net.client)?;
            let _ = s.net.rx.swap_call(&s.net.client)?;
            s.kick()?;
        }
        Ok(())
    }),
];

/// A change of state, when there is a lot to do.
const fn state(name: &'static str, act: fn(&mut Scene<'_>) -> Outcome) -> Case {
    Case::new(13, name, Harmless, super::case::Act::Busy(act)).rounds(5)
}
