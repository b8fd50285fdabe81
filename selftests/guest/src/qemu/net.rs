// SPDX-License-Identifier: GPL-2.0

//! A driver of the network card in QEMU's machine.

use super::{
    queue::{Places, Queue, ROOM},
    Machine, Ram, Station, VirtioPci,
};
use crate::{
    check, fail, frame,
    outcome::{Outcome, While},
    sys::wait_for,
    vhost::Format,
};
use rvdpa_virtio::{
    features::Features,
    mock::{Buffer, DriverMemory},
    net::{
        control::{self, mac, mq},
        NetHeader,
    },
    status::Status,
};
use std::time::Duration;

/// What the driver accepts of what is offered.
pub const DRIVER: Features = Features(
    Features::VERSION_1.0
        | Features::ACCESS_PLATFORM.0
        | Features::ORDER_PLATFORM.0
        | Features::RING_PACKED.0
        | Features::INDIRECT_DESC.0
        | Features::EVENT_IDX.0
        | Features::NET_MAC.0
        | Features::NET_MTU.0
        | Features::NET_STATUS.0
        | Features::NET_CTRL_VQ.0
        | Features::NET_CTRL_MAC_ADDR.0
        | Features::NET_MQ.0,
);

/// Where the driver's memory starts: above what firmware uses.
const START: u64 = 4 << 20;
/// How many descriptors a virtqueue of frames has.
const SIZE: u16 = 128;
/// How many the control queue has.
const CONTROL_SIZE: u16 = 64;

/// Where a command's data, and where its answer is in its buffer.
const DATA: u64 = 16;
const ANSWER: u64 = 1024;
/// What the answer is before there is one.
const NO_ANSWER: u8 = 0xee;

/// How long the device may take for a frame or a command.
const PATIENCE: Duration = Duration::from_secs(30);

/// A card that runs, with its driver.
pub struct Net {
    pub pci: VirtioPci,
    ram: Ram,
    pub features: Features,
    /// The address in the configuration when it was set up, or the one set since.
    pub mac: [u8; 6],
    receive: Vec<Queue>,
    transmit: Vec<Queue>,
    control: Option<Queue>,
    /// How many pairs the driver sends on.
    active: usize,
}

impl Net {
    /// Finds the card and sets it up, with so many queue pairs, until it runs.
    pub fn new(machine: &Machine, wanted: Features, pairs: u16) -> Outcome<Self> {
        let pci = VirtioPci::find_net(&machine.qtest)?;
        Self::with(pci, machine.ram.clone(), wanted, pairs)
    }

    /// Resets the card and sets it up.
    fn with(pci: VirtioPci, ram: Ram, wanted: Features, pairs: u16) -> Outcome<Self> {
        pci.reset()?;
        pci.add_status(Status::ACKNOWLEDGE)?;
        pci.add_status(Status::DRIVER)?;
        let features = pci.offered()?.intersection(wanted);
        pci.accept(features)?;
        pci.add_status(Status::FEATURES_OK)?;

        let mut address = [0; 6];
        pci.config(0, &mut address)?;
        let mut places = Places(START);
        let mut queue = |index, size| Queue::new(&pci, &ram, &mut places, index, size, features);
        let mut receive = Vec::new();
        let mut transmit = Vec::new();
        for pair in 0..pairs {
            receive.push(queue(2 * pair, SIZE)?);
            transmit.push(queue(2 * pair + 1, SIZE)?);
        }
        let control = if features.contains(Features::NET_CTRL_VQ) {
            // Where the driver takes several pairs, it is behind all that there are (5.1.2).
            let index = if features.contains(Features::NET_MQ) {
                let mut most = [0; 2];
                pci.config(8, &mut most)?;
                2 * u16::from_le_bytes(most)
            } else {
                2
            };
            Some(queue(index, CONTROL_SIZE)?)
        } else {
            None
        };
        let mut net = Self {
            pci,
            ram,
            features,
            mac: address,
            receive,
            transmit,
            control,
            active: usize::from(pairs),
        };
        net.pci.add_status(Status::DRIVER_OK)?;
        if pairs > 1 {
            net.use_pairs(pairs)?;
        }
        net.tidy()?;
        Ok(net)
    }

    /// Resets the card and sets it up anew, as a driver does that is loaded again.
    pub fn restart(self) -> Outcome<Self> {
        let pairs = self.receive.len() as u16;
        Self::with(self.pci, self.ram, self.features, pairs)
    }

    /// The machine has gone to another QEMU, with all that is in its memory.
    pub fn move_to(&mut self, machine: &Machine) {
        self.ram.move_to(&machine.ram);
        self.pci = self.pci.moved_to(&machine.qtest);
    }

    /// The memory.
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// The format of its rings.
    pub fn format(&self) -> Format {
        Format::of(self.features)
    }

    /// How many queue pairs there are.
    pub fn pairs(&self) -> usize {
        self.receive.len()
    }

