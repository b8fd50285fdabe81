// SPDX-License-Identifier: GPL-2.0

//! Mappings as clients change them while the device runs, address spaces, what notifies
//! virtqueues, and clients that die.

mod batches;
mod changes;
mod clients;
mod doorbell_pages;
mod doorbells;
mod ends;
mod lost_memory;
mod million;
mod persist;
mod ranges;
mod rings;
mod spaces;

pub use batches::{TABLES, TESTS as BATCHES};
pub use changes::TESTS as CHANGES;
pub use clients::{next_client, undisturbed, Process, TESTS as CLIENTS};
pub use doorbell_pages::TESTS as DOORBELL_PAGES;
pub use doorbells::TESTS as DOORBELLS;
pub use ends::TESTS as ENDS;
pub use lost_memory::TESTS as LOST_MEMORY;
pub use million::TESTS as MILLION;
pub use persist::TESTS as PERSIST;
pub use ranges::TESTS as RANGES;
pub use rings::TESTS as RINGS;
pub use spaces::TESTS as SPACES;

use crate::{
    arena::View,
    check_eq, frame,
    harness::Context,
    ioctl,
    outcome::{Outcome, While},
    sys::SOON,
    vhost::{Client, LoopPlan, Net},
};
use rvdpa_virtio::{
    mock::{Buffer, DriverMemory, Form},
    net::control::mac,
    status::Status,
};

/// The same test for ranges that come one by one and for whole tables, in PA mode and in VA
/// mode.
macro_rules! each_map {
    ($($name:literal, $run:expr;)*) => {
        &[
            $(
                Test::new(concat!("mapping.dma_map.pa.", $name), $run),
                Test::new(concat!("mapping.dma_map.va.", $name), $run).with("use_va=1"),
                Test::new(concat!("mapping.set_map.pa.", $name), $run).with("batch_mapping=1"),
                Test::new(concat!("mapping.set_map.va.", $name), $run)
                    .with("batch_mapping=1 use_va=1"),
            )*
        ]
    };
}
use each_map;

/// The same test for whole tables only.
macro_rules! each_table {
    ($($name:literal, $run:expr;)*) => {
        &[
            $(
                Test::new(concat!("mapping.set_map.pa.", $name), $run).with("batch_mapping=1"),
                Test::new(concat!("mapping.set_map.va.", $name), $run)
                    .with("batch_mapping=1 use_va=1"),
            )*
        ]
    };
}
use each_table;

/// Frames enough that a worker has something to do for a while.
const MANY: LoopPlan = LoopPlan {
    count: 500,
    size: 1000,
    in_flight: 64,
};

/// Whether the device takes whole tables.
fn takes_tables(context: &Context) -> bool {
    context.has("batch_mapping=1")
}

/// Has some changes done as one batch.
fn batch(client: &Client, asid: u32, changes: impl FnOnce() -> Outcome) -> Outcome {
    ioctl::batch_begin(client, asid).when("BATCH_BEGIN")?;
    changes()?;
    ioctl::batch_end(client, asid).when("BATCH_END")
}

/// Writes a frame with its header to some memory, and adds it to the transmit queue.
fn add_from(net: &mut Net, view: &View, iova: u64, frame: &[u8]) {
    let header = net.header_len();
    view.write(iova, &[0; 20][..header]);
    view.write(iova + header as u64, frame);
    let buffer = Buffer::readable(iova, (header + frame.len()) as u32);
    net.tx
        .driver
        .add(&[buffer], Form::Direct)
        .expect("there is room in the transmit queue");
}

/// Sends a frame from some memory, and looks that it comes back.
fn send_from(net: &mut Net, view: &View, iova: u64, number: u64) -> Outcome {
    let sent = frame::make(100, net.mac, net.mac, number);
    net.fill_rx()?;
    let before = net.tx.used();
    add_from(net, view, iova, &sent);
    net.send()?;
    check_eq!(
        net.wait_receive()?,
        sent,
        "frame {number} from memory at {iova:#x}"
    );
    // The transmit queue knows it not by a slot.
    while net.tx.take_used().is_none() {
        crate::check!(
            net.tx.interrupted(SOON)? || net.tx.used() > before,
            "frame {number} was not given back"
        );
    }
    Ok(())
}

/// Has a command of the control queue carried out.
fn command(net: &mut Net) -> Outcome {
    let address = net.mac;
    net.do_command(mac::CLASS, mac::ADDR_SET, &address)
        .when("control queue")
}

/// Fails if the device needs a reset.
fn runs(net: &Net) -> Outcome {
    let status = net.client.status()?;
    crate::check!(
        status.contains(Status::DRIVER_OK) && !status.contains(Status::NEEDS_RESET),
        "the device's status is {status}"
    );
    Ok(())
}
