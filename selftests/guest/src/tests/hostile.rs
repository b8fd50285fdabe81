// SPDX-License-Identifier: GPL-2.0

//! Drivers that break the rules of the specification.
//!
//! Each rule that is broken stops the queue: NEEDS_RESET, the config interrupt, and one
//! line in the log that names device, queue, fault and descriptor. A reset mends it.

mod attacks;
mod odd;
mod races;

pub use attacks::TESTS;
pub use odd::TESTS as ODD;
pub use races::TESTS as RACES;

use crate::{
    check, check_eq,
    harness::Context,
    outcome::{Outcome, While},
    sys::wait_for,
    vhost::{wait_event, Net, RX},
};
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
    let come = wait_event(&net.config_call, Duration::from_secs(2))?;
    check!(come, "no config interrupt");
    let role = ["receive", "transmit", "control"][fault.queue];
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
fn is_stopped(net: &Net, queue: usize) -> Outcome {
    let queue = if queue == RX { &net.rx } else { &net.tx };
    let before = queue.driver.read_used_index();
    queue.kick()?;
    std::thread::sleep(Duration::from_millis(2));
    check_eq!(
        queue.driver.read_used_index(),
        before,
        "used index of a broken virtqueue"
    );
    Ok(())
}

/// Waits until the transmit queue has used so many chains.
fn wait_used(net: &Net, count: u16) -> Outcome {
    wait_for("chains are used", Duration::from_secs(2), || {
        Ok((net.tx.driver.read_used_index() == count).then_some(()))
    })
    .when(format_args!("{count} chains"))
}
