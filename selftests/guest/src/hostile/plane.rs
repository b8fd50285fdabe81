// SPDX-License-Identifier: GPL-2.0

//! Calls in any order and by many at a time: ioctls, and messages to the bus.

use super::{
    case::{Case, Expect::*},
    meanwhile::Dice,
    processes::Process,
    scene::{frames_pass, Room, Scene},
};
use crate::{
    arena::{Kind, View},
    check,
    device::Driver,
    ioctl::{self, Permission},
    netlink::{attribute, Attributes, Bus},
    outcome::{Outcome, While},
    sys::{wait_for, SOON},
    vhost::{Client, Net},
};
use rvdpa_virtio::mock::DriverMemory;
use std::{
    os::fd::AsRawFd,
    thread::sleep,
    time::{Duration, Instant},
};
use vhost::{vdpa::VhostVdpa, VhostBackend};

/// How many clients there are at a time, and for how long.
const CLIENTS: u64 = 8;
const WHILE: Duration = Duration::from_millis(1500);

pub const CASES: &[Case] = &[
    Case::run(25, "ioctls with any argument", GoesOn, |s| {
        any_ioctl(s, 600)
    }),
    Case::others(25, "ioctls in any order", |room| {
        any_order(room, 0x1234, 500)
    }),
    Case::others(25, "eight clients while devices come and go", many),
    Case::others(25, "eight clients of one device", |room| {
        let mut clients = Vec::new();
        for seed in 1..=CLIENTS {
            clients.push(Process::start(|| {
                let end = Instant::now() + WHILE;
                while Instant::now() < end {
                    let _ = client(&room.path, room, seed);
                }
                Ok(())
            })?);
        }
        clients.into_iter().try_for_each(Process::end)
    }),
    Case::others(25, "a device is bound and unbound under a client", |room| {
        let (device, path) = room.another("victim")?;
        let board = Board::new()?;
        let process = board.client(room, 1)?;
        for _ in 0..10 {
            board.announce(&path)?;
            sleep(Duration::from_millis(5));
            // It waits for the client.
            device.unbind().when("unbind")?;
            board.wait(1)?;
            device.bind(Driver::Vhost).when("bind")?;
        }
        board.end();
        process.end()?;
        device.delete()
    }),
    Case::others(25, "devices of one name by many at a time", |room| {
        let mut users = Vec::new();
        for _ in 0..4 {
            users.push(Process::start(|| {
                let end = Instant::now() + WHILE;
                while Instant::now() < end {
                    let made = room.parent.device("contested").add();
                    if let Ok(device) = made {
                        // Somebody else may have deleted it.
                        device.forget();
                    }
                    let _ = Bus::new()?.delete("contested");
                }
                Ok(())
            })?);
        }
        users.into_iter().try_for_each(Process::end)?;
        let _ = Bus::new()?.delete("contested");
        Ok(())
    }),
    Case::others(25, "messages to the bus of any bytes", |room| {
        let mut bus = Bus::new()?;
        let mut dice = Dice(room.va.into());
        dice.0 += 99;
        let before = crate::device::all().len();
        for _ in 0..400 {
            let mut attributes = Attributes::default();
            for _ in 0..dice.throw() % 6 {
                let len = dice.pick(&[0, 1, 2, 4, 6, 8, 9, 64, 300]);
                let bytes: Vec<u8> = (0..len).map(|_| dice.throw() as u8).collect();
                attributes = attributes.put(dice.throw() as u16 % 32, &bytes);
            }
            let command = dice.throw() as u8 % 12;
            let _ = bus.command(command, &attributes);
        }
        check!(
            crate::device::all().len() == before,
            "there are other devices: {:?}",
            crate::device::all()
        );
        Ok(())
    }),
    Case::others(25, "a device that there is not", |room| {
        let mut bus = Bus::new()?;
        for name in ["", "nobody", "../attacked", "beside/../attacked"] {
            check!(bus.delete(name).is_err(), "'{name}' was deleted");
            check!(bus.statistics(name, 0).is_err(), "'{name}' has statistics");
            check!(
                bus.set_mac(name, [2, 0, 0, 0, 0, 1]).is_err(),
                "'{name}' was set"
            );
        }
        let _ = room;
        Ok(())
    }),
    Case::others(25, "attributes of the wrong length", |room| {
        let mut bus = Bus::new()?;
        for kind in [
            attribute::NET_CFG_MACADDR,
            attribute::NET_CFG_MAX_VQP,
            attribute::NET_CFG_MTU,
            attribute::FEATURES,
        ] {
            for len in [0, 1, 3, 5, 7, 9, 100] {
                let attributes = Attributes::named(b"odd")
                    .string(attribute::MGMTDEV_DEV_NAME, room.parent.mgmtdev())
                    .put(kind, &vec![0; len]);
                let made = bus.command(crate::netlink::command::DEV_NEW, &attributes);
                if made.is_ok() {
                    // Long ones may be taken for their start; then it is a device.
                    bus.delete("odd").when("dev del odd")?;
                }
            }
        }
        Ok(())
    }),
    Case::others(
        25,
        "statistics of a device whose driver comes and goes",
        |room| {
            let path = room.path.clone();
            let process = Process::start(|| {
                let end = Instant::now() + WHILE;
                while Instant::now() < end {
                    let mut net = Net::new(&path, room.plan())?;
                    frames_pass(&mut net, 1)?;
                }
                Ok(())
            })?;
            let end = Instant::now() + WHILE;
            let mut bus = Bus::new()?;
            while Instant::now() < end {
                for queue in 0..6 {
                    let _ = bus.statistics(room.device.name(), queue);
                }
            }
            process.end()
        },
    ),
];

