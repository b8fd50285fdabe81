// SPDX-License-Identifier: GPL-2.0

//! A device with the kernel's own driver, and an interface: what the whole machine does for
//! a frame, or for a megabyte of TCP.

use super::{
    clock,
    options::Options,
    parent::{Loaded, Memory, Subject},
    pktgen::Generator,
    record::{Record, Samples},
    traffic::{self, Ends},
};
use crate::{
    device::{Device, Driver},
    named, netdev,
    netns::Namespace,
    outcome::{Outcome, While},
    packet::Socket,
    sys::{self, modprobe, wait_for},
    wire::{Spec, Wire, V4},
};
use std::{net::SocketAddr, rc::Rc, time::Duration};

named! {
    /// What is done.
    Task {
        /// `pktgen` sends as fast as it can.
        Pktgen = "pktgen",
        /// One frame at a time, between packet sockets.
        Ping = "ping",
        /// Many frames at a time, between packet sockets.
        Flood = "flood",
        /// A stream of TCP between two namespaces.
        Tcp = "tcp",
    }
}

pub const OPTIONS: &[&str] = &[
    "subjects",
    "tasks",
    "sizes",
    "frames",
    "megabytes",
    "rounds",
    "over",
    "parameters",
];

/// How many frames of a flood are on the way at most.
const IN_FLIGHT: u64 = 64;

/// How much there is to be done.
struct Amount {
    frames: u64,
    bytes: usize,
    rounds: usize,
    /// What streams of TCP go over.
    over: Vec<Over>,
}

named! {
    /// What a stream of TCP goes over.
    Over {
        /// A device that gives back what it is sent.
        Loopback = "loopback",
        /// Two ports of a switch.
        Switch = "switch",
        /// A pair of `veth`.
        Veth = "veth",
        /// The same without offloads.
        Plain = "veth without offloads",
    }
}

/// Measures all that the options say.
pub fn run(options: &Options) -> Outcome {
    clock::must_count()?;
    let amount = Amount {
        frames: options.get("frames", 10_000)?,
        bytes: options.get("megabytes", 8_usize)? << 20,
        rounds: options.get("rounds", 5)?,
        over: options.list("over", "loopback,switch,veth,veth without offloads")?,
    };
    let sizes: Vec<usize> = options.list("sizes", "64,1500")?;
    let parameters: Vec<String> = options.list("parameters", "")?;
    let parameters = parameters.join(" ");
    let tasks: Vec<Task> = options.list("tasks", "pktgen,ping,flood,tcp")?;
    for subject in options.list("subjects", "rvdpa_sim,reference")? {
        let loaded = Loaded::new(subject, Memory::Pa, &parameters)?;
        for &task in &tasks {
            if task == Task::Tcp {
                streams(subject, &amount)?;
                continue;
            }
            let path = Path::new(subject)?;
            for &size in &sizes {
                frames(&path, task, size, &amount)?;
            }
            path.end()?;
        }
        loaded.unload()?;
    }
    Ok(())
}

/// Where frames go in, and where they come out.
struct Path {
    subject: Subject,
    /// None for the reference.
    device: Option<Device>,
    from: String,
    to: String,
    mac: [u8; 6],
}

impl Path {
    fn new(subject: Subject) -> Outcome<Self> {
        let (device, from, to) = match subject.parent() {
            Some(parent) => {
                let device = parent.device("bench0").add()?;
                device.bind(Driver::Virtio)?;
                let interface = device.interface()?;
                (Some(device), interface.clone(), interface)
            }
            None => {
                sys::run(&words("ip link add bench0 type veth peer name bench1"))?;
                (None, "bench0".into(), "bench1".into())
            }
        };
        let path = Self {
            subject,
            device,
            mac: netdev::mac(&to)?,
            from,
            to,
        };
        for name in [&path.from, &path.to] {
            sys::run(&["ip", "link", "set", name, "up"])?;
        }
        netdev::wait_up(&path.from)?;
        netdev::wait_up(&path.to)?;
        Ok(path)
    }

