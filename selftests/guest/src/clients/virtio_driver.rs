// SPDX-License-Identifier: GPL-2.0

//! The crate `virtio-driver`, which libblkio is made with: its own way to drive a device,
//! and its own virtqueues. It has a driver for block devices; that for a network device is
//! here, on top of its queues.

use super::ClientTest;
use crate::{
    check, check_eq, fail, frame,
    harness::Context,
    outcome::{Outcome, Stop, While},
};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd, BorrowedFd},
};
use virtio_driver::{
    iovec,
    virtqueue::{Virtqueue, VirtqueueLayout},
    ByteValued, VhostVdpa, VirtioFeatureFlags, VirtioTransport,
};

const CLIENT: &str = "virtio-driver (Rust), vhost-vdpa transport and virtqueues";

pub const TESTS: &[ClientTest] = &[
    ClientTest::new("virtio-driver.split", CLIENT, split),
    ClientTest::new("virtio-driver.split_va", CLIENT, split).with("use_va=1"),
    ClientTest::new("virtio-driver.split_event_idx", CLIENT, event_idx),
    ClientTest::new("virtio-driver.packed", CLIENT, packed),
];

/// `VIRTIO_NET_F_MAC`
const NET_MAC: u64 = 1 << 5;
const HEADER: usize = 12;
const FRAME: usize = 1514;
/// Descriptors of each queue, of which a part is used at a time.
const SIZE: u16 = 64;
const AT_ONCE: u16 = 16;

/// The address, which is first in the configuration.
#[derive(Clone, Copy)]
#[repr(C)]
struct Config {
    mac: [u8; 6],
}
// SAFETY: Any bytes are a value of it, and it has no padding.
unsafe impl ByteValued for Config {}

/// One buffer: the virtio header and a frame. It is in the memory of the queue.
#[derive(Clone, Copy)]
#[repr(C)]
struct Buffer([u8; HEADER + FRAME]);

type Transport = VhostVdpa<Config, Buffer>;

/// What the tests are built with.
fn version() -> Outcome<&'static str> {
    include_str!("../../../Cargo.lock")
        .split_once("name = \"virtio-driver\"\nversion = \"")
        .and_then(|(_, rest)| rest.split('"').next())
        .when("virtio-driver in the lock file")
}

fn split(context: &mut Context) -> Outcome {
    rings(context, VirtioFeatureFlags::empty())
}

fn event_idx(context: &mut Context) -> Outcome {
    rings(context, VirtioFeatureFlags::RING_EVENT_IDX)
}

fn rings(context: &mut Context, more: VirtioFeatureFlags) -> Outcome {
    context.version(format_args!("virtio-driver {}", version()?));
    let (device, path) = context.parent.device("rings").make()?;
    for round in 0..3 {
        context.step(format_args!("round {round}"));
        looped(&path, more, 1000)?;
    }
    context.exercised(
        "3 times: features, memory, queues set up; 1000 frames of 60 to 1514 bytes looped",
    );
    device.delete()
}

fn packed(context: &mut Context) -> Outcome {
    context.version(format_args!("virtio-driver {}", version()?));
    let (device, path) = super::with_packed(context.parent, "packed")?;
    // The crate gives 0 as the base of every ring. For a packed one that is a wrap counter
    // of 0, but its rings begin with 1, as the specification has it: the device sees no
    // descriptor that is available.
    let result = looped(&path, VirtioFeatureFlags::RING_PACKED, 10);
    device.delete()?;
    match result {
        Ok(accepted) => {
            context.exercised(format_args!(
                "10 frames looped by packed rings, {accepted:?}"
            ));
            Ok(())
        }
        Err(Stop::Failed(text)) if text.contains(NOTHING_CAME) => Err(Stop::Skipped(
            "the crate has packed rings begin with a wrap counter of 0 (VHOST_SET_VRING_BASE) \
             and drives them with 1"
                .into(),
        )),
        Err(stop) => Err(stop),
    }
}

const NOTHING_CAME: &str = "no interrupt, and no frame";

