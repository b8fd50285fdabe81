// SPDX-License-Identifier: GPL-2.0

// Several chains of which the driver is told at once (2.7.9, 2.8.8).
//
// Included once per format, with `Rig` for its rig and `F` for the format itself.

use rvdpa_virtio::{
    features::Features,
    mock::{
        Buffer,
        Form,
        Used, //
    },
    queue::{
        Interrupt,
        Queue, //
    },
};

/// The length of each chain below.
const FULL: u32 = 10;

/// With the feature and without it.
const BOTH: [Features; 2] = [ALL, IN_ORDER];

/// Makes `count` chains of [`FULL`] bytes to write available, the second of which has two
/// buffers. Returns their names.
fn receive(rig: &mut Rig, count: usize) -> Vec<u16> {
    let one = [Buffer::writable(TARGET, FULL)];
    let two = [
        Buffer::writable(TARGET, 3),
        Buffer::writable(TARGET + 3, FULL - 3),
    ];
    let mut names = Vec::new();
    for at in 0..count {
        let chain: &[Buffer] = if at == 1 { &two } else { &one };
        names.push(rig.driver.add(chain, Form::Direct).unwrap());
    }
    rig.driver.publish();
    names
}

/// All ways to hand back `count` chains: fully or with a length of their own.
fn ways(count: u32) -> impl Iterator<Item = Vec<Option<u32>>> {
    (0..1_u32 << count).map(move |bits| {
        let len = |at| ((bits >> at) & 1 != 0).then_some(at + 1);
        (0..count).map(len).collect()
    })
}

/// Takes back what was used, which is all of `names`, with these lengths.
fn collect(rig: &mut Rig, names: &[u16], lens: &[Option<u32>]) {
    for (&head, len) in names.iter().zip(lens) {
        let len = len.unwrap_or(FULL);
        assert_eq!(rig.driver.poll_used(), Some(Used { head, len }), "{lens:?}");
    }
    assert_eq!(rig.driver.poll_used(), None);
}

#[test]
fn a_batch_is_told_of_once() {
    for (features, written) in [(ALL, 6), (IN_ORDER, 1)] {
        let mut rig = Rig::starting_at(8, features, F::near_wrap(8));
        for _ in 0..5 {
            let names = receive(&mut rig, 6);
            rig.memory.start_log();
            hand_back(&mut rig, FULL, &[None; 6]);
            assert_eq!(publish_and_count(&mut rig), written);
            collect(&mut rig, &names, &[None; 6]);
        }
    }
}

#[test]
fn chains_of_a_transmit_queue_are_told_of_once() {
    let mut rig = Rig::new(8, IN_ORDER);
    offer(&mut rig, 5);
    rig.memory.start_log();
    hand_back(&mut rig, 0, &[None; 5]);
    assert_eq!(publish_and_count(&mut rig), 1);
    for _ in 0..5 {
        assert_eq!(rig.driver.poll_used().unwrap().len, 0);
    }
}

#[test]
fn a_length_that_counts_is_told() {
    for features in BOTH {
        for lens in ways(6) {
            let mut rig = Rig::starting_at(8, features, F::near_wrap(8));
            let names = receive(&mut rig, 6);
            rig.memory.start_log();
            hand_back(&mut rig, FULL, &lens);
            let told = publish_and_count(&mut rig);
            let exact = lens.iter().flatten().count();
            let rest = usize::from(lens.last() == Some(&None));
            match features == IN_ORDER {
                true => assert_eq!(told, exact + rest, "{lens:?}"),
                false => assert_eq!(told, 6),
            }
            collect(&mut rig, &names, &lens);
        }
    }
}

#[test]
fn what_was_published_is_in_no_later_batch() {
    for first in 0..6 {
        let mut rig = Rig::new(8, IN_ORDER);
        let names = receive(&mut rig, 6);
        rig.memory.start_log();
        hand_back(&mut rig, FULL, &vec![None; first]);
        assert_eq!(publish_and_count(&mut rig), usize::from(first > 0));
        collect(&mut rig, &names[..first], &[None; 6]);
        hand_back(&mut rig, FULL, &vec![None; 6 - first]);
        assert_eq!(publish_and_count(&mut rig), 1);
        collect(&mut rig, &names[first..], &[None; 6]);
    }
}

#[test]
fn batches_are_taken_back_in_part() {
    // So many chains are published, then some more completed, and some of these taken back
    // and completed in another way.
    for features in BOTH {
        for published in 0..3 {
            for kept in published..5 {
                for lens in ways(5) {
                    let mut rig = Rig::starting_at(8, features, F::near_wrap(8));
                    let names = receive(&mut rig, 5);
                    hand_back(&mut rig, FULL, &lens[..published]);
                    rig.queue.publish(&rig.memory).unwrap();
                    hand_back(&mut rig, FULL, &lens[published..kept]);
                    let mark = rig.queue.mark();
                    let others: Vec<_> = lens
                        .iter()
                        .map(|len| match len {
                            Some(_) => None,
                            None => Some(7),
                        })
                        .collect();
                    hand_back(&mut rig, FULL, &others[kept..]);
                    rig.queue.rewind(mark);
                    hand_back(&mut rig, FULL, &lens[kept..]);
                    rig.queue.publish(&rig.memory).unwrap();
                    collect(&mut rig, &names, &lens);

                    // The same, with nothing to follow.
                    let names = receive(&mut rig, 5);
                    hand_back(&mut rig, FULL, &lens[..kept]);
                    let mark = rig.queue.mark();
                    hand_back(&mut rig, FULL, &lens[kept..]);
                    rig.queue.rewind(mark);
                    rig.queue.publish(&rig.memory).unwrap();
                    collect(&mut rig, &names[..kept], &lens);
                }
            }
        }
    }
}

