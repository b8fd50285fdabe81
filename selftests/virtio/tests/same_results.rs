// SPDX-License-Identifier: GPL-2.0

//! Both formats, in order or not, give the same results for the same sequence of operations.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_virtio::{
    features::Features,
    mock::{
        AddError,
        Buffer,
        DriverMemory,
        Form, //
    },
    queue::{
        Interrupt,
        Queue, //
    },
};
use selftests_virtio::*;
use std::collections::BTreeMap;

/// One step of a driver and its device.
#[derive(Clone, Debug)]
enum Step {
    /// The driver adds a chain with buffers of these lengths to read, then to write, in a
    /// table or not.
    Add(Vec<u32>, Vec<u32>, bool),
    /// The driver shows the device what it has added.
    Publish,
    /// The driver asks whether it is to kick.
    Kick,
    /// The device takes up to so many chains, answers each with its bytes in reverse, hands
    /// them back, fully if nothing is left of them, and takes back as many.
    Work(usize, usize),
    /// The device shows the driver what it has used.
    Show,
    /// The device wants kicks or not.
    Kicks(bool),
    /// The driver takes back so many used chains.
    Collect(usize),
    /// The driver wants interrupts or not.
    Interrupts(bool),
    /// The queue goes on with another device.
    Move,
}

fn step() -> impl Strategy<Value = Step> {
    let lens = || vec(prop_oneof![Just(0), 1..40_u32], 0..4);
    prop_oneof![
        6 => (lens(), lens(), any::<bool>()).prop_map(|(r, w, t)| Step::Add(r, w, t)),
        4 => Just(Step::Publish),
        2 => Just(Step::Kick),
        4 => (1..5_usize, 0..3_usize).prop_map(|(n, back)| Step::Work(n, back)),
        3 => Just(Step::Show),
        2 => any::<bool>().prop_map(Step::Kicks),
        3 => (1..5_usize).prop_map(Step::Collect),
        2 => any::<bool>().prop_map(Step::Interrupts),
        1 => Just(Step::Move),
    ]
}

/// What comes of a step, with chains by the number of their turn: what a driver calls them
/// is its own affair.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Added(Result<usize, AddError>, usize),
    Kicked(bool),
    Worked(Vec<Vec<u8>>),
    Shown(Interrupt),
    Waited(bool),
    Collected(Vec<(usize, u32, Vec<u8>)>),
    Enabled(bool),
    Nothing,
}

