// SPDX-License-Identifier: GPL-2.0

//! The forwarding table of a switch against a model of it.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_net::table::{
    Bucket,
    Entry,
    Learned,
    Port,
    Station,
    Table,
    BUCKET_LEN, //
};
use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    hash::{
        DefaultHasher,
        Hasher, //
    },
};

#[path = "../../../rust/net/table/hash.rs"]
mod hash;

fn table(buckets: usize, seed: [u64; 2]) -> Table<Vec<Bucket>> {
    Table::new(vec![Bucket::EMPTY; buckets], seed)
}

const fn port(number: u16) -> Port {
    Port {
        number,
        generation: 1,
    }
}

const A: Port = port(0);
const B: Port = port(1);

/// The station with this number.
fn station(number: u32) -> Station {
    let [a, b, c, d] = number.to_be_bytes();
    Station::new(None, [2, 0, a, b, c, d])
}

#[test]
fn the_hash_is_the_one_of_the_name() {
    // The standard library's is that one with a key of zeroes.
    for value in [0, 1, 0x0001_0200_0000_0007, u64::MAX] {
        let mut theirs = DefaultHasher::new();
        theirs.write(&value.to_le_bytes());
        assert_eq!(hash::hash([0, 0], value), theirs.finish());
        assert_ne!(hash::hash([1, 0], value), theirs.finish());
        assert_ne!(hash::hash([0, 1], value), theirs.finish());
    }
}

#[test]
fn a_station_is_learned_moves_and_is_seen_again() {
    let mut table = table(4, [1, 2]);
    let it = station(7);
    assert_eq!(table.lookup(it), None);
    assert_eq!(table.learn(it, A, 10), Learned::New);
    assert_eq!(table.learn(it, A, 12), Learned::Refreshed);
    assert_eq!(table.learn(it, B, 15), Learned::Moved(A));
    let entry = Entry {
        station: it,
        port: B,
        seen: 15,
    };
    assert_eq!(table.lookup(it), Some(entry));
    assert_eq!(table.iter().collect::<Vec<_>>(), [entry]);
    assert_eq!(table.len(), 1);
    assert_eq!(table.forget(it), Some(entry));
    assert_eq!(table.forget(it), None);
    assert!(table.is_empty());
}

#[test]
fn a_station_is_known_for_a_while() {
    let mut table = table(4, [1, 2]);
    let it = station(7);
    assert!(!table.knows(it, A, 0, u64::MAX));
    table.learn(it, A, 100);
    assert!(table.knows(it, A, 110, 10));
    assert!(!table.knows(it, A, 111, 10));
    assert!(!table.knows(it, B, 100, 10));
    // Times that two processors took may be out of order.
    assert!(table.knows(it, A, 99, 0));
}

#[test]
fn vlans_are_apart() {
    let mut table = table(16, [1, 2]);
    let mac = [2, 0, 0, 0, 0, 1];
    assert_eq!(Station::new(None, mac), Station::new(Some(0), mac));
    for (vlan, port) in [(None, A), (Some(1), B), (Some(4095), A)] {
        assert_eq!(table.learn(Station::new(vlan, mac), port, 0), Learned::New);
    }
    let found = |vlan| table.lookup(Station::new(vlan, mac)).map(|e| e.port);
    assert_eq!(found(Some(0)), Some(A));
    assert_eq!(found(Some(1)), Some(B));
    assert_eq!(found(Some(4095)), Some(A));
    assert_eq!(found(Some(2)), None);
}

#[test]
fn groups_and_zero_are_not_learned() {
    let mut table = table(4, [1, 2]);
    for mac in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        for vlan in [None, Some(5)] {
            let it = Station::new(vlan, mac);
            assert_eq!(table.learn(it, A, 0), Learned::Ignored);
            assert_eq!(table.lookup(it), None);
            assert_eq!(table.forget(it), None);
        }
    }
    assert!(table.is_empty());
}

#[test]
fn a_table_without_room_learns_nothing() {
    let mut table = table(0, [1, 2]);
    assert_eq!(table.learn(station(1), A, 0), Learned::Ignored);
    assert_eq!(table.lookup(station(1)), None);
    assert_eq!((table.len(), table.capacity()), (0, 0));
    assert_eq!(table.forget_port(A) + table.age_out(u64::MAX), 0);
}

