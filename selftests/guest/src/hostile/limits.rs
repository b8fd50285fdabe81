// SPDX-License-Identifier: GPL-2.0

//! Too much of everything; and indices of what there is not.

use super::{
    case::{Case, Expect::*},
    scene::Scene,
};
use crate::{
    arena::View,
    check,
    ioctl::{self, Permission},
    outcome::{Outcome, While},
    sys::{wait_for, SOON},
    vhost::{refused, Client, TX},
};
use nix::errno::Errno;
use std::time::Duration;
use vhost::{vdpa::VhostVdpa, VhostBackend, VringConfigData};

/// Where memory is mapped again and again.
const THERE: u64 = 0x77_0000_0000;

pub const CASES: &[Case] = &[
    Case::run(23, "thousands of mappings", GoesOn, |s| {
        let view = View::new(s.room.kind(), THERE, 0x1000)?;
        let pointer = view.pointer(THERE, 0x1000);
        let mut count = 0;
        // With holes, so that no two become one. Refused when there are too many.
        while count < 5000 {
            let at = THERE + count * 0x2000;
            match ioctl::map(&s.net.client, 0, at, 0x1000, pointer, Permission::Read) {
                Ok(()) => count += 1,
                Err(Errno::ENOSPC | Errno::ENOMEM | Errno::EFAULT | Errno::EINVAL) => break,
                Err(errno) => return Err(errno).when(format_args!("mapping {count}")),
            }
        }
        check!(count > 100, "{count} mappings");
        s.frames_pass(1).when("with many mappings")?;
        for number in 0..count {
            s.net.client.unmap(0, THERE + number * 0x2000, 0x1000)?;
        }
        Ok(())
    }),
    Case::run(23, "the same mapping again and again", GoesOn, |s| {
        let view = View::new(s.room.kind(), THERE, 0x10000)?;
        let pointer = view.pointer(THERE, 0x10000);
        for _ in 0..300 {
            ioctl::map(&s.net.client, 0, THERE, 0x10000, pointer, Permission::Both)
                .when("mapping")?;
            // It is there already.
            let again = ioctl::map(&s.net.client, 0, THERE, 0x10000, pointer, Permission::Both);
            check!(again.is_err(), "it was mapped twice");
            s.net.client.unmap(0, THERE, 0x10000)?;
        }
        Ok(())
    }),
    Case::run(23, "mappings of nothing, and of everything", GoesOn, |s| {
        let view = View::new(s.room.kind(), THERE, 0x1000)?;
        let pointer = view.pointer(THERE, 0x1000);
        for (at, len) in [
            (THERE, 0),
            (0, u64::MAX),
            (u64::MAX - 0xfff, 0x2000),
            (THERE, 1 << 62),
        ] {
            let client = &s.net.client;
            let mapped = ioctl::map(client, 0, at, len, pointer, Permission::Both);
            check!(mapped.is_err(), "{len:#x} bytes at {at:#x} were mapped");
        }
        Ok(())
    }),
    Case::run(23, "removals of what is not mapped", GoesOn, |s| {
        for (at, len) in [
            (THERE, 0x1000),
            (THERE, 0),
            (THERE, 1),
            (u64::MAX, 1),
            (u64::MAX, u64::MAX),
        ] {
            // The whole address space would be all of the driver's.
            let _ = ioctl::unmap(&s.net.client, 0, at, len);
        }
        Ok(())
    }),
    Case::run(23, "batches that do not end", GoesOn, |s| {
        for _ in 0..100 {
            let _ = ioctl::batch_begin(&s.net.client, 0);
        }
        s.frames_pass(1).when("within a batch")?;
        for _ in 0..200 {
            let _ = ioctl::batch_end(&s.net.client, 0);
        }
        Ok(())
    }),
    Case::before(23, "sizes of rings that cannot be", GoesOn, |s| {
        let kernel = s.net.client.kernel();
        for size in [0, 32769, 65535] {
            let set = kernel.set_vring_num(TX, size);
            check!(set.is_err(), "size {size} was taken");
        }
        kernel.set_vring_num(TX, 64).when("SET_VRING_NUM")?;
        s.net.go()
    }),
    Case::before(
        23,
        "a split ring whose size is no power of two",
        GoesOn,
        |s| {
            let kernel = s.net.client.kernel();
            for size in [3, 63, 65, 1000] {
                let set = kernel.set_vring_num(TX, size);
                check!(set.is_err(), "size {size} was taken");
            }
            kernel.set_vring_num(TX, 64).when("SET_VRING_NUM")?;
            s.net.go()
        },
    )
    .split(),
    Case::others(23, "a device that is opened twice", |room| {
        let first = Client::open_only(&room.path).when(&room.path)?;
        let second = refused(Client::open_only(&room.path));
        check!(second == Some(Errno::EBUSY), "opened twice: {second:?}");
        drop(first);
        Ok(())
    }),
    Case::others(23, "many devices", |room| {
        let mut devices = Vec::new();
        for number in 0..40 {
            devices.push(room.parent.device(&format!("many{number}")).add()?);
        }
        devices
            .into_iter()
            .try_for_each(crate::device::Device::delete)
    }),
    Case::run(23, "more frames than there is time for", GoesOn, |s| {
        // Until the ring is full again, for a while: others must get on.
        let end = std::time::Instant::now() + Duration::from_millis(300);
        let mut number = 0;
        while std::time::Instant::now() < end {
            s.net.fill_rx()?;
            let sent = s.frame(number);
            while s.net.add_frame_to(0, super::scene::PLAIN, &sent) {
                number += 1;
            }
            s.net.tx.driver.publish();
            s.kick()?;
            s.net.reap()?;
            while s.net.receive_from(0)?.is_some() {}
        }
        wait_for("the frames are used", SOON, || {
            s.net.reap()?;
            while s.net.receive_from(0)?.is_some() {}
            Ok((s.net.tx.posted() == 0).then_some(()))
        })
    }),
];

