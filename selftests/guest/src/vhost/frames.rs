// SPDX-License-Identifier: GPL-2.0

//! A network driver in userspace: frames.

use super::Net;
use crate::{
    fail, frame,
    meter::Meter,
    outcome::{Outcome, Stop},
    sys::{scaled, SOON},
};
use rvdpa_virtio::{features::Features, mock::DriverMemory, net::NetHeader};
use std::time::{Duration, Instant};

/// How long to wait for the device.
pub(super) const PATIENCE: Duration = SOON;

/// Frames that are to loop.
#[derive(Clone, Copy)]
pub struct LoopPlan {
    pub count: u64,
    /// Bytes of a frame.
    pub size: usize,
    /// How many may be on the way.
    pub in_flight: u64,
}

/// A frame that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub header: NetHeader,
    /// With `VIRTIO_NET_F_HASH_REPORT`: the hash, and of what it is.
    pub hash: Option<(u32, u16)>,
    pub frame: Vec<u8>,
    /// How many bytes the device wrote to each buffer.
    pub buffers: Vec<usize>,
}

impl Net {
    /// Gives the device all receive buffers that the rings have room for. Returns how many.
    pub fn fill_rx(&mut self) -> Outcome<usize> {
        let mut count = 0;
        for pair in 0..self.plan.pairs {
            count += self.post_rx(pair, usize::MAX)?;
        }
        Ok(count)
    }

    /// Gives the device some more receive buffers of a pair. Returns how many there was room
    /// for.
    pub fn post_rx(&mut self, pair: usize, most: usize) -> Outcome<usize> {
        let plan = self.plan;
        let rx = self.rx_of(pair);
        let mut count = 0;
        while count < most && rx.add(plan.receive_len(), &plan, true).is_some() {
            count += 1;
        }
        rx.driver.publish();
        rx.kick_if_needed()?;
        Ok(count)
    }

    /// Adds a frame to the transmit queue. Returns whether there was room.
    pub fn add_frame(&mut self, frame: &[u8]) -> bool {
        self.add_frame_to(0, NetHeader::default(), frame)
    }

    /// Adds a frame with any header to the transmit queue of a pair. Returns whether there
    /// was room.
    pub fn add_frame_to(&mut self, pair: usize, header: NetHeader, frame: &[u8]) -> bool {
        let header_len = self.header_len();
        let len = header_len + frame.len();
        let plan = self.plan;
        assert!(len <= plan.room, "no room for a frame of {}", frame.len());
        let memory = self.memory.clone();
        let tx = self.tx_of(pair);
        let Some(&slot) = tx.free.front() else {
            return false;
        };
        let start = tx.start(slot, &plan);
        memory.write(start, &[0; 20][..header_len]);
        memory.write(start, &header.to_bytes());
        memory.write(start + header_len as u64, frame);
        tx.add(len, &plan, false).is_some()
    }

    /// Shows the device the frames that were added to the first transmit queue.
    pub fn send(&mut self) -> Outcome {
        self.tx.driver.publish();
        self.tx.kick_if_needed()
    }

    /// Sends one frame from a pair and waits until the device has taken it.
    pub fn send_frame(&mut self, pair: usize, header: NetHeader, frame: &[u8]) -> Outcome {
        self.reap_of(pair)?;
        if !self.add_frame_to(pair, header, frame) {
            fail!("no room in the transmit queue of pair {pair}");
        }
        let tx = self.tx_of(pair);
        tx.driver.publish();
        tx.kick_if_needed()?;
        let start = Instant::now();
        while self.reap_of(pair)? == 0 {
            if !self.tx_of(pair).wait_used()? || start.elapsed() > scaled(PATIENCE) {
                return Err(self.stalled("a frame sent was not given back"));
            }
        }
        Ok(())
    }

    /// Takes back what was sent. Returns how many frames.
    pub fn reap(&mut self) -> Outcome<usize> {
        let mut count = 0;
        for pair in 0..self.plan.pairs {
            count += self.reap_of(pair)?;
        }
        Ok(count)
    }

    /// The same for a pair.
    pub fn reap_of(&mut self, pair: usize) -> Outcome<usize> {
        // With it the length of a skipped buffer is made up by the driver.
        let exact = !self.has(Features::IN_ORDER);
        let mut count = 0;
        while let Some((_, used)) = self.tx_of(pair).take() {
            if used.len != 0 && exact {
                fail!(
                    "the device says that it wrote {} bytes to a frame sent",
                    used.len
                );
            }
            count += 1;
        }
        Ok(count)
    }

    /// The next frame that has come on the first pair, if there is one; none of its bytes
    /// is left to the driver to do. Its buffers are the device's again after the next
    /// [`fill_rx`](Self::fill_rx).
    pub fn receive(&mut self) -> Outcome<Option<Vec<u8>>> {
        let Some(got) = self.receive_from(0)? else {
            return Ok(None);
        };
        let plain = NetHeader {
            num_buffers: got.header.num_buffers,
            ..NetHeader::default()
        };
        if got.header != plain {
            fail!("a frame came with the header {:x?}", got.header);
        }
        Ok(Some(got.frame))
    }

