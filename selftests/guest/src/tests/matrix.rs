// SPDX-License-Identifier: GPL-2.0

//! TCP and UDP between the stacks of two hosts, over each combination of ring format,
//! receive buffers, offloads and queue pairs. Each one is a line of the report.

use crate::{
    check, check_eq,
    harness::{Context, Test},
    iperf,
    outcome::{Outcome, Stop, While},
    skip,
    stream::{exchange, segmented_datagrams},
    sys,
    wire::{self, Spec, Wire},
};
use rvdpa_virtio::features::Features;
use std::{fmt::Write as _, path::Path};

pub const TESTS: &[Test] = &[
    Test::new("matrix.split_one_pair", split_one).seconds(90),
    Test::new("matrix.split_four_pairs", split_four).seconds(90),
    Test::new("matrix.packed_one_pair", packed_one).seconds(90),
    Test::new("matrix.packed_four_pairs", packed_four).seconds(90),
    Test::new("matrix.in_order", in_order).seconds(90),
    Test::new("matrix.mtu_9000", jumbo).seconds(90),
    Test::new("matrix.strict", strict)
        .with("strict=1")
        .seconds(60),
    Test::new("matrix.odd_rings", odd_rings)
        .with("vq_num_max=1000")
        .seconds(60),
    Test::new("matrix.unlike_ends", unlike).seconds(90),
    Test::new("matrix.default_features", default).seconds(60),
    Test::new("matrix.large_datagrams", large_datagrams).seconds(60),
    Test::new("matrix.debugfs_filter", debugfs_filter).seconds(60),
];

/// How much each connection carries in each direction.
const BYTES: u64 = 1 << 20;

/// One combination.
#[derive(Clone, Copy)]
struct Combination {
    packed: bool,
    in_order: bool,
    /// Whether kicks carry how far the driver is.
    data: bool,
    mergeable: bool,
    offloads: bool,
    pairs: u16,
    mtu: u16,
    /// Whether `iperf3` runs too, which takes a second or two.
    iperf: bool,
}

const FIRST: Combination = Combination {
    packed: false,
    in_order: false,
    data: false,
    mergeable: false,
    offloads: false,
    pairs: 1,
    mtu: 1500,
    iperf: true,
};

impl Combination {
    fn spec(self) -> Spec {
        let optional = [
            (self.packed, Features::RING_PACKED.0),
            (self.in_order, Features::IN_ORDER.0),
            (self.data, Features::NOTIFICATION_DATA.0),
            (self.mergeable, Features::NET_MRG_RXBUF.0),
            (self.offloads, wire::offloads()),
            (self.pairs > 1, Features::NET_MQ.0),
        ];
        let features = optional
            .into_iter()
            .filter_map(|(on, bits)| on.then_some(bits));
        Spec {
            features: Some(features.fold(wire::plain(), |all, bits| all | bits)),
            mtu: self.mtu,
            pairs: self.pairs,
            ..Spec::default()
        }
    }
}

impl std::fmt::Display for Combination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:6} {:8} {:4} {:9} {:8} {} pair{} mtu {}",
            if self.packed { "packed" } else { "split" },
            if self.in_order { "in_order" } else { "-" },
            if self.data { "data" } else { "-" },
            if self.mergeable { "mergeable" } else { "-" },
            if self.offloads { "offloads" } else { "-" },
            self.pairs,
            if self.pairs == 1 { " " } else { "s" },
            self.mtu,
        )
    }
}

/// Runs combinations, all of them even if one fails.
fn all(context: &mut Context, combinations: &[Combination]) -> Outcome {
    let mut failures = Vec::new();
    for combination in combinations {
        context.step(combination);
        let done = Wire::new(combination.spec()).and_then(|wire| {
            let line = traffic(context, &wire, combination.pairs, Some(*combination))?;
            wire.delete()?;
            Ok(line)
        });
        match done {
            Ok(line) => context.note(format_args!("{combination}: {line}")),
            Err(stop) => {
                context.note(format_args!("{combination}: FAILED"));
                failures.push(format!("{combination}: {}", stop.text()));
            }
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Stop::Failed(failures.join(" || ")))
    }
}

/// Mergeable or not, with offloads or without.
fn four(context: &mut Context, base: Combination) -> Outcome {
    let combinations = [(false, false), (false, true), (true, false), (true, true)];
    all(
        context,
        &combinations.map(|(mergeable, offloads)| Combination {
            mergeable,
            offloads,
            ..base
        }),
    )
}

