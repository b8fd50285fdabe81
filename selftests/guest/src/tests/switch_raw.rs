// SPDX-License-Identifier: GPL-2.0

//! A switch, with drivers in userspace on its ports.

mod forwarding;
mod ports;
mod trouble;

pub use forwarding::TESTS;
pub use ports::TESTS as PORTS;
pub use trouble::TESTS as TROUBLE;

use super::rings::kind;
use crate::{
    check,
    device::Device,
    fail, frame,
    harness::Context,
    outcome::{Outcome, While},
    vhost::{Net, NewDevice, Plan},
};
use rvdpa_virtio::{
    features::Features,
    net::{
        control::rx::{CLASS, PROMISC},
        NetHeader,
    },
};
use std::time::Duration;

/// The address of everyone.
const EVERYONE: [u8; 6] = [0xff; 6];

/// What marks the end of what a port is to see.
const MARK: u64 = u64::MAX;

/// A port, with its driver.
///
/// The driver goes first: a device that is open cannot be deleted.
struct Port {
    net: Net,
    device: Device,
}

impl Port {
    /// Makes a port of the first switch whose driver takes these features and receives
    /// everything.
    fn new(context: &Context, name: &str, number: u8, features: Features) -> Outcome<Self> {
        Self::of(context, NewDevice::port(name, number), features)
    }

    /// The same for a device with other attributes.
    fn of(context: &Context, new: NewDevice<'_>, features: Features) -> Outcome<Self> {
        let (device, path) = new.make()?;
        let plan = Plan {
            kind: kind(context),
            features,
            size: 64,
            room: 16 * 1024,
            ..Plan::default()
        };
        let mut port = Self {
            net: Net::new(&path, plan)?,
            device,
        };
        port.promiscuous(true)?;
        port.net.fill_rx()?;
        Ok(port)
    }

    fn mac(&self) -> [u8; 6] {
        self.net.mac
    }

    /// Receives everything, or not. Not for a driver that did not take the feature.
    fn promiscuous(&mut self, on: bool) -> Outcome {
        if !self.net.has(Features::NET_CTRL_RX) {
            return Ok(());
        }
        self.net.do_command(CLASS, PROMISC, &[on.into()])
    }

    /// Sends a numbered frame, as any station.
    fn send_as(&mut self, from: [u8; 6], to: [u8; 6], number: u64) -> Outcome {
        let bytes = frame::make(100, to, from, number);
        self.net.send_frame(0, NetHeader::default(), &bytes)
    }

    /// Sends a numbered frame.
    fn send(&mut self, to: [u8; 6], number: u64) -> Outcome {
        self.send_as(self.mac(), to, number)
    }

    /// Sends everyone else the mark.
    fn mark(&mut self) -> Outcome {
        self.send(EVERYONE, MARK)
    }

    /// The numbers of the frames that have come up to the mark, which has to come.
    fn seen(&mut self) -> Outcome<Vec<u64>> {
        let mut numbers = Vec::new();
        loop {
            let got = self
                .net
                .wait_receive()
                .when(format_args!("{} after {numbers:?}", self.device.name()))?;
            self.net.fill_rx()?;
            match frame::number(&got).when("a number in the frame")? {
                MARK => return Ok(numbers),
                number => numbers.push(number),
            }
        }
    }

    /// Asserts that nothing has come, nor comes in a short while.
    fn sees_nothing(&mut self) -> Outcome {
        std::thread::sleep(Duration::from_millis(30));
        if let Some(got) = self.net.receive()? {
            fail!("{} got {:x?}", self.device.name(), &got[..22]);
        }
        Ok(())
    }

    /// Takes what has come, whatever it is.
    fn drain(&mut self) -> Outcome {
        std::thread::sleep(Duration::from_millis(30));
        while self.net.receive()?.is_some() {}
        self.net.fill_rx().map(drop)
    }

    fn delete(self) -> Outcome {
        drop(self.net);
        self.device.delete()
    }
}

/// Three ports whose drivers take these features.
fn three(context: &Context, features: Features) -> Outcome<[Port; 3]> {
    Ok([
        Port::new(context, "port1", 1, features)?,
        Port::new(context, "port2", 2, features)?,
        Port::new(context, "port3", 3, features)?,
    ])
}

/// Deletes ports, the last one first.
fn delete(ports: [Port; 3]) -> Outcome {
    for port in ports.into_iter().rev() {
        port.delete()?;
    }
    Ok(())
}

/// Asserts that frames pass between two ports in both directions.
fn passes(one: &mut Port, other: &mut Port) -> Outcome {
    for round in 0..5 {
        one.send(other.mac(), round)?;
        one.mark()?;
        let seen = other.seen()?;
        check!(seen == [round], "{} got {seen:?}", other.device.name());
        other.send(one.mac(), round)?;
        other.mark()?;
        let seen = one.seen()?;
        check!(seen == [round], "{} got {seen:?}", one.device.name());
    }
    Ok(())
}
