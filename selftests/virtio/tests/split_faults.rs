// SPDX-License-Identifier: GPL-2.0

//! Each rule that a driver can break has a fault of its own, and breaks nothing else.

use rvdpa_virtio::{
    fault::{
        Fault,
        Part,
        Place,
        Position,
        QueueError,
        TransferError, //
    },
    features::Features,
    layout::{
        flags,
        Area,
        Descriptor, //
    },
    memory::{
        Access,
        Memory, //
    },
    mock::{
        Buffer,
        Form,
        MockMemory, //
    },
    queue::Queue,
};
use selftests_virtio::{
    SplitRig as Rig,
    *, //
};

/// A rig of eight descriptors with this one chain in its ring, whose head is 0.
fn rig(descriptors: &[Descriptor]) -> Rig {
    let mut rig = Rig::new(8, ALL);
    for (at, &descriptor) in descriptors.iter().enumerate() {
        rig.driver.write_descriptor(at as u16, descriptor);
    }
    rig.driver.add_head(0);
    rig.driver.publish();
    rig
}

/// A descriptor of a buffer for reading.
fn readable(len: u32, next: Option<u16>) -> Descriptor {
    Descriptor {
        address: SOURCE,
        len,
        flags: if next.is_some() { flags::NEXT } else { 0 },
        next: next.unwrap_or(0),
    }
}

/// A descriptor of a buffer for writing.
fn writable(len: u32, next: Option<u16>) -> Descriptor {
    let descriptor = readable(len, next);
    Descriptor {
        address: TARGET,
        flags: descriptor.flags | flags::WRITE,
        ..descriptor
    }
}

/// A descriptor with this table.
fn table(rig: &Rig, entries: &[Descriptor]) -> Descriptor {
    rig.driver.write_table(TABLES, entries)
}

/// The fault of reading the chain.
fn read(mut rig: Rig) -> Fault {
    fault(rig.read_all())
}

/// The fault of filling the chain.
fn write(mut rig: Rig) -> Fault {
    fault(rig.write_all(&[0; 10_000]))
}

#[test]
fn clause_2_7_13_3_available_index_too_far_ahead() {
    for start in [0, 65530] {
        let mut rig = Rig::starting_at(8, ALL, start);
        let index = start.wrapping_add(9);
        rig.driver.write_available_index(index);
        let found = Fault::AvailableIndex {
            index,
            next: start,
            size: 8,
        };
        assert_eq!(fault(rig.peek()), found);
        assert_eq!(fault(rig.queue.allow_kicks(&rig.memory)), found);
    }
}

#[test]
fn clause_2_7_13_3_available_index_goes_backwards() {
    let mut rig = Rig::new(8, ALL);
    for _ in 0..3 {
        rig.driver.add_head(0);
    }
    rig.driver.publish();
    rig.complete();
    rig.complete();
    rig.complete();
    rig.driver.write_available_index(2);
    assert_eq!(
        fault(rig.peek()),
        Fault::AvailableIndex {
            index: 2,
            next: 3,
            size: 8
        }
    );
}

#[test]
fn clause_2_7_13_3_available_index_may_be_a_full_queue_ahead() {
    let mut rig = Rig::new(8, ALL);
    for _ in 0..8 {
        rig.driver.add_head(0);
    }
    rig.driver.publish();
    for _ in 0..8 {
        rig.complete();
    }
    assert_eq!(rig.peek(), Ok(None));
}

#[test]
fn clause_2_7_6_head_out_of_range() {
    for head in [8, 9, 0xffff] {
        let mut rig = Rig::new(8, ALL);
        rig.driver.add_head(head);
        rig.driver.publish();
        assert_eq!(fault(rig.peek()), Fault::Head { head, size: 8 });
    }
}

#[test]
fn the_same_head_twice_is_two_chains() {
    let mut rig = rig(&[readable(4, None)]);
    rig.driver.add_head(0);
    rig.driver.publish();
    rig.complete();
    rig.complete();
    assert_eq!(rig.peek(), Ok(None));
}

#[test]
fn clause_2_7_5_next_out_of_range() {
    for next in [8, 0xffff] {
        assert_eq!(
            read(rig(&[readable(4, Some(1)), readable(4, Some(next))])),
            Fault::Next {
                position: Position::Ring(1),
                next,
                size: 8,
            }
        );
    }
}

