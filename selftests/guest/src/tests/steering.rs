// SPDX-License-Identifier: GPL-2.0

//! Which queue pair gets what comes.

use crate::{
    check, check_eq,
    harness::{Context, Test},
    outcome::{Outcome, While},
    stream::exchange,
    sys::{scaled, SOON},
    toeplitz,
    wire::{self, Port, Spec, Wire, V4, V6},
};
use nix::errno::Errno;
use rvdpa_virtio::features::Features;
use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    time::Duration,
};

pub const TESTS: &[Test] = &[
    Test::new("steering.replies_come_where_the_flow_was_sent", automatic).seconds(40),
    Test::new("steering.only_pairs_in_use", pairs_in_use).seconds(40),
    Test::new("steering.rss_table_and_key", rss).seconds(60),
    Test::new("steering.rss_fields", rss_fields).seconds(40),
    Test::new("steering.rss_packed", rss_packed).seconds(60),
    Test::new("steering.hash_is_reported", hash_report).seconds(40),
];

/// How many queue pairs port a has.
const PAIRS: u16 = 4;

/// How many datagrams each flow sends at a time.
const DATAGRAMS: u64 = 5;

/// A flow of datagrams.
struct Flow {
    a: UdpSocket,
    b: UdpSocket,
    /// The address of each end.
    at_a: SocketAddr,
    at_b: SocketAddr,
}

impl Flow {
    fn new(wire: &Wire, number: u16, v6: bool) -> Outcome<Self> {
        let [a, b] = if v6 { V6 } else { V4 };
        let open = |port: &Port, address: &str, number: u16| {
            let address = SocketAddr::new(address.parse().when(address)?, number);
            let socket = port
                .namespace
                .inside(|| UdpSocket::bind(address).when(format_args!("binding to {address}")))?;
            socket.set_read_timeout(Some(scaled(SOON)))?;
            Ok::<_, crate::outcome::Stop>((socket, address))
        };
        let (a, at_a) = open(&wire.a, a, 8000 + 7 * number)?;
        let (b, at_b) = open(&wire.b, b, 9000 + number)?;
        // The kernel keeps a connected socket on its transmit queue.
        b.connect(at_a)?;
        Ok(Self { a, b, at_a, at_b })
    }

    /// Some flows of both versions of IP.
    fn several(wire: &Wire, count: u16) -> Outcome<Vec<Self>> {
        (0..count)
            .map(|number| Self::new(wire, number, number % 4 == 3))
            .collect()
    }

    /// Has some datagrams go from a to b.
    fn to_b(&self) -> Outcome {
        pass(|bytes| self.a.send_to(bytes, self.at_b), &self.b)
    }

    /// Has some datagrams come from b to a.
    fn to_a(&self) -> Outcome {
        pass(|bytes| self.b.send(bytes), &self.a)
    }
}

fn pass(send: impl Fn(&[u8]) -> io::Result<usize>, to: &UdpSocket) -> Outcome {
    for number in 0..DATAGRAMS {
        send(&number.to_le_bytes()).when("sending")?;
        let mut got = [0; 8];
        to.recv(&mut got)
            .when(format_args!("datagram {number} to {to:?}"))?;
        check_eq!(u64::from_le_bytes(got), number, "datagram");
    }
    Ok(())
}

/// Which pairs have counted frames while something was done, and how many.
fn meanwhile(
    port: &Port,
    direction: u32,
    act: impl FnOnce() -> Outcome,
) -> Outcome<Vec<(usize, u64)>> {
    let name = ["rx packets", "tx packets"][direction as usize];
    let before = port.by_pair(direction, name)?;
    act()?;
    let after = port.by_pair(direction, name)?;
    let differences = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before);
    Ok(differences
        .enumerate()
        .filter(|(_, count)| *count > 0)
        .collect())
}

/// Port a has many pairs, and port b one.
fn wire(features: Option<u64>) -> Outcome<Wire> {
    let wire = Wire::unlike(
        Spec {
            pairs: PAIRS,
            features,
            ..Spec::default()
        },
        Spec::default(),
    )?;
    wire.number()?;
    Ok(wire)
}

fn without_rss() -> u64 {
    wire::plain() | wire::offloads() | Features::NET_MRG_RXBUF.0 | Features::NET_MQ.0
}

/// Has the thread run on one processor only, and with it what it sends.
fn pin(processor: usize) -> Outcome {
    // SAFETY: All zeroes are a value of this type, and the set is valid for the call.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    Errno::result(result).when(format_args!("going to processor {processor}"))?;
    Ok(())
}

