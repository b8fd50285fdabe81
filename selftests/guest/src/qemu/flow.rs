// SPDX-License-Identifier: GPL-2.0

//! Frames from one station to another, each of which may come once.

use crate::{
    check, fail, frame,
    outcome::{Outcome, While},
    sys::wait_for,
    vhost,
};
use std::{collections::BTreeSet, time::Duration};

/// How long frames may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody who sends and receives frames.
pub trait Station {
    /// Adds a frame. Returns whether there was room. Who has several queues chooses one by
    /// the frame's number.
    fn add(&mut self, number: u64, frame: &[u8]) -> bool;

    /// Shows the device what was added.
    fn show(&mut self) -> Outcome;

    /// The next frame that has come, if there is one.
    fn take(&mut self) -> Outcome<Option<Vec<u8>>>;

    /// Gives the device back the buffers of what was sent and received.
    fn tidy(&mut self) -> Outcome;
}

impl Station for vhost::Net {
    fn add(&mut self, _: u64, frame: &[u8]) -> bool {
        self.add_frame(frame)
    }

    fn show(&mut self) -> Outcome {
        self.send()
    }

    fn take(&mut self) -> Outcome<Option<Vec<u8>>> {
        self.receive()
    }

    fn tidy(&mut self) -> Outcome {
        self.reap()?;
        self.fill_rx()?;
        Ok(())
    }
}

/// What one station sends to another.
#[derive(Clone, Debug)]
pub struct Flow {
    pub to: [u8; 6],
    pub from: [u8; 6],
    /// How many frames were sent.
    pub sent: u64,
    /// The numbers of those that have come.
    came: BTreeSet<u64>,
    /// The greatest of them, to see whether they come in order.
    last: Option<u64>,
    /// How many came after a later one.
    late: u64,
}

impl Flow {
    pub fn new(from: [u8; 6], to: [u8; 6]) -> Self {
        Self {
            to,
            from,
            sent: 0,
            came: BTreeSet::new(),
            last: None,
            late: 0,
        }
    }

    /// The frame of a number: lengths and bytes are its own.
    fn frame(&self, number: u64) -> Vec<u8> {
        let len = 60 + (number.wrapping_mul(197) % 1455) as usize;
        frame::make(len, self.to, self.from, number)
    }

    /// Sends up to `count` frames, as many as there is room for. Returns how many.
    pub fn send(&mut self, station: &mut impl Station, count: u64) -> Outcome<u64> {
        let before = self.sent;
        for _ in 0..count {
            let frame = self.frame(self.sent);
            if !station.add(self.sent, &frame) {
                break;
            }
            self.sent += 1;
        }
        station.show()?;
        Ok(self.sent - before)
    }

    /// Takes what has come. Each frame must be one that was sent and has not come yet.
    /// Returns how many.
    pub fn take(&mut self, station: &mut impl Station) -> Outcome<u64> {
        let mut count = 0;
        while let Some(got) = station.take()? {
            let number = frame::number(&got).when("a number in the frame")?;
            if number >= self.sent {
                fail!("frame {number} came, of {} that were sent", self.sent);
            }
            if let Some(what) = frame::difference(&got, &self.frame(number)) {
                fail!("frame {number}: {what}");
            }
            check!(self.came.insert(number), "frame {number} came twice");
            if self.last.is_some_and(|last| number < last) {
                self.late += 1;
            }
            self.last = self.last.max(Some(number));
            count += 1;
        }
        station.tidy()?;
        Ok(count)
    }

    /// How many have come.
    pub fn came(&self) -> u64 {
        self.came.len() as u64
    }

    /// How many have not.
    pub fn missing(&self) -> u64 {
        self.sent - self.came()
    }

    /// Which have not: the first and the last of each row of them.
    pub fn gaps(&self) -> Vec<(u64, u64)> {
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        for number in (0..self.sent).filter(|number| !self.came.contains(number)) {
            match gaps.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => gaps.push((number, number)),
            }
        }
        gaps
    }

    /// How many came after one that was sent later.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// What is missing up to here is not awaited any more.
    pub fn forget_missing(&mut self) {
        self.came.extend(0..self.sent);
    }
}

/// Waits until all frames of a flow have come.
pub fn finish(flow: &mut Flow, at: &mut impl Station) -> Outcome {
    let done = wait_for("all frames", PATIENCE, || {
        flow.take(at)?;
        Ok((flow.missing() == 0).then_some(()))
    });
    done.when(format_args!(
        "{} of {} came, not {:?}",
        flow.came(),
        flow.sent,
        flow.gaps()
    ))
}