#[test]
fn clause_2_7_5_3_next_out_of_range_in_a_table() {
    for next in [2, 7, 0xffff] {
        let mut rig = rig(&[]);
        let reference = table(&rig, &[readable(4, Some(1)), readable(4, Some(next))]);
        rig.driver.write_descriptor(0, reference);
        assert_eq!(
            fault(rig.read_all()),
            Fault::Next {
                position: Position::Table {
                    descriptor: 0,
                    entry: 1
                },
                next,
                size: 2,
            }
        );
    }
}

#[test]
fn clause_2_7_5_2_a_loop_ends_after_as_many_descriptors_as_the_queue_has() {
    for (len, next) in [(0, 0), (1, 0), (1, 1)] {
        let looping = rig(&[readable(len, Some(next)), readable(len, Some(0))]);
        looping.memory.start_log();
        let memory = looping.memory.clone();
        assert!(matches!(
            read(looping),
            Fault::TooManyDescriptors { size: 8, .. }
        ));
        let loads = memory.take_log();
        assert_eq!(loads.iter().filter(|load| load.len == 16).count(), 9);
    }
}

#[test]
fn clause_2_7_5_3_1_a_loop_in_a_table_ends_after_as_many_descriptors_as_a_table_may_have() {
    for (size, limit) in [(8, 64), (64, 64), (128, 128)] {
        let mut rig = Rig::new(size, ALL);
        let reference = table(&rig, &[readable(1, Some(1)), readable(1, Some(0))]);
        rig.driver.write_descriptor(0, reference);
        rig.driver.add_head(0);
        rig.driver.publish();
        rig.memory.start_log();
        assert_eq!(
            fault(rig.read_all()),
            Fault::TooManyDescriptors {
                position: Position::Table {
                    descriptor: 0,
                    entry: 0
                },
                size: limit,
            }
        );
        let log = rig.memory.take_log();
        let loads = log.iter().filter(|load| load.len == 16).count();
        assert_eq!(loads, 1 + usize::from(limit) + 1);
    }
}

#[test]
fn clause_2_7_5_3_1_ring_and_table_together_are_not_longer_than_a_table_may_be() {
    for (len, fits) in [(62, true), (63, false)] {
        let mut rig = rig(&[readable(1, Some(1)), readable(1, Some(2))]);
        let mut entries: Vec<_> = (1..len).map(|next| readable(1, Some(next))).collect();
        entries.push(readable(1, None));
        let reference = table(&rig, &entries);
        rig.driver.write_descriptor(2, reference);
        if fits {
            assert_eq!(rig.read_all().unwrap().len(), 64);
            continue;
        }
        assert_eq!(
            fault(rig.read_all()),
            Fault::TooManyDescriptors {
                position: Position::Table {
                    descriptor: 2,
                    entry: 62
                },
                size: 64,
            }
        );
    }
}

#[test]
fn clause_2_7_5_2_sum_of_lengths_beyond_32_bits() {
    let half = readable(0x8000_0000, Some(1));
    let mut rig = rig(&[half, readable(0x8000_0000, None)]);
    let head = rig.head();
    let mut reader = rig.queue.reader(&rig.memory, &head).unwrap();
    assert_eq!(
        fault(reader.skip(u64::MAX)),
        Fault::TooManyBytes {
            position: Position::Ring(1)
        }
    );
}

#[test]
fn clause_2_7_5_2_sum_of_lengths_over_both_parts_of_a_request() {
    let mut rig = rig(&[readable(1, Some(1)), writable(u32::MAX, None)]);
    let head = rig.head();
    let request = rig.queue.request(&rig.memory, &head).unwrap();
    assert_eq!(
        fault(request.into_writer()),
        Fault::TooManyBytes {
            position: Position::Ring(1)
        }
    );
}

