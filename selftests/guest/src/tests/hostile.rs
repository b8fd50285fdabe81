// SPDX-License-Identifier: GPL-2.0

//! What comes of a driver that breaks a rule of the specification: the queue is stopped,
//! with NEEDS_RESET, the config interrupt, and one line in the log that names device, queue,
//! fault and descriptor. `rvdpa-hostile` has the drivers that do nothing else.

use crate::{
    check,
    harness::Context,
    outcome::Outcome,
    sys::SOON,
    vhost::{wait_event, Net},
};

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
