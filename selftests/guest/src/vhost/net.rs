// SPDX-License-Identifier: GPL-2.0

//! A network driver in userspace.

use super::{event, wait_event, Client};
use crate::{
    arena::{Kind, View},
    fail, frame, ioctl,
    meter::Meter,
    outcome::{Outcome, Stop, While},
};
use rvdpa_virtio::{
    features::Features,
    layout::{Area, QueueLayout, DESCRIPTOR_LEN},
    mock::{Buffer, DriverMemory, Form, SplitDriver, Used},
    net::{control, NetHeader},
    status::Status,
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use vhost::VhostBackend;
use vmm_sys_util::eventfd::EventFd;

/// The receive queue.
pub const RX: usize = 0;
/// The transmit queue.
pub const TX: usize = 1;

/// Where arenas start, for the device. Not where they are in the process.
pub const IOVA: u64 = 0x7_0000_0000;
/// Where the control queue's arena starts, if it has one of its own.
const CONTROL_IOVA: u64 = 0x9_0000_0000;

/// How long to wait for the device.
const PATIENCE: Duration = Duration::from_secs(3);

/// The size of the control queue.
const CONTROL_SIZE: u16 = 4;

/// What a driver wants.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The features to accept, if they are offered.
    pub features: Features,
    /// How many descriptors a ring has.
    pub size: u16,
    /// The kind of memory.
    pub kind: Kind,
    /// Where the rings' indices start.
    pub base: u16,
    /// How many bytes there are for a frame with its header.
    pub room: usize,
    /// How many descriptors a buffer is made of.
    pub pieces: usize,
    /// Whether the descriptors are in a table of their own.
    pub indirect: bool,
    /// The address space of the control queue.
    pub control_asid: u32,
    /// Whether to map the memory, before the device runs.
    pub map: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            features: Features(u64::MAX),
            size: 256,
            kind: Kind::Anonymous,
            base: 0,
            room: 2048,
            pieces: 1,
            indirect: false,
            control_asid: 0,
            map: true,
        }
    }
}

/// A virtqueue and its buffers.
pub struct Queue {
    pub driver: SplitDriver<View>,
    pub layout: QueueLayout,
    index: usize,
    kick: EventFd,
    call: EventFd,
    /// Where buffers are, each with as many bytes as the plan has room for.
    pub buffers: u64,
    /// Where tables are, one for each buffer.
    pub tables: u64,
    /// Which buffer a head stands for.
    slots: Vec<Option<u16>>,
    /// Buffers that are not in use.
    free: VecDeque<u16>,
}

impl Queue {
    /// Tells the device to look, if it wants to be told.
    pub fn kick_if_needed(&mut self) -> Outcome {
        if self.driver.needs_kick() {
            self.kick()?;
        }
        Ok(())
    }

    /// Tells the device to look.
    pub fn kick(&self) -> Outcome {
        self.kick.write(1).when("kick")
    }

    /// Whether the device has interrupted.
    pub fn interrupted(&self, limit: Duration) -> Outcome<bool> {
        wait_event(&self.call, limit)
    }

    /// Waits until the device has used a chain, by its interrupt. Returns whether it has.
    fn wait_used(&self) -> Outcome<bool> {
        if self.driver.enable_interrupts() {
            return Ok(true);
        }
        let come = wait_event(&self.call, PATIENCE)?;
        self.driver.disable_interrupts();
        Ok(come)
    }

    /// The buffers of a slot.
    fn pieces(&self, slot: u16, len: usize, plan: &Plan, writable: bool) -> Vec<Buffer> {
        let start = self.buffers + u64::from(slot) * plan.room as u64;
        // Uneven on purpose, so that headers and pages are split anywhere.
        let mut pieces = Vec::new();
        let mut at = 0;
        for left in (1..=plan.pieces).rev() {
            let rest = len - at;
            let piece = if left == 1 {
                rest
            } else {
                (rest / left / 2).max(1)
            };
            if piece == 0 {
                break;
            }
            pieces.push(Buffer {
                iova: start + at as u64,
                len: piece as u32,
                writable,
            });
            at += piece;
        }
        pieces
    }

