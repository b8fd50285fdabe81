// SPDX-License-Identifier: GPL-2.0

//! XDP on the kernel's driver, always native: the programs run in the driver.

use crate::{
    bpf::{Link, Map, Program},
    check, check_eq, fail, frame,
    harness::{Context, Test},
    outcome::{Outcome, While},
    skip,
    stream::exchange,
    wire::{self, Port, Spec, Wire},
    xsk::{Mode, Xsk},
};
use nix::errno::Errno;
use rvdpa_virtio::features::Features;

pub const TESTS: &[Test] = &[
    Test::new("xdp.native_with_queues_of_its_own", native).seconds(60),
    Test::new("xdp.drop", drop_some),
    Test::new("xdp.tx", tx),
    Test::new("xdp.tx_without_mergeable_buffers", tx_small),
    Test::new("xdp.tx_packed", tx_packed),
    Test::new("xdp.tx_of_frames_in_several_buffers", tx_frags),
    Test::new("xdp.redirect_between_devices", redirect).with("switches=2"),
    Test::new("xdp.streams_past_a_program", streams).seconds(60),
    Test::new("xdp.af_xdp_copy", af_xdp),
    Test::new("xdp.af_xdp_zero_copy", zero_copy),
];

/// How many frames a test sends.
const FRAMES: u64 = 200;

/// How many of them at once, so that no socket or ring overflows.
const AT_ONCE: u64 = 20;

/// What `ip -j link` has for a program in the driver.
const NATIVE: u64 = 1;

/// Four queue pairs, of which two are left to XDP: one for each processor.
fn spec() -> Spec {
    Spec {
        pairs: PAIRS,
        used: Some(2),
        ..Spec::default()
    }
}

const PAIRS: u16 = 4;

/// Attaches a program, and sees that it is in the driver.
fn attach(port: &Port, program: &Program) -> Outcome<Link> {
    let link = port.namespace.inside(|| program.attach(&port.interface))?;
    let shown = &port.link()?["xdp"]["mode"];
    check_eq!(
        shown.as_u64(),
        Some(NATIVE),
        "XDP mode of {}",
        port.interface
    );
    if port.spec.pairs == PAIRS {
        check_eq!(in_use(port)?, PAIRS, "pairs in use with a program");
    }
    Ok(link)
}

/// How many queue pairs the interface uses.
fn in_use(port: &Port) -> Outcome<u16> {
    let text = port.run(&["ethtool", "-l", &port.interface])?;
    let (_, now) = text
        .split_once("Current hardware settings")
        .when("current channels")?;
    let line = now
        .lines()
        .find_map(|line| line.strip_prefix("Combined:"))
        .when("combined channels")?;
    line.trim().parse().when(line)
}

/// A counter of the driver, summed up over its queues.
fn driver_count(port: &Port, direction: &str, name: &str) -> Outcome<u64> {
    let all = port.ethtool_statistics()?;
    let numbers = all.iter().filter_map(|(full, number)| {
        let rest = full.strip_prefix(direction)?.strip_suffix(name)?;
        // `rx3_xdp_drops`, not the sum `rx_xdp_drops`.
        let queue = rest.strip_suffix('_')?;
        queue.parse::<u32>().ok().map(|_| *number)
    });
    Ok(numbers.sum())
}

fn native(context: &mut Context) -> Outcome {
    let wire = Wire::new(spec())?;
    wire.number()?;
    let pass = Program::pass()?;
    check_eq!(in_use(&wire.b)?, 2, "pairs in use before");
    for round in 0..3 {
        context.step(format_args!("round {round}"));
        let link = attach(&wire.b, &pass)?;
        exchange(&wire, 2, 1 << 18).when("with a program")?;
        drop(link);
        check!(
            wire.b.link()?.get("xdp").is_none(),
            "the program is still there"
        );
        check_eq!(in_use(&wire.b)?, 2, "pairs in use after it");
        exchange(&wire, 2, 1 << 18).when("without a program")?;
    }
    wire.delete()
}

/// Frames to port b that are to have an effect.
fn to_b(wire: &Wire, len: usize, number: u64) -> Vec<u8> {
    frame::make(len, wire.b.mac, wire.a.mac, number)
}

