// SPDX-License-Identifier: GPL-2.0

//! Short chains, which devices may take many at a time, in both formats.

use rvdpa_virtio::{
    memory::Access,
    mock::{
        Buffer,
        DriverMemory,
        Form, //
    },
    queue::Queue,
    short::{
        Extent,
        ShortChain,
        ShortChains, //
    },
};
use selftests_virtio::*;

/// What the short way finds of a chain: its buffers, which are all for reading or writing.
type Found = Option<(Vec<(u64, u32)>, bool)>;

fn extents(chain: &ShortChain) -> Vec<(u64, u32)> {
    let extent = |extent: Extent| (extent.iova, extent.len);
    let first = chain.first();
    [first]
        .into_iter()
        .chain(chain.second())
        .map(extent)
        .collect()
}

/// Each kind of chain in turn: what is found of it, and that the long way finds one.
fn check<F: Format>() {
    let mut rig = RigOf::<F>::starting_at(8, ALL, F::near_wrap(8));
    let (readable, writable) = (Buffer::readable(SOURCE, 5), Buffer::writable(TARGET, 7));
    let (empty, other) = (
        Buffer::readable(SOURCE, 0),
        Buffer::readable(SOURCE + 64, 6),
    );
    let table = Form::Indirect { table: TABLES };
    let kinds: [(&[Buffer], bool); 7] = [
        (&[readable], true),
        (&[writable], true),
        (&[readable, other], true),
        (&[writable, writable], true),
        (&[readable, writable], false),
        (&[readable, other, readable], false),
        (&[empty], false),
    ];
    rig.memory.write(SOURCE, &pattern(5, 1));
    let kinds = kinds
        .into_iter()
        .flat_map(|(chain, short)| [(chain, Form::Direct, short), (chain, table, short)]);
    // More often than there are descriptors, so that the end of the ring is passed.
    for (chain, form, short) in kinds.cycle().take(70) {
        let mut chains = ShortChains::default();
        rig.queue.begin(&rig.memory).unwrap();
        assert_eq!(rig.queue.peek_short(&rig.memory, 3, &mut chains), 0);

        let name = rig.driver.add(chain, form).unwrap();
        rig.driver.publish();
        let many = rig.queue.peek_short(&rig.memory, 3, &mut chains);
        let found = chains.found();
        assert_eq!(found.len(), many);
        let found: Found = found
            .first()
            .map(|chain| (extents(chain), chain.is_writable()));
        let all = chain.iter().map(|buffer| (buffer.iova, buffer.len));
        let wanted = short.then(|| (all.collect(), chain[0].writable));
        // A packed chain of two on both sides of the ring's end is for the long way.
        let at_end = found.is_none() && F::PACKED && chain.len() == 2 && form == Form::Direct;
        assert!(found == wanted || at_end, "{chain:?} {form:?}: {found:?}");

        // It is still there.
        let head = rig.queue.peek(&rig.memory).unwrap().unwrap();
        rig.queue.complete(&rig.memory, head, 3).unwrap();
        rig.queue.publish(&rig.memory).unwrap();
        assert_eq!(rig.driver.poll_used().map(|used| used.head), Some(name));
    }
}

#[test]
fn a_chain_of_one_or_two_buffers_is_found_as_such() {
    check::<Split>();
    check::<Packed>();
}

#[test]
fn a_table_in_two_mappings_is_for_the_long_way() {
    fn check<F: Format>() {
        let mut rig = RigOf::<F>::new(8, ALL);
        let end = TABLES + ROOM as u64;
        rig.memory.map(end, ROOM, Access::Read);
        let chain = [
            Buffer::readable(SOURCE, 5),
            Buffer::readable(SOURCE + 64, 6),
        ];
        let mut chains = ShortChains::default();
        // Two descriptors of 16 bytes: all before the boundary, some behind it, all of them.
        for (before, many) in [(32, 1), (31, 0), (16, 0), (1, 0), (0, 1)] {
            let table = end - before;
            rig.driver.add(&chain, Form::Indirect { table }).unwrap();
            rig.driver.publish();
            rig.queue.begin(&rig.memory).unwrap();
            let found = rig.queue.peek_short(&rig.memory, 3, &mut chains);
            assert_eq!(found, many, "{before} bytes before the boundary");
            let head = rig.queue.peek(&rig.memory).unwrap().unwrap();
            rig.queue.complete(&rig.memory, head, 0).unwrap();
            rig.queue.publish(&rig.memory).unwrap();
            assert!(rig.driver.poll_used().is_some());
        }
    }
    check::<Split>();
    check::<Packed>();
}

