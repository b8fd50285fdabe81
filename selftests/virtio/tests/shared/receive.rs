// SPDX-License-Identifier: GPL-2.0

// Frames that take several receive buffers, the first of which is told how many when all
// are filled (5.1.6.4).
//
// Included once per format, with `Rig` for its rig and `F` for the format itself.

use rvdpa_virtio::{
    fault::QueueError,
    features::Features,
    memory::{
        Access,
        Memory, //
    },
    mock::{
        Buffer,
        DriverMemory,
        Form, //
    },
    queue::Queue,
};

/// How a device receives a frame: the number of chains in two bytes, then the frame. Returns
/// whether there was room; if not, nothing was consumed.
fn receive<Q: Queue, M: Memory<Area = Q::Area>>(
    queue: &Q,
    mem: &M,
    frame: &[u8],
) -> Result<bool, QueueError> {
    let mark = queue.mark();
    let mut count = 0_u16;
    let mut header = None;
    let mut rest = frame;
    loop {
        let Some(head) = queue.peek(mem)? else {
            queue.rewind(mark);
            return Ok(false);
        };
        let mut writer = queue.writer(mem, &head)?;
        if header.is_none() {
            header = Some(writer.clone());
            assert_eq!(writer.skip(2)?, 2);
        }
        count += 1;
        rest = &rest[writer.write(rest)?..];
        let written = writer.written();
        if rest.is_empty() {
            queue.complete(mem, head, written)?;
            break;
        }
        queue.complete_fully(mem, head, written)?;
    }
    assert_eq!(header.unwrap().write(&count.to_le_bytes())?, 2);
    Ok(true)
}

/// How many bytes each chain has, in two buffers: the first of one byte, so that the header
/// lies in both.
const ROOM_EACH: usize = 20;

/// The driver's side: what it has made available.
#[derive(Default)]
struct Room(std::collections::VecDeque<(u16, [Buffer; 2])>, u64);

impl Room {
    /// Makes `count` chains available.
    fn offer(&mut self, rig: &mut Rig, form: Form, count: usize) {
        for _ in 0..count {
            let at = TARGET + 32 * self.1;
            let form = match form {
                Form::Indirect { table } => Form::Indirect {
                    table: table + 32 * self.1,
                },
                form => form,
            };
            self.1 += 1;
            let len = ROOM_EACH as u32 - 1;
            let chain = [Buffer::writable(at, 1), Buffer::writable(at + 1, len)];
            let name = rig.driver.add(&chain, form).unwrap();
            self.0.push_back((name, chain));
        }
        rig.driver.publish();
    }

    /// Takes back the next chain: its bytes.
    fn collect(&mut self, rig: &mut Rig) -> Option<Vec<u8>> {
        let used = rig.driver.poll_used()?;
        let (name, [first, _]) = self.0.pop_front().unwrap();
        assert_eq!(used.head, name);
        let mut bytes = vec![0; used.len as usize];
        rig.memory.read(first.iova, &mut bytes);
        Some(bytes)
    }

    /// Takes back the chains of the next frame, as the driver of a network device does.
    fn frame(&mut self, rig: &mut Rig) -> Vec<u8> {
        let mut frame = self.collect(rig).expect("there is no frame");
        let count = u16::from_le_bytes([frame[0], frame[1]]);
        frame.drain(..2);
        for _ in 1..count {
            frame.extend(self.collect(rig).expect("the frame is too short"));
        }
        frame
    }
}

/// Calls `test` with all combinations of features and forms.
fn each_way(test: impl Fn(Rig, Form, Features)) {
    for features in [Features::INDIRECT_DESC, ALL, IN_ORDER] {
        for form in [Form::Direct, Form::Indirect { table: TABLES }] {
            let rig = Rig::starting_at(16, features, F::near_wrap(16));
            test(rig, form, features);
        }
    }
}

