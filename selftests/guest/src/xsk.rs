// SPDX-License-Identifier: GPL-2.0

//! A socket of the family AF_XDP: frames past the stack.

use crate::{
    outcome::{Outcome, Stop, While},
    sys::{wait_for, SOON},
};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::mman::{mmap, mmap_anonymous, munmap, MapFlags, ProtFlags},
};
use std::{
    ffi::c_void,
    num::NonZeroUsize,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

/// Entries of each ring, and chunks for each direction.
const RING: u32 = 64;

/// Bytes of a chunk.
const CHUNK: usize = 4096;

/// Whether frames are copied between the driver's buffers and the socket's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Copy,
    ZeroCopy,
}

/// A socket that is bound to queue pair 0 of an interface. The first [`RING`] chunks of its
/// memory are for frames that come, the others for those that go.
pub struct Xsk {
    fd: OwnedFd,
    memory: Mapping,
    fill: Ring,
    completion: Ring,
    receive: Ring,
    transmit: Ring,
}

impl Xsk {
    /// Opens a socket in the namespace of the thread, without binding it.
    pub fn new() -> Outcome<Self> {
        // SAFETY: The call has no memory arguments.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        let fd = Errno::result(fd).when("a socket of AF_XDP")?;
        // SAFETY: It was just made.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let memory = Mapping::anonymous(2 * RING as usize * CHUNK)?;
        let region = libc::xdp_umem_reg {
            addr: memory.start.as_ptr() as u64,
            len: memory.len as u64,
            chunk_size: CHUNK as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set(&fd, libc::XDP_UMEM_REG, &region).when("XDP_UMEM_REG")?;
        for option in [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_RX_RING,
            libc::XDP_TX_RING,
        ] {
            set(&fd, option, &RING).when("the size of a ring")?;
        }
        let offsets = offsets(&fd)?;
        let ring = |at: u64, offsets: &libc::xdp_ring_offset, entry: usize| {
            Ring::new(&fd, at, offsets, entry)
        };
        let descriptor = size_of::<libc::xdp_desc>();
        let socket = Self {
            fill: ring(libc::XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, 8)?,
            completion: ring(libc::XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, 8)?,
            receive: ring(libc::XDP_PGOFF_RX_RING as u64, &offsets.rx, descriptor)?,
            transmit: ring(libc::XDP_PGOFF_TX_RING as u64, &offsets.tx, descriptor)?,
            memory,
            fd,
        };
        for chunk in 0..RING {
            socket.offer(u64::from(chunk) * CHUNK as u64);
        }
        Ok(socket)
    }

    /// Binds the socket to an interface.
    pub fn bind(&self, interface: &str, mode: Mode) -> Outcome<Result<(), Errno>> {
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: match mode {
                Mode::Copy => libc::XDP_COPY,
                Mode::ZeroCopy => libc::XDP_ZEROCOPY,
            },
            sxdp_ifindex: if_nametoindex(interface).when(interface)?,
            sxdp_queue_id: 0,
            sxdp_shared_umem_fd: 0,
        };
        // SAFETY: It is an address of this length.
        let result = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        Ok(Errno::result(result).map(drop))
    }

    /// Gives the kernel a chunk for a frame that comes.
    fn offer(&self, address: u64) {
        let at = self.fill.produced();
        // SAFETY: A fill ring has entries of this type.
        unsafe { self.fill.entry::<u64>(at).write_volatile(address) };
        self.fill.produce(at.wrapping_add(1));
    }

    /// Waits for the next frame.
    pub fn receive(&self) -> Outcome<Vec<u8>> {
        let at = self.receive.consumed();
        wait_for("a frame at the socket", SOON, || {
            Ok((self.receive.produced() != at).then_some(()))
        })?;
        // SAFETY: A receive ring has entries of this type, and the kernel has filled it.
        let got = unsafe { self.receive.entry::<libc::xdp_desc>(at).read_volatile() };
        let frame = self.memory.read(got.addr as usize, got.len as usize)?;
        self.receive.consume(at.wrapping_add(1));
        // The kernel wants the start of the chunk.
        self.offer(got.addr - got.addr % CHUNK as u64);
        Ok(frame)
    }

    /// Whether no frame is there.
    pub fn is_silent(&self) -> bool {
        self.receive.produced() == self.receive.consumed()
    }

