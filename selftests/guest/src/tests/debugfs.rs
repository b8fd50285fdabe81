// SPDX-License-Identifier: GPL-2.0

//! The files by which root looks into devices and switches.

mod lifetimes;
mod tables;

pub use lifetimes::TESTS as LIFETIMES;
pub use tables::TESTS as TABLES;

use crate::{
    check, check_eq,
    device::{Device, Driver, MAC},
    harness::{Context, Test},
    netdev,
    netlink::attribute,
    outcome::{Outcome, While},
    sys::{self, names, read_line, wait_for, SOON},
    vhost::{wait_event, Client},
};
use nix::errno::Errno;
use rvdpa_virtio::{features::Features, net::NetConfig, status::Status};
use serde_json::Value;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

pub const TESTS: &[Test] = &[
    Test::new("debugfs.link_of_an_interface", link_interface),
    Test::new("debugfs.link_in_the_configuration", link_configuration),
    Test::new("debugfs.bad_words_are_refused", bad_words),
    Test::new("debugfs.announce_by_virtio_net", announce_virtio),
    Test::new("debugfs.announce_needs_a_driver_that_can", announce_vhost),
    Test::new("debugfs.files_and_permissions", files).with("switches=3"),
    Test::new("debugfs.no_switches", no_switches).with("switches=0"),
];

/// Where everything is.
const ROOT: &str = "/sys/kernel/debug/rvdpa_sim";

/// A file of a device.
fn of_device(device: &str, file: &str) -> PathBuf {
    Path::new(ROOT).join("devices").join(device).join(file)
}

/// A file of a switch.
fn of_switch(number: usize, file: &str) -> PathBuf {
    let switch = format!("rvdpasim_switch{number}");
    Path::new(ROOT).join("switches").join(switch).join(file)
}

