// SPDX-License-Identifier: GPL-2.0

//! Structures and where their fields lie (2.7, 2.8, 5.1), and the lines of the log.

use rvdpa_virtio::{
    fault::{
        Fault,
        Part,
        Place,
        Position,
        QueueError,
        TransferError, //
    },
    features::Features,
    layout::{
        available,
        descriptor_offset,
        notification::{
            Next,
            Notification, //
        },
        packed::Slot,
        table_limit,
        used,
        used_element,
        Area,
        Descriptor,
        LayoutError,
        QueueLayout, //
    },
    memory::Access,
    net::{
        control,
        MacAddress,
        NetConfig,
        NetHeader, //
    },
};

#[test]
fn clause_2_7_5_fields_of_a_descriptor() {
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    let descriptor = Descriptor::from_bytes(bytes);
    assert_eq!(
        descriptor,
        Descriptor {
            address: 0x0807_0605_0403_0201,
            len: 0x0c0b_0a09,
            flags: 0x0e0d,
            next: 0x100f,
        }
    );
    assert_eq!(descriptor.to_bytes(), bytes);
    assert_eq!(descriptor_offset(65535), 16 * 65535);
}

#[test]
fn clause_2_7_8_fields_of_a_used_element() {
    assert_eq!(used_element(0x0201, 0x0605_0403), [1, 2, 0, 0, 3, 4, 5, 6]);
}

#[test]
fn clauses_2_7_6_and_2_7_8_offsets_in_the_rings() {
    assert_eq!((available::FLAGS, available::INDEX), (0, 2));
    assert_eq!(available::ring(0), 4);
    assert_eq!(available::ring(7), 18);
    assert_eq!(available::used_event(8), 20);
    assert_eq!((used::FLAGS, used::INDEX), (0, 2));
    assert_eq!(used::ring(0), 4);
    assert_eq!(used::ring(7), 60);
    assert_eq!(used::avail_event(8), 68);
    assert_eq!(used::avail_event(32768), 4 + 8 * 32768);
}

/// A layout that is fine for both formats.
fn fine(size: u16) -> QueueLayout {
    QueueLayout {
        size,
        descriptor: 0x1000,
        driver: 0x2000,
        device: 0x3000,
    }
}

#[test]
fn clause_2_7_lengths_of_the_areas() {
    let layout = fine(256);
    for (features, lens) in [
        (Features::EVENT_IDX, [4096, 518, 2054]),
        (Features::NONE, [4096, 516, 2052]),
        (Features::RING_PACKED, [4096, 4, 4]),
        (
            Features::RING_PACKED.union(Features::EVENT_IDX),
            [4096, 4, 4],
        ),
    ] {
        let areas = [Area::Descriptor, Area::Driver, Area::Device];
        assert_eq!(areas.map(|area| layout.len(area, features)), lens);
    }
}

#[test]
fn clause_2_7_sizes() {
    let split = Features::NONE;
    let packed = Features::RING_PACKED;
    for size in [1, 2, 1024, 32768] {
        assert_eq!(fine(size).validate(split), Ok(()));
        assert_eq!(fine(size).validate(packed), Ok(()));
    }
    for size in [0, 32769, 65535] {
        assert_eq!(fine(size).validate(split), Err(LayoutError::Size(size)));
        assert_eq!(fine(size).validate(packed), Err(LayoutError::Size(size)));
    }
    for size in [3, 100, 32767] {
        assert_eq!(
            fine(size).validate(split),
            Err(LayoutError::NotPowerOfTwo(size))
        );
        assert_eq!(fine(size).validate(packed), Ok(()));
    }
}

#[test]
fn clause_2_7_alignments() {
    for (area, features, alignment) in [
        (Area::Descriptor, Features::NONE, 16),
        (Area::Driver, Features::NONE, 2),
        (Area::Device, Features::NONE, 4),
        (Area::Descriptor, Features::RING_PACKED, 16),
        (Area::Driver, Features::RING_PACKED, 4),
        (Area::Device, Features::RING_PACKED, 4),
    ] {
        for by in [alignment / 2, alignment] {
            let mut layout = fine(8);
            let start = match area {
                Area::Descriptor => &mut layout.descriptor,
                Area::Driver => &mut layout.driver,
                Area::Device => &mut layout.device,
            };
            *start += by;
            let iova = layout.address(area);
            let expected = match by == alignment {
                true => Ok(()),
                false => Err(LayoutError::Misaligned {
                    area,
                    iova,
                    alignment,
                }),
            };
            assert_eq!(layout.validate(features), expected);
            // The size does not matter for that.
            layout.size = 0;
            assert_eq!(layout.check_alignment(features), expected);
            assert_eq!(QueueLayout::alignment(area, features), alignment);
            assert_eq!(QueueLayout::MAX_ALIGNMENT % alignment, 0);
        }
    }
}

#[test]
fn clause_2_8_areas_that_do_for_a_split_queue_need_not_do_for_a_packed_one() {
    let layout = QueueLayout {
        driver: 0x2002,
        ..fine(8)
    };
    assert_eq!(layout.check_alignment(Features::NONE), Ok(()));
    assert_eq!(
        layout.check_alignment(Features::RING_PACKED),
        Err(LayoutError::Misaligned {
            area: Area::Driver,
            iova: 0x2002,
            alignment: 4,
        })
    );
}