fn automatic(context: &mut Context) -> Outcome {
    let wire = wire(Some(without_rss()))?;
    let flows = Flow::several(&wire, 8)?;
    let mut used = BTreeSet::new();
    let mut moved = 0;
    for (number, flow) in flows.iter().enumerate() {
        let mut last = None;
        // A flow that is sent from elsewhere takes its replies along.
        for round in 0..4 {
            context.step(format_args!("flow {number}, round {round}"));
            pin(round % 2)?;
            // The stack now and then has something of its own to say.
            let both = || -> Outcome<_> {
                let sent = meanwhile(&wire.a, 1, || flow.to_b())?;
                Ok((sent, meanwhile(&wire.a, 0, || flow.to_a())?))
            };
            let (mut sent, mut come) = both()?;
            for _ in 0..2 {
                if sent.len() != 1 || come.len() != 1 {
                    (sent, come) = both()?;
                }
            }
            check_eq!(
                sent.len(),
                1,
                "pairs that flow {number} was sent from: {sent:?}"
            );
            // Not how many: one of the stack's own may go the same way.
            let pairs = |counts: &[(usize, u64)]| -> Vec<_> {
                counts.iter().map(|(pair, _)| *pair).collect()
            };
            check_eq!(
                pairs(&come),
                pairs(&sent),
                "pair of the replies to flow {number}, round {round}"
            );
            let pair = sent[0].0;
            used.insert(pair);
            if last.replace(pair).is_some_and(|last| last != pair) {
                moved += 1;
            }
        }
    }
    context.note(format_args!(
        "pairs used: {used:?}; flows moved {moved} times"
    ));
    check!(used.len() > 1, "all flows used one pair: {used:?}");
    check!(moved > 0, "no flow moved from pair to pair");
    wire.delete()
}

fn pairs_in_use(_: &mut Context) -> Outcome {
    for features in [Some(without_rss()), None] {
        let wire = wire(features)?;
        let flows = Flow::several(&wire, 12)?;
        for pairs in [1, 3, 2, 4, 1] {
            let count = pairs.to_string();
            wire.a
                .run(&["ethtool", "-L", &wire.a.interface, "combined", &count])?;
            let come = meanwhile(&wire.a, 0, || flows.iter().try_for_each(Flow::to_a))?;
            let total: u64 = come.iter().map(|(_, count)| count).sum();
            check_eq!(total, DATAGRAMS * flows.len() as u64, "frames that came");
            check!(
                come.iter().all(|(pair, _)| *pair < pairs),
                "{pairs} pairs are in use, but {come:?} got frames"
            );
            exchange(&wire, 2, 1 << 17).when(format_args!("with {pairs} pairs"))?;
        }
        wire.delete()?;
    }
    Ok(())
}

/// The indirection table and the key that `ethtool -x` shows.
struct Rss {
    table: Vec<usize>,
    key: Vec<u8>,
}

impl Rss {
    fn read(port: &Port) -> Outcome<Self> {
        let text = port.run(&["ethtool", "-x", &port.interface])?;
        let mut table = Vec::new();
        let mut key = Vec::new();
        let mut in_key = false;
        for line in text.lines() {
            if in_key {
                let bytes: Result<_, _> = line
                    .trim()
                    .split(':')
                    .map(|byte| u8::from_str_radix(byte, 16))
                    .collect();
                key = bytes.when(line)?;
                break;
            }
            in_key = line.starts_with("RSS hash key");
            if let Some((start, entries)) = line.split_once(':') {
                if start.trim().parse::<usize>().is_ok() {
                    let entries: Result<Vec<usize>, _> =
                        entries.split_whitespace().map(str::parse).collect();
                    table.extend(entries.when(line)?);
                }
            }
        }
        check!(!table.is_empty(), "no indirection table in {text}");
        check!(key.len() >= 40, "a key of {} bytes in {text}", key.len());
        Ok(Self { table, key })
    }

    /// The pair that the frames of a flow to port a come to.
    fn pair(&self, flow: &Flow, ports: bool) -> usize {
        let input = toeplitz::input(flow.at_b, flow.at_a, ports);
        let hash = toeplitz::hash(&self.key, &input) as usize;
        self.table[hash % self.table.len()]
    }
}

/// Sees that each flow comes where the table and the key have it. Returns the pairs.
fn check_rss(wire: &Wire, flows: &[Flow], ports: bool) -> Outcome<BTreeSet<usize>> {
    let rss = Rss::read(&wire.a)?;
    let mut used = BTreeSet::new();
    for flow in flows {
        let come = meanwhile(&wire.a, 0, || flow.to_a())?;
        let pair = rss.pair(flow, ports);
        check_eq!(
            come,
            [(pair, DATAGRAMS)],
            "pairs that the flow from {} to {} came to",
            flow.at_b,
            flow.at_a
        );
        used.insert(pair);
    }
    Ok(used)
}

