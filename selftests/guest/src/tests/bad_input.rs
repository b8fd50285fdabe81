// SPDX-License-Identifier: GPL-2.0

//! What users must not ask for: each is refused with the right errno, and with words that
//! say what to change: in the kernel log, or in the answer where the bus allows it.

use crate::{
    check, check_eq,
    device::{self, Device, Driver},
    fail,
    harness::{Context, Test},
    netlink::{attribute, command, Attributes, Bus, MGMTDEV},
    outcome::{Outcome, While},
    tool::{json, try_vdpa, vdpa},
};
use nix::errno::Errno;
use rvdpa_virtio::features::Features;

pub const TESTS: &[Test] = &[
    Test::new("bad_input.empty_name", empty_name),
    Test::new("bad_input.long_name", long_name),
    Test::new("bad_input.dots", dots),
    Test::new("bad_input.characters_in_name", characters),
    Test::new("bad_input.duplicate_name", duplicate),
    Test::new("bad_input.names_that_will_do", good_names),
    Test::new("bad_input.names_that_sysfs_has", sysfs_names),
    Test::new("bad_input.mtu", mtu),
    Test::new("bad_input.mac", mac),
    Test::new("bad_input.max_vqp", max_vqp),
    Test::new("bad_input.features", features),
    Test::new("bad_input.management_device", management_device),
    Test::new("bad_input.unknown_device", unknown_device),
    Test::new("bad_input.dev_set", dev_set),
    Test::new("bad_input.tool_says_why", tool_says_why),
];

/// What a refusal must be.
struct Wanted<'a> {
    errno: Errno,
    /// Parts of one line in the kernel log.
    log: &'a [&'a str],
    /// A part of the answer's words.
    extack: &'a str,
}

/// A refusal that is explained in the log.
fn logged<'a>(log: &'a [&'a str]) -> Wanted<'a> {
    Wanted {
        errno: Errno::EINVAL,
        log,
        extack: "",
    }
}

/// A refusal of the bus itself.
fn answered(errno: Errno, extack: &str) -> Wanted<'_> {
    Wanted {
        errno,
        log: &[],
        extack,
    }
}

/// Tries to add a device, which must be refused.
fn refused(context: &mut Context, attributes: Attributes, wanted: &Wanted<'_>) -> Outcome {
    let before = device::all();
    context.log.skip()?;
    match Bus::new()?.add(attributes) {
        Ok(()) => fail!("the device was made; wanted {:?}", wanted.errno),
        Err(refusal) => {
            check_eq!(refusal.errno, wanted.errno, "errno ('{}')", refusal.extack);
            check!(
                refusal.extack.contains(wanted.extack),
                "words of the answer: '{}', want '{}'",
                refusal.extack,
                wanted.extack
            );
        }
    }
    if !wanted.log.is_empty() {
        context.log.expect(wanted.log)?;
        let more = context.log.since()?;
        check!(more.is_empty(), "more than one line: {more:?}");
    }
    check_eq!(device::all(), before, "devices after the refusal");
    Ok(())
}

fn named(name: &[u8]) -> Attributes {
    Attributes::named(name)
}

fn empty_name(context: &mut Context) -> Outcome {
    let wanted = logged(&["rvdpasim_net:", "the name is empty; give one"]);
    refused(context, named(b""), &wanted)?;
    // Not even a NUL.
    let attributes = Attributes::default().put(attribute::DEV_NAME, b"");
    if let Ok(()) = Bus::new()?.add(attributes) {
        fail!("a device without any name was made: {:?}", device::all());
    }
    // None at all.
    refused(context, Attributes::default(), &answered(Errno::EINVAL, ""))
}

fn long_name(context: &mut Context) -> Outcome {
    for len in [256, 257, 1000, 4000] {
        let name = vec![b'n'; len];
        let wanted = logged(&[
            "rvdpasim_net:",
            "more than 255 characters; give a shorter one",
        ]);
        refused(context, named(&name), &wanted).when(format_args!("{len} characters"))?;
    }
    Ok(())
}

