// SPDX-License-Identifier: GPL-2.0

//! A virtqueue whose format is negotiated.

use rvdpa_virtio::{
    features::Features,
    layout::{
        packed::Slot,
        LayoutError,
        QueueLayout, //
    },
    memory::Memory,
    mock::{
        Buffer,
        Form,
        MockArea,
        MockMemory, //
    },
    packed::{
        self,
        Completion,
        PackedQueue, //
    },
    queue::Queue,
    ring::{
        Engine,
        RingQueue,
        State, //
    },
    split::SplitQueue,
};
use selftests_virtio::*;
use std::cell::Cell;

const PACKED: Features = ALL.union(Features::RING_PACKED);

fn ring(room: u16) -> RingQueue<MockArea, Vec<Cell<Completion>>> {
    RingQueue::new(
        SplitQueue::new(MockMemory::areas()),
        PackedQueue::new(MockMemory::areas(), MockMemory::completions(room)),
    )
}

/// Hands back all that is available. Returns how many chains that was.
fn drain<Q: Queue, M: Memory<Area = Q::Area>>(queue: &mut Q, mem: &M) -> usize {
    let mut count = 0;
    queue.begin(mem).unwrap();
    while let Some(head) = queue.peek(mem).unwrap() {
        queue.complete(mem, head, 0).unwrap();
        count += 1;
    }
    queue.publish(mem).unwrap();
    count
}

#[test]
fn a_ring_works_in_the_format_that_was_negotiated() {
    fn check<F: Format>(features: Features, start: u16, from: State, to: State) {
        let mut ring = ring(8);
        assert_eq!(ring.layout(), QueueLayout::default());
        let mut rig = RigOf::<F>::starting_at(8, ALL, start);
        ring.setup(layout(8), features, from).unwrap();
        assert_eq!(ring.layout(), layout(8));
        assert_eq!(ring.state(), from);
        for _ in 0..5 {
            rig.offer(&[Buffer::readable(SOURCE, 1)], Form::Direct);
        }
        let count = match ring.engine() {
            Engine::Split(queue) => drain(queue, &rig.memory),
            Engine::Packed(queue) => drain(queue, &rig.memory),
        };
        assert_eq!(count, 5);
        assert_eq!(ring.state(), to);
        for _ in 0..5 {
            assert!(rig.driver.poll_used().is_some());
        }
        ring.clear();
        assert_eq!(ring.layout(), QueueLayout::default());
        assert_eq!(ring.state(), State::start(features));
    }
    check::<Split>(ALL, 65534, State::Split(65534), State::Split(3));
    let at = |index, wrap| packed::State::at(Slot { index, wrap });
    check::<Packed>(
        PACKED,
        0x8006,
        State::Packed(at(6, true)),
        State::Packed(at(3, false)),
    );
}

#[test]
fn a_state_of_the_other_format_is_refused() {
    let mut ring = ring(8);
    for (features, other) in [(ALL, PACKED), (PACKED, ALL)] {
        ring.setup(layout(8), features, State::start(features))
            .unwrap();
        assert_eq!(
            ring.setup(layout(8), features, State::start(other)),
            Err(LayoutError::StateFormat)
        );
        assert_eq!(ring.layout(), QueueLayout::default());
    }
    // The format may change each time.
    assert_eq!(
        ring.setup(layout(7), ALL, State::start(ALL)),
        Err(LayoutError::NotPowerOfTwo(7))
    );
    assert_eq!(ring.setup(layout(7), PACKED, State::start(PACKED)), Ok(()));
}
