// SPDX-License-Identifier: GPL-2.0

//! Drivers that behave well: both formats, in order or not, give the same results, and each
//! buffer has what it should have.

use crate::choices::Choices;
use rvdpa_virtio::{
    features::Features,
    layout::Area,
    memory::Access,
    mock::{
        AddError,
        Buffer,
        DriverMemory,
        Form,
        MockMemory, //
    },
    queue::{
        Interrupt,
        Queue, //
    },
};
use selftests_virtio::{
    fill,
    layout,
    pattern,
    with_format,
    DriverQueue,
    Format,
    Packed,
    RigOf,
    Split,
    ALL,
    SOURCE,
    TABLES,
    TARGET, //
};
use std::collections::BTreeMap;

/// Most steps per input: the mock memory is not fast.
const STEPS: usize = 40;
/// As many bytes as that many chains may have, and their tables.
const ROOM: usize = STEPS * 6 * (63 + 16);

/// What comes of a step, with chains by the number of their turn.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Added(Result<usize, AddError>, usize),
    Worked(Vec<Vec<u8>>),
    Shown(bool),
    More(bool),
    Collected(Vec<(usize, u32, Vec<u8>)>),
    Nothing,
}

/// A chain that the driver has made.
struct Chain {
    turn: usize,
    buffers: Vec<Buffer>,
    /// What the device has to answer.
    answer: Vec<u8>,
}

/// All formats.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    let kind = c.u8();
    let size = 1 << (kind & 3) << 1;
    let start = c.u16();
    let packed_start = (start & 0x8000) | (start % size);
    let features = match kind & 4 {
        0 => Features::INDIRECT_DESC,
        _ => ALL,
    };
    let in_order = features | Features::IN_ORDER;
    let steps = c.rest();
    let split = steps_of::<Split>(size, features, start, steps);
    match kind & 0x30 {
        0 => assert_eq!(
            split,
            steps_of::<Split>(size, in_order, start, steps),
            "split in order"
        ),
        0x10 => assert_eq!(
            split,
            steps_of::<Packed>(size, in_order, packed_start, steps),
            "packed in order"
        ),
        _ => assert_eq!(
            split,
            steps_of::<Packed>(size, features, packed_start, steps),
            "packed"
        ),
    }
}

/// A driver and a device, with no more memory than the steps need.
fn rig<F: Format>(size: u16, features: Features, start: u16) -> RigOf<F> {
    let features = with_format::<F>(features);
    let memory = MockMemory::new();
    let layout = layout(size);
    for area in Area::ALL {
        let len = layout.len(area, features);
        memory.map(layout.address(area), len, Access::ReadWrite);
    }
    memory.map(TABLES, ROOM, Access::Read);
    memory.map(SOURCE, ROOM, Access::Read);
    memory.map(TARGET, ROOM, Access::Write);
    RigOf {
        driver: F::driver(memory.clone(), layout, features, start),
        queue: F::queue(layout, features, start),
        memory,
    }
}

/// Does all steps in one format.
fn steps_of<F: Format>(size: u16, features: Features, start: u16, steps: &[u8]) -> Vec<Outcome> {
    let c = Choices::new(steps);
    let mut rig = rig::<F>(size, features, start);
    let mut names = BTreeMap::new();
    let mut turn = 0;
    let mut at = 0;
    let mut outcomes = Vec::new();
    while !c.is_empty() && outcomes.len() < STEPS {
        outcomes.push(match c.up_to(7) {
            0 | 1 => {
                let (chain, data, form) = chain(&c, &mut at, turn as u8);
                if chain.len() > size.into() {
                    continue;
                }
                let readable: Vec<Buffer> =
                    chain.iter().filter(|one| !one.writable).copied().collect();
                fill(&rig.memory, &readable, &data);
                let room: u32 = room(&chain);
                let answer = data.iter().rev().take(room as usize).copied().collect();
                let added = rig.driver.add(&chain, form).map(|name| {
                    let chain = Chain {
                        turn,
                        buffers: chain,
                        answer,
                    };
                    assert!(names.insert(name, chain).is_none(), "a name in use");
                    turn += 1;
                    turn - 1
                });
                Outcome::Added(added, rig.driver.free())
            }
            2 => {
                rig.driver.publish();
                Outcome::Nothing
            }
            3 => Outcome::Worked(work(&mut rig, &names, &c)),
            4 => {
                rig.queue.begin(&rig.memory).unwrap();
                let shown = rig.queue.publish(&rig.memory).unwrap();
                Outcome::Shown(shown != Interrupt::Nothing)
            }
            5 => {
                rig.queue.begin(&rig.memory).unwrap();
                match c.flag() {
                    true => Outcome::More(rig.queue.allow_kicks(&rig.memory).unwrap()),
                    false => {
                        rig.queue.suppress_kicks(&rig.memory).unwrap();
                        Outcome::Nothing
                    }
                }
            }
            6 => Outcome::Collected(collect(&mut rig, &mut names, c.up_to(4).into())),
            _ => {
                rig.queue.begin(&rig.memory).unwrap();
                let shown = rig.queue.publish(&rig.memory).unwrap();
                let features = with_format::<F>(features);
                rig.queue = F::queue(layout(size), features, F::standing(&rig.queue));
                Outcome::Shown(shown != Interrupt::Nothing)
            }
        });
    }
    outcomes
}