#[test]
fn a_buffer_beyond_the_address_space() {
    for (iova, len) in [(u64::MAX, 2), (u64::MAX - 8, 10), (1 << 63, u32::MAX)] {
        let descriptor = Descriptor {
            address: iova,
            len,
            ..Default::default()
        };
        let found = read(rig(&[descriptor]));
        if iova == 1 << 63 {
            assert!(matches!(found, Fault::Unmapped(_)));
            continue;
        }
        let position = Position::Ring(0);
        assert_eq!(
            found,
            Fault::AddressOverflow {
                position,
                iova,
                len
            }
        );
    }
}

#[test]
fn clause_2_7_5_3_1_indirect_not_negotiated() {
    let mut rig = Rig::new(8, Features::EVENT_IDX);
    rig.offer(
        &[Buffer::readable(SOURCE, 1)],
        Form::Indirect { table: TABLES },
    );
    assert_eq!(
        fault(rig.read_all()),
        Fault::IndirectNotNegotiated { descriptor: 0 }
    );
}

#[test]
fn clause_2_7_5_3_1_indirect_within_a_table() {
    let mut rig = rig(&[]);
    let inner = Descriptor {
        flags: flags::INDIRECT,
        ..readable(16, None)
    };
    let reference = table(&rig, &[readable(1, Some(1)), inner]);
    rig.driver.write_descriptor(0, reference);
    assert_eq!(
        fault(rig.read_all()),
        Fault::IndirectNested {
            position: Position::Table {
                descriptor: 0,
                entry: 1
            }
        }
    );
}

#[test]
fn clause_2_7_5_3_1_indirect_with_next() {
    let mut rig = rig(&[]);
    let mut reference = table(&rig, &[readable(1, None)]);
    reference.flags |= flags::NEXT;
    rig.driver.write_descriptor(0, reference);
    assert_eq!(
        fault(rig.read_all()),
        Fault::IndirectWithNext { descriptor: 0 }
    );
}

#[test]
fn clause_2_7_5_3_length_of_a_table() {
    for len in [0, 1, 15, 17, 16 * 65536, u32::MAX, u32::MAX & !15] {
        let mut rig = rig(&[]);
        let mut reference = table(&rig, &[readable(1, None)]);
        reference.len = len;
        rig.driver.write_descriptor(0, reference);
        assert_eq!(
            fault(rig.read_all()),
            Fault::IndirectLength { descriptor: 0, len }
        );
    }
    // As long as an index reaches is fine.
    let mut rig = rig(&[]);
    let mut reference = table(&rig, &[readable(1, None)]);
    reference.len = 16 * 65535;
    rig.driver.write_descriptor(0, reference);
    assert_eq!(rig.read_all().unwrap().len(), 1);
}

#[test]
fn a_table_beyond_the_address_space() {
    let reference = Descriptor {
        address: u64::MAX - 15,
        len: 32,
        flags: flags::INDIRECT,
        next: 0,
    };
    assert_eq!(
        read(rig(&[reference])),
        Fault::AddressOverflow {
            position: Position::Ring(0),
            iova: u64::MAX - 15,
            len: 32
        }
    );
}

#[test]
fn a_table_that_is_not_mapped_to_its_end() {
    let mut rig = Rig::new(8, ALL);
    rig.memory.map(0x9000, 24, Access::Read);
    // The second descriptor of the table lies half in a hole.
    rig.driver.write_table(0x9000, &[readable(1, Some(1))]);
    let reference = Descriptor {
        address: 0x9000,
        len: 32,
        flags: flags::INDIRECT,
        next: 0,
    };
    rig.driver.write_descriptor(0, reference);
    rig.driver.add_head(0);
    rig.driver.publish();
    assert_eq!(
        fault(rig.read_all()),
        Fault::Unmapped(Place {
            part: Part::Table(0),
            iova: 0x9018,
            len: 8,
            access: Access::Read
        })
    );
}

#[test]
fn a_reader_that_is_used_after_an_error_stays_within_its_table() {
    // The table has one descriptor, and the one that refers to it has a larger index.
    let mut rig = Rig::new(8, ALL);
    let reference = Descriptor {
        address: 0x9000,
        len: 16,
        flags: flags::INDIRECT,
        next: 0,
    };
    rig.driver.write_descriptor(3, readable(1, Some(7)));
    rig.driver.write_descriptor(7, reference);
    rig.driver.add_head(3);
    rig.driver.publish();
    let head = rig.head();
    let mut reader = rig.queue.reader(&rig.memory, &head).unwrap();
    for _ in 0..3 {
        // The mock checks what it is asked for.
        assert!(matches!(
            fault(reader.read(&mut [0; 10])),
            Fault::Unmapped(place) if place.iova == 0x9000 && place.len == 16
        ));
    }
}

