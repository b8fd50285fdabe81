// SPDX-License-Identifier: GPL-2.0

//! A machine that moves from one QEMU to another one, from one device to another one.

use super::{can_be_shadowed, plan, test, with_machine, ClientTest, BURST};
use crate::{
    check, check_eq,
    device::Device,
    fail, frame,
    harness::Context,
    outcome::{Outcome, While},
    qemu::{finish, Flow, Machine, Net, Setup, DRIVER},
    sys::wait_for,
    vhost::{self, SWITCH},
};
use rvdpa_virtio::mock::DriverMemory;
use serde_json::json;
use std::{
    fs, io,
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::Duration,
};

pub const TESTS: &[ClientTest] = &[
    test("qemu.migration", |context| migrate(context, ""))
        .seconds(400)
        .not_for_peer("there is no switch"),
    test("qemu.migration_shadowed", |context| {
        migrate(context, ",x-svq=on")
    })
    .seconds(400)
    .not_for_peer("there is no switch"),
    test("qemu.migration_by_address", |context| migrate(context, ""))
        .with("use_va=1")
        .seconds(400)
        .not_for_peer("there is no switch"),
];

/// Memory that is not zero, and more than sockets have room for: where it starts, and its
/// length.
const BALLAST: (u64, usize) = (14 << 20, 16 << 20);

/// Frames each way while the memory is sent.
const ROUNDS: u64 = 24;

/// How long the rest may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Moves a machine under traffic.
///
/// What one QEMU sends to the other one goes through this program, which holds it back while
/// there is traffic: so it is not over before.
///
/// The machine's processor, which is this program, stands still while QEMU moves it: what it
/// wrote after QEMU has sent the last page would be lost. The peer goes on all the time.
fn migrate(context: &mut Context, netdev: &'static str) -> Outcome {
    let new = can_be_shadowed(context.parent.port("first", 1)?);
    let (first, path) = new.make()?;
    let (second, other_path) = can_be_shadowed(context.parent.port("second", 2)?).make()?;
    let (third, peer_path) = context.parent.port("peer", 9)?.make()?;
    let mut peer = vhost::Net::new(&peer_path, plan())?;
    peer.fill_rx()?;
    let from = Setup {
        name: "from",
        path,
        mac: new.mac,
        netdev,
        card: "",
        incoming: false,
    };
    let to = Setup {
        name: "to",
        path: other_path,
        incoming: true,
        ..from.clone()
    };
    with_machine(context, &from, |context, from| {
        with_machine(context, &to, |context, to| {
            under_traffic(context, from, to, &mut peer)
        })
    })?;
    drop(peer);
    [third, second, first]
        .into_iter()
        .try_for_each(Device::delete)
}

