// SPDX-License-Identifier: GPL-2.0

//! The memory of QEMU's machine, as the driver in it has it.

use super::Qtest;
use crate::arena::View;
use rvdpa_virtio::mock::DriverMemory;
use std::{cell::RefCell, rc::Rc};

struct Place {
    view: View,
    /// Who is told of what is written, if somebody is.
    told: Option<Qtest>,
}

/// The memory. Cheap to clone.
///
/// The file behind QEMU's memory is mapped here, too, so that most accesses are as fast as
/// those of a processor. But QEMU does not see what is written so, which it has to while it
/// migrates: then writes go through qtest.
#[derive(Clone)]
pub struct Ram(Rc<RefCell<Place>>);

impl Ram {
    pub fn new(view: View) -> Self {
        Self(Rc::new(RefCell::new(Place { view, told: None })))
    }

    /// Writes through QEMU from now on.
    pub fn write_through(&self, qtest: Qtest) {
        self.0.borrow_mut().told = Some(qtest);
    }

    /// The memory is another machine's from now on.
    pub fn move_to(&self, other: &Self) {
        let view = other.0.borrow().view.clone();
        *self.0.borrow_mut() = Place { view, told: None };
    }

    fn view(&self) -> View {
        self.0.borrow().view.clone()
    }
}

impl DriverMemory for Ram {
    fn read(&self, address: u64, out: &mut [u8]) {
        self.view().read(address, out);
    }

    fn write(&self, address: u64, data: &[u8]) {
        let place = self.0.borrow();
        match &place.told {
            None => place.view.write(address, data),
            Some(qtest) => {
                let done = qtest.write(address, data);
                assert!(done.is_ok(), "writing to the machine's memory: {done:?}");
            }
        }
    }

    fn load_u16(&self, address: u64) -> u16 {
        self.view().load_u16(address)
    }

    fn store_u16(&self, address: u64, value: u16) {
        let place = self.0.borrow();
        match &place.told {
            None => place.view.store_u16(address, value),
            // Two bytes that belong together are copied together.
            Some(qtest) => {
                let done = qtest.store(address, 2, value.into());
                assert!(done.is_ok(), "writing to the machine's memory: {done:?}");
            }
        }
    }
}
