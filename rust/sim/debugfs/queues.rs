// SPDX-License-Identifier: GPL-2.0

//! The table of a device's virtqueues.

use super::{
    super::{
        notify::Notify,
        queue::{
            Counters,
            Vq, //
        },
        slots::Slots,
        worker::{
            Task,
            Worker, //
        },
    },
    Seq,
    Show, //
};
use crate::virtio::{
    layout::packed::Slot,
    ring::State, //
};
use core::fmt::{
    self,
    Write, //
};
use kernel::sync::Arc;

/// All virtqueues of a device, negotiated or not.
pub(super) struct Queues(pub(super) Arc<Slots>);

impl Show for Queues {
    /// The driver does not reach queues without an index. What was dropped is followed by
    /// the reasons. Raised and suppressed are interrupts.
    fn show(&self, out: &mut Seq<'_>) -> fmt::Result {
        writeln!(
            out,
            "index role     state    size format available      used      packets            \
             bytes        kicks       raised   suppressed errors        drops"
        )?;
        let control = usize::from(self.0.port.shared.control_index());
        let reached = |index: usize| (index < control).then_some(index);
        for (pair, receiver) in self.0.port.receivers.iter().enumerate() {
            line(out, reached(pair * 2), receiver)?;
        }
        for (pair, transmitter) in self.0.transmitters.iter().enumerate() {
            line(out, reached(pair * 2 + 1), transmitter)?;
        }
        line(out, Some(control), &self.0.control)
    }
}

/// Prints the line of a virtqueue.
fn line<T: Task>(out: &mut Seq<'_>, index: Option<usize>, worker: &Worker<T>) -> fmt::Result {
    let now = worker.with(|vq| Snapshot::new(vq));
    match index {
        Some(index) => write!(out, "{index:>5}")?,
        None => write!(out, "    -")?,
    }
    now.print(out, T::ROLE, &worker.notify)
}

/// What is printed of a virtqueue, taken under its lock.
struct Snapshot {
    state: &'static str,
    size: u16,
    at: Option<State>,
    counters: Counters,
}

impl Snapshot {
    fn new(vq: &Vq) -> Self {
        let state = if vq.is_broken() {
            "broken"
        } else if vq.is_running() {
            "running"
        } else {
            "stopped"
        };
        Self {
            state,
            size: vq.num(),
            at: vq.state(),
            counters: vq.counters,
        }
    }

    fn print(&self, out: &mut Seq<'_>, role: &str, notify: &Notify) -> fmt::Result {
        write!(out, " {role:<8} {:<7} {:>5} ", self.state, self.size)?;
        match self.at {
            // It is at the start, of either format.
            None => write!(out, "-              -         -")?,
            Some(State::Split(index)) => write!(out, "split  {index:>9}         -")?,
            Some(State::Packed(state)) => {
                write!(out, "packed")?;
                place(out, state.available)?;
                place(out, state.used)?;
            }
        }
        let c = &self.counters;
        write!(
            out,
            " {:>12} {:>16} {:>12} {:>12} {:>12} {:>6} {:>12}",
            c.packets,
            c.bytes,
            notify.kicks(),
            c.interrupts_raised,
            c.interrupts_suppressed,
            c.errors,
            c.drops()
        )?;
        for (why, count) in [
            ("runt", c.drops_runt),
            ("malformed", c.drops_malformed),
            ("link_down", c.drops_link_down),
            ("no_buffer", c.drops_no_buffer),
            ("too_large", c.drops_too_large),
        ] {
            if count > 0 {
                write!(out, " {why}={count}")?;
            }
        }
        writeln!(out)
    }
}

/// Prints a place in a packed ring: the index, and the wrap counter.
fn place(out: &mut Seq<'_>, slot: Slot) -> fmt::Result {
    write!(out, " {:>7}/{}", slot.index, u8::from(slot.wrap))
}
