// SPDX-License-Identifier: GPL-2.0

//! Steps that several tests take.

use crate::{
    Format,
    RigOf,
    DESCRIPTOR,
    SOURCE,
    TABLES, //
};
use rvdpa_virtio::{
    fault::{
        Place,
        QueueError, //
    },
    memory::Access,
    mock::{
        Buffer,
        DriverMemory,
        DriverQueue,
        Form, //
    },
    queue::Queue,
};

/// One byte for the device to read.
pub const BYTE: &[Buffer] = &[Buffer::readable(SOURCE, 1)];

/// Makes `count` chains of one byte available.
pub fn offer<F: Format>(rig: &mut RigOf<F>, count: usize) {
    for _ in 0..count {
        rig.driver.add(BYTE, Form::Direct).unwrap();
    }
    rig.driver.publish();
}

/// Takes and hands back all available chains, in one batch. Returns how many.
pub fn drain<F: Format>(rig: &mut RigOf<F>) -> usize {
    let mut count = 0;
    while let Some(head) = rig.peek().unwrap() {
        rig.queue.complete(&rig.memory, head, 0).unwrap();
        count += 1;
    }
    count
}

/// Takes the next chains and hands them back, one for each of `lens`: one that is `None`
/// fully, with this length, the others with the length that they have.
pub fn hand_back<F: Format>(rig: &mut RigOf<F>, full: u32, lens: &[Option<u32>]) {
    for len in lens {
        let head = rig.head();
        match *len {
            Some(len) => rig.queue.complete(&rig.memory, head, len),
            None => rig.queue.complete_fully(&rig.memory, head, full),
        }
        .unwrap();
    }
}

/// Publishes. Returns how many used elements, or used descriptors, were written since the log
/// was started.
pub fn publish_and_count<F: Format>(rig: &mut RigOf<F>) -> usize {
    rig.queue.publish(&rig.memory).unwrap();
    let rings = DESCRIPTOR..TABLES;
    let log = rig.memory.take_log().into_iter();
    log.filter(|seen| seen.access == Access::Write && seen.len == 8)
        .filter(|seen| rings.contains(&seen.iova))
        .count()
}

/// Buffers of these lengths, one behind the other with gaps between them.
pub fn buffers(base: u64, lens: &[u32], writable: bool) -> Vec<Buffer> {
    let mut iova = base;
    lens.iter()
        .map(|&len| {
            let buffer = Buffer {
                iova,
                len,
                writable,
            };
            iova += u64::from(len) + 3;
            buffer
        })
        .collect()
}

/// Puts `data` into `buffers`.
pub fn fill(memory: &impl DriverMemory, buffers: &[Buffer], mut data: &[u8]) {
    for buffer in buffers {
        let (now, later) = data.split_at(data.len().min(buffer.len as usize));
        memory.write(buffer.iova, now);
        data = later;
    }
}

/// Does `work` with each of the regions away in turn, until it says that it is done. Each
/// time, it brings in exactly what was asked for. Returns what that was.
pub fn bring_in<F: Format, T>(
    rig: &mut RigOf<F>,
    mut work: impl FnMut(&mut RigOf<F>) -> Result<T, QueueError>,
) -> (T, Vec<(u64, u32, Access)>) {
    let mut asked = Vec::new();
    loop {
        match work(rig) {
            Ok(result) => return (result, asked),
            Err(QueueError::NotPresent(Place {
                iova, len, access, ..
            })) => {
                let region = iova & !0xff_ffff;
                assert!(!asked.iter().any(|&(before, ..)| before == iova));
                asked.push((iova, len, access));
                rig.memory.set_resident(region, true);
            }
            Err(error) => panic!("{error}"),
        }
    }
}
