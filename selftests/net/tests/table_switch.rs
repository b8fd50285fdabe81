// SPDX-License-Identifier: GPL-2.0

//! A switch against a model of it: which ports get which frame.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_net::{
    forward::{
        forward,
        sender,
        Forward, //
    },
    frame::Headers,
    table::{
        Bucket,
        Port,
        Table, //
    },
};
use std::collections::{
    BTreeMap,
    BTreeSet, //
};

/// Most ports of the switch.
const PORTS: u16 = 5;

/// What the switch is made of, beside the ports that there are.
struct Switch {
    table: Table<Vec<Bucket>>,
    ports: BTreeSet<Port>,
}

impl Switch {
    /// The ports that a frame from `from` goes to.
    fn carry(&mut self, headers: &Headers, from: Port, now: u64) -> BTreeSet<Port> {
        if !self.table.knows(sender(headers), from, now, 0) {
            self.table.learn(sender(headers), from, now);
        }
        let to = forward(&self.table, headers, from);
        let reached = |port: &Port| to.reaches(*port, from);
        self.ports.iter().copied().filter(reached).collect()
    }
}

/// A station has a cable to one port, and may be put elsewhere.
#[derive(Clone, Debug)]
enum Step {
    /// A frame of a station to an address, in a VLAN or in none.
    Send(u8, [u8; 6], Option<u16>),
    /// The cable of a station goes to this port.
    Plug(u8, u16),
    /// A port goes, and another one comes with its number.
    Renew(u16),
    /// What was not seen for so long is forgotten.
    AgeOut(u64),
}

/// The address of a station.
fn mac(station: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, station]
}

const STATIONS: u8 = 8;

fn destination() -> impl Strategy<Value = [u8; 6]> {
    prop_oneof![
        // Some that never send.
        8 => (0..STATIONS + 2).prop_map(mac),
        1 => Just([0xff; 6]),
        1 => Just([0x33, 0x33, 0, 0, 0, 1]),
        1 => Just([0; 6]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let vlan = prop_oneof![Just(None), Just(Some(0)), Just(Some(1)), Just(Some(2))];
    prop_oneof![
        20 => (0..STATIONS, destination(), vlan).prop_map(|(s, d, v)| Step::Send(s, d, v)),
        2 => (0..STATIONS, 0..PORTS).prop_map(|(s, p)| Step::Plug(s, p)),
        1 => (0..PORTS).prop_map(Step::Renew),
        1 => (1..40_u64).prop_map(Step::AgeOut),
    ]
}

/// The headers of a frame that is nothing but these.
fn headers(source: [u8; 6], destination: [u8; 6], vlan: Option<u16>) -> Headers {
    let mut frame = [destination, source].concat();
    if let Some(vlan) = vlan {
        frame.extend([0x81, 0]);
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend([0x88, 0xb5, 0, 0]);
    Headers::parse(&frame).expect("a whole frame")
}

proptest! {
    #[test]
    fn frames_go_where_the_model_has_them(
        steps in vec(step(), 1..200),
        seed in any::<[u64; 2]>(),
    ) {
        let mut ports: Vec<_> = (0..PORTS)
            .map(|number| Port { number, generation: 0 })
            .collect();
        let mut switch = Switch {
            // More room than there are stations.
            table: Table::new(vec![Bucket::EMPTY; 64], seed),
            ports: ports.iter().copied().collect(),
        };
        let mut cables: Vec<_> = (0..STATIONS).map(|station| u16::from(station) % PORTS).collect();
        // For each VLAN and address, where it sent from last, and when.
        let mut seen = BTreeMap::new();

        for (now, step) in steps.into_iter().enumerate() {
            let now = now as u64;
            match step {
                Step::Send(station, to, vlan) => {
                    let from = ports[usize::from(cables[usize::from(station)])];
                    let headers = headers(mac(station), to, vlan);
                    let got = switch.carry(&headers, from, now);

                    let vlan = vlan.unwrap_or(0);
                    seen.insert((vlan, mac(station)), (from, now));
                    let all = ports.iter().copied().filter(|port| *port != from);
                    let expected: BTreeSet<_> = match seen.get(&(vlan, to)) {
                        Some((port, _)) => all.filter(|one| one == port).collect(),
                        None => all.collect(),
                    };
                    prop_assert!(!got.contains(&from));
                    prop_assert_eq!(got, expected);
                }
                Step::Plug(station, port) => cables[usize::from(station)] = port,
                Step::Renew(number) => {
                    let port = &mut ports[usize::from(number)];
                    let old = *port;
                    port.generation += 1;
                    switch.ports.remove(&old);
                    switch.ports.insert(*port);
                    let before = seen.len();
                    seen.retain(|_, (port, _)| *port != old);
                    prop_assert_eq!(switch.table.forget_port(old), before - seen.len());
                }
                Step::AgeOut(age) => {
                    let since = now.saturating_sub(age);
                    seen.retain(|_, (_, at)| *at >= since);
                    switch.table.age_out(since);
                }
            }
            prop_assert_eq!(switch.table.len(), seen.len());
        }
    }

    #[test]
    fn no_frame_comes_back(
        bytes in vec(any::<u8>(), 14..40),
        known in prop::option::of(0..3_u16),
        from in 0..3_u16,
    ) {
        let port = |number| Port { number, generation: 7 };
        let mut table = Table::new(vec![Bucket::EMPTY; 4], [5, 6]);
        let headers = Headers::parse(&bytes).expect("a whole frame");
        if let Some(known) = known {
            // As if the receiver had sent something.
            let back = Headers { source: headers.destination, ..headers };
            table.learn(sender(&back), port(known), 0);
        }
        let to = forward(&table, &headers, port(from));
        prop_assert!(!to.reaches(port(from), port(from)));
        let reached = (0..3).filter(|one| to.reaches(port(*one), port(from))).count();
        match to {
            Forward::Nowhere => prop_assert_eq!(reached, 0),
            Forward::To(one) => {
                prop_assert_eq!(known, Some(one.number));
                prop_assert_eq!(reached, 1);
            }
            Forward::Flood => prop_assert_eq!(reached, 2),
        }
    }
}

#[test]
fn frames_of_nobody_go_nowhere() {
    let table = Table::new(vec![Bucket::EMPTY; 4], [5, 6]);
    let from = Port {
        number: 0,
        generation: 0,
    };
    for source in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        let headers = headers(source, [0xff; 6], None);
        assert_eq!(forward(&table, &headers, from), Forward::Nowhere);
    }
    let headers = headers([2, 0, 0, 0, 0, 1], [0xff; 6], None);
    assert_eq!(forward(&table, &headers, from), Forward::Flood);
}

#[test]
fn a_frame_for_a_port_that_is_gone_reaches_none_that_came_after() {
    let (old, new) = (0, 1);
    let port = |number, generation| Port { number, generation };
    let mut table = Table::new(vec![Bucket::EMPTY; 4], [5, 6]);
    let answer = headers([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1], None);
    table.learn(sender(&answer), port(1, old), 0);
    let frame = headers([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], None);
    let to = forward(&table, &frame, port(0, old));
    assert_eq!(to, Forward::To(port(1, old)));
    assert!(!to.reaches(port(1, new), port(0, old)));
}