#[test]
fn a_mark_at_what_was_published_since_is_good() {
    let mut rig = Rig::new(8, IN_ORDER);
    let names = receive(&mut rig, 5);
    hand_back(&mut rig, FULL, &[None; 2]);
    let mark = rig.queue.mark();
    rig.queue.publish(&rig.memory).unwrap();
    collect(&mut rig, &names[..2], &[None; 2]);
    hand_back(&mut rig, FULL, &[None; 2]);
    rig.queue.rewind(mark);
    hand_back(&mut rig, FULL, &[None, None, Some(5)]);
    rig.queue.publish(&rig.memory).unwrap();
    collect(&mut rig, &names[2..], &[None, None, Some(5)]);
}

#[test]
fn what_was_not_published_is_found_again_where_the_queue_goes_on() {
    for features in BOTH {
        for lens in ways(4) {
            let mut rig = Rig::starting_at(8, features, F::near_wrap(8));
            let names = receive(&mut rig, 5);
            hand_back(&mut rig, FULL, &[None]);
            rig.queue.publish(&rig.memory).unwrap();
            hand_back(&mut rig, FULL, &lens);
            let standing = F::standing(&rig.queue);
            rig.queue = F::queue(layout(8), with_format::<F>(features), standing);
            hand_back(&mut rig, FULL, &lens);
            rig.queue.publish(&rig.memory).unwrap();
            let lens = [&[None], &lens[..]].concat();
            collect(&mut rig, &names, &lens);
        }
    }
}

#[test]
fn a_batch_is_not_lost_when_the_ring_goes_away() {
    // Where the device writes what was used.
    let ring = if F::PACKED { DESCRIPTOR } else { DEVICE };
    for stores in 0..2 {
        let mut rig = Rig::new(8, IN_ORDER);
        let names = receive(&mut rig, 5);
        hand_back(&mut rig, FULL, &[None; 3]);
        if stores == 0 {
            rig.memory.set_resident(ring, false);
        } else {
            rig.memory
                .set_hook(move |memory, _| memory.set_resident(ring, false));
        }
        assert!(rig.queue.publish(&rig.memory).is_err());
        rig.memory.clear_hook();
        rig.memory.set_resident(ring, true);
        assert_eq!(rig.driver.poll_used(), None);
        // It goes on with more chains.
        hand_back(&mut rig, FULL, &[None, Some(2)]);
        assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
        let lens = [None, None, None, None, Some(2)];
        collect(&mut rig, &names, &lens);
    }
}

#[test]
fn a_driver_may_stop_within_a_batch() {
    for features in BOTH {
        for taken in 0..4 {
            let mut rig = Rig::starting_at(8, features, F::near_wrap(8));
            let names = receive(&mut rig, 6);
            hand_back(&mut rig, FULL, &[None; 4]);
            rig.queue.publish(&rig.memory).unwrap();
            for &head in &names[..taken] {
                let used = Used { head, len: FULL };
                assert_eq!(rig.driver.poll_used(), Some(used));
            }
            // There are more, for which no interrupt comes.
            assert!(rig.driver.enable_interrupts());
            hand_back(&mut rig, FULL, &[None, Some(1)]);
            rig.queue.publish(&rig.memory).unwrap();
            let lens = [None, None, None, None, None, Some(1)];
            collect(&mut rig, &names[taken..], &lens[taken..]);
            assert!(!rig.driver.enable_interrupts());
        }
    }
}

#[test]
fn a_batch_counts_as_all_of_its_chains_for_an_interrupt() {
    for features in [Features::NONE, ALL] {
        let features = features | Features::IN_ORDER;
        let mut rig = Rig::starting_at(8, features, F::near_wrap(8));
        for _ in 0..5 {
            let names = receive(&mut rig, 5);
            hand_back(&mut rig, FULL, &[None; 5]);
            assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
            assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Nothing));
            collect(&mut rig, &names, &[None; 5]);
            assert!(!rig.driver.enable_interrupts());
        }
        rig.driver.disable_interrupts();
        receive(&mut rig, 5);
        hand_back(&mut rig, FULL, &[None; 5]);
        assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Suppressed));
    }
}

#[test]
fn a_ring_of_any_size_is_used_up_at_once() {
    for features in [Features::NONE, ALL, IN_ORDER] {
        for &size in F::SIZES {
            let start = match size {
                1 => F::start(),
                _ => F::near_wrap(size),
            };
            let mut rig = Rig::starting_at(size, features, start);
            rig.queue.begin(&rig.memory).unwrap();
            assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(false));
            for round in 0..3 {
                let names: Vec<_> = (0..size)
                    .map(|_| rig.driver.add(BYTE, Form::Direct).unwrap())
                    .collect();
                assert_eq!(rig.driver.free(), 0);
                rig.driver.publish();
                assert!(rig.driver.needs_kick());
                while let Some(head) = rig.peek().unwrap() {
                    rig.queue.complete_fully(&rig.memory, head, 0).unwrap();
                }
                assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
                for head in names {
                    let used = Used { head, len: 0 };
                    assert_eq!(rig.driver.poll_used(), Some(used), "{size} {round}");
                }
                assert_eq!(rig.driver.poll_used(), None);
                assert!(!rig.driver.enable_interrupts());
                assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(false));
            }
        }
    }
}
