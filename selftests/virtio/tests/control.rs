// SPDX-License-Identifier: GPL-2.0

//! Commands of the control queue: what the driver means, or what is wrong.

use proptest::{
    collection::vec,
    prelude::*, //
};
use rvdpa_virtio::{
    features::Features,
    net::{
        coalescing::Coalescing,
        control::{
            Command,
            CommandError,
            Limits,
            RxMode,
            MAX_DATA_LEN, //
        },
        offload::GuestOffloadsError,
        rss::{
            hash_fields,
            Indirection, //
        },
        stats::StatsTypes,
        MacAddress, //
    },
};

/// All features that commands need.
const FEATURES: Features = Features::NET_CTRL_VQ
    .union(Features::NET_CTRL_RX)
    .union(Features::NET_CTRL_RX_EXTRA)
    .union(Features::NET_CTRL_VLAN)
    .union(Features::NET_CTRL_MAC_ADDR)
    .union(Features::NET_GUEST_ANNOUNCE)
    .union(Features::NET_MQ)
    .union(Features::NET_RSS)
    .union(Features::NET_HASH_REPORT)
    .union(Features::NET_CTRL_GUEST_OFFLOADS)
    .union(Features::NET_GUEST_CSUM)
    .union(Features::NET_GUEST_TSO4)
    .union(Features::NET_NOTF_COAL)
    .union(Features::NET_VQ_NOTF_COAL)
    .union(Features::NET_DEVICE_STATS);

fn limits() -> Limits {
    Limits {
        features: FEATURES,
        pairs: 4,
        hash_types: 0x3f,
        max_key: 40,
        max_indirection_table: 128,
        stats: StatsTypes::ALL,
    }
}

fn parse(class: u8, command: u8, data: &[u8]) -> Result<Command<'_>, CommandError> {
    Command::parse([class, command], data, &limits())
}

/// The data of a command, number after number.
fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

const STATION: [u8; 6] = [2, 0, 0, 0, 0, 7];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];

/// A command that is right, with the features that it needs any of.
struct Good {
    header: [u8; 2],
    data: Vec<u8>,
    feature: Features,
    command: Command<'static>,
}

impl Good {
    fn new(header: [u8; 2], data: &[&[u8]], feature: Features, command: Command<'static>) -> Self {
        Self {
            header,
            data: bytes(data),
            feature,
            command,
        }
    }
}

/// A command of each kind whose length is fixed.
fn fixed() -> Vec<Good> {
    type F = Features;
    let coalescing = Coalescing {
        max_packets: 8,
        max_usecs: 50,
    };
    let extra = F::NET_CTRL_RX_EXTRA;
    let rx =
        |command, feature, mode| Good::new([0, command], &[&[1]], feature, Command::Rx(mode, true));
    vec![
        rx(0, F::NET_CTRL_RX, RxMode::Promisc),
        rx(1, F::NET_CTRL_RX, RxMode::AllMulti),
        rx(2, extra, RxMode::AllUni),
        rx(3, extra, RxMode::NoMulti),
        rx(4, extra, RxMode::NoUni),
        rx(5, extra, RxMode::NoBcast),
        Good::new(
            [1, 1],
            &[&STATION],
            F::NET_CTRL_MAC_ADDR,
            Command::MacAddrSet(MacAddress(STATION)),
        ),
        Good::new(
            [2, 0],
            &[&[0xff, 0x0f]],
            F::NET_CTRL_VLAN,
            Command::VlanAdd(4095),
        ),
        Good::new([2, 1], &[&[0, 0]], F::NET_CTRL_VLAN, Command::VlanDel(0)),
        Good::new([3, 0], &[], F::NET_GUEST_ANNOUNCE, Command::AnnounceAck),
        Good::new([4, 0], &[&[4, 0]], F::NET_MQ, Command::VqPairsSet(4)),
        Good::new(
            [5, 0],
            &[&0x82_u64.to_le_bytes()],
            F::NET_CTRL_GUEST_OFFLOADS,
            Command::GuestOffloadsSet(F::NET_GUEST_CSUM | F::NET_GUEST_TSO4),
        ),
        Good::new(
            [6, 0],
            &[&[8, 0, 0, 0, 50, 0, 0, 0]],
            F::NET_NOTF_COAL,
            Command::CoalTxSet(coalescing),
        ),
        Good::new(
            [6, 1],
            &[&[8, 0, 0, 0, 50, 0, 0, 0]],
            F::NET_NOTF_COAL,
            Command::CoalRxSet(coalescing),
        ),
        Good::new(
            [6, 2],
            &[&[7, 0, 0xaa, 0xaa, 8, 0, 0, 0, 50, 0, 0, 0]],
            F::NET_VQ_NOTF_COAL,
            Command::CoalVqSet(7, coalescing),
        ),
        Good::new(
            [8, 0],
            &[],
            F::NET_DEVICE_STATS,
            Command::StatsQuery(StatsTypes::ALL.with(FEATURES)),
        ),
    ]
}

