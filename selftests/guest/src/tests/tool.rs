// SPDX-License-Identifier: GPL-2.0

//! All that the `vdpa` tool has for network devices, as text and as JSON.

use crate::{
    check, check_eq,
    device::{Device, Driver},
    fail, frame,
    harness::{Context, Test},
    netdev,
    outcome::{Outcome, While},
    packet::Socket,
    tool::{json, vdpa},
};
use rvdpa_virtio::features::Features;
use serde_json::{json, Value};
use std::collections::BTreeSet;

pub const TESTS: &[Test] = &[
    Test::new("tool.mgmtdev_show", mgmtdev_show),
    Test::new("tool.dev_add_without_attributes", add_plain),
    Test::new("tool.dev_add_with_every_attribute", add_full),
    Test::new("tool.dev_show", dev_show),
    Test::new("tool.dev_del", dev_del),
    Test::new("tool.default_mac_is_random_and_local", default_mac),
    Test::new("tool.config_show_after_negotiation", config_negotiated),
    Test::new("tool.dev_set_mac", set_mac),
    Test::new("tool.vstats_before_negotiation", vstats_early),
    Test::new("tool.vstats_names_and_numbers", vstats),
    Test::new("tool.ring_size_parameter", ring_size).with("vq_num_max=32768"),
];

/// What the kernel's driver and a device of one queue pair agree on, if nobody says
/// anything else.
const USUAL: Features = Features(
    Features::VERSION_1.0
        | Features::ACCESS_PLATFORM.0
        | Features::ORDER_PLATFORM.0
        | Features::INDIRECT_DESC.0
        | Features::EVENT_IDX.0
        | Features::NET_MAC.0
        | Features::NET_MTU.0
        | Features::NET_STATUS.0
        | Features::NET_SPEED_DUPLEX.0
        | Features::NET_MRG_RXBUF.0
        | Features::NET_CSUM.0
        | Features::NET_HOST_TSO4.0
        | Features::NET_HOST_TSO6.0
        | Features::NET_HOST_ECN.0
        | Features::NET_HOST_USO.0
        | Features::NET_GUEST_CSUM.0
        | Features::NET_GUEST_TSO4.0
        | Features::NET_GUEST_TSO6.0
        | Features::NET_GUEST_ECN.0
        | Features::NET_GUEST_USO4.0
        | Features::NET_GUEST_USO6.0
        | Features::NET_GUEST_HDRLEN.0
        | Features::NET_CTRL_VQ.0
        | Features::NET_CTRL_RX.0
        | Features::NET_CTRL_VLAN.0
        | Features::NET_CTRL_MAC_ADDR.0
        | Features::NET_CTRL_GUEST_OFFLOADS.0
        | Features::NET_GUEST_ANNOUNCE.0
        | Features::NET_NOTF_COAL.0
        | Features::NET_VQ_NOTF_COAL.0,
);

/// What a device has besides: what the kernel's driver does not know, what several queue
/// pairs have, and what comes to those who ask for it.
const MORE: Features = Features(
    Features::NET_CTRL_RX_EXTRA.0
        | Features::NET_MQ.0
        | Features::NET_RSS.0
        | Features::RING_PACKED.0
        | Features::IN_ORDER.0
        | Features::NOTIFICATION_DATA.0
        | Features::NET_HASH_REPORT.0
        | Features::NET_DEVICE_STATS.0,
);

/// The name that the tool has for a feature, if it knows the feature.
fn tool_name(feature: Features) -> Option<String> {
    let name = feature.name()?;
    let short = name
        .strip_prefix("VIRTIO_NET_F_")
        .or(name.strip_prefix("VIRTIO_F_"))?;
    Some(match short {
        "INDIRECT_DESC" | "EVENT_IDX" => format!("RING_{short}"),
        _ => short.to_owned(),
    })
}

