// SPDX-License-Identifier: GPL-2.0

//! Which frames a station takes, against sets.

use crate::choices::Choices;
use rvdpa_net::filter::{
    Filter,
    Modes,
    MAX_ADDRESSES,
    VLANS, //
};
use std::collections::BTreeSet;

/// Most steps per input.
const STEPS: usize = 60;

const MODES: [Modes; 6] = [
    Modes::PROMISC,
    Modes::ALLMULTI,
    Modes::ALLUNI,
    Modes::NOMULTI,
    Modes::NOUNI,
    Modes::NOBCAST,
];

/// An address, of which there are not too many.
fn address(c: &Choices<'_>) -> [u8; 6] {
    match c.u8() {
        0xff => [0xff; 6],
        first => [first, 0, 0, 0, 0, c.u8()],
    }
}

/// Addresses of a kind: those that are listed, or all.
#[derive(Default)]
struct Known {
    all: bool,
    some: BTreeSet<[u8; 6]>,
}

impl Known {
    fn set(&mut self, addresses: &[[u8; 6]]) {
        self.all = addresses.len() > MAX_ADDRESSES;
        self.some = addresses.iter().copied().collect();
    }

    fn has(&self, address: &[u8; 6]) -> bool {
        self.all || self.some.contains(address)
    }

    fn check(&self, list: Option<&[[u8; 6]]>) {
        assert_eq!(list.is_none(), self.all);
        let set = list.map(|list| list.iter().copied().collect());
        assert!(set.is_none_or(|set: BTreeSet<_>| set == self.some));
        assert!(list.is_none_or(|list| list.is_sorted()));
    }
}

/// Any changes of a filter, and frames in between.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    let filters_vlans = c.flag();
    let mut filter = Filter::new(filters_vlans);
    let mut modes = [false; 6];
    let mut unicast = Known::default();
    let mut multicast = Known {
        all: true,
        ..Known::default()
    };
    let mut vlans = BTreeSet::new();
    for _ in 0..STEPS {
        if c.is_empty() {
            return;
        }
        match c.up_to(4) {
            0 => {
                let (which, on) = (usize::from(c.up_to(5)), c.flag());
                modes[which] = on;
                filter.set_mode(MODES[which], on);
            }
            1 => {
                let list =
                    |count: u8| -> Vec<[u8; 6]> { (0..count).map(|_| address(&c)).collect() };
                // Seldom more than there is room for.
                let count = || match c.u8() {
                    0xf0.. => c.u8() & 0x7f,
                    few => few & 7,
                };
                let (first, second) = (list(count()), list(count()));
                filter.set_addresses(first.iter().copied(), second.iter().copied());
                unicast.set(&first);
                multicast.set(&second);
                unicast.check(filter.unicast());
                multicast.check(filter.multicast());
            }
            2 => {
                let (id, on) = (c.u16(), c.flag());
                filter.set_vlan(id, on);
                if id < VLANS && on {
                    vlans.insert(id);
                } else {
                    vlans.remove(&id);
                }
                assert_eq!(filter.has_vlan(id), vlans.contains(&id));
            }
            3 => {
                assert!(filter.vlans().eq(vlans.iter().copied()));
                assert_eq!(filter.filters_vlans(), filters_vlans);
                for (mode, on) in MODES.into_iter().zip(modes) {
                    assert_eq!(filter.modes().intersects(mode), on);
                }
            }
            _ => {
                let (own, destination) = (address(&c), address(&c));
                let vlan = c.flag().then(|| c.u16() & 0xfff);
                let [promisc, allmulti, alluni, nomulti, nouni, nobcast] = modes;
                let wanted = if destination == [0xff; 6] {
                    !nobcast
                } else if destination[0] & 1 != 0 {
                    !nomulti && (allmulti || multicast.has(&destination))
                } else {
                    !nouni && (alluni || destination == own || unicast.has(&destination))
                };
                let tag = !filters_vlans || vlan.is_none_or(|id| id == 0 || vlans.contains(&id));
                assert_eq!(
                    filter.takes(own, destination, vlan),
                    promisc || (wanted && tag)
                );
            }
        }
    }
}
