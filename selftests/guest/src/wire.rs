// SPDX-License-Identifier: GPL-2.0

//! Two hosts with a wire between them: two devices on one switch, each with the kernel's
//! driver and in a network namespace of its own.

use crate::{
    check_eq,
    device::{Device, Driver},
    frame,
    netns::Namespace,
    outcome::{Outcome, Stop, While},
    packet::Socket,
    sys::{self, wait_for, SOON},
    tool,
};
use rvdpa_virtio::features::Features;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
    rc::Rc,
};

/// The switch that tests use.
pub const SWITCH: &str = "rvdpasim_switch0";

/// How a device is made.
#[derive(Clone, Copy)]
pub struct Spec {
    /// The management device.
    pub on: &'static str,
    /// Exactly these features; the device's default if there are none.
    pub features: Option<u64>,
    pub mtu: u16,
    /// How many queue pairs the device has.
    pub pairs: u16,
    /// How many of them are used, if not all.
    pub used: Option<u16>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            on: SWITCH,
            features: None,
            mtu: 1500,
            pairs: 1,
            used: None,
        }
    }
}

/// What each device of the tests with a feature set of their own has.
pub fn plain() -> u64 {
    (Features::VERSION_1
        | Features::ACCESS_PLATFORM
        | Features::ORDER_PLATFORM
        | Features::INDIRECT_DESC
        | Features::EVENT_IDX
        | Features::NET_MAC
        | Features::NET_MTU
        | Features::NET_STATUS
        | Features::NET_CTRL_VQ
        | Features::NET_CTRL_RX
        | Features::NET_CTRL_MAC_ADDR)
        .0
}

/// Checksums and segmentation in both directions.
pub fn offloads() -> u64 {
    (Features::NET_CSUM
        | Features::NET_HOST_TSO4
        | Features::NET_HOST_TSO6
        | Features::NET_HOST_ECN
        | Features::NET_HOST_USO)
        .0
        | guest_offloads()
}

/// What a receiver need not do itself.
pub fn guest_offloads() -> u64 {
    (Features::NET_GUEST_CSUM
        | Features::NET_GUEST_TSO4
        | Features::NET_GUEST_TSO6
        | Features::NET_GUEST_ECN
        | Features::NET_GUEST_USO4
        | Features::NET_GUEST_USO6
        | Features::NET_CTRL_GUEST_OFFLOADS)
        .0
}

/// One end: a device, its interface, and the namespace in which the interface is.
pub struct Port {
    // In this order: the device goes before its namespace.
    pub device: Device,
    pub namespace: Rc<Namespace>,
    pub interface: String,
    pub mac: [u8; 6],
    pub spec: Spec,
}

impl Port {
    /// Makes a device, binds it to the kernel's driver and brings its interface up in a
    /// namespace. The last byte of its MAC address is `number`.
    pub fn new(name: &str, number: u8, spec: Spec) -> Outcome<Self> {
        Self::down(name, number, spec)?.start()
    }

    /// The same, but leaves the interface down.
    pub fn down(name: &str, number: u8, spec: Spec) -> Outcome<Self> {
        Self::down_in(Rc::new(Namespace::new()?), name, number, spec)
    }

    /// Makes a port in the namespace of another one.
    pub fn beside(other: &Self, name: &str, number: u8, spec: Spec) -> Outcome<Self> {
        Self::down_in(other.namespace.clone(), name, number, spec)?.start()
    }

    fn down_in(namespace: Rc<Namespace>, name: &str, number: u8, spec: Spec) -> Outcome<Self> {
        let mac = [0x02, 0x5e, 0, 0, 0, number];
        let mut words = format!(
            "dev add name {name} mgmtdev {} mac {} mtu {} max_vqp {}",
            spec.on,
            frame::display(mac),
            spec.mtu,
            spec.pairs
        );
        if let Some(features) = spec.features {
            let _ = write!(words, " device_features {features:#x}");
        }
        tool::vdpa(&words)?;
        let device = Device::adopt(name);
        device.bind(Driver::Virtio)?;
        let interface = device.interface()?;
        let mut port = Self {
            device,
            namespace,
            interface,
            mac,
            spec,
        };
        if let Some(features) = spec.features {
            check_eq!(
                port.negotiated()? & features,
                features,
                "features of {name} in effect"
            );
        }
        port.move_in()?;
        Ok(port)
    }

