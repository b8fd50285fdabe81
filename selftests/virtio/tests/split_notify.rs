// SPDX-License-Identifier: GPL-2.0

//! Indices and notifications of the split virtqueue (2.7.6 to 2.7.10, 2.7.13, 2.7.14).

use rvdpa_virtio::{
    features::Features,
    layout::{
        LayoutError,
        QueueLayout, //
    },
    memory::Access,
    mock::{
        Form,
        MockMemory,
        Used, //
    },
    queue::{
        need_event,
        Interrupt,
        Queue, //
    },
    split::SplitQueue,
};
use selftests_virtio::{
    SplitRig as Rig,
    *, //
};

#[test]
fn clause_2_7_6_indices_wrap_at_65536() {
    for features in [Features::NONE, Features::EVENT_IDX] {
        for size in [1, 2, 8, 256, 32768] {
            let mut rig = Rig::starting_at(size, features, 65533);
            assert_eq!(rig.queue.avail_index(), 65533);
            for round in 0..7_u16 {
                let head = rig.offer(BYTE, Form::Direct);
                let taken = rig.head();
                assert_eq!(taken.index(), head);
                rig.queue.complete(&rig.memory, taken, 3).unwrap();
                assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
                assert_eq!(rig.driver.poll_used(), Some(Used { head, len: 3 }));
                rig.driver.enable_interrupts();
                let index = 65534_u16.wrapping_add(round);
                assert_eq!(rig.queue.avail_index(), index);
                assert_eq!(rig.driver.read_used_index(), index);
            }
            assert_eq!(rig.peek(), Ok(None));
        }
    }
}

#[test]
fn clause_2_7_7_2_event_index_arithmetic_is_that_of_the_specification() {
    // The definition, in the types of C: each operand is converted, and the result too.
    fn vring_need_event(event: u16, new: u16, old: u16) -> bool {
        let left = (i32::from(new) - i32::from(event) - 1) as u16;
        let right = (i32::from(new) - i32::from(old)) as u16;
        left < right
    }
    let edges = [
        0, 1, 2, 100, 32766, 32767, 32768, 32769, 65533, 65534, 65535,
    ];
    for event in 0..=u16::MAX {
        for new in edges {
            for old in edges {
                assert_eq!(
                    need_event(event, new, old),
                    vring_need_event(event, new, old)
                );
            }
        }
    }
}

#[test]
fn clause_2_7_7_2_event_index_means_that_the_event_was_passed() {
    for old in [0_u16, 5, 65530] {
        for count in 0..20 {
            let new = old.wrapping_add(count);
            for event in 0..=u16::MAX {
                // The entry at `event` is one of those from `old` up to `new`.
                let passed = (0..count).any(|at| old.wrapping_add(at) == event);
                assert_eq!(need_event(event, new, old), passed);
            }
        }
    }
}

#[test]
fn a_batch_is_published_by_one_store() {
    let mut rig = Rig::new(8, Features::NONE);
    offer(&mut rig, 5);
    rig.memory.start_log();
    assert_eq!(drain(&mut rig), 5);
    rig.queue.publish(&rig.memory).unwrap();
    let log = rig.memory.take_log();
    let count = |iova, access| {
        log.iter()
            .filter(|seen| seen.iova == iova && seen.access == access)
            .count()
    };
    assert_eq!(count(DEVICE + 2, Access::Write), 1);
    // Once for the batch, and once to find that there is no more.
    assert_eq!(count(DRIVER + 2, Access::Read), 2);
    assert_eq!(count(DRIVER, Access::Read), 1);
}

#[test]
fn clause_2_7_7_2_interrupts_follow_the_used_event() {
    let mut rig = Rig::new(8, ALL);
    offer(&mut rig, 6);
    // The third used buffer is the one that counts.
    rig.driver.set_used_event(2);
    rig.complete();
    rig.complete();
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Suppressed));
    rig.complete();
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
    rig.complete();
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Suppressed));
    rig.driver.disable_interrupts();
    rig.complete();
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Suppressed));
    while rig.driver.poll_used().is_some() {}
    assert!(!rig.driver.enable_interrupts());
    rig.complete();
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
}

#[test]
fn clauses_2_7_7_2_and_2_7_9_the_used_event_may_lie_within_a_batch() {
    for event in 0..8 {
        let mut rig = Rig::starting_at(8, IN_ORDER, 65534);
        offer(&mut rig, 6);
        rig.driver.set_used_event(65534_u16.wrapping_add(event));
        hand_back(&mut rig, 0, &[None; 4]);
        let first = rig.queue.publish(&rig.memory).unwrap();
        assert_eq!(first == Interrupt::Raise, event < 4);
        hand_back(&mut rig, 0, &[None; 2]);
        let second = rig.queue.publish(&rig.memory).unwrap();
        assert_eq!(second == Interrupt::Raise, event == 4 || event == 5);
    }
}