fn drop_some(_: &mut Context) -> Outcome {
    let wire = Wire::new(spec())?;
    let (a, mut b) = (wire.a.socket(2048)?, wire.b.socket(2048)?);
    a.send(&to_b(&wire, 60, 0))?;
    check_eq!(b.receive_count(1)?.len(), 1, "frames before the program");

    let link = attach(&wire.b, &Program::drop_ours()?)?;
    for number in 0..FRAMES {
        a.send(&to_b(&wire, 60 + number as usize, number))?;
    }
    check!(b.is_silent()?, "a frame came past a program that drops it");
    check_eq!(
        driver_count(&wire.b, "rx", "xdp_drops")?,
        FRAMES,
        "frames that the program dropped"
    );
    check_eq!(
        wire.b.total(0, "rx packets")?,
        FRAMES + 1,
        "frames that the device delivered"
    );

    drop(link);
    a.send(&to_b(&wire, 60, 1))?;
    check_eq!(b.receive_count(1)?.len(), 1, "frames after the program");
    wire.delete()
}

/// Has frames of these sizes sent back, and looks at each.
fn reflected(spec: Spec, sizes: &[usize], frags: bool) -> Outcome {
    let wire = Wire::new(spec)?;
    let (mut a, mut b) = (wire.a.socket(10_000)?, wire.b.socket(10_000)?);
    let link = attach(&wire.b, &Program::reflect_ours(frags)?)?;
    let mut number = 0;
    while number < FRAMES {
        let sent: Vec<_> = (number..number + AT_ONCE)
            .map(|number| to_b(&wire, sizes[number as usize % sizes.len()], number))
            .collect();
        check_eq!(a.send_many(&sent)?, sent.len(), "frames that were taken");
        let mut got = a.receive_count(sent.len())?;
        check_eq!(
            got.len(),
            sent.len(),
            "frames that came back from {number} on"
        );
        // Several queues, several orders.
        got.sort_by_key(|got| frame::number(got));
        for (got, sent) in got.iter().zip(&sent) {
            let mut wanted = sent.clone();
            wanted[..6].copy_from_slice(&wire.a.mac);
            wanted[6..12].copy_from_slice(&wire.b.mac);
            let difference = frame::difference(got, &wanted);
            check!(difference.is_none(), "{}", difference.unwrap_or_default());
        }
        number += AT_ONCE;
    }
    check!(b.is_silent()?, "a frame was sent back and passed too");
    check_eq!(
        driver_count(&wire.b, "rx", "xdp_tx")?,
        FRAMES,
        "frames that the program sent back"
    );
    check_eq!(
        driver_count(&wire.b, "tx", "xdp_tx_drops")?,
        0,
        "frames that the driver could not send"
    );
    drop(link);
    wire.delete()
}

const SIZES: [usize; 6] = [60, 61, 128, 577, 1024, 1514];

fn tx(_: &mut Context) -> Outcome {
    reflected(spec(), &SIZES, false)
}

/// Buffers of a page each, as without any offload for receivers.
fn tx_small(_: &mut Context) -> Outcome {
    let features = wire::plain() | Features::NET_CSUM.0 | Features::NET_MQ.0;
    let spec = Spec {
        features: Some(features),
        ..spec()
    };
    reflected(spec, &SIZES, false)
}

fn tx_packed(_: &mut Context) -> Outcome {
    let features = wire::plain()
        | Features::RING_PACKED.0
        | Features::NET_MRG_RXBUF.0
        | Features::NET_MQ.0
        | wire::offloads();
    let spec = Spec {
        features: Some(features),
        ..spec()
    };
    reflected(spec, &SIZES, false)
}

/// Frames of up to 9 kB lie in several mergeable buffers, at first at least.
fn tx_frags(_: &mut Context) -> Outcome {
    let spec = Spec {
        mtu: 9000,
        ..spec()
    };
    reflected(spec, &[60, 1514, 4000, 6001, 9014], true)
}