/// Has all kinds of traffic pass, and looks at what it was made of. Returns the end of the
/// report's line.
fn traffic(
    context: &mut Context,
    wire: &Wire,
    pairs: u16,
    combination: Option<Combination>,
) -> Outcome<String> {
    wire.number()?;
    context.step(format_args!("{}: streams", step(combination)));
    let connections = 2 * pairs;
    let sum = exchange(wire, connections, BYTES)?;

    // What was negotiated is also what happens: frames larger than the MTU where there is
    // segmentation, and only then.
    let mut frames = 0;
    for port in [&wire.a, &wire.b] {
        frames += port.total(1, "tx packets")?;
        if pairs > 1 {
            let used = port.by_pair(1, "tx packets")?;
            let several = used.iter().filter(|count| **count > 0).count();
            check!(several > 1, "only one of {pairs} pairs was used: {used:?}");
        }
    }
    if let Some(combination) = combination {
        let wanted = combination.spec().features.unwrap_or_default();
        for port in [&wire.a, &wire.b] {
            check_eq!(port.negotiated()?, wanted, "features of the driver");
        }
        let Combination { offloads, mtu, .. } = combination;
        let least = sum.bytes / u64::from(mtu - 40);
        if offloads {
            check!(
                frames < least,
                "{frames} frames for {} bytes are too many for offloads",
                sum.bytes
            );
        } else {
            check!(
                frames >= least,
                "{frames} frames are too few for {} bytes",
                sum.bytes
            );
        }
    }

    let mut line = format!(
        "{:>8} bytes ok {:3} retransmits {:5.0} Mbit/s",
        sum.bytes,
        sum.retransmits,
        sum.bytes as f64 * 8e-6 / sum.seconds,
    );
    if combination.is_some_and(|combination| combination.iperf) {
        context.step(format_args!("{}: iperf3", step(combination)));
        let iperf = iperf::run(wire, pairs)?;
        check!(iperf.bytes > 0, "iperf3 received nothing by TCP");
        check!(
            iperf.lost < iperf.datagrams,
            "iperf3 lost all of {} datagrams",
            iperf.datagrams
        );
        let _ = write!(
            line,
            "; iperf3 TCP {:3} retransmits {:5.0} Mbit/s, UDP {:3} of {} lost",
            iperf.retransmits, iperf.rate, iperf.lost, iperf.datagrams
        );
    }
    // Nothing was ever taken for damaged.
    for port in [&wire.a, &wire.b] {
        check_eq!(port.total(0, "rx errors")?, 0, "rx errors");
        check_eq!(port.total(1, "tx errors")?, 0, "tx errors");
    }
    Ok(line)
}

fn step(combination: Option<Combination>) -> String {
    combination.map_or_else(|| "default".into(), |combination| combination.to_string())
}

fn split_one(context: &mut Context) -> Outcome {
    four(context, FIRST)
}

fn split_four(context: &mut Context) -> Outcome {
    four(context, Combination { pairs: 4, ..FIRST })
}

fn packed_one(context: &mut Context) -> Outcome {
    four(
        context,
        Combination {
            packed: true,
            ..FIRST
        },
    )
}

fn packed_four(context: &mut Context) -> Outcome {
    four(
        context,
        Combination {
            packed: true,
            pairs: 4,
            ..FIRST
        },
    )
}

fn in_order(context: &mut Context) -> Outcome {
    let base = Combination {
        in_order: true,
        ..FIRST
    };
    let full = Combination {
        mergeable: true,
        offloads: true,
        ..base
    };
    all(
        context,
        &[
            base,
            Combination {
                packed: true,
                data: true,
                ..base
            },
            Combination {
                data: true,
                pairs: 4,
                ..full
            },
            Combination {
                packed: true,
                pairs: 4,
                ..full
            },
        ],
    )
}

fn jumbo(context: &mut Context) -> Outcome {
    let base = Combination {
        mtu: 9000,
        iperf: false,
        ..FIRST
    };
    all(
        context,
        &[
            base,
            Combination {
                packed: true,
                mergeable: true,
                ..base
            },
            Combination {
                mergeable: true,
                offloads: true,
                pairs: 4,
                ..base
            },
        ],
    )
}

/// Each transfer through the device's own mapping, which takes nothing that was not mapped.
fn strict(context: &mut Context) -> Outcome {
    let full = Combination {
        mergeable: true,
        offloads: true,
        iperf: false,
        ..FIRST
    };
    all(
        context,
        &[
            full,
            Combination {
                packed: true,
                pairs: 4,
                ..full
            },
        ],
    )
}

/// Packed rings may have any size; split ones have a power of two.
fn odd_rings(context: &mut Context) -> Outcome {
    for (packed, size) in [(true, "1000"), (false, "512")] {
        let combination = Combination {
            packed,
            iperf: false,
            ..FIRST
        };
        context.step(combination);
        let wire = Wire::new(combination.spec())?;
        let line = traffic(context, &wire, 1, Some(combination))?;
        context.note(format_args!("{combination}: rings of {size}: {line}"));
        for port in [&wire.a, &wire.b] {
            let rings = port.run(&["ethtool", "-g", port.device.name()])?;
            let sizes = ["RX:", "TX:"].map(|name| {
                let mut words = rings.lines().filter_map(|line| line.strip_prefix(name));
                words.next_back().map(|word| word.trim().to_owned())
            });
            check_eq!(
                sizes,
                [Some(size.to_owned()), Some(size.to_owned())],
                "{rings}"
            );
        }
        wire.delete()?;
    }
    Ok(())
}

