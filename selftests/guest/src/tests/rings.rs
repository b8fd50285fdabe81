// SPDX-License-Identifier: GPL-2.0

//! Frames through rings of every legal shape, in both modes of memory.

use crate::{
    arena::Kind,
    check, check_eq,
    device::Device,
    frame,
    harness::{Context, Test},
    ioctl,
    outcome::{Outcome, While},
    vhost::{LoopPlan, Net, Plan, RX, TX},
};
use rvdpa_virtio::{features::Features, net::control};
use std::time::Duration;
use vhost::{vdpa::VhostVdpa, VhostBackend};

/// The same test in PA mode and in VA mode.
macro_rules! both {
    ($($name:literal, $run:expr;)*) => {
        &[
            $(
                Test::new(concat!("vhost_pa.", $name), $run),
                Test::new(concat!("vhost_va.", $name), $run).with("use_va=1"),
            )*
        ]
    };
}
pub(super) use both;

pub const TESTS: &[Test] = both! {
    "direct_descriptors", direct;
    "indirect_descriptors", indirect;
    "without_event_index", no_event_index;
    "every_ring_size", sizes;
    "indices_wrap", wrap;
    "chains_of_many_descriptors", many;
    "buffers_across_pages", across;
    "frames_of_every_size", every_size;
    "large_frames", large;
    "suspend_and_resume", suspend;
    "go_on_at_a_base", base;
    "enable_after_driver_ok", enable;
    "interrupts_only_when_wanted", interrupts;
    "control_queue_in_its_own_address_space", control_asid;
    "control_queue_commands", control_commands;
};

/// The kind of memory that works with the module's parameters.
pub(super) fn kind(context: &Context) -> Kind {
    if context.has("use_va=1") {
        Kind::Shared
    } else {
        Kind::Anonymous
    }
}

/// Has frames looped by a new device.
fn looped(context: &mut Context, plan: Plan, what: LoopPlan) -> Outcome {
    let plan = Plan {
        kind: kind(context),
        ..plan
    };
    let (device, path) = Device::for_vhost("ring")?;
    let mut net = Net::new(&path, plan)?;
    net.loop_frames(what)?;
    let rx = device.statistics(0)?;
    check_eq!(rx.get("rx packets")?, what.count, "frames counted");
    check_eq!(
        rx.get("rx bytes")?,
        what.count * what.size as u64,
        "bytes counted"
    );
    check_eq!(
        device.statistics(1)?.get("tx packets")?,
        what.count,
        "frames counted"
    );
    drop(net);
    device.delete()
}

const SOME: LoopPlan = LoopPlan {
    count: 2000,
    size: 100,
    in_flight: 64,
};

fn direct(context: &mut Context) -> Outcome {
    looped(context, Plan::default(), SOME)
}

fn indirect(context: &mut Context) -> Outcome {
    let plan = Plan {
        indirect: true,
        pieces: 3,
        ..Plan::default()
    };
    looped(context, plan, SOME)
}

fn no_event_index(context: &mut Context) -> Outcome {
    for (pieces, indirect) in [(1, false), (2, false), (2, true)] {
        let plan = Plan {
            features: Features(u64::MAX).without(Features::EVENT_IDX),
            pieces,
            indirect,
            ..Plan::default()
        };
        looped(context, plan, SOME)?;
    }
    // Not even indirect descriptors.
    let plan = Plan {
        features: Features::VERSION_1 | Features::ACCESS_PLATFORM,
        ..Plan::default()
    };
    looped(context, plan, SOME)
}

fn sizes(context: &mut Context) -> Outcome {
    let mut size = 2;
    while size <= 1024 {
        context.step(format_args!("rings of {size}"));
        for in_flight in [1, u64::from(size)] {
            let plan = Plan {
                size,
                ..Plan::default()
            };
            let what = LoopPlan {
                count: 2 * u64::from(size) + 5,
                size: 60,
                in_flight,
            };
            if in_flight == 1 && size > 64 {
                continue;
            }
            looped(context, plan, what).when(format_args!("rings of {size}"))?;
        }
        size *= 2;
    }
    Ok(())
}

fn wrap(context: &mut Context) -> Outcome {
    // Once all the way around, and once over the edge with each form.
    let what = LoopPlan {
        count: 66_000,
        size: 60,
        in_flight: 128,
    };
    looped(context, Plan::default(), what)?;
    for (features, indirect) in [
        (Features(u64::MAX), true),
        (Features(u64::MAX).without(Features::EVENT_IDX), false),
    ] {
        let plan = Plan {
            features,
            indirect,
            pieces: 2,
            base: 65_000,
            ..Plan::default()
        };
        let what = LoopPlan {
            count: 1500,
            ..what
        };
        looped(context, plan, what)?;
    }
    Ok(())
}

