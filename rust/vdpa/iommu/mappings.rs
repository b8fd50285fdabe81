// SPDX-License-Identifier: GPL-2.0

//! The mappings of an address space, in order.
//!
//! They are a balanced tree of *leaves*, which have up to [`LEAF`] mappings each, side by side.
//! So one allocation is made for many mappings, and a look-up takes few steps from one part of
//! memory to another.

use super::space::{
    HeldPages,
    Translation, //
};
use core::mem;
use kernel::{
    alloc::{
        kvec::{
            InsertError,
            PushError, //
        },
        Flags, //
    },
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode,
        RBTreeNodeReservation, //
    },
};

/// How many mappings a leaf has at most: what fits 2 KiB.
const LEAF: usize = 2048 / size_of::<Mapping>();

/// What an address space holds.
pub(super) struct Mapping {
    pub(super) translation: Translation,
    /// What has to live as long as the mapping.
    pub(super) pages: Option<HeldPages>,
}

/// Mappings in order, at most [`LEAF`] of them.
type Leaf = KVec<Mapping>;

/// Room for a leaf.
pub(super) struct Room {
    node: RBTreeNodeReservation<u64, Leaf>,
    leaf: Leaf,
}

impl Room {
    /// Makes room. Fails with `ENOMEM`.
    pub(super) fn new(flags: Flags) -> Result<Self> {
        Ok(Self {
            node: RBTreeNodeReservation::new(flags)?,
            leaf: Leaf::with_capacity(LEAF, flags)?,
        })
    }
}

/// Why a mapping was not added.
pub(super) enum Refused {
    /// It would overlap another one.
    Overlaps,
    /// There is no room, for which one is to be brought along.
    Full,
}

/// A mapping that was taken out, and the leaf that it was in if that is empty.
pub(super) struct Removed {
    mapping: Mapping,
    _leaf: Option<RBTreeNode<u64, Leaf>>,
}

impl Removed {
    /// The last iova of the mapping.
    pub(super) fn last(&self) -> u64 {
        self.mapping.translation.last
    }
}

/// Mappings none of which overlap, by their last iovas.
///
/// # Invariants
///
/// The mappings of a leaf do not end after its key, and all end after that of the leaf before.
/// No leaf is empty.
pub(super) struct Mappings(RBTree<u64, Leaf>);

/// Where the first mapping is in a leaf that does not end before `iova`.
#[inline(always)]
fn position(leaf: &Leaf, iova: u64) -> usize {
    let is_before = |mapping: &Mapping| mapping.translation.last < iova;
    // Most often memory is mapped and unmapped in order.
    match (leaf.first(), leaf.last()) {
        (Some(first), _) if !is_before(first) => 0,
        (_, Some(last)) if is_before(last) => leaf.len(),
        _ => leaf.partition_point(is_before),
    }
}

/// Adds a mapping to a leaf.
#[inline(always)]
fn insert(leaf: &mut Leaf, at: usize, mapping: &mut Option<Mapping>) -> Result<(), Refused> {
    let Some(new) = mapping.take() else {
        return Ok(());
    };
    let Err(error) = leaf.insert_within_capacity(at, new) else {
        return Ok(());
    };
    let (InsertError::OutOfCapacity(new) | InsertError::IndexOutOfBounds(new)) = error;
    *mapping = Some(new);
    Err(Refused::Full)
}

/// Adds a mapping at the end of a leaf.
#[inline(always)]
fn push(leaf: &mut Leaf, mapping: &mut Option<Mapping>) -> Result<(), Refused> {
    let Some(new) = mapping.take() else {
        return Ok(());
    };
    let Err(PushError(new)) = leaf.push_within_capacity(new) else {
        return Ok(());
    };
    *mapping = Some(new);
    Err(Refused::Full)
}

impl Mappings {
    /// None.
    pub(super) fn new() -> Self {
        Self(RBTree::new())
    }

    /// Has a look at the first mapping that does not end before `iova`.
    #[inline]
    pub(super) fn look<R>(&self, iova: u64, look: impl FnOnce(&Mapping) -> R) -> Option<R> {
        // Those of the leaves before this one end before `iova`, and maybe all of this one.
        let leaves = self.0.cursor_lower_bound(&iova)?;
        let (_, leaf) = leaves.current();
        match leaf.get(position(leaf, iova)) {
            Some(found) => Some(look(found)),
            None => leaves.peek_next()?.1.first().map(look),
        }
    }

