// SPDX-License-Identifier: GPL-2.0

//! Steering by hash, and reporting of hashes (5.1.6.4.3, 5.1.6.5.6, 5.1.6.5.7).

use super::control::{
    CommandError,
    Data,
    Limits, //
};

/// Longest hash key in bytes that this layer knows.
pub const MAX_KEY_LEN: usize = 40;

/// Longest indirection table in entries that this layer knows.
pub const MAX_TABLE_LEN: usize = 128;

/// How many bytes too many Linux sends with a hash key: the structure that its driver has
/// for what follows the table is padded to an even length, and it counts from there.
const PADDING: usize = 1;

/// An indirection table, as the driver sent it: numbers of receive queues, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndirectionTable<'a>(&'a [u8]);

impl<'a> IndirectionTable<'a> {
    /// The number of entries, a power of two.
    pub const fn len(&self) -> usize {
        self.0.len() / 2
    }

    /// Whether there is no entry: never.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u16> + 'a {
        // The chunks have that length.
        self.0
            .chunks_exact(2)
            .map(|entry| u16::from_le_bytes(entry.first_chunk().copied().unwrap_or_default()))
    }
}

/// What `VIRTIO_NET_CTRL_MQ_RSS_CONFIG` sets: `struct virtio_net_rss_config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RssConfig<'a> {
    /// What is hashed: `VIRTIO_NET_HASH_TYPE_*`, supported ones only.
    pub hash_types: u32,
    /// The receive queue for packets that have no hash, counted from zero.
    pub unclassified_queue: u16,
    /// The receive queue for each masked hash.
    pub table: IndirectionTable<'a>,
    /// How many transmit queues the driver uses, 1 at least.
    pub max_tx_vq: u16,
    /// The key; what it lacks to [`MAX_KEY_LEN`] counts as zero. Empty only without
    /// hash types.
    pub key: &'a [u8],
}

impl<'a> RssConfig<'a> {
    /// Takes the configuration from `data`.
    pub(super) fn take(data: &mut Data<'a>, limits: &Limits) -> Result<Self, CommandError> {
        let hash_types = take_hash_types(data, limits)?;
        let mask = data.u16()?;
        let len = usize::from(mask).saturating_add(1);
        if !len.is_power_of_two()
            || len > usize::from(limits.max_indirection_table)
            || len > MAX_TABLE_LEN
        {
            return Err(CommandError::Mask(mask));
        }
        let unclassified_queue = data.u16()?;
        let table = IndirectionTable(data.bytes(len.saturating_mul(2))?);
        let max_tx_vq = data.u16()?;
        let key = take_key(data, hash_types, limits)?;

        let beyond = |queue: &u16| *queue >= limits.pairs;
        if let Some(queue) = Some(unclassified_queue)
            .filter(beyond)
            .or_else(|| table.iter().find(beyond))
        {
            return Err(CommandError::ReceiveQueue(queue));
        }
        if max_tx_vq == 0 || max_tx_vq > limits.pairs {
            return Err(CommandError::Pairs(max_tx_vq));
        }
        Ok(Self {
            hash_types,
            unclassified_queue,
            table,
            max_tx_vq,
            key,
        })
    }
}

/// What `VIRTIO_NET_CTRL_MQ_HASH_CONFIG` sets: `struct virtio_net_hash_config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashConfig<'a> {
    /// What is hashed: `VIRTIO_NET_HASH_TYPE_*`, supported ones only.
    pub hash_types: u32,
    /// The key, as in [`RssConfig::key`].
    pub key: &'a [u8],
}

impl<'a> HashConfig<'a> {
    /// Takes the configuration from `data`.
    pub(super) fn take(data: &mut Data<'a>, limits: &Limits) -> Result<Self, CommandError> {
        let hash_types = take_hash_types(data, limits)?;
        // Reserved, to be zero; Linux has the number of transmit queues there.
        data.u64()?;
        let key = take_key(data, hash_types, limits)?;
        Ok(Self { hash_types, key })
    }
}

fn take_hash_types(data: &mut Data<'_>, limits: &Limits) -> Result<u32, CommandError> {
    let hash_types = data.u32()?;
    match hash_types & !limits.hash_types {
        0 => Ok(hash_types),
        others => Err(CommandError::HashTypes(others)),
    }
}

fn take_key<'a>(
    data: &mut Data<'a>,
    hash_types: u32,
    limits: &Limits,
) -> Result<&'a [u8], CommandError> {
    let len = data.u8()?;
    let empty = len == 0 && hash_types != 0;
    if empty || len > limits.max_key || usize::from(len) > MAX_KEY_LEN {
        return Err(CommandError::KeyLength(len));
    }
    let key = data.bytes(usize::from(len))?;
    data.padding(PADDING);
    Ok(key)
}

/// An indirection table with the queue for what has no hash: which receive queue a packet
/// goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indirection {
    /// The table, repeated to its full length.
    table: [u16; MAX_TABLE_LEN],
    unclassified: u16,
}

impl Indirection {
    /// The one that `config` asks for.
    pub fn new(config: &RssConfig<'_>) -> Self {
        let mut table = [0; MAX_TABLE_LEN];
        // A shorter table has as many entries as divide the length, so that repeating it
        // changes nothing.
        let len = config.table.len().max(1);
        for chunk in table.chunks_mut(len) {
            for (entry, queue) in chunk.iter_mut().zip(config.table.iter()) {
                *entry = queue;
            }
        }
        Self {
            table,
            unclassified: config.unclassified_queue,
        }
    }

    /// The receive queue, counted from zero, for a packet with this hash or with none.
    #[inline]
    pub fn queue(&self, hash: Option<u32>) -> u16 {
        const { assert!(MAX_TABLE_LEN.is_power_of_two() && MAX_TABLE_LEN <= 1 << 16) };
        hash.map(|hash| usize::from(hash as u16) & (MAX_TABLE_LEN - 1))
            .and_then(|index| self.table.get(index))
            .copied()
            .unwrap_or(self.unclassified)
    }
}

/// Length in bytes of what `struct virtio_net_hdr_v1_hash` has behind
/// [`NetHeader`](super::NetHeader).
pub const HASH_FIELDS_LEN: usize = 8;

/// What follows [`NetHeader`](super::NetHeader) when `VIRTIO_NET_F_HASH_REPORT` is
/// negotiated: the hash, and as `report` what was hashed (`VIRTIO_NET_HASH_REPORT_*`;
/// nothing if zero).
pub const fn hash_fields(hash: u32, report: u16) -> [u8; HASH_FIELDS_LEN] {
    let [h0, h1, h2, h3] = hash.to_le_bytes();
    let [r0, r1] = report.to_le_bytes();
    [h0, h1, h2, h3, r0, r1, 0, 0]
}
