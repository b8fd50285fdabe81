// SPDX-License-Identifier: GPL-2.0

//! The kernel's packet generator.

use super::clock::Span;
use crate::{
    check_eq, frame,
    outcome::{Outcome, While},
    sys::{self, modprobe},
};

const FOLDER: &str = "/proc/net/pktgen";

/// A generator of UDP frames at one interface, until the value goes.
pub struct Generator {
    interface: String,
    count: u64,
}

impl Generator {
    /// Gives an interface to the thread of the first CPU, with frames of `size` bytes to an
    /// address.
    pub fn new(interface: &str, to: [u8; 6], size: usize, count: u64) -> Outcome<Self> {
        modprobe(&["pktgen"])?;
        sys::write(thread(), "rem_device_all")?;
        sys::write(thread(), &format!("add_device {interface}"))?;
        let generator = Self {
            interface: interface.to_owned(),
            count,
        };
        for line in [
            format!("count {count}"),
            format!("pkt_size {size}"),
            "delay 0".into(),
            "clone_skb 0".into(),
            "dst 192.0.2.1".into(),
            format!("dst_mac {}", frame::display(to)),
        ] {
            sys::write(generator.file(), &line)?;
        }
        Ok(generator)
    }

    fn file(&self) -> String {
        format!("{FOLDER}/{}", self.interface)
    }

    /// Has all frames sent; returns when they are. Returns the microseconds that this took,
    /// without those of its preparation.
    pub fn run(&self) -> Outcome<u64> {
        let span = Span::begin();
        sys::write(format!("{FOLDER}/pgctrl"), "start")?;
        span.end();
        let text = std::fs::read_to_string(self.file()).when(self.file())?;
        let number = |before: &str| {
            let (_, rest) = text.split_once(before)?;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<u64>().ok()
        };
        check_eq!(
            number("pkts-sofar: "),
            Some(self.count),
            "frames that pktgen has sent"
        );
        number("Result: OK: ").when(&text)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = sys::write(thread(), "rem_device_all");
    }
}

fn thread() -> String {
    format!("{FOLDER}/kpktgend_0")
}
