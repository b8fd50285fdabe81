// SPDX-License-Identifier: GPL-2.0

//! A virtqueue whose format is negotiated.
//!
//! A device keeps a [`RingQueue`] and sets it up with the features that were negotiated.
//! For each batch of work it asks once which [`Engine`] there is, and goes on with code
//! that is generic over [`Queue`](super::queue::Queue) and compiled for each of them:
//!
//! ```
//! use core::{cell::Cell, ops::Deref};
//! use rvdpa_virtio::{
//!     fault::QueueError,
//!     memory::Memory,
//!     packed::Completion,
//!     queue::{Interrupt, Queue},
//!     ring::{Engine, RingQueue},
//! };
//!
//! /// Hands back all that is available. Compiled twice.
//! fn batch<Q: Queue, M: Memory<Area = Q::Area>>(
//!     queue: &mut Q,
//!     mem: &M,
//! ) -> Result<Interrupt, QueueError> {
//!     queue.begin(mem)?;
//!     while let Some(head) = queue.peek(mem)? {
//!         queue.complete(mem, head, 0)?;
//!     }
//!     queue.publish(mem)
//! }
//!
//! fn work<A, C, M>(queue: &mut RingQueue<A, C>, mem: &M) -> Result<Interrupt, QueueError>
//! where
//!     C: Deref<Target = [Cell<Completion>]>,
//!     M: Memory<Area = A>,
//! {
//!     match queue.engine() {
//!         Engine::Split(queue) => batch(queue, mem),
//!         Engine::Packed(queue) => batch(queue, mem),
//!     }
//! }
//! ```
//!
//! Work on two queues at once asks for both: `match (from.engine(), to.engine())`.

use core::{
    cell::Cell,
    ops::Deref, //
};

use super::{
    features::Features,
    layout::{
        LayoutError,
        QueueLayout, //
    },
    packed::{
        self,
        Completion,
        PackedQueue, //
    },
    split::SplitQueue,
};

/// Where a virtqueue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A split one: the available index of the next chain.
    Split(u16),
    /// A packed one.
    Packed(packed::State),
}

impl State {
    /// That of a new queue with these negotiated features.
    pub const fn start(features: Features) -> Self {
        if features.contains(Features::RING_PACKED) {
            Self::Packed(packed::State::START)
        } else {
            Self::Split(0)
        }
    }
}

/// The queue of the format that was negotiated.
pub enum Engine<'q, A, C> {
    /// The split one.
    Split(&'q mut SplitQueue<A>),
    /// The packed one.
    Packed(&'q mut PackedQueue<A, C>),
}

/// The device side of a virtqueue of either format.
///
/// # Invariants
///
/// The queue of the other format than `is_packed` says is not set up.
pub struct RingQueue<A, C> {
    split: SplitQueue<A>,
    packed: PackedQueue<A, C>,
    is_packed: bool,
}

impl<A, C: Deref<Target = [Cell<Completion>]>> RingQueue<A, C> {
    /// A queue that is not set up, made of one of each format that are not set up.
    pub fn new(mut split: SplitQueue<A>, mut packed: PackedQueue<A, C>) -> Self {
        split.clear();
        packed.clear();
        // INVARIANT: Neither is set up.
        Self {
            split,
            packed,
            is_packed: false,
        }
    }

    /// Sets the queue up where `layout` says, with the negotiated `features`, to go on at
    /// `state`. What the queue knew so far is forgotten.
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
        // INVARIANT: Neither is set up.
        self.is_packed = features.contains(Features::RING_PACKED);
        match (state, self.engine()) {
            (State::Split(index), Engine::Split(queue)) => queue.setup(layout, features, index),
            (State::Packed(state), Engine::Packed(queue)) => queue.setup(layout, features, state),
            _ => Err(LayoutError::StateFormat),
        }
    }

    /// Makes the queue one that is not set up. It stands at the start of its last format.
    pub fn clear(&mut self) {
        self.split.clear();
        self.packed.clear();
    }

    /// Where the queue lies; all zero when it is not set up.
    pub fn layout(&self) -> QueueLayout {
        if self.is_packed {
            self.packed.layout()
        } else {
            self.split.layout()
        }
    }

    /// Where the queue stands, for a [`setup`](Self::setup) that is to go on there.
    pub fn state(&self) -> State {
        if self.is_packed {
            State::Packed(self.packed.state())
        } else {
            State::Split(self.split.avail_index())
        }
    }

    /// The queue of the format that was negotiated, to be asked for once per batch.
    #[inline]
    pub fn engine(&mut self) -> Engine<'_, A, C> {
        if self.is_packed {
            Engine::Packed(&mut self.packed)
        } else {
            Engine::Split(&mut self.split)
        }
    }
}
