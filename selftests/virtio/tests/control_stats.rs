// SPDX-License-Identifier: GPL-2.0

//! Statistics over the control queue: what can be asked for, and the bytes of the answers.

use rvdpa_virtio::{
    features::Features,
    net::{
        control::{
            Command,
            CommandError,
            Limits, //
        },
        stats::{
            Basic,
            Control,
            QueueKind,
            Reply,
            RxCsum,
            RxGso,
            Speed,
            StatsRequest,
            StatsTypes,
            TxCsum,
            TxGso,
            MAX_REPLY_LEN, //
        },
    },
};

fn limits(features: Features) -> Limits {
    Limits {
        features: features | Features::NET_CTRL_VQ | Features::NET_DEVICE_STATS,
        pairs: 2,
        hash_types: 0,
        max_key: 0,
        max_indirection_table: 0,
        stats: StatsTypes::ALL,
    }
}

/// What Linux asks for about one virtqueue.
fn request(vq_index: u16, types: u64) -> Vec<u8> {
    let mut data = vq_index.to_le_bytes().to_vec();
    data.extend([0; 6]);
    data.extend(types.to_le_bytes());
    data
}

/// The types that the driver is told of.
fn told(features: Features) -> StatsTypes {
    let Ok(Command::StatsQuery(types)) = Command::parse([8, 0], &[], &limits(features)) else {
        panic!("refused");
    };
    types
}

#[test]
fn types_need_their_features() {
    type F = Features;
    let basic = (1 << 32) | (1 << 16) | 1;
    assert_eq!(told(F::NONE), StatsTypes(basic));
    for (feature, types) in [
        (F::NET_GUEST_CSUM, 1 << 1),
        (F::NET_GUEST_TSO4, 1 << 2),
        (F::NET_GUEST_TSO6, 1 << 2),
        (F::NET_SPEED_DUPLEX, (1 << 3) | (1 << 19)),
        (F::NET_CSUM, 1 << 17),
        (F::NET_HOST_TSO4, 1 << 18),
        (F::NET_HOST_TSO6, 1 << 18),
        (F::NET_HOST_USO, 1 << 18),
    ] {
        assert_eq!(told(feature), StatsTypes(basic | types), "{feature}");
    }
    assert_eq!(told(F::NET_CSUM).to_bytes(), [1, 0, 3, 0, 1, 0, 0, 0]);
}

#[test]
fn only_types_that_the_device_has_are_told() {
    let limits = Limits {
        stats: StatsTypes::RX_BASIC,
        ..limits(Features::NET_CSUM)
    };
    assert_eq!(
        Command::parse([8, 0], &[], &limits),
        Ok(Command::StatsQuery(StatsTypes::RX_BASIC))
    );
    assert_eq!(
        Command::parse([8, 1], &request(1, 1 << 16), &limits),
        Err(CommandError::Statistics {
            queue: 1,
            types: 1 << 16
        })
    );
}

#[test]
fn requests_come_in_order() {
    let limits = limits(Features::NET_GUEST_CSUM);
    let data = [request(0, 3), request(3, 1 << 16), request(4, 1 << 32)].concat();
    let Ok(Command::StatsGet(requests)) = Command::parse([8, 1], &data, &limits) else {
        panic!("refused");
    };
    assert_eq!(requests.len(), 3);
    let expected = [
        (0, QueueKind::Receive, StatsTypes(3)),
        (3, QueueKind::Transmit, StatsTypes::TX_BASIC),
        (4, QueueKind::Control, StatsTypes::CVQ),
    ]
    .map(|(vq_index, kind, types)| StatsRequest {
        vq_index,
        kind,
        types,
    });
    assert_eq!(requests.iter().collect::<Vec<_>>(), expected);
    let types: Vec<_> = expected[0].types.iter().collect();
    assert_eq!(types, [StatsTypes::RX_BASIC, StatsTypes::RX_CSUM]);
}