    /// Adds a buffer. Returns the slot, or nothing if the ring is full.
    fn add(&mut self, len: usize, plan: &Plan, writable: bool) -> Option<u16> {
        let slot = *self.free.front()?;
        let buffers = self.pieces(slot, len, plan, writable);
        let form = if plan.indirect {
            Form::Indirect {
                table: self.tables + u64::from(slot) * (plan.pieces * DESCRIPTOR_LEN) as u64,
            }
        } else {
            Form::Direct
        };
        let head = self.driver.add(&buffers, form).ok()?;
        self.slots[usize::from(head)] = Some(slot);
        self.free.pop_front();
        Some(slot)
    }

    /// Takes back a buffer. Returns its slot too.
    fn take(&mut self) -> Option<(u16, Used)> {
        let used = self.driver.poll_used()?;
        let slot = self.slots[usize::from(used.head)]
            .take()
            .expect("the driver knows the head");
        self.free.push_back(slot);
        Some((slot, used))
    }

    fn start(&self, slot: u16, plan: &Plan) -> u64 {
        self.buffers + u64::from(slot) * plan.room as u64
    }
}

/// Frames that are to loop.
#[derive(Clone, Copy)]
pub struct LoopPlan {
    pub count: u64,
    /// Bytes of a frame.
    pub size: usize,
    /// How many may be on the way.
    pub in_flight: u64,
}

/// A device that runs, with its driver.
pub struct Net {
    pub client: Client,
    pub plan: Plan,
    pub memory: View,
    pub control_memory: View,
    pub rx: Queue,
    pub tx: Queue,
    pub control: Option<Queue>,
    pub config_call: EventFd,
    /// The device's address when it was set up.
    pub mac: [u8; 6],
}

/// Hands out pieces of an arena.
struct Layouter(u64);

impl Layouter {
    fn take(&mut self, len: usize) -> u64 {
        let at = self.0;
        self.0 += (len as u64).next_multiple_of(4096);
        at
    }

    fn layout(&mut self, size: u16) -> QueueLayout {
        let mut layout = QueueLayout {
            size,
            ..Default::default()
        };
        let features = Features::EVENT_IDX;
        layout.descriptor = self.take(layout.len(Area::Descriptor, features));
        layout.driver = self.take(layout.len(Area::Driver, features));
        layout.device = self.take(layout.len(Area::Device, features));
        layout
    }
}

impl Net {
    /// Opens a device and sets it up until it runs.
    pub fn new(path: &str, plan: Plan) -> Outcome<Self> {
        let net = Self::prepare(path, plan)?;
        net.go()?;
        Ok(net)
    }

    /// Opens a device and sets it up, all but `DRIVER_OK`.
    pub fn prepare(path: &str, plan: Plan) -> Outcome<Self> {
        Self::with(Client::open(path)?, plan)
    }

    /// Sets a device up, all but `DRIVER_OK`.
    pub fn with(mut client: Client, plan: Plan) -> Outcome<Self> {
        client.negotiate(plan.features)?;
        let features = client.features();
        if plan.indirect && !features.contains(Features::INDIRECT_DESC) {
            fail!("indirect descriptors are not offered");
        }
        // The control queue's groups are chosen after each reset.
        ioctl::set_group_asid(&client, 1, plan.control_asid).when("SET_GROUP_ASID")?;

        let slots = usize::from(plan.size);
        let mut at = Layouter(IOVA);
        let layouts = [at.layout(plan.size), at.layout(plan.size)];
        let tables = [(); 2].map(|()| at.take(slots * plan.pieces * DESCRIPTOR_LEN));
        let buffers = [(); 2].map(|()| at.take(slots * plan.room));
        let memory = View::new(plan.kind, IOVA, (at.0 - IOVA) as usize)?;

        let mut at = Layouter(CONTROL_IOVA);
        let control_layout = at.layout(CONTROL_SIZE);
        let control_buffers = at.take(4096);
        let control_memory = View::new(plan.kind, CONTROL_IOVA, (at.0 - CONTROL_IOVA) as usize)?;

        if plan.map {
            client.map_all(0, &memory)?;
            client.map_all(plan.control_asid, &control_memory)?;
        }
        let queue = |view: &View, index, layout, base, buffers, tables| {
            Self::queue(&client, view, index, layout, base, buffers, tables)
        };
        let rx = queue(&memory, RX, layouts[0], plan.base, buffers[0], tables[0])?;
        let tx = queue(&memory, TX, layouts[1], plan.base, buffers[1], tables[1])?;
        let control = if features.contains(Features::NET_CTRL_VQ) {
            Some(queue(
                &control_memory,
                2,
                control_layout,
                0,
                control_buffers,
                0,
            )?)
        } else {
            None
        };
        let config_call = client.config_interrupt()?;
        let mac = client.config()?.mac().0;
        Ok(Self {
            client,
            plan,
            memory,
            control_memory,
            rx,
            tx,
            control,
            config_call,
            mac,
        })
    }