/// `VHOST_VIRTIO`, for numbers of ioctls.
const KIND: u64 = 0xaf;

/// Random ioctls of the device, with arguments of random bytes. What the driver has set up
/// is left alone by those that would change it, for it has to go on.
fn any_ioctl(s: &mut Scene<'_>, count: usize) -> Outcome {
    let mut dice = Dice(0xfeed);
    for _ in 0..count {
        // Reading ones, of those that there are and those that there are not.
        let number = dice.pick(&[
            0x00, 0x26, 0x70, 0x71, 0x73, 0x76, 0x78, 0x79, 0x7a, 0x7b, 0x7f, 0x80, 0x81, 0x82,
            0x83, 0x90, 0xff,
        ]);
        let size = dice.pick(&[0, 1, 4, 8, 16, 40, 4095]);
        let direction = dice.throw() % 4;
        let request = (direction << 30) | (size << 16) | (KIND << 8) | number;
        let mut argument = [0_u8; 8192];
        for byte in &mut argument[..64] {
            *byte = dice.throw() as u8;
        }
        let address = match dice.throw() % 4 {
            0 => 0,
            1 => dice.throw(),
            _ => argument.as_mut_ptr() as u64,
        };
        // SAFETY: Whatever the kernel writes, it is in this array, which is as long as the
        // longest argument that a number can say, or nowhere.
        unsafe { libc::ioctl(s.net.client.as_raw_fd(), request as _, address) };
    }
    Ok(())
}

/// Calls of a client that are right by themselves, in an order that is not.
fn any_order(room: &Room<'_>, seed: u64, count: usize) -> Outcome {
    let mut client = Client::open(&room.path)?;
    let mut dice = Dice(seed);
    let view = View::new(room.kind(), 0x10_0000, 0x10000)?;
    let layout = rvdpa_virtio::layout::QueueLayout {
        size: 16,
        descriptor: 0x10_0000,
        driver: 0x10_1000,
        device: 0x10_2000,
    };
    for _ in 0..count {
        let queue = dice.throw() as usize % 6;
        let asid = dice.throw() as u32 % 3;
        match dice.throw() % 16 {
            0 => drop(client.reset()),
            1 => drop(client.negotiate(rvdpa_virtio::features::Features(u64::MAX))),
            2 => drop(client.kernel().set_status(15)),
            3 => drop(client.kernel().set_features(dice.throw())),
            4 => drop(client.map_all(asid, &view)),
            5 => drop(client.unmap(asid, view.iova(), view.len())),
            6 => drop(client.set_addresses(queue, &layout)),
            7 => drop(client.set_queue(queue, &layout, dice.throw() as u32)),
            8 => drop(client.enable(queue, dice.throw() % 2 == 0)),
            9 => drop(client.suspend()),
            10 => drop(client.resume()),
            11 => drop(client.base(queue)),
            12 => drop(client.kick_event(queue).map(|event| event.write(1))),
            13 => drop(ioctl::set_group_asid(&client, queue as u32, asid)),
            14 => drop(client.config()),
            _ => drop(client.map(asid, &view, view.iova() + 0x1000, 0x1000, Permission::Read)),
        }
    }
    client.reset()
}

