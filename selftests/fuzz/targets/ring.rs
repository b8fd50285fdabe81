// SPDX-License-Identifier: GPL-2.0

//! A virtqueue and a driver that changes everything at any time.

use crate::{
    choices::Choices,
    driver::{
        Driver,
        BUFFERS, //
    },
    memory::{
        Hostile,
        HostileArea, //
    },
    model::{
        Chain,
        Model, //
    },
};
use rvdpa_virtio::{
    fault::QueueError,
    features::Features,
    layout::packed::Slot,
    packed::{
        self,
        Completion,
        PackedQueue, //
    },
    queue::{
        Interrupt,
        Queue, //
    },
    ring::{
        Engine,
        RingQueue,
        State, //
    },
    short::ShortChains,
    split::{
        self,
        SplitQueue, //
    },
};
use std::cell::Cell;

/// Where the areas of the virtqueue are.
const BASE: u64 = 0x1000;
/// Most steps per input.
const STEPS: usize = 200;

/// A queue for a hostile memory, with its room.
pub(super) type HostileQueue = RingQueue<HostileArea, Vec<Cell<Completion>>>;

/// A queue that is not set up, with room for `size` descriptors.
pub(super) fn queue(size: u16) -> HostileQueue {
    let room = (0..size).map(|_| Cell::default()).collect();
    RingQueue::new(
        SplitQueue::new(Default::default()),
        PackedQueue::new(Default::default(), room),
    )
}

/// A driver with its choice of features and sizes, and where it starts.
pub(super) fn driver(c: &Choices<'_>, base: u64, packed: bool) -> (Driver, State) {
    let bits = c.u8();
    let mut features = Features::VERSION_1;
    for (bit, feature) in [
        (1, Features::INDIRECT_DESC),
        (2, Features::EVENT_IDX),
        (4, Features::IN_ORDER),
    ] {
        if bits & bit != 0 {
            features = features | feature;
        }
    }
    let start = c.u16();
    if packed {
        let size = c.one_of(&[8, 1, 2, 3, 5, 16]);
        let index = Slot::from_bits(start).index % size;
        let slot = Slot {
            index,
            ..Slot::from_bits(start)
        };
        let features = features | Features::RING_PACKED;
        let driver = Driver::new(base, size, features, slot.to_bits());
        (driver, State::Packed(packed::State::at(slot)))
    } else {
        let size = c.one_of(&[8, 1, 2, 4, 16]);
        let driver = Driver::new(base, size, features, start);
        (driver, State::Split(start))
    }
}

/// Of both formats, what a chain is called.
pub(super) trait Name {
    /// What the driver calls the chain.
    fn name(&self) -> u16;
}

impl Name for split::Head {
    fn name(&self) -> u16 {
        self.index()
    }
}

impl Name for packed::Head {
    fn name(&self) -> u16 {
        self.id()
    }
}

/// Split rings.
pub fn split(data: &[u8]) {
    run(data, false);
}

/// Packed rings.
pub fn packed(data: &[u8]) {
    run(data, true);
}

fn run(data: &[u8], is_packed: bool) {
    let c = Choices::new(data);
    let disturbed = c.flag();
    let (mut driver, state) = driver(&c, BASE, is_packed);
    let mut regions = driver.regions().to_vec();
    regions.extend(BUFFERS);
    let mem = Hostile::new(c, &regions);
    let mut ring = queue(driver.layout.size);
    ring.setup(driver.layout, driver.features, state)
        .expect("a valid layout");
    let mut model = Model::new(&driver, state);
    if disturbed {
        mem.disturb();
    }
    let mut steps = STEPS;
    loop {
        let result = match ring.engine() {
            Engine::Split(queue) => work(queue, &mem, &mut driver, &mut model, &mut steps),
            Engine::Packed(queue) => work(queue, &mem, &mut driver, &mut model, &mut steps),
        };
        let state = match result {
            Ok(Some(moved)) => {
                assert_eq!(ring.state(), moved, "where the queue goes on");
                moved
            }
            Ok(None) => return,
            // A broken queue is set up anew, if at all.
            Err(_) => match is_packed {
                true => State::Packed(packed::State::START),
                false => State::Split(mem.choices.u16()),
            },
        };
        ring.setup(driver.layout, driver.features, state)
            .expect("a state that it had");
        model = Model::new(&driver, state);
    }
}

