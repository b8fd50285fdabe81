// SPDX-License-Identifier: GPL-2.0

//! The device side of the split virtqueue (clause 2.7).

use core::cell::Cell;

use super::{
    areas::Areas,
    fault::{
        Fault,
        QueueError, //
    },
    features::Features,
    layout::{
        available,
        used as used_ring,
        Area,
        LayoutError,
        QueueLayout,
        AVAIL_NO_INTERRUPT,
        USED_NO_NOTIFY, //
    },
    memory::{
        Access,
        Memory, //
    },
    queue::{
        need_event,
        Interrupt,
        Queue, //
    },
    short::ShortChains,
};

mod short;
mod used;
mod walk;

use used::Last;

pub use walk::SplitWalk;

/// An available chain of a split virtqueue.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a chain stays available until it is completed"]
pub struct Head {
    /// The chain's first descriptor, less than the queue's size.
    index: u16,
    /// The available index of the chain.
    available: u16,
}

impl Head {
    /// The index of the chain's first descriptor.
    pub fn index(&self) -> u16 {
        self.index
    }
}

/// How far a split virtqueue was at a certain time.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    next: u16,
    used: u16,
    element: u16,
    last: Last,
}

/// What the device has told the driver about kicks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kicks {
    /// What the driver made of it when it set the queue up.
    Unsaid,
    /// They are not wanted.
    Suppressed,
    /// They are wanted. With `VIRTIO_F_EVENT_IDX`, when the chain with this available
    /// index comes.
    Allowed(u16),
}

/// The device side of a split virtqueue, for a memory whose areas are `A`.
///
/// Where the queue is lies here, not in shared memory; the driver has no say in it. All
/// indices count chains since the queue was made, and wrap at 65536.
///
/// # Invariants
///
/// - `seen` is at most as far ahead of `next` as the queue has descriptors.
/// - In the order of indices, `signalled` <= `published` <= `element` <= `used`.
/// - The chains before `element` are told of by elements that are written, and those from
///   there up to `used`, if there are any, by the one of `last`, which is not.
pub struct SplitQueue<A> {
    areas: Areas<A>,
    /// The next chain to be taken.
    next: Cell<u16>,
    /// How far chains are available, as last read.
    seen: Cell<u16>,
    /// How many chains were completed.
    used: Cell<u16>,
    /// Where the next element of the used ring is written.
    element: Cell<u16>,
    /// What that tells of.
    last: Cell<Last>,
    /// Where the used index in shared memory is.
    published: Cell<u16>,
    /// Where the used index was when an interrupt was last decided about.
    signalled: Cell<u16>,
    kicks: Cell<Kicks>,
}

impl<A> SplitQueue<A> {
    /// A queue that is not set up, with room for the translations of its descriptor area,
    /// driver area and device area.
    pub fn new(areas: [A; 3]) -> Self {
        Self {
            areas: Areas::new(areas),
            next: Cell::new(0),
            seen: Cell::new(0),
            used: Cell::new(0),
            element: Cell::new(0),
            last: Cell::default(),
            published: Cell::new(0),
            signalled: Cell::new(0),
            kicks: Cell::new(Kicks::Unsaid),
        }
    }

    /// Sets the queue up where `layout` says, with the negotiated `features`.
    ///
    /// `index` is the available index of the next chain to be taken: zero for a new queue,
    /// or what [`avail_index`](Self::avail_index) was where the queue was before. All
    /// chains before it have been used. What the queue knew so far is forgotten.
    ///
    /// # Errors
    ///
    /// What is wrong with the layout. The queue is then not set up.
    pub fn setup(
        &mut self,
        layout: QueueLayout,
        features: Features,
        index: u16,
    ) -> Result<(), LayoutError> {
        self.clear();
        self.areas
            .setup(layout, features.without(Features::RING_PACKED))?;
        // INVARIANT: All indices are the same.
        self.next.set(index);
        self.seen.set(index);
        self.used.set(index);
        self.element.set(index);
        self.published.set(index);
        self.signalled.set(index);
        Ok(())
    }

