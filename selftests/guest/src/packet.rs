// SPDX-License-Identifier: GPL-2.0

//! Frames through a network interface, by a packet socket.

use crate::{
    frame,
    outcome::{Outcome, Stop, While},
    sys::{scaled, SOON},
};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        socket::{
            bind, setsockopt, socket, sockopt, AddressFamily, LinkAddr, MsgFlags, SockFlag,
            SockType, SockaddrLike,
        },
        time::{TimeVal, TimeValLike},
    },
};
use std::{
    io::IoSlice,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    ptr::null_mut,
    time::Duration,
};

/// How many frames one system call takes.
pub const BATCH: usize = 64;

/// A socket that sends anything, and receives frames of our type.
pub struct Socket {
    fd: OwnedFd,
    buffers: Vec<u8>,
    /// Room for each frame.
    room: usize,
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Socket {
    /// Opens a socket for an interface; frames that come have at most `room` bytes.
    pub fn open(interface: &str, room: usize) -> Outcome<Self> {
        let index = if_nametoindex(interface).when(format_args!("interface {interface}"))?;
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .when("a packet socket")?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: frame::ETHERTYPE.to_be(),
            sll_ifindex: index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: It is a link-layer address of this length.
        let address = unsafe {
            LinkAddr::from_raw(
                (&raw const address).cast(),
                Some(size_of_val(&address) as libc::socklen_t),
            )
        };
        let address = address.when("a link-layer address")?;
        bind(fd.as_raw_fd(), &address).when(format_args!("bind to {interface}"))?;
        // Enough that the socket itself drops nothing.
        setsockopt(&fd, sockopt::RcvBufForce, &(64 << 20)).when("SO_RCVBUFFORCE")?;
        let socket = Self {
            fd,
            buffers: vec![0; room * BATCH],
            room,
        };
        socket.set_timeout(SOON)?;
        Ok(socket)
    }

    /// How long to wait for frames.
    pub fn set_timeout(&self, limit: Duration) -> Outcome {
        let limit = TimeVal::microseconds(scaled(limit).as_micros() as i64);
        setsockopt(&self.fd, sockopt::ReceiveTimeout, &limit).when("SO_RCVTIMEO")
    }

    /// Sends one frame.
    pub fn try_send(&self, frame: &[u8]) -> Result<(), Errno> {
        nix::sys::socket::send(self.fd.as_raw_fd(), frame, MsgFlags::empty()).map(drop)
    }

    /// Sends one frame, which must work.
    pub fn send(&self, frame: &[u8]) -> Outcome {
        self.try_send(frame)
            .when(format_args!("sending {} bytes", frame.len()))
    }

    /// Sends some frames, at most [`BATCH`]. Returns how many were taken.
    pub fn send_many(&self, frames: &[Vec<u8>]) -> Outcome<usize> {
        let slices: Vec<_> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
        let mut headers: Vec<_> = slices
            .iter()
            .take(BATCH)
            .map(|slice| header((&raw const *slice).cast_mut().cast()))
            .collect();
        // SAFETY: The headers refer to the frames, which are only read.
        let sent = unsafe {
            libc::sendmmsg(
                self.fd.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                0,
            )
        };
        let sent = Errno::result(sent).when("sendmmsg")?;
        Ok(sent as usize)
    }

    /// Receives what has come, or waits for a frame. None come if the time is over.
    pub fn receive(&mut self) -> Outcome<Vec<&[u8]>> {
        let mut slices: Vec<_> = self
            .buffers
            .chunks_mut(self.room)
            .map(std::io::IoSliceMut::new)
            .collect();
        let mut headers: Vec<_> = slices
            .iter_mut()
            .map(|slice| header((&raw mut *slice).cast()))
            .collect();
        let received = loop {
            // SAFETY: The headers refer to the buffers, which are ours alone meanwhile.
            let received = unsafe {
                libc::recvmmsg(
                    self.fd.as_raw_fd(),
                    headers.as_mut_ptr(),
                    headers.len() as libc::c_uint,
                    libc::MSG_WAITFORONE,
                    null_mut(),
                )
            };
            match Errno::result(received) {
                Ok(received) => break received as usize,
                Err(Errno::EAGAIN) => break 0,
                // The process was stopped or frozen, and goes on.
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).when("recvmmsg"),
            }
        };
        let mut frames = Vec::with_capacity(received);
        for (header, buffer) in headers
            .iter()
            .zip(self.buffers.chunks(self.room))
            .take(received)
        {
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                return Err(Stop::Failed(format!(
                    "a frame of more than {} bytes",
                    self.room
                )));
            }
            frames.push(&buffer[..header.msg_len as usize]);
        }
        Ok(frames)
    }

    /// Receives exactly `count` frames, or as many as come before the time is over.
    pub fn receive_count(&mut self, count: usize) -> Outcome<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        while all.len() < count {
            let some = self.receive()?;
            if some.is_empty() {
                break;
            }
            all.extend(some.into_iter().map(<[u8]>::to_vec));
        }
        Ok(all)
    }

    /// Whether nothing comes within a short time.
    pub fn is_silent(&mut self) -> Outcome<bool> {
        self.set_timeout(Duration::from_millis(100))?;
        let silent = self.receive()?.is_empty();
        self.set_timeout(SOON)?;
        Ok(silent)
    }
}

/// A message of one buffer. `slice` is an `iovec`.
fn header(slice: *mut libc::iovec) -> libc::mmsghdr {
    libc::mmsghdr {
        msg_hdr: libc::msghdr {
            msg_name: null_mut(),
            msg_namelen: 0,
            msg_iov: slice,
            msg_iovlen: 1,
            msg_control: null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        },
        msg_len: 0,
    }
}

/// What became of frames that were sent to a device and should come back.
#[derive(Default)]
pub struct Flood {
    pub sent: u64,
    pub received: u64,
    /// Frames that came behind one with a higher number.
    pub disordered: u64,
    /// The first frame that did not come when its turn was.
    pub missing: Option<u64>,
}

/// Sends `count` frames of `size` bytes to the interface's own address, with at most
/// `in_flight` on the way, and takes them back. Ends early if none comes any more.
pub fn flood(
    interface: &str,
    mac: [u8; 6],
    count: u64,
    size: usize,
    in_flight: usize,
) -> Outcome<Flood> {
    let mut socket = Socket::open(interface, size.max(2048))?;
    let mut flood = Flood::default();
    let mut frames: Vec<Vec<u8>> = (0..in_flight.clamp(1, BATCH))
        .map(|_| frame::make(size, mac, mac, 0))
        .collect();
    let mut next = 0;
    while flood.received < count {
        let room = in_flight as u64 - (flood.sent - flood.received);
        let some = room.min(count - flood.sent).min(frames.len() as u64) as usize;
        // Not for a few: each call has its price.
        if some > 0 && (some as u64 == count - flood.sent || some * 2 >= frames.len()) {
            for (at, frame) in frames[..some].iter_mut().enumerate() {
                let number = flood.sent + at as u64;
                frame[frame::HEADER..frame::HEADER + 8].copy_from_slice(&number.to_le_bytes());
            }
            flood.sent += socket.send_many(&frames[..some])? as u64;
        }
        let received = socket.receive()?;
        if received.is_empty() {
            break;
        }
        for frame in received {
            match frame::number(frame) {
                Some(number) if number >= next => {
                    if number > next {
                        flood.missing.get_or_insert(next);
                    }
                    next = number + 1;
                }
                _ => flood.disordered += 1,
            }
            flood.received += 1;
        }
    }
    Ok(flood)
}
