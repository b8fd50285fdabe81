// SPDX-License-Identifier: GPL-2.0

//! While the device is suspended, its rings may be moved, and set to go on elsewhere.

use super::{bases_are_final, done, each_format, running, Moment, Numbered};
use crate::{
    check, check_eq,
    harness::{Context, Test},
    outcome::{Outcome, While},
    vhost::{refused, Format, LoopPlan, RX, TX},
};
use nix::errno::Errno;
use rvdpa_virtio::{
    features::Features,
    layout::{Area, QueueLayout},
    mock::DriverMemory,
};
use vhost::VringConfigData;

pub const TESTS: &[Test] = each_format! {
    "rings_moved_while_suspended", moved;
    "places_changed_while_suspended", places;
    "the_same_state_again", again;
    "nothing_is_moved_while_running", refusals;
};

/// Moves both rings as they are, with all that is in them, to memory of their own. What was
/// theirs before is taken away, or overwritten.
fn moved(context: &mut Context, format: Format) -> Outcome {
    const SCRIBBLE: u8 = 0xdb;
    let (device, mut net) = running(context, format)?;
    let mut frames = Numbered::default();
    let mut moment = Moment::new();
    let mut old = Vec::new();
    while moment.goes_on(16) {
        let round = u64::from(moment.rounds);
        net.fill_rx()?;
        let added = frames.add(&mut net, 200);
        let target = net.tx.used() + added as usize;
        net.tx.kick()?;
        moment.wait();
        net.client.suspend()?;
        moment.was(net.tx.used() < target);
        let ring = (net.rx.layout, net.tx.layout);
        let start = 0x20_0000_0000 + round * 0x1000_0000;
        let rx = net.spare_ring(start)?;
        let tx = net.spare_ring(start + 0x800_0000)?;
        let new = [rx.0.clone(), tx.0.clone()];
        net.rx.relocate(&net.client, rx.0, rx.1)?;
        net.tx.relocate(&net.client, tx.0, tx.1)?;
        if round == 0 {
            for layout in [ring.0, ring.1] {
                each_area(layout, |start, len| {
                    net.memory.write(start, &vec![SCRIBBLE; len]);
                    Ok(())
                })?;
            }
        }
        for view in std::mem::replace(&mut old, new.to_vec()) {
            net.client.unmap(0, view.iova(), view.len())?;
        }
        bases_are_final(&mut net)?;
        net.client.resume()?;
        frames
            .take_all(&mut net)
            .when(format_args!("round {round}"))?;
        if round == 0 {
            for layout in [ring.0, ring.1] {
                each_area(layout, |start, len| {
                    let mut bytes = vec![0; len];
                    net.memory.read(start, &mut bytes);
                    let same = bytes.iter().all(|byte| *byte == SCRIBBLE);
                    check!(same, "the device wrote to where its ring was, {start:#x}");
                    Ok(())
                })?;
            }
        }
    }
    moment.found(context)?;
    done(device, net)
}

fn each_area(layout: QueueLayout, mut f: impl FnMut(u64, usize) -> Outcome) -> Outcome {
    for area in [Area::Descriptor, Area::Driver, Area::Device] {
        f(layout.address(area), layout.len(area, Features::EVENT_IDX))?;
    }
    Ok(())
}

/// New rings, that begin anywhere, without a reset.
fn places(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    let places: &[u16] = match format {
        Format::Split => &[0xfff0, 1, 0x7fff, 0, 0xffff],
        // Slots of 256, with either wrap counter.
        Format::Packed => &[0x8000 | 255, 7, 0x8000, 255, 0],
    };
    for &place in places {
        let what = LoopPlan {
            count: 150,
            size: 80,
            in_flight: 40,
        };
        net.loop_frames(what)?;
        net.client.suspend()?;
        net.rx.renew(&net.client, place)?;
        net.tx.renew(&net.client, place)?;
        for index in [RX, TX] {
            let base = net.client.base(index)?;
            check_eq!(base, format.base(place), "base of virtqueue {index}");
        }
        net.client.resume()?;
        net.loop_frames(what)
            .when(format_args!("from {place:#x} on"))?;
        net.client.suspend()?;
        let end = format.base(format.advance(place, what.count as u16, net.plan.size));
        for index in [RX, TX] {
            check_eq!(net.client.base(index)?, end, "base of virtqueue {index}");
        }
        net.client.resume()?;
    }
    done(device, net)
}

/// What a client reads it can set again, with chains under way.
fn again(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    let mut frames = Numbered::default();
    let mut moment = Moment::new();
    while moment.goes_on(16) {
        let round = moment.rounds;
        net.fill_rx()?;
        let added = frames.add(&mut net, 200);
        let target = net.tx.used() + added as usize;
        net.tx.kick()?;
        moment.wait();
        net.client.suspend()?;
        moment.was(net.tx.used() < target);
        for (index, layout) in [(RX, net.rx.layout), (TX, net.tx.layout)] {
            let base = net.client.base(index)?;
            net.client.set_queue(index, &layout, base)?;
            check_eq!(net.client.base(index)?, base, "base of virtqueue {index}");
            net.client.enable(index, true)?;
        }
        net.client.resume()?;
        frames
            .take_all(&mut net)
            .when(format_args!("round {round}"))?;
    }
    moment.found(context)?;
    done(device, net)
}

/// vhost-vdpa itself refuses it; the device goes on as it was.
fn refusals(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    let (_, other) = net.spare_ring(0x20_0000_0000)?;
    let config = VringConfigData {
        queue_max_size: other.size,
        queue_size: other.size,
        flags: 0,
        desc_table_addr: other.descriptor,
        used_ring_addr: other.device,
        avail_ring_addr: other.driver,
        log_addr: None,
    };
    let what = LoopPlan {
        count: 100,
        size: 80,
        in_flight: 40,
    };
    for round in 0..3 {
        for index in [RX, TX] {
            let got = refused(net.client.kernel().set_vring_addr(index, &config));
            check_eq!(got, Some(Errno::EINVAL), "address while the device runs");
        }
        let base = format.base(format.start());
        let got = crate::ioctl::set_vring_base(&net.client, TX as u32, base);
        check_eq!(got, Err(Errno::EINVAL), "base while the device runs");
        net.loop_frames(what).when(format_args!("round {round}"))?;
        // It is the same again after it was suspended.
        net.client.suspend()?;
        net.client.resume()?;
    }
    done(device, net)
}