/// Changes table and key, and sees that flows go where they are told.
fn table_and_key(context: &mut Context, features: Option<u64>) -> Outcome {
    let wire = wire(features)?;
    let flows = Flow::several(&wire, 16)?;
    let ethtool = |words: &[&str]| {
        let mut all = vec!["ethtool", "-X", &wire.a.interface];
        all.extend(words);
        wire.a.run(&all)
    };
    context.step("as it comes");
    let used = check_rss(&wire, &flows, true)?;
    check!(used.len() > 1, "all flows came to {used:?}");

    context.step("all to one pair");
    ethtool(&["weight", "0", "0", "1", "0"])?;
    check_eq!(check_rss(&wire, &flows, true)?, [2].into(), "pairs used");

    context.step("to two pairs");
    ethtool(&["start", "2", "equal", "2"])?;
    check_eq!(check_rss(&wire, &flows, true)?, [2, 3].into(), "pairs used");

    context.step("another key");
    ethtool(&["equal", "4"])?;
    let before = Rss::read(&wire.a)?;
    let key: Vec<u8> = (0..before.key.len() as u8)
        .map(|at| at.wrapping_mul(73) ^ 0x35)
        .collect();
    let text: Vec<_> = key.iter().map(|byte| format!("{byte:02x}")).collect();
    ethtool(&["hkey", &text.join(":")])?;
    let after = Rss::read(&wire.a)?;
    check_eq!(after.key, key, "key");
    check_rss(&wire, &flows, true)?;
    let moved = flows
        .iter()
        .filter(|flow| before.pair(flow, true) != after.pair(flow, true));
    check!(moved.count() > 0, "no flow has moved");

    // What a sender sends from is of no importance now.
    context.step("sent from elsewhere");
    for processor in [0, 1] {
        pin(processor)?;
        flows.iter().try_for_each(Flow::to_b)?;
        check_rss(&wire, &flows, true)?;
    }
    exchange(&wire, 4, 1 << 18)?;
    wire.delete()
}

fn rss(context: &mut Context) -> Outcome {
    table_and_key(context, None)
}

fn rss_packed(context: &mut Context) -> Outcome {
    let features = without_rss() | Features::NET_RSS.0 | Features::RING_PACKED.0;
    table_and_key(context, Some(features))
}

/// Which fields count: the addresses alone, or the ports too.
fn rss_fields(context: &mut Context) -> Outcome {
    let wire = wire(None)?;
    let flows: Vec<_> = (0..12)
        .map(|number| Flow::new(&wire, number, number % 2 == 1))
        .collect::<Outcome<_>>()?;
    let of_v4: Vec<_> = flows.iter().filter(|flow| flow.at_a.is_ipv4()).collect();
    check!(of_v4.len() == 6, "flows of IPv4");
    wire.a
        .run(&["ethtool", "-K", &wire.a.interface, "rxhash", "on"])?;
    for (fields, ports) in [("sd", false), ("sdfn", true), ("sd", false)] {
        context.step(fields);
        for protocol in ["udp4", "udp6"] {
            let words = [
                "ethtool",
                "-N",
                &wire.a.interface,
                "rx-flow-hash",
                protocol,
                fields,
            ];
            wire.a.run(&words)?;
        }
        let used = check_rss(&wire, &flows, ports)?;
        if ports {
            check!(used.len() > 1, "all flows came to {used:?}");
        } else {
            check!(used.len() <= 2, "two pairs of addresses came to {used:?}");
        }
    }
    // There is only one hash function.
    let other = wire
        .a
        .run(&["ethtool", "-X", &wire.a.interface, "hfunc", "xor"]);
    check!(other.is_err(), "another hash function was accepted");
    wire.delete()
}

/// The hash comes with each packet: only datagrams with the right one are let to the socket.
fn hash_report(context: &mut Context) -> Outcome {
    let features = without_rss() | Features::NET_RSS.0 | Features::NET_HASH_REPORT.0;
    let wire = wire(Some(features))?;
    wire.a
        .run(&["ethtool", "-K", &wire.a.interface, "rxhash", "on"])?;
    let flows = Flow::several(&wire, 8)?;
    let rss = Rss::read(&wire.a)?;
    for flow in &flows {
        let input = toeplitz::input(flow.at_b, flow.at_a, true);
        let hash = toeplitz::hash(&rss.key, &input);
        context.step(format_args!("the flow from {}: {hash:#010x}", flow.at_b));
        only_with_hash(&flow.a, hash)?;
        flow.to_a()?;
        // And the filter is one.
        only_with_hash(&flow.a, hash ^ 1)?;
        flow.b.send(&[1]).when("sending")?;
        flow.a.set_read_timeout(Some(Duration::from_millis(100)))?;
        let got = flow.a.recv(&mut [0; 8]);
        check!(
            got.is_err(),
            "a datagram came though its hash is another one"
        );
    }
    wire.delete()
}

/// Lets datagrams to a socket only if the kernel was told this hash with them.
fn only_with_hash(socket: &UdpSocket, hash: u32) -> Outcome {
    // The place from which a filter loads the hash (SKF_AD_OFF + SKF_AD_RXHASH).
    const RXHASH: u32 = (-0x1000_i32 + 32) as u32;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        // Load; if it is equal, everything, otherwise nothing.
        instruction(0x20, 0, 0, RXHASH),
        instruction(0x15, 0, 1, hash),
        instruction(0x06, 0, 0, 0xffff),
        instruction(0x06, 0, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: The program is valid for the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    Errno::result(result).when("SO_ATTACH_FILTER")?;
    Ok(())
}
