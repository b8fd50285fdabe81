// SPDX-License-Identifier: GPL-2.0

//! PCI, as the firmware and the driver of a machine see it.

use super::Qtest;
use crate::{
    check,
    outcome::{Outcome, While},
};

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;

const ID: u8 = 0x00;
const COMMAND: u8 = 0x04;
const STATUS: u8 = 0x04;
const BAR_0: u8 = 0x10;
const CAPABILITIES: u8 = 0x34;

/// Memory, and the device's own accesses.
const ENABLE: u32 = 0x6;
/// In the upper half of the register.
const HAS_CAPABILITIES: u32 = 1 << 20;
const BAR_64: u32 = 0x4;
const BAR_IO: u32 = 0x1;

/// Where BARs are put, above the RAM and below the interrupt controllers.
const WINDOW: u64 = 0xe000_0000;
/// How much each BAR gets, which is more than any has here.
const SHARE: u64 = 0x10_0000;

/// The first bus has so many devices.
const SLOTS: u8 = 32;

/// A device on the first bus.
pub struct Function {
    qtest: Qtest,
    slot: u8,
}

impl Function {
    /// What is in a slot, if anything.
    fn at(qtest: &Qtest, slot: u8) -> Self {
        Self {
            qtest: qtest.clone(),
            slot,
        }
    }

    /// The first device of a vendor with one of these IDs.
    pub fn find(qtest: &Qtest, vendor: u16, devices: &[u16]) -> Outcome<Self> {
        for slot in 0..SLOTS {
            let function = Self::at(qtest, slot);
            let id = function.read(ID)?;
            if id as u16 == vendor && devices.contains(&((id >> 16) as u16)) {
                return Ok(function);
            }
        }
        None.when(format_args!("device {vendor:04x}:{devices:04x?}"))
    }

    /// Which slot it is in.
    pub fn slot(&self) -> u8 {
        self.slot
    }

    fn select(&self, register: u8) -> Outcome {
        let address = (1 << 31) | (u32::from(self.slot) << 11) | u32::from(register & 0xfc);
        self.qtest.outl(CONFIG_ADDRESS, address)
    }

    /// Reads the four bytes of configuration that `register` is in.
    pub fn read(&self, register: u8) -> Outcome<u32> {
        self.select(register)?;
        self.qtest.inl(CONFIG_DATA)
    }

    fn write(&self, register: u8, value: u32) -> Outcome {
        self.select(register)?;
        self.qtest.outl(CONFIG_DATA, value)
    }

    /// The capabilities with this ID: where they are in the configuration.
    pub fn capabilities(&self, id: u8) -> Outcome<Vec<u8>> {
        let mut found = Vec::new();
        if self.read(STATUS)? & HAS_CAPABILITIES == 0 {
            return Ok(found);
        }
        let mut at = self.read(CAPABILITIES)? as u8 & 0xfc;
        // There is no room for more.
        for _ in 0..48 {
            if at == 0 {
                break;
            }
            let header = self.read(at)?;
            if header as u8 == id {
                found.push(at);
            }
            at = (header >> 8) as u8 & 0xfc;
        }
        Ok(found)
    }

    /// Gives a BAR of memory an address, as firmware does. Returns it.
    pub fn place_bar(&self, bar: u8) -> Outcome<u64> {
        check!(bar < 6, "BAR {bar}");
        let register = BAR_0 + 4 * bar;
        let kind = self.read(register)?;
        check!(kind & BAR_IO == 0, "BAR {bar} is of ports: {kind:#x}");
        let address = WINDOW + SHARE * (u64::from(self.slot) * 6 + u64::from(bar));
        self.write(register, address as u32)?;
        if kind & BAR_64 != 0 {
            self.write(register + 4, (address >> 32) as u32)?;
        }
        Ok(address)
    }

    /// Lets the device answer, and reach the memory.
    pub fn enable(&self) -> Outcome {
        let before = self.read(COMMAND)? & 0xffff;
        self.write(COMMAND, before | ENABLE)
    }
}
