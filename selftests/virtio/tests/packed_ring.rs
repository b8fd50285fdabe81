// SPDX-License-Identifier: GPL-2.0

//! What is in the ring of a packed virtqueue, and in its event suppression structures
//! (2.8.1 to 2.8.14).

use rvdpa_virtio::{
    features::Features,
    layout::{
        flags,
        packed::{
            event,
            flags_offset,
            id_offset,
            result_offset,
            used_result,
            Descriptor,
            Slot,
            AVAIL,
            USED, //
        },
        LayoutError,
        QueueLayout, //
    },
    memory::Access,
    mock::{
        AddError,
        Buffer,
        DriverMemory,
        Form,
        MockMemory,
        Used, //
    },
    packed::{
        need_slot_event,
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

/// One byte for the device to read.
const BYTE: Buffer = Buffer::readable(SOURCE, 1);

/// Makes chains of so many descriptors available.
fn offer(rig: &mut Rig, lens: &[usize]) {
    for &len in lens {
        rig.driver.add(&vec![BYTE; len], Form::Direct).unwrap();
    }
    rig.driver.publish();
}

fn slot(index: u16, wrap: bool) -> Slot {
    Slot { index, wrap }
}

#[test]
fn clause_2_8_13_fields_of_a_descriptor() {
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    let descriptor = Descriptor::from_bytes(bytes);
    assert_eq!(
        descriptor,
        Descriptor {
            address: 0x0807_0605_0403_0201,
            len: 0x0c0b_0a09,
            id: 0x0e0d,
            flags: 0x100f,
        }
    );
    assert_eq!(descriptor.to_bytes(), bytes);
    assert_eq!(result_offset(3), 56);
    assert_eq!((id_offset(3), flags_offset(3)), (60, 62));
    assert_eq!(
        used_result(0x0605, 0x0403_0201, 0x0807),
        [1, 2, 3, 4, 5, 6, 7, 8]
    );
    assert_eq!((AVAIL, USED), (0x80, 0x8000));
}

#[test]
fn clause_2_8_1_flags_follow_the_wrap_counter() {
    for (wrap, available, used) in [(true, 0x80, 0x8080), (false, 0x8000, 0)] {
        let at = slot(5, wrap);
        assert_eq!((at.available(), at.used()), (available, used));
        for bits in [0, 0x80, 0x8000, 0x8080] {
            // The other flags do not matter.
            assert_eq!(at.is_available(bits | 7), bits == available);
            assert_eq!(at.is_used(bits | 7), bits == used);
        }
    }
}

#[test]
fn clause_2_8_1_slots_are_counted_around_the_ring() {
    for size in [1, 2, 3, 7, 32767, 32768] {
        for index in [0, 1, size / 2, size - 1] {
            if index >= size {
                continue;
            }
            for wrap in [true, false] {
                let from = slot(index, wrap);
                assert_eq!(Slot::from_bits(from.to_bits()), from);
                for count in [0, 1, size / 2, size - 1, size] {
                    let to = from.advance(count, size);
                    assert!(to.index < size);
                    assert_eq!(to.ahead_of(from, size), Some(count));
                    if count > 0 && count < size {
                        assert_eq!(from.ahead_of(to, size), None);
                    }
                }
            }
        }
    }
}

#[test]
fn clause_2_8_10_event_arithmetic_is_that_of_linux() {
    // The definition, in the types of C: the index that is waited for and the old one are
    // seen from the lap of the new one.
    fn c_need_event(bits: u16, new: Slot, count: u16, size: u16) -> bool {
        let mut event = i32::from(bits & 0x7fff);
        if bits >> 15 != u16::from(new.wrap) {
            event -= i32::from(size);
        }
        let new = i32::from(new.index);
        let old = new - i32::from(count);
        ((new - event - 1) as u16) < (new - old) as u16
    }
    for size in [1_u16, 2, 3, 5, 64, 32767, 32768] {
        for new in [0, 1, 2, size / 2, size.saturating_sub(2), size - 1] {
            if new >= size {
                continue;
            }
            for count in [0, 1, 2, size / 2, size - 1, size] {
                if count > size {
                    continue;
                }
                for bits in 0..=u16::MAX {
                    let new = slot(new, true);
                    let event = Slot::from_bits(bits);
                    let found = need_slot_event(event, new, count, size);
                    if event.index < size {
                        assert_eq!(found, c_need_event(bits, new, count, size));
                    } else {
                        assert!(!found);
                    }
                }
            }
        }
    }
}

#[test]
fn clause_2_8_10_an_event_is_one_of_the_slots_that_were_passed() {
    for size in [1, 2, 3, 5, 8] {
        for start in 0..size {
            for wrap in [true, false] {
                for count in 0..=size {
                    let start = slot(start, wrap);
                    let new = start.advance(count, size);
                    for bits in 0..=u16::MAX {
                        let event = Slot::from_bits(bits);
                        let passed = (0..count).any(|by| start.advance(by, size) == event);
                        assert_eq!(need_slot_event(event, new, count, size), passed);
                    }
                }
            }
        }
    }
}

#[test]
fn clause_2_8_1_the_ring_wraps_at_any_size() {
    for features in [Features::NONE, ALL] {
        for size in [1, 2, 3, 5, 7, 8, 100, 32767, 32768] {
            let start = slot(size - 1, false).to_bits();
            let mut rig = Rig::starting_at(size, features, start);
            for round in 0..30_usize {
                let len = 1 + round % usize::from(size.min(4));
                rig.driver.enable_interrupts();
                let id = rig.offer(&vec![BYTE; len], Form::Direct);
                let taken = rig.head();
                assert_eq!(taken.id(), id);
                rig.queue.complete(&rig.memory, taken, 3).unwrap();
                assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
                assert_eq!(rig.driver.poll_used(), Some(Used { head: id, len: 3 }));
                let state = rig.queue.state();
                assert_eq!(state, State::at(rig.driver.next()));
            }
            assert_eq!(rig.peek(), Ok(None));
        }
    }
}

#[test]
fn clause_2_8_1_flags_that_are_the_same_are_not_available() {
    let mut rig = Rig::new(8, ALL);
    for bits in [0, AVAIL | USED, USED] {
        rig.driver.write_flags(0, bits);
        assert_eq!(rig.peek(), Ok(None));
    }
    rig.driver.write_flags(0, AVAIL);
    assert!(rig.peek().unwrap().is_some());
}

#[test]
fn clause_2_8_4_the_length_counts_where_something_was_written() {
    let mut rig = Rig::new(8, ALL);
    offer(&mut rig, &[2, 1]);
    let head = rig.head();
    assert_eq!(head.index(), 0);
    rig.queue.complete(&rig.memory, head, 7).unwrap();
    let head = rig.head();
    assert_eq!(head.index(), 2);
    rig.queue.complete(&rig.memory, head, 0).unwrap();
    rig.queue.publish(&rig.memory).unwrap();
    let first = rig.driver.read_descriptor(0);
    assert_eq!((first.id, first.len), (0, 7));
    assert_eq!(first.flags, AVAIL | USED | flags::WRITE);
    let second = rig.driver.read_descriptor(2);
    assert_eq!((second.id, second.len), (1, 0));
    assert_eq!(second.flags, AVAIL | USED);
    // The slots of the rest of a chain are skipped.
    assert_eq!(rig.driver.read_descriptor(1).flags, AVAIL);
}

#[test]
fn clause_2_8_6_only_the_last_id_counts() {
    let mut rig = Rig::new(8, ALL);
    let descriptor = |id, flags| Descriptor {
        address: SOURCE,
        len: 1,
        id,
        flags,
    };
    rig.driver.add_descriptors(&[
        descriptor(0xffff, flags::NEXT),
        descriptor(9, flags::NEXT),
        descriptor(7, 0),
    ]);
    rig.driver.publish();
    assert_eq!(rig.head().id(), 7);
    assert_eq!(rig.read_all().unwrap().len(), 3);
}

#[test]
fn clause_2_8_7_only_one_flag_counts_in_a_table() {
    let mut rig = Rig::new(8, ALL);
    rig.memory.write(SOURCE, b"abcdef");
    let entry = |at: u64, flags| Descriptor {
        address: SOURCE + at,
        len: 2,
        id: 0xffff,
        flags,
    };
    // What looks like an end in the middle is none, and what looks like no end is one.
    let mut reference = rig.driver.write_table(
        TABLES,
        &[entry(0, flags::NEXT), entry(2, 0), entry(4, 0xfff9)],
    );
    reference.flags |= flags::WRITE;
    rig.driver.add_descriptors(&[reference]);
    rig.driver.publish();
    assert_eq!(rig.read_all().unwrap(), b"abcdef");
}

#[test]
fn a_packed_chain_is_in_the_ring_or_in_a_table() {
    let mut rig = Rig::new(2, ALL);
    let form = Form::Mixed {
        direct: 1,
        table: TABLES,
    };
    assert_eq!(rig.driver.add(&[BYTE; 2], form), Err(AddError::Mixed));
    assert_eq!(rig.driver.add(&[], Form::Direct), Err(AddError::Empty));
    offer(&mut rig, &[2]);
    assert_eq!(rig.driver.add(&[BYTE], Form::Direct), Err(AddError::Full));
    assert_eq!(rig.driver.free(), 0);
    rig.driver.memory().unmap(TABLES);
}

#[test]
fn a_batch_is_published_by_one_store_after_all_others() {
    let mut rig = Rig::new(8, Features::NONE);
    offer(&mut rig, &[2, 1, 3, 1]);
    assert_eq!(drain(&mut rig), 4);
    rig.memory.start_log();
    rig.queue.publish(&rig.memory).unwrap();
    let writes: Vec<_> = rig
        .memory
        .take_log()
        .into_iter()
        .filter(|seen| seen.access == Access::Write)
        .map(|seen| (seen.iova - DESCRIPTOR, seen.len))
        .collect();
    assert_eq!(writes, [(8, 8), (40, 8), (56, 8), (104, 8), (14, 2)]);
}

#[test]
fn clause_2_8_8_a_used_descriptor_lies_where_the_first_chain_does() {
    let mut rig = Rig::starting_at(8, IN_ORDER, slot(5, true).to_bits());
    offer(&mut rig, &[2, 1, 3, 1, 1]);
    hand_back(&mut rig, 9, &[None, Some(4), None, None, None]);
    rig.memory.start_log();
    rig.queue.publish(&rig.memory).unwrap();
    let writes: Vec<_> = rig
        .memory
        .take_log()
        .into_iter()
        .filter(|seen| seen.access == Access::Write)
        .map(|seen| (seen.iova - DESCRIPTOR, seen.len))
        .collect();
    assert_eq!(writes, [(5 * 16 + 8, 8), (8, 8), (5 * 16 + 14, 2)]);
    // Those of the second chain and of the last one.
    let first = rig.driver.read_descriptor(5);
    assert_eq!((first.id, first.len), (7, 4));
    assert_eq!(first.flags, AVAIL | USED | flags::WRITE);
    let second = rig.driver.read_descriptor(0);
    assert_eq!((second.id, second.len), (4, 9));
    assert_eq!(second.flags, flags::WRITE);
    let state = rig.queue.state();
    assert_eq!(state, State::at(slot(5, false)));
}

#[test]
fn nothing_of_a_batch_is_seen_before_all_of_it_is_there() {
    let mut rig = Rig::new(5, Features::NONE);
    offer(&mut rig, &[2, 1, 2]);
    assert_eq!(drain(&mut rig), 3);
    let (seen, seen_here) = std::sync::mpsc::channel();
    rig.memory.set_hook(move |memory, access| {
        if access.access == Access::Write {
            // What the driver looks at next.
            let bits = memory.load_u16(DESCRIPTOR + 14);
            seen.send(Slot::FIRST.is_used(bits)).unwrap();
        }
    });
    rig.queue.publish(&rig.memory).unwrap();
    rig.memory.clear_hook();
    let seen: Vec<_> = seen_here.try_iter().collect();
    assert_eq!(seen, [false, false, false, true]);
    for _ in 0..3 {
        assert!(rig.driver.poll_used().is_some());
    }
}

#[test]
fn nothing_is_written_to_the_ring_before_it_is_published() {
    let mut rig = Rig::new(8, ALL);
    offer(&mut rig, &[3, 1]);
    rig.memory.start_log();
    drain(&mut rig);
    let log = rig.memory.take_log();
    assert!(log.iter().all(|seen| seen.access == Access::Read));
}

#[test]
fn chains_of_several_descriptors_can_be_taken_back() {
    let mut rig = Rig::starting_at(7, ALL, slot(5, true).to_bits());
    offer(&mut rig, &[1, 3, 2]);
    rig.complete();
    let mark = rig.queue.mark();
    let second = rig.head();
    assert_eq!(drain(&mut rig), 2);
    rig.queue.rewind(mark);
    assert_eq!(rig.head(), second);
    rig.queue.publish(&rig.memory).unwrap();
    assert_eq!(drain(&mut rig), 2);
    rig.queue.rewind(mark);
    assert_eq!(rig.head(), second);
    assert_eq!(drain(&mut rig), 2);
    rig.queue.publish(&rig.memory).unwrap();
    for _ in 0..3 {
        assert!(rig.driver.poll_used().is_some());
    }
    rig.queue.rewind(mark);
    assert_eq!(rig.queue.state(), State::at(rig.driver.next()));
}

#[test]
fn what_publish_has_begun_to_write_is_not_taken_back() {
    let mut rig = Rig::new(8, ALL);
    offer(&mut rig, &[1, 2]);
    let mark = rig.queue.mark();
    drain(&mut rig);
    // The ring is gone after the first store.
    rig.memory
        .set_hook(|memory, _| memory.set_resident(DESCRIPTOR, false));
    assert!(rig.queue.publish(&rig.memory).is_err());
    rig.memory.clear_hook();
    rig.queue.rewind(mark);
    rig.memory.set_resident(DESCRIPTOR, true);
    assert_eq!(rig.queue.state(), State::at(slot(3, true)));
    assert_eq!(drain(&mut rig), 0);
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
    assert!(rig.driver.poll_used().is_some());
    assert!(rig.driver.poll_used().is_some());
}

#[test]
fn what_was_not_published_is_found_again_elsewhere() {
    let mut rig = Rig::starting_at(5, ALL, slot(3, false).to_bits());
    offer(&mut rig, &[1, 2, 1]);
    rig.complete();
    rig.queue.publish(&rig.memory).unwrap();
    rig.complete();
    let state = rig.queue.state();
    assert_eq!(state, State::at(slot(4, false)));
    rig.queue.setup(layout(5), ALL, state).unwrap();
    assert_eq!(rig.queue.state(), state);
    assert_eq!(drain(&mut rig), 2);
    rig.queue.publish(&rig.memory).unwrap();
    for _ in 0..3 {
        assert!(rig.driver.poll_used().is_some());
    }
}

#[test]
fn clause_2_8_1_chains_that_are_with_the_device_stay_there() {
    let mut rig = Rig::new(5, ALL);
    offer(&mut rig, &[2, 1]);
    // Another device has taken the first chain, and it is not to be had from this one.
    let state = State {
        available: slot(2, true),
        used: slot(0, true),
    };
    rig.queue.setup(layout(5), ALL, state).unwrap();
    assert_eq!(rig.queue.state(), state);
    let head = rig.head();
    let id = head.id();
    rig.queue.complete(&rig.memory, head, 0).unwrap();
    assert_eq!(rig.queue.state(), state);
    rig.queue.publish(&rig.memory).unwrap();
    assert_eq!(rig.driver.poll_used(), Some(Used { head: id, len: 0 }));
    let state = State {
        available: slot(3, true),
        used: slot(1, true),
    };
    assert_eq!(rig.queue.state(), state);
}

#[test]
fn clause_2_8_1_states_that_cannot_be() {
    let mut queue = PackedQueue::new(MockMemory::areas(), MockMemory::completions(5));
    let all = || (0..=6).flat_map(|index| [slot(index, false), slot(index, true)]);
    for available in all() {
        for used in all() {
            let fine = available.index < 5
                && used.index < 5
                && match available.wrap == used.wrap {
                    true => used.index <= available.index,
                    false => available.index <= used.index,
                };
            let state = State { available, used };
            let expected = match fine {
                true => Ok(()),
                false => Err(LayoutError::State {
                    available: available.to_bits(),
                    used: used.to_bits(),
                    size: 5,
                }),
            };
            assert_eq!(queue.setup(layout(5), ALL, state), expected);
            if fine {
                assert_eq!(queue.state(), state);
                assert_eq!(queue.layout(), layout(5));
            } else {
                assert_eq!(queue.state(), State::START);
                assert_eq!(queue.layout(), QueueLayout::default());
            }
        }
    }
}

#[test]
fn a_queue_is_not_larger_than_there_is_room_for() {
    let mut queue = PackedQueue::new(MockMemory::areas(), MockMemory::completions(5));
    assert_eq!(
        queue.setup(layout(6), ALL, State::START),
        Err(LayoutError::Room { size: 6, room: 5 })
    );
    assert_eq!(
        queue.setup(layout(0), ALL, State::START),
        Err(LayoutError::Size(0))
    );
}

#[test]
fn a_queue_that_is_not_set_up_touches_nothing() {
    let memory = MockMemory::new();
    let mut queue = PackedQueue::new(MockMemory::areas(), MockMemory::completions(8));
    for _ in 0..2 {
        queue.begin(&memory).unwrap();
        assert_eq!(queue.peek(&memory), Ok(None));
        assert_eq!(queue.publish(&memory), Ok(Interrupt::Nothing));
        assert_eq!(queue.suppress_kicks(&memory), Ok(()));
        assert_eq!(queue.allow_kicks(&memory), Ok(false));
        assert_eq!(queue.state(), State::START);
        queue.setup(layout(8), ALL, State::START).unwrap();
        queue.clear();
    }
}

#[test]
fn clause_2_8_10_interrupts_follow_the_structure() {
    let decide = |features, descriptor, bits| {
        let mut rig = Rig::starting_at(8, features, slot(6, true).to_bits());
        offer(&mut rig, &[1, 1, 3]);
        rig.driver.write_driver_event(descriptor, bits);
        hand_back(&mut rig, 0, &[None; 3]);
        rig.queue.publish(&rig.memory).unwrap()
    };
    use Interrupt::{Raise, Suppressed};
    for features in [Features::NONE, ALL, IN_ORDER] {
        // The reserved bits are ignored.
        for reserved in [0, 4, 0xfffc] {
            assert_eq!(decide(features, 0, event::ENABLE | reserved), Raise);
            assert_eq!(decide(features, 0, event::DISABLE | reserved), Suppressed);
        }
        // One that has no meaning is better an interrupt too many.
        assert_eq!(decide(features, 0, 3), Raise);
    }
    assert_eq!(decide(Features::NONE, 5, event::ONE), Raise);
    for index in 0..0x8000 {
        for wrap in [true, false] {
            if index > 10 && index < 0x7fff {
                continue;
            }
            // From 6 on to the end, then the first three.
            let passed = match wrap {
                true => index == 6 || index == 7,
                false => index < 3,
            };
            // All chains of a batch count.
            for features in [ALL, IN_ORDER] {
                assert_eq!(
                    decide(features, slot(index, wrap).to_bits(), event::ONE) == Raise,
                    passed,
                    "{index} {wrap}"
                );
            }
        }
    }
}

#[test]
fn clause_2_8_10_kicks_are_told_of_by_flags_or_by_the_next_slot() {
    for (features, expected) in [
        (Features::NONE, (0, event::ENABLE)),
        (ALL, (slot(6, true).to_bits(), event::ONE)),
    ] {
        let mut rig = Rig::starting_at(8, features, slot(6, true).to_bits());
        rig.queue.begin(&rig.memory).unwrap();
        rig.queue.suppress_kicks(&rig.memory).unwrap();
        assert_eq!(rig.driver.read_device_event(), (0, event::DISABLE));
        rig.memory.start_log();
        rig.queue.suppress_kicks(&rig.memory).unwrap();
        assert_eq!(rig.memory.take_log(), []);
        assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(false));
        assert_eq!(rig.driver.read_device_event(), expected);
        // What stands is not written again.
        rig.memory.start_log();
        assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(false));
        let log = rig.memory.take_log();
        assert!(log.iter().all(|seen| seen.access == Access::Read));
    }
}