#[test]
fn what_was_in_the_room_before_is_gone() {
    let mut before = table(1, [1, 2]);
    before.learn(station(1), A, 0);
    before.clear();
    assert!(before.is_empty());
    assert_eq!(before.learn(station(1), A, 0), Learned::New);
}

#[test]
fn the_generations_of_a_port_are_apart() {
    let mut table = table(16, [1, 2]);
    let again = Port { generation: 2, ..A };
    table.learn(station(1), A, 0);
    table.learn(station(2), again, 0);
    assert_eq!(table.learn(station(3), A, 0), Learned::New);
    assert_eq!(table.learn(station(3), again, 0), Learned::Moved(A));
    assert_eq!(table.forget_port(A), 1);
    assert_eq!(table.lookup(station(1)), None);
    assert_eq!(table.lookup(station(2)).map(|e| e.port), Some(again));
    assert_eq!(table.len(), 2);
}

#[test]
fn old_entries_go() {
    let mut table = table(16, [1, 2]);
    for number in 0..10 {
        table.learn(station(number), A, number.into());
    }
    table.learn(station(0), A, 10);
    assert_eq!(table.age_out(5), 4);
    let left: BTreeSet<_> = table.iter().map(|e| e.station).collect();
    assert_eq!(left, [0, 5, 6, 7, 8, 9].map(station).into());
}

#[test]
fn in_a_full_bucket_the_port_with_most_entries_goes_short() {
    // One bucket, so that there is no choice of another.
    let mut table = table(1, [1, 2]);
    for (number, port, now) in [(0, A, 1), (1, B, 2), (2, B, 3), (3, A, 4)] {
        assert_eq!(table.learn(station(number), port, now), Learned::New);
    }
    let entry = |number, port, seen| Entry {
        station: station(number),
        port,
        seen,
    };
    let replaced = |number, port, seen| Learned::Replaced(entry(number, port, seen));
    assert_eq!(table.learn(station(4), B, 5), replaced(1, B, 2));
    assert_eq!(table.learn(station(5), B, 6), replaced(2, B, 3));
    assert_eq!(table.learn(station(6), A, 7), replaced(0, A, 1));
    // Now both have two: a third port takes the place of the oldest of all.
    assert_eq!(table.learn(station(7), port(2), 8), replaced(3, A, 4));
    // There are one, two and one; whoever comes takes from the two.
    assert_eq!(table.learn(station(8), port(3), 9), replaced(4, B, 5));
    assert_eq!(table.len(), BUCKET_LEN);
}

#[test]
fn a_flood_of_addresses_replaces_its_own() {
    let mut table = table(256, [0x0123_4567_89ab_cdef, 42]);
    let stations = 0..256;
    for number in stations.clone() {
        assert_eq!(table.learn(station(number), A, 0), Learned::New);
    }
    for number in 0..20_000 {
        table.learn(station(0x0100_0000 + number), B, u64::from(number));
    }
    // A quarter of the table is at one port, so that in few buckets it has more than half.
    let left = stations.filter(|number| table.lookup(station(*number)).is_some());
    let left = left.count();
    assert!(left > 240, "{left}");
    // What comes new at that port mostly takes the place of what came with the flood.
    let replaced = (1000..1100)
        .map(|number| table.learn(station(number), A, 20_000))
        .filter(|done| matches!(done, Learned::Replaced(Entry { port: B, .. })))
        .count();
    assert!(replaced > 80, "{replaced}");
}

#[test]
fn most_of_the_room_can_be_used() {
    let mut table = table(256, [3, 4]);
    let capacity = table.capacity();
    assert_eq!(capacity, 1024);
    let fits = (0..capacity as u32)
        .filter(|number| table.learn(station(*number), A, 0) == Learned::New)
        .count();
    assert_eq!(table.len(), fits);
    assert!(fits > capacity * 9 / 10, "{fits}");
}

/// One thing that a switch does with its table.
#[derive(Clone, Debug)]
enum Step {
    Learn(u32, u16, u32),
    Forget(u32),
    ForgetPort(u16, u32),
    AgeOut(u64),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..40_u32, 0..4_u16, 0..2_u32).prop_map(|(s, p, g)| Step::Learn(s, p, g)),
        2 => (0..40_u32).prop_map(Step::Forget),
        1 => (0..4_u16, 0..2_u32).prop_map(|(p, g)| Step::ForgetPort(p, g)),
        1 => (0..30_u64).prop_map(Step::AgeOut),
        1 => Just(Step::Clear),
    ]
}

