// SPDX-License-Identifier: GPL-2.0

//! Data of commands that have many fields.

/// The tables of `MAC_TABLE_SET`: stations and groups.
pub fn mac_tables(unicast: &[[u8; 6]], multicast: &[[u8; 6]]) -> Vec<u8> {
    let mut data = Vec::new();
    for table in [unicast, multicast] {
        data.extend((table.len() as u32).to_le_bytes());
        data.extend(table.concat());
    }
    data
}

/// What `RSS_CONFIG` sets.
pub fn rss(types: u32, table: &[u16], unclassified: u16, transmit: u16, key: &[u8]) -> Vec<u8> {
    let mut data = types.to_le_bytes().to_vec();
    data.extend((table.len() as u16).wrapping_sub(1).to_le_bytes());
    data.extend(unclassified.to_le_bytes());
    for entry in table {
        data.extend(entry.to_le_bytes());
    }
    data.extend(transmit.to_le_bytes());
    data.push(key.len() as u8);
    data.extend(key);
    data
}

/// What `HASH_CONFIG` sets.
pub fn hash(types: u32, key: &[u8]) -> Vec<u8> {
    let mut data = types.to_le_bytes().to_vec();
    data.extend([0; 8]);
    data.push(key.len() as u8);
    data.extend(key);
    data
}

/// `struct virtio_net_ctrl_coal`
pub fn coalescing(packets: u32, usecs: u32) -> [u8; 8] {
    let [p0, p1, p2, p3] = packets.to_le_bytes();
    let [u0, u1, u2, u3] = usecs.to_le_bytes();
    [p0, p1, p2, p3, u0, u1, u2, u3]
}

/// `struct virtio_net_ctrl_coal_vq`
pub fn queue_coalescing(index: u16, packets: u32, usecs: u32) -> Vec<u8> {
    let mut data = index.to_le_bytes().to_vec();
    data.extend([0; 2]);
    data.extend(coalescing(packets, usecs));
    data
}

/// `struct virtio_net_ctrl_queue_stats`
pub fn statistics(requests: &[(u16, u64)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (index, types) in requests {
        data.extend(index.to_le_bytes());
        data.extend([0; 6]);
        data.extend(types.to_le_bytes());
    }
    data
}