#[test]
fn each_command_is_understood() {
    for good in fixed() {
        let [class, command] = good.header;
        assert_eq!(parse(class, command, &good.data), Ok(good.command));
    }
}

#[test]
fn each_command_needs_its_feature() {
    for good in fixed() {
        let limits = Limits {
            features: FEATURES.without(good.feature),
            ..limits()
        };
        assert_eq!(
            Command::parse(good.header, &good.data, &limits),
            Err(CommandError::Feature(good.feature)),
            "{:?}",
            good.command
        );
    }
    // Those whose length varies.
    for (header, feature) in [
        ([1, 0], Features::NET_CTRL_RX),
        ([4, 1], Features::NET_RSS),
        ([4, 2], Features::NET_HASH_REPORT),
        ([6, 3], Features::NET_VQ_NOTF_COAL),
        ([8, 1], Features::NET_DEVICE_STATS),
    ] {
        let limits = Limits {
            features: FEATURES.without(feature),
            ..limits()
        };
        assert_eq!(
            Command::parse(header, &[], &limits),
            Err(CommandError::Feature(feature))
        );
    }
}

#[test]
fn each_length_is_exact() {
    for good in fixed() {
        let [class, command] = good.header;
        let mut data = good.data;
        let len = data.len();
        for short in 0..len {
            let Err(CommandError::Short { len, least }) = parse(class, command, &data[..short])
            else {
                panic!("{:?} of {short} bytes", good.command);
            };
            assert_eq!(len, short);
            assert!(least > short && least <= data.len());
        }
        data.push(0);
        assert_eq!(
            parse(class, command, &data),
            Err(CommandError::Long {
                len: len + 1,
                most: len
            })
        );
    }
}

#[test]
fn what_is_unknown_is_refused_by_name() {
    for class in [7, 9, 10, 255] {
        assert_eq!(parse(class, 0, &[]), Err(CommandError::Class(class)));
    }
    for (class, command) in [
        (0, 6),
        (1, 2),
        (2, 2),
        (3, 1),
        (4, 3),
        (5, 1),
        (6, 4),
        (8, 2),
        (8, 255),
    ] {
        assert_eq!(
            parse(class, command, &[0; 64]),
            Err(CommandError::Command { class, command })
        );
    }
}

#[test]
fn any_value_but_zero_switches_a_mode_on() {
    assert_eq!(parse(0, 0, &[0]), Ok(Command::Rx(RxMode::Promisc, false)));
    assert_eq!(parse(0, 0, &[255]), Ok(Command::Rx(RxMode::Promisc, true)));
}