#[test]
fn clause_5_1_6_2_a_transmit_buffer_is_readable() {
    let position = Position::Ring(1);
    assert_eq!(
        read(rig(&[readable(4, Some(1)), writable(4, None)])),
        Fault::NotReadable { position }
    );
    // One without bytes is no exception.
    assert_eq!(
        read(rig(&[readable(4, Some(1)), writable(0, None)])),
        Fault::NotReadable { position }
    );
}

#[test]
fn clause_5_1_6_3_a_receive_buffer_is_writable() {
    assert_eq!(
        write(rig(&[readable(4, None)])),
        Fault::NotWritable {
            position: Position::Ring(0)
        }
    );
    assert_eq!(
        write(rig(&[writable(4, Some(1)), readable(4, None)])),
        Fault::NotWritable {
            position: Position::Ring(1)
        }
    );
}

#[test]
fn clause_2_7_4_2_readable_after_writable() {
    let mut rig = rig(&[
        readable(4, Some(1)),
        writable(4, Some(2)),
        readable(4, None),
    ]);
    let head = rig.head();
    let request = rig.queue.request(&rig.memory, &head).unwrap();
    let mut answer = request.into_writer().unwrap();
    assert_eq!(
        fault(answer.write(&[0; 5])),
        Fault::ReadableAfterWritable {
            position: Position::Ring(2)
        }
    );
}

#[test]
fn buffers_need_their_permission() {
    let place = |iova, access| Place {
        part: Part::Buffer(Position::Ring(0)),
        iova,
        len: 4,
        access,
    };
    let mut wrong = readable(4, None);
    wrong.address = TARGET;
    assert_eq!(
        read(rig(&[wrong])),
        Fault::Permission(place(TARGET, Access::Read))
    );
    let mut wrong = writable(4, None);
    wrong.address = SOURCE;
    assert_eq!(
        write(rig(&[wrong])),
        Fault::Permission(place(SOURCE, Access::Write))
    );
    let mut wrong = readable(4, None);
    wrong.address = 0x1234;
    assert_eq!(
        read(rig(&[wrong])),
        Fault::Unmapped(place(0x1234, Access::Read))
    );
}

#[test]
fn a_buffer_that_runs_into_a_hole_fails_where_the_hole_starts() {
    let mut descriptor = readable(8, None);
    descriptor.address = SOURCE + ROOM as u64 - 5;
    assert_eq!(
        read(rig(&[descriptor])),
        Fault::Unmapped(Place {
            part: Part::Buffer(Position::Ring(0)),
            iova: SOURCE + ROOM as u64,
            len: 3,
            access: Access::Read
        })
    );
}

#[test]
fn a_copy_tells_which_side_failed() {
    for source_fails in [true, false] {
        let mut transmit = rig(&[readable(100, None)]);
        let mut receive = rig(&[writable(100, None)]);
        if source_fails {
            transmit.memory.set_permission(SOURCE, Access::Write);
        } else {
            receive.memory.set_permission(TARGET, Access::Read);
        }
        let head = transmit.head();
        let mut reader = transmit.queue.reader(&transmit.memory, &head).unwrap();
        let head = receive.head();
        let mut writer = receive.queue.writer(&receive.memory, &head).unwrap();
        let error = reader.copy_to(&mut writer, 1000).unwrap_err();
        assert_eq!(
            matches!(
                error,
                TransferError::Source(QueueError::Fault(Fault::Permission(_)))
            ),
            source_fails
        );
        assert_eq!(
            matches!(
                error,
                TransferError::Destination(QueueError::Fault(Fault::Permission(_)))
            ),
            !source_fails
        );
    }
}