#[test]
fn a_frame_takes_as_many_chains_as_it_needs() {
    each_way(|mut rig, form, _| {
        let mut room = Room::default();
        // What fills chains to the end, and a byte less and more.
        for len in [1, 17, 18, 19, 37, 38, 39, 100, 130, 138] {
            room.offer(&mut rig, form, 8);
            let frame = pattern(len, len as u8);
            rig.queue.begin(&rig.memory).unwrap();
            assert_eq!(receive(&rig.queue, &rig.memory, &frame), Ok(true));
            // Nothing is seen before it is published.
            assert_eq!(rig.driver.poll_used(), None);
            rig.queue.publish(&rig.memory).unwrap();
            assert_eq!(room.frame(&mut rig), frame);
            assert_eq!(rig.driver.poll_used(), None);
            // The others are for the next frames.
            while rig.peek().unwrap().is_some() {
                rig.write_all(&[0; ROOM_EACH]).unwrap();
            }
            rig.queue.publish(&rig.memory).unwrap();
            while room.collect(&mut rig).is_some() {}
            assert!(room.0.is_empty());
        }
    });
}

#[test]
fn several_frames_are_published_at_once() {
    each_way(|mut rig, form, features| {
        let mut room = Room::default();
        room.offer(&mut rig, form, 8);
        rig.queue.begin(&rig.memory).unwrap();
        // Two chains, which are filled to the end; one; four.
        rig.memory.start_log();
        let frames = [pattern(38, 1), pattern(3, 2), pattern(70, 3)];
        for frame in &frames {
            assert_eq!(receive(&rig.queue, &rig.memory, frame), Ok(true));
        }
        // In order, the last chain of each tells of the others.
        let told = if features == IN_ORDER { 3 } else { 7 };
        assert_eq!(publish_and_count(&mut rig), told);
        for frame in frames {
            assert_eq!(room.frame(&mut rig), frame);
        }
        assert_eq!(rig.driver.poll_used(), None);
    });
}

#[test]
fn a_frame_without_enough_room_leaves_all_chains_where_they_are() {
    each_way(|mut rig, form, _| {
        let mut room = Room::default();
        room.offer(&mut rig, form, 5);
        rig.queue.begin(&rig.memory).unwrap();
        let (first, second) = (pattern(30, 1), pattern(70, 2));
        assert_eq!(receive(&rig.queue, &rig.memory, &first), Ok(true));
        // It needs four, and there are three.
        for _ in 0..2 {
            assert_eq!(receive(&rig.queue, &rig.memory, &second), Ok(false));
        }
        rig.queue.publish(&rig.memory).unwrap();
        assert_eq!(room.frame(&mut rig), first);
        assert_eq!(rig.driver.poll_used(), None);
        assert_eq!(receive(&rig.queue, &rig.memory, &second), Ok(false));
        room.offer(&mut rig, form, 1);
        assert_eq!(receive(&rig.queue, &rig.memory, &second), Ok(true));
        rig.queue.publish(&rig.memory).unwrap();
        assert_eq!(room.frame(&mut rig), second);
        assert!(room.0.is_empty());
    });
}

#[test]
fn a_frame_that_meets_a_hole_can_be_received_again() {
    each_way(|mut rig, form, _| {
        let mut room = Room::default();
        room.offer(&mut rig, form, 2);
        // The second chain of the frame lies elsewhere, and is away.
        let chain = [
            Buffer::writable(0x9000, 1),
            Buffer::writable(0x9001, ROOM_EACH as u32 - 1),
        ];
        rig.memory.map(0x9000, ROOM_EACH, Access::Write);
        let name = rig.driver.add(&chain, Form::Direct).unwrap();
        rig.driver.publish();
        room.0.push_back((name, chain));
        rig.memory.set_resident(0x9000, false);
        let frame = pattern(50, 4);
        rig.queue.begin(&rig.memory).unwrap();
        let mark = rig.queue.mark();
        assert!(receive(&rig.queue, &rig.memory, &frame).is_err());
        rig.queue.rewind(mark);
        rig.memory.set_resident(0x9000, true);
        rig.queue.begin(&rig.memory).unwrap();
        assert_eq!(receive(&rig.queue, &rig.memory, &frame), Ok(true));
        rig.queue.publish(&rig.memory).unwrap();
        assert_eq!(room.frame(&mut rig), frame);
    });
}