fn dots(context: &mut Context) -> Outcome {
    for name in [".", ".."] {
        let wanted = logged(&["rvdpasim_net:", "'.' and '..' cannot be names"]);
        refused(context, named(name.as_bytes()), &wanted).when(name)?;
    }
    Ok(())
}

fn characters(context: &mut Context) -> Outcome {
    for name in [
        &b"a/b"[..],
        b"/",
        b"../../etc",
        b"a b",
        b" ",
        b"tab\there",
        b"line\nfeed",
        b"esc\x1b[31m",
        b"del\x7f",
        b"utf\xc3\xa9",
        b"\xff",
    ] {
        let bad = name
            .iter()
            .find(|c| **c == b'/' || !(b'!'..=b'~').contains(c));
        let code = format!("0x{:02x}", bad.when("a bad character")?);
        let wanted = [
            "rvdpasim_net:",
            &code,
            "use printable ASCII without blanks and '/'",
        ];
        let what = name.escape_ascii().to_string();
        refused(context, named(name), &logged(&wanted)).when(what)?;
    }
    Ok(())
}

fn duplicate(context: &mut Context) -> Outcome {
    let device = Device::add("twice")?;
    let wanted = Wanted {
        errno: Errno::EEXIST,
        log: &["rvdpasim_net:", "'twice'", "choose another"],
        extack: "",
    };
    refused(context, named(b"twice"), &wanted)?;
    // The first is none the worse for it.
    json("dev show twice")?;
    device.delete()
}

fn good_names(_: &mut Context) -> Outcome {
    let long = "n".repeat(255);
    for name in ["a", "...", "-", "a.b", "vdpa:0", "%s%n", "'\"\\", &long] {
        let device = Device::add(name).when(name)?;
        check!(device.path().exists(), "{name} is not in sysfs");
        device.delete().when(name)?;
    }
    Ok(())
}

/// Names that stand in a folder of sysfs where the device's would have to stand too: that
/// of its parent, or that of a driver. sysfs cries out loud when it finds them.
fn sysfs_names(_: &mut Context) -> Outcome {
    for name in [
        "bind",
        "unbind",
        "uevent",
        "module",
        "power",
        "driver",
        "subsystem",
    ] {
        match Bus::new()?.add(named(name.as_bytes())) {
            Err(refusal) => check_eq!(refusal.errno, Errno::EINVAL, "errno for '{name}'"),
            Ok(()) => {
                // Then it must do for every driver.
                let device = Device::adopt(name);
                for driver in [Driver::Virtio, Driver::Vhost] {
                    device.bind(driver).when(name)?;
                    device.unbind().when(name)?;
                }
                device.delete().when(name)?;
            }
        }
    }
    Ok(())
}

fn mtu(context: &mut Context) -> Outcome {
    for mtu in [0_u16, 1, 67] {
        let attributes = named(b"mtu").put(attribute::NET_CFG_MTU, &mtu.to_ne_bytes());
        // The bus's own policy is quicker than the module, and knows the attribute only.
        let wanted = answered(Errno::ERANGE, "");
        refused(context, attributes, &wanted).when(format_args!("mtu {mtu}"))?;
    }
    for mtu in [68_u16, 65535] {
        let device = Device::add_with("mtu", |attributes| {
            attributes.put(attribute::NET_CFG_MTU, &mtu.to_ne_bytes())
        })?;
        let shown = &json("dev config show mtu")?["config"]["mtu"]["mtu"];
        check_eq!(shown.as_u64(), Some(mtu.into()), "mtu");
        device.delete()?;
    }
    Ok(())
}

