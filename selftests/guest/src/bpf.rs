// SPDX-License-Identifier: GPL-2.0

//! XDP programs, written as the few instructions that they are.

use crate::{
    frame,
    outcome::{Outcome, Stop, While},
};
use nix::{errno::Errno, net::if_::if_nametoindex};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What a program says is to become of a frame.
pub mod action {
    pub const DROP: i32 = 1;
    pub const PASS: i32 = 2;
    pub const TX: i32 = 3;
}

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const BPF_MAP_TYPE_DEVMAP: u32 = 14;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_FUNC_REDIRECT_MAP: i32 = 51;

/// An instruction.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high ones.
    registers: u8,
    offset: i16,
    number: i32,
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> Instruction {
    Instruction {
        code,
        registers: to | (from << 4),
        offset,
        number,
    }
}

/// `to = number`
const fn set(to: u8, number: i32) -> Instruction {
    instruction(0xb7, to, 0, 0, number)
}

/// `to = from`
const fn copy(to: u8, from: u8) -> Instruction {
    instruction(0xbf, to, from, 0, 0)
}

/// `to = *(u32 *)(from + offset)`
const fn load32(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x61, to, from, offset, 0)
}

/// `to = *(u16 *)(from + offset)`
const fn load16(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x69, to, from, offset, 0)
}

/// `*(u32 *)(to + offset) = from`
const fn store32(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x63, to, from, offset, 0)
}

/// `*(u16 *)(to + offset) = from`
const fn store16(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x6b, to, from, offset, 0)
}

const CALL_REDIRECT_MAP: Instruction = instruction(0x85, 0, 0, 0, BPF_FUNC_REDIRECT_MAP);
const EXIT: Instruction = instruction(0x95, 0, 0, 0, 0);

/// A program that the kernel has accepted.
pub struct Program(OwnedFd);

impl Program {
    /// Does something with the frames of our type, and passes all others. `then` finds the
    /// context in register 6 and the frame, of which it may use the header, in register 2.
    fn of_our_frames(then: &[Instruction], frags: bool) -> Outcome<Self> {
        let after = then.len() as i16;
        let mut code = vec![
            copy(6, 1),
            load32(2, 1, 0),
            load32(3, 1, 4),
            copy(4, 2),
            instruction(0x07, 4, 0, 0, frame::HEADER as i32),
            // To the end, if the frame is shorter or of another type.
            instruction(0x2d, 4, 3, after + 2, 0),
            load16(5, 2, 12),
            instruction(0x55, 5, 0, after, i32::from(frame::ETHERTYPE.to_be())),
        ];
        code.extend(then);
        code.extend([set(0, action::PASS), EXIT]);
        Self::load(&code, frags)
    }

    /// Passes everything.
    pub fn pass() -> Outcome<Self> {
        Self::load(&[set(0, action::PASS), EXIT], false)
    }

    /// Drops frames of our type.
    pub fn drop_ours() -> Outcome<Self> {
        Self::of_our_frames(&[set(0, action::DROP), EXIT], false)
    }

    /// Sends frames of our type back to where they came from, even those in several
    /// buffers if `frags`.
    pub fn reflect_ours(frags: bool) -> Outcome<Self> {
        let swap = [
            load32(5, 2, 0),
            load16(7, 2, 4),
            load32(8, 2, 6),
            load16(9, 2, 10),
            store32(2, 8, 0),
            store16(2, 9, 4),
            store32(2, 5, 6),
            store16(2, 7, 10),
            set(0, action::TX),
            EXIT,
        ];
        Self::of_our_frames(&swap, frags)
    }

    /// Redirects frames of our type to the first entry of a map of devices, or to the entry
    /// of the receive queue in a map of sockets.
    pub fn redirect_ours(map: &Map) -> Outcome<Self> {
        let fd = map.0.as_raw_fd();
        let key = if map.1 == BPF_MAP_TYPE_XSKMAP {
            load32(2, 6, 16)
        } else {
            set(2, 0)
        };
        let redirect = [
            key,
            // A constant of 64 bits, which is the map.
            instruction(0x18, 1, 1, 0, fd),
            instruction(0, 0, 0, 0, 0),
            set(3, action::DROP),
            CALL_REDIRECT_MAP,
            EXIT,
        ];
        Self::of_our_frames(&redirect, false)
    }