/// How chains are handed back: by the long way, or by the short way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Long,
    Short,
    /// The short way, and taken back and done once more.
    Twice,
}

/// Hands back all that is available, in this way and by so many at a time. If they were not
/// `read`, the chain with number `n` gets `n` bytes.
fn hand_back<F: Format>(rig: &mut RigOf<F>, way: Way, limit: usize, read: bool) -> u32 {
    let RigOf { memory, queue, .. } = rig;
    let mut number = 0;
    if way == Way::Long {
        while let Some(head) = queue.peek(memory).unwrap() {
            number += 1;
            match read {
                true => queue.complete_fully(memory, head, 0).unwrap(),
                false => queue.complete(memory, head, number).unwrap(),
            }
        }
        return number;
    }
    let mut chains = ShortChains::default();
    loop {
        let mark = queue.mark();
        let found = queue.peek_short(memory, limit, &mut chains);
        assert!(found <= limit);
        if found == 0 {
            return number;
        }
        for chain in chains.found_mut() {
            number += 1;
            // To no avail where they were read.
            chain.finish(number);
        }
        assert!(queue.complete_short(memory, &mut chains, found, read));
        if way == Way::Twice {
            queue.rewind(mark);
            assert_eq!(queue.peek_short(memory, found, &mut chains), found);
            let first = number + 1 - found as u32;
            for (number, chain) in (first..).zip(chains.found_mut()) {
                chain.finish(number);
            }
            assert!(queue.complete_short(memory, &mut chains, found, read));
        }
    }
}

fn check_handing_back<F: Format>() {
    let buffers = |read| {
        let (start, buffer): (_, fn(u64, u32) -> Buffer) = match read {
            true => (SOURCE, Buffer::readable),
            false => (TARGET, Buffer::writable),
        };
        [buffer(start, 12), buffer(start + 12, 88)]
    };
    for features in [ALL, IN_ORDER] {
        let mut rig = RigOf::<F>::starting_at(64, features, F::near_wrap(64));
        let ways = [Way::Long, Way::Short, Way::Twice];
        // How many there are, how many at a time, and in which way: any after any other, past
        // the end of the ring.
        for round in 0_usize..300 {
            let count = round % 37;
            let (way, read) = (ways[round % 3], round % 2 == 0);
            let two = buffers(read);
            let mut names = Vec::new();
            for at in 0..count {
                // One that goes on where the ring begins again is for the long way.
                let chain: &[Buffer] = match at % 5 == 3 && !F::PACKED {
                    true => &two,
                    false => &two[1..],
                };
                names.push(rig.driver.add(chain, Form::Direct).unwrap());
            }
            rig.driver.publish();
            rig.queue.begin(&rig.memory).unwrap();
            let done = hand_back(&mut rig, way, 1 + round % 19, read);
            assert_eq!(done as usize, count, "{way:?}, round {round}");
            rig.queue.publish(&rig.memory).unwrap();
            for (number, &name) in (1..).zip(&names) {
                let used = rig.driver.poll_used().unwrap();
                let len = if read { 0 } else { number };
                assert_eq!((used.head, used.len), (name, len), "{way:?}, round {round}");
            }
            assert_eq!(rig.driver.poll_used(), None);
        }
    }
}

#[test]
fn many_at_a_time_are_handed_back_as_one_by_one() {
    check_handing_back::<Split>();
    check_handing_back::<Packed>();
}

#[test]
fn no_more_are_found_than_are_available() {
    fn check<F: Format>() {
        let mut rig = RigOf::<F>::starting_at(32, ALL, F::near_wrap(32));
        let mut chains = ShortChains::default();
        for number in 0..100_u32 {
            let count = number as usize % 14;
            for _ in 0..count {
                let chain = [Buffer::writable(TARGET, 10)];
                rig.driver.add(&chain, Form::Direct).unwrap();
            }
            rig.driver.publish();
            rig.queue.begin(&rig.memory).unwrap();
            let mut found = 0;
            loop {
                let now = rig.queue.peek_short(&rig.memory, 32, &mut chains);
                if now == 0 {
                    break;
                }
                found += now;
                assert!(rig
                    .queue
                    .complete_short(&rig.memory, &mut chains, now, false));
            }
            assert_eq!(found, count);
            assert!(rig.queue.peek(&rig.memory).unwrap().is_none());
            rig.queue.publish(&rig.memory).unwrap();
            while rig.driver.poll_used().is_some() {}
        }
    }
    check::<Split>();
    check::<Packed>();
}
