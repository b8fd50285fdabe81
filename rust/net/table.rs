// SPDX-License-Identifier: GPL-2.0

//! Where a switch has seen which address.

use core::{
    cmp::Reverse,
    ops::{
        Deref,
        DerefMut, //
    }, //
};

mod hash;

use hash::hash;

/// How many entries a [`Bucket`] has.
pub const BUCKET_LEN: usize = 4;

/// A port of a switch.
///
/// The generation tells ports that had the same number one after the other apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// Which port.
    pub number: u16,
    /// Which one of those that had the number.
    pub generation: u32,
}

/// A station, as a [`Table`] knows it: an address in a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Station {
    /// The VLAN ID, from 0 to 4095; 0 where there is no tag.
    pub vlan: u16,
    /// The address.
    pub mac: [u8; 6],
}

impl Station {
    /// The station with an address, in the VLAN of a tag or in none.
    #[inline]
    pub fn new(vlan: Option<u16>, mac: [u8; 6]) -> Self {
        Self {
            vlan: vlan.unwrap_or(0),
            mac,
        }
    }

    /// Whether there can be such a station: its address is neither a group's nor zero.
    #[inline]
    pub fn is_valid(self) -> bool {
        let [first, ..] = self.mac;
        first & 1 == 0 && self.mac != [0; 6]
    }

    /// The station as a number; not zero if it is a valid one.
    #[inline]
    fn key(self) -> u64 {
        let [v0, v1] = self.vlan.to_be_bytes();
        let [a, b, c, d, e, f] = self.mac;
        u64::from_be_bytes([v0, v1, a, b, c, d, e, f])
    }

    fn from_key(key: u64) -> Self {
        let [v0, v1, a, b, c, d, e, f] = key.to_be_bytes();
        Self {
            vlan: u16::from_be_bytes([v0, v1]),
            mac: [a, b, c, d, e, f],
        }
    }
}

/// Where a station was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The station.
    pub station: Station,
    /// The port that its frames came from.
    pub port: Port,
    /// When the last of them came, in the caller's unit.
    pub seen: u64,
}

/// What [`Table::learn`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Nothing: there can be no such station, or the table has no room at all.
    Ignored,
    /// The station was not known.
    New,
    /// The station was not known, and took the place of this one.
    Replaced(Entry),
    /// The station was at this port before.
    Moved(Port),
    /// The station was at this port already, and was seen again.
    Refreshed,
}

/// Room for an entry.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The station as a number; zero where there is none.
    key: u64,
    seen: u64,
    port: Port,
}

impl Slot {
    const EMPTY: Self = Self {
        key: 0,
        seen: 0,
        port: Port {
            number: 0,
            generation: 0,
        },
    };

    fn entry(&self) -> Option<Entry> {
        (self.key != 0).then(|| Entry {
            station: Station::from_key(self.key),
            port: self.port,
            seen: self.seen,
        })
    }
}

/// Room for some entries of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Bucket([Slot; BUCKET_LEN]);

impl Bucket {
    /// A bucket without entries.
    pub const EMPTY: Self = Self([Slot::EMPTY; BUCKET_LEN]);
}

impl Default for Bucket {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The forwarding table of a learning switch. The room for entries, `C`, is a box or a
/// vector of buckets.
///
/// Each station can be in two of the buckets, which a hash tells: so nothing looks at more
/// than `2 * BUCKET_LEN` entries, whatever addresses there are. The hash depends on a seed
/// that senders do not know, so that they cannot choose addresses for one bucket.
///
/// Where both buckets are full, the port goes short that has most entries there, with the
/// new one counted: of those, the one goes that was seen longest ago. So a sender who floods
/// the table with addresses replaces its own ones, and leaves the stations at other ports
/// their share.
///
/// The table does not know the time, nor which ports there are: see
/// [`age_out`](Self::age_out) and [`forget_port`](Self::forget_port).
pub struct Table<C> {
    buckets: C,
    seed: [u64; 2],
    len: usize,
}

impl<C: Deref<Target = [Bucket]>> Table<C> {
    /// How many stations are known.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no station is known.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many stations there is room for, if they have the buckets for it.
    pub fn capacity(&self) -> usize {
        self.buckets.len().saturating_mul(BUCKET_LEN)
    }

    /// The two buckets that a station can be in. They may be one.
    #[inline]
    fn places(&self, key: u64) -> [usize; 2] {
        let hash = hash(self.seed, key);
        // Two to the 32nd buckets would be 400 GiB.
        let count = self.buckets.len() as u64 & 0xffff_ffff;
        // Neither overflows nor truncates: each is below the number of buckets.
        let place = |half: u64| (half.wrapping_mul(count) >> 32) as usize;
        [place(hash >> 32), place(hash & 0xffff_ffff)]
    }

    /// Where a station was seen last.
    #[inline]
    pub fn lookup(&self, station: Station) -> Option<Entry> {
        let key = station.key();
        self.places(key)
            .into_iter()
            .filter_map(|place| self.buckets.get(place))
            .flat_map(|bucket| &bucket.0)
            .find(|slot| slot.key == key)
            .and_then(Slot::entry)
    }