    /// Makes the queue one that is not set up.
    pub fn clear(&mut self) {
        self.areas.clear();
        // INVARIANT: All indices are the same.
        self.next.set(0);
        self.seen.set(0);
        self.used.set(0);
        self.element.set(0);
        self.published.set(0);
        self.signalled.set(0);
        self.kicks.set(Kicks::Unsaid);
    }

    /// Where the queue lies; all zero when it is not set up.
    pub fn layout(&self) -> QueueLayout {
        self.areas.layout()
    }

    /// The available index of the next chain to be taken. Chains that were completed and not
    /// published count as not taken, so that they are found again where the queue goes on.
    pub fn avail_index(&self) -> u16 {
        let unpublished = self.used.get().wrapping_sub(self.published.get());
        self.next.get().wrapping_sub(unpublished)
    }

    /// The place in a ring of the entry with this index.
    #[inline(always)]
    fn slot(&self, index: u16) -> u16 {
        // The size is a power of two.
        index & self.areas.size().wrapping_sub(1)
    }

    /// Reads 16 bits of the driver area.
    #[inline]
    fn load<M: Memory<Area = A>>(&self, mem: &M, offset: usize) -> Result<u16, QueueError> {
        self.areas.load(mem, Area::Driver, offset)
    }

    /// Writes 16 bits of the device area.
    #[inline]
    fn store<M: Memory<Area = A>>(
        &self,
        mem: &M,
        offset: usize,
        value: u16,
    ) -> Result<(), QueueError> {
        self.areas.store(mem, Area::Device, offset, value)
    }

    /// Reads how far chains are available. Returns whether any are.
    #[inline(never)]
    fn refresh<M: Memory<Area = A>>(&self, mem: &M) -> Result<bool, QueueError> {
        let next = self.next.get();
        let index = self.load(mem, available::INDEX)?;
        let size = self.areas.size();
        if index.wrapping_sub(next) > size {
            return Err(Fault::AvailableIndex { index, next, size }.into());
        }
        // What the driver wrote before it wrote the index is read after this.
        mem.acquire();
        // INVARIANT: The index has just been checked.
        self.seen.set(index);
        Ok(index != next)
    }
}

impl<A> Queue for SplitQueue<A> {
    type Area = A;
    type Head = Head;
    type Mark = Mark;
    type Walk<'m, M>
        = SplitWalk<'m, M>
    where
        Self: 'm,
        M: Memory<Area = A> + 'm;

    fn begin<M: Memory<Area = A>>(&mut self, mem: &M) -> Result<(), QueueError> {
        self.areas.resolve(mem, Access::Read)
    }

    #[inline(always)]
    fn peek<M: Memory<Area = A>>(&self, mem: &M) -> Result<Option<Head>, QueueError> {
        let next = self.next.get();
        if next == self.seen.get() && !(self.areas.is_set_up() && self.refresh(mem)?) {
            return Ok(None);
        }
        let head = self.load(mem, available::ring(self.slot(next)))?;
        let size = self.areas.size();
        if head >= size {
            return Err(Fault::Head { head, size }.into());
        }
        Ok(Some(Head {
            index: head,
            available: next,
        }))
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
        mem: &M,
        chains: &mut ShortChains,
        count: usize,
        read: bool,
    ) -> bool {
        self.write_short(mem, chains, count, read)
    }

    #[inline]
    fn walk<'m, M: Memory<Area = A>>(&'m self, mem: &'m M, head: &Head) -> SplitWalk<'m, M> {
        SplitWalk::new(mem, &self.areas, head.index)
    }

