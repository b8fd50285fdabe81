// SPDX-License-Identifier: GPL-2.0

//! What the tables say of traffic.

use super::{of_device, of_switch, port, SOON};
use crate::{
    check, check_eq,
    device::{Device, Driver, MAC},
    fail, frame,
    harness::{Context, Test},
    netlink::attribute,
    outcome::{Outcome, While},
    packet::Socket,
    sys::{self, wait_for},
    vhost::{LoopPlan, Net, Plan},
};
use std::{collections::BTreeSet, fs, path::Path};

pub const TESTS: &[Test] = &[
    Test::new("debugfs.queues", queues),
    Test::new("debugfs.queues_that_broke", broken),
    Test::new("debugfs.ports_and_fdb", switch),
    Test::new("debugfs.fdb_forgets_with_time", ageing).with("ageing=1"),
    Test::new("debugfs.long_fdb", long_fdb),
];

/// The address of everyone.
const EVERYONE: [u8; 6] = [0xff; 6];
const FIRST: [u8; 6] = [2, 0, 0, 0, 0x40, 1];
const SECOND: [u8; 6] = [2, 0, 0, 0, 0x40, 2];

/// A table, with what its columns are called.
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read(path: &Path) -> Outcome<Self> {
        let text = fs::read_to_string(path).when(path.display())?;
        check!(text.ends_with('\n'), "{text:?} has no end");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        let mut lines = text.lines().map(words);
        let columns: Vec<_> = lines.next().when("a header line")?;
        let rows: Vec<Vec<_>> = lines.collect();
        for row in &rows {
            check!(row.len() >= columns.len(), "{row:?} for {columns:?}");
        }
        Ok(Self { columns, rows })
    }

    fn ports() -> Outcome<Self> {
        Self::read(&of_switch(0, "ports"))
    }

    fn fdb() -> Outcome<Self> {
        Self::read(&of_switch(0, "fdb"))
    }

    /// A word of a row.
    fn get(&self, row: usize, column: &str) -> Outcome<&str> {
        let at = self.columns.iter().position(|name| name == column);
        let at = at.when(format_args!("the column {column} of {:?}", self.columns))?;
        let row = self.rows.get(row).when(format_args!("row {row}"))?;
        Ok(&row[at])
    }

    fn number(&self, row: usize, column: &str) -> Outcome<u64> {
        let text = self.get(row, column)?;
        text.parse().when(format_args!("{column}: {text}"))
    }

    /// Some columns of all rows.
    fn select(&self, columns: &[&str]) -> Outcome<Vec<Vec<&str>>> {
        (0..self.rows.len())
            .map(|row| columns.iter().map(|name| self.get(row, name)).collect())
            .collect()
    }

    /// Asserts what some columns of all rows are, with a blank between them.
    fn is(&self, columns: &[&str], want: &[&str]) -> Outcome {
        let got = self.select(columns)?;
        let got: Vec<_> = got.iter().map(|row| row.join(" ")).collect();
        check_eq!(got, want, "columns {columns:?}");
        Ok(())
    }
}