/// Writes to a file at once, and returns the errno if that was refused.
fn try_write(path: &Path, bytes: &[u8]) -> Outcome<Option<Errno>> {
    let mut file = OpenOptions::new()
        .write(true)
        .open(path)
        .when(path.display())?;
    Ok(match file.write(bytes) {
        Ok(written) => {
            check_eq!(written, bytes.len(), "bytes written");
            None
        }
        Err(error) => Some(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
    })
}

/// Makes a port of the first switch, with the kernel's driver.
fn port_down(name: &str, mac: [u8; 6]) -> Outcome<Device> {
    let device = Device::add_at("rvdpasim_switch0", name, |attributes| {
        attributes.put(attribute::NET_CFG_MACADDR, &mac)
    })?;
    device.bind(Driver::Virtio)?;
    Ok(device)
}

/// The same. Returns its interface too, which is up.
fn port(name: &str, mac: [u8; 6]) -> Outcome<(Device, String)> {
    let device = port_down(name, mac)?;
    let interface = device.interface()?;
    netdev::up(&interface)?;
    Ok((device, interface))
}

/// The state of an interface, as `ip` says it, and whether it says that there is no carrier.
fn state(interface: &str) -> Outcome<(String, bool)> {
    let text = sys::run(&["ip", "-j", "link", "show", "dev", interface])?;
    let json: Value = serde_json::from_str(&text).when(&text)?;
    let state = json[0]["operstate"].as_str().when("operstate")?;
    let flags = json[0]["flags"].as_array().when("flags")?;
    Ok((state.to_owned(), flags.iter().any(|f| f == "NO-CARRIER")))
}

fn link_interface(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("carrier")?;
    let (other, _) = Device::for_virtio("other")?;
    let link = of_device("carrier", "link");
    check_eq!(read_line(&link)?, "up", "link of a new device");
    for _ in 0..3 {
        for (word, want) in [("down", ("DOWN", true)), ("up", ("UP", false))] {
            sys::write(&link, word)?;
            check_eq!(read_line(&link)?, word, "link");
            let want = (want.0.to_owned(), want.1);
            wait_for(&format!("{interface} is {word}"), SOON, || {
                Ok((state(&interface)? == want).then_some(()))
            })?;
            let link = read_line(of_device("other", "link"))?;
            check_eq!(link, "up", "link of the other device");
        }
    }
    // It outlives its driver.
    sys::write(&link, "down")?;
    device.unbind()?;
    check_eq!(read_line(&link)?, "down", "link without a driver");
    device.bind(Driver::Virtio)?;
    let interface = device.interface()?;
    sys::run(&["ip", "link", "set", &interface, "up"])?;
    wait_for("no carrier", SOON, || {
        Ok((state(&interface)? == ("DOWN".to_owned(), true)).then_some(()))
    })?;
    sys::write(&link, "up")?;
    netdev::wait_up(&interface)?;
    other.delete()?;
    device.delete()
}

/// A driver in userspace up to `DRIVER_OK`, without queues.
fn driver(path: &str, features: Features) -> Outcome<Client> {
    let mut client = Client::open(path)?;
    client.negotiate(features)?;
    client.add_status(Status::DRIVER_OK)?;
    Ok(client)
}

fn link_configuration(_: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("carrier")?;
    let link = of_device("carrier", "link");
    let client = driver(&path, Features(u64::MAX))?;
    let interrupt = client.config_interrupt()?;
    for word in ["down", "up", "down"] {
        sys::write(&link, word)?;
        check!(wait_event(&interrupt, SOON)?, "no config interrupt: {word}");
        let status = client.config()?.status() & NetConfig::LINK_UP;
        check_eq!(status, u16::from(word == "up"), "link bit: {word}");
        // What it is already is no news.
        sys::write(&link, word)?;
        let come = wait_event(&interrupt, Duration::from_millis(50))?;
        check!(!come, "a config interrupt for nothing: {word}");
    }
    // A reset is the driver's affair.
    drop(client);
    check_eq!(read_line(&link)?, "down", "link after a reset");
    device.delete()
}

fn bad_words(_: &mut Context) -> Outcome {
    let device = Device::add("words")?;
    let (link, announce) = (of_device("words", "link"), of_device("words", "announce"));
    let padded = |word: &str, len: usize| format!("{word:<len$}").into_bytes();
    for before in ["up", "down"] {
        sys::write(&link, before)?;
        for bad in [
            b"\n".to_vec(),
            b"u".to_vec(),
            b"upp".to_vec(),
            b"UP".to_vec(),
            b"1".to_vec(),
            b"up down".to_vec(),
            b"up\0".to_vec(),
            b"\xff\xfe".to_vec(),
            vec![b'x'; 64],
            padded("up", 65),
            padded("down", 65),
            vec![b' '; 1 << 20],
        ] {
            let result = try_write(&link, &bad)?;
            let start = String::from_utf8_lossy(&bad[..bad.len().min(70)]).into_owned();
            check_eq!(result, Some(Errno::EINVAL), "errno of {start:?}");
            check_eq!(read_line(&link)?, before, "link after {start:?}");
        }
    }
    // Blanks around a word are none of it.
    for (good, word) in [
        (b"up\n".to_vec(), "up"),
        (b" \tdown \n".to_vec(), "down"),
        (padded("up", 64), "up"),
        (padded("down", 64), "down"),
    ] {
        check_eq!(try_write(&link, &good)?, None, "errno of {good:?}");
        check_eq!(read_line(&link)?, word, "link");
    }
    for bad in ["", "\n", "0", "2", "11", "yes", "01"] {
        let result = try_write(&announce, bad.as_bytes())?;
        check_eq!(result, Some(Errno::EINVAL), "errno of {bad:?}");
    }
    device.delete()
}

/// virtio_net announces itself, and says so by a command.
fn announce_virtio(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("announce")?;
    let announce = of_device("announce", "announce");
    let commands = || device.statistics(2)?.get("cvq commands");
    for round in 0..3 {
        check_eq!(read_line(&announce)?, "0", "announce in round {round}");
        let before = commands()?;
        sys::write(&announce, "1\n")?;
        wait_for("the driver says that it has seen it", SOON, || {
            Ok((commands()? > before && read_line(&announce)? == "0").then_some(()))
        })?;
    }
    check_eq!(state(&interface)?.0, "UP", "operstate");
    device.delete()
}

fn announce_vhost(_: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("announce")?;
    let announce = of_device("announce", "announce");
    let wanted = |client: &Client| -> Outcome<(bool, String)> {
        let bit = client.config()?.status() & NetConfig::ANNOUNCE != 0;
        Ok((bit, read_line(&announce)?))
    };
    let refused = || try_write(&announce, b"1");
    check_eq!(
        refused()?,
        Some(Errno::EOPNOTSUPP),
        "errno without a driver"
    );

    let mut client = Client::open(&path)?;
    client.negotiate(Features(u64::MAX))?;
    check_eq!(
        refused()?,
        Some(Errno::EOPNOTSUPP),
        "errno before DRIVER_OK"
    );
    check_eq!(wanted(&client)?, (false, "0".into()), "before DRIVER_OK");

    client.add_status(Status::DRIVER_OK)?;
    let interrupt = client.config_interrupt()?;
    for time in ["first", "second"] {
        check_eq!(refused()?, None, "errno for the {time} time");
        let come = wait_event(&interrupt, SOON)?;
        check!(come, "no config interrupt for the {time} time");
        check_eq!(wanted(&client)?, (true, "1".into()), "announce");
    }
    // The link is as it was.
    let status = client.config()?.status();
    check_eq!(
        status,
        NetConfig::ANNOUNCE | NetConfig::LINK_UP,
        "status of the configuration"
    );

    client.reset()?;
    check_eq!(wanted(&client)?, (false, "0".into()), "after a reset");
    check_eq!(refused()?, Some(Errno::EOPNOTSUPP), "errno after a reset");

    client.negotiate(Features(u64::MAX).without(Features::NET_GUEST_ANNOUNCE))?;
    client.add_status(Status::DRIVER_OK)?;
    check_eq!(
        refused()?,
        Some(Errno::EOPNOTSUPP),
        "errno without the feature"
    );
    check_eq!(wanted(&client)?, (false, "0".into()), "without the feature");
    drop(client);
    device.delete()
}

/// The names in a folder below the root.
fn folder(path: &str) -> Vec<String> {
    names(Path::new(ROOT).join(path)).into_iter().collect()
}

fn files(_: &mut Context) -> Outcome {
    check_eq!(folder(""), ["devices", "switches"], "folders");
    check_eq!(folder("devices"), [""; 0], "devices");
    let switches = ["rvdpasim_switch0", "rvdpasim_switch1", "rvdpasim_switch2"];
    check_eq!(folder("switches"), switches, "switches");
    let one = Device::add_mac("one", MAC)?;
    let two = Device::add_mac("t:w,o", MAC)?;
    check_eq!(folder("devices"), ["one", "t:w,o"], "devices");
    for device in folder("devices") {
        let files = folder(&format!("devices/{device}"));
        check_eq!(files, ["announce", "link", "queues"], "files of {device}");
    }
    for switch in folder("switches") {
        let files = folder(&format!("switches/{switch}"));
        check_eq!(files, ["fdb", "ports"], "files of {switch}");
    }
    for (path, want) in [
        (of_device("one", "link"), 0o600),
        (of_device("one", "announce"), 0o600),
        (of_device("one", "queues"), 0o400),
        (of_switch(0, "ports"), 0o400),
        (of_switch(0, "fdb"), 0o400),
    ] {
        let metadata = fs::metadata(&path).when(path.display())?;
        let mode = metadata.permissions().mode() & 0o7777;
        check_eq!(mode, want, "mode of {}", path.display());
        if want == 0o400 {
            // Root can open it all the same.
            check!(
                try_write(&path, b"1")?.is_some(),
                "written: {}",
                path.display()
            );
        }
    }
    one.delete()?;
    check_eq!(folder("devices"), ["t:w,o"], "devices");
    two.delete()?;
    check_eq!(folder("devices"), [""; 0], "devices");
    Ok(())
}

fn no_switches(_: &mut Context) -> Outcome {
    check_eq!(folder("switches"), [""; 0], "switches");
    let device = Device::add("alone")?;
    check_eq!(folder("devices"), ["alone"], "devices");
    device.delete()
}
