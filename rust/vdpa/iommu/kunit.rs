// SPDX-License-Identifier: GPL-2.0

//! KUnit: address spaces, which need the kernel's trees and locks.

use kernel::prelude::*;

#[kunit_tests(rvdpa_address_space)]
mod tests {
    use super::super::{
        space::AddressSpace,
        Permission,
        Place,
        Translation, //
    };
    use kernel::prelude::*;

    /// A mapping of `first..=last` at an address of its own.
    fn mapping(first: u64, last: u64) -> Translation {
        Translation {
            first,
            last,
            place: Place::kernel(first as usize),
            permission: Permission::ReadWrite,
        }
    }

    fn space_with(ranges: &[(u64, u64)]) -> Result<Pin<KBox<AddressSpace>>> {
        let space = KBox::pin_init(AddressSpace::new(), GFP_KERNEL)?;
        for &(first, last) in ranges {
            space.insert(mapping(first, last), None, GFP_KERNEL)?;
        }
        Ok(space)
    }

    #[test]
    fn each_iova_has_the_mapping_that_covers_it() -> Result {
        let space = space_with(&[(0x1000, 0x1fff), (0x3000, 0x3000), (u64::MAX, u64::MAX)])?;
        let first = |iova| space.translate(iova).map(|found| found.first);
        assert_eq!(first(0xfff), None);
        assert_eq!(first(0x1000), Some(0x1000));
        assert_eq!(first(0x1fff), Some(0x1000));
        assert_eq!(first(0x2000), None);
        assert_eq!(first(0x3000), Some(0x3000));
        assert_eq!(first(0x3001), None);
        assert_eq!(first(u64::MAX), Some(u64::MAX));
        Ok(())
    }

    #[test]
    fn what_overlaps_is_refused_and_changes_nothing() -> Result {
        let space = space_with(&[(0x1000, 0x1fff), (0x4000, 0x4fff)])?;
        for (first, last) in [
            (0x1000, 0x1fff),
            (0, 0x1000),
            (0x1fff, 0x2000),
            (0x1800, 0x1801),
            (0, u64::MAX),
            (0x2000, 0x4000),
        ] {
            let result = space.insert(mapping(first, last), None, GFP_KERNEL);
            assert_eq!(result, Err(EEXIST));
        }
        // What only touches does not overlap.
        space.insert(mapping(0x2000, 0x3fff), None, GFP_KERNEL)?;
        space.insert(mapping(0, 0xfff), None, GFP_KERNEL)?;
        assert_eq!(space.take_all().iter_mut().count(), 4);
        Ok(())
    }

    #[test]
    fn a_range_takes_out_what_it_overlaps_alone() -> Result {
        let ranges = [
            (0, 0xfff),
            (0x1000, 0x1fff),
            (0x2000, 0x2fff),
            (0x3000, 0x3fff),
        ];
        let space = space_with(&ranges)?;
        let mut count = 0;
        while let Some(removed) = space.remove(0x1fff, 0x2000) {
            drop(removed);
            count += 1;
        }
        assert_eq!(count, 2);
        assert!(space.translate(0xfff).is_some());
        assert!(space.translate(0x1000).is_none());
        assert!(space.translate(0x2fff).is_none());
        assert!(space.translate(0x3000).is_some());
        assert!(space.remove(0x1000, 0x2fff).is_none());
        Ok(())
    }

    #[test]
    fn what_is_to_be_kept_is_passed_by() -> Result {
        let space = space_with(&[(0, 9), (10, 19), (20, 29), (30, 39)])?;
        let kept = |found: &Translation| found.first % 20 == 0;
        assert!(space.remove_unless(0, kept).is_some());
        assert!(space.translate(15).is_none());
        assert!(space.remove_unless(0, kept).is_some());
        assert!(space.translate(35).is_none());
        assert!(space.remove_unless(0, kept).is_none());
        assert_eq!(space.take_all().iter_mut().count(), 2);
        Ok(())
    }

    #[test]
    fn a_new_table_takes_the_place_of_the_old_one() -> Result {
        let space = space_with(&[(0, 9), (10, 19)])?;
        let other = space_with(&[(10, 19), (40, 49)])?;
        let mut old = space.replace(other.take_all());
        assert_eq!(old.iter_mut().count(), 2);
        space.hand_on(old);
        assert!(space.translate(5).is_none());
        assert!(space.translate(15).is_some());
        assert!(space.translate(45).is_some());
        // Neither had pages, so that there was nothing to hand on.
        assert!(!space.holds(&mapping(10, 19)));
        Ok(())
    }
}
