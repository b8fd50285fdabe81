// SPDX-License-Identifier: GPL-2.0

//! What becomes of a frame: it comes, or it is dropped and counted. For tests with drivers
//! in userspace.

use crate::{
    check_eq,
    device::Device,
    outcome::Outcome,
    sys::{wait_for, SOON},
    vhost::{Net, Received},
};
use rvdpa_virtio::net::NetHeader;

/// How many frames the data queues of a device have dropped, for any reason.
pub fn drops(device: &Device, pairs: usize) -> Outcome<u64> {
    let mut sum = 0;
    for index in 0..2 * pairs as u32 {
        let numbers = device.statistics(index)?;
        for name in numbers.names() {
            if name.contains("drops") {
                sum += numbers.get(name)?;
            }
        }
    }
    Ok(sum)
}

/// Sends a frame from a pair of a device that loops. Returns the pair on which it came and
/// what came there, or nothing if it was dropped and counted.
pub fn looped(
    device: &Device,
    net: &mut Net,
    pair: usize,
    header: NetHeader,
    frame: &[u8],
) -> Outcome<Option<(usize, Received)>> {
    net.fill_rx()?;
    let pairs = net.plan.pairs;
    let before = drops(device, pairs)?;
    net.send_frame(pair, header, frame)?;
    let mut counted = false;
    let come = wait_for("the frame, or its drop", SOON, || {
        for pair in 0..pairs {
            if let Some(got) = net.receive_from(pair)? {
                return Ok(Some(Some((pair, got))));
            }
        }
        // Once more after it was counted.
        let done = counted;
        counted = drops(device, pairs)? > before;
        Ok((done && counted).then_some(None))
    })?;
    if come.is_none() {
        check_eq!(drops(device, pairs)?, before + 1, "frames dropped");
    }
    Ok(come)
}

/// Whether a complete frame passes the filters of a device that loops, as it is.
pub fn passes(device: &Device, net: &mut Net, frame: &[u8]) -> Outcome<bool> {
    let Some((_, got)) = looped(device, net, 0, NetHeader::default(), frame)? else {
        return Ok(false);
    };
    if let Some(difference) = crate::frame::difference(&got.frame, frame) {
        crate::fail!("{difference}");
    }
    Ok(true)
}