#[test]
fn how_long_an_indirect_table_may_be() {
    for (size, limit) in [(1, 64), (63, 64), (64, 64), (65, 65), (32768, 32768)] {
        assert_eq!(table_limit(size), limit);
    }
}

#[test]
fn clause_2_9_fields_of_a_notification() {
    // The highest bit is a part of the index, or the wrap counter.
    for (data, queue, index, slot) in [
        (0x0000_0000, 0, 0, (0, false)),
        (0x8000_0001, 1, 0x8000, (0, true)),
        (0x7fff_ffff, 0xffff, 0x7fff, (0x7fff, false)),
        (0x8123_0456, 0x0456, 0x8123, (0x0123, true)),
        (0xffff_ffff, 0xffff, 0xffff, (0x7fff, true)),
    ] {
        let split = Notification::from_bits(data, Features::NOTIFICATION_DATA);
        let next = Next::Split(index);
        assert_eq!(split, Notification { queue, next });
        assert_eq!(split.to_bits(), data);
        let features = Features::NOTIFICATION_DATA | Features::RING_PACKED;
        let packed = Notification::from_bits(data, features);
        let (index, wrap) = slot;
        let next = Next::Packed(Slot { index, wrap });
        assert_eq!(packed, Notification { queue, next });
        assert_eq!(packed.to_bits(), data);
    }
}

#[test]
fn areas_end_within_the_address_space() {
    let mut layout = fine(8);
    layout.descriptor = u64::MAX - 127;
    assert_eq!(layout.validate(Features::NONE), Ok(()));
    layout.size = 16;
    assert_eq!(
        layout.validate(Features::NONE),
        Err(LayoutError::Overflow {
            area: Area::Descriptor,
            iova: u64::MAX - 127
        })
    );
}

#[test]
fn clause_5_1_4_fields_of_the_configuration() {
    let mut config = NetConfig::default();
    assert_eq!(config, NetConfig::new());
    assert_eq!(config.as_bytes(), &[0; 24]);
    config.set_mac(MacAddress([1, 2, 3, 4, 5, 6]));
    config.set_status(0x0807);
    config.set_max_virtqueue_pairs(0x0a09);
    config.set_mtu(0x0c0b);
    config.set_speed(0x100f_0e0d);
    config.set_duplex(17);
    config.set_rss_max_key_size(18);
    config.set_rss_max_indirection_table_length(0x1413);
    config.set_supported_hash_types(0x1817_1615);
    let bytes: Vec<u8> = (1..=24).collect();
    assert_eq!(config.as_bytes()[..], bytes);
    assert_eq!(config.mac(), MacAddress([1, 2, 3, 4, 5, 6]));
    assert_eq!(config.status(), 0x0807);
    assert_eq!(config.max_virtqueue_pairs(), 0x0a09);
    assert_eq!(config.mtu(), 0x0c0b);
    assert_eq!(config.speed(), 0x100f_0e0d);
    assert_eq!(config.duplex(), 17);
    assert_eq!(config.rss_max_key_size(), 18);
    assert_eq!(config.rss_max_indirection_table_length(), 0x1413);
    assert_eq!(config.supported_hash_types(), 0x1817_1615);
}

#[test]
fn clause_5_1_6_fields_of_the_header() {
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let header = NetHeader::from_bytes(bytes);
    assert_eq!(
        header,
        NetHeader {
            flags: 1,
            gso_type: 2,
            hdr_len: 0x0403,
            gso_size: 0x0605,
            csum_start: 0x0807,
            csum_offset: 0x0a09,
            num_buffers: 0x0c0b,
        }
    );
    assert_eq!(header.to_bytes(), bytes);
    let one = NetHeader {
        num_buffers: 1,
        ..Default::default()
    };
    assert_eq!(one.to_bytes()[NetHeader::NUM_BUFFERS_OFFSET..], [1, 0]);
}

#[test]
fn clause_5_1_6_5_numbers_of_the_control_queue() {
    assert_eq!((control::OK, control::ERR), (0, 1));
    assert_eq!((control::mac::CLASS, control::mac::ADDR_SET), (1, 1));
    assert_eq!((control::mq::CLASS, control::mq::VQ_PAIRS_SET), (4, 0));
    assert_eq!((control::stats::CLASS, control::stats::GET), (8, 1));
}

#[test]
fn kinds_of_mac_addresses() {
    let zero = MacAddress::default();
    assert!(zero.is_zero() && !zero.is_multicast() && !zero.is_unicast());
    let everyone = MacAddress::BROADCAST;
    assert!(everyone.is_broadcast() && everyone.is_multicast() && !everyone.is_unicast());
    let group = MacAddress([0x33, 0x33, 0, 0, 0, 1]);
    assert!(group.is_multicast() && !group.is_broadcast() && !group.is_unicast());
    let station = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    assert!(station.is_unicast() && !station.is_multicast());
    assert_eq!(station.to_string(), "52:54:00:12:34:56");
    // All six bytes count.
    assert_ne!(station, MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x57]));
    for first in 0..=255 {
        let local = MacAddress::local([first, 1, 2, 3, 4, 5]);
        assert!(local.is_unicast());
        assert_eq!(local.0[0] & 3, 2);
    }
}

