// SPDX-License-Identifier: GPL-2.0

//! What comes before any ring runs: features, status, layouts, states, notifications.

use super::ring::queue;
use crate::{
    choices::Choices,
    told, //
};
use rvdpa_virtio::{
    features::Features,
    layout::{
        notification::Notification,
        packed::Slot,
        Area,
        QueueLayout,
        MAX_SIZE, //
    },
    packed::{
        self,
        need_slot_event, //
    },
    queue::need_event,
    ring::State,
    status::Status,
};

/// Each of them, with anything.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    match c.up_to(5) {
        0 => features(Features(c.u64())),
        1 => status(&c),
        2 => layout(&c),
        3 => state(&c),
        4 => slots(&c),
        _ => events(&c),
    }
}

fn features(set: Features) {
    let bits: Vec<Features> = set.bits().collect();
    assert_eq!(bits.len() as u32, set.0.count_ones());
    let mut all = Features::NONE;
    for bit in bits {
        assert!(bit.0.is_power_of_two() && bit.0 > all.0);
        all = all | bit;
    }
    assert_eq!(all, set);
    match set.missing_dependency() {
        Some((bit, needs)) => {
            assert!(set.contains(bit) && !set.intersects(needs));
            assert_eq!(bit.0.count_ones(), 1);
        }
        // What goes together goes together with any one of what is needed, too.
        None => assert_eq!((set | Features::VERSION_1).missing_dependency(), None),
    }
    told(&set);
}

fn status(c: &Choices<'_>) {
    let mut status = Status::RESET;
    while !c.is_empty() {
        let (requested, accepted) = (Status(c.u8()), c.flag());
        let before = status;
        let next = Status::next(before, requested, accepted);
        told(&requested);
        match next {
            Ok(new) => {
                assert!(new.contains(before), "bits went away");
                assert!(!new.without(before).contains(Status::NEEDS_RESET));
                assert_eq!(
                    new.without(Status::NEEDS_RESET),
                    requested.without(Status::NEEDS_RESET)
                );
                assert!(
                    !new.contains(Status::DRIVER_OK) || new.contains(Status::FEATURES_OK),
                    "a driver without features"
                );
                status = new;
            }
            Err(error) => told(&error),
        }
        if c.u8() == 0 {
            // The device may set this at any time.
            status = status.with(Status::NEEDS_RESET);
        }
    }
}

fn any_layout(c: &Choices<'_>) -> (QueueLayout, Features) {
    let kind = c.u8();
    let mut features = Features::NONE;
    if kind & 1 != 0 {
        features = features | Features::RING_PACKED;
    }
    if kind & 2 != 0 {
        features = features | Features::EVENT_IDX;
    }
    let address = || match c.u8() {
        kind @ 0..=100 => u64::from(c.u16()) << (kind % 5),
        101..=200 => u64::MAX - u64::from(c.u32() >> 8),
        _ => c.u64(),
    };
    let size = match kind & 0xc {
        0 => 1 << c.up_to(15),
        _ => c.u16(),
    };
    let layout = QueueLayout {
        size,
        descriptor: address(),
        driver: address(),
        device: address(),
    };
    (layout, features)
}

/// What is wrong with a layout, by what the specification says.
fn layout(c: &Choices<'_>) {
    let (layout, features) = any_layout(c);
    let packed = features.contains(Features::RING_PACKED);
    let event = match features.contains(Features::EVENT_IDX) {
        true => 2,
        false => 0,
    };
    let size = u128::from(layout.size);
    let lens = match packed {
        true => [16 * size, 4, 4],
        false => [16 * size, 4 + 2 * size + event, 4 + 8 * size + event],
    };
    let alignments = match packed {
        true => [16, 4, 4],
        false => [16, 2, 4],
    };
    let mut valid = (1..=u128::from(MAX_SIZE)).contains(&size);
    valid &= packed || layout.size.is_power_of_two();
    for ((area, len), alignment) in Area::ALL.into_iter().zip(lens).zip(alignments) {
        let start = layout.address(area);
        valid &= start % alignment == 0;
        valid &= u128::from(start) + len <= 1 << 64;
        if (1..=u128::from(MAX_SIZE)).contains(&size) {
            assert_eq!(layout.len(area, features) as u128, len);
        }
    }
    let result = layout.validate(features);
    assert_eq!(result.is_ok(), valid, "{layout:?}");
    if let Err(error) = result {
        told(&error);
    }
}

/// A queue goes on at what was its state, and nowhere else.
fn state(c: &Choices<'_>) {
    let (layout, features) = any_layout(c);
    let mut queue = queue(c.u16() & 0x3ff);
    let state = match c.flag() {
        true => State::Split(c.u16()),
        false => State::Packed(packed::State {
            available: Slot::from_bits(c.u16()),
            used: Slot::from_bits(c.u16()),
        }),
    };
    match queue.setup(layout, features, state) {
        Ok(()) => {
            assert_eq!(layout.validate(features), Ok(()));
            assert_eq!(queue.layout(), layout);
            assert_eq!(queue.state(), state);
            let again = queue.state();
            assert_eq!(queue.setup(layout, features, again), Ok(()));
            queue.clear();
        }
        Err(error) => told(&error),
    }
    assert_eq!(queue.layout(), QueueLayout::default());
}

/// Slots of a packed ring are numbers that go round.
fn slots(c: &Choices<'_>) {
    let size = 1 + c.u16() % MAX_SIZE;
    let slot = Slot {
        index: c.u16() % size,
        wrap: c.flag(),
    };
    let count = c.u16() % (size + 1);
    let later = slot.advance(count, size);
    assert!(later.index < size);
    assert_eq!(later.ahead_of(slot, size), Some(count));
    assert_eq!(Slot::from_bits(slot.to_bits()), slot);
    let behind = slot.ahead_of(later, size);
    match count {
        0 => assert_eq!(behind, Some(0)),
        // Once round there is the same place with the other counter.
        _ if count == size => assert_eq!(behind, Some(size)),
        _ => assert_eq!(behind, None),
    }
    // An event is one of the last ones, or it is not.
    let event = Slot::from_bits(c.u16());
    let needed = need_slot_event(event, later, count, size);
    if count < 2000 {
        let passed = (0..count).any(|at| slot.advance(at, size) == event);
        assert_eq!(
            needed, passed,
            "{event:?} from {slot:?} to {later:?} of {size}"
        );
    }
}

fn events(c: &Choices<'_>) {
    let (event, old, count) = (c.u16(), c.u16(), c.u16());
    let new = old.wrapping_add(count);
    let passed = event.wrapping_sub(old) < count;
    assert_eq!(need_event(event, new, old), passed);
    let (data, features) = (c.u32(), Features(c.u64()));
    assert_eq!(Notification::from_bits(data, features).to_bits(), data);
}