fn many(context: &mut Context) -> Outcome {
    for (size, pieces, indirect) in [
        (256, 16, false),
        (64, 64, false),
        (256, 40, true),
        (256, 256, true),
    ] {
        context.step(format_args!("{pieces} descriptors, indirect: {indirect}"));
        let plan = Plan {
            size,
            pieces,
            indirect,
            ..Plan::default()
        };
        let what = LoopPlan {
            count: 100,
            size: 1514,
            in_flight: 4,
        };
        looped(context, plan, what)
            .when(format_args!("{pieces} descriptors, indirect: {indirect}"))?;
    }
    Ok(())
}

fn across(context: &mut Context) -> Outcome {
    for pieces in [1, 3] {
        let plan = Plan {
            room: 3001,
            pieces,
            ..Plan::default()
        };
        let what = LoopPlan {
            count: 300,
            size: 2900,
            in_flight: 32,
        };
        looped(context, plan, what)?;
    }
    Ok(())
}

fn every_size(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("ring")?;
    let plan = Plan {
        kind: kind(context),
        pieces: 2,
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    net.fill_rx()?;
    let mac = net.mac;
    for size in frame::HEADER..=1514 {
        let sent = frame::make(size, mac, mac, size as u64);
        check!(net.add_frame(&sent), "no room in the transmit queue");
        net.send()?;
        let got = net.wait_receive()?;
        let difference = frame::difference(&got, &sent);
        check!(
            difference.is_none(),
            "size {size}: {}",
            difference.unwrap_or_default()
        );
        net.fill_rx()?;
        net.reap()?;
    }
    drop(net);
    device.delete()
}

fn large(context: &mut Context) -> Outcome {
    for size in [4096, 9014, 65549, 300_000] {
        context.step(format_args!("frames of {size}"));
        let plan = Plan {
            room: size + 12,
            size: 16,
            pieces: 3,
            ..Plan::default()
        };
        let what = LoopPlan {
            count: 20,
            size,
            in_flight: 4,
        };
        looped(context, plan, what).when(format_args!("frames of {size}"))?;
    }
    Ok(())
}

fn suspend(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("ring")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    for round in 0..20 {
        net.loop_frames(LoopPlan {
            count: 10,
            size: 80,
            in_flight: 4,
        })
        .when(format_args!("round {round}"))?;
        net.client.kernel().suspend()?;
        let mac = net.mac;
        let bytes = frame::make(80, mac, mac, 1);
        check!(net.add_frame(&bytes), "no room in the transmit queue");
        net.tx.driver.publish();
        let before = net.tx.driver.read_used_index();
        net.tx.kick()?;
        std::thread::sleep(Duration::from_millis(10));
        check_eq!(
            net.tx.driver.read_used_index(),
            before,
            "used index while suspended"
        );
        check!(net.receive()?.is_none(), "a frame came while suspended");
        let base = net.client.kernel().get_vring_base(TX)?;
        check_eq!(base, u32::from(before), "base while suspended");
        // The kick was not forgotten.
        ioctl::resume(&net.client)?;
        let got = net.wait_receive()?;
        check_eq!(got, bytes, "the frame that was sent while suspended");
        net.fill_rx()?;
        crate::sys::wait_for("the frame given back", Duration::from_secs(2), || {
            Ok((net.reap()? > 0).then_some(()))
        })?;
    }
    drop(net);
    device.delete()
}

fn base(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("ring")?;
    let plan = Plan {
        kind: kind(context),
        base: 65_500,
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    let mut expected = plan.base;
    for _ in 0..3 {
        net.loop_frames(LoopPlan {
            count: 30,
            size: 80,
            in_flight: 8,
        })?;
        net.client.kernel().suspend()?;
        expected = expected.wrapping_add(30);
        for index in [RX, TX] {
            let base = net.client.kernel().get_vring_base(index)?;
            check_eq!(base, u32::from(expected), "base of virtqueue {index}");
        }
        net.plan.base = expected;
        net = net.restart()?;
    }
    drop(net);
    device.delete()
}

fn enable(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("ring")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    let mut net = Net::prepare(&path, plan)?;
    for index in [RX, TX] {
        net.client.enable(index, false)?;
    }
    net.go()?;
    let mac = net.mac;
    let bytes = frame::make(80, mac, mac, 5);
    net.fill_rx()?;
    check!(net.add_frame(&bytes), "no room in the transmit queue");
    net.tx.driver.publish();
    net.tx.kick()?;
    std::thread::sleep(Duration::from_millis(20));
    check_eq!(
        net.tx.driver.read_used_index(),
        0,
        "used index of a disabled virtqueue"
    );
    net.client.enable(RX, true)?;
    net.client.enable(TX, true)?;
    check_eq!(net.wait_receive()?, bytes, "the frame sent before");
    // And off again.
    net.client.enable(TX, false)?;
    net.fill_rx()?;
    check!(net.add_frame(&bytes), "no room in the transmit queue");
    net.tx.driver.publish();
    net.tx.kick()?;
    std::thread::sleep(Duration::from_millis(20));
    check!(
        net.receive()?.is_none(),
        "a frame from a disabled virtqueue"
    );
    net.client.enable(TX, true)?;
    check_eq!(net.wait_receive()?, bytes, "the frame sent meanwhile");
    drop(net);
    device.delete()
}

fn interrupts(context: &mut Context) -> Outcome {
    for features in [
        Features(u64::MAX),
        Features(u64::MAX).without(Features::EVENT_IDX),
    ] {
        let (device, path) = Device::for_vhost("ring")?;
        let plan = Plan {
            kind: kind(context),
            features,
            ..Plan::default()
        };
        let mut net = Net::new(&path, plan)?;
        net.fill_rx()?;
        let mac = net.mac;
        let bytes = frame::make(80, mac, mac, 5);
        net.rx.driver.disable_interrupts();
        net.tx.driver.disable_interrupts();
        check!(net.add_frame(&bytes), "no room in the transmit queue");
        net.send()?;
        crate::sys::wait_for("the frame", Duration::from_secs(2), || {
            Ok((net.rx.driver.read_used_index() == 1).then_some(()))
        })?;
        let unwanted = Duration::from_millis(30);
        check!(
            !net.rx.interrupted(unwanted)?,
            "an interrupt that was not wanted"
        );
        check!(
            !net.tx.interrupted(unwanted)?,
            "an interrupt that was not wanted"
        );
        check!(net.receive()?.is_some(), "the frame");
        net.reap()?;

        net.rx.driver.enable_interrupts();
        check!(net.add_frame(&bytes), "no room in the transmit queue");
        net.send()?;
        check!(net.rx.interrupted(Duration::from_secs(2))?, "no interrupt");
        let rx = device.statistics(0)?;
        check_eq!(rx.get("interrupts raised")?, 1, "interrupts raised");
        check_eq!(rx.get("interrupts suppressed")?, 1, "interrupts suppressed");
        drop(net);
        device.delete()?;
    }
    Ok(())
}

fn control_asid(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("ring")?;
    let plan = Plan {
        kind: kind(context),
        control_asid: 1,
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    let mac = [2, 0, 0, 0, 7, 7];
    let answer = net.command(control::mac::CLASS, control::mac::ADDR_SET, &mac)?;
    check_eq!(answer, control::OK, "answer");
    check_eq!(net.client.config()?.mac().0, mac, "MAC address");
    // Frames go by the new address.
    net.mac = mac;
    net.loop_frames(SOME)?;

    // The control queue does not see what the others see.
    let client = net.client;
    let memory = net.memory;
    let mut client = client;
    client.reset()?;
    client.unmap(0, memory.iova(), memory.len())?;
    client.unmap(1, net.control_memory.iova(), net.control_memory.len())?;
    let mut net = Net::with(client, Plan { map: false, ..plan })?;
    net.client.map_all(0, &net.memory)?;
    net.client.map_all(0, &net.control_memory)?;
    net.go()?;
    let control = net.control.as_mut().when("a control queue")?;
    control.kick()?;
    net.client.wait_for_needs_reset()?;
    context
        .log
        .expect(&["ring:", "virtqueue 2 (control)", "not mapped"])?;
    drop(net);
    device.delete()
}

fn control_commands(context: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("ring")?;
    let plan = Plan {
        kind: kind(context),
        ..Plan::default()
    };
    let mut net = Net::new(&path, plan)?;
    let before = net.mac;
    let class = control::mac::CLASS;
    let set = control::mac::ADDR_SET;
    for (what, class, command, data) in [
        ("an unknown class", 77, 0, &[][..]),
        ("an unknown command", class, 9, &[]),
        ("no address", class, set, &[]),
        ("a short address", class, set, &[2, 0, 0, 0, 0]),
        ("a long address", class, set, &[2, 0, 0, 0, 0, 0, 1]),
        ("very long data", class, set, &[2; 300]),
        ("a group's address", class, set, &[3, 0, 0, 0, 0, 1]),
        ("no address but zero", class, set, &[0; 6]),
        (
            "a command of another feature",
            control::rx::CLASS,
            control::rx::PROMISC,
            &[1],
        ),
        (
            "queue pairs",
            control::mq::CLASS,
            control::mq::VQ_PAIRS_SET,
            &[1, 0],
        ),
    ] {
        let answer = net.command(class, command, data).when(what)?;
        check_eq!(answer, control::ERR, "answer to {what}");
        check_eq!(
            net.client.config()?.mac().0,
            before,
            "MAC address after {what}"
        );
    }
    // A refusal is not remembered.
    let answer = net.command(class, set, &[2, 0, 0, 0, 0, 8])?;
    check_eq!(answer, control::OK, "answer to a good command");
    check_eq!(
        net.command(77, 0, &[])?,
        control::ERR,
        "answer to an unknown class"
    );
    let stats = device.statistics(2)?;
    check_eq!(stats.get("cvq commands")?, 12, "commands counted");
    check_eq!(stats.get("cvq errors")?, 11, "errors counted");
    drop(net);
    device.delete()
}
