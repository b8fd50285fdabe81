// SPDX-License-Identifier: GPL-2.0

//! Drivers that break the rules of the specification.
//!
//! Each rule that is broken stops the queue: NEEDS_RESET, the config interrupt, and one
//! line in the log that names device, queue, fault and descriptor. A reset mends it.

mod attacks;
mod buffers;
mod chains;
mod control;
mod odd;
mod packed;
mod races;
mod runts;
mod tables;

pub use buffers::TESTS as BUFFERS;
pub use chains::TESTS as CHAINS;
pub use control::TESTS as CONTROL;
pub use odd::TESTS as ODD;
pub use packed::TESTS as PACKED;
pub use races::TESTS as RACES;
pub use runts::TESTS as RUNTS;
pub use tables::TESTS as TABLES;

use crate::{
    check,
    harness::Context,
    outcome::{Outcome, While},
    sys::{wait_for, SOON},
    vhost::{wait_event, Net},
};
use rvdpa_virtio::mock::DriverMemory;
use std::time::Duration;

/// A fault that is expected.
pub struct Faulty<'a> {
    queue: usize,
    texts: Vec<&'a str>,
}

impl<'a> Faulty<'a> {
    /// A fault of a virtqueue, whose line has a text.
    pub fn at(queue: usize, text: &'a str) -> Self {
        Self {
            queue,
            texts: vec![text],
        }
    }

    /// The line has another text too.
    pub fn and(mut self, text: &'a str) -> Self {
        self.texts.push(text);
        self
    }
}

/// Waits for a fault and looks at all that it has to bring.
pub fn expect_fault(context: &mut Context, net: &Net, device: &str, fault: &Faulty<'_>) -> Outcome {
    net.client.wait_for_needs_reset()?;
    let come = wait_event(&net.config_call, SOON)?;
    check!(come, "no config interrupt");
    let control = net.control.as_ref().map(|queue| queue.index);
    let role = match fault.queue {
        queue if Some(queue) == control => "control",
        queue if queue % 2 == 0 => "receive",
        _ => "transmit",
    };
    let queue = format!(
        "{device}: virtqueue {} ({role}) stopped until reset:",
        fault.queue
    );
    let mut parts = vec!["rvdpa_sim: ", queue.as_str()];
    parts.extend(&fault.texts);
    context.log.expect(&parts)?;
    let more = context.log.since()?;
    check!(more.is_empty(), "more than one line: {more:?}");
    Ok(())
}

/// Whether a virtqueue does nothing any more, whatever it is told.
fn is_stopped(net: &Net, index: usize) -> Outcome {
    let control = net.control.as_ref().filter(|queue| queue.index == index);
    let queue = control.unwrap_or(if index % 2 == 0 { &net.rx } else { &net.tx });
    let memory = queue.driver.memory();
    let look = || {
        let mut all = vec![0; memory.len()];
        memory.read(memory.iova(), &mut all);
        all
    };
    let before = look();
    queue.kick()?;
    std::thread::sleep(Duration::from_millis(2));
    check!(
        before == look(),
        "a broken virtqueue has changed the driver's memory"
    );
    Ok(())
}

/// Waits until the transmit queue has used so many chains.
fn wait_used(net: &mut Net, count: usize) -> Outcome {
    wait_for("chains are used", SOON, || {
        Ok((net.tx.used() == count).then_some(()))
    })
    .when(format_args!("{count} chains"))
}