    fn load(code: &[Instruction], frags: bool) -> Outcome<Self> {
        let mut log = vec![0_u8; 1 << 16];
        let license = c"GPL";
        let mut attribute = Attribute::default()
            .u32(BPF_PROG_TYPE_XDP)
            .u32(code.len() as u32)
            .u64(code.as_ptr() as u64)
            .u64(license.as_ptr() as u64)
            .u32(1)
            .u32(log.len() as u32)
            .u64(log.as_mut_ptr() as u64)
            .u32(0)
            .u32(if frags { BPF_F_XDP_HAS_FRAGS } else { 0 })
            .bytes(b"rvdpa_selftest\0\0")
            .u32(0)
            .u32(BPF_XDP);
        match attribute.call(BPF_PROG_LOAD) {
            Ok(fd) => Ok(Self(fd)),
            Err(errno) => {
                let end = log.iter().position(|byte| *byte == 0).unwrap_or(0);
                let log = String::from_utf8_lossy(&log[..end]);
                Err(Stop::Failed(format!("loading a program: {errno}: {log}")))
            }
        }
    }

    /// Attaches the program to an interface, in native mode or not at all. It is detached
    /// when the value goes. To be called in the interface's namespace.
    pub fn attach(&self, interface: &str) -> Outcome<Link> {
        let index = if_nametoindex(interface).when(interface)?;
        let mut attribute = Attribute::default()
            .u32(self.0.as_raw_fd() as u32)
            .u32(index)
            .u32(BPF_XDP)
            .u32(XDP_FLAGS_DRV_MODE);
        let link = attribute
            .call(BPF_LINK_CREATE)
            .when(format_args!("native XDP on {interface}"))?;
        Ok(Link { _fd: link })
    }
}

/// A program on an interface.
pub struct Link {
    _fd: OwnedFd,
}

/// A map, and its type.
pub struct Map(OwnedFd, u32);

impl Map {
    /// A map of interfaces to redirect to, with one entry. To be called in the namespace of
    /// the interface.
    pub fn of_interface(interface: &str) -> Outcome<Self> {
        let index = if_nametoindex(interface).when(interface)?;
        let map = Self::create(BPF_MAP_TYPE_DEVMAP)?;
        map.update(0, index).when("an entry of a device map")?;
        Ok(map)
    }

    /// A map of sockets to redirect to, which has one for receive queue 0.
    pub fn of_socket(socket: &impl AsRawFd) -> Outcome<Self> {
        let map = Self::create(BPF_MAP_TYPE_XSKMAP)?;
        map.update(0, socket.as_raw_fd() as u32)
            .when("an entry of a socket map")?;
        Ok(map)
    }

    fn create(kind: u32) -> Outcome<Self> {
        let mut attribute = Attribute::default().u32(kind).u32(4).u32(4).u32(1).u32(0);
        let fd = attribute.call(BPF_MAP_CREATE).when("making a map")?;
        Ok(Self(fd, kind))
    }

    fn update(&self, key: u32, value: u32) -> nix::Result<()> {
        let mut attribute = Attribute::default()
            .u32(self.0.as_raw_fd() as u32)
            .u32(0)
            .u64(&raw const key as u64)
            .u64(&raw const value as u64)
            .u64(0);
        attribute.raw_call(BPF_MAP_UPDATE_ELEM).map(drop)
    }
}

/// The argument of the system call, field by field.
#[derive(Default)]
struct Attribute(Vec<u8>);

impl Attribute {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_ne_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_ne_bytes())
    }

    /// A command that returns a number.
    fn raw_call(&mut self, command: libc::c_int) -> nix::Result<libc::c_long> {
        self.0.resize(128, 0);
        // SAFETY: The argument is as long as said, and what it refers to lives until the
        // caller is done.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                self.0.as_mut_ptr(),
                self.0.len() as libc::c_uint,
            )
        };
        Errno::result(result)
    }

    /// A command that returns a file descriptor.
    fn call(&mut self, command: libc::c_int) -> nix::Result<OwnedFd> {
        let fd = self.raw_call(command)?;
        // SAFETY: The kernel has just made it for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }
}