    fn queue(
        client: &Client,
        view: &View,
        index: usize,
        layout: QueueLayout,
        base: u16,
        buffers: u64,
        tables: u64,
    ) -> Outcome<Queue> {
        let queue = Queue {
            driver: SplitDriver::new(view.clone(), layout, client.features(), base),
            layout,
            index,
            kick: event()?,
            call: event()?,
            buffers,
            tables,
            slots: vec![None; usize::from(layout.size)],
            free: (0..layout.size).collect(),
        };
        client.set_queue(index, &layout, base)?;
        let kernel = client.kernel();
        kernel
            .set_vring_kick(index, &queue.kick)
            .when("SET_VRING_KICK")?;
        kernel
            .set_vring_call(index, &queue.call)
            .when("SET_VRING_CALL")?;
        client.enable(index, true)?;
        Ok(queue)
    }

    /// Sets `DRIVER_OK`.
    pub fn go(&self) -> Outcome {
        self.client.add_status(Status::DRIVER_OK)
    }

    /// Resets the device and sets it up anew, until it runs.
    pub fn restart(self) -> Outcome<Self> {
        let Self {
            mut client,
            plan,
            memory,
            control_memory,
            ..
        } = self;
        client.reset()?;
        if plan.map {
            client.unmap(0, memory.iova(), memory.len())?;
            client.unmap(
                plan.control_asid,
                control_memory.iova(),
                control_memory.len(),
            )?;
        }
        let net = Self::with(client, plan)?;
        net.go()?;
        Ok(net)
    }

    /// Gives the device all receive buffers that the ring has room for. Returns how many.
    pub fn fill_rx(&mut self) -> Outcome<usize> {
        let mut count = 0;
        while self.rx.add(self.plan.room, &self.plan, true).is_some() {
            count += 1;
        }
        self.rx.driver.publish();
        self.rx.kick_if_needed()?;
        Ok(count)
    }

    /// Adds a frame to the transmit queue. Returns whether there was room.
    pub fn add_frame(&mut self, frame: &[u8]) -> bool {
        let len = NetHeader::LEN + frame.len();
        assert!(
            len <= self.plan.room,
            "no room for a frame of {}",
            frame.len()
        );
        let Some(&slot) = self.tx.free.front() else {
            return false;
        };
        let start = self.tx.start(slot, &self.plan);
        self.memory.write(start, &[0; NetHeader::LEN]);
        self.memory.write(start + NetHeader::LEN as u64, frame);
        self.tx.add(len, &self.plan, false).is_some()
    }

    /// Shows the device the frames that were added.
    pub fn send(&mut self) -> Outcome {
        self.tx.driver.publish();
        self.tx.kick_if_needed()
    }

    /// Takes back what was sent. Returns how many frames.
    pub fn reap(&mut self) -> Outcome<usize> {
        let mut count = 0;
        while let Some((_, used)) = self.tx.take() {
            if used.len != 0 {
                fail!(
                    "the device says that it wrote {} bytes to a frame sent",
                    used.len
                );
            }
            count += 1;
        }
        Ok(count)
    }

    /// The next frame that has come, if there is one. Its buffer is the device's again
    /// after the next [`fill_rx`](Self::fill_rx).
    pub fn receive(&mut self) -> Outcome<Option<Vec<u8>>> {
        let Some((slot, used)) = self.rx.take() else {
            return Ok(None);
        };
        let len = used.len as usize;
        if len < NetHeader::LEN || len > self.plan.room {
            fail!("the device says that it wrote {len} bytes");
        }
        let mut bytes = vec![0; len];
        self.memory
            .read(self.rx.start(slot, &self.plan), &mut bytes);
        let header = NetHeader {
            num_buffers: 1,
            ..NetHeader::default()
        };
        if bytes[..NetHeader::LEN] != header.to_bytes() {
            fail!(
                "a frame came with the header {:x?}",
                &bytes[..NetHeader::LEN]
            );
        }
        Ok(Some(bytes.split_off(NetHeader::LEN)))
    }