/// The features of a JSON array, in which those that the tool does not know are numbers.
fn features(value: &Value) -> Outcome<Features> {
    let list = value.as_array().when("a list of features")?;
    let mut all = Features::NONE;
    for item in list {
        let bit = match item {
            Value::Number(bit) => bit.as_u64().map(|bit| Features(1 << bit)),
            _ => Features(u64::MAX)
                .bits()
                .find(|bit| item.as_str().is_some() && tool_name(*bit).as_deref() == item.as_str()),
        };
        let bit = bit.when(format_args!("feature {item}"))?;
        check!(!all.contains(bit), "{bit} twice");
        all = all | bit;
    }
    Ok(all)
}

fn mgmtdev_show(_: &mut Context) -> Outcome {
    const NAMES: [&str; 2] = ["rvdpasim_net", "rvdpasim_switch0"];
    let all = &json("mgmtdev show")?["mgmtdev"];
    let named: Vec<&String> = all.as_object().when("mgmtdev")?.keys().collect();
    check_eq!(named, NAMES, "management devices");
    for name in NAMES {
        let one = &json(&format!("mgmtdev show {name}"))?["mgmtdev"];
        check_eq!(one[name], all[name], "{name} with and without its name");
        let mgmtdev = &one[name];
        check_eq!(mgmtdev["supported_classes"], json!(["net"]), "classes");
        // 64 pairs and the control queue.
        check_eq!(mgmtdev["max_supported_vqs"], json!(129), "virtqueues");
        let supported = features(&mgmtdev["dev_features"]).when(name)?;
        check_eq!(supported, USUAL | MORE, "features of {name}");

        let text = vdpa(&format!("mgmtdev show {name}"))?;
        for line in [
            &format!("{name}:"),
            "supported_classes net",
            "max_supported_vqs 129",
        ] {
            check!(text.contains(line), "no '{line}' in {text}");
        }
        for feature in (USUAL | MORE).bits() {
            let word = tool_name(feature).when(feature)?;
            let bit = format!("bit_{}", feature.0.trailing_zeros());
            check!(
                text.split_whitespace().any(|w| w == word || w == bit),
                "neither {word} nor {bit} in {text}"
            );
        }
    }
    Ok(())
}

fn add_plain(_: &mut Context) -> Outcome {
    vdpa("dev add name plain mgmtdev rvdpasim_net")?;
    let device = Device::adopt("plain");
    let config = &json("dev config show plain")?["config"]["plain"];
    check_eq!(config["mtu"], json!(1500), "default MTU");
    check_eq!(config["link "], json!("up"), "link");
    let negotiated = config.get("negotiated_features");
    check_eq!(negotiated, None, "negotiated features without a driver");
    device.delete()
}

fn add_full(_: &mut Context) -> Outcome {
    let bits = Features::VERSION_1
        | Features::ACCESS_PLATFORM
        | Features::NET_MAC
        | Features::NET_MTU
        | Features::NET_STATUS;
    vdpa(&format!(
        "dev add name full mgmtdev rvdpasim_net mac 02:11:22:33:44:55 mtu 9000 max_vqp 1 \
         device_features {:#x}",
        bits.0
    ))?;
    let device = Device::adopt("full");
    let config = &json("dev config show full")?["config"]["full"];
    check_eq!(config["mac"], json!("02:11:22:33:44:55"), "MAC");
    check_eq!(config["mtu"], json!(9000), "MTU");

    let text = vdpa("dev config show full")?;
    check!(
        text.starts_with("full: mac 02:11:22:33:44:55 link up link_announce false mtu 9000"),
        "config as text: {text}"
    );

    // What was left out is not there.
    device.bind(Driver::Virtio)?;
    device.interface()?;
    let config = &json("dev config show full")?["config"]["full"];
    check_eq!(features(&config["negotiated_features"])?, bits, "features");
    device.delete()
}

fn dev_show(_: &mut Context) -> Outcome {
    let one = Device::add("one")?;
    let two = Device::add("two")?;
    let wanted = json!({
        "type": "network", "mgmtdev": "rvdpasim_net", "vendor_id": 0,
        "max_vqs": 3, "max_vq_size": 1024,
    });
    let both = &json("dev show")?["dev"];
    check_eq!(both, &json!({"one": wanted, "two": wanted}), "dev show");
    let shown = &json("dev show two")?["dev"];
    check_eq!(shown, &json!({"two": wanted}), "dev show two");
    check_eq!(
        vdpa("dev show one")?.trim(),
        "one: type network mgmtdev rvdpasim_net vendor_id 0 max_vqs 3 max_vq_size 1024",
        "dev show one"
    );
    let configs = &json("dev config show")?["config"];
    let named: Vec<&String> = configs.as_object().when("config")?.keys().collect();
    check_eq!(named, ["one", "two"], "dev config show");
    two.delete()?;
    one.delete()
}

