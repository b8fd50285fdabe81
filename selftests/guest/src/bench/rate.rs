// SPDX-License-Identifier: GPL-2.0

//! Frames of devices beside copies of as many bytes, in time: the device alone, from the
//! kick for a full ring to its end.

use super::{
    alone::C_FEATURES,
    batch::Batch,
    limit::Copies,
    parent::{Loaded, Memory, Subject},
    record::{Record, Samples},
};
use crate::{
    device::Device,
    outcome::{Outcome, While},
    vhost::{Plan, BASIC},
};

/// Bytes of frames, and who is compared: the C simulator takes no large ones.
const SIZES: [(usize, &[Subject]); 3] = [
    (64, &[Subject::Ours, Subject::C]),
    (1500, &[Subject::Ours, Subject::C]),
    (65535, &[Subject::Ours]),
];

/// Measures each size, in turns.
pub fn run(rounds: usize) -> Outcome {
    let loaded = [Subject::Ours, Subject::C]
        .into_iter()
        .map(|subject| Loaded::new(subject, Memory::Pa, ""))
        .collect::<Outcome<Vec<_>>>()?;
    let copies = Copies::new()?;
    for (size, subjects) in SIZES {
        one(size, subjects, rounds, &copies)?;
    }
    copies.end()?;
    loaded.into_iter().try_for_each(Loaded::unload)
}

/// A device of a subject, and its driver.
fn device(subject: Subject, size: usize) -> Outcome<(Device, Batch)> {
    let features = match subject {
        Subject::Ours => BASIC,
        Subject::C | Subject::Reference => C_FEATURES,
    };
    let parent = subject.parent().when("a device")?;
    let (device, path) = parent.device(subject.name()).features(features).make()?;
    let plan = Plan {
        features,
        kind: Memory::Pa.kind(),
        room: (size + 12).next_multiple_of(2048),
        ..Plan::default()
    };
    let batch = Batch::new(&path, plan, size, usize::MAX, 1)?;
    Ok((device, batch))
}

/// Measures frames of one size.
fn one(size: usize, subjects: &[Subject], rounds: usize, copies: &Copies) -> Outcome {
    let mut all = Vec::new();
    for &subject in subjects {
        let (device, batch) = device(subject, size)?;
        all.push((subject, device, batch, Samples::default()));
    }
    let mut reference = Samples::default();
    for round in 0..=rounds {
        let copy = copies.one(size)?;
        if round > 0 {
            reference.add(copy);
        }
        for (_, _, batch, samples) in &mut all {
            let (cycles, _) = batch.run()?;
            // The first is for all that is done once.
            if round > 0 {
                samples.add(cycles as f64 / batch.frames as f64);
            }
        }
    }
    let record = |subject: Subject, samples: &Samples| {
        Record::new("rate")
            .with("subject", subject.name())
            .with("size", size)
            .print("cycles/frame", samples);
    };
    record(Subject::Reference, &reference);
    for (subject, device, batch, samples) in all {
        record(subject, &samples);
        drop(batch);
        device.delete()?;
    }
    Ok(())
}
