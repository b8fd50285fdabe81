// SPDX-License-Identifier: GPL-2.0

//! Statistics as the driver reads them.

use super::StatsTypes;

/// Length of `struct virtio_net_stats_reply_hdr` in bytes.
const HEADER_LEN: usize = 8;

/// Most counters that a reply has.
const MAX_COUNTERS: usize = 6;

/// Length of the longest reply in bytes.
pub const MAX_REPLY_LEN: usize = HEADER_LEN + 8 * MAX_COUNTERS;

/// `struct virtio_net_stats_cvq`. Both counters count the command that asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Commands received.
    pub commands: u64,
    /// Commands answered with [`OK`](super::super::control::OK).
    pub ok: u64,
}

/// `struct virtio_net_stats_rx_basic` or `struct virtio_net_stats_tx_basic`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Basic {
    /// Kicks by the driver.
    pub notifications: u64,
    /// Packets given to the driver, or sent for it.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Interrupts raised.
    pub interrupts: u64,
    /// All packets dropped.
    pub drops: u64,
    /// Those of them that found no receive buffer, or came in bad descriptors.
    pub overruns_or_malformed: u64,
}

/// `struct virtio_net_stats_rx_csum`, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxCsum {
    /// With [`DATA_VALID`](super::super::NetHeader::DATA_VALID).
    pub valid: u64,
    /// With [`NEEDS_CSUM`](super::super::NetHeader::NEEDS_CSUM).
    pub needs: u64,
    /// That the device could not check.
    pub none: u64,
    /// With a wrong checksum.
    pub bad: u64,
}

/// `struct virtio_net_stats_tx_csum`, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxCsum {
    /// With a checksum already.
    pub none: u64,
    /// With [`NEEDS_CSUM`](super::super::NetHeader::NEEDS_CSUM).
    pub needs: u64,
}

/// `struct virtio_net_stats_rx_gso`. Bytes include headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxGso {
    /// Large packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that the device made of several.
    pub packets_coalesced: u64,
    /// Their bytes.
    pub bytes_coalesced: u64,
}

/// `struct virtio_net_stats_tx_gso`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxGso {
    /// Large packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments made of them.
    pub segments: u64,
    /// The bytes of those.
    pub segments_bytes: u64,
    /// Large packets that were not cut.
    pub packets_noseg: u64,
    /// Their bytes.
    pub bytes_noseg: u64,
}

/// `struct virtio_net_stats_rx_speed` or `struct virtio_net_stats_tx_speed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speed {
    /// Packets dropped because they came too fast.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One type of statistics of one virtqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// [`StatsTypes::CVQ`].
    Control(Control),
    /// [`StatsTypes::RX_BASIC`].
    RxBasic(Basic),
    /// [`StatsTypes::RX_CSUM`].
    RxCsum(RxCsum),
    /// [`StatsTypes::RX_GSO`].
    RxGso(RxGso),
    /// [`StatsTypes::RX_SPEED`].
    RxSpeed(Speed),
    /// [`StatsTypes::TX_BASIC`].
    TxBasic(Basic),
    /// [`StatsTypes::TX_CSUM`].
    TxCsum(TxCsum),
    /// [`StatsTypes::TX_GSO`].
    TxGso(TxGso),
    /// [`StatsTypes::TX_SPEED`].
    TxSpeed(Speed),
}

impl Reply {
    /// The type, a set of one.
    pub const fn types(&self) -> StatsTypes {
        match self {
            Self::Control(_) => StatsTypes::CVQ,
            Self::RxBasic(_) => StatsTypes::RX_BASIC,
            Self::RxCsum(_) => StatsTypes::RX_CSUM,
            Self::RxGso(_) => StatsTypes::RX_GSO,
            Self::RxSpeed(_) => StatsTypes::RX_SPEED,
            Self::TxBasic(_) => StatsTypes::TX_BASIC,
            Self::TxCsum(_) => StatsTypes::TX_CSUM,
            Self::TxGso(_) => StatsTypes::TX_GSO,
            Self::TxSpeed(_) => StatsTypes::TX_SPEED,
        }
    }

    /// The counters in the order of the structure, and how many there are.
    fn counters(&self) -> ([u64; MAX_COUNTERS], usize) {
        match *self {
            Self::Control(s) => ([s.commands, s.ok, 0, 0, 0, 0], 2),
            Self::RxBasic(s) | Self::TxBasic(s) => (
                [
                    s.notifications,
                    s.packets,
                    s.bytes,
                    s.interrupts,
                    s.drops,
                    s.overruns_or_malformed,
                ],
                6,
            ),
            Self::RxCsum(s) => ([s.valid, s.needs, s.none, s.bad, 0, 0], 4),
            Self::TxCsum(s) => ([s.none, s.needs, 0, 0, 0, 0], 2),
            Self::RxGso(s) => (
                [
                    s.packets,
                    s.bytes,
                    s.packets_coalesced,
                    s.bytes_coalesced,
                    0,
                    0,
                ],
                4,
            ),
            Self::TxGso(s) => (
                [
                    s.packets,
                    s.bytes,
                    s.segments,
                    s.segments_bytes,
                    s.packets_noseg,
                    s.bytes_noseg,
                ],
                6,
            ),
            Self::RxSpeed(s) | Self::TxSpeed(s) => ([s.packets, s.bytes, 0, 0, 0, 0], 2),
        }
    }

    /// Writes the reply for the virtqueue `vq_index` to the front of `room`, which needs
    /// [`MAX_REPLY_LEN`] bytes at most. Returns its length, or nothing where it does not
    /// fit; `room` is unchanged then.
    pub fn write(&self, vq_index: u16, room: &mut [u8]) -> Option<usize> {
        let (counters, count) = self.counters();
        let len = count.saturating_mul(8).saturating_add(HEADER_LEN);
        let (header, rest) = room.get_mut(..len)?.split_first_chunk_mut::<HEADER_LEN>()?;
        // Neither truncates: there are 64 types at most, and replies are short.
        let kind = self.types().0.trailing_zeros() as u8;
        let [s0, s1] = (len as u16).to_le_bytes();
        let [v0, v1] = vq_index.to_le_bytes();
        *header = [kind, 0, v0, v1, 0, 0, s0, s1];
        for (bytes, counter) in rest.chunks_exact_mut(8).zip(counters) {
            bytes.copy_from_slice(&counter.to_le_bytes());
        }
        Some(len)
    }
}