    /// The next frame that has come on a pair, if there is one, with all that the device
    /// says of it.
    pub fn receive_from(&mut self, pair: usize) -> Outcome<Option<Received>> {
        let Some((mut bytes, first)) = self.take_buffer(pair)? else {
            return Ok(None);
        };
        let header_len = self.header_len();
        let Some(header) = bytes.first_chunk() else {
            fail!("the device says that it wrote {first} bytes");
        };
        let header = NetHeader::from_bytes(*header);
        if first < header_len {
            fail!("the device says that it wrote {first} bytes");
        }
        let hash = bytes.get(12..header_len).and_then(|rest| match rest {
            &[v0, v1, v2, v3, r0, r1, ..] => Some((
                u32::from_le_bytes([v0, v1, v2, v3]),
                u16::from_le_bytes([r0, r1]),
            )),
            _ => None,
        });
        let most = if self.has(Features::NET_MRG_RXBUF) {
            self.plan.size
        } else {
            1
        };
        if !(1..=most).contains(&header.num_buffers) {
            fail!("a frame came in {} buffers", header.num_buffers);
        }
        let mut buffers = vec![first];
        for at in 1..header.num_buffers {
            // All of them are shown at once, and all but the last are full (5.1.6.4).
            let before = buffers.last().copied().unwrap_or_default();
            if before != self.plan.receive_len() {
                fail!("buffer {at} of a frame has {before} bytes, and is not the last");
            }
            let Some((more, len)) = self.take_buffer(pair)? else {
                fail!("buffer {} of {} is missing", at + 1, header.num_buffers);
            };
            if len == 0 {
                fail!("buffer {} of a frame is empty", at + 1);
            }
            bytes.extend(more);
            buffers.push(len);
        }
        Ok(Some(Received {
            header,
            hash,
            frame: bytes.split_off(header_len),
            buffers,
        }))
    }

    /// The next buffer that the device has written to, if there is one.
    fn take_buffer(&mut self, pair: usize) -> Outcome<Option<(Vec<u8>, usize)>> {
        let plan = self.plan;
        let memory = self.memory.clone();
        let rx = self.rx_of(pair);
        let Some((slot, used)) = rx.take() else {
            return Ok(None);
        };
        let len = used.len as usize;
        if len > plan.receive_len() {
            fail!("the device says that it wrote {len} bytes");
        }
        let mut bytes = vec![0; len];
        memory.read(rx.start(slot, &plan), &mut bytes);
        Ok(Some((bytes, len)))
    }

    /// Waits for a frame to come.
    pub fn wait_receive(&mut self) -> Outcome<Vec<u8>> {
        loop {
            if let Some(frame) = self.receive()? {
                return Ok(frame);
            }
            if !self.rx.wait_used()? {
                return Err(self.stalled("no frame came"));
            }
        }
    }

    /// Waits for a frame to come on a pair.
    pub fn wait_receive_from(&mut self, pair: usize) -> Outcome<Received> {
        loop {
            if let Some(got) = self.receive_from(pair)? {
                return Ok(got);
            }
            if !self.rx_of(pair).wait_used()? {
                return Err(self.stalled(&format!("no frame came on pair {pair}")));
            }
        }
    }

    pub(super) fn stalled(&mut self, what: &str) -> Stop {
        let status = self
            .client
            .status()
            .map_or_else(|stop| stop.text().to_owned(), |status| status.to_string());
        Stop::Failed(format!(
            "{what} within {} s, nor an interrupt; status {status}, chains used of rx {}, tx {}",
            PATIENCE.as_secs(),
            self.rx.used(),
            self.tx.used(),
        ))
    }

    /// Has frames looped and checks each: that all come, in order, as they were sent.
    /// Returns the round-trip times of those that were sent alone.
    pub fn loop_frames(&mut self, what: LoopPlan) -> Outcome<Meter> {
        let mut meter = Meter::default();
        self.fill_rx()?;
        let posted = self.rx.posted() as u64;
        let window = what.in_flight.min(posted).max(1);
        let mac = self.mac;
        let mut expected = frame::make(what.size, mac, mac, 0);
        let (mut sent, mut received) = (0, 0);
        let mut start = Instant::now();
        while received < what.count {
            let before = sent;
            while sent < what.count && sent - received < window {
                let bytes = frame::make(what.size, mac, mac, sent);
                if !self.add_frame(&bytes) {
                    break;
                }
                sent += 1;
            }
            if sent > before {
                start = Instant::now();
                self.send()?;
            }
            let mut some = false;
            while let Some(got) = self.receive()? {
                frame::fill(&mut expected, mac, mac, received);
                if let Some(difference) = frame::difference(&got, &expected) {
                    fail!("frame {received} of {}: {difference}", what.count);
                }
                received += 1;
                some = true;
            }
            if some {
                if window == 1 {
                    meter.add(start.elapsed());
                }
                self.fill_rx()?;
            }
            if self.reap()? > 0 || some {
                continue;
            }
            // A frame comes before its chain does: with none on the way, there is no room for
            // the next one yet.
            if sent == received {
                if !self.tx.wait_used()? {
                    return Err(self.stalled("a frame sent was not given back"));
                }
            } else if !self.rx.wait_used()? {
                return Err(self.stalled(&format!("frame {received} did not come")));
            }
        }
        // Frames sent come back a moment after they were delivered.
        while self.tx.free.len() < usize::from(self.plan.size) {
            if self.reap()? == 0 && !self.tx.wait_used()? {
                return Err(self.stalled("a frame sent was not given back"));
            }
        }
        Ok(meter)
    }
}
