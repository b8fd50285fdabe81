// SPDX-License-Identifier: GPL-2.0

//! What a running host sees of changes: carrier, addresses, MTU, speed, announcements.

use crate::{
    check, check_eq,
    device::{Device, Driver},
    frame,
    harness::{Context, Test},
    netlink::Bus,
    outcome::{Outcome, While},
    pcap::Capture,
    stream::exchange,
    sys::{self, scaled, wait_for, SOON},
    tool,
    wire::{self, flags, Port, Spec, Wire, V4},
};
use rvdpa_virtio::features::Features;
use serde_json::{json, Value};
use std::{
    path::{Path, PathBuf},
    thread::{self, sleep},
    time::{Duration, Instant},
};

pub const TESTS: &[Test] = &[
    Test::new("link.carrier_is_seen_at_once", carrier).seconds(40),
    Test::new("link.carrier_without_the_feature", carrier_hidden),
    Test::new("link.carrier_before_there_is_a_driver", carrier_early),
    Test::new("link.no_frames_without_carrier", no_frames).seconds(40),
    Test::new("link.streams_survive_a_lost_carrier", survive).seconds(60),
    Test::new("link.bad_words", bad_words),
    Test::new("link.address_set_by_the_host", host_address),
    Test::new("link.address_set_by_the_user", user_address),
    Test::new("link.mtu", mtu),
    Test::new("link.speed_and_duplex", speed),
    Test::new("link.announcement_reaches_the_peer", announce).seconds(40),
];

/// How soon a change is seen.
const AT_ONCE: Duration = Duration::from_millis(100);

/// A file of a device in debugfs.
fn file(device: &Device, name: &str) -> PathBuf {
    Path::new("/sys/kernel/debug/rvdpa_sim/devices")
        .join(device.name())
        .join(name)
}

/// Takes the carrier away, or gives it back.
fn set_link(device: &Device, up: bool) -> Outcome {
    let word = if up { "up" } else { "down" };
    sys::write(file(device, "link"), word)?;
    check_eq!(
        sys::read_line(file(device, "link"))?,
        word,
        "link in debugfs"
    );
    Ok(())
}