#[test]
fn a_fault_is_one_line_that_says_what_and_where() {
    let ring = Position::Ring(3);
    let table = Position::Table {
        descriptor: 3,
        entry: 4,
    };
    let place = |part, access| Place {
        part,
        iova: 0x1000,
        len: 8,
        access,
    };
    for (fault, text) in [
        (
            Fault::AvailableIndex {
                index: 9,
                next: 0,
                size: 8,
            },
            "available index 9 is not within 8 of the next one, 0",
        ),
        (
            Fault::Head { head: 9, size: 8 },
            "available ring names descriptor 9 of 8",
        ),
        (
            Fault::Next {
                position: table,
                next: 9,
                size: 8,
            },
            "descriptor 3, entry 4 of its table: goes on at 9 of 8",
        ),
        (
            Fault::TooManyDescriptors {
                position: ring,
                size: 8,
            },
            "descriptor 3: chain has a loop or more than 8 descriptors",
        ),
        (
            Fault::TooManyBytes { position: ring },
            "descriptor 3: chain has more than 4294967295 bytes",
        ),
        (
            Fault::AddressOverflow {
                position: ring,
                iova: u64::MAX,
                len: 2,
            },
            "descriptor 3: 2 bytes at 0xffffffffffffffff go beyond the address space",
        ),
        (
            Fault::IndirectNotNegotiated { descriptor: 3 },
            "descriptor 3: indirect, but VIRTIO_F_INDIRECT_DESC is not negotiated",
        ),
        (
            Fault::IndirectNested { position: table },
            "descriptor 3, entry 4 of its table: indirect within an indirect table",
        ),
        (
            Fault::IndirectWithNext { descriptor: 3 },
            "descriptor 3: both indirect and chained",
        ),
        (
            Fault::IndirectLength {
                descriptor: 3,
                len: 17,
            },
            "descriptor 3: 17 bytes are not 1 to 65535 indirect descriptors",
        ),
        (
            Fault::BufferId {
                descriptor: 3,
                id: 9,
                size: 8,
            },
            "descriptor 3: chain has buffer id 9 of 8",
        ),
        (
            Fault::ChainNotAvailable { descriptor: 3 },
            "descriptor 3: not available, but its chain is",
        ),
        (
            Fault::WithDevice { descriptor: 3 },
            "descriptor 3: available again before it was used",
        ),
        (
            Fault::NotReadable { position: ring },
            "descriptor 3: write-only in a queue that the device reads",
        ),
        (
            Fault::NotWritable { position: ring },
            "descriptor 3: read-only in a queue that the device writes",
        ),
        (
            Fault::ReadableAfterWritable { position: ring },
            "descriptor 3: read-only after a write-only one",
        ),
        (
            Fault::Unmapped(place(Part::Table(3), Access::Read)),
            "indirect table of descriptor 3: read of 8 bytes at 0x1000: not mapped",
        ),
        (
            Fault::Permission(place(Part::Buffer(ring), Access::Write)),
            "buffer of descriptor 3: write of 8 bytes at 0x1000: not permitted",
        ),
        (
            Fault::Permission(place(Part::Area(Area::Device), Access::ReadWrite)),
            "device area: read and write of 8 bytes at 0x1000: not permitted",
        ),
    ] {
        assert_eq!(fault.to_string(), text);
        let error = QueueError::Fault(fault);
        assert_eq!(error.to_string(), text);
        assert_eq!(
            TransferError::Source(error).to_string(),
            format!("source: {text}")
        );
        assert_eq!(
            TransferError::Destination(error).to_string(),
            format!("destination: {text}")
        );
    }
    assert_eq!(
        QueueError::NotPresent(place(Part::Table(3), Access::Read)).to_string(),
        "indirect table of descriptor 3: read of 8 bytes at 0x1000: not resident"
    );
}

#[test]
fn a_layout_error_is_one_line() {
    for (error, text) in [
        (LayoutError::Size(0), "queue size 0 is not from 1 to 32768"),
        (
            LayoutError::NotPowerOfTwo(3),
            "queue size 3 is not a power of two",
        ),
        (
            LayoutError::Misaligned {
                area: Area::Driver,
                iova: 1,
                alignment: 2,
            },
            "driver area at 0x1 is not aligned to 2 bytes",
        ),
        (
            LayoutError::Overflow {
                area: Area::Descriptor,
                iova: 16,
            },
            "descriptor area at 0x10 goes beyond the address space",
        ),
        (
            LayoutError::State {
                available: 0x8005,
                used: 3,
                size: 5,
            },
            "state 0x8005, 0x0003 is not one of 5 descriptors",
        ),
        (
            LayoutError::StateFormat,
            "state is that of the other format",
        ),
        (
            LayoutError::Room { size: 6, room: 5 },
            "queue size 6 is more than the 5 that there is room for",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
