// SPDX-License-Identifier: GPL-2.0

//! Each rule that the driver of a packed virtqueue can break has a fault of its own.

use rvdpa_virtio::{
    fault::{
        Fault,
        Part,
        Place,
        Position, //
    },
    features::Features,
    layout::{
        flags,
        packed::{
            Descriptor,
            Slot,
            AVAIL,
            USED, //
        },
        Area, //
    },
    memory::Access,
    mock::{
        Buffer,
        Form, //
    },
    queue::Queue,
};
use selftests_virtio::{
    PackedRig as Rig,
    *, //
};

/// A rig of eight descriptors with this one chain, whose first descriptor is 0.
fn rig(descriptors: &[Descriptor]) -> Rig {
    let mut rig = Rig::new(8, ALL);
    rig.driver.add_descriptors(descriptors);
    rig.driver.publish();
    rig
}

/// A descriptor of a buffer for reading.
fn readable(len: u32, flags: u16) -> Descriptor {
    Descriptor {
        address: SOURCE,
        len,
        id: 0,
        flags,
    }
}

/// A descriptor of a buffer for writing.
fn writable(len: u32, flags: u16) -> Descriptor {
    Descriptor {
        address: TARGET,
        flags: flags | flags::WRITE,
        ..readable(len, 0)
    }
}

/// The fault of reading a chain with this table, but for what `change` makes of the
/// descriptor that refers to it.
fn table(entries: &[Descriptor], change: impl FnOnce(&mut Descriptor)) -> Fault {
    let mut rig = rig(&[]);
    let mut reference = rig.driver.write_table(TABLES, entries);
    change(&mut reference);
    rig.driver.add_descriptors(&[reference]);
    rig.driver.publish();
    fault(rig.read_all())
}

const NEXT: u16 = flags::NEXT;

#[test]
fn clause_2_8_13_buffer_id_out_of_range() {
    for id in [8, 9, 0xffff] {
        let chain = [
            readable(4, NEXT),
            Descriptor {
                id,
                ..readable(4, 0)
            },
        ];
        for chain in [&chain[..], &chain[1..]] {
            assert_eq!(
                fault(rig(chain).peek()),
                Fault::BufferId {
                    descriptor: 0,
                    id,
                    size: 8
                }
            );
        }
    }
}

#[test]
fn clause_2_8_6_a_chain_longer_than_the_ring() {
    for start in [0, 5] {
        let mut rig = Rig::starting_at(8, ALL, start | 0x8000);
        rig.driver.add_descriptors(&[readable(1, NEXT); 8]);
        rig.driver.publish();
        rig.memory.start_log();
        assert_eq!(
            fault(rig.peek()),
            Fault::TooManyDescriptors {
                position: Position::Ring(start),
                size: 8
            }
        );
        // Each descriptor's flags, and the first descriptor.
        assert_eq!(rig.memory.take_log().len(), 9);
    }
}

#[test]
fn clause_2_8_6_a_chain_of_which_a_part_is_not_available() {
    for wrong in [0, AVAIL | USED, USED] {
        let mut rig = rig(&[readable(1, NEXT), readable(1, NEXT), readable(1, 0)]);
        rig.driver.write_flags(2, wrong);
        assert_eq!(
            fault(rig.peek()),
            Fault::ChainNotAvailable { descriptor: 2 }
        );
    }
}

#[test]
fn clause_2_8_1_available_again_before_it_was_used() {
    // All descriptors are the device's, and it has used none.
    let mut rig = rig(&[readable(1, 0); 8]);
    for _ in 0..8 {
        rig.complete();
    }
    assert_eq!(rig.peek(), Ok(None));
    rig.driver.write_flags(0, USED);
    assert_eq!(fault(rig.peek()), Fault::WithDevice { descriptor: 0 });
    rig.queue.publish(&rig.memory).unwrap();
    rig.driver.write_flags(0, USED);
    assert!(rig.peek().unwrap().is_some());
}

#[test]
fn clause_2_8_1_a_chain_that_goes_on_where_the_device_is_not_done() {
    let mut rig = rig(&[readable(1, 0); 2]);
    rig.complete();
    rig.complete();
    rig.driver.add_descriptors(&[readable(1, NEXT); 6]);
    rig.driver.publish();
    assert_eq!(fault(rig.peek()), Fault::WithDevice { descriptor: 0 });
}

