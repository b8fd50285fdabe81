// SPDX-License-Identifier: GPL-2.0

//! Shared memory that changes, moves or is away while the device uses it.

use rvdpa_virtio::{
    fault::{
        Fault,
        Place,
        QueueError, //
    },
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
use selftests_virtio::*;
use std::collections::BTreeMap;

const FORMS: &[Form] = &[
    Form::Direct,
    Form::Indirect { table: TABLES },
    Form::Mixed {
        direct: 2,
        table: TABLES,
    },
];

/// How often the device has read each byte of what describes a chain.
fn reads(rig: &Rig) -> BTreeMap<u64, usize> {
    let mut reads = BTreeMap::new();
    for seen in rig.memory.take_log() {
        let last = seen.iova + seen.len as u64;
        if seen.access == Access::Read && !(SOURCE..SOURCE + ROOM as u64).contains(&seen.iova) {
            for iova in seen.iova..last {
                *reads.entry(iova).or_default() += 1;
            }
        }
    }
    reads
}

#[test]
fn each_field_is_read_once() {
    for &form in FORMS {
        let mut rig = Rig::new(8, ALL);
        let chain: Vec<_> = (0..6).map(|at| Buffer::readable(SOURCE + at, 1)).collect();
        rig.offer(&chain, form);
        rig.memory.start_log();
        rig.read_all().unwrap();
        let reads = reads(&rig);
        // The available index, one entry of the ring, and the descriptors.
        let descriptors = if form == Form::Direct { 6 } else { 7 };
        assert_eq!(reads.len(), 2 + 2 + 16 * descriptors);
        assert!(reads.values().all(|&count| count == 1), "{form:?}");
    }
}

#[test]
fn each_field_is_read_once_across_mappings() {
    let mut rig = Rig::new(8, ALL);
    rig.memory.map(0x9000, 25, Access::Read);
    rig.memory.map(0x9000 + 25, 71, Access::Read);
    let chain: Vec<_> = (0..6).map(|at| Buffer::readable(SOURCE + at, 1)).collect();
    rig.offer(&chain, Form::Indirect { table: 0x9000 });
    rig.memory.start_log();
    rig.read_all().unwrap();
    let reads = reads(&rig);
    assert_eq!(reads.len(), 2 + 2 + 16 * 7);
    assert!(reads.values().all(|&count| count == 1));
}

#[test]
fn a_request_is_read_once_in_both_parts() {
    for &form in FORMS {
        let mut rig = Rig::new(8, ALL);
        let chain = [
            Buffer::readable(SOURCE, 2),
            Buffer::readable(SOURCE, 6),
            Buffer::writable(TARGET, 0),
            Buffer::writable(TARGET, 1),
        ];
        rig.offer(&chain, form);
        rig.memory.start_log();
        let head = rig.head();
        let mut request = rig.queue.request(&rig.memory, &head).unwrap();
        request.read(&mut [0; 8]).unwrap();
        assert_eq!(request.is_done(), Ok(true));
        let mut answer = request.into_writer().unwrap();
        answer.clone().write(&[0]).unwrap();
        answer.write(&[0]).unwrap();
        assert!(reads(&rig).values().all(|&count| count == 1), "{form:?}");
    }
}

#[test]
fn what_changes_after_it_was_read_changes_nothing() {
    for &form in FORMS {
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
fn an_area_that_moved_is_resolved_anew() {
    let mut rig = Rig::new(8, ALL);
    rig.queue.begin(&rig.memory).unwrap();
    let mut moved = layout(8);
    moved.descriptor = TABLES;
    rig.queue.setup(moved, ALL, 0).unwrap();
    rig.queue.begin(&rig.memory).unwrap();
    assert_eq!(rig.memory.resolutions(), 4);
}

#[test]
fn an_area_may_lie_in_several_mappings() {
    let mut rig = Rig::new(8, Features::NONE);
    rig.memory.unmap(DESCRIPTOR);
    rig.memory.map(DESCRIPTOR, 40, Access::Read);
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

/// Does `work` with each of the regions away in turn, until it says that it is done. Each
/// time, it brings in exactly what was asked for. Returns what that was.
fn bring_in<T>(
    rig: &mut Rig,
    mut work: impl FnMut(&mut Rig) -> Result<T, QueueError>,
) -> (T, Vec<(u64, u32, Access)>) {
    let mut asked = Vec::new();
    loop {
        match work(rig) {
            Ok(result) => return (result, asked),
            Err(QueueError::NotPresent(Place {
                iova, len, access, ..
            })) => {
                let region = iova & !0xff_ffff;
                assert!(!asked.iter().any(|&(before, ..)| before == iova));
                asked.push((iova, len, access));
                rig.memory.set_resident(region, true);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_is_not_resident_is_asked_for_and_nothing_is_lost() {
    let mut rig = Rig::new(8, ALL);
    rig.memory.write(SOURCE + 1, &pattern(50, 3));
    let chain = [
        Buffer::readable(SOURCE + 1, 20),
        Buffer::readable(SOURCE + 21, 30),
    ];
    rig.offer(&chain, Form::Indirect { table: TABLES });
    for region in [DESCRIPTOR, DRIVER, DEVICE, TABLES, SOURCE] {
        rig.memory.set_resident(region, false);
    }
    let (data, asked) = bring_in(&mut rig, Rig::read_all);
    assert_eq!(data, pattern(50, 3));
    assert_eq!(
        asked,
        [
            (DESCRIPTOR, 128, Access::Read),
            (DRIVER, 22, Access::Read),
            (DEVICE, 70, Access::Write),
            (TABLES, 32, Access::Read),
            (SOURCE + 1, 20, Access::Read),
        ]
    );
    assert_eq!(rig.queue.avail_index(), 0);
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
fn an_interrupt_is_not_lost_when_the_driver_area_goes_away() {
    for features in [Features::NONE, ALL] {
        let mut rig = Rig::new(8, features);
        rig.offer(&[Buffer::readable(SOURCE, 1)], Form::Direct);
        rig.complete();
        // It is there for the used index, and away right after.
        rig.memory.set_hook(|memory, seen| {
            if seen.iova == DEVICE + 2 {
                memory.set_resident(DRIVER, false);
            }
        });
        assert!(rig.queue.publish(&rig.memory).is_err());
        rig.memory.clear_hook();
        assert!(rig.driver.poll_used().is_some());
        rig.memory.set_resident(DRIVER, true);
        rig.queue.begin(&rig.memory).unwrap();
        assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Raise));
        assert_eq!(rig.queue.publish(&rig.memory), Ok(Interrupt::Nothing));
    }
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

#[test]
fn rings_may_overlap_each_other_and_the_buffers() {
    // A driver that does this harms itself; the device goes on by its rules.
    let mut rig = Rig::new(4, ALL);
    let page = 0x9000;
    rig.memory.map(page, 4096, Access::ReadWrite);
    let mut overlap = layout(4);
    overlap.descriptor = page;
    overlap.driver = page;
    overlap.device = page;
    rig.queue.setup(overlap, ALL, 0).unwrap();
    rig.memory.store_u16(page + 2, 4);
    for _ in 0..100 {
        let Ok(Some(head)) = rig.peek() else {
            break;
        };
        if let Ok(mut writer) = rig.queue.writer(&rig.memory, &head) {
            let _ = writer.write(&[0x5a; 100]);
        }
        let _ = rig.queue.complete(&rig.memory, head, 9);
        let _ = rig.queue.publish(&rig.memory);
    }
}
