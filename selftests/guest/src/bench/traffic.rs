// SPDX-License-Identifier: GPL-2.0

//! What is sent through interfaces.

use super::{clock::Span, record::Samples};
use crate::{
    check, check_eq, frame,
    netns::Namespace,
    outcome::{Outcome, While},
    packet::{Socket, BATCH},
};
use nix::{
    errno::Errno,
    sys::socket::{recv, send, MsgFlags},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    ptr::null_mut,
    rc::Rc,
    thread,
    time::Duration,
};

/// Room for a frame.
const ROOM: usize = 2048;

/// Where frames go in and where they come out. If that is one interface it is one socket:
/// a second one would get a copy of each frame.
pub struct Ends {
    pub from: Rc<Socket>,
    pub to: Rc<Socket>,
    /// The address that they are for.
    pub mac: [u8; 6],
}

/// Sends frames one after the other. Each sample is what it took for one to arrive.
pub fn one_by_one(ends: &Ends, size: usize, count: u64) -> Outcome<Samples> {
    let mut samples = Samples::default();
    let mut bytes = frame::make(size, ends.mac, ends.mac, 0);
    let mut got = vec![0; ROOM];
    let (from, to) = (ends.from.as_raw_fd(), ends.to.as_raw_fd());
    for number in 0..count {
        bytes[frame::HEADER..frame::HEADER + 8].copy_from_slice(&number.to_le_bytes());
        let span = Span::begin();
        send(from, &bytes, MsgFlags::empty()).when("sending a frame")?;
        let len = recv(to, &mut got, MsgFlags::empty()).when("receiving a frame")?;
        samples.add(span.end() as f64);
        check!(
            got[..len] == bytes,
            "frame {number} did not arrive as it was sent"
        );
    }
    Ok(samples)
}

/// Buffers for a system call that sends or receives several frames.
struct Vector {
    frames: Vec<Vec<u8>>,
    headers: Vec<libc::mmsghdr>,
    /// What the headers refer to.
    _slices: Vec<libc::iovec>,
}

impl Vector {
    fn new(mut frames: Vec<Vec<u8>>) -> Self {
        let mut slices: Vec<libc::iovec> = frames
            .iter_mut()
            .map(|frame| libc::iovec {
                iov_base: frame.as_mut_ptr().cast(),
                iov_len: frame.len(),
            })
            .collect();
        let headers = slices
            .iter_mut()
            .map(|slice| {
                // SAFETY: All zeroes are a value of this type.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = slice;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Self {
            frames,
            headers,
            _slices: slices,
        }
    }

    /// Sends the first `count` frames. Returns how many were taken.
    fn send(&mut self, socket: &Socket, count: usize) -> Outcome<usize> {
        let headers = &mut self.headers[..count];
        // SAFETY: The headers refer to the frames, which do not move and are only read.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as u32,
                0,
            )
        };
        Ok(Errno::result(sent).when("sendmmsg")? as usize)
    }

    /// Receives what has come, or waits for one. Returns how many frames.
    fn receive(&mut self, socket: &Socket) -> Outcome<usize> {
        let headers = &mut self.headers[..];
        // SAFETY: The headers refer to the frames, which do not move, and nobody else has.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as u32,
                libc::MSG_WAITFORONE,
                null_mut(),
            )
        };
        Ok(Errno::result(received).when("recvmmsg")? as usize)
    }
}

/// Sends frames with at most `in_flight` on the way. Returns what one of them took.
pub fn flood(ends: &Ends, size: usize, count: u64, in_flight: u64) -> Outcome<f64> {
    let most = in_flight.clamp(1, BATCH as u64);
    let made = frame::make(size, ends.mac, ends.mac, 0);
    let mut outgoing = Vector::new(vec![made; most as usize]);
    let mut incoming = Vector::new(vec![vec![0; ROOM]; most as usize]);
    let (mut sent, mut received) = (0, 0);
    let span = Span::begin();
    while received < count {
        let some = (in_flight - (sent - received)).min(count - sent).min(most);
        // Not for a few: each call has its price.
        if some > 0 && (some == count - sent || some * 2 >= most) {
            for (at, bytes) in (sent..sent + some).zip(&mut outgoing.frames) {
                bytes[frame::HEADER..frame::HEADER + 8].copy_from_slice(&u64::to_le_bytes(at));
            }
            sent += outgoing.send(&ends.from, some as usize)? as u64;
        }
        let got = incoming.receive(&ends.to)?;
        for (bytes, header) in incoming.frames.iter().zip(&incoming.headers).take(got) {
            check_eq!(header.msg_len as usize, size, "bytes of a frame");
            check_eq!(frame::number(bytes), Some(received), "number of a frame");
            received += 1;
        }
    }
    Ok(span.end() as f64 / count as f64)
}

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much is written or read at once.
const CHUNK: usize = 64 << 10;

/// Has TCP carry bytes from one namespace to another. Returns what a megabyte took.
pub fn bulk(from: &Namespace, to: &Namespace, at: SocketAddr, bytes: usize) -> Outcome<f64> {
    let listener = to.inside(|| TcpListener::bind(at).when(format_args!("listening at {at}")))?;
    let mut sender = from.inside(|| {
        TcpStream::connect_timeout(&at, PATIENCE).when(format_args!("connecting to {at}"))
    })?;
    let (mut receiver, _) = listener.accept().when("accept")?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    sender.set_write_timeout(Some(PATIENCE))?;
    let buffer = vec![0x5a; CHUNK];
    let span = Span::begin();
    let reader = thread::spawn(move || -> Outcome<(usize, u64)> {
        let mut buffer = vec![0; CHUNK];
        let mut all = 0;
        loop {
            match receiver.read(&mut buffer).when("receiving")? {
                0 => return Ok((all, span.end())),
                some => all += some,
            }
        }
    });
    for _ in 0..bytes / CHUNK {
        sender.write_all(&buffer).when("sending")?;
    }
    drop(sender);
    let (arrived, instructions) = match reader.join() {
        Ok(result) => result?,
        Err(_) => crate::fail!("the receiver panicked"),
    };
    check_eq!(arrived, bytes / CHUNK * CHUNK, "bytes that arrived");
    Ok(instructions as f64 / (arrived as f64 / 1e6))
}