    /// Moves the interface, which came up in the first namespace, into its own. There it
    /// has the name of the device.
    fn move_in(&mut self) -> Outcome {
        let (to, name) = (self.namespace.path(), self.device.name().to_owned());
        sys::run(&[
            "ip",
            "link",
            "set",
            &self.interface,
            "netns",
            &to,
            "name",
            &name,
        ])?;
        self.interface = name;
        Ok(())
    }

    /// Takes the device as it is after its driver had to let it go: with a new interface.
    pub fn again(mut self) -> Outcome<Self> {
        self.interface = self.device.interface()?;
        self.move_in()?;
        self.start()
    }

    /// Brings the interface up and waits until it sends.
    pub fn start(self) -> Outcome<Self> {
        if self.spec.pairs > 1 {
            let pairs = self.spec.used.unwrap_or(self.spec.pairs).to_string();
            self.run(&["ethtool", "-L", &self.interface, "combined", &pairs])?;
        }
        self.ip("link set DEV up")?;
        self.wait_running(true)?;
        // The state is set first, and the queue a moment later, under a lock that this takes.
        self.ip("link set DEV txqueuelen 1000")?;
        Ok(self)
    }

    /// The features that the driver and the device agreed on.
    pub fn negotiated(&self) -> Outcome<u64> {
        let virtio = sys::names(self.device.path())
            .into_iter()
            .find(|name| name.starts_with("virtio"))
            .when("a virtio device")?;
        let text = sys::read_line(self.device.path().join(virtio).join("features"))?;
        let bits = text.bytes().take(64).enumerate();
        Ok(bits.fold(0, |all, (bit, digit)| {
            all | (u64::from(digit == b'1') << bit)
        }))
    }

    /// Waits until the interface can send, or until it cannot.
    pub fn wait_running(&self, wanted: bool) -> Outcome {
        wait_for("the link", SOON, || {
            let link = self.link()?;
            let up = link["operstate"] == "UP" && flags(&link).contains(&"LOWER_UP");
            Ok((up == wanted).then_some(()))
        })
        .when(format_args!("{} with link {wanted}", self.device.name()))
    }

    /// Runs a command in the namespace, which must work.
    pub fn run(&self, words: &[&str]) -> Outcome<String> {
        self.namespace.inside(|| sys::run(words))
    }

    /// Runs commands of `ip`, one per line, in which `DEV` stands for the interface.
    pub fn ip(&self, lines: &str) -> Outcome {
        self.batch("ip", lines)
    }

