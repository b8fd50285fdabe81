// SPDX-License-Identifier: GPL-2.0

// Shared memory that changes, moves or is away while the device uses it.
//
// Included once per format, with `Rig` for its rig and `F` for the format itself.

use rvdpa_virtio::{
    fault::Fault,
    features::Features,
    memory::Access,
    mock::{
        Buffer,
        DriverMemory,
        Form, //
    },
    queue::{
        Interrupt,
        Queue, //
    },
};

#[test]
fn what_changes_after_it_was_read_changes_nothing() {
    for &form in F::FORMS {
        let mut rig = Rig::new(8, ALL);
        rig.memory.write(SOURCE, &pattern(50, 1));
        let chain: Vec<_> = (0..5)
            .map(|at| Buffer::readable(SOURCE + 10 * at, 10))
            .collect();
        rig.offer(&chain, form);
        // All that the device reads of rings and tables is overwritten at once.
        rig.memory.set_hook(|memory, seen| {
            let buffers = SOURCE..TARGET + ROOM as u64;
            if seen.access == Access::Read && !buffers.contains(&seen.iova) {
                memory.write(seen.iova, &vec![0xff; seen.len]);
            }
        });
        assert_eq!(rig.read_all().unwrap(), pattern(50, 1));
        rig.memory.clear_hook();
    }
}

#[test]
fn areas_are_resolved_once_until_a_mapping_changes() {
    let mut rig = Rig::new(8, ALL);
    for _ in 0..10 {
        rig.queue.begin(&rig.memory).unwrap();
    }
    assert_eq!(rig.memory.resolutions(), 3);
    rig.memory.map(0x9000, 1, Access::Read);
    // Translations from before are of no use now.
    assert!(rig.queue.peek(&rig.memory).is_err());
    for _ in 0..10 {
        rig.queue.begin(&rig.memory).unwrap();
    }
    assert_eq!(rig.memory.resolutions(), 6);
    assert_eq!(rig.queue.peek(&rig.memory), Ok(None));
}

#[test]
fn a_buffer_and_a_table_are_translated_once() {
    let mut rig = Rig::new(8, ALL);
    let chain = [
        Buffer::readable(SOURCE, 100),
        Buffer::readable(SOURCE + 200, 100),
        Buffer::readable(SOURCE + 400, 100),
    ];
    rig.offer(&chain, Form::Indirect { table: TABLES });
    // This reads a few bytes at a time.
    rig.read_all().unwrap();
    assert_eq!(rig.memory.spans(), 1 + 3);
}

#[test]
fn an_area_may_lie_in_several_mappings() {
    let mut rig = Rig::new(8, Features::NONE);
    rig.memory.unmap(DESCRIPTOR);
    rig.memory.map(DESCRIPTOR, 40, Access::ReadWrite);
    rig.memory.map(DESCRIPTOR + 40, 88, Access::ReadWrite);
    rig.memory.write(SOURCE, &pattern(30, 2));
    let chain: Vec<_> = (0..3)
        .map(|at| Buffer::readable(SOURCE + 10 * at, 10))
        .collect();
    rig.offer(&chain, Form::Direct);
    assert_eq!(rig.read_all().unwrap(), pattern(30, 2));
}

#[test]
fn without_event_index_the_event_fields_need_not_be_mapped() {
    // The rig maps exactly what the features call for.
    let mut rig = Rig::new(8, Features::NONE);
    rig.offer(&[Buffer::readable(SOURCE, 1)], Form::Direct);
    rig.complete();
    assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
    assert_eq!(rig.queue.allow_kicks(&rig.memory), Ok(false));
}

#[test]
fn what_is_not_resident_is_asked_for_when_writing() {
    let mut rig = Rig::new(8, ALL);
    rig.offer(&[Buffer::writable(TARGET + 4, 20)], Form::Direct);
    rig.memory.set_resident(TARGET, false);
    let (written, asked) = bring_in(&mut rig, |rig| rig.write_all(&[1; 20]));
    assert_eq!(written, 20);
    assert_eq!(asked, [(TARGET + 4, 20, Access::Write)]);
}

#[test]
fn a_buffer_that_is_unmapped_between_two_reads_is_a_fault() {
    let mut rig = Rig::new(8, ALL);
    rig.offer(&[Buffer::readable(SOURCE, 20)], Form::Direct);
    let head = rig.head();
    let mut reader = rig.queue.reader(&rig.memory, &head).unwrap();
    reader.read(&mut [0; 5]).unwrap();
    rig.memory.unmap(SOURCE);
    assert!(matches!(
        fault(reader.read(&mut [0; 5])),
        Fault::Unmapped(place) if place.iova == SOURCE + 5 && place.len == 5
    ));

    let mut rig = Rig::new(8, ALL);
    rig.offer(&[Buffer::writable(TARGET, 20)], Form::Direct);
    let head = rig.head();
    let mut writer = rig.queue.writer(&rig.memory, &head).unwrap();
    writer.write(&[0; 5]).unwrap();
    rig.memory.unmap(TARGET);
    assert!(matches!(
        fault(writer.write(&[0; 7])),
        Fault::Unmapped(place) if place.iova == TARGET + 5 && place.len == 7
    ));
}