#[test]
fn a_copy_tells_which_side_was_taken_away_after_translation() {
    for source_fails in [true, false] {
        let mut transmit = rig(&[readable(100, None)]);
        let mut receive = rig(&[writable(100, None)]);
        let head = transmit.head();
        let mut reader = transmit.queue.reader(&transmit.memory, &head).unwrap();
        let head = receive.head();
        let mut writer = receive.queue.writer(&receive.memory, &head).unwrap();
        assert_eq!(reader.copy_to(&mut writer, 10), Ok(10));
        if source_fails {
            transmit.memory.unmap(SOURCE);
        } else {
            receive.memory.unmap(TARGET);
        }
        let (iova, access) = match source_fails {
            true => (SOURCE + 10, Access::Read),
            false => (TARGET + 10, Access::Write),
        };
        let error = QueueError::Fault(Fault::Unmapped(Place {
            part: Part::Buffer(Position::Ring(0)),
            iova,
            len: 90,
            access,
        }));
        assert_eq!(
            reader.copy_to(&mut writer, 1000),
            Err(match source_fails {
                true => TransferError::Source(error),
                false => TransferError::Destination(error),
            })
        );
    }
}

#[test]
fn a_copy_to_a_span_tells_which_side_was_taken_away() {
    for source_fails in [true, false] {
        let mut rig = rig(&[readable(100, None)]);
        let head = rig.head();
        let mut reader = rig.queue.reader(&rig.memory, &head).unwrap();
        let span = rig.memory.span(TARGET, 100, Access::Write).unwrap();
        let mut copy = |at, limit| reader.copy_to_span::<MockMemory>((&span, at), limit);
        assert_eq!(copy(0, 10), Ok(Some(10)));
        rig.memory.unmap(if source_fails { SOURCE } else { TARGET });
        let error = QueueError::Fault(Fault::Unmapped(Place {
            part: Part::Buffer(Position::Ring(0)),
            iova: SOURCE + 10,
            len: 90,
            access: Access::Read,
        }));
        let wanted = if source_fails { Err(error) } else { Ok(None) };
        assert_eq!(copy(10, 90), wanted);
    }
}

#[test]
fn each_area_needs_its_permission() {
    for (iova, wrong, area, access, len) in [
        (
            DESCRIPTOR,
            Access::Write,
            Area::Descriptor,
            Access::Read,
            128,
        ),
        (DRIVER, Access::Write, Area::Driver, Access::Read, 22),
        (DEVICE, Access::Read, Area::Device, Access::Write, 70),
    ] {
        let mut rig = rig(&[readable(1, None)]);
        let place = Place {
            part: Part::Area(area),
            iova,
            len,
            access,
        };
        rig.memory.set_permission(iova, wrong);
        assert_eq!(
            fault(rig.queue.begin(&rig.memory)),
            Fault::Permission(place)
        );
        rig.memory.unmap(iova);
        assert_eq!(fault(rig.queue.begin(&rig.memory)), Fault::Unmapped(place));
    }
}

#[test]
fn a_ring_field_that_is_taken_away_in_the_middle_of_a_batch() {
    let place = |area, iova, len, access| {
        Fault::Unmapped(Place {
            part: Part::Area(area),
            iova,
            len,
            access,
        })
    };
    // The mock's areas are stale as soon as any mapping changes.
    let mut taken = rig(&[readable(1, None)]);
    let head = taken.head();
    taken.memory.unmap(TABLES);
    assert_eq!(
        fault(taken.queue.reader(&taken.memory, &head).map(|_| ())),
        place(Area::Descriptor, DESCRIPTOR, 16, Access::Read)
    );
    assert_eq!(
        fault(taken.queue.peek(&taken.memory)),
        place(Area::Driver, DRIVER + 4, 2, Access::Read)
    );
    assert_eq!(
        fault(taken.queue.allow_kicks(&taken.memory)),
        place(Area::Device, DEVICE + 68, 2, Access::Write)
    );
    assert_eq!(
        fault(taken.queue.complete(&taken.memory, head, 0)),
        place(Area::Device, DEVICE + 4, 8, Access::Write)
    );
    // Nothing was consumed.
    taken.complete();
    taken.memory.unmap(SOURCE);
    assert_eq!(
        fault(taken.queue.publish(&taken.memory)),
        place(Area::Device, DEVICE + 2, 2, Access::Write)
    );
}