fn mac(context: &mut Context) -> Outcome {
    for (mac, words) in [
        (
            [0; 6],
            "00:00:00:00:00:00 is no address; give a unicast one, or none",
        ),
        (
            [0xff; 6],
            "ff:ff:ff:ff:ff:ff is a group's address; give a unicast one",
        ),
        (
            [1, 0, 0x5e, 0, 0, 1],
            "01:00:5e:00:00:01 is a group's address",
        ),
        ([3, 0, 0, 0, 0, 0], "03:00:00:00:00:00 is a group's address"),
    ] {
        let attributes = named(b"mac").put(attribute::NET_CFG_MACADDR, &mac);
        refused(
            context,
            attributes,
            &logged(&["rvdpasim_net:", "'mac'", words]),
        )
        .when(words)?;
    }
    for short in [&[2, 0, 0, 0, 0][..], &[]] {
        let attributes = named(b"mac").put(attribute::NET_CFG_MACADDR, short);
        refused(context, attributes, &answered(Errno::ERANGE, ""))
            .or_else(|_| {
                let attributes = named(b"mac").put(attribute::NET_CFG_MACADDR, short);
                refused(context, attributes, &answered(Errno::EINVAL, ""))
            })
            .when("a MAC of less than 6 bytes")?;
    }
    Ok(())
}

fn max_vqp(context: &mut Context) -> Outcome {
    let attributes =
        |pairs: u16| named(b"pairs").put(attribute::NET_CFG_MAX_VQP, &pairs.to_ne_bytes());
    let wanted = answered(Errno::EINVAL, "At least one pair of VQs is required");
    refused(context, attributes(0), &wanted)?;
    for pairs in [65, 66, 32768, 65535] {
        let words = format!("max_vqp {pairs} is out of range; give one from 1 to 64");
        let wanted = ["rvdpasim_net:", "'pairs'", &words];
        refused(context, attributes(pairs), &logged(&wanted)).when(&words)?;
    }
    Ok(())
}

fn features(context: &mut Context) -> Outcome {
    let base = Features::VERSION_1 | Features::ACCESS_PLATFORM;
    let control = base | Features::NET_CTRL_VQ;
    for (bits, words) in [
        (
            base | Features::NET_GUEST_UFO,
            "device_features has VIRTIO_NET_F_GUEST_UFO, which is not supported; leave it out",
        ),
        (
            base | Features::RING_RESET,
            "VIRTIO_F_RING_RESET, which is not supported",
        ),
        (
            base | Features(1 << 45),
            "which is not supported; leave it out",
        ),
        (
            base | Features::NET_RSC_EXT,
            "VIRTIO_NET_F_RSC_EXT, which is not supported",
        ),
        (Features(u64::MAX), "leave it out"),
        (
            Features::VERSION_1,
            "lacks VIRTIO_F_ACCESS_PLATFORM; no driver can do without it, add it",
        ),
        (Features::ACCESS_PLATFORM, "lacks VIRTIO_F_VERSION_1"),
        (Features::NONE, "lacks VIRTIO_F_VERSION_1"),
        (
            base | Features::NET_CTRL_MAC_ADDR,
            "VIRTIO_NET_F_CTRL_MAC_ADDR without VIRTIO_NET_F_CTRL_VQ; add that, or leave it out",
        ),
        (
            base | Features::NET_MQ,
            "VIRTIO_NET_F_MQ without VIRTIO_NET_F_CTRL_VQ; add that, or leave it out",
        ),
        (
            control | Features::NET_GUEST_TSO4,
            "VIRTIO_NET_F_GUEST_TSO4 without VIRTIO_NET_F_GUEST_CSUM",
        ),
        (
            control | Features::NET_HOST_USO,
            "VIRTIO_NET_F_HOST_USO without VIRTIO_NET_F_CSUM",
        ),
        (
            control | Features::NET_CSUM | Features::NET_HOST_ECN,
            "VIRTIO_NET_F_HOST_ECN without VIRTIO_NET_F_HOST_TSO4|VIRTIO_NET_F_HOST_TSO6",
        ),
        (
            base | Features::NET_DEVICE_STATS,
            "VIRTIO_NET_F_DEVICE_STATS without VIRTIO_NET_F_CTRL_VQ",
        ),
    ] {
        let attributes = named(b"bits").put(attribute::FEATURES, &bits.0.to_ne_bytes());
        let wanted = ["rvdpasim_net:", "'bits'", words];
        refused(context, attributes, &logged(&wanted)).when(words)?;
    }
    Ok(())
}

