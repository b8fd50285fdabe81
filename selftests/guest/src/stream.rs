// SPDX-License-Identifier: GPL-2.0

//! TCP streams between two ends, and datagrams, whose every byte is looked at.

use crate::{
    check, check_eq, fail,
    outcome::{Outcome, Stop, While},
    sys::{scaled, SOON},
    wire::{Wire, V4, V6},
};
use nix::errno::Errno;
use std::{
    io::{Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    thread,
    time::Instant,
};

/// How much is written or read at once.
const CHUNK: usize = 64 << 10;

/// The socket option that has a datagram cut (`include/uapi/linux/udp.h`).
const UDP_SEGMENT: libc::c_int = 103;

/// What the streams came to.
#[derive(Default, Clone, Copy)]
pub struct Sum {
    /// Bytes that arrived as they were sent, in both directions.
    pub bytes: u64,
    /// Segments that TCP sent again.
    pub retransmits: u64,
    /// How long it took.
    pub seconds: f64,
}

/// A stream of pseudo-random bytes, the same for the same seed (xorshift64*).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        // Never 0, and neighbours far apart.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Puts the next bytes of the stream into `buffer`; all but the last part of a stream
    /// must be multiples of 8 long.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let bytes = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

fn at(address: &str, port: u16) -> Outcome<SocketAddr> {
    let address: IpAddr = address.parse().when(address)?;
    Ok(SocketAddr::new(address, port))
}

/// Has so many connections carry `bytes` in each direction at once; every other one is of
/// IPv6, the first of IPv4. The ends must have their addresses.
pub fn exchange(wire: &Wire, connections: u16, bytes: u64) -> Outcome<Sum> {
    let start = Instant::now();
    let mut workers = Vec::new();
    let mut ends = Vec::new();
    for number in 0..connections {
        let address = at([V4, V6][usize::from(number) % 2][1], 7000 + number)?;
        let listener = wire
            .b
            .namespace
            .inside(|| TcpListener::bind(address).when(format_args!("listening at {address}")))?;
        let client = wire.a.namespace.inside(|| {
            TcpStream::connect_timeout(&address, scaled(SOON))
                .when(format_args!("connecting to {address}"))
        })?;
        let (server, _) = listener.accept().when("accept")?;
        for (end, stream) in [client, server].into_iter().enumerate() {
            stream.set_read_timeout(Some(scaled(SOON)))?;
            stream.set_write_timeout(Some(scaled(SOON)))?;
            let seed = 2 * u64::from(number) + end as u64;
            let (sender, receiver) = (stream.try_clone()?, stream.try_clone()?);
            let who = format!("connection {number} to {address}, end {end}");
            let other = who.clone();
            workers.push(thread::spawn(move || {
                send(sender, seed, bytes).when(format_args!("{other}, sending"))
            }));
            workers.push(thread::spawn(move || {
                receive(receiver, seed ^ 1, bytes).when(format_args!("{who}, receiving"))
            }));
            ends.push(stream);
        }
    }
    let mut failures = Vec::new();
    for worker in workers {
        match worker.join() {
            Ok(Ok(())) => {}
            Ok(Err(stop)) => failures.push(stop.text().to_owned()),
            Err(_) => failures.push("a thread panicked".into()),
        }
    }
    if !failures.is_empty() {
        return Err(Stop::Failed(failures.join("; ")));
    }
    let seconds = start.elapsed().as_secs_f64();
    let retransmits = ends.iter().map(retransmits).sum::<Outcome<u64>>()?;
    Ok(Sum {
        bytes: 2 * bytes * u64::from(connections),
        retransmits,
        seconds,
    })
}

fn send(mut stream: TcpStream, seed: u64, bytes: u64) -> Outcome {
    let mut noise = Noise::new(seed);
    let mut buffer = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let some = left.min(CHUNK as u64) as usize;
        noise.fill(&mut buffer[..some]);
        stream
            .write_all(&buffer[..some])
            .when(format_args!("{left} bytes before the end"))?;
        left -= some as u64;
    }
    stream.shutdown(Shutdown::Write).when("shutdown")
}

fn receive(mut stream: TcpStream, seed: u64, bytes: u64) -> Outcome {
    let mut noise = Noise::new(seed);
    let (mut got, mut wanted) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut done = 0;
    loop {
        // Whole chunks, that the noise is taken in the same steps.
        let mut some = 0;
        while some < CHUNK {
            match stream.read(&mut got[some..]) {
                Ok(0) => break,
                Ok(more) => some += more,
                Err(error) => fail!("after {} bytes: {error}", done + some as u64),
            }
        }
        noise.fill(&mut wanted[..some]);
        if let Some(at) = got[..some].iter().zip(&wanted).position(|(a, b)| a != b) {
            fail!(
                "byte {} is {:#04x} instead of {:#04x}",
                done + at as u64,
                got[at],
                wanted[at]
            );
        }
        done += some as u64;
        if some < CHUNK {
            check_eq!(done, bytes, "bytes that arrived");
            return Ok(());
        }
    }
}

/// How many segments the kernel has sent again.
fn retransmits(stream: &TcpStream) -> Outcome<u64> {
    // SAFETY: All zeroes are a value of this type.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: The buffer and its length are valid for the call.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut len,
        )
    };
    Errno::result(result).when("TCP_INFO")?;
    Ok(u64::from(info.tcpi_total_retrans))
}

/// Sends one large datagram per round that the stack or the device cuts into segments of
/// `segment` bytes, and looks at each one that arrives. Returns how many did.
pub fn segmented_datagrams(
    wire: &Wire,
    v6: bool,
    rounds: u64,
    segments: usize,
    segment: usize,
) -> Outcome<u64> {
    let [from, to] = if v6 { V6 } else { V4 };
    let bind = |address: &str, port: u16| {
        let address = at(address, port)?;
        UdpSocket::bind(address).when(format_args!("binding to {address}"))
    };
    let sender = wire.a.namespace.inside(|| bind(from, 7100))?;
    let receiver = wire.b.namespace.inside(|| bind(to, 7101))?;
    receiver.set_read_timeout(Some(scaled(SOON)))?;
    let size = segment as libc::c_int;
    // SAFETY: The option's value is an int, which is valid for the call.
    let result = unsafe {
        libc::setsockopt(
            sender.as_raw_fd(),
            libc::IPPROTO_UDP,
            UDP_SEGMENT,
            (&raw const size).cast(),
            size_of_val(&size) as libc::socklen_t,
        )
    };
    Errno::result(result).when("UDP_SEGMENT")?;
    let mut arrived = 0;
    let mut got = vec![0; 65536];
    for round in 0..rounds {
        // The last segment is shorter.
        let mut sent = vec![0; segments * segment - 5];
        Noise::new(round).fill(&mut sent);
        sender
            .send_to(&sent, at(to, 7101)?)
            .when("sending a large datagram")?;
        for (number, wanted) in sent.chunks(segment).enumerate() {
            let len = receiver
                .recv(&mut got)
                .when(format_args!("segment {number} of datagram {round}"))?;
            check_eq!(len, wanted.len(), "length of segment {number}");
            check!(got[..len] == *wanted, "segment {number} is another one");
            arrived += 1;
        }
    }
    Ok(arrived)
}