fn queues(_: &mut Context) -> Outcome {
    let device = Device::add_with("queues", |attributes| {
        attributes
            .put(attribute::NET_CFG_MACADDR, &MAC)
            .put(attribute::NET_CFG_MAX_VQP, &2_u16.to_ne_bytes())
    })?;
    device.bind(Driver::Vhost)?;
    let path = device.character_device()?;
    let file = of_device("queues", "queues");
    let what = ["index", "role", "state", "size", "format"];
    // Without negotiation, there is one pair.
    Table::read(&file)?.is(
        &what,
        &[
            "0 receive stopped 1024 -",
            "- receive stopped 1024 -",
            "1 transmit stopped 1024 -",
            "- transmit stopped 1024 -",
            "2 control stopped 1024 -",
        ],
    )?;

    let plan = Plan {
        size: 64,
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    let size = 100;
    net.loop_frames(LoopPlan {
        count: 50,
        size,
        in_flight: 16,
    })?;
    let table = Table::read(&file)?;
    let row = |role: &str, index: &str| -> Outcome<usize> {
        let found = table.select(&["role", "index"])?;
        let found = found.iter().position(|row| row[..] == [role, index]);
        found.when(format_args!("the row of {role} queue {index}"))
    };
    for (role, index) in [("receive", "0"), ("transmit", "1")] {
        let row = row(role, index)?;
        check_eq!(table.get(row, "state")?, "running", "state: {role}");
        check_eq!(table.get(row, "size")?, "64", "size: {role}");
        check_eq!(table.get(row, "format")?, "split", "format: {role}");
        check_eq!(table.number(row, "packets")?, 50, "packets: {role}");
        check_eq!(
            table.number(row, "bytes")?,
            50 * size as u64,
            "bytes: {role}"
        );
        check_eq!(table.number(row, "errors")?, 0, "errors: {role}");
        check_eq!(table.number(row, "drops")?, 0, "drops: {role}");
        check!(table.number(row, "kicks")? > 0, "no kicks: {role}");
        let interrupts = table.number(row, "raised")? + table.number(row, "suppressed")?;
        check!(interrupts > 0, "no interrupts: {role}");
        // Each chain was one buffer.
        check_eq!(table.number(row, "available")?, 50, "place: {role}");
    }
    // They go on where they stopped, and counters stay.
    drop(net);
    let table = Table::read(&file)?;
    table.is(
        &["index", "role", "state", "packets"],
        &[
            "0 receive stopped 50",
            "- receive stopped 0",
            "1 transmit stopped 50",
            "- transmit stopped 0",
            "2 control stopped 0",
        ],
    )?;
    device.delete()
}

fn broken(_: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("broken")?;
    // Nothing is where the driver says.
    let plan = Plan {
        map: false,
        ..Plan::default()
    };
    let net = Net::new(&path, plan)?;
    net.tx.kick()?;
    net.client.wait_for_needs_reset()?;
    let table = Table::read(&of_device("broken", "queues"))?;
    table.is(
        &["role", "state", "errors"],
        &[
            "receive running 0",
            "transmit broken 1",
            "control running 0",
        ],
    )?;
    drop(net);
    let table = Table::read(&of_device("broken", "queues"))?;
    table.is(
        &["role", "state", "errors"],
        &[
            "receive stopped 0",
            "transmit stopped 1",
            "control stopped 0",
        ],
    )?;
    device.delete()
}

/// A frame with a VLAN tag.
fn tagged(vlan: u16, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let mut bytes = frame::make(100, to, from, 0);
    let [high, low] = vlan.to_be_bytes();
    bytes.splice(12..12, [0x81, 0, high, low]);
    bytes
}

fn switch(_: &mut Context) -> Outcome {
    Table::ports()?.is(&["name"], &[])?;
    Table::fdb()?.is(&["mac"], &[])?;
    let (first, out) = port("first", FIRST)?;
    let (second, into) = port("second", SECOND)?;
    // One that has nothing to do with it.
    let other = Device::add_mac("other", MAC)?;
    let what = ["number", "name", "mac", "link"];
    Table::ports()?.is(
        &what,
        &[
            "0 first 02:00:00:00:40:01 up",
            "1 second 02:00:00:00:40:02 up",
        ],
    )?;
    let what = [
        "received",
        "received_bytes",
        "sent",
        "sent_bytes",
        "filtered",
    ];
    Table::ports()?.is(&what, &["0 0 0 0 0", "0 0 0 0 0"])?;

    let socket = Socket::open(&out, 2048)?;
    let mut sink = Socket::open(&into, 2048)?;
    for number in 0..10 {
        socket.send(&frame::make(100, EVERYONE, FIRST, number))?;
    }
    check_eq!(
        sink.receive_count(10)?.len(),
        10,
        "frames of the second port"
    );
    Table::ports()?.is(&what, &["0 0 10 1000 0", "10 1000 0 0 0"])?;
    let what_fdb = ["mac", "vlan", "port"];
    Table::fdb()?.is(&what_fdb, &["02:00:00:00:40:01 0 first"])?;
    let age = Table::fdb()?.number(0, "age")?;
    check!(age <= 3, "the address was seen {age} s ago");

    // A VLAN's addresses are its own, and stations may be behind a port.
    socket.send(&tagged(7, EVERYONE, FIRST))?;
    socket.send(&frame::make(100, EVERYONE, [6, 0, 0, 0, 0, 9], 0))?;
    let fdb = wait_for("three addresses", SOON, || {
        let fdb = Table::fdb()?;
        Ok((fdb.rows.len() == 3).then_some(fdb))
    })?;
    let rows: BTreeSet<_> = fdb
        .select(&what_fdb)?
        .iter()
        .map(|row| row.join(" "))
        .collect();
    let want = [
        "02:00:00:00:40:01 0 first",
        "02:00:00:00:40:01 7 first",
        "06:00:00:00:00:09 0 first",
    ];
    check_eq!(rows, BTreeSet::from(want.map(str::to_owned)), "fdb");

    // The second port's driver wants no VLAN.
    check_eq!(sink.receive_count(1)?.len(), 1, "frames of the second port");
    Table::ports()?.is(&["received", "sent"], &["0 12", "11 0"])?;

    // Nothing reaches a port without a link.
    sys::write(of_device("first", "link"), "down")?;
    Socket::open(&into, 2048)?.send(&frame::make(100, EVERYONE, SECOND, 0))?;
    let ports = wait_for("the frame is sent", SOON, || {
        let ports = Table::ports()?;
        Ok((ports.number(1, "sent")? == 1).then_some(ports))
    })?;
    ports.is(
        &["name", "link", "received", "sent"],
        &["first down 0 12", "second up 11 1"],
    )?;
    sys::write(of_device("first", "link"), "up")?;

    // A port takes its addresses with it.
    first.delete()?;
    Table::ports()?.is(&["name", "number"], &["second 1"])?;
    Table::fdb()?.is(&what_fdb, &["02:00:00:00:40:02 0 second"])?;
    // The number is free again.
    let (third, _) = port("third", FIRST)?;
    Table::ports()?.is(&["name", "number", "sent"], &["third 0 0", "second 1 1"])?;
    for device in [third, second, other] {
        device.delete()?;
    }
    Table::ports()?.is(&["name"], &[])
}

fn ageing(_: &mut Context) -> Outcome {
    let (device, interface) = port("first", FIRST)?;
    let socket = Socket::open(&interface, 2048)?;
    for _ in 0..2 {
        socket.send(&frame::make(100, EVERYONE, FIRST, 0))?;
        wait_for("the address", SOON, || {
            Ok((Table::fdb()?.rows.len() == 1).then_some(()))
        })?;
        // Nothing else has to happen on the switch.
        wait_for("the address is forgotten", 2 * SOON, || {
            let fdb = Table::fdb()?;
            if fdb.rows.is_empty() {
                return Ok(Some(()));
            }
            let age = fdb.number(0, "age")?;
            check!(age <= 1, "an address that was seen {age} s ago");
            Ok(None)
        })?;
    }
    device.delete()
}

/// More addresses than fit into a page of text.
fn long_fdb(_: &mut Context) -> Outcome {
    const MANY: u16 = 2000;
    let (device, interface) = port("first", FIRST)?;
    let socket = Socket::open(&interface, 2048)?;
    for station in 0..MANY {
        let [high, low] = station.to_be_bytes();
        socket.send(&frame::make(60, EVERYONE, [6, 0, 0, 0, high, low], 0))?;
    }
    let fdb = wait_for("the addresses", SOON, || {
        let fdb = Table::fdb()?;
        // A few may have found their places taken.
        Ok((fdb.rows.len() >= usize::from(MANY) - 10).then_some(fdb))
    })?;
    let mut seen = BTreeSet::new();
    for row in fdb.select(&["mac", "vlan", "port"])? {
        let mac = frame::parse(row[0]).when(row[0])?;
        let ([6, 0, 0, 0, ..], ["0", "first"]) = (mac, &row[1..]) else {
            fail!("a row {row:?}");
        };
        check!(seen.insert(mac), "two rows with {}", row[0]);
    }
    device.delete()
}