/// What one end leaves to the device, the other cannot take: the device does it.
fn unlike(context: &mut Context) -> Outcome {
    let features = |bits: u64| Spec {
        features: Some(wire::plain() | bits),
        ..Spec::default()
    };
    let mergeable = Features::NET_MRG_RXBUF.0;
    let csum = Features::NET_CSUM.0;
    let ends = [
        ("all offloads to none", mergeable | wire::offloads(), 0),
        (
            "all offloads to none but mergeable buffers",
            wire::offloads(),
            mergeable,
        ),
        (
            "partial checksums to a receiver without, packed to split",
            csum | Features::RING_PACKED.0,
            mergeable,
        ),
        (
            "TSO4 and TSO6 to a receiver of TSO6 only",
            csum | Features::NET_HOST_TSO4.0 | Features::NET_HOST_TSO6.0,
            Features::NET_GUEST_CSUM.0 | Features::NET_GUEST_TSO6.0,
        ),
    ];
    let mut failures = Vec::new();
    for (name, a, b) in ends {
        context.step(name);
        let done = Wire::unlike(features(a), features(b)).and_then(|wire| {
            let line = traffic(context, &wire, 1, None)?;
            wire.delete()?;
            Ok(line)
        });
        match done {
            Ok(line) => context.note(format_args!("{name}: {line}")),
            Err(stop) => failures.push(format!("{name}: {}", stop.text())),
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Stop::Failed(failures.join(" || ")))
    }
}

/// As users have it who ask for nothing.
fn default(context: &mut Context) -> Outcome {
    for pairs in [1, 4] {
        let wire = Wire::new(Spec {
            pairs,
            ..Spec::default()
        })?;
        let line = traffic(context, &wire, pairs, None)?;
        context.note(format_args!("default, {pairs} pairs: {line}"));
        wire.delete()?;
    }
    Ok(())
}

/// UDP segmentation, by the device or by the stack, of both versions of IP.
fn large_datagrams(context: &mut Context) -> Outcome {
    const ROUNDS: u64 = 20;
    const SEGMENTS: usize = 40;
    let with = |bits: u64| Spec {
        features: Some(wire::plain() | bits),
        ..Spec::default()
    };
    let sender = Features::NET_CSUM.0 | Features::NET_HOST_USO.0;
    let receiver = Features::NET_GUEST_CSUM.0
        | Features::NET_GUEST_TSO4.0
        | Features::NET_GUEST_TSO6.0
        | Features::NET_GUEST_USO4.0
        | Features::NET_GUEST_USO6.0
        | Features::NET_MRG_RXBUF.0;
    for (name, a, b, whole) in [
        ("by nobody but the stack", 0, 0, false),
        ("by the device", sender, 0, true),
        ("by the receiver", sender, receiver, true),
    ] {
        context.step(name);
        let wire = Wire::unlike(with(a), with(b))?;
        wire.number()?;
        for v6 in [false, true] {
            let before = wire.a.total(1, "tx packets")?;
            let arrived = segmented_datagrams(&wire, v6, ROUNDS, SEGMENTS, 1400)
                .when(format_args!("segmented {name}, IPv6 {v6}"))?;
            check_eq!(arrived, ROUNDS * SEGMENTS as u64, "segments {name}");
            let frames = wire.a.total(1, "tx packets")? - before;
            check!(
                (frames < arrived) == whole,
                "{frames} frames for {arrived} segments {name}"
            );
        }
        wire.delete()?;
    }
    Ok(())
}

/// Features that the kernel's virtio core is told to leave out.
fn debugfs_filter(context: &mut Context) -> Outcome {
    let root = Path::new("/sys/kernel/debug/virtio");
    if !root.exists() {
        skip!("the kernel has no {} (CONFIG_VIRTIO_DEBUG)", root.display());
    }
    let without = [
        // None of these is needed by another one. Those of the ring cannot be filtered.
        Features::NET_MRG_RXBUF,
        Features::NET_GUEST_ANNOUNCE,
        Features::NET_CTRL_VLAN,
        Features::NET_NOTF_COAL,
    ];
    for feature in without {
        context.step(format_args!("without bit {}", feature.0.trailing_zeros()));
        let wire = Wire::new(Spec::default())?;
        for port in [&wire.a, &wire.b] {
            let device = port.device.path();
            let virtio = sys::names(&device)
                .into_iter()
                .find(|name| name.starts_with("virtio"))
                .when("a virtio device")?;
            let bit = feature.0.trailing_zeros().to_string();
            sys::write(root.join(&virtio).join("filter_feature_add"), &bit)?;
            let driver = "/sys/bus/virtio/drivers/virtio_net";
            sys::write(format!("{driver}/unbind"), &virtio)?;
            sys::write(format!("{driver}/bind"), &virtio)?;
            check_eq!(
                port.negotiated()? & feature.0,
                0,
                "bit {bit} after it was filtered"
            );
        }
        let wire = wire.again()?;
        wire.number()?;
        exchange(&wire, 2, BYTES)?;
        wire.delete()?;
    }
    Ok(())
}
