// SPDX-License-Identifier: GPL-2.0

//! Time, which QEMU can make a count of instructions.

use crate::{
    fail,
    outcome::{Outcome, While},
};
use nix::{errno::Errno, sys::mman::MlockAllFlags};

/// The time-stamp counter. With `-icount shift=0` it is one more with each instruction of
/// the whole machine.
#[inline]
pub fn now() -> u64 {
    // SAFETY: Every x86-64 processor has the instruction, and Linux permits it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Turns of the loop that is known, each of two instructions.
const TURNS: u64 = 500_000;

/// Instructions that are counted for a loop of `2 * TURNS`.
fn known() -> u64 {
    let start = now();
    // SAFETY: It counts a register down, and does nothing else.
    unsafe {
        core::arch::asm!(
            "2:",
            "dec {0}",
            "jnz 2b",
            inout(reg) TURNS => _,
            options(nomem, nostack)
        );
    }
    now() - start
}

/// Whether time counts instructions. A tick may come in between, not three times.
pub fn is_counted() -> bool {
    let least = (0..3).map(|_| known()).min().unwrap_or_default();
    (2 * TURNS..2 * TURNS + 100).contains(&least)
}

/// Fails unless time counts instructions.
pub fn must_count() -> Outcome {
    if !is_counted() {
        fail!(
            "time does not count instructions: {} for {}; boot with QEMU's -icount \
             shift=0,sleep=off and one CPU",
            known(),
            2 * TURNS
        );
    }
    Ok(())
}

/// Lets whatever else wants the processor have it at once, and until it sleeps: a device's
/// worker, that is. What the caller does then costs nothing while the device works.
///
/// Also keeps all memory of the process where it is.
pub fn stand_back() -> Outcome {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: The parameters are valid for the call, which concerns this thread only.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &none) };
    Errno::result(result).when("SCHED_IDLE")?;
    nix::sys::mman::mlockall(MlockAllFlags::MCL_CURRENT).when("mlockall")
}