/// What a client does that has got a device.
fn client(path: &str, room: &Room<'_>, seed: u64) -> Outcome {
    let mut dice = Dice(seed * 7919);
    match dice.throw() % 3 {
        0 => {
            let mut net = Net::new(path, room.plan())?;
            frames_pass(&mut net, 2)
        }
        1 => {
            let mut client = Client::open(path)?;
            let view = View::new(room.kind(), 0x10_0000, 0x10000)?;
            client.map_all(0, &view)?;
            client.reset()
        }
        _ => Client::open(path).map(drop),
    }
}

/// Clients open, reset, map and close a device while it goes, and while others come.
fn many(room: &Room<'_>) -> Outcome {
    let board = Board::new()?;
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|number| board.client(room, number))
        .collect::<Outcome<_>>()?;
    let mut there = room.another("coming0")?;
    for number in 1..20 {
        board.announce(&there.1)?;
        let next = room.another(&format!("coming{number}"))?;
        sleep(Duration::from_millis(number));
        let (device, _) = std::mem::replace(&mut there, next);
        // It waits for its clients.
        device.delete()?;
        board.wait(CLIENTS)?;
    }
    board.end();
    there.0.delete()?;
    clients.into_iter().try_for_each(Process::end)
}

/// Where clients are told which device there is. They open it when vhost_vdpa has made it, and
/// no more when the next one is being made, which may have its place: that of Linux 7.3 lets
/// a device be opened and closed before it has set up what closing uses, which the kernel does
/// not survive.
struct Board(View);

/// Places on it: which device, as often as one was announced, and who is done with it.
const DEVICE: u64 = 0;
const TURN: u64 = 2;
const DONE: u64 = 4;
/// The turn that is none.
const END: u16 = 0xffff;

impl Board {
    fn new() -> Outcome<Self> {
        View::new(Kind::Shared, 0, 4096).map(Self)
    }

    /// Says that a device is there.
    fn announce(&self, path: &str) -> Outcome {
        let number = path.trim_start_matches("/dev/vhost-vdpa-");
        self.0.store_u16(DEVICE, number.parse().when(path)?);
        self.0.store_u16(TURN, self.0.load_u16(TURN) + 1);
        Ok(())
    }

    /// Waits until so many clients are done with the device.
    fn wait(&self, clients: u64) -> Outcome {
        let turn = self.0.load_u16(TURN);
        wait_for("clients", SOON, || {
            let mut done = (1..=clients).map(|number| self.0.load_u16(DONE + 2 * number));
            Ok(done.all(|last| last == turn).then_some(()))
        })
    }

    /// Says that there are no more.
    fn end(&self) {
        self.0.store_u16(TURN, END);
    }

    /// A client that opens each device a few times.
    fn client(&self, room: &Room<'_>, number: u64) -> Outcome<Process> {
        Process::start(|| {
            let mut dice = Dice(number);
            let mut last = 0;
            loop {
                let turn = self.0.load_u16(TURN);
                if turn == END {
                    return Ok(());
                }
                if turn != last {
                    let path = format!("/dev/vhost-vdpa-{}", self.0.load_u16(DEVICE));
                    for _ in 0..5 {
                        let _ = client(&path, room, dice.throw() % 1000);
                    }
                    self.0.store_u16(DONE + 2 * number, turn);
                    last = turn;
                }
                sleep(Duration::from_micros(500));
            }
        })
    }
}