fn dev_del(_: &mut Context) -> Outcome {
    let device = Device::add("gone")?;
    vdpa("dev del gone")?;
    check!(
        !device.path().exists(),
        "{} is still there",
        device.path().display()
    );
    device.forget();
    check_eq!(json("dev show")?["dev"], json!({}), "dev show");
    // The name is free again.
    Device::add("gone")?.delete()
}

fn default_mac(_: &mut Context) -> Outcome {
    let mut seen = BTreeSet::new();
    for round in 0..8 {
        let device = Device::add("random")?;
        let config = &json("dev config show random")?["config"]["random"];
        let mac = config["mac"]
            .as_str()
            .and_then(frame::parse)
            .when("a MAC")?;
        check_eq!(
            mac[0] & 3,
            2,
            "bits of the first byte in round {round}: {mac:x?}"
        );
        check!(seen.insert(mac), "{mac:x?} twice");
        device.delete()?;
    }
    Ok(())
}

fn config_negotiated(_: &mut Context) -> Outcome {
    let device = Device::add("neg")?;
    device.bind(Driver::Virtio)?;
    device.interface()?;
    let config = &json("dev config show neg")?["config"]["neg"];
    check_eq!(features(&config["negotiated_features"])?, USUAL, "features");
    check_eq!(
        config.get("max_vq_pairs"),
        None,
        "queue pairs without a feature to use them"
    );
    let text = vdpa("dev config show neg")?;
    check!(
        text.contains("negotiated_features"),
        "config as text: {text}"
    );
    device.unbind()?;
    let config = &json("dev config show neg")?["config"]["neg"];
    let negotiated = config.get("negotiated_features");
    check_eq!(negotiated, None, "negotiated features after unbind");
    device.delete()?;

    // Several pairs, and how to use them.
    vdpa("dev add name pairs mgmtdev rvdpasim_net max_vqp 2")?;
    let device = Device::adopt("pairs");
    device.bind(Driver::Virtio)?;
    device.interface()?;
    let config = &json("dev config show pairs")?["config"]["pairs"];
    check_eq!(
        features(&config["negotiated_features"])?,
        USUAL | Features::NET_MQ | Features::NET_RSS,
        "features with two queue pairs"
    );
    check_eq!(config["max_vq_pairs"], json!(2), "queue pairs");
    let shown = &json("dev show pairs")?["dev"]["pairs"];
    check_eq!(shown["max_vqs"], json!(5), "virtqueues of two queue pairs");
    device.delete()
}

fn set_mac(_: &mut Context) -> Outcome {
    let device = Device::add_mac("set", [2, 0, 0, 0, 0, 1])?;
    vdpa("dev set name set mac 02:0a:0b:0c:0d:0e")?;
    let config = &json("dev config show set")?["config"]["set"];
    check_eq!(
        config["mac"],
        json!("02:0a:0b:0c:0d:0e"),
        "MAC after dev set"
    );
    device.delete()
}

fn vstats_early(_: &mut Context) -> Outcome {
    let device = Device::add("early")?;
    match crate::netlink::Bus::new()?.statistics("early", 0) {
        Ok(_) => fail!("statistics before negotiation"),
        Err(stop) => check!(stop.text().contains("EAGAIN"), "{}", stop.text()),
    }
    device.delete()
}

