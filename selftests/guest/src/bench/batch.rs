// SPDX-License-Identifier: GPL-2.0

//! Full rings and one kick.

use super::clock::{self, Span};
use crate::{
    check, check_eq, frame,
    ioctl::{self, Permission},
    outcome::{Outcome, While},
    vhost::{Net, Plan, Queue},
};
use rvdpa_virtio::{
    features::Features,
    layout::DESCRIPTOR_LEN,
    mock::{Buffer, DriverMemory, Form},
    net::NetHeader,
};

/// Bytes of a page.
const PAGE: usize = 4096;
/// Where further mappings start, for the device.
const ELSEWHERE: u64 = 0x100_0000_0000;

/// A driver that sends the same frames again and again, and wants no interrupts.
pub struct Batch {
    net: Net,
    /// Bytes of a frame.
    size: usize,
    /// How many frames a batch has.
    pub frames: usize,
    /// How many receive buffers a frame takes.
    per_frame: usize,
    /// Which receive buffer is behind each head.
    behind: Vec<usize>,
}

/// Maps the memory of a driver page by page, and some pages once more elsewhere, until there
/// are so many mappings.
fn map_pages(net: &Net, mappings: usize) -> Outcome {
    let memory = &net.memory;
    let pages = memory.len() / PAGE;
    check!(
        mappings >= pages,
        "the memory takes {pages} mappings; {mappings} were wanted"
    );
    net.client
        .map_all(net.plan.control_asid, &net.control_memory)?;
    ioctl::batch_begin(&net.client, 0).when("a batch")?;
    for number in 0..mappings {
        let from = memory.iova() + (number % pages * PAGE) as u64;
        let iova = match number.checked_sub(pages) {
            None => from,
            Some(more) => ELSEWHERE + (more * PAGE) as u64,
        };
        let pointer = memory.pointer(from, PAGE);
        ioctl::map(&net.client, 0, iova, PAGE as u64, pointer, Permission::Both)
            .when(format_args!("mapping {number} of {mappings}"))?;
    }
    ioctl::batch_end(&net.client, 0).when("the end of a batch")
}

/// The buffer of a slot, in the pieces that the plan wants.
fn pieces(start: u64, len: usize, plan: &Plan, writable: bool) -> Vec<Buffer> {
    // The header stands alone where there are several, as drivers have it.
    let mut pieces = Vec::new();
    let mut at = 0;
    for left in (1..=plan.pieces).rev() {
        let piece = match left {
            1 => len - at,
            _ if at == 0 => NetHeader::LEN,
            _ => (len - at) / left,
        };
        pieces.push(Buffer {
            iova: start + at as u64,
            len: piece as u32,
            writable,
        });
        at += piece;
    }
    pieces
}

/// Adds the buffer of a slot. Returns its head.
fn add(queue: &mut Queue, slot: usize, room: usize, len: usize, plan: &Plan, rx: bool) -> u16 {
    let buffers = pieces(queue.buffers + (slot * room) as u64, len, plan, rx);
    let form = match plan.indirect {
        true => Form::Indirect {
            table: queue.tables + (slot * plan.pieces * DESCRIPTOR_LEN) as u64,
        },
        false => Form::Direct,
    };
    let head = queue.driver.add(&buffers, form);
    head.expect("there are not more slots than the ring has room for")
}

impl Batch {
    /// Sets a device up, with frames of `size` bytes, at most so many in a batch. The memory
    /// is shown to the device in one mapping, or page by page, with so many mappings in all.
    pub fn new(path: &str, plan: Plan, size: usize, most: usize, mappings: usize) -> Outcome<Self> {
        let map = mappings <= 1;
        let net = Net::prepare(path, Plan { map, ..plan })?;
        if !map {
            map_pages(&net, mappings)?;
        }
        Self::on(net, size, most)
    }

