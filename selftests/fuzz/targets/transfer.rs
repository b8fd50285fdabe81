// SPDX-License-Identifier: GPL-2.0

//! Frames from one virtqueue to another, the drivers of which change everything at any time.

use super::ring::{
    chain_steps,
    driver,
    queue, //
};
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
};
use rvdpa_virtio::{
    fault::{
        QueueError,
        TransferError, //
    },
    queue::Queue,
    ring::{
        Engine,
        State, //
    },
};

/// Where the areas of the two are.
const SENDER: u64 = 0x1000;
const RECEIVER: u64 = 0x5000;
/// Most steps per input.
const STEPS: usize = 100;

/// What ends a batch.
enum End {
    /// A fault of the sender's.
    Sender,
    /// A fault of the receiver's.
    Receiver,
    /// Memory that was away.
    Away,
}

impl From<TransferError> for End {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Source(QueueError::Fault(_)) => Self::Sender,
            TransferError::Destination(QueueError::Fault(_)) => Self::Receiver,
            _ => Self::Away,
        }
    }
}

/// Any two formats.
pub fn run(data: &[u8]) {
    let c = Choices::new(data);
    let kind = c.u8();
    let (mut from, from_state) = driver(&c, SENDER, kind & 1 != 0);
    let (mut to, to_state) = driver(&c, RECEIVER, kind & 2 != 0);
    let mut regions = from.regions().to_vec();
    regions.extend(to.regions());
    regions.extend(BUFFERS);
    let mem = Hostile::new(c, &regions);
    let (mut source, mut target) = (queue(from.layout.size), queue(to.layout.size));
    if kind & 4 != 0 {
        mem.disturb();
    }
    let mut states = (from_state, to_state);
    for _ in 0..STEPS {
        if mem.choices.is_empty() {
            return;
        }
        source
            .setup(from.layout, from.features, states.0)
            .expect("a state that it had");
        target
            .setup(to.layout, to.features, states.1)
            .expect("a state that it had");
        let end = match (source.engine(), target.engine()) {
            (Engine::Split(a), Engine::Split(b)) => batch(a, b, &mem, &mut from, &mut to),
            (Engine::Split(a), Engine::Packed(b)) => batch(a, b, &mem, &mut from, &mut to),
            (Engine::Packed(a), Engine::Split(b)) => batch(a, b, &mem, &mut from, &mut to),
            (Engine::Packed(a), Engine::Packed(b)) => batch(a, b, &mem, &mut from, &mut to),
        };
        states = (source.state(), target.state());
        match end {
            Ok(()) => {}
            Err(End::Sender) => states.0 = anew(states.0),
            Err(End::Receiver) => states.1 = anew(states.1),
            Err(End::Away) => mem.bring_in(),
        }
    }
}

/// Where a queue goes on that broke.
fn anew(state: State) -> State {
    match state {
        State::Split(_) => State::Split(0),
        State::Packed(_) => State::Packed(rvdpa_virtio::packed::State::START),
    }
}

/// The drivers do something, and a frame is moved.
fn batch<A, B>(
    source: &mut A,
    target: &mut B,
    mem: &Hostile<'_>,
    from: &mut Driver,
    to: &mut Driver,
) -> Result<(), End>
where
    A: Queue<Area = HostileArea>,
    B: Queue<Area = HostileArea>,
{
    let how = mem.choices.u8();
    for _ in 0..(how & 3) {
        from.act(mem);
        to.act(mem);
    }
    if how & 0x1c == 0 {
        let (kind, which) = (mem.choices.u8(), mem.choices.u8());
        mem.change_mapping(which.into(), kind & 1 == 0, kind & 2 == 0);
    }
    let size = usize::from(from.layout.size.max(to.layout.size));
    let bound = 2 * chain_steps(size);
    source.begin(mem).map_err(TransferError::Source)?;
    target.begin(mem).map_err(TransferError::Destination)?;
    let mark = target.mark();
    for _ in 0..4 {
        mem.take_steps();
        let Some(sent) = source.peek(mem).map_err(TransferError::Source)? else {
            break;
        };
        let Some(room) = target.peek(mem).map_err(TransferError::Destination)? else {
            break;
        };
        let mut reader = source.reader(mem, &sent).map_err(TransferError::Source)?;
        let mut writer = target
            .writer(mem, &room)
            .map_err(TransferError::Destination)?;
        let limit = match how & 0x20 {
            0 => u64::MAX,
            _ => u64::from(mem.choices.u8()),
        };
        let copied = reader.copy_to(&mut writer, limit)?;
        assert!(copied <= limit);
        assert_eq!(u64::from(writer.written()), copied, "bytes written");
        if copied < limit {
            let done = reader.is_done().map_err(TransferError::Source)?;
            let full = writer.is_full().map_err(TransferError::Destination)?;
            assert!(done || full, "neither is at its end");
        }
        assert!(mem.take_steps() <= bound, "too many steps for a frame");
        let written = writer.written();
        if how & 0x40 != 0 {
            target.rewind(mark);
            break;
        }
        source
            .complete_fully(mem, sent, 0)
            .map_err(TransferError::Source)?;
        target
            .complete(mem, room, written)
            .map_err(TransferError::Destination)?;
    }
    target.publish(mem).map_err(TransferError::Destination)?;
    source.publish(mem).map_err(TransferError::Source)?;
    source.allow_kicks(mem).map_err(TransferError::Source)?;
    Ok(())
}