#[test]
fn clause_2_8_7_indirect_not_negotiated() {
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
fn clause_2_8_7_indirect_with_next() {
    let indirect = |flags| readable(16, flags | flags::INDIRECT);
    for (chain, descriptor) in [
        (&[indirect(NEXT), readable(1, 0)][..], 0),
        (&[readable(1, NEXT), indirect(0)], 1),
        (&[readable(1, NEXT), indirect(NEXT), readable(1, 0)], 1),
    ] {
        assert_eq!(
            fault(rig(chain).peek()),
            Fault::IndirectWithNext { descriptor }
        );
    }
}

#[test]
fn clause_2_8_7_indirect_within_a_table() {
    let entries = [readable(1, 0), readable(16, flags::INDIRECT)];
    let position = Position::Table {
        descriptor: 0,
        entry: 1,
    };
    assert_eq!(table(&entries, |_| ()), Fault::IndirectNested { position });
}

#[test]
fn clause_2_8_7_length_of_a_table() {
    for len in [0, 1, 15, 17, 16 * 65536, u32::MAX, u32::MAX & !15] {
        assert_eq!(
            table(&[readable(1, 0)], |reference| reference.len = len),
            Fault::IndirectLength { descriptor: 0, len }
        );
    }
}

#[test]
fn clause_2_8_6_a_table_longer_than_its_limit() {
    for entries in [65, 66, 65535] {
        let position = Position::Table {
            descriptor: 0,
            entry: 64,
        };
        // Nothing of the table is read.
        assert_eq!(
            table(&[readable(1, 0)], |reference| reference.len = 16 * entries),
            Fault::TooManyDescriptors { position, size: 64 }
        );
    }
}

#[test]
fn a_table_beyond_the_address_space() {
    let iova = u64::MAX - 15;
    let found = table(&[readable(1, 0); 2], |reference| reference.address = iova);
    assert_eq!(
        found,
        Fault::AddressOverflow {
            position: Position::Ring(0),
            iova,
            len: 32
        }
    );
}

#[test]
fn a_table_that_is_not_mapped_to_its_end() {
    let mut rig = Rig::new(8, ALL);
    rig.memory.map(0x9000, 24, Access::Read);
    rig.driver.write_table(0x9000, &[readable(1, 0)]);
    rig.driver.add_descriptors(&[Descriptor {
        address: 0x9000,
        ..readable(32, flags::INDIRECT)
    }]);
    rig.driver.publish();
    let head = rig.head();
    let mut reader = rig.queue.reader(&rig.memory, &head).unwrap();
    for _ in 0..2 {
        // Also one that is used after an error stays where it may be.
        assert_eq!(
            fault(reader.read(&mut [0; 10])),
            Fault::Unmapped(Place {
                part: Part::Table(0),
                iova: 0x9018,
                len: 8,
                access: Access::Read
            })
        );
    }
}

#[test]
fn buffers_go_in_one_direction() {
    let position = Position::Ring(1);
    assert_eq!(
        fault(rig(&[readable(4, NEXT), writable(4, 0)]).read_all()),
        Fault::NotReadable { position }
    );
    let position = Position::Ring(0);
    assert_eq!(
        fault(rig(&[readable(4, NEXT), writable(4, 0)]).write_all(&[0; 10])),
        Fault::NotWritable { position }
    );
    let position = Position::Ring(2);
    let chain = [readable(4, NEXT), writable(4, NEXT), readable(4, 0)];
    assert_eq!(
        fault(rig(&chain).peek()),
        Fault::ReadableAfterWritable { position }
    );
}

#[test]
fn buffers_of_a_table_go_in_one_direction() {
    let mut rig = rig(&[]);
    let entries = [readable(4, 0), writable(4, 0), readable(4, 0)];
    let reference = rig.driver.write_table(TABLES, &entries);
    rig.driver.add_descriptors(&[reference]);
    rig.driver.publish();
    let head = rig.head();
    let request = rig.queue.request(&rig.memory, &head).unwrap();
    let mut answer = request.into_writer().unwrap();
    assert_eq!(
        fault(answer.write(&[0; 5])),
        Fault::ReadableAfterWritable {
            position: Position::Table {
                descriptor: 0,
                entry: 2
            }
        }
    );
}

#[test]
fn lengths_and_addresses_that_are_too_large() {
    let mut long = rig(&[readable(0x8000_0000, NEXT), readable(0x8000_0000, 0)]);
    let head = long.head();
    let mut reader = long.queue.reader(&long.memory, &head).unwrap();
    assert_eq!(
        fault(reader.skip(u64::MAX)),
        Fault::TooManyBytes {
            position: Position::Ring(1)
        }
    );
    let mut high = readable(10, 0);
    high.address = u64::MAX - 8;
    assert!(matches!(
        fault(rig(&[high]).read_all()),
        Fault::AddressOverflow { len: 10, .. }
    ));
}

#[test]
fn each_area_needs_its_permission() {
    for (iova, wrong, area, access, len) in [
        (
            DESCRIPTOR,
            Access::Read,
            Area::Descriptor,
            Access::ReadWrite,
            128,
        ),
        (
            DESCRIPTOR,
            Access::Write,
            Area::Descriptor,
            Access::ReadWrite,
            128,
        ),
        (DRIVER, Access::Write, Area::Driver, Access::Read, 4),
        (DEVICE, Access::Read, Area::Device, Access::Write, 4),
    ] {
        let mut rig = rig(&[readable(1, 0)]);
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
    let mut taken = rig(&[readable(1, NEXT), readable(1, 0)]);
    let head = taken.head();
    taken.memory.unmap(TABLES);
    let mut reader = taken.queue.reader(&taken.memory, &head).unwrap();
    taken.memory.set_permission(SOURCE, Access::ReadWrite);
    assert_eq!(
        fault(reader.skip(2)),
        place(Area::Descriptor, DESCRIPTOR + 16, 16, Access::Read)
    );
    assert_eq!(
        fault(taken.queue.peek(&taken.memory)),
        place(Area::Descriptor, DESCRIPTOR + 14, 2, Access::Read)
    );
    assert_eq!(
        fault(taken.queue.suppress_kicks(&taken.memory)),
        place(Area::Device, DEVICE + 2, 2, Access::Write)
    );
    taken.queue.complete(&taken.memory, head, 0).unwrap();
    assert_eq!(
        fault(taken.queue.publish(&taken.memory)),
        place(Area::Descriptor, DESCRIPTOR + 8, 8, Access::Write)
    );
    // Nothing was lost.
    taken.queue.begin(&taken.memory).unwrap();
    taken.queue.publish(&taken.memory).unwrap();
    let used = taken.driver.read_descriptor(0).flags;
    assert!(Slot::FIRST.is_used(used));
}
