// SPDX-License-Identifier: GPL-2.0

//! Random drivers: well-behaved ones get what a simple model gets, and hostile ones get no
//! panic and no endless work out of the device.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_virtio::{
    features::Features,
    layout::{
        table_limit,
        Descriptor, //
    },
    memory::Access,
    mock::{
        Buffer,
        DriverMemory,
        Form,
        MockMemory, //
    },
    queue::{
        Interrupt,
        Queue, //
    },
    split::SplitQueue,
};
use selftests_virtio::{
    SplitRig as Rig,
    *, //
};
use std::collections::VecDeque;

/// One step of a driver and its device.
#[derive(Clone, Debug)]
enum Step {
    /// The driver adds a chain with buffers of these lengths to read, then to write.
    Add(Vec<u32>, Vec<u32>, usize),
    /// The driver shows the device what it has added.
    Publish,
    /// The device takes up to so many chains, and answers each with its bytes in reverse.
    Work(usize),
    /// The device looks at the next chain and leaves it.
    Look,
    /// The device takes all chains, and then takes that back.
    Rewind,
    /// The driver takes back used chains.
    Collect,
    /// A mapping changes somewhere.
    Remap,
    /// The driver wants interrupts or not.
    Interrupts(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let lens = || vec(prop_oneof![Just(0), 1..20_u32, 1..400_u32], 0..5);
    prop_oneof![
        4 => (lens(), lens(), 0..4_usize).prop_map(|(r, w, f)| Step::Add(r, w, f)),
        3 => Just(Step::Publish),
        3 => (1..6_usize).prop_map(Step::Work),
        1 => Just(Step::Look),
        1 => Just(Step::Rewind),
        3 => Just(Step::Collect),
        1 => Just(Step::Remap),
        1 => any::<bool>().prop_map(Step::Interrupts),
    ]
}

fn features() -> impl Strategy<Value = Features> {
    let events = prop_oneof![Just(Features::INDIRECT_DESC), Just(ALL)];
    (events, any::<bool>()).prop_map(|(features, in_order)| match in_order {
        true => features | Features::IN_ORDER,
        false => features,
    })
}

/// A chain as the model knows it.
struct Chain {
    head: u16,
    data: Vec<u8>,
    room: Vec<Buffer>,
}

impl Chain {
    /// What the device is to answer.
    fn answer(&self) -> Vec<u8> {
        let room: u32 = self.room.iter().map(|buffer| buffer.len).sum();
        let data = self.data.iter().rev().copied();
        data.take(room as usize).collect()
    }
}

/// The device's work on the next chain: reads all, writes it in reverse.
fn work_on_next(rig: &mut Rig) -> Option<(u16, Vec<u8>)> {
    let head = rig.peek().unwrap()?;
    let index = head.index();
    let mut request = rig.queue.request(&rig.memory, &head).unwrap();
    let mut data = vec![0; 4096];
    let len = request.read(&mut data).unwrap();
    data.truncate(len);
    assert!(request.is_done().unwrap());
    let mut answer = request.into_writer().unwrap();
    let mut reverse = data.clone();
    reverse.reverse();
    let written = answer.write(&reverse).unwrap();
    assert_eq!(written as u32, answer.written());
    let written = answer.written();
    match answer.is_full().unwrap() {
        true => rig.queue.complete_fully(&rig.memory, head, written),
        false => rig.queue.complete(&rig.memory, head, written),
    }
    .unwrap();
    Some((index, data))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_well_behaved_driver_gets_what_the_model_gets(
        steps in vec(step(), 1..60),
        features in features(),
        size in 2..6_u32,
        start in prop_oneof![Just(0), 65500..=65535_u16, any::<u16>()],
    ) {
        let mut rig = Rig::starting_at(1 << size, features, start);
        let mut added = VecDeque::new();
        let mut available: VecDeque<Chain> = VecDeque::new();
        let mut used: VecDeque<Chain> = VecDeque::new();
        let mut wanted = true;
        let mut seed = 0_u8;
        // Every chain has its own piece of the buffers' memory.
        let mut at = 0_u64;

        for step in steps {
            match step {
                Step::Add(readable, writable, form) => {
                    seed = seed.wrapping_add(1);
                    let mut place = |base, len: u32| {
                        let iova = base + at;
                        at += u64::from(len);
                        iova
                    };
                    let room: Vec<_> = writable
                        .iter()
                        .map(|&len| Buffer::writable(place(TARGET, len), len))
                        .collect();
                    let mut data = Vec::new();
                    let mut chain = Vec::new();
                    for &len in &readable {
                        let bytes = pattern(len as usize, seed);
                        let iova = place(SOURCE, len);
                        rig.memory.write(iova, &bytes);
                        data.extend(bytes);
                        chain.push(Buffer::readable(iova, len));
                    }
                    chain.extend(&room);
                    let table = TABLES + at;
                    at += 16 * chain.len() as u64;
                    let form = match form {
                        0 => Form::Direct,
                        1 | 2 => Form::Indirect { table },
                        _ => Form::Mixed { direct: chain.len() / 2, table },
                    };
                    if chain.len() > 1 << size {
                        continue;
                    }
                    if let Ok(head) = rig.driver.add(&chain, form) {
                        added.push_back(Chain { head, data, room });
                    }
                }
                Step::Publish => {
                    rig.driver.publish();
                    available.append(&mut added);
                }
                Step::Work(count) => {
                    let mut expected = 0;
                    for _ in 0..count {
                        let Some((head, data)) = work_on_next(&mut rig) else {
                            prop_assert!(available.is_empty());
                            break;
                        };
                        let chain = available.pop_front().unwrap();
                        prop_assert_eq!(head, chain.head);
                        prop_assert_eq!(&data, &chain.data);
                        used.push_back(chain);
                        expected += 1;
                    }
                    let interrupt = rig.queue.publish(&rig.memory).unwrap();
                    prop_assert_eq!(interrupt == Interrupt::Nothing, expected == 0);
                    if expected > 0 && !features.contains(Features::EVENT_IDX) {
                        prop_assert_eq!(interrupt == Interrupt::Raise, wanted);
                    }
                }
                Step::Look => {
                    let head = rig.peek().unwrap();
                    prop_assert_eq!(
                        head.map(|head| head.index()),
                        available.front().map(|chain| chain.head)
                    );
                }
                Step::Rewind => {
                    let mark = rig.queue.mark();
                    let index = rig.queue.avail_index();
                    for chain in &available {
                        let (head, data) = work_on_next(&mut rig).unwrap();
                        prop_assert_eq!(head, chain.head);
                        prop_assert_eq!(&data, &chain.data);
                    }
                    rig.queue.rewind(mark);
                    prop_assert_eq!(rig.queue.avail_index(), index);
                    prop_assert_eq!(
                        rig.queue.publish(&rig.memory).unwrap(),
                        Interrupt::Nothing
                    );
                }
                Step::Collect => {
                    while let Some(done) = rig.driver.poll_used() {
                        let chain = used.pop_front().unwrap();
                        let answer = chain.answer();
                        prop_assert_eq!(done.head, chain.head);
                        prop_assert_eq!(done.len as usize, answer.len());
                        let mut bytes = Vec::new();
                        for buffer in &chain.room {
                            let mut piece = vec![0; buffer.len as usize];
                            rig.memory.read(buffer.iova, &mut piece);
                            bytes.extend(piece);
                        }
                        prop_assert_eq!(&bytes[..answer.len()], &answer[..]);
                        prop_assert!(bytes[answer.len()..].iter().all(|&byte| byte == 0));
                    }
                    prop_assert!(used.is_empty());
                }
                Step::Remap => rig.memory.set_permission(TABLES, Access::Read),
                Step::Interrupts(on) => {
                    wanted = on;
                    match on {
                        true => {
                            rig.driver.enable_interrupts();
                        }
                        false => rig.driver.disable_interrupts(),
                    }
                }
            }
        }
    }

    #[test]
    fn no_kick_and_no_interrupt_is_ever_missing(
        counts in vec((1..4_usize, any::<bool>()), 1..100),
        features in features(),
        start in any::<u16>(),
    ) {
        // Driver and device each sleep until they are woken, as real ones do.
        let mut rig = Rig::starting_at(16, features, start);
        rig.queue.begin(&rig.memory).unwrap();
        prop_assert!(!rig.queue.allow_kicks(&rig.memory).unwrap());
        rig.driver.enable_interrupts();
        for (count, twice) in counts {
            for _ in 0..count {
                rig.driver.add(&[Buffer::readable(SOURCE, 1)], Form::Direct).unwrap();
            }
            rig.driver.publish();
            prop_assert!(rig.driver.needs_kick());
            rig.queue.suppress_kicks(&rig.memory).unwrap();
            if twice {
                rig.driver.add(&[Buffer::readable(SOURCE, 1)], Form::Direct).unwrap();
                rig.driver.publish();
                rig.driver.needs_kick();
            }
            let mut raised = 0;
            loop {
                while let Some((_, data)) = work_on_next(&mut rig) {
                    prop_assert_eq!(data.len(), 1);
                }
                if rig.queue.publish(&rig.memory).unwrap() == Interrupt::Raise {
                    raised += 1;
                }
                if !rig.queue.allow_kicks(&rig.memory).unwrap() {
                    break;
                }
            }
            prop_assert_eq!(raised, 1);
            let mut taken = 0;
            while rig.driver.poll_used().is_some() {
                taken += 1;
            }
            prop_assert_eq!(taken, count + usize::from(twice));
            prop_assert!(!rig.driver.enable_interrupts());
        }
    }

    #[test]
    fn garbage_in_rings_and_tables_ends_in_a_fault_or_at_the_end(
        ring in vec(any::<u8>(), 8 * 16),
        table in vec(any::<u8>(), 256),
        heads in vec(prop_oneof![0..8_u16, any::<u16>()], 8),
        index in any::<u16>(),
        flip in any::<bool>(),
        features in prop_oneof![Just(ALL), Just(IN_ORDER)],
    ) {
        hostile(&ring, &table, &heads, index, flip, features)?;
    }

    #[test]
    fn likely_garbage_ends_in_a_fault_or_at_the_end(
        ring in vec(descriptor(), 8),
        table in vec(descriptor(), 16),
        heads in vec(0..8_u16, 8),
        index in 0..9_u16,
        flip in any::<bool>(),
        features in prop_oneof![Just(ALL), Just(IN_ORDER)],
    ) {
        let bytes = |descriptors: &[Descriptor]| -> Vec<u8> {
            descriptors.iter().flat_map(|descriptor| descriptor.to_bytes()).collect()
        };
        hostile(&bytes(&ring), &bytes(&table), &heads, index, flip, features)?;
    }
}

/// Descriptors that come through some of the checks.
fn descriptor() -> impl Strategy<Value = Descriptor> {
    let address = prop_oneof![
        Just(SOURCE),
        Just(TARGET),
        Just(TABLES),
        Just(TABLES + 8),
        Just(DESCRIPTOR),
        Just(u64::MAX - 15),
        any::<u64>()
    ];
    let len = prop_oneof![
        Just(0),
        Just(16),
        Just(64),
        Just(256),
        0..300_u32,
        any::<u32>()
    ];
    let flags = prop_oneof![4 => 0..4_u16, 1 => 4..8_u16, 1 => any::<u16>()];
    let next = prop_oneof![9 => 0..8_u16, 1 => any::<u16>()];
    (address, len, flags, next).prop_map(|(address, len, flags, next)| Descriptor {
        address,
        len,
        flags,
        next,
    })
}

/// Lets a device work on whatever is in the rings, and checks that it works a bounded
/// amount. With `flip`, all that it reads of rings and tables changes right after.
fn hostile(
    ring: &[u8],
    table: &[u8],
    heads: &[u16],
    index: u16,
    flip: bool,
    features: Features,
) -> Result<(), TestCaseError> {
    let rig = Rig::new(8, features);
    rig.memory.write(DESCRIPTOR, ring);
    rig.memory.write(TABLES, table);
    for (slot, &head) in heads.iter().enumerate() {
        rig.driver.write_available_entry(slot as u16, head);
    }
    rig.driver.write_available_index(index);
    if flip {
        rig.memory.set_hook(|memory, seen| {
            if seen.access == Access::Read && seen.iova < SOURCE {
                let mut bytes = vec![0; seen.len];
                memory.read(seen.iova, &mut bytes);
                bytes
                    .iter_mut()
                    .for_each(|byte| *byte = byte.rotate_left(3) ^ 5);
                memory.write(seen.iova, &bytes);
            }
        });
    }

    let other = Rig::new(8, ALL);
    let mut sink = other.driver;
    let mut receive = other.queue;
    let _ = sink.add(&[Buffer::writable(TARGET, 4096)], Form::Direct);
    sink.publish();
    receive.begin(&other.memory).unwrap();
    let room = receive.peek(&other.memory).unwrap().unwrap();

    for way in 0..4 {
        let mut queue = SplitQueue::new(MockMemory::areas());
        queue.setup(layout(8), features, 0).unwrap();
        queue.begin(&rig.memory).unwrap();
        let mut chains = 0;
        while let Ok(Some(head)) = queue.peek(&rig.memory) {
            chains += 1;
            prop_assert!(chains <= 100);
            rig.memory.start_log();
            let mut scratch = [0; 100];
            match way {
                0 => {
                    if let Ok(mut reader) = queue.reader(&rig.memory, &head) {
                        let _ = reader.read(&mut scratch);
                        let _ = reader.skip(u64::MAX);
                        let _ = reader.is_done();
                    }
                }
                1 => {
                    if let Ok(mut writer) = queue.writer(&rig.memory, &head) {
                        let _ = writer.write(&scratch);
                        let _ = writer.skip(u64::MAX);
                    }
                }
                2 => {
                    if let Ok(mut request) = queue.request(&rig.memory, &head) {
                        let _ = request.read(&mut scratch);
                        if let Ok(mut answer) = request.into_writer() {
                            let _ = answer.write(&scratch);
                        }
                    }
                }
                _ => {
                    if let Ok(mut reader) = queue.reader(&rig.memory, &head) {
                        let mut writer = receive.writer(&other.memory, &room).unwrap();
                        if let Ok(copied) = reader.copy_to(&mut writer, 5000) {
                            prop_assert!(copied <= 4096);
                        }
                    }
                }
            }
            // As many descriptors as the limit says, and one too many, and one that refers
            // to the table, each in two pieces; and buffers that lie there too.
            let log = rig.memory.take_log();
            let described = log.iter().filter(|seen| seen.iova < SOURCE).count();
            let limit = usize::from(table_limit(8));
            prop_assert!(
                described <= 2 * (limit + 2) + 2 * limit,
                "{} reads",
                described
            );
            let completed = match chains % 2 {
                0 => queue.complete(&rig.memory, head, 0),
                _ => queue.complete_fully(&rig.memory, head, 0),
            };
            if completed.is_err() {
                break;
            }
            if chains % 3 == 0 {
                let _ = queue.publish(&rig.memory);
            }
        }
        let _ = queue.allow_kicks(&rig.memory);
    }
    Ok(())
}