fn management_device(_: &mut Context) -> Outcome {
    let attributes = named(b"x").string(attribute::MGMTDEV_DEV_NAME, "nobody");
    match Bus::new()?.command(command::DEV_NEW, &attributes) {
        Ok(_) => fail!("a device of an unknown management device was made"),
        Err(refusal) => {
            check_eq!(refusal.errno, Errno::ENODEV, "errno");
            let words = "Fail to find the specified management device";
            check!(refusal.extack.contains(words), "words: {}", refusal.extack);
        }
    }
    check_eq!(device::all(), Vec::<String>::new(), "devices");
    Ok(())
}

fn unknown_device(_: &mut Context) -> Outcome {
    let device = Device::add("known")?;
    let mut bus = Bus::new()?;
    for (what, result) in [
        ("dev del", bus.delete("unknown")),
        ("dev set", bus.set_mac("unknown", [2, 0, 0, 0, 0, 1])),
    ] {
        match result {
            Ok(()) => fail!("{what} of an unknown device worked"),
            Err(refusal) => {
                check_eq!(refusal.errno, Errno::ENODEV, "errno of {what}");
                check!(
                    refusal.extack.contains("device not found"),
                    "{}",
                    refusal.extack
                );
            }
        }
    }
    match bus.statistics("unknown", 0) {
        Ok(_) => fail!("statistics of an unknown device"),
        Err(stop) => check!(stop.text().contains("ENODEV"), "{}", stop.text()),
    }
    check_eq!(device::all(), ["known"], "devices");
    device.delete()
}

fn dev_set(_: &mut Context) -> Outcome {
    let device = Device::add_mac("set", [2, 0, 0, 0, 0, 1])?;
    let mut bus = Bus::new()?;
    for mac in [[0; 6], [0xff; 6], [1, 0, 0, 0, 0, 1]] {
        match bus.set_mac("set", mac) {
            Ok(()) => fail!("{mac:x?} was set"),
            Err(refusal) => {
                check_eq!(refusal.errno, Errno::EOPNOTSUPP, "errno for {mac:x?}");
                check!(
                    refusal.extack.contains("Invalid MAC address"),
                    "{}",
                    refusal.extack
                );
            }
        }
    }
    // Nothing but the MAC address can be changed.
    let mtu = Attributes::named(b"set").put(attribute::NET_CFG_MTU, &1400_u16.to_ne_bytes());
    match bus.command(command::DEV_ATTR_SET, &mtu) {
        Ok(_) => fail!("the MTU was set"),
        Err(refusal) => check_eq!(refusal.errno, Errno::EOPNOTSUPP, "errno for the MTU"),
    }
    let shown = json("dev config show set")?["config"]["set"].clone();
    check_eq!(shown["mac"], "02:00:00:00:00:01", "MAC afterwards");
    check_eq!(shown["mtu"], 1500, "MTU afterwards");
    device.delete()
}

/// The same through the tool, as a user sees it.
fn tool_says_why(context: &mut Context) -> Outcome {
    for (words, answer, log) in [
        (
            format!("dev add name v mgmtdev {MGMTDEV} mac ff:ff:ff:ff:ff:ff"),
            "Invalid argument",
            "'v': mac ff:ff:ff:ff:ff:ff is a group's address",
        ),
        (
            format!("dev add name v mgmtdev {MGMTDEV} max_vqp 0"),
            "At least one pair of VQs is required",
            "",
        ),
        (
            format!("dev add name v mgmtdev {MGMTDEV} max_vqp 65"),
            "Invalid argument",
            "'v': max_vqp 65 is out of range",
        ),
        (
            format!("dev add name a/b mgmtdev {MGMTDEV}"),
            "Invalid argument",
            "0x2f",
        ),
        ("dev del v".into(), "device not found", ""),
    ] {
        let output = try_vdpa(&words)?;
        check!(!output.status.success(), "vdpa {words} worked");
        let said = String::from_utf8_lossy(&output.stderr);
        check!(said.contains(answer), "vdpa {words} said {said}");
        if !log.is_empty() {
            context.log.expect(&[log])?;
        }
    }
    check_eq!(vdpa("dev show")?, "", "devices");
    Ok(())
}