#[test]
fn clause_2_8_10_what_comes_while_kicks_are_being_allowed_is_found() {
    for features in [Features::NONE, ALL] {
        let mut rig = Rig::new(8, features);
        rig.queue.begin(&rig.memory).unwrap();
        rig.queue.suppress_kicks(&rig.memory).unwrap();
        // As soon as the device has written what it wants, the driver goes on.
        rig.memory.set_hook(|memory, seen| {
            if seen.access == Access::Write {
                memory.store_u16(DESCRIPTOR + 14, AVAIL);
            }
        });
        assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(true));
    }
}

#[test]
fn each_field_counts_once() {
    for &form in Packed::FORMS {
        let mut rig = Rig::new(8, ALL);
        let chain: Vec<_> = (0..6).map(|at| Buffer::readable(SOURCE + at, 1)).collect();
        rig.offer(&chain, form);
        rig.memory.start_log();
        rig.read_all().unwrap();
        let mut reads = std::collections::BTreeMap::<_, usize>::new();
        for seen in rig.memory.take_log() {
            if seen.iova < SOURCE {
                for iova in seen.iova..seen.iova + seen.len as u64 {
                    *reads.entry(iova).or_default() += 1;
                }
            }
        }
        let descriptors: u64 = if form == Form::Direct { 6 } else { 7 };
        assert_eq!(reads.len() as u64, 16 * descriptors);
        for (iova, count) in reads {
            // Flags lie in the 16 bytes that are read once the flags were seen, but are
            // not taken from there. The same goes for the last id.
            let twice = iova < TABLES && (iova % 16 >= 14 || iova / 16 % 16 == 5);
            assert!(count == 1 || (twice && count == 2), "{form:?} {iova:#x}");
        }
    }
}