/// The buffers of a chain, what is to be in them, and the form of the chain.
fn chain(c: &Choices<'_>, at: &mut u64, seed: u8) -> (Vec<Buffer>, Vec<u8>, Form) {
    let kind = c.u8();
    let mut place = |base, len: u32| {
        let iova = base + *at;
        *at += u64::from(len);
        iova
    };
    let mut chain = Vec::new();
    for _ in 0..(kind & 3) {
        let len = u32::from(c.u8() & 0x3f);
        chain.push(Buffer::readable(place(SOURCE, len), len));
    }
    for _ in 0..((kind >> 2) & 3) {
        let len = u32::from(c.u8() & 0x3f);
        chain.push(Buffer::writable(place(TARGET, len), len));
    }
    let len: u32 = chain
        .iter()
        .filter(|one| !one.writable)
        .map(|one| one.len)
        .sum();
    let table = TABLES + *at;
    *at += 16 * chain.len() as u64;
    let form = match kind & 0x10 {
        0 => Form::Direct,
        _ => Form::Indirect { table },
    };
    (chain, pattern(len as usize, seed), form)
}

fn room(chain: &[Buffer]) -> u32 {
    let writable = chain.iter().filter(|buffer| buffer.writable);
    writable.map(|buffer| buffer.len).sum()
}

/// The device answers some chains with their bytes in reverse, and takes some of that back.
fn work<F: Format>(
    rig: &mut RigOf<F>,
    names: &BTreeMap<u16, Chain>,
    c: &Choices<'_>,
) -> Vec<Vec<u8>> {
    let (count, back, piece) = (c.up_to(4), c.up_to(2), c.u8() & 0x3f);
    let mut seen = Vec::new();
    let mut marks = Vec::new();
    rig.queue.begin(&rig.memory).unwrap();
    for _ in 0..count {
        let Some(head) = rig.queue.peek(&rig.memory).unwrap() else {
            break;
        };
        marks.push(rig.queue.mark());
        let chain = &names[&F::name(&head)];
        let mut request = rig.queue.request(&rig.memory, &head).unwrap();
        // In two pieces each, which may end anywhere.
        let mut data = vec![0; 300];
        let first = usize::from(piece);
        let mut len = request.read(&mut data[..first]).unwrap();
        if len == first {
            len += request.read(&mut data[first..]).unwrap();
        }
        data.truncate(len);
        let mut answer = request.into_writer().unwrap();
        let reverse: Vec<u8> = data.iter().rev().copied().collect();
        let (first, second) = reverse.split_at(first.min(len));
        if answer.write(first).unwrap() == first.len() {
            answer.write(second).unwrap();
        }
        let written = answer.written();
        match written == room(&chain.buffers) {
            true => rig.queue.complete_fully(&rig.memory, head, written),
            false => rig.queue.complete(&rig.memory, head, written),
        }
        .unwrap();
        seen.push(data);
    }
    if let Some(&mark) = marks.iter().rev().take(back.into()).last() {
        rig.queue.rewind(mark);
    }
    seen
}

/// The driver takes back chains, in which is what should be there.
fn collect<F: Format>(
    rig: &mut RigOf<F>,
    names: &mut BTreeMap<u16, Chain>,
    count: usize,
) -> Vec<(usize, u32, Vec<u8>)> {
    let mut collected = Vec::new();
    for _ in 0..count {
        let Some(used) = rig.driver.poll_used() else {
            break;
        };
        let chain = names.remove(&used.head).expect("a chain that there is");
        let mut bytes = Vec::new();
        for buffer in chain.buffers.iter().filter(|buffer| buffer.writable) {
            let mut piece = vec![0; buffer.len as usize];
            rig.memory.read(buffer.iova, &mut piece);
            bytes.extend(piece);
        }
        assert_eq!(used.len as usize, chain.answer.len());
        assert_eq!(bytes[..chain.answer.len()], chain.answer);
        collected.push((chain.turn, used.len, bytes));
    }
    collected
}
