// SPDX-License-Identifier: GPL-2.0

//! Statistics that the driver can read (5.1.6.5.10).

use super::{
    super::features::Features,
    control::{
        CommandError,
        Data,
        Limits, //
    },
};

mod reply;

pub use reply::{
    Basic,
    Control,
    Reply,
    RxCsum,
    RxGso,
    Speed,
    TxCsum,
    TxGso,
    MAX_REPLY_LEN, //
};

/// What a virtqueue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Packets to the driver.
    Receive,
    /// Packets from the driver.
    Transmit,
    /// Commands.
    Control,
}

/// A set of types of statistics: `VIRTIO_NET_STATS_TYPE_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsTypes(pub u64);

impl StatsTypes {
    /// Those of a receive queue that need no feature.
    pub const RX_BASIC: Self = Self(1 << 0);
    /// Checksums of received packets.
    pub const RX_CSUM: Self = Self(1 << 1);
    /// Large received packets.
    pub const RX_GSO: Self = Self(1 << 2);
    /// Received packets above the speed.
    pub const RX_SPEED: Self = Self(1 << 3);
    /// Those of a transmit queue that need no feature.
    pub const TX_BASIC: Self = Self(1 << 16);
    /// Checksums of sent packets.
    pub const TX_CSUM: Self = Self(1 << 17);
    /// Large sent packets.
    pub const TX_GSO: Self = Self(1 << 18);
    /// Sent packets above the speed.
    pub const TX_SPEED: Self = Self(1 << 19);
    /// Those of the control queue.
    pub const CVQ: Self = Self(1 << 32);

    /// All of a receive queue.
    const RX: Self = Self(Self::RX_BASIC.0 | Self::RX_CSUM.0 | Self::RX_GSO.0 | Self::RX_SPEED.0);
    /// All of a transmit queue.
    const TX: Self = Self(Self::TX_BASIC.0 | Self::TX_CSUM.0 | Self::TX_GSO.0 | Self::TX_SPEED.0);

    /// All that this layer can answer.
    pub const ALL: Self = Self(Self::CVQ.0 | Self::RX.0 | Self::TX.0);

    /// Those of a virtqueue of this kind.
    pub const fn of(kind: QueueKind) -> Self {
        match kind {
            QueueKind::Receive => Self::RX,
            QueueKind::Transmit => Self::TX,
            QueueKind::Control => Self::CVQ,
        }
    }

    /// What is in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of the set that can be had with the negotiated `features`.
    ///
    /// That is also what `VIRTIO_NET_CTRL_STATS_QUERY` is to be answered with: Linux asks
    /// for all it was told of, and a single type whose feature is missing has to fail the
    /// whole `VIRTIO_NET_CTRL_STATS_GET`.
    pub const fn with(self, features: Features) -> Self {
        type F = Features;
        let host_gso = F::NET_HOST_TSO4
            .union(F::NET_HOST_TSO6)
            .union(F::NET_HOST_USO);
        let mut types = self.0;
        if !features.contains(F::NET_GUEST_CSUM) {
            types &= !Self::RX_CSUM.0;
        }
        if !features.intersects(F::NET_GUEST_TSO4.union(F::NET_GUEST_TSO6)) {
            types &= !Self::RX_GSO.0;
        }
        if !features.contains(F::NET_CSUM) {
            types &= !Self::TX_CSUM.0;
        }
        if !features.intersects(host_gso) {
            types &= !Self::TX_GSO.0;
        }
        if !features.contains(F::NET_SPEED_DUPLEX) {
            types &= !(Self::RX_SPEED.0 | Self::TX_SPEED.0);
        }
        Self(types)
    }

    /// Each type of the set by itself, from the lowest bit to the highest.
    pub fn iter(self) -> impl Iterator<Item = Self> {
        Features(self.0).bits().map(|bit| Self(bit.0))
    }

    /// The bytes as the driver reads them: `struct virtio_net_stats_capabilities`. They
    /// follow the byte of the answer to `VIRTIO_NET_CTRL_STATS_QUERY`.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

/// Which statistics of one virtqueue the driver asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsRequest {
    /// The index of the virtqueue.
    pub vq_index: u16,
    /// What the virtqueue is for.
    pub kind: QueueKind,
    /// The types; all of them belong to that virtqueue and can be had.
    pub types: StatsTypes,
}

impl StatsRequest {
    /// Length in bytes.
    const LEN: usize = 16;

    /// Takes a request from the front of `data`.
    fn take(data: &mut Data<'_>, limits: &Limits) -> Result<Self, CommandError> {
        let vq_index = data.u16()?;
        for _ in 0..3 {
            data.u16()?;
        }
        let types = StatsTypes(data.u64()?);
        let kind = limits.kind(vq_index).ok_or(CommandError::Queue(vq_index))?;
        let available = StatsTypes::of(kind).intersection(limits.stats.with(limits.features));
        if !available.contains(types) {
            return Err(CommandError::Statistics {
                queue: vq_index,
                types: types.0 & !available.0,
            });
        }
        Ok(Self {
            vq_index,
            kind,
            types,
        })
    }
}

/// What `VIRTIO_NET_CTRL_STATS_GET` asks for: `struct virtio_net_ctrl_queue_stats`.
///
/// A reply follows the byte of the answer for each type of each request, as far as there
/// is room for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsRequests<'a> {
    /// Requests that were found right.
    data: &'a [u8],
    limits: Limits,
}

impl<'a> StatsRequests<'a> {
    /// Takes the requests from `data`, all that is left.
    pub(super) fn take(data: &mut Data<'a>, limits: &Limits) -> Result<Self, CommandError> {
        let mut rest = *data;
        // One that is wrong fails the whole command.
        while !rest.is_empty() {
            StatsRequest::take(&mut rest, limits)?;
        }
        Ok(Self {
            data: data.rest(),
            limits: *limits,
        })
    }

    /// The number of requests.
    pub const fn len(&self) -> usize {
        self.data.len() / StatsRequest::LEN
    }

    /// Whether there is no request.
    pub const fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The requests in the driver's order. A virtqueue may be there several times.
    pub fn iter(&self) -> impl Iterator<Item = StatsRequest> + 'a {
        let mut data = Data::new(self.data);
        let limits = self.limits;
        core::iter::from_fn(move || StatsRequest::take(&mut data, &limits).ok())
    }
}
