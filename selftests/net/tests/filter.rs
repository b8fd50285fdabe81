// SPDX-License-Identifier: GPL-2.0

//! Which frames a station takes.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_net::filter::{
    Filter,
    Modes,
    MAX_ADDRESSES, //
};
use std::collections::BTreeSet;

type Address = [u8; 6];

const OWN: Address = [2, 0, 0, 0, 0, 1];
const OTHER: Address = [2, 0, 0, 0, 0, 2];
const GROUP: Address = [1, 0, 0x5e, 0, 0, 1];
const OTHER_GROUP: Address = [0x33, 0x33, 0, 0, 0, 1];
const EVERYONE: Address = [0xff; 6];

/// Which of [`OWN`], [`OTHER`], [`GROUP`] and [`EVERYONE`] are taken.
fn takes(filter: &Filter) -> [bool; 4] {
    [OWN, OTHER, GROUP, EVERYONE].map(|destination| filter.takes(OWN, destination, None))
}

/// A filter that takes these addresses, and these modes.
fn filter(unicast: &[Address], multicast: &[Address], modes: &[Modes]) -> Filter {
    let mut filter = Filter::new(false);
    filter.set_addresses(unicast.iter().copied(), multicast.iter().copied());
    for mode in modes {
        filter.set_mode(*mode, true);
    }
    filter
}

#[test]
fn a_new_one_takes_its_own_and_all_groups() {
    let filter = Filter::default();
    assert_eq!(takes(&filter), [true, false, true, true]);
    assert_eq!(filter.unicast(), Some(&[][..]));
    assert_eq!(filter.multicast(), None);
    for vlan in [0, 1, 4095] {
        assert!(filter.takes(OWN, OWN, Some(vlan)));
    }
}

#[test]
fn addresses_are_taken_as_set() {
    let mut filter = filter(&[], &[], &[]);
    assert_eq!(takes(&filter), [true, false, false, true]);
    filter.set_addresses([OTHER].into_iter(), [GROUP].into_iter());
    assert_eq!(takes(&filter), [true, true, true, true]);
    assert!(!filter.takes(OWN, OTHER_GROUP, None));
    // The own address is who asks's.
    assert!(filter.takes(OTHER, OTHER, None));
    assert!(!filter.takes(OTHER, OWN, None));
    filter.set_addresses([].into_iter(), [OTHER_GROUP].into_iter());
    assert_eq!(takes(&filter), [true, false, false, true]);
}

#[test]
fn modes_take_more_or_less() {
    type M = Modes;
    for (modes, expected) in [
        (&[M::PROMISC][..], [true, true, true, true]),
        (&[M::ALLMULTI], [true, false, true, true]),
        (&[M::ALLUNI], [true, true, false, true]),
        (&[M::NOUNI], [false, false, false, true]),
        (&[M::NOBCAST], [true, false, false, false]),
        // What is suppressed goes before what is all taken, and promiscuous before both.
        (&[M::ALLMULTI, M::NOMULTI], [true, false, false, true]),
        (&[M::ALLUNI, M::NOUNI], [false, false, false, true]),
        (&[M::ALLMULTI, M::NOBCAST], [true, false, true, false]),
        (
            &[M::PROMISC, M::NOMULTI, M::NOUNI, M::NOBCAST],
            [true, true, true, true],
        ),
        (&[M::NOMULTI, M::NOUNI, M::NOBCAST], [false; 4]),
    ] {
        assert_eq!(takes(&filter(&[], &[], modes)), expected, "{modes:?}");
    }
    // Addresses that were set are suppressed too.
    let filter = filter(&[OTHER], &[GROUP], &[M::NOMULTI, M::NOUNI]);
    assert_eq!(takes(&filter), [false, false, false, true]);
}

#[test]
fn modes_can_be_switched_off() {
    let mut filter = filter(&[], &[], &[Modes::PROMISC, Modes::ALLUNI]);
    filter.set_mode(Modes::PROMISC, false);
    assert_eq!(takes(&filter), [true, true, false, true]);
    filter.set_mode(Modes::ALLUNI, false);
    assert_eq!(filter.modes(), Modes::default());
    assert_eq!(takes(&filter), [true, false, false, true]);
}

/// So many addresses that begin with `first`.
fn many(first: u8, count: usize) -> impl Iterator<Item = Address> {
    // Backwards: a driver's order is its own.
    (0..count)
        .rev()
        .map(move |index| [first, 0, 0, 0, (index >> 8) as u8, index as u8])
}

