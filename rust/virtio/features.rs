// SPDX-License-Identifier: GPL-2.0

//! Feature bits (clause 6 for those of every device, 5.1.3 for those of a network device).

use core::{
    fmt,
    ops::BitOr, //
};

/// A set of feature bits.
///
/// vDPA knows the bits 0 to 63, and so does this type: the bits of the specification from
/// 64 on cannot be negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub u64);

/// Defines a constant per feature bit, and the table of their names.
macro_rules! features {
    ($($(#[$doc:meta])* $constant:ident = $bit:literal, $name:literal;)*) => {
        impl Features {
            $($(#[$doc])* pub const $constant: Self = Self(1 << $bit);)*
        }

        /// Each bit that has a constant, with the name that the specification has for it.
        const NAMES: &[(Features, &str)] = &[$((Features::$constant, $name),)*];
    };
}

features! {
    /// A descriptor may refer to a table of descriptors (2.7.5.3, 2.8.7).
    INDIRECT_DESC = 28, "VIRTIO_F_INDIRECT_DESC";
    /// Notifications are suppressed by an index rather than a flag (2.7.7, 2.7.10).
    EVENT_IDX = 29, "VIRTIO_F_EVENT_IDX";
    /// The device follows version 1 of the specification.
    VERSION_1 = 32, "VIRTIO_F_VERSION_1";
    /// Addresses pass through a translation that belongs to the platform.
    ACCESS_PLATFORM = 33, "VIRTIO_F_ACCESS_PLATFORM";
    /// The virtqueues are packed (2.8).
    RING_PACKED = 34, "VIRTIO_F_RING_PACKED";
    /// Buffers are used in the order in which they were made available (2.7.9, 2.8.8).
    IN_ORDER = 35, "VIRTIO_F_IN_ORDER";
    /// Memory accesses are ordered as the platform has it for real devices.
    ORDER_PLATFORM = 36, "VIRTIO_F_ORDER_PLATFORM";
    /// The device has virtual functions.
    SR_IOV = 37, "VIRTIO_F_SR_IOV";
    /// A kick carries where the driver is in the queue (2.9).
    NOTIFICATION_DATA = 38, "VIRTIO_F_NOTIFICATION_DATA";
    /// A kick carries a number that the device chose.
    NOTIF_CONFIG_DATA = 39, "VIRTIO_F_NOTIF_CONFIG_DATA";
    /// One queue can be reset alone (2.6.1).
    RING_RESET = 40, "VIRTIO_F_RING_RESET";
    /// The device has administration virtqueues (2.13).
    ADMIN_VQ = 41, "VIRTIO_F_ADMIN_VQ";

    /// The device handles packets with a partial checksum.
    NET_CSUM = 0, "VIRTIO_NET_F_CSUM";
    /// The driver handles packets with a partial checksum.
    NET_GUEST_CSUM = 1, "VIRTIO_NET_F_GUEST_CSUM";
    /// Offloads can be changed through the control queue.
    NET_CTRL_GUEST_OFFLOADS = 2, "VIRTIO_NET_F_CTRL_GUEST_OFFLOADS";
    /// The configuration has the largest MTU.
    NET_MTU = 3, "VIRTIO_NET_F_MTU";
    /// The configuration has a MAC address.
    NET_MAC = 5, "VIRTIO_NET_F_MAC";
    /// The driver can receive TSO over IPv4.
    NET_GUEST_TSO4 = 7, "VIRTIO_NET_F_GUEST_TSO4";
    /// The driver can receive TSO over IPv6.
    NET_GUEST_TSO6 = 8, "VIRTIO_NET_F_GUEST_TSO6";
    /// The driver can receive TSO with ECN.
    NET_GUEST_ECN = 9, "VIRTIO_NET_F_GUEST_ECN";
    /// The driver can receive UDP fragmentation offload.
    NET_GUEST_UFO = 10, "VIRTIO_NET_F_GUEST_UFO";
    /// The device can receive TSO over IPv4.
    NET_HOST_TSO4 = 11, "VIRTIO_NET_F_HOST_TSO4";
    /// The device can receive TSO over IPv6.
    NET_HOST_TSO6 = 12, "VIRTIO_NET_F_HOST_TSO6";
    /// The device can receive TSO with ECN.
    NET_HOST_ECN = 13, "VIRTIO_NET_F_HOST_ECN";
    /// The device can receive UDP fragmentation offload.
    NET_HOST_UFO = 14, "VIRTIO_NET_F_HOST_UFO";
    /// A received packet may lie in several buffers.
    NET_MRG_RXBUF = 15, "VIRTIO_NET_F_MRG_RXBUF";
    /// The configuration has a link status.
    NET_STATUS = 16, "VIRTIO_NET_F_STATUS";
    /// There is a control queue.
    NET_CTRL_VQ = 17, "VIRTIO_NET_F_CTRL_VQ";
    /// Receive modes can be set through the control queue.
    NET_CTRL_RX = 18, "VIRTIO_NET_F_CTRL_RX";
    /// VLANs can be filtered through the control queue.
    NET_CTRL_VLAN = 19, "VIRTIO_NET_F_CTRL_VLAN";
    /// Further receive modes can be set through the control queue.
    NET_CTRL_RX_EXTRA = 20, "VIRTIO_NET_F_CTRL_RX_EXTRA";
    /// The driver can announce its addresses when the device asks for it.
    NET_GUEST_ANNOUNCE = 21, "VIRTIO_NET_F_GUEST_ANNOUNCE";
    /// There can be several queue pairs, with automatic receive steering.
    NET_MQ = 22, "VIRTIO_NET_F_MQ";
    /// The MAC address can be set through the control queue.
    NET_CTRL_MAC_ADDR = 23, "VIRTIO_NET_F_CTRL_MAC_ADDR";
    /// Statistics can be read through the control queue.
    NET_DEVICE_STATS = 50, "VIRTIO_NET_F_DEVICE_STATS";
    /// Hashes can be taken of inner headers.
    NET_HASH_TUNNEL = 51, "VIRTIO_NET_F_HASH_TUNNEL";
    /// Interrupts can be coalesced per virtqueue.
    NET_VQ_NOTF_COAL = 52, "VIRTIO_NET_F_VQ_NOTF_COAL";
    /// Interrupts can be coalesced.
    NET_NOTF_COAL = 53, "VIRTIO_NET_F_NOTF_COAL";
    /// The driver can receive UDP segmentation offload over IPv4.
    NET_GUEST_USO4 = 54, "VIRTIO_NET_F_GUEST_USO4";
    /// The driver can receive UDP segmentation offload over IPv6.
    NET_GUEST_USO6 = 55, "VIRTIO_NET_F_GUEST_USO6";
    /// The device can receive UDP segmentation offload.
    NET_HOST_USO = 56, "VIRTIO_NET_F_HOST_USO";
    /// The device can report the hash of each packet.
    NET_HASH_REPORT = 57, "VIRTIO_NET_F_HASH_REPORT";
    /// The driver can say the exact length of a packet's headers.
    NET_GUEST_HDRLEN = 59, "VIRTIO_NET_F_GUEST_HDRLEN";
    /// The device can steer received packets by a configurable hash.
    NET_RSS = 60, "VIRTIO_NET_F_RSS";
    /// The device can report coalesced segments and duplicated ACKs.
    NET_RSC_EXT = 61, "VIRTIO_NET_F_RSC_EXT";
    /// The device may stand by for another one with the same MAC address.
    NET_STANDBY = 62, "VIRTIO_NET_F_STANDBY";
    /// The configuration has speed and duplex.
    NET_SPEED_DUPLEX = 63, "VIRTIO_NET_F_SPEED_DUPLEX";
}

/// What each bit of a network device needs (5.1.3.1, 5.1.4.1): any one of the bits beside
/// it. A bit that needs several others has several lines.
///
/// Two lines say more than the specification's list does, because the feature lives in
/// the control queue: offloads and statistics.
const REQUIREMENTS: &[(Features, Features)] = {
    type F = Features;
    &[
        (F::NET_GUEST_TSO4, F::NET_GUEST_CSUM),
        (F::NET_GUEST_TSO6, F::NET_GUEST_CSUM),
        (F::NET_GUEST_ECN, F::NET_GUEST_TSO4.union(F::NET_GUEST_TSO6)),
        (F::NET_GUEST_UFO, F::NET_GUEST_CSUM),
        (F::NET_GUEST_USO4, F::NET_GUEST_CSUM),
        (F::NET_GUEST_USO6, F::NET_GUEST_CSUM),
        (F::NET_HOST_TSO4, F::NET_CSUM),
        (F::NET_HOST_TSO6, F::NET_CSUM),
        (F::NET_HOST_ECN, F::NET_HOST_TSO4.union(F::NET_HOST_TSO6)),
        (F::NET_HOST_UFO, F::NET_CSUM),
        (F::NET_HOST_USO, F::NET_CSUM),
        (F::NET_CTRL_GUEST_OFFLOADS, F::NET_CTRL_VQ),
        (F::NET_CTRL_RX, F::NET_CTRL_VQ),
        (F::NET_CTRL_VLAN, F::NET_CTRL_VQ),
        (F::NET_CTRL_RX_EXTRA, F::NET_CTRL_VQ),
        (F::NET_GUEST_ANNOUNCE, F::NET_CTRL_VQ),
        (F::NET_MQ, F::NET_CTRL_VQ),
        (F::NET_CTRL_MAC_ADDR, F::NET_CTRL_VQ),
        (F::NET_DEVICE_STATS, F::NET_CTRL_VQ),
        (F::NET_HASH_TUNNEL, F::NET_CTRL_VQ),
        (F::NET_HASH_TUNNEL, F::NET_RSS.union(F::NET_HASH_REPORT)),
        (F::NET_VQ_NOTF_COAL, F::NET_CTRL_VQ),
        (F::NET_NOTF_COAL, F::NET_CTRL_VQ),
        (F::NET_HASH_REPORT, F::NET_CTRL_VQ),
        (F::NET_RSS, F::NET_CTRL_VQ),
        (F::NET_RSC_EXT, F::NET_HOST_TSO4.union(F::NET_HOST_TSO6)),
    ]
};

impl Features {
    /// No feature at all.
    pub const NONE: Self = Self(0);

    /// Whether all of `other` are in the set.
    #[inline(always)]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in the set.
    #[inline(always)]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The set without what is in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The specification's name of a set of one bit, if this layer knows the bit.
    pub fn name(self) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(feature, _)| *feature == self)
            .map(|(_, name)| *name)
    }

    /// Each bit of the set by itself, from the lowest to the highest.
    pub fn bits(self) -> impl Iterator<Item = Self> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let lowest = rest & rest.wrapping_neg();
            rest &= !lowest;
            (lowest != 0).then_some(Self(lowest))
        })
    }

    /// A bit of the set that needs others which are not in it, and those others: any one
    /// of them would do (5.1.3.1). None if the set is coherent.
    pub fn missing_dependency(self) -> Option<(Self, Self)> {
        REQUIREMENTS
            .iter()
            .find(|(bit, needs)| self.contains(*bit) && !self.intersects(*needs))
            .copied()
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// The names of all bits with `|` between them; "bit 24" for one that has no name.
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        for bit in self.bits() {
            match bit.name() {
                Some(name) => write!(f, "{separator}{name}")?,
                None => write!(f, "{separator}bit {}", bit.0.trailing_zeros())?,
            }
            separator = "|";
        }
        Ok(())
    }
}
