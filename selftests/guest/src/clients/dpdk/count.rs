// SPDX-License-Identifier: GPL-2.0

//! Frames counted by testpmd and by the device, and compared.

use crate::{
    check, check_eq,
    device::Device,
    outcome::{Outcome, Stop},
    parent::Parent,
    sys::wait_for,
    testpmd::{Counters, Testpmd},
};
use std::time::Duration;

/// How long the last frames may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The length of a virtio header.
const HEADER: u64 = 12;

/// What one side has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Frames received, by queue pair.
    pub rx: Vec<u64>,
    /// Frames sent.
    pub tx: Vec<u64>,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

impl Count {
    /// What the device has delivered and taken. The kernel's own simulator counts the bytes
    /// of the virtio header as well.
    fn by_device(parent: Parent, device: &Device, pairs: u16) -> Outcome<Self> {
        let mut count = Self {
            rx: Vec::new(),
            tx: Vec::new(),
            rx_bytes: 0,
            tx_bytes: 0,
        };
        for pair in 0..u32::from(pairs) {
            let rx = device.statistics(2 * pair)?;
            let tx = device.statistics(2 * pair + 1)?;
            count.rx.push(rx.get("rx packets")?);
            count.tx.push(tx.get("tx packets")?);
            count.rx_bytes += rx.get("rx bytes")?;
            count.tx_bytes += tx.get("tx bytes")?;
        }
        if parent == Parent::Peer {
            count.rx_bytes -= HEADER * count.received();
            count.tx_bytes -= HEADER * count.sent();
        }
        Ok(count)
    }

    /// What testpmd has received and sent.
    fn by_testpmd(counters: &Counters, pairs: u16) -> Outcome<Self> {
        let each = |way: &str| -> Outcome<Vec<u64>> {
            (0..pairs)
                .map(|pair| counters.get(&format!("{way}_q{pair}_good_packets")))
                .collect()
        };
        Ok(Self {
            rx: each("rx")?,
            tx: each("tx")?,
            rx_bytes: counters.get("rx_good_bytes")?,
            tx_bytes: counters.get("tx_good_bytes")?,
        })
    }

    /// What came since.
    fn since(&self, before: &Self) -> Self {
        let less = |now: &[u64], then: &[u64]| now.iter().zip(then).map(|(a, b)| a - b).collect();
        Self {
            rx: less(&self.rx, &before.rx),
            tx: less(&self.tx, &before.tx),
            rx_bytes: self.rx_bytes - before.rx_bytes,
            tx_bytes: self.tx_bytes - before.tx_bytes,
        }
    }

    pub fn received(&self) -> u64 {
        self.rx.iter().sum()
    }

    pub fn sent(&self) -> u64 {
        self.tx.iter().sum()
    }
}

/// A device and its testpmd, and what both had counted when they met.
pub struct Pair<'a> {
    parent: Parent,
    pub device: &'a Device,
    pub testpmd: &'a mut Testpmd,
    pairs: u16,
    device_before: Count,
    testpmd_before: Count,
}

impl<'a> Pair<'a> {
    /// The two, with so many queue pairs.
    pub fn new(
        parent: Parent,
        device: &'a Device,
        testpmd: &'a mut Testpmd,
        pairs: u16,
    ) -> Outcome<Self> {
        Ok(Self {
            parent,
            device_before: Count::by_device(parent, device, pairs)?,
            testpmd_before: Count::by_testpmd(&testpmd.counters()?, pairs)?,
            device,
            testpmd,
            pairs,
        })
    }

    /// Has what is under way received, and waits until both have counted the same since
    /// they met. Returns it.
    pub fn settle(&mut self) -> Outcome<Count> {
        self.testpmd.forward("rxonly")?;
        let mut last = String::new();
        let same = wait_for("the device and testpmd count the same", PATIENCE, || {
            let device = Count::by_device(self.parent, self.device, self.pairs)?;
            let device = device.since(&self.device_before);
            let counters = self.testpmd.counters()?;
            let testpmd = Count::by_testpmd(&counters, self.pairs)?.since(&self.testpmd_before);
            last = format!("device {device:?}, testpmd {testpmd:?}");
            Ok((device == testpmd).then_some(device))
        });
        let count = same.map_err(|stop| Stop::Failed(format!("{} ({last})", stop.text())))?;
        self.testpmd.stop()?;
        let counters = self.testpmd.counters()?;
        for name in ["rx_errors", "tx_errors", "rx_mbuf_allocation_errors"] {
            check_eq!(counters.get(name)?, 0, "{name} of testpmd");
        }
        Ok(count)
    }

    /// Has frames go around between a device that loops and testpmd, until this many came
    /// back. Not one may be lost.
    pub fn go_around(&mut self, frames: u64) -> Outcome<Count> {
        let start = self.testpmd.counters()?.rx()?;
        self.testpmd.forward_first("io", 1)?;
        self.testpmd.wait_for("frames come back", |counters| {
            Ok(counters.rx()? >= start + frames)
        })?;
        self.testpmd.stop()?;
        let count = self.settle()?;
        check_eq!(count.received(), count.sent(), "frames back, of those sent");
        check_eq!(count.rx_bytes, count.tx_bytes, "their bytes");
        check!(count.received() >= frames, "{count:?}");
        Ok(count)
    }
}