/// Frames for the second switch come through a host that joins both by XDP alone.
fn redirect(_: &mut Context) -> Outcome {
    let spec = spec();
    let near = Wire::new(spec)?;
    let far = Port::new(
        "far",
        0xd,
        Spec {
            on: "rvdpasim_switch1",
            ..spec
        },
    )?;
    let out = Port::beside(
        &near.b,
        "out",
        0xc,
        Spec {
            on: "rvdpasim_switch1",
            ..spec
        },
    )?;
    // The driver takes frames from elsewhere only while it has a program itself.
    let pass = attach(&out, &Program::pass()?)?;
    let map = out.namespace.inside(|| Map::of_interface(&out.interface))?;
    let link = attach(&near.b, &Program::redirect_ours(&map)?)?;

    let a = near.a.socket(2048)?;
    let (mut b, mut d) = (near.b.socket(2048)?, far.socket(2048)?);
    // The device of port b takes what is for it, and that of port d too: a group.
    let to = [0xff; 6];
    let mut number = 0;
    while number < FRAMES {
        let sent: Vec<_> = (number..number + AT_ONCE)
            .map(|number| {
                let len = SIZES[number as usize % SIZES.len()];
                frame::make(len, to, near.a.mac, number)
            })
            .collect();
        check_eq!(a.send_many(&sent)?, sent.len(), "frames that were taken");
        let mut got = d.receive_count(sent.len())?;
        got.sort_by_key(|got| frame::number(got));
        check_eq!(got, sent, "frames on the other switch from {number} on");
        number += AT_ONCE;
    }
    check!(b.is_silent()?, "a frame was redirected and passed too");
    check_eq!(
        driver_count(&near.b, "rx", "xdp_redirects")?,
        FRAMES,
        "frames that the program redirected"
    );
    check_eq!(
        out.total(1, "tx packets")?,
        FRAMES,
        "frames that the second device took"
    );
    drop((link, pass));
    out.device.delete()?;
    far.device.delete()?;
    near.delete()
}

/// The sender goes on making large segments with partial checksums, which the receiver
/// could take until it got a program: now the device has to cut and complete them.
fn streams(context: &mut Context) -> Outcome {
    let wire = Wire::new(spec())?;
    wire.number()?;
    let before = exchange(&wire, 2, 1 << 20).when("before the program")?;
    let link = attach(&wire.b, &Program::pass()?)?;
    let with = exchange(&wire, 2, 1 << 20).when("with a program")?;
    drop(link);
    let after = exchange(&wire, 2, 1 << 20).when("after the program")?;
    for (name, sum) in [("before", before), ("with", with), ("after", after)] {
        context.note(format_args!(
            "{name}: {} bytes, {} retransmits, {:.2} s",
            sum.bytes, sum.retransmits, sum.seconds
        ));
    }
    wire.delete()
}

/// A wire whose port b has a socket of AF_XDP, if the driver agrees.
fn with_socket(mode: Mode) -> Outcome<Result<(Wire, Xsk), Errno>> {
    let wire = Wire::new(Spec::default())?;
    let port = &wire.b;
    let socket = port.namespace.inside(Xsk::new)?;
    let bound = port
        .namespace
        .inside(|| socket.bind(&port.interface, mode))?;
    Ok(bound.map(|()| (wire, socket)))
}

/// Has frames come to the socket and go from it.
fn through_socket(wire: &Wire, socket: &Xsk) -> Outcome {
    let map = Map::of_socket(socket)?;
    let link = attach(&wire.b, &Program::redirect_ours(&map)?)?;
    let mut a = wire.a.socket(2048)?;
    let mut b = wire.b.socket(2048)?;
    for number in 0..FRAMES {
        let len = SIZES[number as usize % SIZES.len()];
        let sent = to_b(wire, len, number);
        a.send(&sent)?;
        let got = socket.receive().when(format_args!("frame {number}"))?;
        let difference = frame::difference(&got, &sent);
        check!(difference.is_none(), "{}", difference.unwrap_or_default());

        let back = frame::make(len, wire.a.mac, wire.b.mac, number);
        socket.send(&back).when(format_args!("frame {number}"))?;
        check_eq!(a.receive_count(1)?, [back], "frame {number} of the socket");
    }
    check!(socket.is_silent(), "more frames than were sent");
    check!(b.is_silent()?, "a frame went to the stack too");
    drop(link);
    Ok(())
}

fn af_xdp(_: &mut Context) -> Outcome {
    match with_socket(Mode::Copy)? {
        Ok((wire, socket)) => {
            through_socket(&wire, &socket)?;
            drop(socket);
            wire.delete()
        }
        Err(errno) => fail!("binding a socket in copy mode: {errno}"),
    }
}

/// The driver resets a queue to give it the socket's memory, which virtio_vdpa of kernels
/// up to 7.3 has no way to do.
fn zero_copy(_: &mut Context) -> Outcome {
    match with_socket(Mode::ZeroCopy)? {
        Ok((wire, socket)) => {
            through_socket(&wire, &socket)?;
            drop(socket);
            wire.delete()
        }
        Err(errno) => skip!("the driver refuses zero-copy over virtio_vdpa: {errno}"),
    }
}
