// SPDX-License-Identifier: GPL-2.0

//! Chains of a single descriptor, which devices may take the short way, in both formats.

use rvdpa_virtio::{
    mock::{
        Buffer,
        DriverMemory,
        Form, //
    },
    queue::Queue,
};
use selftests_virtio::*;

/// Each kind of chain in turn: what is found of it, and that the long way finds the same.
fn check<F: Format>() {
    let mut rig = RigOf::<F>::starting_at(8, ALL, F::near_wrap(8));
    let (readable, writable) = (Buffer::readable(SOURCE, 5), Buffer::writable(TARGET, 7));
    let table = Form::Indirect { table: TABLES };
    let kinds: [(&[Buffer], Form, Option<Buffer>); 6] = [
        (&[readable], Form::Direct, Some(readable)),
        (&[writable], Form::Direct, Some(writable)),
        (&[readable, writable], Form::Direct, None),
        (&[readable], table, None),
        (&[writable], table, None),
        (
            &[Buffer::readable(SOURCE, 0)],
            Form::Direct,
            Some(Buffer::readable(SOURCE, 0)),
        ),
    ];
    rig.memory.write(SOURCE, &pattern(5, 1));
    // More often than there are descriptors, so that the end of the ring is passed.
    for (chain, form, single) in kinds.into_iter().cycle().take(30) {
        rig.queue.begin(&rig.memory).unwrap();
        assert!(rig.queue.peek_single(&rig.memory).unwrap().is_none());

        let name = rig.driver.add(chain, form).unwrap();
        rig.driver.publish();
        let found = rig.queue.peek_single(&rig.memory).unwrap();
        let found = found.map(|found| (found.iova, found.len, found.writable));
        let wanted = single.map(|buffer| (buffer.iova, buffer.len, buffer.writable));
        assert_eq!(found, wanted, "{chain:?} {form:?}");

        // It is still there.
        let head = rig.queue.peek(&rig.memory).unwrap().unwrap();
        rig.queue.complete(&rig.memory, head, 3).unwrap();
        rig.queue.publish(&rig.memory).unwrap();
        assert_eq!(rig.driver.poll_used().map(|used| used.head), Some(name));
    }
}

#[test]
fn a_chain_of_a_single_descriptor_is_found_as_such() {
    check::<Split>();
    check::<Packed>();
}

#[test]
fn a_single_chain_can_be_completed_as_it_was_found() {
    fn check<F: Format>() {
        let mut rig = RigOf::<F>::starting_at(4, ALL, F::near_wrap(4));
        for number in 0..10 {
            let chain = [Buffer::writable(TARGET, 4)];
            let name = rig.driver.add(&chain, Form::Direct).unwrap();
            rig.driver.publish();
            rig.queue.begin(&rig.memory).unwrap();
            let found = rig.queue.peek_single(&rig.memory).unwrap().unwrap();
            rig.queue.complete(&rig.memory, found.head, number).unwrap();
            rig.queue.publish(&rig.memory).unwrap();
            let used = rig.driver.poll_used().unwrap();
            assert_eq!((used.head, used.len), (name, number));
        }
    }
    check::<Split>();
    check::<Packed>();
}
