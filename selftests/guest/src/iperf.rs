// SPDX-License-Identifier: GPL-2.0

//! `iperf3` between the two ends of a wire.

use crate::{
    check,
    outcome::{Outcome, Stop, While},
    wire::{Wire, V4},
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

/// How many megabits a second of UDP are sent, beside TCP.
const UDP_RATE: &str = "10M";

/// What came of a run.
pub struct Sum {
    /// Bytes that TCP carried.
    pub bytes: u64,
    /// Segments that it sent again.
    pub retransmits: u64,
    /// Megabits a second.
    pub rate: f64,
    /// Datagrams that were sent.
    pub datagrams: u64,
    /// Datagrams that did not arrive.
    pub lost: u64,
}

/// A program that is ended when the value goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Sends for a second, from end a to end b, so many streams of TCP and one of UDP at once.
/// The ends must have their addresses.
pub fn run(wire: &Wire, streams: u16) -> Outcome<Sum> {
    let _servers = [server(wire, "5201")?, server(wire, "5202")?];
    let mut tcp = client(wire, &["-p", "5201", "-P", &streams.to_string()])?;
    let mut udp = client(wire, &["-p", "5202", "-u", "-b", UDP_RATE])?;
    let (tcp, udp) = (end(&mut tcp).when("TCP")?, end(&mut udp).when("UDP")?);
    Ok(Sum {
        bytes: number(&tcp, "sum_received", "bytes")? as u64,
        retransmits: number(&tcp, "sum_sent", "retransmits")? as u64,
        rate: number(&tcp, "sum_received", "bits_per_second")? / 1e6,
        datagrams: number(&udp, "sum", "packets")? as u64,
        lost: number(&udp, "sum", "lost_packets")? as u64,
    })
}

/// Starts a server, and waits until it listens.
fn server(wire: &Wire, port: &str) -> Outcome<Running> {
    let mut server = wire.b.namespace.inside(|| {
        Command::new("iperf3")
            .args(["-s", "-1", "--forceflush", "-p", port])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map(Running)
            .when("iperf3 -s")
    })?;
    let output = server.0.stdout.take().when("output of iperf3")?;
    let mut lines = BufReader::new(output).lines();
    let listens = lines.any(|line| line.is_ok_and(|line| line.contains("listening")));
    check!(listens, "iperf3 -s does not listen");
    // Somebody has to go on reading, or the server would block.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(server)
}

fn client(wire: &Wire, options: &[&str]) -> Outcome<Running> {
    wire.a.namespace.inside(|| {
        Command::new("timeout")
            .args(["20", "iperf3", "-J", "-c", V4[1], "-t", "1"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map(Running)
            .when("iperf3 -c")
    })
}

/// The last part of a client's report.
fn end(client: &mut Running) -> Outcome<Value> {
    let mut text = String::new();
    let mut output = client.0.stdout.take().when("output of iperf3")?;
    output.read_to_string(&mut text).when("output of iperf3")?;
    let status = client.0.wait().when("iperf3")?;
    let all: Value =
        serde_json::from_str(&text).when(format_args!("iperf3: {status}: '{text}'"))?;
    if let Some(error) = all["error"].as_str() {
        return Err(Stop::Failed(format!("iperf3: {status}: {error}")));
    }
    Ok(all["end"].clone())
}

fn number(end: &Value, part: &str, name: &str) -> Outcome<f64> {
    end[part][name]
        .as_f64()
        .when(format_args!("{part}.{name} in the report of iperf3: {end}"))
}