    /// Sends a frame, and waits until it is sent.
    pub fn send(&self, frame: &[u8]) -> Outcome {
        let at = self.transmit.produced();
        let address = (RING + at % RING) as usize * CHUNK;
        self.memory.write(address, frame)?;
        let descriptor = libc::xdp_desc {
            addr: address as u64,
            len: frame.len() as u32,
            options: 0,
        };
        // SAFETY: A transmit ring has entries of this type.
        unsafe {
            self.transmit
                .entry::<libc::xdp_desc>(at)
                .write_volatile(descriptor);
        }
        self.transmit.produce(at.wrapping_add(1));
        let done = self.completion.consumed();
        wait_for("a frame is sent", SOON, || {
            // SAFETY: There is no message.
            unsafe {
                let fd = self.fd.as_raw_fd();
                libc::sendto(
                    fd,
                    std::ptr::null(),
                    0,
                    libc::MSG_DONTWAIT,
                    std::ptr::null(),
                    0,
                )
            };
            Ok((self.completion.produced() != done).then_some(()))
        })?;
        self.completion.consume(done.wrapping_add(1));
        Ok(())
    }
}

impl AsRawFd for Xsk {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Sets an option of the socket.
fn set<T>(fd: &OwnedFd, option: libc::c_int, value: &T) -> nix::Result<()> {
    // SAFETY: The value and its length are valid for the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            option,
            (value as *const T).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

/// Where things are in the rings.
fn offsets(fd: &OwnedFd) -> Outcome<libc::xdp_mmap_offsets> {
    // SAFETY: All zeroes are a value of this type.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&offsets) as libc::socklen_t;
    // SAFETY: The buffer and its length are valid for the call.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            (&raw mut offsets).cast(),
            &mut len,
        )
    };
    Errno::result(result).when("XDP_MMAP_OFFSETS")?;
    Ok(offsets)
}

/// Memory that is unmapped when the value goes.
struct Mapping {
    start: NonNull<c_void>,
    len: usize,
}

impl Mapping {
    fn anonymous(len: usize) -> Outcome<Self> {
        let size = NonZeroUsize::new(len).when("a size")?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: The kernel chooses where.
        let start = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_PRIVATE) }
            .when("memory")?;
        Ok(Self { start, len })
    }

    /// Where a range starts, if it is within.
    fn at(&self, from: usize, len: usize) -> Outcome<*mut u8> {
        match from.checked_add(len) {
            // SAFETY: It is within the mapping.
            Some(end) if end <= self.len => {
                Ok(unsafe { self.start.as_ptr().cast::<u8>().add(from) })
            }
            _ => Err(Stop::Failed(format!(
                "{len} bytes at {from:#x} of the memory"
            ))),
        }
    }

    fn read(&self, from: usize, len: usize) -> Outcome<Vec<u8>> {
        let start = self.at(from, len)?;
        // SAFETY: The range is within the mapping, and the kernel is done with it.
        Ok(unsafe { std::slice::from_raw_parts(start, len) }.to_vec())
    }

    fn write(&self, to: usize, bytes: &[u8]) -> Outcome {
        if bytes.len() > CHUNK {
            return Err(Stop::Failed(format!("{} bytes for a chunk", bytes.len())));
        }
        let start = self.at(to, bytes.len())?;
        // SAFETY: The range is within the mapping, and the kernel is done with it.
        unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: Nobody has a reference into it.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}

/// One of the four rings, as the kernel has laid it out.
struct Ring {
    mapping: Mapping,
    producer: usize,
    consumer: usize,
    entries: usize,
}

impl Ring {
    fn new(fd: &OwnedFd, at: u64, offsets: &libc::xdp_ring_offset, entry: usize) -> Outcome<Self> {
        let len = offsets.desc as usize + RING as usize * entry;
        let size = NonZeroUsize::new(len).when("a size")?;
        // SAFETY: The descriptor lives meanwhile.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) };
        // SAFETY: The kernel chooses where.
        let start = unsafe {
            mmap(
                None,
                size,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE,
                borrowed,
                at as libc::off_t,
            )
        };
        Ok(Self {
            mapping: Mapping {
                start: start.when("a ring")?,
                len,
            },
            producer: offsets.producer as usize,
            consumer: offsets.consumer as usize,
            entries: offsets.desc as usize,
        })
    }

    fn index(&self, at: usize) -> &AtomicU32 {
        // SAFETY: The kernel says that an aligned index is here.
        unsafe { &*self.mapping.start.as_ptr().cast::<u8>().add(at).cast() }
    }

    fn produced(&self) -> u32 {
        self.index(self.producer).load(Ordering::Acquire)
    }

    fn produce(&self, to: u32) {
        self.index(self.producer).store(to, Ordering::Release);
    }

    fn consumed(&self) -> u32 {
        self.index(self.consumer).load(Ordering::Acquire)
    }

    fn consume(&self, to: u32) {
        self.index(self.consumer).store(to, Ordering::Release);
    }

    /// Where an entry is, which must be of this type.
    fn entry<T>(&self, at: u32) -> *mut T {
        let slot = (at % RING) as usize;
        // SAFETY: The ring has this many entries of this size.
        unsafe {
            let start = self.mapping.start.as_ptr().cast::<u8>().add(self.entries);
            start.cast::<T>().add(slot)
        }
    }
}