fn under_traffic(
    context: &mut Context,
    from: &mut Machine,
    to: &mut Machine,
    peer: &mut vhost::Net,
) -> Outcome {
    let mut net = Net::new(from, DRIVER, 1)?;
    let address = net.mac;
    let mut out = Flow::new(address, peer.mac);
    let mut back = Flow::new(peer.mac, address);
    // The switch learns where the machine is.
    out.send(&mut net, BURST)?;
    finish(&mut out, peer)?;
    back.send(peer, BURST)?;
    finish(&mut back, &mut net)?;

    // What was not for it until the switch knew where the peer is.
    let before = drops("first")? + drops("second")?;

    context.step("moving");
    fill(net.ram());
    net.ram().write_through(from.qtest.clone());
    let (out_path, in_path) = (from.file("outgoing"), to.file("incoming"));
    let uri = |path: &str| json!({ "uri": format!("unix:{path}") });
    let listener = UnixListener::bind(&out_path).when("a socket for the migration")?;
    to.qmp.execute("migrate-incoming", uri(&in_path))?;
    let mut incoming = UnixStream::connect(&in_path).when("the other machine")?;
    from.qmp.execute("migrate", uri(&out_path))?;
    let (mut outgoing, _) = listener.accept().when("the machine that moves")?;
    for _ in 0..ROUNDS {
        out.send(&mut net, 16)?;
        back.send(peer, 16)?;
        out.take(peer)?;
        back.take(&mut net)?;
    }
    check_eq!(state(from)?, "active", "the migration after the traffic");
    let (sent, came) = (out.sent + back.sent, out.came() + back.came());
    context.note(format_args!(
        "{came} of {sent} frames came before and while its memory was sent"
    ));

    context.step("the last of it");
    out.send(&mut net, BURST)?;
    let relay = thread::spawn(move || io::copy(&mut outgoing, &mut incoming));
    wait_for("the migration's end", PATIENCE, || {
        back.send(peer, 4)?;
        out.take(peer)?;
        Ok((state(from)? == "completed").then_some(()))
    })?;
    to.qmp.wait_event("RESUME")?;
    let moved = relay.join().ok().when("the relay's end")?;
    context.note(format_args!(
        "{} bytes were moved",
        moved.when("the relay")?
    ));
    net.move_to(to);

    context.step("in the other machine");
    let mut now = [0; 6];
    net.pci.config(0, &mut now)?;
    check_eq!(frame::display(now), frame::display(address), "its address");
    finish(&mut out, peer).when("frames of before")?;
    out.send(&mut net, BURST)?;
    finish(&mut out, peer).when("frames of the moved machine")?;
    back.take(&mut net)?;
    let lost = back.missing();
    // They were counted where there was nobody to take them.
    let drops = drops("first")? + drops("second")? - before;
    context.note(format_args!("lost: {:?}, dropped: {drops}", back.gaps()));
    check_eq!(lost, drops, "frames lost on the way, and drops counted");
    back.forget_missing();
    for _ in 0..10 {
        out.send(&mut net, BURST)?;
        back.send(peer, BURST)?;
        finish(&mut out, peer).when("frames of the moved machine")?;
        finish(&mut back, &mut net).when("frames to the moved machine")?;
    }
    check_eq!((out.late(), back.late()), (0, 0), "frames out of order");
    context.exercised(format_args!(
        "live migration from device to device: all of {} frames sent came, once; of {} to it \
         {lost} were lost while it moved, all of them counted as dropped",
        out.sent, back.sent
    ));
    Ok(())
}

/// Writes bytes to the machine's memory that are no zeros.
fn fill(ram: &impl DriverMemory) {
    let (start, len) = BALLAST;
    let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8 + 1).collect();
    ram.write(start, &bytes);
}

/// What QEMU says of the migration.
fn state(machine: &mut Machine) -> Outcome<String> {
    let answer = machine.qmp.execute("query-migrate", json!({}))?;
    let state = answer["status"].as_str().unwrap_or("none");
    if state == "failed" || answer["blocked-reasons"].is_array() {
        fail!("the migration failed: {answer}");
    }
    Ok(state.to_owned())
}

/// How many frames a port of the switch has not taken.
fn drops(name: &str) -> Outcome<u64> {
    let path = format!("/sys/kernel/debug/rvdpa_sim/switches/{SWITCH}/ports");
    let table = fs::read_to_string(&path).when(&path)?;
    let mut lines = table.lines().map(str::split_whitespace);
    let head: Vec<&str> = lines.next().when("the table of ports")?.collect();
    let column = |what| head.iter().position(|word| *word == what).when(what);
    let (drops, filtered, names) = (
        column("received_drops")?,
        column("filtered")?,
        column("name")?,
    );
    let mut rows = lines.map(Iterator::collect::<Vec<&str>>);
    let row = rows
        .find(|row| row.get(names) == Some(&name))
        .when(format_args!("port {name}"))?;
    let number = |column: usize| -> Outcome<u64> {
        let word = row.get(column).when("a counter")?;
        word.parse().when(word)
    };
    check!(row.len() == head.len(), "{row:?}");
    Ok(number(drops)? + number(filtered)?)
}
