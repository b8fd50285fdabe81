// SPDX-License-Identifier: GPL-2.0

//! The device status and the order of its bits (clauses 2.1 and 3.1).

use core::fmt;

/// The device status: a set of bits that grows while the driver sets the device up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status(pub u8);

/// Why a driver may not write a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusError {
    /// Bits that were set are missing: only a reset clears them (2.1.1).
    Cleared(Status),
    /// Bits that the specification does not know.
    Unknown(Status),
    /// The bit `wanted` was set before the bit `needs` (3.1.1).
    Order {
        /// The bit that came too early.
        wanted: Status,
        /// The bit that must be there first.
        needs: Status,
    },
    /// FEATURES_OK was set, but the device does not accept the features (2.2.1). The
    /// device leaves the bit out, and the driver finds that by reading the status.
    FeaturesRefused,
}

impl Status {
    /// The device is reset: no driver has it.
    pub const RESET: Self = Self(0);
    /// A driver has found the device.
    pub const ACKNOWLEDGE: Self = Self(1);
    /// A driver knows how to drive the device.
    pub const DRIVER: Self = Self(2);
    /// The driver is ready: the device works.
    pub const DRIVER_OK: Self = Self(4);
    /// Features are negotiated.
    pub const FEATURES_OK: Self = Self(8);
    /// The device has run into something that only a reset mends. Set by the device alone.
    pub const NEEDS_RESET: Self = Self(64);
    /// The driver has given up on the device.
    pub const FAILED: Self = Self(128);

    /// Each bit that needs another, with the one it needs, in the order of 3.1.1.
    ///
    /// FEATURES_OK needs DRIVER there, too. But a hypervisor that passes a device on to a
    /// guest may have seen the first two bits itself: QEMU resets the device once more and
    /// begins with FEATURES_OK.
    const ORDER: [(Self, Self); 2] = [
        (Self::DRIVER, Self::ACKNOWLEDGE),
        (Self::DRIVER_OK, Self::FEATURES_OK),
    ];

    /// Every bit that the specification knows.
    const KNOWN: Self = Self(1 | 2 | 4 | 8 | 64 | 128);

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The status with the bits of `other` as well.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The status without the bits of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The status after the driver has written `requested` over `current`.
    ///
    /// A driver only ever adds bits, each after the one that it needs; several may come in
    /// one write. FEATURES_OK also needs `features_accepted`. FAILED may be added at any
    /// time. NEEDS_RESET belongs to the device: the driver neither sets nor clears it,
    /// whatever it writes there. Writing zero is a reset, which is not handled here: it is
    /// refused like any write that clears bits.
    ///
    /// # Errors
    ///
    /// The first rule that the write breaks; the status then stays as it is.
    pub fn next(
        current: Self,
        requested: Self,
        features_accepted: bool,
    ) -> Result<Self, StatusError> {
        let unknown = requested.without(Self::KNOWN);
        if unknown != Self::RESET {
            return Err(StatusError::Unknown(unknown));
        }
        let cleared = current.without(requested).without(Self::NEEDS_RESET);
        if cleared != Self::RESET {
            return Err(StatusError::Cleared(cleared));
        }
        for (wanted, needs) in Self::ORDER {
            if requested.contains(wanted) && !requested.contains(needs) {
                return Err(StatusError::Order { wanted, needs });
            }
        }
        let added = requested.without(current);
        if added.contains(Self::FEATURES_OK) && !features_accepted {
            return Err(StatusError::FeaturesRefused);
        }
        Ok(current.with(added.without(Self::NEEDS_RESET)))
    }
}

/// The names of all bits with `|` between them.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Status, &str); 6] = [
            (Status::ACKNOWLEDGE, "ACKNOWLEDGE"),
            (Status::DRIVER, "DRIVER"),
            (Status::DRIVER_OK, "DRIVER_OK"),
            (Status::FEATURES_OK, "FEATURES_OK"),
            (Status::NEEDS_RESET, "NEEDS_RESET"),
            (Status::FAILED, "FAILED"),
        ];
        if *self == Self::RESET {
            return f.write_str("RESET");
        }
        let mut separator = "";
        for (bit, name) in NAMES {
            if self.contains(bit) {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        let unknown = self.without(Self::KNOWN);
        if unknown != Self::RESET {
            write!(f, "{separator}{:#x}", unknown.0)?;
        }
        Ok(())
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cleared(bits) => write!(f, "{bits} can only be cleared by a reset"),
            Self::Unknown(bits) => write!(f, "{bits} is not a device status"),
            Self::Order { wanted, needs } => write!(f, "{wanted} was set before {needs}"),
            Self::FeaturesRefused => f.write_str("FEATURES_OK was set for refused features"),
        }
    }
}