    /// Adds a frame to a pair's transmit queue. Returns whether there was room.
    pub fn add_frame(&mut self, pair: usize, frame: &[u8]) -> bool {
        let len = NetHeader::LEN + frame.len();
        assert!(len <= ROOM, "a frame of {} bytes", frame.len());
        let queue = &mut self.transmit[pair];
        let Some(start) = queue.next() else {
            return false;
        };
        let mut bytes = vec![0; NetHeader::LEN];
        bytes.extend(frame);
        self.ram.write(start, &bytes);
        queue.add(&[Buffer::readable(0, len as u32)])
    }

    /// Shows the device the frames that were added.
    pub fn send(&mut self, pair: usize) -> Outcome {
        self.transmit[pair].publish(&self.pci)
    }

    /// Takes back the buffers of frames that were sent. Returns how many.
    pub fn reap(&mut self) -> usize {
        let queues = self.transmit.iter_mut();
        queues
            .map(|queue| std::iter::from_fn(|| queue.take()).count())
            .sum()
    }

    /// The next frame that has come on a pair, if there is one.
    pub fn receive(&mut self, pair: usize) -> Outcome<Option<Vec<u8>>> {
        let queue = &mut self.receive[pair];
        let Some((slot, used)) = queue.take() else {
            return Ok(None);
        };
        let len = used.len as usize;
        check!(
            (NetHeader::LEN..=ROOM).contains(&len),
            "the device says that it wrote {len} bytes"
        );
        let mut bytes = vec![0; len];
        self.ram.read(queue.start(slot), &mut bytes);
        Ok(Some(bytes.split_off(NetHeader::LEN)))
    }

    /// Gives the device back the buffers of what was sent and received.
    pub fn tidy(&mut self) -> Outcome {
        self.reap();
        for queue in &mut self.receive {
            let mut added = false;
            while queue.add(&[Buffer::writable(0, ROOM as u32)]) {
                added = true;
            }
            if added {
                queue.publish(&self.pci)?;
            }
        }
        Ok(())
    }

    /// How many frames the device has not yet given back.
    pub fn on_the_way(&self) -> usize {
        self.transmit.iter().map(Queue::posted).sum()
    }

    /// Waits for the interrupt of a receive queue, which has to have been asked for.
    pub fn wait_interrupt(&self) -> Outcome {
        wait_for("an interrupt", PATIENCE, || {
            Ok((self.pci.isr()? & 1 != 0).then_some(()))
        })
    }

    /// Asks for an interrupt with the next frame.
    pub fn enable_interrupts(&self) -> bool {
        self.receive.iter().any(Queue::enable_interrupts)
    }

    /// Sends a command of the control queue, which must be carried out.
    pub fn command(&mut self, class: u8, command: u8, data: &[u8]) -> Outcome {
        let what = format!("command {class}/{command}");
        let queue = self.control.as_mut().when("a control queue")?;
        let start = queue.next().when("room in the control queue")?;
        self.ram.write(start, &[class, command]);
        self.ram.write(start + DATA, data);
        self.ram.write(start + ANSWER, &[NO_ANSWER]);
        let added = queue.add(&[
            Buffer::readable(0, control::HEADER_LEN as u32),
            Buffer::readable(DATA, data.len() as u32),
            Buffer::writable(ANSWER, 1),
        ]);
        check!(added, "no room in the control queue");
        queue.publish(&self.pci)?;
        wait_for(&what, PATIENCE, || Ok(queue.take()))?;
        let mut answer = [0];
        self.ram.read(start + ANSWER, &mut answer);
        match answer {
            [control::OK] => Ok(()),
            [answer] => fail!("answer {answer:#x} to {what}"),
        }
    }

    /// Uses so many queue pairs of those that were set up.
    pub fn use_pairs(&mut self, pairs: u16) -> Outcome {
        self.command(mq::CLASS, mq::VQ_PAIRS_SET, &pairs.to_le_bytes())
            .when(format_args!("{pairs} queue pairs"))?;
        self.active = usize::from(pairs);
        Ok(())
    }

    /// Sets the card's address by command.
    pub fn set_mac(&mut self, address: [u8; 6]) -> Outcome {
        self.command(mac::CLASS, mac::ADDR_SET, &address)
            .when(frame::display(address))?;
        self.mac = address;
        Ok(())
    }
}

impl Station for Net {
    fn add(&mut self, number: u64, frame: &[u8]) -> bool {
        let pair = number as usize % self.active;
        self.add_frame(pair, frame)
    }

    fn show(&mut self) -> Outcome {
        (0..self.pairs()).try_for_each(|pair| self.send(pair))
    }

    fn take(&mut self) -> Outcome<Option<Vec<u8>>> {
        for pair in 0..self.pairs() {
            if let Some(frame) = self.receive(pair)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn tidy(&mut self) -> Outcome {
        Self::tidy(self)
    }
}