    #[inline]
    fn complete<M: Memory<Area = A>>(
        &self,
        mem: &M,
        head: Head,
        written: u32,
    ) -> Result<(), QueueError> {
        debug_assert_eq!(head.available, self.next.get(), "completed out of order");
        let last = Last {
            head: head.index,
            written,
        };
        self.write_element(mem, last)?;
        // INVARIANT: The element of all chains so far is written.
        self.count_completed();
        self.element.set(self.used.get());
        Ok(())
    }

    #[inline]
    fn complete_fully<M: Memory<Area = A>>(
        &self,
        mem: &M,
        head: Head,
        written: u32,
    ) -> Result<(), QueueError> {
        if !self.areas.has(Features::IN_ORDER) {
            return self.complete(mem, head, written);
        }
        debug_assert_eq!(head.available, self.next.get(), "completed out of order");
        // INVARIANT: This is what the next element tells of, unless there is a later chain.
        self.last.set(Last {
            head: head.index,
            written,
        });
        self.count_completed();
        Ok(())
    }

    fn publish<M: Memory<Area = A>>(&self, mem: &M) -> Result<Interrupt, QueueError> {
        let used = self.used.get();
        let old = self.signalled.get();
        if used == old {
            return Ok(Interrupt::Nothing);
        }
        if used != self.published.get() {
            self.write_last(mem)?;
            // The driver sees the elements when it sees the index.
            mem.release();
            self.store(mem, used_ring::INDEX, used)?;
            self.published.set(used);
        }
        // The driver writes what it wants and then reads the index; the device has written
        // the index and then reads what the driver wants. One of the two sees the other's.
        mem.fence();
        let raise = if self.areas.has(Features::EVENT_IDX) {
            let event = self.load(mem, available::used_event(self.areas.size()))?;
            need_event(event, used, old)
        } else {
            self.load(mem, available::FLAGS)? & AVAIL_NO_INTERRUPT == 0
        };
        self.signalled.set(used);
        Ok(if raise {
            Interrupt::Raise
        } else {
            Interrupt::Suppressed
        })
    }

    fn suppress_kicks<M: Memory<Area = A>>(&self, mem: &M) -> Result<(), QueueError> {
        // With an event index there is nothing to do: one that is not moved on is passed
        // once and then no more (2.7.10.2).
        if self.areas.is_set_up()
            && !self.areas.has(Features::EVENT_IDX)
            && self.kicks.get() != Kicks::Suppressed
        {
            self.store(mem, used_ring::FLAGS, USED_NO_NOTIFY)?;
            self.kicks.set(Kicks::Suppressed);
        }
        Ok(())
    }

    fn allow_kicks<M: Memory<Area = A>>(&self, mem: &M) -> Result<bool, QueueError> {
        if !self.areas.is_set_up() {
            return Ok(false);
        }
        let event_idx = self.areas.has(Features::EVENT_IDX);
        let wanted = Kicks::Allowed(if event_idx { self.seen.get() } else { 0 });
        if self.kicks.get() != wanted {
            if event_idx {
                self.store(
                    mem,
                    used_ring::avail_event(self.areas.size()),
                    self.seen.get(),
                )?;
            } else {
                self.store(mem, used_ring::FLAGS, 0)?;
            }
            self.kicks.set(wanted);
        }
        // The driver makes a chain available and then reads what the device wants; here it
        // is the other way round. One of the two sees the other's.
        mem.fence();
        self.refresh(mem)
    }

    fn mark(&self) -> Mark {
        Mark {
            next: self.next.get(),
            used: self.used.get(),
            element: self.element.get(),
            last: self.last.get(),
        }
    }

    fn rewind(&self, mark: Mark) {
        let used = self.used.get();
        if used.wrapping_sub(mark.used) <= used.wrapping_sub(self.published.get()) {
            // INVARIANT: If there was no element for the last chains, there is none again, but
            // for those that were published since then.
            self.element.set(if mark.used == self.published.get() {
                mark.used
            } else {
                mark.element
            });
            self.last.set(mark.last);
            self.used.set(mark.used);
            self.next.set(mark.next);
        }
    }
}
