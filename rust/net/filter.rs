// SPDX-License-Identifier: GPL-2.0

//! Which frames a station takes.

/// An Ethernet address.
type Address = [u8; 6];

/// The address of everyone.
const BROADCAST: Address = [0xff; 6];

/// How many addresses of a kind a [`Filter`] knows.
pub const MAX_ADDRESSES: usize = 64;

/// How many VLANs there are.
pub const VLANS: u16 = 4096;

/// Words of the set of VLANs.
const VLAN_WORDS: usize = VLANS as usize / 64;

/// A set of modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes(u8);

impl Modes {
    /// Take everything, whatever else is set.
    pub const PROMISC: Self = Self(1 << 0);
    /// Take all multicast frames.
    pub const ALLMULTI: Self = Self(1 << 1);
    /// Take all unicast frames.
    pub const ALLUNI: Self = Self(1 << 2);
    /// Take no multicast frames, those for everyone excepted. Goes before
    /// [`ALLMULTI`](Self::ALLMULTI).
    pub const NOMULTI: Self = Self(1 << 3);
    /// Take no unicast frames. Goes before [`ALLUNI`](Self::ALLUNI).
    pub const NOUNI: Self = Self(1 << 4);
    /// Take no frames for everyone.
    pub const NOBCAST: Self = Self(1 << 5);

    /// Whether any of `other` is in the set.
    #[inline(always)]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The set with `other`, or without.
    #[must_use]
    pub const fn set(self, other: Self, on: bool) -> Self {
        if on {
            Self(self.0 | other.0)
        } else {
            Self(self.0 & !other.0)
        }
    }
}

/// Addresses of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Addresses {
    /// Those that there are are in front, in order.
    sorted: [Address; MAX_ADDRESSES],
    len: usize,
    /// Whether every address counts as one of them.
    all: bool,
}

impl Addresses {
    const fn new(all: bool) -> Self {
        Self {
            sorted: [[0; 6]; MAX_ADDRESSES],
            len: 0,
            all,
        }
    }

    fn set(&mut self, addresses: impl Iterator<Item = Address>) {
        *self = Self::new(false);
        for address in addresses {
            let Some(place) = self.sorted.get_mut(self.len) else {
                *self = Self::new(true);
                return;
            };
            *place = address;
            self.len = self.len.saturating_add(1);
        }
        if let Some(addresses) = self.sorted.get_mut(..self.len) {
            addresses.sort_unstable();
        }
    }

    fn as_slice(&self) -> &[Address] {
        self.sorted.get(..self.len).unwrap_or_default()
    }

    #[inline]
    fn contains(&self, address: &Address) -> bool {
        self.all || self.as_slice().binary_search(address).is_ok()
    }
}

/// Which frames a station takes, by destination and VLAN.
///
/// A new one takes what is for the station's own address or everyone, all multicast frames
/// and all VLANs. The first [`set_addresses`](Self::set_addresses) ends "all multicast": a
/// driver that never says which groups it wants may count on any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    modes: Modes,
    unicast: Addresses,
    multicast: Addresses,
    filters_vlans: bool,
    /// A bit for each VLAN that is taken if `filters_vlans`.
    vlans: [u64; VLAN_WORDS],
}

impl Filter {
    /// A new filter. With `filters_vlans`, it takes no tagged frames but those of VLANs that
    /// are added later.
    pub const fn new(filters_vlans: bool) -> Self {
        Self {
            modes: Modes(0),
            unicast: Addresses::new(false),
            multicast: Addresses::new(true),
            filters_vlans,
            vlans: [0; VLAN_WORDS],
        }
    }

    /// The modes.
    pub const fn modes(&self) -> Modes {
        self.modes
    }

    /// Sets a mode on or off.
    pub fn set_mode(&mut self, mode: Modes, on: bool) {
        self.modes = self.modes.set(mode, on);
    }

    /// Sets which addresses are taken beside the station's own and everyone's, in place of
    /// those that were. If there are more than [`MAX_ADDRESSES`] of a kind, all of that kind
    /// are taken.
    pub fn set_addresses(
        &mut self,
        unicast: impl Iterator<Item = [u8; 6]>,
        multicast: impl Iterator<Item = [u8; 6]>,
    ) {
        self.unicast.set(unicast);
        self.multicast.set(multicast);
    }

    /// The addresses of stations that are taken, in order; none if all are.
    pub fn unicast(&self) -> Option<&[[u8; 6]]> {
        (!self.unicast.all).then(|| self.unicast.as_slice())
    }

    /// The addresses of groups that are taken, in order; none if all are.
    pub fn multicast(&self) -> Option<&[[u8; 6]]> {
        (!self.multicast.all).then(|| self.multicast.as_slice())
    }

    /// Whether VLANs are filtered.
    pub const fn filters_vlans(&self) -> bool {
        self.filters_vlans
    }

    /// Takes the VLAN `id`, from 0 to 4095, or takes it no longer. Other numbers change
    /// nothing.
    pub fn set_vlan(&mut self, id: u16, on: bool) {
        let bit = 1 << (id % 64);
        if let Some(word) = self.vlans.get_mut(usize::from(id / 64)) {
            *word = if on { *word | bit } else { *word & !bit };
        }
    }

    /// Whether the VLAN `id` was added.
    #[inline]
    pub fn has_vlan(&self, id: u16) -> bool {
        let word = self.vlans.get(usize::from(id / 64));
        word.is_some_and(|word| (word >> (id % 64)) & 1 != 0)
    }

    /// The VLANs that were added.
    pub fn vlans(&self) -> impl Iterator<Item = u16> + '_ {
        (0..VLANS).filter(|id| self.has_vlan(*id))
    }

    /// Whether a station with the address `own` takes a frame for `destination`, whose
    /// outermost tag has the VLAN ID `vlan`. A tag with ID 0 is no VLAN, only a priority.
    #[inline]
    pub fn takes(&self, own: [u8; 6], destination: [u8; 6], vlan: Option<u16>) -> bool {
        if self.modes.intersects(Modes::PROMISC) {
            return true;
        }
        if self.filters_vlans && vlan.is_some_and(|id| id != 0 && !self.has_vlan(id)) {
            return false;
        }
        let [first, ..] = destination;
        if first & 1 == 0 {
            !self.modes.intersects(Modes::NOUNI)
                && (destination == own
                    || self.modes.intersects(Modes::ALLUNI)
                    || self.unicast.contains(&destination))
        } else if destination == BROADCAST {
            !self.modes.intersects(Modes::NOBCAST)
        } else {
            !self.modes.intersects(Modes::NOMULTI)
                && (self.modes.intersects(Modes::ALLMULTI) || self.multicast.contains(&destination))
        }
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::new(false)
    }
}
