// SPDX-License-Identifier: GPL-2.0

//! With `use_va=1`, memory that a client takes from itself while the device uses it. It costs
//! the client a fault, and nobody else anything.

use super::clients::{next_client, undisturbed, Process};
use crate::{
    frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    tests::rings::{plan, ring_device},
    vhost::{Format, Net, Plan},
};
use nix::errno::Errno;
use std::{io::Write, thread, time::Duration};

const VA: &str = "use_va=1";
const TABLES_VA: &str = "batch_mapping=1 use_va=1";

pub const TESTS: &[Test] = &[
    Test::new("client.va.unmaps_its_memory", |context| {
        lose(context, Loss::Unmap)
    })
    .with(VA)
    .seconds(60),
    Test::new("client.va.cuts_its_file", |context| {
        lose(context, Loss::Truncate)
    })
    .with(VA)
    .seconds(60),
    Test::new("client.va.forbids_its_memory", |context| {
        lose(context, Loss::Forbid)
    })
    .with(VA)
    .seconds(60),
    Test::new("client.va.forbids_writing", |context| {
        lose(context, Loss::ReadOnly)
    })
    .with(VA)
    .seconds(60),
    Test::new("client.set_map.va.unmaps_its_memory", |context| {
        lose(context, Loss::Unmap)
    })
    .with(TABLES_VA)
    .seconds(60),
    Test::new("client.set_map.va.cuts_its_file", |context| {
        lose(context, Loss::Truncate)
    })
    .with(TABLES_VA)
    .seconds(60),
];

/// How memory is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Unmap,
    Truncate,
    Forbid,
    ReadOnly,
}

/// Loses the receive buffers of a driver.
fn lose_buffers(net: &Net, loss: Loss) -> Outcome {
    let len = usize::from(net.plan.size) * net.plan.room;
    let start = net.memory.pointer(net.rx.buffers, len).cast();
    // SAFETY: Nobody in this process uses the receive buffers from now on.
    let result = unsafe {
        match loss {
            // What is behind the receive buffers goes too: the driver of this process has
            // all of transmitting there, but must not use it any more.
            Loss::Truncate => {
                let to = (net.rx.buffers - net.memory.iova()) as usize;
                return net.memory.truncate(to);
            }
            Loss::Unmap => libc::munmap(start, len),
            Loss::Forbid => libc::mprotect(start, len, libc::PROT_NONE),
            Loss::ReadOnly => libc::mprotect(start, len, libc::PROT_READ),
        }
    };
    Errno::result(result)
        .map(drop)
        .when(format_args!("{loss:?}"))
}

/// What a client does that loses its memory while frames are under way.
fn client(path: &str, plan: Plan, loss: Loss, delay: Duration) -> Outcome {
    let mut net = Net::new(path, plan)?;
    net.fill_rx()?;
    for number in 0..200 {
        net.add_frame(&frame::make(1500, net.mac, net.mac, number));
    }
    net.tx.driver.publish();
    net.tx.kick()?;
    thread::sleep(delay);
    lose_buffers(&net, loss)?;
    // There are receive buffers left for these. With a file that was cut, the rings of the
    // transmit queue have gone too: the device finds it when it is kicked.
    if loss != Loss::Truncate {
        for number in 0..10 {
            net.add_frame(&frame::make(1500, net.mac, net.mac, number));
        }
        net.tx.driver.publish();
    }
    net.tx.kick()?;
    let result = net.client.wait_for_needs_reset();
    // A reset is all right as ever.
    net.client.reset()?;
    // Its memory is not all there to be given back.
    std::mem::forget(net);
    result
}

fn lose(context: &mut Context, loss: Loss) -> Outcome {
    for format in Format::ALL {
        let (device, path) = ring_device("client", format)?;
        let (other, other_path) = ring_device("other", Format::Split)?;
        let plan = plan(context);
        let mut traffic = Net::new(&other_path, plan)?;
        for round in 0..5 {
            context.step(format_args!("{format:?}, round {round}"));
            let delay = Duration::from_micros(400 * round);
            let process = Process::start(|says| {
                client(&path, plan, loss, delay)?;
                says.write_all(b"r")?;
                Ok(())
            })?;
            undisturbed(&mut traffic, || {
                process.ready()?;
                process.end()
            })
            .when(format_args!("{format:?}, round {round}"))?;
            next_client(&path, plan).when(format_args!("{format:?}, round {round}"))?;
        }
        drop(traffic);
        device.delete()?;
        other.delete()?;
    }
    Ok(())
}
