// SPDX-License-Identifier: GPL-2.0

//! Memory that changes while the device looks: a thread that writes to it all the time.

use super::{
    case::{Act, Case, Expect::*},
    scene::{Scene, SIZE},
};
use crate::{
    arena::View,
    outcome::Outcome,
    vhost::{Format, Queue},
};
use rvdpa_virtio::{
    features::Features,
    layout::{
        available, flags,
        packed::{AVAIL, USED},
    },
    mock::{Buffer, DriverMemory},
    net::control::mac,
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// 16 bits in memory, and what they become by turns.
pub type Flip = (u64, Vec<u16>);

/// What is flipped.
pub type Changing = fn(&Scene<'_>) -> Vec<Flip>;

/// A few numbers that look random and are the same each time.
pub struct Dice(pub u64);

impl Dice {
    pub fn throw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.throw() as usize % from.len()]
    }
}

/// How many drivers do so, one after the other.
const ROUNDS: u32 = 5;

pub const CASES: &[Case] = &[
    flips("addresses of buffers", |s| {
        both(s, |q| {
            let good = [(q.buffers >> 32) as u16; 3];
            let mut flips = fields(q, 4, &[&good[..], &[0xffff, 0]].concat());
            flips.extend(fields(q, 6, &[0, 0, 0, 0xffff]));
            flips
        })
    }),
    flips("lengths of buffers", |s| {
        both(s, |q| {
            let mut flips = fields(q, 8, &[112, 2048, 0, 1, 11, 12, 0xffff]);
            flips.extend(fields(q, 10, &[0, 0, 0, 0xffff]));
            flips
        })
    }),
    flips("flags of descriptors", |s| {
        let split = [0, flags::WRITE, flags::NEXT, flags::INDIRECT, 7, 0xffff];
        let packed = [
            AVAIL,
            AVAIL | flags::WRITE,
            AVAIL | 5,
            USED,
            AVAIL | USED,
            AVAIL | 3,
        ];
        let (at, values) = match s.room.format {
            Format::Split => (12, split),
            Format::Packed => (14, packed),
        };
        both(s, |q| fields(q, at, &values))
    }),
    flips("where chains go on", |s| {
        both(s, |q| {
            let mut flips = fields(q, 12, &[flags::NEXT, flags::NEXT | flags::WRITE]);
            flips.extend(fields(q, 14, &[0, 1, 2, 63, 64, 0xffff]));
            flips
        })
    })
    .split(),
    flips("available indices", |s| {
        let values = [0, 1, 20, 40, 64, 65, 0x8000, 0xffff];
        both(s, |q| {
            vec![(q.layout.driver + available::INDEX as u64, values.to_vec())]
        })
    })
    .split(),
    flips("heads", |s| {
        both(s, |q| {
            let at = |slot| q.layout.driver + available::ring(slot) as u64;
            let values = vec![0, 1, 2, 63, 64, 0xffff];
            (0..SIZE).map(|slot| (at(slot), values.clone())).collect()
        })
    })
    .split(),
    flips("names of chains", |s| {
        both(s, |q| fields(q, 12, &[0, 1, 63, 64, 0xffff]))
    })
    .packed(),
    flips("what interrupts are wanted", |s| {
        let values = vec![0, 1, 2, 3, 30, 64, 0x8000, 0xffff];
        both(s, |q| {
            let at = match q.driver.format() {
                Format::Split => [available::used_event(SIZE) as u64, 0],
                Format::Packed => [0, 2],
            };
            at.map(|at| (q.layout.driver + at, values.clone())).to_vec()
        })
    }),
    flips("what the device writes to the ring", |s| {
        let values = vec![0, 1, 7, 64, 0xffff];
        both(s, |q| {
            let words = (0..16).map(|at| (q.layout.device + 2 * at, values.clone()));
            words.collect()
        })
    }),
    flips("headers of frames", |s| {
        let values = vec![0, 1, 0x0101, 0x0401, 0x0501, 34, 54, 100, 1400, 0xffff];
        let start = |slot: u64| s.net.tx.buffers + 2048 * slot;
        let words = |slot: u64| (0..6).map(move |at| start(slot) + 2 * at);
        let all = (0..8).flat_map(words);
        all.map(|at| (at, values.clone())).collect()
    }),
    flips("frames", |s| {
        let values = vec![
            0x0008, 0x0081, 0xdd86, 0x0045, 0x4f00, 0x0600, 0x1100, 0xffff,
        ];
        let start = |slot: u64| s.net.tx.buffers + 2048 * slot + 12;
        let words = |slot: u64| (3..24).map(move |at| start(slot) + 2 * at);
        let all = (0..8).flat_map(words);
        all.map(|at| (at, values.clone())).collect()
    }),
    Case::run(11, "an indirect table changes", Harmless, |s| {
        let at = s.net.tx.tables;
        let values = vec![0, 1, 2, 3, 4, 7, 16, 100, 0xffff];
        let flips: Vec<Flip> = (0..16)
            .map(|word| (at + 2 * word, values.clone()))
            .collect();
        let memory = s.net.memory.clone();
        while_flipping(&memory, &flips, || {
            for number in 0..SIZE {
                // The good ones in between.
                let chain = s.sent(true);
                s.offer(&chain);
                s.kick()?;
                pause(number);
            }
            Ok(())
        })
    })
    .needs(Features::INDIRECT_DESC)
    .rounds(ROUNDS),
    Case::run(11, "a command changes", Harmless, |s| {
        let start = s.net.control()?.buffers;
        let data = start + crate::vhost::control::DATA;
        let values = vec![0, 1, 2, 3, 0x0101, 60, 64, 0x00ff, 0xffff];
        let mut flips = vec![(start, vec![0x0001, 0x0001, 0x0101, 0x0004, 0x0105])];
        flips.extend((0..8).map(|word| (data + 2 * word, values.clone())));
        let memory = s.net.control_memory.clone();
        s.net
            .write_command(mac::CLASS, mac::TABLE_SET, &[0; 1000])?;
        while_flipping(&memory, &flips, || {
            for _ in 0..100 {
                s.net.submit(&[
                    Buffer::readable(0, 2),
                    Buffer::readable(crate::vhost::control::DATA, 1000),
                    Buffer::writable(crate::vhost::control::ANSWER, 1),
                ])?;
                s.net.wait_control()?;
            }
            Ok(())
        })
    }),
];

