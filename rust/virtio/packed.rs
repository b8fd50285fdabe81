// SPDX-License-Identifier: GPL-2.0

//! The device side of the packed virtqueue (clause 2.8).
//!
//! There is one ring, in which the driver makes descriptors available and the device
//! writes used ones over them. That a chain was completed is therefore kept in the queue
//! until it is published: what is in the ring is still the driver's, and can be looked at
//! again after [`rewind`](Queue::rewind).

use core::{
    cell::Cell,
    ops::Deref, //
};

use super::{
    areas::Areas,
    fault::QueueError,
    features::Features,
    layout::{
        packed::Slot,
        LayoutError,
        QueueLayout, //
    },
    memory::{
        Access,
        Memory, //
    },
    num::usize_from_u32,
    queue::{
        Interrupt,
        Queue, //
    },
    short::ShortChains,
};

mod event;
mod head;
mod short;
mod used;
mod walk;

use event::Kicks;

pub use event::need_slot_event;
pub use head::Head;
pub use used::Completion;
pub use walk::PackedWalk;

/// How far a packed virtqueue was at a certain time.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    available: Slot,
    completed: u32,
}

/// Where a packed virtqueue stands (2.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Where the next chain is taken.
    pub available: Slot,
    /// Where the next used chain is written. All chains from there up to `available` are
    /// with the device.
    pub used: Slot,
}

impl State {
    /// That of a new queue.
    pub const START: Self = Self {
        available: Slot::FIRST,
        used: Slot::FIRST,
    };

    /// The state when all chains before `slot` have been used.
    pub const fn at(slot: Slot) -> Self {
        Self {
            available: slot,
            used: slot,
        }
    }
}

/// The device side of a packed virtqueue, for a memory whose areas are `A`. The room for
/// completed chains, `C`, is a box or a vector of them.
///
/// Where the queue is lies here, not in shared memory; the driver has no say in it.
///
/// # Invariants
///
/// When the queue is set up,
///
/// - there is room for as many completions as it has descriptors;
/// - `available` and `used` are slots of the ring, and `available` is ahead of `used` by
///   its number of descriptors at most;
/// - in the order of counters, `published` <= `begun` <= `completed`, and the completions
///   from `published` on have no more descriptors than `available` is ahead of `used`.
pub struct PackedQueue<A, C> {
    areas: Areas<A>,
    /// The chains that were completed and not yet published, in order from the first.
    completions: C,
    /// The next chain to be taken.
    available: Cell<Slot>,
    /// Where the next used chain is written.
    used: Cell<Slot>,
    /// How many chains were ever completed.
    completed: Cell<u32>,
    /// How many of them [`publish`](Queue::publish) has begun to write.
    begun: Cell<u32>,
    /// How many of them the driver can see.
    published: Cell<u32>,
    /// How many descriptors were used since an interrupt was last decided about, up to
    /// those that there are.
    unsignalled: Cell<u16>,
    kicks: Cell<Kicks>,
}

impl<A, C: Deref<Target = [Cell<Completion>]>> PackedQueue<A, C> {
    /// A queue that is not set up, with room for the translations of its descriptor area,
    /// driver area and device area, and for one completion per descriptor.
    pub fn new(areas: [A; 3], completions: C) -> Self {
        Self {
            areas: Areas::new(areas),
            completions,
            available: Cell::new(Slot::FIRST),
            used: Cell::new(Slot::FIRST),
            completed: Cell::new(0),
            begun: Cell::new(0),
            published: Cell::new(0),
            unsignalled: Cell::new(0),
            kicks: Cell::new(Kicks::Unsaid),
        }
    }

    /// Sets the queue up where `layout` says, with the negotiated `features`.
    ///
    /// It goes on at `state`: [`State::START`] for a new queue, or what
    /// [`state`](Self::state) was where the queue was before. Chains that are with the
    /// device then are not known here, and stay with it. What the queue knew so far is
    /// forgotten.
    ///
    /// # Errors
    ///
    /// What is wrong with the layout or the state. The queue is then not set up.
    pub fn setup(
        &mut self,
        layout: QueueLayout,
        features: Features,
        state: State,
    ) -> Result<(), LayoutError> {
        self.clear();
        let features = features.union(Features::RING_PACKED);
        layout.validate(features)?;
        let size = layout.size;
        let room = self.completions.len();
        if usize::from(size) > room {
            return Err(LayoutError::Room { size, room });
        }
        let State { available, used } = state;
        if available.index >= size || used.index >= size || available.ahead_of(used, size).is_none()
        {
            return Err(LayoutError::State {
                available: available.to_bits(),
                used: used.to_bits(),
                size,
            });
        }
        self.areas.setup(layout, features)?;
        // INVARIANT: Room and state have just been checked; there are no completions.
        self.available.set(available);
        self.used.set(used);
        Ok(())
    }

    /// Makes the queue one that is not set up.
    pub fn clear(&mut self) {
        self.areas.clear();
        self.available.set(Slot::FIRST);
        self.used.set(Slot::FIRST);
        self.completed.set(0);
        self.begun.set(0);
        self.published.set(0);
        self.unsignalled.set(0);
        self.kicks.set(Kicks::Unsaid);
    }

    /// Where the queue lies; all zero when it is not set up.
    pub fn layout(&self) -> QueueLayout {
        self.areas.layout()
    }