/// Works until the input is at its end, or returns where the queue is to be set up again. An
/// error tells that the queue broke.
fn work<Q>(
    queue: &mut Q,
    mem: &Hostile<'_>,
    driver: &mut Driver,
    model: &mut Model,
    steps: &mut usize,
) -> Result<Option<State>, QueueError>
where
    Q: Queue<Area = HostileArea>,
    Q::Head: Name,
{
    let size = usize::from(driver.layout.size);
    let mut marks = Vec::new();
    // Whether the areas are resolved.
    let mut begun = false;
    let mut broken = None;
    loop {
        if mem.choices.is_empty() || *steps == 0 {
            return Ok(None);
        }
        *steps -= 1;
        mem.take_steps();
        let result = match mem.choices.up_to(15) {
            0..=3 => {
                driver.act(mem);
                Ok(())
            }
            4 => {
                let (kind, which) = (mem.choices.u8(), mem.choices.u8());
                mem.change_mapping(which.into(), kind & 1 == 0, kind & 2 == 0);
                begun = false;
                Ok(())
            }
            5 if broken.is_some() => return Err(broken.expect("broken")),
            5 if mem.choices.u8() & 7 == 0 => return Ok(Some(model.state())),
            _ if !begun => {
                let result = queue.begin(mem);
                begun = result.is_ok();
                assert!(mem.take_steps() <= 3);
                result
            }
            5..=9 => {
                let chain = match broken {
                    None => one_chain(queue, mem, size, model.room()),
                    Some(_) => one_chain(queue, mem, size, None),
                };
                assert!(mem.take_steps() <= chain_steps(size));
                let writes = mem.take_writes();
                chain.map(|chain| {
                    if let (Some(chain), None) = (chain, broken) {
                        model.complete(chain, &writes);
                    }
                })
            }
            10 | 11 => {
                mem.take_writes();
                let shown = queue.publish(mem);
                assert!(mem.take_steps() <= size + 8);
                let writes = mem.take_writes();
                if broken.is_none() {
                    let completed = model.completed();
                    model.show(&writes, shown.is_ok());
                    if shown == Ok(Interrupt::Nothing) {
                        assert!(writes.is_empty() && completed == model.completed());
                    }
                }
                shown.map(|_| ())
            }
            12 => queue.suppress_kicks(mem),
            13 => queue.allow_kicks(mem).map(|_| ()),
            14 => {
                marks.push((queue.mark(), model.completed()));
                Ok(())
            }
            _ => {
                if let Some((mark, completed)) = marks.pop() {
                    queue.rewind(mark);
                    model.rewind(completed);
                    // Later ones are of no use any more.
                    marks.retain(|(_, other)| *other <= completed);
                }
                Ok(())
            }
        };
        assert!(mem.take_steps() <= size + 8);
        match result {
            Ok(()) => {}
            Err(QueueError::NotPresent(place)) => {
                assert!(place.len > 0);
                mem.bring_in();
            }
            Err(fault) => broken = Some(fault),
        }
    }
}

/// How many accesses the device needs for a chain at most: for each descriptor of the ring and
/// of a table, and each piece of each buffer.
pub(super) fn chain_steps(size: usize) -> usize {
    25 * (size + 64) + 50
}

/// The device takes the next chain, reads or writes it, and completes it or not.
fn one_chain<Q>(
    queue: &Q,
    mem: &Hostile<'_>,
    size: usize,
    room: Option<usize>,
) -> Result<Option<Chain>, QueueError>
where
    Q: Queue<Area = HostileArea>,
    Q::Head: Name,
{
    let how = mem.choices.u8();
    if how & 0x80 != 0 {
        // Whoever looks for short ones first, and leaves them.
        let mut chains = Box::<ShortChains>::default();
        let found = queue.peek_short(mem, 4, &mut chains);
        assert!(found <= 4 && chains.found().len() == found);
        assert!(mem.take_steps() <= 64);
    }
    mem.take_flag_loads();
    let found = queue.peek(mem)?;
    let slots = mem.take_flag_loads();
    assert!(mem.take_steps() <= size + 4);
    let Some(head) = found else {
        return Ok(None);
    };
    let name = head.name();
    assert!(usize::from(name) < size, "a name that there is not");
    // A split ring has no such thing.
    let slots = room.map_or(0, |room| {
        assert!(slots <= room, "{slots} descriptors of {room}");
        slots
    });

    let written = match how & 3 {
        0 => {
            let mut reader = queue.reader(mem, &head)?;
            let mut sum = reader.skip(((how >> 2) & 3).into())?;
            let mut some = [0; 64];
            loop {
                let len = reader.read(&mut some)?;
                sum += len as u64;
                if len < some.len() {
                    break;
                }
            }
            assert!(reader.is_done()?);
            assert!(sum <= u32::MAX.into());
            0
        }
        1 => {
            let mut writer = queue.writer(mem, &head)?;
            write(&mut writer, how)?
        }
        2 => {
            let mut request = queue.request(mem, &head)?;
            let mut some = [0; 16];
            request.read(&mut some)?;
            write(&mut request.into_writer()?, how)?
        }
        _ => how.into(),
    };
    mem.take_writes();
    let fully = how & 0x20 != 0;
    match how & 0x60 {
        0x60 => return Ok(None),
        0x20 => queue.complete_fully(mem, head, written)?,
        _ => queue.complete(mem, head, written)?,
    }
    Ok(Some(Chain {
        name,
        slots: slots as u16,
        written,
        fully,
    }))
}

/// Writes some of a chain, its first bytes last. Returns how many bytes that were.
fn write<'m, W: rvdpa_virtio::chain::Walk<'m>>(
    writer: &mut rvdpa_virtio::chain::Writer<'m, W>,
    how: u8,
) -> Result<u32, QueueError> {
    let mut header = writer.clone();
    let skipped = writer.skip(12)?;
    assert_eq!(u64::from(writer.written()), skipped);
    let data = [how; 100];
    let more = writer.write(&data[..usize::from(how & 0x3f)])?;
    let len = header.write(&data[..skipped as usize])?;
    assert!(len as u64 <= skipped);
    assert_eq!(u64::from(writer.written()), skipped + more as u64);
    Ok(writer.written())
}