/// Does all steps in one format.
fn run<F: Format>(size: u16, features: Features, start: u16, steps: &[Step]) -> Vec<Outcome> {
    let mut rig = RigOf::<F>::starting_at(size, features, start);
    let mut names = BTreeMap::new();
    let mut turn = 0;
    let mut at = 0_u64;
    let mut outcomes = Vec::new();
    for step in steps {
        outcomes.push(match step {
            Step::Add(readable, writable, table) => {
                let mut place = |base, len: u32| {
                    let iova = base + at;
                    at += u64::from(len);
                    iova
                };
                let mut chain = Vec::new();
                for &len in readable {
                    let iova = place(SOURCE, len);
                    rig.memory.write(iova, &pattern(len as usize, turn as u8));
                    chain.push(Buffer::readable(iova, len));
                }
                for &len in writable {
                    chain.push(Buffer::writable(place(TARGET, len), len));
                }
                let form = match table {
                    true => Form::Indirect { table: TABLES + at },
                    false => Form::Direct,
                };
                at += 16 * chain.len() as u64;
                if chain.len() > usize::from(size) {
                    continue;
                }
                let added = rig.driver.add(&chain, form).map(|name| {
                    assert!(names.insert(name, (turn, chain)).is_none());
                    turn += 1;
                    turn - 1
                });
                Outcome::Added(added, rig.driver.free())
            }
            Step::Publish => {
                rig.driver.publish();
                Outcome::Nothing
            }
            Step::Kick => Outcome::Kicked(rig.driver.needs_kick()),
            Step::Work(count, back) => {
                let mut seen = Vec::new();
                let mut marks = Vec::new();
                rig.queue.begin(&rig.memory).unwrap();
                for _ in 0..*count {
                    let Some(head) = rig.queue.peek(&rig.memory).unwrap() else {
                        break;
                    };
                    marks.push(rig.queue.mark());
                    let (_, chain) = &names[&F::name(&head)];
                    let writable = chain.iter().filter(|buffer| buffer.writable);
                    let room: u32 = writable.map(|buffer| buffer.len).sum();
                    let mut request = rig.queue.request(&rig.memory, &head).unwrap();
                    let mut data = vec![0; 200];
                    let len = request.read(&mut data).unwrap();
                    data.truncate(len);
                    let mut answer = request.into_writer().unwrap();
                    let reverse: Vec<u8> = data.iter().rev().copied().collect();
                    answer.write(&reverse).unwrap();
                    let written = answer.written();
                    match written == room {
                        true => rig.queue.complete_fully(&rig.memory, head, written),
                        false => rig.queue.complete(&rig.memory, head, written),
                    }
                    .unwrap();
                    seen.push(data);
                }
                if let Some(&mark) = marks.iter().rev().take(*back).last() {
                    rig.queue.rewind(mark);
                }
                Outcome::Worked(seen)
            }
            Step::Show => {
                rig.queue.begin(&rig.memory).unwrap();
                Outcome::Shown(rig.queue.publish(&rig.memory).unwrap())
            }
            Step::Kicks(on) => {
                rig.queue.begin(&rig.memory).unwrap();
                match on {
                    true => Outcome::Waited(rig.queue.allow_kicks(&rig.memory).unwrap()),
                    false => {
                        rig.queue.suppress_kicks(&rig.memory).unwrap();
                        Outcome::Nothing
                    }
                }
            }
            Step::Collect(count) => {
                let mut collected = Vec::new();
                for _ in 0..*count {
                    let Some(used) = rig.driver.poll_used() else {
                        break;
                    };
                    let (turn, chain) = names.remove(&used.head).unwrap();
                    let mut room = Vec::new();
                    for buffer in chain.iter().filter(|buffer| buffer.writable) {
                        let mut bytes = vec![0; buffer.len as usize];
                        rig.memory.read(buffer.iova, &mut bytes);
                        room.extend(bytes);
                    }
                    collected.push((turn, used.len, room));
                }
                Outcome::Collected(collected)
            }
            Step::Interrupts(true) => Outcome::Enabled(rig.driver.enable_interrupts()),
            Step::Interrupts(false) => {
                rig.driver.disable_interrupts();
                Outcome::Nothing
            }
            Step::Move => {
                rig.queue.begin(&rig.memory).unwrap();
                let shown = rig.queue.publish(&rig.memory).unwrap();
                let features = with_format::<F>(features);
                let standing = F::standing(&rig.queue);
                rig.queue = F::queue(layout(size), features, standing);
                Outcome::Shown(shown)
            }
        });
    }
    outcomes
}

/// What is the same in both formats with `VIRTIO_F_EVENT_IDX`. When the other side did not
/// say anew what it wants, that is one event in the past: in a split queue it comes round
/// after 65536 chains, in a packed one after two laps of the ring, and the first time
/// differs as well. So only the chains and their contents are compared then.
fn without_events(outcomes: Vec<Outcome>) -> Vec<Outcome> {
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Kicked(_) => Outcome::Nothing,
            Outcome::Shown(Interrupt::Raise) => Outcome::Shown(Interrupt::Suppressed),
            outcome => outcome,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_same_steps_have_the_same_outcomes(
        steps in vec(step(), 1..120),
        size in 2..6_u32,
        split_start in any::<u16>(),
        packed_start in any::<u16>(),
        event_idx in any::<bool>(),
    ) {
        let size = 1 << size;
        let packed_start = (packed_start & 0x8000) | (packed_start % size);
        let features = match event_idx {
            true => ALL,
            false => Features::INDIRECT_DESC,
        };
        let in_order = features | Features::IN_ORDER;
        let mut split = run::<Split>(size, features, split_start, &steps);
        prop_assert_eq!(&split, &run::<Split>(size, in_order, split_start, &steps));
        let mut packed = run::<Packed>(size, features, packed_start, &steps);
        prop_assert_eq!(&packed, &run::<Packed>(size, in_order, packed_start, &steps));
        if event_idx {
            split = without_events(split);
            packed = without_events(packed);
        }
        prop_assert_eq!(split, packed);
    }
}