pub const INDICES: &[Case] = &[
    index("the size of a queue that there is not", |s, index| {
        s.net.client.kernel().set_vring_num(index, 64).is_ok()
    }),
    index("the rings of a queue that there is not", |s, index| {
        let layout = s.net.tx.layout;
        let config = VringConfigData {
            queue_max_size: 64,
            queue_size: 64,
            flags: 0,
            desc_table_addr: layout.descriptor,
            used_ring_addr: layout.device,
            avail_ring_addr: layout.driver,
            log_addr: None,
        };
        s.net.client.kernel().set_vring_addr(index, &config).is_ok()
    }),
    index("the place of a queue that there is not", |s, index| {
        let client = &s.net.client;
        ioctl::set_vring_base(client, index as u32, 0).is_ok()
            || ioctl::vring_base(client, index as u32).is_ok()
    }),
    index("a queue that there is not, enabled", |s, index| {
        ioctl::enable_vring(&s.net.client, index as u32, true).is_ok()
    }),
    index("the interrupt of a queue that there is not", |s, index| {
        ioctl::set_vring_call(&s.net.client, index as u32, -1).is_ok()
    }),
    index("the group of a queue that there is not", |s, index| {
        s.net.client.kernel().get_vring_group(index as u32).is_ok()
    }),
    index("the real size of a queue that there is not", |s, index| {
        ioctl::vring_size(&s.net.client, index as u32).is_ok()
    }),
    index(
        "an address space that there is not, for a group",
        |s, index| ioctl::set_group_asid(&s.net.client, 0, index as u32).is_ok(),
    ),
    index("a group that there is not", |s, index| {
        ioctl::set_group_asid(&s.net.client, index as u32, 0).is_ok()
    }),
    index(
        "a mapping of an address space that there is not",
        |s, index| {
            let pointer = s.net.memory.pointer(s.net.memory.iova(), 0x1000);
            let client = &s.net.client;
            let asid = index as u32;
            ioctl::map(client, asid, THERE, 0x1000, pointer, Permission::Both).is_ok()
                || ioctl::unmap(client, asid, THERE, 0x1000).is_ok()
        },
    ),
    index("the statistics of a queue that there is not", |s, index| {
        s.room.device.statistics(index as u32).is_ok()
    }),
    Case::run(24, "the page of a queue that there is not", GoesOn, |s| {
        use std::os::fd::AsRawFd;
        for page in [0_i64, 5, 100, 65535, 1 << 40] {
            // SAFETY: The kernel chooses the address, and it is unmapped at once.
            unsafe {
                let at = libc::mmap(
                    std::ptr::null_mut(),
                    4096,
                    libc::PROT_WRITE,
                    libc::MAP_SHARED,
                    s.net.client.as_raw_fd(),
                    page * 4096,
                );
                check!(at == libc::MAP_FAILED, "page {page} was mapped");
            }
        }
        Ok(())
    }),
];

/// Something with an index that must be refused, whatever it is beyond.
const fn index(name: &'static str, taken: fn(&Scene<'_>, usize) -> bool) -> Case {
    Case::new(24, name, GoesOn, super::case::Act::Index(taken))
}

/// Tries indices beyond all that there are: there are two queue pairs and a control queue at
/// most, three groups and two address spaces.
pub fn beyond(s: &Scene<'_>, taken: fn(&Scene<'_>, usize) -> bool) -> Outcome {
    for index in [5, 6, 64, 255, 256, 65535, 65536, 0x7fff_ffff, 0xffff_ffff] {
        check!(!taken(s, index), "index {index} was taken");
    }
    Ok(())
}