    /// Adds `new`, and takes it, with the help of `room` if there is no other.
    pub(super) fn insert(
        &mut self,
        new: &mut Option<Mapping>,
        room: &mut Option<Room>,
    ) -> Result<(), Refused> {
        let Some(Mapping {
            translation: Translation { first, last, .. },
            ..
        }) = *new
        else {
            return Ok(());
        };
        if let Some(mut leaves) = self.0.cursor_back_mut() {
            // Most often memory is mapped in order.
            let (&key, leaf) = leaves.current_mut();
            let ends = leaf.last().map_or(0, |before| before.translation.last);
            if ends < first && last <= key && leaf.len() < LEAF {
                return push(leaf, new);
            }
        }
        let Some(mut leaves) = self.0.cursor_lower_bound_mut(&first) else {
            return self.insert_leaf(new, room);
        };
        let (&key, leaf) = leaves.current();
        let mut at = position(leaf, first);
        let after = match leaf.get(at) {
            Some(after) => Some(after),
            None if key == u64::MAX => None,
            None => leaves.peek_next().and_then(|(_, leaf)| leaf.first()),
        };
        if after.is_some_and(|after| after.translation.first <= last) {
            return Err(Refused::Overlaps);
        }
        if last > key {
            // All of this leaf is before it, and it is before all of the next one.
            let Some(next) = leaves.move_next() else {
                return self.insert_leaf(new, room);
            };
            leaves = next;
            at = 0;
        }
        let (_, leaf) = leaves.current_mut();
        if leaf.len() < LEAF {
            return insert(leaf, at, new);
        }
        let Some(Room {
            node,
            leaf: mut other,
        }) = room.take()
        else {
            return Err(Refused::Full);
        };
        // The first half goes to a leaf of its own; or all, if the new one is behind them.
        if at == leaf.len() {
            mem::swap(leaf, &mut other);
        } else {
            for _ in 0..LEAF / 2 {
                let Ok(moved) = leaf.remove(0) else { break };
                // There is room for all of them.
                let _ = other.push_within_capacity(moved);
            }
        }
        let key = other.last().map_or(0, |mapping| mapping.translation.last);
        let result = if last < key {
            insert(&mut other, at, new)
        } else {
            let at = position(leaf, last);
            insert(leaf, at, new)
        };
        // INVARIANT: What was moved ends with `key` at most, and the rest after that.
        self.0.insert(node.into_node(key, other));
        result
    }

    /// Adds a mapping that is behind all leaves.
    fn insert_leaf(
        &mut self,
        new: &mut Option<Mapping>,
        room: &mut Option<Room>,
    ) -> Result<(), Refused> {
        let Some(Room { node, mut leaf }) = room.take() else {
            return Err(Refused::Full);
        };
        insert(&mut leaf, 0, new)?;
        // INVARIANT: Nothing ends after this key, and there is no other leaf with it.
        self.0.insert(node.into_node(u64::MAX, leaf));
        Ok(())
    }

    /// Takes out the first mapping that does not end before `iova`, if it is `wanted`.
    pub(super) fn remove_if(
        &mut self,
        iova: u64,
        wanted: impl Fn(&Translation) -> bool,
    ) -> Option<Removed> {
        let mut leaves = self.0.cursor_lower_bound_mut(&iova)?;
        let (_, leaf) = leaves.current();
        let mut at = position(leaf, iova);
        if at == leaf.len() {
            leaves = leaves.move_next()?;
            at = 0;
        }
        let (_, leaf) = leaves.current_mut();
        if !wanted(&leaf.get(at)?.translation) {
            return None;
        }
        let mapping = leaf.remove(at).ok()?;
        // INVARIANT: A leaf that is empty goes.
        let empty = leaf.is_empty().then(|| leaves.remove_current().1);
        Some(Removed {
            mapping,
            _leaf: empty,
        })
    }

    /// Changes the mapping that ends with `last`, if there is one.
    pub(super) fn change(&mut self, last: u64, change: impl FnOnce(&mut Mapping)) {
        if let Some(mut leaves) = self.0.cursor_lower_bound_mut(&last) {
            let (_, leaf) = leaves.current_mut();
            let at = position(leaf, last);
            if let Some(found) = leaf.get_mut(at) {
                if found.translation.last == last {
                    change(found);
                }
            }
        }
    }

    /// All of them, in order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mapping> {
        self.0.values_mut().flat_map(|leaf| leaf.iter_mut())
    }
}
