// SPDX-License-Identifier: GPL-2.0

//! `kernel::sync`, made of loom's.

pub use loom::sync::Arc;

pub mod atomic {
    //! `kernel::sync::atomic`. The kernel's fully ordered operations are a barrier before and
    //! one after.

    use loom::sync::atomic::{
        fence,
        AtomicU64,
        Ordering, //
    };
    use std::{
        cell::Cell,
        marker::PhantomData, //
    };

    thread_local! {
        /// Whether orderings count. All threads of a model are of one thread of the machine.
        static ORDERED: Cell<bool> = const { Cell::new(true) };
    }

    /// Makes all operations relaxed ones in what `model` does.
    pub fn without_order(model: impl FnOnce()) {
        struct Restore;
        impl Drop for Restore {
            fn drop(&mut self) {
                ORDERED.set(true);
            }
        }
        let _restore = Restore;
        ORDERED.set(false);
        model();
    }

    /// An ordering of the kernel's.
    pub trait Order {
        /// That of a load.
        const LOAD: Ordering;
        /// That of a store.
        const STORE: Ordering;
        /// That of an operation that does both.
        const BOTH: Ordering;
        /// Whether there is a barrier on either side.
        const FULL: bool = false;
    }

    /// No ordering.
    pub struct Relaxed;
    /// Orders a load before what comes after it.
    pub struct Acquire;
    /// Orders a store after what comes before it.
    pub struct Release;
    /// Orders everything.
    pub struct Full;

    impl Order for Relaxed {
        const LOAD: Ordering = Ordering::Relaxed;
        const STORE: Ordering = Ordering::Relaxed;
        const BOTH: Ordering = Ordering::Relaxed;
    }

    impl Order for Acquire {
        const LOAD: Ordering = Ordering::Acquire;
        const STORE: Ordering = Ordering::Relaxed;
        const BOTH: Ordering = Ordering::Acquire;
    }

    impl Order for Release {
        const LOAD: Ordering = Ordering::Relaxed;
        const STORE: Ordering = Ordering::Release;
        const BOTH: Ordering = Ordering::Release;
    }

    impl Order for Full {
        const LOAD: Ordering = Ordering::SeqCst;
        const STORE: Ordering = Ordering::SeqCst;
        const BOTH: Ordering = Ordering::AcqRel;
        const FULL: bool = true;
    }

    fn ordered(ordering: Ordering) -> Ordering {
        match ORDERED.get() {
            true => ordering,
            false => Ordering::Relaxed,
        }
    }

    /// A barrier, if it counts.
    pub fn smp_mb() {
        if ORDERED.get() {
            fence(Ordering::SeqCst);
        }
    }

    fn both<O: Order, R>(operation: impl FnOnce(Ordering) -> R) -> R {
        if O::FULL {
            smp_mb();
        }
        let result = operation(ordered(O::BOTH));
        if O::FULL {
            smp_mb();
        }
        result
    }

    /// What fits a word.
    pub trait Word: Copy + Eq {
        /// As a word.
        fn to_word(self) -> u64;
        /// From a word.
        fn from_word(word: u64) -> Self;
    }

    macro_rules! word {
        ($($type:ty),*) => {$(
            impl Word for $type {
                fn to_word(self) -> u64 {
                    self as u64
                }

                fn from_word(word: u64) -> Self {
                    word as Self
                }
            }
        )*};
    }

    word!(u32, u64, i64);

    impl Word for bool {
        fn to_word(self) -> u64 {
            self.into()
        }

        fn from_word(word: u64) -> Self {
            word != 0
        }
    }

    /// The kernel's atomic type.
    pub struct Atomic<T>(AtomicU64, PhantomData<T>);

    /// The kernel's atomic `bool`.
    pub type AtomicFlag = Atomic<bool>;

    impl<T: Word> Atomic<T> {
        /// With this value.
        pub fn new(value: T) -> Self {
            Self(AtomicU64::new(value.to_word()), PhantomData)
        }

        /// Reads it.
        pub fn load<O: Order>(&self, _: O) -> T {
            T::from_word(self.0.load(ordered(O::LOAD)))
        }

        /// Writes it.
        pub fn store<O: Order>(&self, value: T, _: O) {
            self.0.store(value.to_word(), ordered(O::STORE));
        }

        /// Writes it, and returns what it was.
        pub fn xchg<O: Order>(&self, value: T, _: O) -> T {
            T::from_word(both::<O, _>(|order| self.0.swap(value.to_word(), order)))
        }

        /// Writes it if it is `old`, else returns what it is.
        pub fn cmpxchg<O: Order>(&self, old: T, new: T, _: O) -> Result<T, T> {
            both::<O, _>(|order| {
                self.0
                    .compare_exchange(old.to_word(), new.to_word(), order, Ordering::Relaxed)
                    .map(T::from_word)
                    .map_err(T::from_word)
            })
        }

        /// Adds to it, and returns what it was.
        pub fn fetch_add<O: Order>(&self, value: T, _: O) -> T {
            T::from_word(both::<O, _>(|order| {
                self.0.fetch_add(value.to_word(), order)
            }))
        }
    }
}