#[test]
fn more_addresses_than_there_is_room_for_are_all() {
    let mut filter = Filter::default();
    filter.set_addresses(many(4, MAX_ADDRESSES), many(5, MAX_ADDRESSES));
    assert_eq!(filter.unicast().map(<[_]>::len), Some(MAX_ADDRESSES));
    for address in many(4, MAX_ADDRESSES).chain(many(5, MAX_ADDRESSES)) {
        assert!(filter.takes(OWN, address, None), "{address:?}");
    }
    assert_eq!(takes(&filter), [true, false, false, true]);

    filter.set_addresses(many(4, MAX_ADDRESSES + 1), many(5, 1));
    assert_eq!(takes(&filter), [true, true, false, true]);
    assert_eq!(
        (filter.unicast(), filter.multicast().map(<[_]>::len)),
        (None, Some(1))
    );
    filter.set_addresses(many(4, 1), many(5, MAX_ADDRESSES + 1));
    assert_eq!(takes(&filter), [true, false, true, true]);
    // And fewer are those again.
    filter.set_addresses(many(4, 1), many(5, 1));
    assert_eq!(takes(&filter), [true, false, false, true]);
}

#[test]
fn vlans_are_taken_as_added() {
    let mut filter = Filter::new(true);
    let takes = |filter: &Filter, vlan| filter.takes(OWN, EVERYONE, vlan);
    // What has no tag, or only a priority, is in no VLAN.
    assert!(takes(&filter, None) && takes(&filter, Some(0)));
    for vlan in [1, 63, 64, 4095] {
        assert!(!takes(&filter, Some(vlan)));
        filter.set_vlan(vlan, true);
        assert!(takes(&filter, Some(vlan)));
    }
    assert_eq!(filter.vlans().collect::<Vec<_>>(), [1, 63, 64, 4095]);
    filter.set_vlan(64, false);
    assert!(!takes(&filter, Some(64)) && takes(&filter, Some(63)));
    // The address matters too.
    assert!(!filter.takes(OWN, OTHER, Some(63)));
    // There is no such VLAN.
    filter.set_vlan(4096, true);
    filter.set_vlan(u16::MAX, true);
    assert_eq!(filter.vlans().collect::<Vec<_>>(), [1, 63, 4095]);
    assert!(!takes(&filter, Some(4096)));
    filter.set_mode(Modes::PROMISC, true);
    assert!(takes(&filter, Some(64)) && filter.takes(OWN, OTHER, Some(64)));
}

#[test]
fn it_is_small() {
    assert!(size_of::<Filter>() <= 1536);
}

/// Addresses that are often the same.
fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        4 => (0..4_u8, 0..20_u8).prop_map(|(first, last)| [first, 0, 0, 0, 0, last]),
        1 => Just(EVERYONE),
        1 => any::<Address>(),
    ]
}

proptest! {
    #[test]
    fn it_does_what_sets_would(
        unicast in vec(address(), 0..80),
        multicast in vec(address(), 0..80),
        vlans in vec(0..8_u16, 0..6),
        filters_vlans in any::<bool>(),
        bits in 0..64_u8,
        frames in vec((address(), prop::option::of(0..10_u16)), 1..40),
    ) {
        let all = [
            Modes::PROMISC, Modes::ALLMULTI, Modes::ALLUNI,
            Modes::NOMULTI, Modes::NOUNI, Modes::NOBCAST,
        ];
        let on = |mode| all.iter().position(|m| *m == mode).is_some_and(|at| (bits >> at) & 1 != 0);
        let mut filter = Filter::new(filters_vlans);
        for mode in all {
            filter.set_mode(mode, on(mode));
        }
        filter.set_addresses(unicast.iter().copied(), multicast.iter().copied());
        for vlan in &vlans {
            filter.set_vlan(*vlan, true);
        }
        let set = |addresses: &[Address]| {
            (addresses.len() <= MAX_ADDRESSES)
                .then(|| addresses.iter().copied().collect::<BTreeSet<_>>())
        };
        let (unicast, multicast) = (set(&unicast), set(&multicast));
        let among = |set: &Option<BTreeSet<Address>>, address: &Address| {
            set.as_ref().is_none_or(|set| set.contains(address))
        };
        for (to, vlan) in frames {
            let wanted = if to == EVERYONE {
                !on(Modes::NOBCAST)
            } else if to[0] & 1 != 0 {
                !on(Modes::NOMULTI) && (on(Modes::ALLMULTI) || among(&multicast, &to))
            } else {
                !on(Modes::NOUNI) && (to == OWN || on(Modes::ALLUNI) || among(&unicast, &to))
            };
            let tag = !filters_vlans || matches!(vlan, None | Some(0))
                || vlan.is_some_and(|vlan| vlans.contains(&vlan));
            prop_assert_eq!(
                filter.takes(OWN, to, vlan),
                on(Modes::PROMISC) || (wanted && tag),
                "{:?} in {:?}", to, vlan
            );
        }
    }
}
