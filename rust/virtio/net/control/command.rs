// SPDX-License-Identifier: GPL-2.0

//! Commands as types.

use super::{
    super::{
        super::features::Features,
        coalescing::Coalescing,
        rss::{
            HashConfig,
            RssConfig, //
        },
        stats::{
            QueueKind,
            StatsRequests,
            StatsTypes, //
        },
        MacAddress, //
    },
    parse::parse,
    CommandError,
    MacTables, //
};

/// What a device has, as far as commands refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The negotiated features.
    pub features: Features,
    /// How many queue pairs the driver can use: `max_virtqueue_pairs`, or 1 without
    /// `VIRTIO_NET_F_MQ` and `VIRTIO_NET_F_RSS`. The control queue's index is twice that.
    pub pairs: u16,
    /// `supported_hash_types`.
    pub hash_types: u32,
    /// `rss_max_key_size` in bytes.
    pub max_key: u8,
    /// `rss_max_indirection_table_length` in entries.
    pub max_indirection_table: u16,
    /// The statistics that the device has, whatever was negotiated.
    pub stats: StatsTypes,
}

impl Limits {
    /// What the virtqueue of this index is for; nothing if there is none.
    pub const fn kind(&self, vq_index: u16) -> Option<QueueKind> {
        let control = (self.pairs as u32).wrapping_mul(2);
        let index = vq_index as u32;
        if index > control {
            None
        } else if index == control {
            Some(QueueKind::Control)
        } else if index % 2 == 0 {
            Some(QueueKind::Receive)
        } else {
            Some(QueueKind::Transmit)
        }
    }

    /// Asserts that any of the features was negotiated.
    pub(super) fn need(&self, feature: Features) -> Result<(), CommandError> {
        if self.features.intersects(feature) {
            Ok(())
        } else {
            Err(CommandError::Feature(feature))
        }
    }
}

/// A receive mode (5.1.6.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RxMode {
    /// Receive everything.
    Promisc,
    /// Receive all multicast frames.
    AllMulti,
    /// Receive all unicast frames.
    AllUni,
    /// Receive no multicast frames.
    NoMulti,
    /// Receive no unicast frames.
    NoUni,
    /// Receive no broadcast frames.
    NoBcast,
}

/// A command, with data that was found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `VIRTIO_NET_CTRL_RX_*`: sets a receive mode on or off.
    Rx(RxMode, bool),
    /// `VIRTIO_NET_CTRL_MAC_TABLE_SET`.
    MacTableSet(MacTables<'a>),
    /// `VIRTIO_NET_CTRL_MAC_ADDR_SET`: the address is that of one station.
    MacAddrSet(MacAddress),
    /// `VIRTIO_NET_CTRL_VLAN_ADD`, from 0 to 4095.
    VlanAdd(u16),
    /// `VIRTIO_NET_CTRL_VLAN_DEL`, from 0 to 4095.
    VlanDel(u16),
    /// `VIRTIO_NET_CTRL_ANNOUNCE_ACK`.
    AnnounceAck,
    /// `VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET`, from 1 to [`Limits::pairs`].
    VqPairsSet(u16),
    /// `VIRTIO_NET_CTRL_MQ_RSS_CONFIG`.
    RssConfig(RssConfig<'a>),
    /// `VIRTIO_NET_CTRL_MQ_HASH_CONFIG`.
    HashConfig(HashConfig<'a>),
    /// `VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET`: negotiated ones that go together.
    GuestOffloadsSet(Features),
    /// `VIRTIO_NET_CTRL_NOTF_COAL_TX_SET`: for all transmit queues.
    CoalTxSet(Coalescing),
    /// `VIRTIO_NET_CTRL_NOTF_COAL_RX_SET`: for all receive queues.
    CoalRxSet(Coalescing),
    /// `VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET`: for the transmit or receive queue of this
    /// index. Whether the driver has enabled it is for the device to check.
    CoalVqSet(u16, Coalescing),
    /// `VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET`: of a virtqueue as above. The answer is followed
    /// by [`Coalescing::to_bytes`].
    CoalVqGet(u16),
    /// `VIRTIO_NET_CTRL_STATS_QUERY`. The answer is followed by these types,
    /// [`StatsTypes::to_bytes`].
    StatsQuery(StatsTypes),
    /// `VIRTIO_NET_CTRL_STATS_GET`. The answer is followed by a
    /// [`Reply`](super::super::stats::Reply) for each type of each request.
    StatsGet(StatsRequests<'a>),
}

impl<'a> Command<'a> {
    /// Takes a command from the two bytes of its header and its data: all bytes that the
    /// driver gave the device to read, in a copy of which the driver cannot change
    /// anything.
    ///
    /// # Errors
    ///
    /// What is wrong with the command. Nothing of it is to be carried out then.
    pub fn parse(
        header: [u8; super::HEADER_LEN],
        data: &'a [u8],
        limits: &Limits,
    ) -> Result<Self, CommandError> {
        parse(header, data, limits)
    }
}