    /// Waits for a frame to come.
    pub fn wait_receive(&mut self) -> Outcome<Vec<u8>> {
        loop {
            if let Some(frame) = self.receive()? {
                return Ok(frame);
            }
            if !self.rx.wait_used()? {
                return Err(self.stalled("no frame came"));
            }
        }
    }

    fn stalled(&self, what: &str) -> Stop {
        let status = self
            .client
            .status()
            .map_or_else(|stop| stop.text().to_owned(), |status| status.to_string());
        Stop::Failed(format!(
            "{what} within {} s, nor an interrupt; status {status}, used index of rx {}, tx {}",
            PATIENCE.as_secs(),
            self.rx.driver.read_used_index(),
            self.tx.driver.read_used_index(),
        ))
    }

    /// Has frames looped and checks each: that all come, in order, as they were sent.
    /// Returns the round-trip times of those that were sent alone.
    pub fn loop_frames(&mut self, what: LoopPlan) -> Outcome<Meter> {
        let mut meter = Meter::default();
        self.fill_rx()?;
        let posted = self.posted_rx();
        let window = what.in_flight.min(posted).max(1);
        let mac = self.mac;
        let mut expected = frame::make(what.size, mac, mac, 0);
        let (mut sent, mut received) = (0, 0);
        let mut start = Instant::now();
        while received < what.count {
            let before = sent;
            while sent < what.count && sent - received < window {
                let bytes = frame::make(what.size, mac, mac, sent);
                if !self.add_frame(&bytes) {
                    break;
                }
                sent += 1;
            }
            if sent > before {
                start = Instant::now();
                self.send()?;
            }
            let mut some = false;
            while let Some(got) = self.receive()? {
                frame::fill(&mut expected, mac, mac, received);
                if let Some(difference) = frame::difference(&got, &expected) {
                    fail!("frame {received} of {}: {difference}", what.count);
                }
                received += 1;
                some = true;
            }
            if some {
                if window == 1 {
                    meter.add(start.elapsed());
                }
                self.fill_rx()?;
            }
            self.reap()?;
            if !some && !self.rx.wait_used()? {
                return Err(self.stalled(&format!("frame {received} did not come")));
            }
        }
        // Frames sent come back a moment after they were delivered.
        while self.tx.free.len() < usize::from(self.plan.size) {
            if self.reap()? == 0 && !self.tx.wait_used()? {
                return Err(self.stalled("a frame sent was not given back"));
            }
        }
        Ok(meter)
    }

    /// How many receive buffers the device has.
    fn posted_rx(&self) -> u64 {
        (usize::from(self.plan.size) - self.rx.free.len()) as u64
    }

    /// Sends a command of the control queue. Returns the answer, if one came.
    pub fn command(&mut self, class: u8, command: u8, data: &[u8]) -> Outcome<u8> {
        const NONE: u8 = 0xee;
        let control = self.control.as_mut().when("a control queue")?;
        let at = control.buffers;
        let memory = control.driver.memory().clone();
        memory.write(at, &[class, command]);
        memory.write(at + 64, data);
        memory.write(at + 512, &[NONE]);
        let mut buffers = vec![Buffer::readable(at, control::HEADER_LEN as u32)];
        if !data.is_empty() {
            buffers.push(Buffer::readable(at + 64, data.len() as u32));
        }
        buffers.push(Buffer::writable(at + 512, 1));
        if control.driver.add(&buffers, Form::Direct).is_err() {
            fail!("no room in the control queue");
        }
        control.driver.publish();
        control.kick_if_needed()?;
        let used = loop {
            if let Some(used) = control.driver.poll_used() {
                break used;
            }
            if !control.wait_used()? {
                fail!("no answer from the control queue {}", control.index);
            }
        };
        let mut answer = [0];
        memory.read(at + 512, &mut answer);
        if used.len != 1 || answer[0] == NONE {
            fail!("answer {:#x}, {} bytes written", answer[0], used.len);
        }
        Ok(answer[0])
    }
}
