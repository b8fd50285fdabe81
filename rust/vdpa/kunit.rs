// SPDX-License-Identifier: GPL-2.0

//! KUnit: what is made of the kernel's work queues and strings, and what is left of indices.

use kernel::prelude::*;

#[kunit_tests(rvdpa_workqueue)]
mod workqueue {
    use crate::vdpa::workqueue::{
        OwnedQueue,
        Turn, //
    };
    use kernel::{
        impl_has_work, new_work,
        prelude::*,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Arc, //
        },
        workqueue::{
            Work,
            WorkItem, //
        },
    };

    /// Work that counts its runs, two of which never overlap.
    #[pin_data]
    struct Counter {
        #[pin]
        work: Work<Counter>,
        turn: Turn,
        inside: Atomic<u32>,
        overlaps: Atomic<u32>,
        runs: Atomic<u32>,
    }

    impl_has_work! {
        impl HasWork<Self> for Counter { self.work }
    }

    impl WorkItem for Counter {
        type Pointer = Arc<Counter>;

        fn run(this: Arc<Counter>) {
            this.turn.run(|()| {
                if this.inside.fetch_add(1, Relaxed) != 0 {
                    this.overlaps.fetch_add(1, Relaxed);
                }
                this.runs.fetch_add(1, Relaxed);
                this.inside.fetch_add(u32::MAX, Relaxed);
                false
            });
        }
    }

    fn counter() -> Result<Arc<Counter>> {
        Arc::pin_init(
            pin_init!(Counter {
                work <- new_work!("rvdpa_kunit::Counter"),
                turn: Turn::new(()),
                inside: Atomic::new(0),
                overlaps: Atomic::new(0),
                runs: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    #[test]
    fn the_end_of_a_queue_waits_for_its_work() -> Result {
        for cpu in [None, Some(0), Some(1), Some(u32::MAX)] {
            let counter = counter()?;
            let queue = OwnedQueue::new(c"rvdpa_kunit")?;
            queue.handle().enqueue_on(cpu, counter.clone());
            drop(queue);
            assert_eq!(counter.runs.load(Relaxed), 1);
        }
        Ok(())
    }

    #[test]
    fn work_after_the_end_is_dropped() -> Result {
        let counter = counter()?;
        let queue = OwnedQueue::new(c"rvdpa_kunit")?;
        let handle = queue.handle();
        drop(queue);
        handle.enqueue_on(None, counter.clone());
        assert_eq!(counter.runs.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn work_on_both_queues_takes_turns() -> Result {
        let counter = counter()?;
        let queue = OwnedQueue::new(c"rvdpa_kunit")?;
        let handle = queue.handle();
        for round in 0..1000u32 {
            let cpu = (round % 3).checked_sub(1);
            handle.enqueue_on(cpu, counter.clone());
        }
        drop(queue);
        assert!(counter.runs.load(Relaxed) > 0);
        assert_eq!(counter.overlaps.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn a_second_run_is_left_to_the_first() {
        let turn = Turn::new(());
        let mut ran = false;
        let again = turn.run(|()| {
            ran = turn.run(|()| true);
            false
        });
        // The inner one did nothing, and the outer one has to come again.
        assert!(!ran);
        assert!(again);
        assert!(!turn.run(|()| false));
        assert!(turn.run(|()| true));
    }
}

#[kunit_tests(rvdpa_name)]
mod name {
    use crate::vdpa::name::checked;
    use kernel::prelude::*;

    /// Whether a name will do.
    fn will_do(name: &CStr) -> bool {
        // SAFETY: It ends with its NUL byte.
        unsafe { checked(name.as_char_ptr()) }.is_ok()
    }

    #[test]
    fn printable_names_will_do() {
        for name in [c"a", c"vdpa0", c"~!$", c"...", c"binder"] {
            assert!(will_do(name));
        }
    }

    #[test]
    fn other_names_will_not() {
        for name in [
            c"",
            c".",
            c"..",
            c"bind",
            c"uevent",
            c"a b",
            c"a/b",
            c"a\x7f",
            c"\xc3\xa4",
        ] {
            assert!(!will_do(name));
        }
    }

    #[test]
    fn names_of_255_bytes_are_the_longest() -> Result {
        let mut bytes = [b'x'; 257];
        bytes[256] = 0;
        let long = CStr::from_bytes_with_nul(&bytes).map_err(|_| EINVAL)?;
        let fits = CStr::from_bytes_with_nul(&bytes[1..]).map_err(|_| EINVAL)?;
        assert!(!will_do(long));
        assert!(will_do(fits));
        Ok(())
    }
}

#[kunit_tests(rvdpa_nospec)]
mod nospec {
    use crate::vdpa::nospec::{
        get_nospec,
        index_bits_nospec,
        index_nospec, //
    };

    #[test]
    fn an_index_beyond_is_zero() {
        for (size, inside, beyond) in [
            (1, &[0][..], &[1, 2, usize::MAX][..]),
            (256, &[0, 1, 255], &[256, 257, 65535, usize::MAX]),
            (usize::MAX, &[1, usize::MAX - 1], &[usize::MAX]),
            (0, &[], &[1, usize::MAX]),
        ] {
            for &index in inside {
                assert_eq!(index_nospec(index, size), index);
            }
            for &index in beyond {
                assert_eq!(index_nospec(index, size), 0);
            }
        }
    }

    #[test]
    fn an_element_beyond_is_none() {
        assert_eq!(get_nospec(&[7, 8, 9], 2), Some(&9));
        assert_eq!(get_nospec(&[7, 8, 9], 3), None);
        assert_eq!(get_nospec::<u8>(&[], 0), None);
    }

    #[test]
    fn bits_keep_what_is_inside() {
        for (size, bits) in [(1, 0), (2, 1), (3, 3), (256, 255), (257, 511)] {
            assert_eq!(index_bits_nospec(size), bits);
        }
        assert_eq!(index_bits_nospec(usize::MAX), usize::MAX);
    }
}