/// What the table should know: where each station was seen last, and when.
type Model = BTreeMap<Station, (Port, u64)>;

/// Forgets what `unwanted` says yes to. Returns how many there were.
fn forget_if(model: &mut Model, unwanted: impl Fn(Port, u64) -> bool) -> usize {
    let before = model.len();
    model.retain(|_, (port, seen)| !unwanted(*port, *seen));
    before - model.len()
}

/// Learns in the model what the table has learned.
fn learn(model: &mut Model, it: Station, port: Port, now: u64, done: Learned) {
    let before = model.insert(it, (port, now)).map(|(port, _)| port);
    match done {
        Learned::Ignored => panic!("{it:?} ignored"),
        Learned::New => assert_eq!(before, None),
        Learned::Refreshed => assert_eq!(before, Some(port)),
        Learned::Moved(from) => assert!(from != port && before == Some(from)),
        Learned::Replaced(entry) => {
            assert_eq!(before, None);
            assert_ne!(entry.station, it);
            assert_eq!(model.remove(&entry.station), Some((entry.port, entry.seen)));
        }
    }
}

proptest! {
    #[test]
    fn it_knows_what_the_model_knows(
        buckets in 1..8_usize,
        seed in any::<[u64; 2]>(),
        steps in vec(step(), 1..200),
    ) {
        let mut table = table(buckets, seed);
        let mut model = Model::new();
        for (now, step) in steps.into_iter().enumerate() {
            let now = now as u64;
            match step {
                Step::Learn(number, port, generation) => {
                    let (it, port) = (station(number), Port { number: port, generation });
                    let done = table.learn(it, port, now);
                    learn(&mut model, it, port, now, done);
                    prop_assert!(table.knows(it, port, now, 0));
                }
                Step::Forget(number) => {
                    let it = station(number);
                    let known = table.forget(it).map(|entry| (entry.port, entry.seen));
                    prop_assert_eq!(known, model.remove(&it));
                }
                Step::ForgetPort(number, generation) => {
                    let gone = Port { number, generation };
                    let count = forget_if(&mut model, |port, _| port == gone);
                    prop_assert_eq!(table.forget_port(gone), count);
                }
                Step::AgeOut(age) => {
                    let since = now.saturating_sub(age);
                    let count = forget_if(&mut model, |_, seen| seen < since);
                    prop_assert_eq!(table.age_out(since), count);
                }
                Step::Clear => {
                    table.clear();
                    model.clear();
                }
            }
            let known: Model = table.iter().map(|e| (e.station, (e.port, e.seen))).collect();
            prop_assert_eq!(table.iter().count(), known.len());
            prop_assert_eq!(&known, &model);
            prop_assert_eq!(table.len(), model.len());
            prop_assert!(table.len() <= table.capacity());
            prop_assert_eq!(table.buckets(), buckets);
            let pieces: Vec<Vec<_>> = (0..buckets).map(|at| table.bucket(at).collect()).collect();
            prop_assert!(pieces.iter().all(|piece| piece.len() <= BUCKET_LEN));
            prop_assert_eq!(pieces.concat(), table.iter().collect::<Vec<_>>());
            prop_assert_eq!(table.bucket(buckets).count(), 0);
            for number in 0..40 {
                let it = station(number);
                let found = table.lookup(it).map(|e| (e.port, e.seen));
                prop_assert_eq!(found, model.get(&it).copied());
            }
        }
    }

    #[test]
    fn no_address_does_harm(
        frames in vec((any::<[u8; 6]>(), any::<Option<u16>>(), any::<u16>(), any::<u64>()), 1..60),
        buckets in 0..3_usize,
    ) {
        let mut table = table(buckets, [0, 0]);
        for (mac, vlan, number, now) in frames {
            let it = Station::new(vlan, mac);
            let learned = table.learn(it, port(number), now);
            let known = buckets > 0 && it.is_valid();
            prop_assert_eq!(learned != Learned::Ignored, known);
            prop_assert_eq!(table.lookup(it).is_some(), known);
        }
    }
}
