// SPDX-License-Identifier: GPL-2.0

//! Commands of the control queue: what is taken keeps to the limits, and means its bytes.

use crate::{
    choices::Choices,
    told, //
};
use rvdpa_virtio::{
    features::Features,
    net::{
        control::{
            mac,
            mq,
            stats as stats_class,
            Command,
            Limits,
            MacTables, //
        },
        rss::{
            Indirection,
            RssConfig,
            MAX_KEY_LEN,
            MAX_TABLE_LEN, //
        },
        stats::{
            Basic,
            QueueKind,
            Reply,
            StatsRequests,
            StatsTypes,
            MAX_REPLY_LEN, //
        },
    },
};

/// A command of any bytes to a device of any limits.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    let kind = c.u8();
    let limits = Limits {
        features: match kind & 3 {
            0 => Features(c.u64()),
            _ => Features(u64::MAX),
        },
        pairs: match kind & 4 {
            0 => 1 + u16::from(c.u8() & 7),
            // The specification has no more.
            _ => 1 + (c.u16() & 0x7fff),
        },
        hash_types: match kind & 8 {
            0 => 0x3f,
            _ => c.u32(),
        },
        max_key: match kind & 0x10 {
            0 => 40,
            _ => c.u8(),
        },
        max_indirection_table: match kind & 0x20 {
            0 => 128,
            _ => c.u16(),
        },
        stats: match kind & 0x40 {
            0 => StatsTypes::ALL,
            _ => StatsTypes(c.u64() & StatsTypes::ALL.0),
        },
    };
    let header = c.array();
    let bytes = c.rest();
    match Command::parse(header, bytes, &limits) {
        Ok(command) => check(header, bytes, &command, &limits),
        Err(error) => told(&error),
    }
}

/// The 16 bits at `at`.
fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn check(header: [u8; 2], bytes: &[u8], command: &Command<'_>, limits: &Limits) {
    let pairs = 1..=limits.pairs;
    // A single feature or another is needed for each.
    let none = Limits {
        features: Features::NONE,
        ..*limits
    };
    assert!(Command::parse(header, bytes, &none).is_err());
    match command {
        Command::Rx(_, on) => {
            assert_eq!((bytes.len(), bytes[0] != 0), (1, *on));
        }
        Command::MacTableSet(tables) => addresses(bytes, tables),
        Command::MacAddrSet(address) => {
            assert_eq!(header, [mac::CLASS, mac::ADDR_SET]);
            assert_eq!(bytes, address.0);
            assert!(address.is_unicast() && !address.to_string().is_empty());
        }
        Command::VlanAdd(id) | Command::VlanDel(id) => {
            assert_eq!((bytes.len(), word(bytes, 0)), (2, *id));
            assert!(*id < 4096);
        }
        Command::AnnounceAck => assert!(bytes.is_empty()),
        Command::VqPairsSet(count) => {
            assert_eq!((bytes.len(), word(bytes, 0)), (2, *count));
            assert!(pairs.contains(count));
        }
        Command::RssConfig(config) => {
            assert_eq!(header, [mq::CLASS, mq::RSS_CONFIG]);
            rss(bytes, config, limits);
        }
        Command::HashConfig(config) => {
            assert_eq!(config.hash_types & !limits.hash_types, 0);
            assert!(config.key.len() <= usize::from(limits.max_key).min(MAX_KEY_LEN));
            assert!(config.hash_types == 0 || !config.key.is_empty());
            assert_eq!(bytes[13..13 + config.key.len()], *config.key);
        }
        Command::GuestOffloadsSet(set) => assert_eq!(bytes, set.0.to_le_bytes()),
        Command::CoalTxSet(set) | Command::CoalRxSet(set) => assert_eq!(bytes, set.to_bytes()),
        Command::CoalVqSet(index, set) => {
            assert_eq!(word(bytes, 0), *index);
            assert_eq!(bytes[4..], set.to_bytes());
            assert!(u32::from(*index) < 2 * u32::from(limits.pairs));
        }
        Command::CoalVqGet(index) => {
            assert_eq!(word(bytes, 0), *index);
            assert!(bytes.len() == 4 || bytes.len() == 12);
            assert!(u32::from(*index) < 2 * u32::from(limits.pairs));
        }
        Command::StatsQuery(types) => {
            assert_eq!(header, [stats_class::CLASS, stats_class::QUERY]);
            assert!(bytes.is_empty() && limits.stats.contains(*types));
        }
        Command::StatsGet(requests) => stats(bytes, requests, limits),
    }
}

fn addresses(bytes: &[u8], tables: &MacTables<'_>) {
    let (first, second) = (tables.unicast, tables.multicast);
    assert_eq!(bytes.len(), 8 + 6 * (first.len() + second.len()));
    let mut again = (first.len() as u32).to_le_bytes().to_vec();
    for address in first.iter() {
        assert!(!address.is_multicast());
        again.extend(address.0);
    }
    again.extend((second.len() as u32).to_le_bytes());
    for address in second.iter() {
        assert!(address.is_multicast());
        again.extend(address.0);
    }
    assert_eq!(again, bytes);
    assert_eq!(first.is_empty(), first.iter().next().is_none());
}

fn rss(bytes: &[u8], config: &RssConfig<'_>, limits: &Limits) {
    let len = config.table.len();
    assert!(len.is_power_of_two() && len <= MAX_TABLE_LEN && !config.table.is_empty());
    assert!(len <= limits.max_indirection_table.into());
    assert_eq!(usize::from(word(bytes, 4)), len - 1);
    assert!((1..=limits.pairs).contains(&config.max_tx_vq));
    assert!(config.hash_types & !limits.hash_types == 0);
    assert!(config.hash_types == 0 || !config.key.is_empty());
    assert!(config.key.len() <= usize::from(limits.max_key).min(MAX_KEY_LEN));
    let indirection = Indirection::new(config);
    assert_eq!(indirection.queue(None), config.unclassified_queue);
    for hash in (0..300).chain([u32::MAX, 1 << 31]) {
        let place = hash as usize % len;
        let queue = indirection.queue(Some(hash));
        assert_eq!(queue, word(bytes, 8 + 2 * place));
        assert!(queue < limits.pairs, "a queue that there is not");
    }
}

fn stats(bytes: &[u8], requests: &StatsRequests<'_>, limits: &Limits) {
    assert_eq!(bytes.len(), 16 * requests.len());
    assert_eq!(requests.iter().count(), requests.len());
    for (at, request) in requests.iter().enumerate() {
        assert_eq!(request.vq_index, word(bytes, 16 * at));
        assert_eq!(limits.kind(request.vq_index), Some(request.kind));
        assert!(StatsTypes::of(request.kind).contains(request.types));
        let available = limits.stats.with(limits.features);
        assert!(available.contains(request.types));
        for one in request.types.iter().take(64) {
            assert!(request.types.contains(one) && one.0.is_power_of_two());
        }
        if request.kind == QueueKind::Receive {
            reply(request.vq_index, bytes.len());
        }
    }
}

/// A reply fits, or nothing is written.
fn reply(index: u16, len: usize) {
    let reply = Reply::RxBasic(Basic {
        packets: u64::MAX,
        ..Basic::default()
    });
    let mut room = vec![0xa5; len % (MAX_REPLY_LEN + 8)];
    match reply.write(index, &mut room) {
        Some(len) => {
            assert_eq!(usize::from(word(&room, 6)), len);
            assert_eq!(word(&room, 2), index);
            assert!(room[len..].iter().all(|byte| *byte == 0xa5));
        }
        None => assert!(room.iter().all(|byte| *byte == 0xa5)),
    }
}
