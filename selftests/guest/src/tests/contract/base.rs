// SPDX-License-Identifier: GPL-2.0

//! `VHOST_GET_VRING_BASE` and `VHOST_SET_VRING_BASE`.

use super::{done, each_format, prepared, running, QUIET};
use crate::{
    check, check_eq,
    harness::{Context, Test},
    ioctl,
    outcome::{Outcome, While},
    tests::rings::{plan, ring_device, FEW},
    vhost::{Format, LoopPlan, Net, Plan, RX, TX},
};
use nix::errno::Errno;
use std::thread::sleep;

pub const TESTS: &[Test] = each_format! {
    "bases_refused", refused;
    "index_wraps", wraps;
    "base_after_reset", reset;
    "base_of_a_stopped_queue", stopped;
    "base_of_a_running_queue", live;
};

/// What cannot be is refused at once, and changes nothing.
fn refused(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = prepared(context, format)?;
    // vhost-vdpa itself knows how many virtqueues there are.
    for index in [3, 4, 0xffff, u32::MAX] {
        for got in [
            ioctl::set_vring_base(&net.client, index, 0),
            ioctl::vring_base(&net.client, index).map(drop),
        ] {
            check_eq!(got, Err(Errno::ENOBUFS), "base of virtqueue {index}");
        }
    }
    let size = u32::from(net.plan.size);
    let bases: &[u32] = match format {
        // vhost itself, for which it has 16 bits.
        Format::Split => &[0x1_0000, 0x8000_0000, u32::MAX],
        // The device: beyond the ring, on either side, or what is available behind what is
        // used, or more ahead of it than there are descriptors.
        Format::Packed => &[
            0x8000_8000 | size,
            0x8000_8000 | (size << 16),
            0x7fff,
            0x7fff_0000,
            0x8005_8004,
            0x0005_0004,
            0x8004_0005,
            0x0004_8005,
            u32::MAX,
        ],
    };
    let before = net.client.base(TX)?;
    for &base in bases {
        let got = ioctl::set_vring_base(&net.client, TX as u32, base);
        check_eq!(got, Err(Errno::EINVAL), "base {base:#x}");
        check_eq!(net.client.base(TX)?, before, "base after {base:#x}");
    }
    net.go()?;
    net.loop_frames(FEW)?;
    // The same of a suspended device.
    net.client.suspend()?;
    let before = net.client.base(TX)?;
    for &base in bases {
        let got = ioctl::set_vring_base(&net.client, TX as u32, base);
        check_eq!(got, Err(Errno::EINVAL), "base {base:#x} while suspended");
        check_eq!(net.client.base(TX)?, before, "base after {base:#x}");
    }
    net.client.resume()?;
    net.loop_frames(FEW)?;
    done(device, net)
}

/// A ring that starts shortly before the end of its indices, seen at every few frames.
fn wraps(context: &mut Context, format: Format) -> Outcome {
    let starts: &[u16] = match format {
        Format::Split => &[0xfff0, 0x7ff8],
        // Of 64 slots, with either wrap counter.
        Format::Packed => &[0x8000 | 60, 60],
    };
    for &start in starts {
        let (device, path) = ring_device("contract", format)?;
        let plan = Plan {
            size: 64,
            base: Some(start),
            ..plan(context)
        };
        let mut net = Net::new(&path, plan)?;
        let mut place = start;
        let mut wrapped = false;
        for round in 0..40 {
            let count = 1 + round % 5;
            net.loop_frames(LoopPlan {
                count: count.into(),
                size: 80,
                in_flight: 3,
            })
            .when(format_args!("from {place:#x} on"))?;
            let next = format.advance(place, count, plan.size);
            wrapped |= next < place;
            place = next;
            net.client.suspend()?;
            for index in [RX, TX] {
                let base = net.client.base(index)?;
                check_eq!(base, format.base(place), "base of virtqueue {index}");
            }
            net.client.resume()?;
        }
        check!(
            wrapped || start == 0x7ff8,
            "the index did not wrap: nothing was tried"
        );
        done(device, net)?;
    }
    Ok(())
}

fn reset(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    for _ in 0..3 {
        net.loop_frames(FEW)?;
        let start = format.base(format.start());
        check!(net.client.base(TX)? != start, "base after frames");
        net.client.reset()?;
        // Where it stands has a format again as soon as the driver has said which.
        net.client.negotiate(net.plan.features)?;
        for index in 0..3 {
            let base = net.client.base(index)?;
            check_eq!(base, start, "base of virtqueue {index} after a reset");
        }
        net = net.restart()?;
    }
    done(device, net)
}

/// A disabled virtqueue stands where it was; the others do not care.
fn stopped(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    net.loop_frames(FEW)?;
    let place = format.advance(format.start(), FEW.count as u16, net.plan.size);
    for index in [TX, RX] {
        net.client.enable(index, false)?;
        let base = net.client.base(index)?;
        check_eq!(base, format.base(place), "base of virtqueue {index}");
    }
    // It cannot be set to go on elsewhere: vhost-vdpa allows that to suspended devices only.
    for index in [TX, RX] {
        let got = ioctl::set_vring_base(&net.client, index as u32, format.base(place));
        check_eq!(got, Err(Errno::EINVAL), "base of a disabled virtqueue");
        net.client.enable(index, true)?;
    }
    net.loop_frames(FEW)?;
    done(device, net)
}

/// It may be asked for while the device runs: it is never ahead of what is available, nor
/// behind what was used before.
fn live(context: &mut Context, format: Format) -> Outcome {
    let (device, mut net) = running(context, format)?;
    let idle = net.client.base(TX)?;
    sleep(QUIET);
    check_eq!(net.client.base(TX)?, idle, "base of an idle virtqueue");
    for round in 0..20_u16 {
        net.loop_frames(FEW)?;
        let frames = (u32::from(round) + 1) * FEW.count as u32;
        let place = super::base_after(&net, frames as usize);
        for index in [RX, TX] {
            let base = net.client.base(index)?;
            check_eq!(base, place, "base of virtqueue {index}");
        }
    }
    done(device, net)
}
