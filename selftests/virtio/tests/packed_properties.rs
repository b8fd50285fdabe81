// SPDX-License-Identifier: GPL-2.0

//! Random drivers of a packed virtqueue: nobody waits for a notification that does not
//! come, and hostile ones get no panic and no endless work out of the device.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_virtio::{
    features::Features,
    layout::{
        packed::{
            Descriptor,
            Slot, //
        },
        table_limit, //
    },
    memory::Access,
    mock::{
        Buffer,
        DriverMemory,
        Form,
        MockMemory, //
    },
    packed::{
        PackedQueue,
        State, //
    },
    queue::{
        Interrupt,
        Queue, //
    },
};
use selftests_virtio::{
    PackedRig as Rig,
    *, //
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_kick_and_no_interrupt_is_ever_missing(
        lens in vec((vec(1..4_usize, 1..4), any::<bool>()), 1..100),
        event_idx in any::<bool>(),
        in_order in any::<bool>(),
        size in 12..40_u16,
        start in any::<u16>(),
    ) {
        // Driver and device each sleep until they are woken, as real ones do.
        let mut features = match event_idx {
            true => ALL,
            false => Features::NONE,
        };
        if in_order {
            features = features | Features::IN_ORDER;
        }
        let mut rig = Rig::starting_at(size, features, (start & 0x8000) | (start % size));
        rig.queue.begin(&rig.memory).unwrap();
        prop_assert!(!rig.queue.allow_kicks(&rig.memory).unwrap());
        rig.driver.enable_interrupts();
        for (lens, twice) in lens {
            for &len in &lens {
                let chain = vec![Buffer::readable(SOURCE, 1); len];
                rig.driver.add(&chain, Form::Direct).unwrap();
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
                while let Some(head) = rig.peek().unwrap() {
                    rig.queue.complete_fully(&rig.memory, head, 0).unwrap();
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
            prop_assert_eq!(taken, lens.len() + usize::from(twice));
            prop_assert!(!rig.driver.enable_interrupts());
        }
    }

    #[test]
    fn garbage_ends_in_a_fault_or_at_the_end(
        ring in vec(any::<u8>(), 7 * 16),
        table in vec(any::<u8>(), 256),
        start in any::<u16>(),
        flip in any::<u8>(),
        features in prop_oneof![Just(ALL), Just(IN_ORDER)],
    ) {
        hostile(&ring, &table, start, flip, features)?;
    }

    #[test]
    fn likely_garbage_ends_in_a_fault_or_at_the_end(
        ring in vec(descriptor(), 7),
        table in vec(descriptor(), 16),
        start in any::<u16>(),
        flip in prop_oneof![Just(0), Just(0x80), any::<u8>()],
        features in prop_oneof![Just(ALL), Just(IN_ORDER)],
    ) {
        let bytes = |descriptors: &[Descriptor]| -> Vec<u8> {
            descriptors.iter().flat_map(|descriptor| descriptor.to_bytes()).collect()
        };
        hostile(&bytes(&ring), &bytes(&table), start, flip, features)?;
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
        Just(112),
        0..300_u32,
        any::<u32>()
    ];
    let id = prop_oneof![9 => 0..7_u16, 1 => any::<u16>()];
    let flags = prop_oneof![4 => 0..4_u16, 1 => 4..8_u16, 1 => any::<u16>()];
    let state = prop_oneof![4 => Just(0x80_u16), 4 => Just(0x8000_u16), 1 => any::<u16>()];
    (address, len, id, flags, state).prop_map(|(address, len, id, flags, state)| Descriptor {
        address,
        len,
        id,
        flags: (flags & 0x7f7f) | state,
    })
}

/// Lets a device work on whatever is in the ring, and checks that it works a bounded
/// amount. With `flip`, all that it reads of ring and tables changes right after.
fn hostile(
    ring: &[u8],
    table: &[u8],
    start: u16,
    flip: u8,
    features: Features,
) -> Result<(), TestCaseError> {
    let rig = Rig::new(7, features);
    rig.memory.write(DESCRIPTOR, ring);
    rig.memory.write(TABLES, table);
    if flip != 0 {
        rig.memory.set_hook(move |memory, seen| {
            if seen.access == Access::Read && seen.iova < SOURCE {
                let mut bytes = vec![0; seen.len];
                memory.read(seen.iova, &mut bytes);
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte ^= flip.rotate_left(at as u32 / 2);
                }
                memory.write(seen.iova, &bytes);
            }
        });
    }
    let start = Slot::from_bits((start & 0x8000) | (start % 7));
    for way in 0..3 {
        let mut queue = PackedQueue::new(MockMemory::areas(), MockMemory::completions(7));
        queue.setup(layout(7), features, State::at(start)).unwrap();
        queue.begin(&rig.memory).unwrap();
        for round in 0..100 {
            rig.memory.start_log();
            let Ok(Some(head)) = queue.peek(&rig.memory) else {
                break;
            };
            prop_assert!(head.id() < 7 && head.index() < 7);
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
                _ => {
                    if let Ok(mut request) = queue.request(&rig.memory, &head) {
                        let _ = request.read(&mut scratch);
                        if let Ok(mut answer) = request.into_writer() {
                            let _ = answer.write(&scratch);
                        }
                    }
                }
            }
            // In the ring, flags and descriptors of at most as many as there are, and an
            // id; in a table, each in two pieces; and buffers that lie there too.
            let log = rig.memory.take_log();
            let described = log.iter().filter(|seen| seen.iova < SOURCE).count();
            let limit = usize::from(table_limit(7));
            prop_assert!(
                described <= 2 * 7 + 1 + 2 * limit + 2 * limit,
                "{} reads",
                described
            );
            let mark = queue.mark();
            match round % 3 {
                0 => queue.complete(&rig.memory, head, 1),
                _ => queue.complete_fully(&rig.memory, head, 1),
            }
            .unwrap();
            match round % 4 {
                0 => queue.rewind(mark),
                1 => drop(queue.publish(&rig.memory)),
                _ => (),
            }
            let State { available, used } = queue.state();
            prop_assert!(available.ahead_of(used, 7).is_some());
        }
        let _ = queue.allow_kicks(&rig.memory);
        let _ = queue.publish(&rig.memory);
    }
    Ok(())
}
