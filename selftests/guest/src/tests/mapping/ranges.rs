// SPDX-License-Identifier: GPL-2.0

//! Ranges that cannot be, and those that can though they look odd.

use super::{each_map, send_from};
use crate::{
    arena::View,
    check, check_eq, frame,
    harness::{Context, Test},
    ioctl::{self, Permission},
    outcome::{Outcome, While},
    tests::{
        hostile::{expect_fault, Faulty},
        rings::{kind, plan, ring_device, FEW},
    },
    vhost::{Client, Format, Net, TX},
};
use nix::errno::Errno;
use rvdpa_virtio::mock::{Buffer, DriverMemory, Form};

pub const TESTS: &[Test] = each_map! {
    "overlapping_ranges", overlapping;
    "empty_and_endless_ranges", odd_sizes;
    "memory_that_is_not_there", not_there;
    "ranges_that_are_not_of_pages", unaligned;
    "unmapping_what_is_not_mapped", nothing_there;
};

const START: u64 = 0x55_0000_0000;

/// Tries to map some bytes of an arena anywhere.
fn try_map(client: &Client, view: &View, iova: u64, len: u64) -> Result<(), Errno> {
    let pointer = view.pointer(view.iova(), 1);
    ioctl::map(client, 0, iova, len, pointer, Permission::Both)
}

fn overlapping(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let view = View::new(kind(context), START, 0x4000)?;
    let other = View::new(kind(context), START, 0x10000)?;
    net.client.map_all(0, &view)?;
    for (offset, len) in [
        (0, 0x4000),
        (0, 0x1000),
        (0x1000, 0x1000),
        (0x3000, 0x1000),
        (0x3000, 0x4000),
        (-0x1000, 0x2000),
        (-0x1000, 0x8000),
    ] {
        let got = try_map(&net.client, &other, START.wrapping_add_signed(offset), len);
        check_eq!(
            got,
            Err(Errno::EFAULT),
            "{len:#x} bytes, {offset:#x} behind the start of a mapping"
        );
        // The first one is as it was.
        send_from(&mut net, &view, START, len)?;
    }
    // Side by side is no overlap, nor is the same in another address space.
    for (asid, offset) in [(0, -0x10000), (0, 0x4000), (1, 0)] {
        ioctl::map(
            &net.client,
            asid,
            START.wrapping_add_signed(offset),
            0x10000,
            other.pointer(START, 0x10000),
            Permission::Both,
        )
        .when(format_args!("{offset:#x} in address space {asid}"))?;
    }
    send_from(&mut net, &view, START + 0x3000, 99)?;
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

fn odd_sizes(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let view = View::new(kind(context), START, 0x4000)?;
    for (iova, len, errno) in [
        (START, 0, Errno::EINVAL),
        (0, 0, Errno::EINVAL),
        (u64::MAX, 2, Errno::EFAULT),
        (u64::MAX - 0xfff, 0x1001, Errno::EFAULT),
        (u64::MAX - 0xfff, 0x4000, Errno::EFAULT),
        (START, u64::MAX, Errno::EFAULT),
        (1, u64::MAX, Errno::EFAULT),
        (START, u64::MAX - START + 2, Errno::EFAULT),
    ] {
        let got = try_map(&net.client, &view, iova, len);
        check_eq!(got, Err(errno), "{len:#x} bytes at {iova:#x}");
        net.loop_frames(FEW)?;
    }
    drop(net);
    device.delete()
}

/// Memory that this process does not have.
fn not_there(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    for address in [0x1000_u64, 0xffff_8880_0000_1000] {
        let pointer = address as *const u8;
        let got = ioctl::map(&net.client, 0, START, 0x4000, pointer, Permission::Both);
        // With `use_va=1` vhost-vdpa looks for the next memory that there is, and leaves out
        // what is private.
        if address > 0x1000 || !context.has("use_va=1") {
            check_eq!(got, Err(Errno::EFAULT), "memory at {address:#x}");
        }
        net.loop_frames(FEW)?;
    }
    drop(net);
    device.delete()
}

/// The bytes named are mapped; with `use_va=1` not one more.
fn unaligned(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let view = View::new(kind(context), START, 0x8000)?;
    for (at, len) in [(0x123_u64, 200_usize), (0xf80, 0x100), (0x2001, 0x3001)] {
        let iova = START + at;
        net.client
            .map(0, &view, iova, len, Permission::Both)
            .when(format_args!("{len} bytes at {at:#x}"))?;
        send_from(&mut net, &view, iova, at)?;
        let end = iova + len as u64;
        send_from(&mut net, &view, end - 112, at + 1)?;
        net.client.unmap(0, iova, len)?;
    }
    let (iova, len) = (START + 0x123, 200);
    net.client.map(0, &view, iova, len, Permission::Both)?;
    if context.has("use_va=1") {
        for start in [iova - 1, iova + len as u64 - 99] {
            net.fill_rx()?;
            view.write(start, &frame::make(100, net.mac, net.mac, 1));
            net.tx
                .driver
                .add(&[Buffer::readable(start, 100)], Form::Direct)
                .expect("there is room");
            net.send()?;
            expect_fault(context, &net, "map", &Faulty::at(TX, "not mapped"))
                .when(format_args!("100 bytes at {start:#x}"))?;
            net = net.restart()?;
        }
    }
    net.loop_frames(FEW)?;
    drop(net);
    device.delete()
}

/// Nothing happens, whatever else is mapped.
fn nothing_there(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("map", Format::Split)?;
    let mut net = Net::new(&path, plan(context))?;
    let view = View::new(kind(context), START, 0x1000)?;
    net.client.map_all(0, &view)?;
    for (iova, len) in [
        (START + 0x1000, 0x1000),
        (START - 0x1000, 0x1000),
        (0, 0x1000),
        (u64::MAX - 0xfff, 0x1000),
    ] {
        net.client.unmap(0, iova, len)?;
        send_from(&mut net, &view, START, iova)?;
    }
    // An address space that nothing was ever mapped in, and one that there is not.
    for asid in [1, 2, 63, u32::MAX] {
        let got = ioctl::unmap(&net.client, asid, START, 0x1000);
        check_eq!(got, Err(Errno::EFAULT), "address space {asid}");
    }
    for asid in [2, 63, u32::MAX] {
        let pointer = view.pointer(START, 0x1000);
        let got = ioctl::map(&net.client, asid, START, 0x1000, pointer, Permission::Both);
        check_eq!(got, Err(Errno::EFAULT), "address space {asid}");
    }
    send_from(&mut net, &view, START, 7)?;
    check!(net.client.unmap(0, START, view.len()).is_ok(), "unmap");
    drop(net);
    device.delete()
}
