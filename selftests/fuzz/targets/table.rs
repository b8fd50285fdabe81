// SPDX-License-Identifier: GPL-2.0

//! The table of a switch against a map, and where frames go.

use crate::choices::Choices;
use rvdpa_net::{
    forward::{
        forward,
        sender,
        Forward, //
    },
    frame::Headers,
    table::{
        Bucket,
        Entry,
        Learned,
        Port,
        Station,
        Table,
        BUCKET_LEN, //
    },
};
use std::collections::BTreeMap;

type Model = BTreeMap<Station, Entry>;

fn station(c: &Choices<'_>) -> Station {
    let [a, b] = c.array();
    Station {
        vlan: u16::from(a >> 6),
        mac: [a & 3, 0, 0, 0, 0, b],
    }
}

fn port(c: &Choices<'_>) -> Port {
    let bits = c.u8();
    Port {
        number: u16::from(bits & 7),
        generation: u32::from(bits >> 7),
    }
}

/// Frames, and what else happens to a switch.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    let buckets = usize::from(c.up_to(8));
    let seed = [c.u8().into(), 1];
    let mut table = Table::new(vec![Bucket::EMPTY; buckets], seed);
    assert_eq!(table.capacity(), buckets * BUCKET_LEN);
    let mut model = Model::new();
    let mut now = 0;
    while !c.is_empty() {
        match c.up_to(9) {
            0..=3 => {
                let (station, port) = (station(&c), port(&c));
                now += u64::from(c.u8() & 1);
                learn(&mut table, &mut model, station, port, now);
            }
            4 => {
                let station = station(&c);
                assert_eq!(table.forget(station), model.remove(&station));
            }
            5 => {
                let gone = port(&c);
                let before = model.len();
                model.retain(|_, entry| entry.port != gone);
                assert_eq!(table.forget_port(gone), before - model.len());
            }
            6 => {
                let since = now.saturating_sub(c.u8().into());
                let before = model.len();
                model.retain(|_, entry| entry.seen >= since);
                assert_eq!(table.age_out(since), before - model.len());
            }
            7 if c.u8() == 0 => {
                table.clear();
                model.clear();
            }
            8 => {
                let (station, port) = (station(&c), port(&c));
                let within = u64::from(c.u8());
                let known = model.get(&station).is_some_and(|entry| {
                    entry.port == port && now.saturating_sub(entry.seen) <= within
                });
                assert_eq!(table.knows(station, port, now, within), known);
            }
            _ => frame(&c, &table, &model),
        }
        assert_eq!(table.len(), model.len());
        assert_eq!(table.is_empty(), model.is_empty());
    }
    let all: Model = table.iter().map(|entry| (entry.station, entry)).collect();
    assert_eq!(all, model);
    let by_bucket: usize = (0..table.buckets())
        .map(|at| table.bucket(at).count())
        .sum();
    assert_eq!(by_bucket, model.len());
}

fn learn(table: &mut Table<Vec<Bucket>>, model: &mut Model, at: Station, port: Port, now: u64) {
    let entry = Entry {
        station: at,
        port,
        seen: now,
    };
    let before = model.get(&at).copied();
    match table.learn(at, port, now) {
        Learned::Ignored => {
            assert!(!at.is_valid() || table.capacity() == 0);
            assert_eq!(before, None);
            return;
        }
        Learned::New => assert_eq!(before, None),
        Learned::Replaced(other) => {
            assert_eq!(before, None);
            assert!(model.len() >= BUCKET_LEN, "there was room");
            assert_eq!(model.remove(&other.station), Some(other));
        }
        Learned::Moved(from) => {
            assert_ne!(from, port);
            assert_eq!(before.map(|entry| entry.port), Some(from));
        }
        Learned::Refreshed => assert_eq!(before.map(|entry| entry.port), Some(port)),
    }
    model.insert(at, entry);
    assert_eq!(table.lookup(at), Some(entry));
}

/// Where a frame goes.
fn frame(c: &Choices<'_>, table: &Table<Vec<Bucket>>, model: &Model) {
    let (source, destination, from) = (station(c), station(c), port(c));
    let headers = Headers {
        destination: destination.mac,
        source: source.mac,
        vlan: Some(source.vlan),
        ethertype: 0,
        network: None,
        transport: None,
    };
    assert_eq!(sender(&headers), source);
    let to = Station {
        vlan: source.vlan,
        ..destination
    };
    let wanted = match model.get(&to) {
        _ if !source.is_valid() => Forward::Nowhere,
        _ if destination.mac[0] & 1 != 0 => Forward::Flood,
        Some(entry) if entry.port == from => Forward::Nowhere,
        Some(entry) => Forward::To(entry.port),
        None => Forward::Flood,
    };
    let found = forward(table, &headers, from);
    assert_eq!(found, wanted);
    assert!(!found.reaches(from, from), "back to where it came from");
}