#[test]
fn an_own_address_is_that_of_one_station() {
    for mac in [[0; 6], [0xff; 6], GROUP] {
        assert_eq!(
            parse(1, 1, &mac),
            Err(CommandError::NoStation(MacAddress(mac)))
        );
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    assert_eq!(parse(2, 0, &[0, 0x10]), Err(CommandError::Vlan(4096)));
    assert_eq!(parse(2, 1, &[0xff; 2]), Err(CommandError::Vlan(0xffff)));
    assert_eq!(parse(4, 0, &[0, 0]), Err(CommandError::Pairs(0)));
    assert_eq!(parse(4, 0, &[5, 0]), Err(CommandError::Pairs(5)));
}

/// The addresses of a table that was understood.
fn tables(data: &[u8]) -> (Vec<[u8; 6]>, Vec<[u8; 6]>) {
    let Ok(Command::MacTableSet(tables)) = parse(1, 0, data) else {
        panic!("{:?}", parse(1, 0, data));
    };
    assert_eq!(tables.unicast.len(), tables.unicast.iter().len());
    (
        tables.unicast.iter().map(|mac| mac.0).collect(),
        tables.multicast.iter().map(|mac| mac.0).collect(),
    )
}

#[test]
fn tables_of_addresses_come_in_order() {
    let other = [4, 5, 6, 7, 8, 9];
    let data = bytes(&[&[2, 0, 0, 0], &STATION, &other, &[1, 0, 0, 0], &GROUP]);
    assert_eq!(tables(&data), (vec![STATION, other], vec![GROUP]));
    assert_eq!(tables(&[0; 8]), (vec![], vec![]));
    let data = bytes(&[&[0; 4], &[1, 0, 0, 0], &GROUP]);
    assert_eq!(tables(&data), (vec![], vec![GROUP]));
}

#[test]
fn tables_of_addresses_hold_what_they_say() {
    // A number of entries whose length is beyond any number.
    let data = bytes(&[&[0xff; 4], &STATION, &[0; 4]]);
    assert!(matches!(
        parse(1, 0, &data),
        Err(CommandError::Short { len: 14, least }) if least >= 6 * 0xffff_ffff
    ));
    // One entry too many in the second table.
    let data = bytes(&[&[0; 4], &[2, 0, 0, 0], &GROUP]);
    assert_eq!(
        parse(1, 0, &data),
        Err(CommandError::Short { len: 14, least: 20 })
    );
    // Only one table.
    assert_eq!(
        parse(1, 0, &[0; 4]),
        Err(CommandError::Short { len: 4, least: 8 })
    );
    assert_eq!(
        parse(1, 0, &[0; 9]),
        Err(CommandError::Long { len: 9, most: 8 })
    );
    let data = bytes(&[&[1, 0, 0, 0], &GROUP, &[0; 4]]);
    assert_eq!(
        parse(1, 0, &data),
        Err(CommandError::NoStation(MacAddress(GROUP)))
    );
    let data = bytes(&[&[0; 4], &[1, 0, 0, 0], &STATION]);
    assert_eq!(
        parse(1, 0, &data),
        Err(CommandError::NoGroup(MacAddress(STATION)))
    );
}

#[test]
fn offloads_are_negotiated_ones_that_go_together() {
    let set = |bits: u64| parse(5, 0, &bits.to_le_bytes()).err();
    assert_eq!(set(0), None);
    assert_eq!(
        set(Features::NET_GUEST_TSO4.0),
        Some(CommandError::Offloads(GuestOffloadsError::Missing {
            offload: Features::NET_GUEST_TSO4,
            needs: Features::NET_GUEST_CSUM,
        }))
    );
    // TSO6 was not negotiated, and a VLAN filter is no offload.
    for bit in [Features::NET_GUEST_TSO6, Features::NET_CTRL_VLAN] {
        assert_eq!(
            set((bit | Features::NET_GUEST_CSUM).0),
            Some(CommandError::Offloads(GuestOffloadsError::NotNegotiated(
                bit
            )))
        );
    }
}

#[test]
fn coalescing_is_for_transmit_and_receive_queues() {
    for (index, fine) in [(0, true), (7, true), (8, false), (9, false)] {
        let data = [index, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0];
        let error = (!fine).then_some(CommandError::Queue(u16::from(index)));
        assert_eq!(parse(6, 2, &data).err(), error);
        assert_eq!(parse(6, 3, &data[..4]).err(), error);
    }
}

#[test]
fn coalescing_can_be_asked_for_with_room_or_without() {
    let data = [3, 0, 9, 9, 1, 0, 0, 0, 2, 0, 0, 0];
    assert_eq!(parse(6, 3, &data[..4]), Ok(Command::CoalVqGet(3)));
    assert_eq!(parse(6, 3, &data), Ok(Command::CoalVqGet(3)));
    assert_eq!(
        parse(6, 3, &data[..11]),
        Err(CommandError::Short { len: 11, least: 12 })
    );
    assert_eq!(
        parse(6, 3, &[0; 13]),
        Err(CommandError::Long { len: 13, most: 12 })
    );
    let coalescing = Coalescing {
        max_packets: 0x0102_0304,
        max_usecs: 5,
    };
    assert_eq!(coalescing.to_bytes(), [4, 3, 2, 1, 5, 0, 0, 0]);
}

/// The data of `VIRTIO_NET_CTRL_MQ_RSS_CONFIG`.
fn rss(types: u32, table: &[u16], unclassified: u16, max_tx_vq: u16, key: &[u8]) -> Vec<u8> {
    let mut data = types.to_le_bytes().to_vec();
    data.extend((table.len().wrapping_sub(1) as u16).to_le_bytes());
    data.extend(unclassified.to_le_bytes());
    for entry in table {
        data.extend(entry.to_le_bytes());
    }
    data.extend(max_tx_vq.to_le_bytes());
    data.push(key.len() as u8);
    data.extend(key);
    data
}

#[test]
fn steering_by_hash_is_understood() {
    let key: Vec<u8> = (0..40).collect();
    let data = rss(0x3f, &[3, 2, 1, 0], 2, 4, &key);
    let Ok(Command::RssConfig(config)) = parse(4, 1, &data) else {
        panic!("{:?}", parse(4, 1, &data));
    };
    assert_eq!(config.hash_types, 0x3f);
    assert_eq!(config.unclassified_queue, 2);
    assert_eq!(config.table.len(), 4);
    assert_eq!(config.table.iter().collect::<Vec<_>>(), [3, 2, 1, 0]);
    assert_eq!(config.max_tx_vq, 4);
    assert_eq!(config.key, key);

    let indirection = Indirection::new(&config);
    for hash in [0, 1, 2, 3, 4, 0x8000_0002, u32::MAX] {
        assert_eq!(indirection.queue(Some(hash)), 3 - (hash & 3) as u16);
    }
    assert_eq!(indirection.queue(None), 2);
}

#[test]
fn the_longest_command_of_linux_is_understood() {
    let table: Vec<u16> = (0..128).map(|index| index % 4).collect();
    let mut data = rss(0x3f, &table, 0, 4, &[7; 40]);
    assert!(parse(4, 1, &data).is_ok());
    // The driver counts the padding of its structure with the key.
    data.push(0);
    let Ok(Command::RssConfig(config)) = parse(4, 1, &data) else {
        panic!("{:?}", parse(4, 1, &data));
    };
    assert_eq!(config.key, [7; 40]);
    let indirection = Indirection::new(&config);
    assert_eq!(indirection.queue(Some(127)), 3);
    assert_eq!(indirection.queue(Some(128)), 0);
    data.push(0);
    assert!(matches!(parse(4, 1, &data), Err(CommandError::Long { .. })));
    assert!(data.len() <= MAX_DATA_LEN);
}

#[test]
fn steering_by_hash_stays_within_the_limits() {
    let key = [1; 40];
    let error = |data: &[u8]| parse(4, 1, data).err();
    assert_eq!(
        error(&rss(0x7f, &[0], 0, 1, &key)),
        Some(CommandError::HashTypes(0x40))
    );
    for len in [0, 3, 5, 127, 129, 256] {
        assert_eq!(
            error(&rss(0, &vec![0; len], 0, 1, &key)),
            Some(CommandError::Mask(len.wrapping_sub(1) as u16))
        );
    }
    assert_eq!(
        error(&rss(0, &[0, 4], 0, 1, &key)),
        Some(CommandError::ReceiveQueue(4))
    );
    // The reserved bit of an entry.
    assert_eq!(
        error(&rss(0, &[0x8000], 0, 1, &key)),
        Some(CommandError::ReceiveQueue(0x8000))
    );
    assert_eq!(
        error(&rss(0, &[0], 4, 1, &key)),
        Some(CommandError::ReceiveQueue(4))
    );
    for pairs in [0, 5] {
        assert_eq!(
            error(&rss(0, &[0], 0, pairs, &key)),
            Some(CommandError::Pairs(pairs))
        );
    }
    assert_eq!(
        error(&rss(1, &[0], 0, 1, &[1; 41])),
        Some(CommandError::KeyLength(41))
    );
    // Hashes want a key; without hashes there need not be one.
    assert_eq!(
        error(&rss(1, &[0], 0, 1, &[])),
        Some(CommandError::KeyLength(0))
    );
    assert_eq!(error(&rss(0, &[0], 0, 1, &[])), None);
    let data = rss(1, &[0, 1], 0, 1, &key);
    for short in 0..data.len() {
        assert!(matches!(
            error(&data[..short]),
            Some(CommandError::Short { len, .. }) if len == short
        ));
    }
}

#[test]
fn a_smaller_device_has_smaller_limits() {
    let limits = Limits {
        pairs: 1,
        max_key: 16,
        max_indirection_table: 64,
        ..limits()
    };
    let error = |data: &[u8]| Command::parse([4, 1], data, &limits).err();
    assert_eq!(
        error(&rss(1, &[0; 128], 0, 1, &[1; 16])),
        Some(CommandError::Mask(127))
    );
    assert_eq!(
        error(&rss(1, &[0; 64], 0, 1, &[1; 17])),
        Some(CommandError::KeyLength(17))
    );
    assert_eq!(
        error(&rss(1, &[1], 0, 1, &[1; 16])),
        Some(CommandError::ReceiveQueue(1))
    );
    assert_eq!(error(&rss(1, &[0; 64], 0, 1, &[1; 16])), None);
}

#[test]
fn no_device_has_larger_limits_than_this_layer() {
    let limits = Limits {
        max_key: u8::MAX,
        max_indirection_table: u16::MAX,
        ..limits()
    };
    let error = |data: &[u8]| Command::parse([4, 1], data, &limits).err();
    assert_eq!(
        error(&rss(1, &[0; 256], 0, 1, &[1; 40])),
        Some(CommandError::Mask(255))
    );
    assert_eq!(
        error(&rss(1, &[0; 128], 0, 1, &[1; 41])),
        Some(CommandError::KeyLength(41))
    );
    assert_eq!(error(&rss(1, &[0; 128], 0, 1, &[1; 40])), None);
}

#[test]
fn reporting_of_hashes_is_understood() {
    // As Linux sends it: the number of transmit queues where zero is to be, and padding.
    let data = bytes(&[
        &[0x15, 0, 0, 0],
        &[0, 0, 0, 0, 0, 0, 4, 0],
        &[3],
        &[9, 8, 7],
        &[0],
    ]);
    for len in [data.len() - 1, data.len()] {
        let Ok(Command::HashConfig(config)) = parse(4, 2, &data[..len]) else {
            panic!("{:?}", parse(4, 2, &data));
        };
        assert_eq!(config.hash_types, 0x15);
        assert_eq!(config.key, [9, 8, 7]);
    }
    for short in 0..data.len() - 1 {
        assert!(matches!(
            parse(4, 2, &data[..short]),
            Err(CommandError::Short { .. })
        ));
    }
    assert_eq!(
        parse(4, 2, &[0, 1, 0, 0]),
        Err(CommandError::HashTypes(0x100))
    );
    assert_eq!(
        hash_fields(0x1122_3344, 5),
        [0x44, 0x33, 0x22, 0x11, 5, 0, 0, 0]
    );
}

proptest! {
    #[test]
    fn no_bytes_do_harm(
        class in 0..10_u8,
        command in 0..7_u8,
        data in vec(prop_oneof![0..4_u8, any::<u8>()], 0..300),
        features in prop_oneof![Just(FEATURES.0), any::<u64>()],
        pairs in 1..=0x8000_u16,
    ) {
        let limits = Limits { features: Features(features), pairs, ..limits() };
        match Command::parse([class, command], &data, &limits) {
            Ok(Command::MacTableSet(tables)) => {
                prop_assert_eq!(
                    8 + 6 * (tables.unicast.len() + tables.multicast.len()),
                    data.len()
                );
            }
            Ok(Command::RssConfig(config)) => {
                prop_assert!(config.table.len().is_power_of_two());
                let indirection = Indirection::new(&config);
                for hash in [None, Some(0), Some(u32::MAX)] {
                    prop_assert!(indirection.queue(hash) < pairs);
                }
            }
            Ok(Command::StatsGet(requests)) => {
                prop_assert_eq!(requests.iter().count(), requests.len());
                prop_assert_eq!(requests.len() * 16, data.len());
            }
            Ok(_) => prop_assert!(data.len() <= 54),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn an_indirection_table_is_what_was_sent(
        (table, hash) in (0..8_u32).prop_flat_map(|bits| {
            (vec(0..4_u16, 1 << bits), any::<u32>())
        }),
    ) {
        let data = rss(0, &table, 1, 1, &[]);
        let Ok(Command::RssConfig(config)) = parse(4, 1, &data) else {
            panic!("{:?}", parse(4, 1, &data));
        };
        let indirection = Indirection::new(&config);
        let index = hash as usize & (table.len() - 1);
        prop_assert_eq!(indirection.queue(Some(hash)), table[index]);
        prop_assert_eq!(indirection.queue(None), 1);
    }
}