#[test]
fn a_chain_is_as_long_as_it_was_when_it_was_found() {
    for shorter in [true, false] {
        let mut rig = Rig::new(8, ALL);
        rig.memory.write(SOURCE, &pattern(3, 1));
        let chain: Vec<_> = (0..3).map(|at| Buffer::readable(SOURCE + at, 1)).collect();
        rig.offer(&chain, Form::Direct);
        let head = rig.head();
        let bits = match shorter {
            true => AVAIL,
            false => AVAIL | flags::NEXT | flags::INDIRECT | flags::WRITE,
        };
        for index in 0..8 {
            rig.driver.write_flags(index, bits);
        }
        let mut reader = rig.queue.reader(&rig.memory, &head).unwrap();
        let mut bytes = [0; 10];
        assert_eq!(reader.read(&mut bytes), Ok(3));
        assert_eq!(bytes[..3], pattern(3, 1));
        rig.queue.complete(&rig.memory, head, 0).unwrap();
        rig.queue.publish(&rig.memory).unwrap();
        assert_eq!(rig.queue.state(), State::at(slot(3, true)));
    }
}

#[test]
fn clause_2_8_10_the_kick_that_is_wanted_is_that_of_the_next_chain() {
    let mut rig = Rig::starting_at(8, ALL, slot(6, true).to_bits());
    offer(&mut rig, &[1, 2]);
    // What was completed need not be published for that.
    assert_eq!(drain(&mut rig), 2);
    assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(false));
    let expected = (slot(1, false).to_bits(), event::ONE);
    assert_eq!(rig.driver.read_device_event(), expected);
}
