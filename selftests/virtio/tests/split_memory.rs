// SPDX-License-Identifier: GPL-2.0

//! How the device uses the shared memory of a split virtqueue.

use rvdpa_virtio::{
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
use selftests_virtio::{
    SplitRig as Rig,
    *, //
};
use std::collections::BTreeMap;

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
    for &form in Split::FORMS {
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
    for &form in Split::FORMS {
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