    /// Where the queue stands. Chains that were completed and not published count as not
    /// taken, so that they are found again where the queue goes on.
    pub fn state(&self) -> State {
        if !self.areas.is_set_up() {
            return State::START;
        }
        let size = self.areas.size();
        let slots = |count| {
            let completions = self.completions.iter().take(usize_from_u32(count));
            completions.fold(0_u16, |sum, completion| {
                sum.saturating_add(completion.get().slots())
            })
        };
        let begun = slots(self.begun.get().wrapping_sub(self.published.get()));
        let all = slots(self.pending());
        let with_device = self.with_device().saturating_sub(all);
        // What may have been written to the ring already can only be taken as used.
        let used = self.used.get().advance(begun, size);
        State {
            available: used.advance(with_device, size),
            used,
        }
    }

    /// How many chains were completed and not yet published.
    #[inline(always)]
    fn pending(&self) -> u32 {
        self.completed.get().wrapping_sub(self.published.get())
    }

    /// How many descriptors the driver waits for.
    #[inline(always)]
    fn with_device(&self) -> u16 {
        let size = self.areas.size();
        self.available
            .get()
            .ahead_of(self.used.get(), size)
            .unwrap_or(size)
    }
}

impl<A, C: Deref<Target = [Cell<Completion>]>> Queue for PackedQueue<A, C> {
    type Area = A;
    type Head = Head;
    type Mark = Mark;
    type Walk<'m, M>
        = PackedWalk<'m, M>
    where
        Self: 'm,
        M: Memory<Area = A> + 'm;

    fn begin<M: Memory<Area = A>>(&mut self, mem: &M) -> Result<(), QueueError> {
        self.areas.resolve(mem, Access::ReadWrite)
    }

    #[inline]
    fn peek<M: Memory<Area = A>>(&self, mem: &M) -> Result<Option<Head>, QueueError> {
        if !self.areas.is_set_up() {
            return Ok(None);
        }
        self.find_chain(mem)
    }

    #[inline(always)]
    fn peek_short<M: Memory<Area = A>>(
        &self,
        mem: &M,
        limit: usize,
        chains: &mut ShortChains,
    ) -> usize {
        self.find_short(mem, limit, chains)
    }

    #[inline(always)]
    fn complete_short<M: Memory<Area = A>>(
        &self,
        _mem: &M,
        chains: &mut ShortChains,
        count: usize,
        read: bool,
    ) -> bool {
        self.keep_short(chains, count, read)
    }

    #[inline]
    fn walk<'m, M: Memory<Area = A>>(&'m self, mem: &'m M, head: &Head) -> PackedWalk<'m, M> {
        PackedWalk::new(mem, &self.areas, head)
    }

    #[inline]
    fn complete<M: Memory<Area = A>>(
        &self,
        _mem: &M,
        head: Head,
        written: u32,
    ) -> Result<(), QueueError> {
        self.keep(head, written, false);
        Ok(())
    }

    #[inline]
    fn complete_fully<M: Memory<Area = A>>(
        &self,
        _mem: &M,
        head: Head,
        written: u32,
    ) -> Result<(), QueueError> {
        self.keep(head, written, self.areas.has(Features::IN_ORDER));
        Ok(())
    }

    fn publish<M: Memory<Area = A>>(&self, mem: &M) -> Result<Interrupt, QueueError> {
        self.write_used(mem)?;
        let count = self.unsignalled.get();
        if count == 0 {
            return Ok(Interrupt::Nothing);
        }
        // The driver writes what it wants and then reads the ring; the device has written
        // the ring and then reads what the driver wants. One of the two sees the other's.
        mem.fence();
        let raise = self.wants_interrupt(mem, count)?;
        self.unsignalled.set(0);
        Ok(if raise {
            Interrupt::Raise
        } else {
            Interrupt::Suppressed
        })
    }

    fn suppress_kicks<M: Memory<Area = A>>(&self, mem: &M) -> Result<(), QueueError> {
        // The one for a certain chain comes once and then no more, so there is nothing to do
        // about it.
        if self.areas.is_set_up() && !matches!(self.kicks.get(), Kicks::AllowedAt(_)) {
            self.tell(mem, Kicks::Suppressed)?;
        }
        Ok(())
    }

    fn allow_kicks<M: Memory<Area = A>>(&self, mem: &M) -> Result<bool, QueueError> {
        if !self.areas.is_set_up() {
            return Ok(false);
        }
        // Where the chain starts that the driver makes available next is only known when
        // all others were taken.
        let kicks = if self.areas.has(Features::EVENT_IDX) && !self.is_available(mem)? {
            Kicks::AllowedAt(self.available.get())
        } else {
            Kicks::Allowed
        };
        self.tell(mem, kicks)?;
        // The driver makes a chain available and then reads what the device wants; here it
        // is the other way round. One of the two sees the other's.
        mem.fence();
        self.is_available(mem)
    }

    fn mark(&self) -> Mark {
        Mark {
            available: self.available.get(),
            completed: self.completed.get(),
        }
    }

    fn rewind(&self, mark: Mark) {
        let completed = self.completed.get();
        if completed.wrapping_sub(mark.completed) <= completed.wrapping_sub(self.begun.get()) {
            // INVARIANT: The last completions are gone, and `available` is where the first
            // of them was.
            self.completed.set(mark.completed);
            self.available.set(mark.available);
        }
    }
}