/// Has frames looped, with these features of rings.
pub fn looped(path: &str, more: VirtioFeatureFlags, count: u64) -> Outcome {
    let wanted = VirtioFeatureFlags::VERSION_1 | VirtioFeatureFlags::ACCESS_PLATFORM | more;
    // Its error has no name and no words.
    let mut transport = Transport::with_path(path, wanted.bits() | NET_MAC)
        .map_err(|error| Stop::Failed(format!("{error:?}")))?;
    let features = VirtioFeatureFlags::from_bits_truncate(transport.get_features());
    check!(
        features.contains(wanted),
        "{:?} is not offered",
        wanted - features
    );
    let mac = transport.get_config()?.mac;

    let layout = VirtqueueLayout::new::<Buffer>(2, usize::from(SIZE), features)?;
    let memory = transport.alloc_queue_mem(&layout)?;
    let (start, len) = (memory.as_mut_ptr(), memory.len());
    check!(2 * layout.end_offset <= len, "the memory for queues");
    let queue = |transport: &Transport, at: usize| {
        // SAFETY: The memory lives as long as the transport, each queue has its own part,
        // and nothing else refers to it.
        let part = unsafe {
            std::slice::from_raw_parts_mut(start.add(at * layout.end_offset), layout.end_offset)
        };
        Virtqueue::<Buffer>::new(transport.iova_translator(), part, SIZE, features)
    };
    let mut queues = [queue(&transport, 0)?, queue(&transport, 1)?];
    transport.setup_queues(&queues)?;
    let interrupt = transport.get_completion_fd(0);
    let kicks = [0, 1].map(|index| transport.get_submission_notifier(index));
    let [rx, tx] = &mut queues;
    rx.set_used_notif_enabled(true);
    tx.set_used_notif_enabled(false);

    let mut sent = BTreeMap::new();
    let (mut next, mut received) = (0, 0);
    for _ in 0..AT_ONCE {
        offer(rx)?;
    }
    kicks[0].notify()?;
    while received < count {
        while next < count && sent.len() < usize::from(AT_ONCE) {
            let len = 60 + (next as usize * 97) % (FRAME - 59);
            let frame = frame::make(len, mac, mac, next);
            transmit(tx, &frame)?;
            sent.insert(next, frame);
            next += 1;
        }
        if tx.avail_notif_needed() {
            kicks[1].notify()?;
        }
        if !rx.completions().has_next() {
            wait(&interrupt, received)?;
        }
        let got: Vec<Buffer> = rx.completions().map(|done| done.req).collect();
        for Buffer(bytes) in &got {
            received += 1;
            let body = &bytes[HEADER..];
            let number = frame::number(body).unwrap_or(u64::MAX);
            let Some(frame) = sent.remove(&number) else {
                fail!("a frame with the number {number}, which is not on its way");
            };
            let difference = frame::difference(&body[..frame.len()], &frame);
            check!(difference.is_none(), "{}", difference.unwrap_or_default());
            check!(
                body[frame.len()..].iter().all(|byte| *byte == 0),
                "frame {number}: bytes behind its end"
            );
            offer(rx)?;
        }
        if rx.avail_notif_needed() {
            kicks[0].notify()?;
        }
        tx.completions().for_each(drop);
    }
    check_eq!(sent.len(), 0, "frames that did not come back");
    Ok(())
}

/// Gives the device a buffer to fill.
fn offer(queue: &mut Virtqueue<Buffer>) -> Outcome {
    queue.add_request(|buffer, add| {
        buffer.0.fill(0);
        let whole = iovec {
            iov_base: buffer.0.as_mut_ptr().cast(),
            iov_len: buffer.0.len(),
        };
        add(whole, true)
    })?;
    Ok(())
}

/// Gives the device a frame to send, its header in a descriptor of its own.
fn transmit(queue: &mut Virtqueue<Buffer>, frame: &[u8]) -> Outcome {
    queue.add_request(|buffer, add| {
        let (header, body) = buffer.0.split_at_mut(HEADER);
        header.fill(0);
        body[..frame.len()].copy_from_slice(frame);
        let parts = [
            (header.as_mut_ptr(), HEADER),
            (body.as_mut_ptr(), frame.len()),
        ];
        for (start, len) in parts {
            let part = iovec {
                iov_base: start.cast(),
                iov_len: len,
            };
            add(part, false)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Waits for the interrupt of a queue.
fn wait(interrupt: &virtio_driver::EventFd, received: u64) -> Outcome {
    // SAFETY: It is open as long as the value that has it.
    let fd = unsafe { BorrowedFd::borrow_raw(interrupt.as_raw_fd()) };
    let mut ready = [PollFd::new(fd, PollFlags::POLLIN)];
    if poll(&mut ready, PollTimeout::from(10_000_u16)).when("poll")? == 0 {
        fail!("{NOTHING_CAME} within 10 s after {received}");
    }
    interrupt.read()?;
    Ok(())
}