fn vstats(_: &mut Context) -> Outcome {
    const FRAMES: u64 = 10;
    const SIZE: usize = 100;
    let device = Device::add("stats")?;
    device.bind(Driver::Virtio)?;
    let interface = device.interface()?;
    netdev::up(&interface)?;
    let mac = netdev::mac(&interface)?;
    let mut socket = Socket::open(&interface, 2048)?;
    for number in 0..FRAMES {
        socket.send(&frame::make(SIZE, mac, mac, number))?;
    }
    check_eq!(socket.receive_count(10)?.len(), 10, "frames that came back");
    // To somebody else.
    socket.send(&frame::make(SIZE, [2, 9, 9, 9, 9, 9], mac, 0))?;
    netdev::set_mac(&interface, [2, 0, 0, 0, 0, 77])?;
    // The frame above is handled before the next one.
    socket.send(&frame::make(SIZE, [0xff; 6], mac, 1))?;
    check_eq!(socket.receive_count(1)?.len(), 1, "broadcast frames");

    let of = |index: u32, kind: &str, wanted: &[(&str, u64)], others: &[&str]| -> Outcome {
        let shown = json(&format!("dev vstats show stats qidx {index}"))?;
        let stats = &shown["vstats"]["stats"];
        check_eq!(
            stats["queue_type"],
            json!(kind),
            "type of virtqueue {index}"
        );
        for (name, number) in wanted {
            check_eq!(stats[name], json!(number), "'{name}' of virtqueue {index}");
        }
        let text = vdpa(&format!("dev vstats show stats qidx {index}"))?;
        check!(
            text.starts_with(&format!("stats: queue_type {kind} ")),
            "virtqueue {index} as text: {text}"
        );
        let mut names: BTreeSet<&str> = wanted.iter().map(|(name, _)| *name).collect();
        names.extend(others);
        names.extend([
            "queue_type",
            "kicks",
            "interrupts raised",
            "interrupts suppressed",
        ]);
        let there: BTreeSet<&str> = stats
            .as_object()
            .when("numbers")?
            .keys()
            .map(String::as_str)
            .collect();
        check_eq!(there, names, "names of virtqueue {index}");
        if index != 0 {
            check!(
                stats["kicks"].as_u64() > Some(0),
                "no kicks of virtqueue {index}"
            );
        }
        Ok(())
    };
    let (frames, bytes) = (FRAMES + 1, (FRAMES + 1) * SIZE as u64);
    of(
        0,
        "rx",
        &[
            ("rx packets", frames),
            ("rx bytes", bytes),
            ("rx drops filtered", 1),
            ("rx drops no buffer", 0),
            ("rx drops too large", 0),
            ("rx errors", 0),
        ],
        &[],
    )?;
    of(
        1,
        "tx",
        &[
            ("tx packets", frames + 1),
            ("tx bytes", bytes + SIZE as u64),
            ("tx drops runt", 0),
            ("tx drops malformed", 0),
            ("tx drops link down", 0),
            ("tx errors", 0),
        ],
        &[],
    )?;
    // How many commands there are is the driver's own business.
    of(2, "control_vq", &[("cvq errors", 0)], &["cvq commands"])?;
    let commands = device.statistics(2)?.get("cvq commands")?;
    check!(commands > 0, "an address was set without a command");

    let raised = device.statistics(0)?.get("interrupts raised")?;
    check!(raised > 0, "frames came, but no interrupt was counted");
    match device.statistics(3) {
        Ok(_) => fail!("statistics of a virtqueue that does not exist"),
        Err(stop) => check!(
            stop.text()
                .contains("EINVAL ('there is no virtqueue of this index')"),
            "{}",
            stop.text()
        ),
    }
    device.delete()
}

fn ring_size(_: &mut Context) -> Outcome {
    let device = Device::add("large")?;
    let size = &json("dev show large")?["dev"]["large"]["max_vq_size"];
    check_eq!(size, &json!(32768), "size with vq_num_max=32768");
    // virtio_vdpa takes the greatest size there is.
    device.bind(Driver::Virtio)?;
    let interface = device.interface()?;
    netdev::up(&interface)?;
    let mac = netdev::mac(&interface)?;
    let mut socket = Socket::open(&interface, 2048)?;
    socket.send(&frame::make(64, mac, mac, 7))?;
    check_eq!(socket.receive_count(1)?.len(), 1, "frames that came back");
    device.delete()
}