    fn end(self) -> Outcome {
        match self.device {
            Some(device) => device.delete(),
            None => sys::run(&["ip", "link", "delete", &self.from]).map(drop),
        }
    }

    fn ends(&self) -> Outcome<Ends> {
        let from = Rc::new(Socket::open(&self.from, 2048)?);
        let to = match self.to == self.from {
            true => from.clone(),
            false => Rc::new(Socket::open(&self.to, 2048)?),
        };
        Ok(Ends {
            from,
            to,
            mac: self.mac,
        })
    }

    fn record(&self, name: &'static str, size: usize) -> Record {
        Record::new(name)
            .with("subject", self.subject.name())
            .with("size", size)
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

/// Measures a task with frames of one size.
fn frames(path: &Path, task: Task, size: usize, amount: &Amount) -> Outcome {
    let record = path.record(task.name(), size);
    let mut samples = Samples::default();
    match task {
        Task::Ping => {
            let ends = path.ends()?;
            traffic::one_by_one(&ends, size, amount.frames / 100 + 10)?;
            let each = traffic::one_by_one(&ends, size, amount.frames / 2)?;
            record
                .and("p99", each.percentile(99))
                .print("instructions/frame", &each);
            return Ok(());
        }
        Task::Flood => {
            let ends = path.ends()?;
            traffic::flood(&ends, size, amount.frames / 10 + 64, IN_FLIGHT)?;
            for _ in 0..amount.rounds {
                samples.add(traffic::flood(&ends, size, amount.frames, IN_FLIGHT)?);
            }
        }
        Task::Pktgen => {
            generate(path, size, amount.frames / 10 + 64)?;
            for _ in 0..amount.rounds {
                samples.add(generate(path, size, amount.frames)?);
            }
        }
        Task::Tcp => {}
    }
    record.print("instructions/frame", &samples);
    Ok(())
}

/// Drops what comes in at an interface, before protocols see it, until the value goes.
struct Dropped(String);

impl Dropped {
    fn new(interface: &str) -> Outcome<Self> {
        sys::run(&words(&format!("tc qdisc add dev {interface} clsact")))?;
        let dropped = Self(interface.to_owned());
        let all = format!("tc filter add dev {interface} ingress matchall action drop");
        sys::run(&words(&all))?;
        Ok(dropped)
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = sys::run(&words(&format!("tc qdisc delete dev {} clsact", self.0)));
    }
}

/// Has frames generated, all of which must arrive. Returns what one took.
fn generate(path: &Path, size: usize, count: u64) -> Outcome<f64> {
    let generator = Generator::new(&path.from, path.mac, size, count)?;
    let _dropped = Dropped::new(&path.to)?;
    let arrived = || netdev::counter(&path.to, "rx_packets");
    let before = arrived()?;
    let microseconds = generator.run()?;
    // The last ones, fewer than a ring has room for, are on their way still.
    let all = wait_for(
        "all frames that pktgen sent",
        Duration::from_secs(2),
        || Ok((arrived()? - before == count).then_some(())),
    );
    all.when(format_args!("{} of {count} arrived", arrived()? - before))?;
    Ok(microseconds as f64 * 1e3 / count as f64)
}

/// Measures streams of TCP, in all ways that there are for the subject.
fn streams(subject: Subject, amount: &Amount) -> Outcome {
    match subject.parent() {
        Some(parent) => {
            if amount.over.contains(&Over::Loopback) {
                looped_stream(subject, &parent.device("bench0").add()?, amount)?;
            }
            if subject == Subject::Ours && amount.over.contains(&Over::Switch) {
                let wire = Wire::new(Spec::default())?;
                wire.number()?;
                let (a, b) = (&wire.a.namespace, &wire.b.namespace);
                stream(subject, Over::Switch, a, b, V4[1], amount)?;
                wire.delete()?;
            }
        }
        None => {
            let (a, b) = (Namespace::new()?, Namespace::new()?);
            veth(&a, &b)?;
            stream(subject, Over::Veth, &a, &b, V4[1], amount)?;
            for (side, name) in [(&a, "bench0"), (&b, "bench1")] {
                let off = format!("ethtool -K {name} tso off gso off gro off tx off rx off");
                side.inside(|| sys::run(&words(&off)))?;
            }
            stream(subject, Over::Plain, &a, &b, V4[1], amount)?;
        }
    }
    Ok(())
}

/// A pair of interfaces between two namespaces.
fn veth(a: &Namespace, b: &Namespace) -> Outcome {
    let (pa, pb) = (a.path(), b.path());
    sys::run(&words("ip link add bench0 type veth peer name bench1"))?;
    for (side, path, name, address) in [(a, pa, "bench0", V4[0]), (b, pb, "bench1", V4[1])] {
        sys::run(&["ip", "link", "set", name, "netns", &path])?;
        side.inside(|| {
            sys::run(&words(&format!("ip address add {address}/24 dev {name}")))?;
            sys::run(&["ip", "link", "set", name, "up"])
        })?;
    }
    b.inside(|| netdev_up("bench1"))?;
    a.inside(|| netdev_up("bench0"))
}

/// Waits until an interface of the namespace that the caller is in sends.
fn netdev_up(name: &str) -> Outcome {
    wait_for("the link", Duration::from_secs(5), || {
        let text = sys::run(&["ip", "-br", "link", "show", "dev", name])?;
        Ok(text.contains("LOWER_UP").then_some(()))
    })
}

/// A stream through a device that gives back what it is sent: two interfaces of type
/// `ipvlan` share it, each in a namespace of its own, and leave it to the device to bring
/// what one sends to the other.
fn looped_stream(subject: Subject, device: &Device, amount: &Amount) -> Outcome {
    modprobe(&["ipvlan"])?;
    device.bind(Driver::Virtio)?;
    let lower = device.interface()?;
    netdev::up(&lower)?;
    let mac = crate::frame::display(netdev::mac(&lower)?);
    let (a, b) = (Namespace::new()?, Namespace::new()?);
    for (side, at) in [(&a, 0), (&b, 1)] {
        let (address, other) = (V4[at], V4[1 - at]);
        let name = format!("bench{at}");
        let add = format!("ip link add link {lower} name {name} type ipvlan mode l2 vepa");
        sys::run(&words(&add))?;
        sys::run(&["ip", "link", "set", &name, "netns", &side.path()])?;
        side.inside(|| {
            sys::run(&words(&format!("ip address add {address}/24 dev {name}")))?;
            sys::run(&words(&format!("ip link set {name} up")))?;
            sys::run(&words(&format!(
                "ip neighbour replace {other} lladdr {mac} nud permanent dev {name}"
            )))
        })?;
    }
    stream(subject, Over::Loopback, &a, &b, V4[1], amount)?;
    for (side, name) in [(&a, "bench0"), (&b, "bench1")] {
        side.inside(|| sys::run(&["ip", "link", "delete", name]))?;
    }
    Ok(())
}

/// Measures TCP between two namespaces.
fn stream(
    subject: Subject,
    over: Over,
    from: &Namespace,
    to: &Namespace,
    address: &str,
    amount: &Amount,
) -> Outcome {
    if !amount.over.contains(&over) {
        return Ok(());
    }
    let mut samples = Samples::default();
    for round in 0..=amount.rounds {
        let at: SocketAddr = format!("{address}:{}", 7000 + round)
            .parse()
            .when(address)?;
        let value = traffic::bulk(from, to, at, amount.bytes)?;
        // The first is for all that is done once.
        if round > 0 {
            samples.add(value);
        }
    }
    Record::new("tcp")
        .with("subject", subject.name())
        .with("over", over.name())
        .print("instructions/MB", &samples);
    Ok(())
}