/// Waits until what `ip -j link` says is as wanted. Returns when the first of its runs began
/// that showed it.
fn seen(
    port: &Port,
    since: Instant,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Outcome<Duration> {
    loop {
        let start = since.elapsed();
        let link = port.link()?;
        if wanted(&link) {
            return Ok(start);
        }
        check!(
            start < scaled(SOON),
            "{what} is not seen after {start:?}: {link}"
        );
    }
}

fn carrier(context: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    let port = &wire.a;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..4 {
        // The kernel puts off the state, not the carrier, if it changed a second ago.
        sleep(Duration::from_millis(1100));
        for up in [false, true] {
            context.step(format_args!("round {round}, carrier {up}"));
            let since = Instant::now();
            set_link(&port.device, up)?;
            let after = seen(port, since, "the carrier", |link| {
                flags(link).contains(&"LOWER_UP") == up
                    && flags(link).contains(&"NO-CARRIER") != up
                    && link["operstate"] == if up { "UP" } else { "DOWN" }
            })?;
            times[usize::from(up)].push(after);
            let config = &tool::json("dev config show wire_a")?["config"]["wire_a"];
            check_eq!(
                config["link "],
                json!(if up { "up" } else { "down" }),
                "link"
            );
            // Only this one.
            let other = wire.b.link()?;
            check!(
                flags(&other).contains(&"LOWER_UP"),
                "the other end: {other}"
            );
        }
    }
    let [down, up] = &times;
    context.note(format_args!(
        "seen after {down:?} that it is gone, after {up:?} that it is back"
    ));
    for times in [down, up] {
        // A busy machine may be late, not each time.
        check!(
            times.iter().any(|after| *after < AT_ONCE),
            "the carrier is not seen at once: {times:?}"
        );
    }
    wire.delete()
}

fn carrier_hidden(_: &mut Context) -> Outcome {
    let spec = Spec {
        features: Some(wire::plain() & !Features::NET_STATUS.0),
        ..Spec::default()
    };
    let wire = Wire::new(spec)?;
    set_link(&wire.a.device, false)?;
    sleep(AT_ONCE);
    let link = wire.a.link()?;
    check!(flags(&link).contains(&"LOWER_UP"), "it cannot know: {link}");
    wire.delete()
}

fn carrier_early(_: &mut Context) -> Outcome {
    let device = Device::adopt("early");
    tool::vdpa(&format!("dev add name early mgmtdev {}", wire::SWITCH))?;
    check_eq!(
        sys::read_line(file(&device, "link"))?,
        "up",
        "link at first"
    );
    set_link(&device, false)?;
    device.bind(Driver::Virtio)?;
    let interface = device.interface()?;
    sys::run(&["ip", "link", "set", &interface, "up"])?;
    let carrier = || sys::read_line(format!("/sys/class/net/{interface}/carrier"));
    sleep(AT_ONCE);
    check_eq!(carrier()?, "0", "carrier that was taken away before");
    set_link(&device, true)?;
    wait_for(
        "the carrier",
        SOON,
        || Ok((carrier()? == "1").then_some(())),
    )?;

    // It belongs to the device, not to the driver.
    set_link(&device, false)?;
    device.unbind()?;
    check_eq!(
        sys::read_line(file(&device, "link"))?,
        "down",
        "link after unbind"
    );
    let files = file(&device, "");
    device.delete()?;
    check!(!files.exists(), "{} is still there", files.display());
    Ok(())
}

/// Numbered frames that arrive, of three: to a port, from it, to it again.
fn frames_pass(wire: &Wire, expected: bool) -> Outcome<[bool; 2]> {
    let (mut a, mut b) = (wire.a.socket(2048)?, wire.b.socket(2048)?);
    if !expected {
        let short = Duration::from_millis(300);
        a.set_timeout(short)?;
        b.set_timeout(short)?;
    }
    let there = frame::make(60, wire.b.mac, wire.a.mac, 1);
    let back = frame::make(60, wire.a.mac, wire.b.mac, 2);
    // Without carrier, the kernel refuses or drops.
    let _ = a.try_send(&there);
    let _ = b.try_send(&back);
    Ok([
        b.receive_count(1)? == [there],
        a.receive_count(1)? == [back],
    ])
}

fn no_frames(context: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    check_eq!(
        frames_pass(&wire, true)?,
        [true; 2],
        "frames there and back"
    );
    for (port, name) in [(&wire.a, "a"), (&wire.b, "b")] {
        context.step(format_args!("port {name}"));
        let before = port.total(0, "rx packets")?;
        set_link(&port.device, false)?;
        port.wait_running(false)?;
        check_eq!(
            frames_pass(&wire, false)?,
            [false; 2],
            "frames past a port that is down"
        );
        let after = port.total(0, "rx packets")?;
        check_eq!(after, before, "frames that port {name} got without carrier");
        set_link(&port.device, true)?;
        port.wait_running(true)?;
        // The queue is opened a moment later, under a lock that this takes.
        port.ip("link set DEV txqueuelen 1000")?;
        check_eq!(
            frames_pass(&wire, true)?,
            [true; 2],
            "frames after port {name} came back"
        );
    }
    wire.delete()
}

fn survive(context: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    wire.number()?;
    let path = file(&wire.b.device, "link");
    let device = wire.b.device.name().to_owned();
    let (toggles, sum) = thread::scope(|scope| {
        let toggler = scope.spawn(move || -> Outcome<u32> {
            let mut bus = Bus::new()?;
            for _ in 0..3 {
                // Not before the streams run, or run again.
                let before = bus.statistics(&device, 0)?.get("rx packets")?;
                wait_for("the streams", SOON, || {
                    let now = bus.statistics(&device, 0)?.get("rx packets")?;
                    Ok((now > before + 100).then_some(()))
                })?;
                sys::write(&path, "down")?;
                sleep(Duration::from_millis(150));
                sys::write(&path, "up")?;
            }
            Ok(3)
        });
        let sum = exchange(&wire, 2, 8 << 20);
        (toggler.join(), sum)
    });
    let toggles = toggles.ok().when("the thread that takes the carrier")??;
    let sum = sum?;
    context.note(format_args!(
        "{} bytes ok over {toggles} times without carrier, {} retransmits",
        sum.bytes, sum.retransmits
    ));
    check!(
        sum.retransmits > 0,
        "the carrier was lost when nothing was sent"
    );
    wire.delete()
}

fn bad_words(_: &mut Context) -> Outcome {
    let port = Port::new("words", 1, Spec::default())?;
    for word in [
        "",
        "no",
        "upward",
        "UP",
        "2",
        "downdowndowndowndowndowndowndown",
    ] {
        let refused = sys::write(file(&port.device, "link"), word);
        // Nothing is written if there is nothing to write.
        check!(
            word.is_empty() || refused.is_err(),
            "'{word}' was accepted as a state of the link"
        );
        check_eq!(sys::read_line(file(&port.device, "link"))?, "up", "link");
    }
    for word in ["0", "2", "x", "-1"] {
        let refused = sys::write(file(&port.device, "announce"), word);
        check!(refused.is_err(), "'{word}' was accepted as an announcement");
    }
    port.device.delete()
}

fn host_address(_: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    let new = [2, 0x5e, 7, 7, 7, 7];
    let since = Instant::now();
    wire.b
        .ip(&format!("link set DEV address {}", frame::display(new)))?;
    seen(&wire.b, since, "the address", |link| {
        link["address"] == frame::display(new)
    })?;
    let config = &tool::json("dev config show wire_b")?["config"]["wire_b"];
    check_eq!(
        config["mac"],
        json!(frame::display(new)),
        "MAC of the device"
    );

    // The switch does not know the new one yet and asks all; the device takes it.
    let (a, mut b) = (wire.a.socket(2048)?, wire.b.socket(2048)?);
    let to_old = frame::make(60, wire.b.mac, wire.a.mac, 1);
    let to_new = frame::make(60, new, wire.a.mac, 2);
    a.send(&to_old)?;
    a.send(&to_new)?;
    check_eq!(b.receive_count(1)?, [to_new], "frames to the new address");
    check!(b.is_silent()?, "a frame to the old address came");
    wire.delete()
}

fn user_address(_: &mut Context) -> Outcome {
    let mut wire = Wire::new(Spec::default())?;
    let new = [2, 0x5e, 8, 8, 8, 8];
    tool::vdpa(&format!("dev set name wire_b mac {}", frame::display(new)))?;
    let config = &tool::json("dev config show wire_b")?["config"]["wire_b"];
    check_eq!(
        config["mac"],
        json!(frame::display(new)),
        "MAC of the device"
    );
    // Linux takes a network device's address when it finds the device, never later.
    sleep(AT_ONCE);
    check_eq!(
        wire.b.link()?["address"],
        json!(frame::display(wire.b.mac)),
        "address of the interface"
    );
    wire.b.device.unbind()?;
    wire.b.device.bind(Driver::Virtio)?;
    wire.b = wire.b.again()?;
    check_eq!(
        wire.b.link()?["address"],
        json!(frame::display(new)),
        "address after the driver found the device again"
    );
    let (a, mut b) = (wire.a.socket(2048)?, wire.b.socket(2048)?);
    let sent = frame::make(60, new, wire.a.mac, 2);
    a.send(&sent)?;
    check_eq!(b.receive_count(1)?, [sent], "frames to the new address");
    wire.delete()
}

fn mtu(_: &mut Context) -> Outcome {
    for most in [1280_u16, 1500, 9000] {
        let wire = Wire::new(Spec {
            mtu: most,
            ..Spec::default()
        })?;
        let link = wire.a.link()?;
        check_eq!(link["mtu"], json!(most), "MTU at first");
        let since = Instant::now();
        wire.a.ip("link set DEV mtu 1000")?;
        seen(&wire.a, since, "the MTU", |link| link["mtu"] == 1000)?;
        let more = wire.a.ip(&format!("link set DEV mtu {}", most + 1));
        check!(more.is_err(), "an MTU of one more than {most} was accepted");
        // Lower ends are no concern of the device.
        wire.a.ip(&format!("link set DEV mtu {most}"))?;
        let (a, mut b) = (wire.a.socket(16_384)?, wire.b.socket(16_384)?);
        let sent = frame::make(usize::from(most) + frame::HEADER, wire.b.mac, wire.a.mac, 1);
        a.send(&sent)?;
        check_eq!(b.receive_count(1)?.len(), 1, "frames of the whole MTU");
        wire.delete()?;
    }
    Ok(())
}

fn speed(context: &mut Context) -> Outcome {
    let wire = Wire::unlike(
        Spec::default(),
        Spec {
            features: Some(wire::plain()),
            ..Spec::default()
        },
    )?;
    let show = |port: &Port| port.run(&["ethtool", &port.interface]);
    let known = show(&wire.a)?;
    let line = |text: &str, name: &str| -> Outcome<String> {
        let lines = &mut text.lines();
        let found = lines.find_map(|line| line.trim().strip_prefix(name).map(str::to_owned));
        found.when(format_args!("{name} in {text}"))
    };
    let speed = line(&known, "Speed: ")?;
    context.note(format_args!("speed {speed}"));
    let number = speed.strip_suffix("Mb/s").when(&speed)?;
    check!(
        number.parse::<u32>().is_ok_and(|speed| speed > 0),
        "{speed}"
    );
    check_eq!(line(&known, "Duplex: ")?, "Full", "duplex");
    check_eq!(line(&known, "Link detected: ")?, "yes", "link detected");
    // Without the feature nobody knows.
    let unknown = show(&wire.b)?;
    check!(line(&unknown, "Speed: ")?.contains("Unknown"), "{unknown}");
    wire.delete()
}

fn announce(context: &mut Context) -> Outcome {
    let wire = Wire::new(Spec::default())?;
    wire.number()?;
    for round in 0..3 {
        context.step(format_args!("round {round}"));
        let capture = Capture::start(&wire.b, false)?;
        let commands = wire.a.commands()?;
        sys::write(file(&wire.a.device, "announce"), "1")?;
        // An ARP request for its own address, to all.
        let own: std::net::Ipv4Addr = V4[0].parse().when("an address")?;
        let gratuitous = |frame: &[u8]| {
            frame.len() >= 42
                && frame[..6] == [0xff; 6]
                && frame[6..12] == wire.a.mac
                && frame[12..14] == [8, 6]
                && frame[22..28] == wire.a.mac
                && frame[28..32] == own.octets()
                && frame[38..42] == own.octets()
        };
        capture.until_any(gratuitous).when("an announcement")?;
        // The driver has told that it did so, and the device asks no more.
        wait_for("the driver's answer", SOON, || {
            Ok((wire.a.commands()? == commands + 1).then_some(()))
        })?;
        let name = wire.a.device.name();
        let config = &tool::json(&format!("dev config show {name}"))?["config"][name];
        check_eq!(
            config["link_announce "],
            json!(false),
            "{config}: link_announce"
        );
    }
    wire.delete()
}