    /// Runs commands of `ip` or `bridge`, one per line, in which `DEV` stands for the
    /// interface.
    pub fn batch(&self, program: &str, lines: &str) -> Outcome {
        let lines = lines.replace("DEV", &self.interface);
        let mut child = self.namespace.inside(|| {
            Command::new(program)
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .when(program)
        })?;
        let mut stdin = child.stdin.take().when("standard input")?;
        stdin
            .write_all(lines.as_bytes())
            .when(format_args!("to {program}"))?;
        drop(stdin);
        let output = child.wait_with_output().when(program)?;
        if !output.status.success() {
            return Err(Stop::Failed(format!(
                "{program} -batch: '{lines}': {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        Ok(())
    }

    /// What `ip -j link` says of the interface.
    pub fn link(&self) -> Outcome<Value> {
        let text = self.run(&["ip", "-j", "-s", "link", "show", "dev", &self.interface])?;
        let all: Value = serde_json::from_str(&text).when(&text)?;
        Ok(all[0].clone())
    }

    /// A socket that sends and receives frames.
    pub fn socket(&self, room: usize) -> Outcome<Socket> {
        self.namespace
            .inside(|| Socket::open(&self.interface, room))
    }

    /// What `ethtool -S` shows.
    pub fn ethtool_statistics(&self) -> Outcome<BTreeMap<String, u64>> {
        let text = self.run(&["ethtool", "-S", &self.interface])?;
        let lines = text.lines().filter_map(|line| {
            let (name, number) = line.trim().rsplit_once(": ")?;
            Some((name.to_owned(), number.parse().ok()?))
        });
        Ok(lines.collect())
    }

    /// A counter of the device, summed up over all its queues of one direction: 0 is
    /// receive, 1 transmit.
    pub fn total(&self, direction: u32, name: &str) -> Outcome<u64> {
        Ok(self.by_pair(direction, name)?.iter().sum())
    }

    /// A counter of the device for each queue pair.
    pub fn by_pair(&self, direction: u32, name: &str) -> Outcome<Vec<u64>> {
        (0..u32::from(self.spec.pairs))
            .map(|pair| self.device.statistics(2 * pair + direction)?.get(name))
            .collect()
    }

    /// The index of the control virtqueue.
    pub fn control_queue(&self) -> Outcome<u32> {
        let several = (Features::NET_MQ | Features::NET_RSS).0;
        Ok(if self.negotiated()? & several != 0 {
            2 * u32::from(self.spec.pairs)
        } else {
            2
        })
    }

    /// How many commands the device has had.
    pub fn commands(&self) -> Outcome<u64> {
        self.device
            .statistics(self.control_queue()?)?
            .get("cvq commands")
    }

    /// Does something after which the driver tells the device which frames it wants, and
    /// waits until it has: it does so a moment later, by three commands.
    pub fn changes_filter(&self, act: impl FnOnce() -> Outcome) -> Outcome {
        let before = self.commands()?;
        act()?;
        wait_for("the driver's filter commands", SOON, || {
            Ok((self.commands()? >= before + 3).then_some(()))
        })
    }
}

/// The flags in what `ip -j link` says.
pub fn flags(link: &Value) -> Vec<&str> {
    let flags = link["flags"].as_array().map(Vec::as_slice);
    flags
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

/// Two ports of one switch, and nothing else on it.
pub struct Wire {
    pub a: Port,
    pub b: Port,
}

impl Wire {
    /// Two devices that are made alike.
    pub fn new(spec: Spec) -> Outcome<Self> {
        Self::unlike(spec, spec)
    }

    /// Two devices.
    pub fn unlike(a: Spec, b: Spec) -> Outcome<Self> {
        Ok(Self {
            a: Port::new("wire_a", 0xa, a)?,
            b: Port::new("wire_b", 0xb, b)?,
        })
    }

    /// Gives both ends addresses of IPv4 and IPv6: [`V4`] and [`V6`]. Each knows the other's.
    pub fn number(&self) -> Outcome {
        for (at, port) in [&self.a, &self.b].into_iter().enumerate() {
            port.namespace.inside(|| {
                let all = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", port.interface);
                sys::write(all, "0")
            })?;
            // Nobody has to ask for the other one's address.
            let other = [&self.b, &self.a][at];
            let lladdr = frame::display(other.mac);
            port.ip(&format!(
                "addr add {}/24 dev DEV\n\
                 addr add {}/64 dev DEV nodad\n\
                 neigh replace {} lladdr {lladdr} nud permanent dev DEV\n\
                 neigh replace {} lladdr {lladdr} nud permanent dev DEV",
                V4[at],
                V6[at],
                V4[1 - at],
                V6[1 - at]
            ))?;
        }
        Ok(())
    }

    /// Takes both devices as they are after their drivers had to let them go.
    pub fn again(self) -> Outcome<Self> {
        Ok(Self {
            a: self.a.again()?,
            b: self.b.again()?,
        })
    }

    /// Deletes both devices, which must work.
    pub fn delete(self) -> Outcome {
        self.a.device.delete()?;
        self.b.device.delete()
    }
}

/// The addresses of the two ends.
pub const V4: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
pub const V6: [&str; 2] = ["fd00::1", "fd00::2"];
