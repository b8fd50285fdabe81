// SPDX-License-Identifier: GPL-2.0

//! Chains of shapes that only a split virtqueue has (2.7.5).

use rvdpa_virtio::{
    layout::{
        flags,
        Descriptor, //
    },
    memory::{
        Access,
        Memory, //
    },
    mock::{
        DriverMemory,
        Form,
        MockMemory, //
    },
    queue::Queue,
};
use selftests_virtio::{
    SplitRig as Rig,
    *, //
};

#[test]
fn clause_2_7_5_3_2_a_table_may_follow_direct_descriptors() {
    for direct in 0..5 {
        let mut rig = Rig::new(8, ALL);
        let chain = buffers(SOURCE, &[4, 0, 7, 100, 9], false);
        let data = pattern(120, 3);
        fill(&rig.memory, &chain, &data);
        rig.offer(
            &chain,
            Form::Mixed {
                direct,
                table: TABLES,
            },
        );
        assert_eq!(rig.read_all().unwrap(), data);
    }
}

#[test]
fn clause_2_7_5_3_2_the_write_flag_of_a_table_is_ignored() {
    let mut rig = Rig::new(8, ALL);
    rig.memory.write(SOURCE, b"abc");
    let mut reference = rig.driver.write_table(
        TABLES,
        &[Descriptor {
            address: SOURCE,
            len: 3,
            ..Default::default()
        }],
    );
    reference.flags |= flags::WRITE;
    rig.driver.write_descriptor(2, reference);
    rig.driver.add_head(2);
    rig.driver.publish();
    assert_eq!(rig.read_all().unwrap(), b"abc");
}

#[test]
fn a_table_may_be_longer_than_its_chain_and_go_backwards() {
    let mut rig = Rig::new(4, ALL);
    rig.memory.write(SOURCE, &pattern(64, 4));
    let entry = |at: u64, next: Option<u16>| Descriptor {
        address: SOURCE + 10 * at,
        len: 10,
        flags: if next.is_some() { flags::NEXT } else { 0 },
        next: next.unwrap_or(0xffff),
    };
    // Six entries, in the order 0, 5, 1, 3.
    let table = [
        entry(0, Some(5)),
        entry(2, Some(3)),
        Descriptor::default(),
        entry(3, None),
        Descriptor::default(),
        entry(1, Some(1)),
    ];
    let reference = rig.driver.write_table(TABLES, &table);
    rig.driver.write_descriptor(0, reference);
    rig.driver.add_head(0);
    rig.driver.publish();
    assert_eq!(rig.read_all().unwrap(), pattern(40, 4));
}

#[test]
fn a_chain_fills_spans_one_after_the_other() {
    let mut rig = Rig::new(8, ALL);
    let chain = buffers(SOURCE, &[4, 0, 7, 100, 9], false);
    let data = pattern(120, 5);
    fill(&rig.memory, &chain, &data);
    rig.offer(&chain, Form::Direct);
    let head = rig.head();
    let mut reader = rig.queue.reader(&rig.memory, &head).unwrap();
    let span = rig.memory.span(TARGET, 50, Access::Write).unwrap();
    let mut out = Vec::new();
    // At any place, across buffers, with room left at the end, and nothing any more.
    for (at, limit, copied) in [(0, 50, 50), (7, 0, 0), (7, 43, 43), (1, 49, 27), (0, 50, 0)] {
        let got = reader.copy_to_span::<MockMemory>((&span, at), limit);
        assert_eq!(got, Ok(Some(copied)));
        let mut bytes = vec![0; copied];
        rig.memory.read(TARGET + at as u64, &mut bytes);
        out.extend(bytes);
    }
    assert_eq!(out, data);
    assert_eq!(reader.is_done(), Ok(true));
}