/// Frames are sent while something is flipped.
const fn flips(name: &'static str, what: Changing) -> Case {
    Case::new(11, name, Harmless, Act::Flip(what)).rounds(ROUNDS)
}

/// Sends frames while something is flipped. They are not taken back: what the device says of
/// them is as odd as what it was told.
pub fn frames(s: &mut Scene<'_>, what: Changing) -> Outcome {
    let memory = s.net.memory.clone();
    let flips = what(s);
    while_flipping(&memory, &flips, || {
        for number in 0..SIZE {
            s.send_plain(number.into())?;
            pause(number);
        }
        Ok(())
    })
}

/// Lets the device get on, now and then.
fn pause(number: u16) {
    if number % 8 == 0 {
        thread::sleep(Duration::from_micros(500));
    }
}

/// Does something while a thread writes.
fn while_flipping(memory: &View, flips: &[Flip], act: impl FnOnce() -> Outcome) -> Outcome {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
            while !stop.load(Ordering::Relaxed) {
                let at = dice.throw() as usize % flips.len();
                let (address, values) = &flips[at];
                memory.store_u16(*address, dice.pick(values));
            }
        });
        let done = act();
        stop.store(true, Ordering::Relaxed);
        done
    })
}

/// What is flipped of the receive and of the transmit queue.
fn both(s: &Scene<'_>, of: impl Fn(&Queue) -> Vec<Flip>) -> Vec<Flip> {
    let mut flips = of(&s.net.rx);
    flips.extend(of(&s.net.tx));
    flips
}

/// The 16 bits of each descriptor at some offset.
fn fields(queue: &Queue, offset: u64, values: &[u16]) -> Vec<Flip> {
    let descriptors = 0..u64::from(SIZE);
    descriptors
        .map(|index| {
            let at = queue.layout.descriptor + 16 * index + offset;
            (at, values.to_vec())
        })
        .collect()
}