    /// Whether [`learn`](Self::learn) has nothing to tell: the station is known at `port`,
    /// and was seen within the time `within` before `now`. A switch that asks this first
    /// seldom has to change the table.
    #[inline]
    pub fn knows(&self, station: Station, port: Port, now: u64, within: u64) -> bool {
        self.lookup(station)
            .is_some_and(|entry| entry.port == port && now.saturating_sub(entry.seen) <= within)
    }

    /// How many buckets there are.
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// The entries of a bucket, of which there are at most [`BUCKET_LEN`]. For those who
    /// cannot look at the whole table at once.
    pub fn bucket(&self, index: usize) -> impl Iterator<Item = Entry> + '_ {
        let bucket = self.buckets.get(index).into_iter();
        bucket.flat_map(|bucket| &bucket.0).filter_map(Slot::entry)
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.buckets
            .iter()
            .flat_map(|bucket| &bucket.0)
            .filter_map(Slot::entry)
    }
}

impl<C: DerefMut<Target = [Bucket]>> Table<C> {
    /// A table that knows nothing, with this room. `seed` should be random and stay secret.
    pub fn new(buckets: C, seed: [u64; 2]) -> Self {
        let mut table = Self {
            buckets,
            seed,
            len: 0,
        };
        table.clear();
        table
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets.fill(Bucket::EMPTY);
        self.len = 0;
    }

    /// Learns that a frame of `station` came from `port` at the time `now`.
    pub fn learn(&mut self, station: Station, port: Port, now: u64) -> Learned {
        if !station.is_valid() {
            return Learned::Ignored;
        }
        let key = station.key();
        let places = self.places(key);
        if let Some(slot) = self.find(places, |slot| slot.key == key) {
            slot.seen = now;
            let before = core::mem::replace(&mut slot.port, port);
            return if before == port {
                Learned::Refreshed
            } else {
                Learned::Moved(before)
            };
        }
        let Some(slot) = self.room(places, port) else {
            return Learned::Ignored;
        };
        let before = slot.entry();
        *slot = Slot {
            key,
            seen: now,
            port,
        };
        match before {
            Some(entry) => Learned::Replaced(entry),
            None => {
                self.len = self.len.saturating_add(1);
                Learned::New
            }
        }
    }

    /// The first slot of these buckets that `wanted` says yes to.
    fn find(
        &mut self,
        places: [usize; 2],
        wanted: impl Fn(&Slot) -> bool + Copy,
    ) -> Option<&mut Slot> {
        let place = places.into_iter().find(|place| {
            self.buckets
                .get(*place)
                .is_some_and(|bucket| bucket.0.iter().any(wanted))
        })?;
        let bucket = self.buckets.get_mut(place)?;
        bucket.0.iter_mut().find(|slot| wanted(slot))
    }

    /// The slot of these buckets that a new station at `port` gets.
    fn room(&mut self, places: [usize; 2], port: Port) -> Option<&mut Slot> {
        // The emptier bucket is the better one: so both stay usable.
        let used = |place: &usize| {
            let bucket = self.buckets.get(*place)?;
            Some(bucket.0.iter().filter(|slot| slot.key != 0).count())
        };
        let place = places.into_iter().min_by_key(used)?;
        if used(&place)? < BUCKET_LEN {
            return self.find([place; 2], |slot| slot.key == 0);
        }
        let key = self.victim(places, port)?;
        self.find(places, |slot| slot.key == key)
    }

    /// Who has to go from these buckets, both of them full, for a new station at `port`.
    fn victim(&self, places: [usize; 2], port: Port) -> Option<u64> {
        let slots = || {
            let buckets = places.into_iter().filter_map(|at| self.buckets.get(at));
            buckets.flat_map(|bucket| &bucket.0)
        };
        let share = |one: Port| {
            let others = slots().filter(|slot| slot.port == one).count();
            others.saturating_add(usize::from(one == port))
        };
        slots()
            .min_by_key(|slot| (Reverse(share(slot.port)), slot.seen))
            .map(|slot| slot.key)
    }

    /// Forgets all entries that `unwanted` says yes to. Returns how many there were.
    fn forget_if(&mut self, unwanted: impl Fn(&Slot) -> bool) -> usize {
        let before = self.len;
        for slot in self.buckets.iter_mut().flat_map(|bucket| &mut bucket.0) {
            if slot.key != 0 && unwanted(slot) {
                *slot = Slot::EMPTY;
                self.len = self.len.saturating_sub(1);
            }
        }
        before.saturating_sub(self.len)
    }

    /// Forgets a station. Returns what was known of it.
    pub fn forget(&mut self, station: Station) -> Option<Entry> {
        let key = station.key();
        let places = self.places(key);
        let slot = self.find(places, |slot| slot.key == key)?;
        let entry = slot.entry()?;
        *slot = Slot::EMPTY;
        self.len = self.len.saturating_sub(1);
        Some(entry)
    }

    /// Forgets all stations at a port. Returns how many there were. Looks at the whole
    /// table.
    pub fn forget_port(&mut self, port: Port) -> usize {
        self.forget_if(|slot| slot.port == port)
    }

    /// Forgets all stations that were not seen since the time `since`. Returns how many
    /// there were. Looks at the whole table.
    pub fn age_out(&mut self, since: u64) -> usize {
        self.forget_if(|slot| slot.seen < since)
    }
}