#[test]
fn one_wrong_request_fails_all() {
    let error = |wrong: Vec<u8>| {
        let data = [request(0, 1), wrong, request(1, 1 << 16)].concat();
        Command::parse([8, 1], &data, &limits(Features::NONE)).err()
    };
    let types = |queue, types| Some(CommandError::Statistics { queue, types });
    assert_eq!(error(request(0, 1)), None);
    // Beyond the control queue.
    assert_eq!(error(request(5, 1)), Some(CommandError::Queue(5)));
    assert_eq!(error(request(0xffff, 1)), Some(CommandError::Queue(0xffff)));
    // Unknown, of the other direction, not negotiated.
    assert_eq!(error(request(0, (1 << 63) | 1)), types(0, 1 << 63));
    assert_eq!(error(request(0, 1 << 16)), types(0, 1 << 16));
    assert_eq!(error(request(1, 1)), types(1, 1));
    assert_eq!(error(request(4, 1 << 16)), types(4, 1 << 16));
    assert_eq!(error(request(2, 1 << 32)), types(2, 1 << 32));
    assert_eq!(error(request(2, 1 << 1)), types(2, 1 << 1));
}

#[test]
fn requests_are_whole() {
    let data = [request(0, 1), request(1, 1 << 16)].concat();
    for len in 17..32 {
        assert!(matches!(
            Command::parse([8, 1], &data[..len], &limits(Features::NONE)),
            Err(CommandError::Short { least, .. }) if least > len && least <= 32
        ));
    }
    let Ok(Command::StatsGet(requests)) = Command::parse([8, 1], &[], &limits(Features::NONE))
    else {
        panic!("refused");
    };
    assert!(requests.is_empty());
    assert_eq!(requests.iter().next(), None);
}

/// Each kind of reply, its type, and its counters, which count from 1.
fn replies() -> [(Reply, u8, u64); 9] {
    let basic = Basic {
        notifications: 1,
        packets: 2,
        bytes: 3,
        interrupts: 4,
        drops: 5,
        overruns_or_malformed: 6,
    };
    let speed = Speed {
        packets: 1,
        bytes: 2,
    };
    [
        (Reply::RxBasic(basic), 0, 6),
        (
            Reply::RxCsum(RxCsum {
                valid: 1,
                needs: 2,
                none: 3,
                bad: 4,
            }),
            1,
            4,
        ),
        (
            Reply::RxGso(RxGso {
                packets: 1,
                bytes: 2,
                packets_coalesced: 3,
                bytes_coalesced: 4,
            }),
            2,
            4,
        ),
        (Reply::RxSpeed(speed), 3, 2),
        (Reply::TxBasic(basic), 16, 6),
        (Reply::TxCsum(TxCsum { none: 1, needs: 2 }), 17, 2),
        (
            Reply::TxGso(TxGso {
                packets: 1,
                bytes: 2,
                segments: 3,
                segments_bytes: 4,
                packets_noseg: 5,
                bytes_noseg: 6,
            }),
            18,
            6,
        ),
        (Reply::TxSpeed(speed), 19, 2),
        (Reply::Control(Control { commands: 1, ok: 2 }), 32, 2),
    ]
}

#[test]
fn replies_are_laid_out_as_linux_has_them() {
    for (reply, number, counters) in replies() {
        assert_eq!(reply.types(), StatsTypes(1 << number));
        let mut room = [0xee; MAX_REPLY_LEN + 3];
        let len = reply.write(0x1234, &mut room).expect("there is room");
        let mut expected = vec![number, 0, 0x34, 0x12, 0, 0, 8 + 8 * counters as u8, 0];
        for counter in 1..=counters {
            expected.extend(counter.to_le_bytes());
        }
        assert_eq!(room[..len], expected, "{reply:?}");
        assert!(room[len..].iter().all(|byte| *byte == 0xee));
    }
}

#[test]
fn a_reply_without_room_writes_nothing() {
    for (reply, _, counters) in replies() {
        let len = 8 + 8 * counters as usize;
        for short in 0..len {
            let mut room = vec![0xee; short];
            assert_eq!(reply.write(0, &mut room), None);
            assert!(room.iter().all(|byte| *byte == 0xee));
        }
        assert_eq!(reply.write(0, &mut vec![0; len]), Some(len));
    }
}