    /// The same on a device that is set up, all but `DRIVER_OK`.
    pub fn on(net: Net, size: usize, most: usize) -> Outcome<Self> {
        let plan = net.plan;
        net.go()?;
        let header = net.header_len();
        let per_frame = (header + size).div_ceil(plan.receive_len());
        check!(
            per_frame == 1 || net.has(Features::NET_MRG_RXBUF),
            "frames of {size} bytes need mergeable buffers"
        );
        let slots = usize::from(plan.size) / if plan.indirect { 1 } else { plan.pieces };
        let frames = most.min(slots / per_frame);
        check!(frames > 0, "a ring of {} is too small", plan.size);
        for slot in 0..frames {
            let start = net.tx.buffers + (slot * plan.room) as u64;
            net.memory.write(start, &[0; 20][..header]);
            let bytes = frame::make(size, net.mac, net.mac, slot as u64);
            net.memory.write(start + header as u64, &bytes);
        }
        let behind = vec![0; usize::from(plan.size)];
        Ok(Self {
            net,
            size,
            frames,
            per_frame,
            behind,
        })
    }

    /// The client, to look at what was negotiated.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Has one batch looped. Returns the instructions from the kick to the end, and whether
    /// the device was done when the kick returned.
    pub fn run(&mut self) -> Outcome<(u64, bool)> {
        self.fill()?;
        let start = clock::now();
        let span = Span::begin();
        self.net.tx.kick()?;
        span.end();
        let end = clock::now();
        self.collect(start, end)
    }

    /// Fills both rings.
    pub fn fill(&mut self) -> Outcome {
        let plan = self.net.plan;
        let len = self.net.header_len() + self.size;
        let rx = &mut self.net.rx;
        for slot in 0..self.frames * self.per_frame {
            let room = plan.receive_len();
            let head = add(rx, slot, room, room, &plan, true);
            self.behind[usize::from(head)] = slot;
        }
        rx.driver.disable_interrupts();
        rx.driver.publish();
        rx.kick_if_needed()?;
        let tx = &mut self.net.tx;
        for slot in 0..self.frames {
            add(tx, slot, plan.room, len, &plan, false);
        }
        tx.driver.disable_interrupts();
        tx.driver.publish();
        Ok(())
    }

    /// A kick for nothing.
    pub fn empty(&mut self) -> Outcome<u64> {
        let start = clock::now();
        self.net.tx.kick()?;
        Ok(clock::now() - start)
    }

    /// Waits until the device is done, takes everything back, and looks whether it is as it
    /// was sent. Returns what [`run`](Self::run) does, for a kick from `start` to `end`.
    pub fn collect(&mut self, start: u64, end: u64) -> Outcome<(u64, bool)> {
        let mut end = end;
        let mut late = false;
        let mut sent = 0;
        let mut got = Vec::new();
        let mut idle = 0_u32;
        while sent < self.frames || got.len() < self.frames * self.per_frame {
            let before = sent + got.len();
            while self.net.tx.driver.poll_used().is_some() {
                sent += 1;
            }
            while let Some(used) = self.net.rx.driver.poll_used() {
                got.push(used);
            }
            if sent + got.len() > before {
                idle = 0;
                continue;
            }
            idle += 1;
            check!(
                idle < 1_000_000,
                "{sent} of {} frames sent, {} buffers back; status {}",
                self.frames,
                got.len(),
                self.net.client.status()?
            );
            late = true;
            std::thread::yield_now();
            end = clock::now();
        }

        let plan = self.net.plan;
        let header = self.net.header_len();
        // Of skipped ones the driver knows only that they are full.
        let exact = !self.net.has(Features::IN_ORDER);
        let room = plan.receive_len();
        let mut bytes = vec![0; header + self.size];
        for (number, buffers) in got.chunks(self.per_frame).enumerate() {
            let mut rest = &mut bytes[..];
            for used in buffers {
                let (now, later) = rest.split_at_mut(rest.len().min(room));
                if exact {
                    check_eq!(used.len as usize, now.len(), "bytes written to a buffer");
                }
                let slot = self.behind[usize::from(used.head)];
                let from = self.net.rx.buffers + (slot * room) as u64;
                self.net.memory.read(from, now);
                rest = later;
            }
            let sent = self.net.tx.buffers + (number * plan.room + header) as u64;
            let mut expected = vec![0; self.size];
            self.net.memory.read(sent, &mut expected);
            if let Some(difference) = frame::difference(&bytes[header..], &expected) {
                crate::fail!("frame {number}: {difference}");
            }
        }
        // So that nothing is seen that an earlier batch has left.
        let zeroes = vec![0; room];
        for slot in 0..self.frames * self.per_frame {
            let at = self.net.rx.buffers + (slot * room) as u64;
            self.net.memory.write(at, &zeroes[..room.min(header + 64)]);
        }
        Ok((end - start, !late))
    }
}