#[test]
fn clause_2_7_9_the_element_lies_where_that_of_the_first_chain_would() {
    let mut rig = Rig::new(8, IN_ORDER);
    // Not 0, so that one sees what was written.
    rig.driver.add(&[BYTE[0]; 3], Form::Direct).unwrap();
    offer(&mut rig, 4);
    let full = Used { head: 0, len: 0 };
    hand_back(&mut rig, 9, &[None, None, Some(5), None, None]);
    rig.queue.publish(&rig.memory).unwrap();
    assert_eq!(rig.driver.read_used_index(), 5);
    let elements: Vec<_> = (0..6).map(|at| rig.driver.read_used_element(at)).collect();
    let first = Used { head: 4, len: 5 };
    let second = Used { head: 6, len: 9 };
    assert_eq!(elements, [first, full, full, second, full, full]);
}

#[test]
fn a_flag_that_stands_is_not_written_again() {
    let mut rig = Rig::new(8, Features::NONE);
    rig.queue.begin(&rig.memory).unwrap();
    rig.memory.start_log();
    rig.queue.suppress_kicks(&rig.memory).unwrap();
    assert_eq!(rig.memory.take_log().len(), 1);
    rig.queue.suppress_kicks(&rig.memory).unwrap();
    assert_eq!(rig.memory.take_log().len(), 0);
    // The flag, and a look at the index.
    rig.queue.allow_kicks(&rig.memory).unwrap();
    assert_eq!(rig.memory.take_log().len(), 2);
    rig.queue.allow_kicks(&rig.memory).unwrap();
    assert_eq!(rig.memory.take_log().len(), 1);
}

#[test]
fn clause_2_7_10_what_comes_while_kicks_are_being_allowed_is_found() {
    for features in [Features::NONE, ALL] {
        let mut rig = Rig::new(8, features);
        rig.queue.begin(&rig.memory).unwrap();
        rig.queue.suppress_kicks(&rig.memory).unwrap();
        offer(&mut rig, 1);
        drain(&mut rig);
        // As soon as the device has written what it wants, the driver goes on.
        rig.memory.set_hook(|memory, seen| {
            use rvdpa_virtio::mock::DriverMemory;
            if seen.access == Access::Write {
                memory.store_u16(DRIVER + 2, 2);
            }
        });
        assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(true));
    }
}

#[test]
fn kicks_are_wanted_for_more_when_chains_were_left_where_they_are() {
    let mut rig = Rig::new(8, ALL);
    offer(&mut rig, 2);
    let _ = rig.head();
    assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(true));
    assert!(!rig.driver.needs_kick() || rig.driver.read_avail_event() == 2);
    offer(&mut rig, 1);
    assert!(rig.driver.needs_kick());
}

#[test]
fn a_queue_that_is_not_set_up_touches_nothing() {
    let memory = MockMemory::new();
    let mut queue = SplitQueue::new(MockMemory::areas());
    for _ in 0..2 {
        queue.begin(&memory).unwrap();
        assert_eq!(queue.peek(&memory), Ok(None));
        assert_eq!(queue.publish(&memory), Ok(Interrupt::Nothing));
        assert_eq!(queue.suppress_kicks(&memory), Ok(()));
        assert_eq!(queue.allow_kicks(&memory), Ok(false));
        assert_eq!(queue.layout(), QueueLayout::default());
        // Setting it up wrongly leaves it so.
        assert_eq!(
            queue.setup(layout(3), ALL, 5),
            Err(LayoutError::NotPowerOfTwo(3))
        );
    }
}

#[test]
fn a_queue_that_was_cleared_is_not_set_up() {
    let mut rig = Rig::new(8, ALL);
    offer(&mut rig, 2);
    let _ = rig.head();
    rig.queue.clear();
    assert_eq!(rig.peek(), Ok(None));
    assert_eq!(rig.queue.avail_index(), 0);
    rig.queue.setup(layout(8), ALL, 1).unwrap();
    assert_eq!(rig.queue.layout(), layout(8));
    assert_eq!(drain(&mut rig), 1);
}

#[test]
fn a_queue_goes_on_where_another_device_left_it() {
    let mut rig = Rig::new(8, ALL);
    offer(&mut rig, 5);
    rig.complete();
    rig.complete();
    rig.queue.publish(&rig.memory).unwrap();
    let index = rig.queue.avail_index();
    rig.queue = SplitQueue::new(MockMemory::areas());
    rig.queue.setup(layout(8), ALL, index).unwrap();
    assert_eq!(drain(&mut rig), 3);
    rig.queue.publish(&rig.memory).unwrap();
    for _ in 0..5 {
        assert!(rig.driver.poll_used().is_some());
    }
}

#[test]
fn clause_2_7_10_2_kicks_follow_the_available_event() {
    let mut rig = Rig::starting_at(8, ALL, 65534);
    rig.queue.begin(&rig.memory).unwrap();
    for _ in 0..5 {
        assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(false));
        offer(&mut rig, 1);
        assert!(rig.driver.needs_kick());
        // Until the device asks again, no further kick is needed.
        rig.queue.suppress_kicks(&rig.memory).unwrap();
        offer(&mut rig, 1);
        assert!(!rig.driver.needs_kick());
        assert_eq!(drain(&mut rig), 2);
        rig.queue.publish(&rig.memory).unwrap();
        while rig.driver.poll_used().is_some() {}
        // The flag is not used then (2.7.10.2).
        assert_eq!(rig.driver.read_used_flags(), 0);
    }
}
