// SPDX-License-Identifier: GPL-2.0

//! Random requests to a device.

use super::{
    numbers::Numbers,
    rings::{Rings, QUEUES},
    MEMORY,
};
use crate::{
    arena::View,
    ioctl::{self, Permission},
    outcome::{Outcome, While},
    vhost::IOVA,
};
use rvdpa_virtio::features::Features;
use std::{
    fs::{File, OpenOptions},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// Number, direction as in `_IOC()` and size of each request of `linux/vhost.h` that a vDPA
/// device knows, and of some that it does not.
const REQUESTS: &[(u64, u64, u64)] = &[
    (0x00, READ, 8),         // GET_FEATURES
    (0x00, WRITE, 8),        // SET_FEATURES
    (0x01, NONE, 0),         // SET_OWNER
    (0x02, NONE, 0),         // RESET_OWNER
    (0x04, WRITE, 8),        // SET_LOG_BASE
    (0x10, WRITE, 8),        // SET_VRING_NUM
    (0x11, WRITE, 40),       // SET_VRING_ADDR
    (0x12, WRITE, 8),        // SET_VRING_BASE
    (0x12, READ | WRITE, 8), // GET_VRING_BASE
    (0x20, WRITE, 8),        // SET_VRING_KICK
    (0x21, WRITE, 8),        // SET_VRING_CALL
    (0x22, WRITE, 8),        // SET_VRING_ERR
    (0x25, WRITE, 8),        // SET_BACKEND_FEATURES
    (0x26, READ, 8),         // GET_BACKEND_FEATURES
    (0x70, READ, 4),         // GET_DEVICE_ID
    (0x71, READ, 1),         // GET_STATUS
    (0x72, WRITE, 1),        // SET_STATUS
    (0x73, READ, 8),         // GET_CONFIG
    (0x74, WRITE, 8),        // SET_CONFIG
    (0x75, WRITE, 8),        // SET_VRING_ENABLE
    (0x76, READ, 2),         // GET_VRING_NUM
    (0x77, WRITE, 4),        // SET_CONFIG_CALL
    (0x78, READ, 16),        // GET_IOVA_RANGE
    (0x79, READ, 4),         // GET_CONFIG_SIZE
    (0x7a, READ, 4),         // GET_AS_NUM
    (0x7b, READ | WRITE, 8), // GET_VRING_GROUP
    (0x7c, WRITE, 8),        // SET_GROUP_ASID
    (0x7d, NONE, 0),         // SUSPEND
    (0x7e, NONE, 0),         // RESUME
    (0x7f, READ | WRITE, 8), // GET_VRING_DESC_GROUP
    (0x80, READ, 4),         // GET_VQS_COUNT
    (0x81, READ, 4),         // GET_GROUP_NUM
    (0x82, READ | WRITE, 8), // GET_VRING_SIZE
    (0x83, READ, 8),         // what there is not
];
const NONE: u64 = 0;
const WRITE: u64 = 1;
const READ: u64 = 2;

/// A structure of a request, with room for any.
#[repr(C, align(8))]
struct Argument([u8; 512]);

/// A client of a device.
pub struct Client {
    file: File,
    memory: View,
    /// Events for kicks and interrupts.
    events: Vec<File>,
    /// Pages that were mapped, until the client goes.
    bells: Vec<Bell>,
    pub requests: u64,
    pub granted: u64,
}

/// A mapped page.
struct Bell(*mut libc::c_void);

impl Drop for Bell {
    fn drop(&mut self) {
        // SAFETY: `Client::ring_bell` has mapped it, and nobody else has it.
        unsafe { libc::munmap(self.0, 4096) };
    }
}

impl Client {
    pub fn open(path: &str, memory: &View) -> Outcome<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .when(path)?;
        let events = (0..QUEUES)
            .map(|_| {
                // SAFETY: There is no pointer.
                let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
                nix::errno::Errno::result(event).when("eventfd")?;
                // SAFETY: The descriptor is new.
                Ok(unsafe { OwnedFd::from_raw_fd(event) }.into())
            })
            .collect::<Outcome<_>>()?;
        Ok(Self {
            file,
            memory: memory.clone(),
            events,
            bells: Vec::new(),
            requests: 0,
            granted: 0,
        })
    }

    /// Makes a request. Whether it is granted is the device's affair.
    fn ask(&mut self, (number, direction, size): (u64, u64, u64), argument: &mut Argument) {
        let request = (direction << 30) | (size << 16) | (0xaf << 8) | number;
        // SAFETY: The argument is larger than what any request reads or writes; `GET_CONFIG`
        // and `SET_CONFIG` have a length in it, which `request` limits.
        let result =
            unsafe { libc::ioctl(self.file.as_raw_fd(), request, argument.0.as_mut_ptr()) };
        self.requests += 1;
        self.granted += u64::from(result >= 0);
    }

    fn ask_with<const N: usize>(&mut self, what: (u64, u64), words: [u32; N]) {
        let mut argument = Argument([0; 512]);
        for (to, word) in argument.0.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        let (number, direction) = what;
        self.ask((number, direction, 4 * N as u64), &mut argument);
    }

    fn status(&mut self, status: u8) {
        let mut argument = Argument([0; 512]);
        argument.0[0] = status;
        self.ask((0x72, WRITE, 1), &mut argument);
    }

    /// Resets the device.
    pub fn reset(&mut self) {
        self.status(0);
    }

    /// Does what a driver does until the device works, but for a step now and then.
    pub fn set_up(&mut self, numbers: &mut Numbers, rings: &mut Rings) {
        let skipped = numbers.below(24);
        self.ask_with((0x01, NONE), []);
        let backend = ioctl::backend::ALWAYS | ioctl::backend::DESC_ASID;
        self.ask_with((0x25, WRITE), [backend as u32, (backend >> 32) as u32]);
        self.status(0);
        self.status(3);
        let mut argument = Argument([0; 512]);
        self.ask((0x00, READ, 8), &mut argument);
        let offered = u64::from_ne_bytes(argument.0[..8].try_into().unwrap_or_default());
        let mut features = Features(offered);
        for feature in [
            Features::RING_PACKED,
            Features::IN_ORDER,
            Features::EVENT_IDX,
            Features::INDIRECT_DESC,
            Features::NET_MRG_RXBUF,
            Features::NET_HASH_REPORT,
        ] {
            if numbers.chance(2) {
                features = features.without(feature);
            }
        }
        rings.reset(features);
        let bits = features.0;
        self.ask_with((0x00, WRITE), [bits as u32, (bits >> 32) as u32]);
        if skipped != 0 {
            self.status(11);
        }
        for asid in 0..2 {
            self.map_all(asid);
        }
        for queue in 0..QUEUES {
            if skipped == u64::from(queue) + 1 {
                continue;
            }
            self.ask_with((0x10, WRITE), [queue, rings.size()]);
            self.address(queue, rings);
            self.descriptor(0x20, queue, numbers);
            self.descriptor(0x21, queue, numbers);
            self.ask_with((0x75, WRITE), [queue, 1]);
        }
        if skipped != 23 {
            self.status(15);
        }
    }

    fn map_all(&mut self, asid: u32) {
        let pointer = self.memory.pointer(IOVA, MEMORY);
        let result = ioctl::map(
            &self.file,
            asid,
            IOVA,
            MEMORY as u64,
            pointer,
            Permission::Both,
        );
        self.requests += 1;
        self.granted += u64::from(result.is_ok());
    }

    fn address(&mut self, queue: u32, rings: &Rings) {
        let mut argument = Argument([0; 512]);
        argument.0[..4].copy_from_slice(&queue.to_ne_bytes());
        let layout = rings.layout(queue);
        for (at, iova) in [layout.descriptor, layout.device, layout.driver, 0]
            .iter()
            .enumerate()
        {
            argument.0[8 + 8 * at..][..8].copy_from_slice(&iova.to_ne_bytes());
        }
        self.ask((0x11, WRITE, 40), &mut argument);
    }

    /// Sets a descriptor of a queue: one for it, that of another, none, or one that is none.
    fn descriptor(&mut self, number: u64, queue: u32, numbers: &mut Numbers) {
        let event = self.events[numbers.one_of(&[queue, queue, 0]) as usize].as_raw_fd();
        let file = match numbers.below(8) {
            0 => -1,
            1 => self.file.as_raw_fd(),
            _ => event,
        };
        self.ask_with((number, WRITE), [queue, file as u32]);
    }

    /// One request of any kind.
    pub fn request(&mut self, numbers: &mut Numbers, rings: &mut Rings) {
        let what = numbers.one_of(REQUESTS);
        let (number, direction, size) = what;
        let queue = match numbers.below(8) {
            0 => numbers.any() as u32,
            _ => numbers.below(QUEUES.into()) as u32,
        };
        let mut argument = Argument([0; 512]);
        if numbers.chance(8) {
            numbers.fill(&mut argument.0);
        }
        match (number, direction) {
            (0x11, _) if !numbers.chance(4) => return self.address(queue % QUEUES, rings),
            (0x20..=0x22, _) => return self.descriptor(number, queue % QUEUES, numbers),
            (0x72, _) => argument.0[0] = numbers.one_of(&[0, 1, 3, 11, 15, 15, 79, 143, 255]),
            (0x73 | 0x74, _) => {
                let offset = numbers.one_of(&[0, 6, 24, 200, u64::from(u32::MAX)]) as u32;
                // No more than there is room for.
                let len = numbers.below(64) as u32;
                argument.0[..4].copy_from_slice(&offset.to_ne_bytes());
                argument.0[4..8].copy_from_slice(&len.to_ne_bytes());
            }
            (0x77, _) => {
                let event = self.events[0].as_raw_fd();
                let file = numbers.one_of(&[event, -1, self.file.as_raw_fd()]);
                argument.0[..4].copy_from_slice(&file.to_ne_bytes());
            }
            (0x00 | 0x25, WRITE) => {
                let bits = numbers.any() & numbers.any();
                argument.0[..8].copy_from_slice(&bits.to_ne_bytes());
            }
            (_, WRITE) | (_, 3) => {
                let value = match numbers.below(4) {
                    0 => numbers.any() as u32,
                    1 => 0,
                    2 => rings.size(),
                    _ => numbers.below(4) as u32,
                };
                argument.0[..4].copy_from_slice(&queue.to_ne_bytes());
                argument.0[4..8].copy_from_slice(&value.to_ne_bytes());
            }
            _ => {}
        }
        self.ask((number, direction, size), &mut argument);
    }

    /// A change of the mappings.
    pub fn map(&mut self, numbers: &mut Numbers) {
        let asid = numbers.one_of(&[0, 0, 0, 1, 2, u32::MAX]);
        let page = numbers.below(256) * 4096;
        let pages = 1 + numbers.below(64);
        let size = (pages * 4096).min(MEMORY as u64 - page);
        let iova = match numbers.below(8) {
            0 => numbers.any(),
            1 => u64::MAX - 4095,
            _ => IOVA + page,
        };
        let pointer = self.memory.pointer(IOVA + page, size as usize);
        let result = match numbers.below(8) {
            0 => ioctl::batch_begin(&self.file, asid),
            1 => ioctl::batch_end(&self.file, asid),
            2 | 3 => {
                let all = [size, MEMORY as u64, 0, u64::MAX];
                ioctl::unmap(&self.file, asid, iova, numbers.one_of(&all))
            }
            4 => {
                // Nothing is there.
                let nowhere = numbers.any() as *const u8;
                ioctl::map(&self.file, asid, iova, size, nowhere, Permission::Both)
            }
            5 => {
                self.map_all(asid & 1);
                return;
            }
            _ => {
                let all = [
                    Permission::None,
                    Permission::Read,
                    Permission::Write,
                    Permission::Both,
                    Permission::Both,
                ];
                ioctl::map(&self.file, asid, iova, size, pointer, numbers.one_of(&all))
            }
        };
        self.requests += 1;
        self.granted += u64::from(result.is_ok());
    }

    /// Kicks a queue by its event.
    pub fn kick(&mut self, numbers: &mut Numbers) {
        let event = &self.events[numbers.below(QUEUES.into()) as usize];
        let one = 1_u64.to_ne_bytes();
        // SAFETY: There are eight bytes.
        unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Maps the page of a queue, if there are such pages, or writes to one.
    pub fn ring_bell(&mut self, numbers: &mut Numbers) {
        if let (Some(bell), false) = (self.bells.last(), numbers.chance(4)) {
            let bell = bell.0.cast::<u16>();
            let queue = numbers.below(u64::from(QUEUES) + 1) as u16;
            // SAFETY: The page is mapped for writing, for as long as `bell` is there.
            unsafe { bell.write_volatile(queue) };
            return;
        }
        let offset = 4096 * numbers.below(u64::from(QUEUES) + 1) as i64;
        // SAFETY: The kernel chooses the address.
        let page = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                4096,
                libc::PROT_WRITE,
                libc::MAP_SHARED,
                self.file.as_raw_fd(),
                offset,
            )
        };
        self.requests += 1;
        if page != libc::MAP_FAILED {
            self.granted += 1;
            self.bells.push(Bell(page));
        }
    }
}
