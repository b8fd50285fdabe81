// SPDX-License-Identifier: GPL-2.0

//! Time, which QEMU can make a count of instructions.

use crate::{
    fail,
    outcome::{Outcome, While},
    sys,
};
use nix::sys::mman::MlockAllFlags;
use std::time::Duration;

/// The time-stamp counter. With `-icount shift=0` it is one more with each instruction of
/// the whole machine.
#[inline]
pub fn now() -> u64 {
    // SAFETY: Every x86-64 processor has the instruction, and Linux permits it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// What is measured, between two readings of the clock; and a mark for `scripts/profile` before
/// and after it, that is, an instruction which does nothing.
pub struct Span(u64);

impl Span {
    /// Begins.
    #[inline]
    pub fn begin() -> Self {
        // SAFETY: It does nothing.
        unsafe { core::arch::asm!(".byte 0x0f, 0x1f, 0x84, 0, 0x4d, 0x52, 0x56, 0x50") };
        Self(now())
    }

    /// Ends. Returns how many instructions it had.
    #[inline]
    pub fn end(self) -> u64 {
        let end = now();
        // SAFETY: It does nothing.
        unsafe { core::arch::asm!(".byte 0x0f, 0x1f, 0x84, 0, 0x4d, 0x52, 0x56, 0x51") };
        end - self.0
    }
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

/// Whether time counts instructions. Somebody else may run in between, but not each time.
pub fn is_counted() -> bool {
    (0..100).any(|_| (2 * TURNS..2 * TURNS + 100).contains(&known()))
}

/// Fails unless time counts instructions. What a guest still does after its start may take the
/// processor all the while, so it gets some time.
pub fn must_count() -> Outcome {
    let counted = (0..20).any(|_| {
        let counted = is_counted();
        if !counted {
            std::thread::sleep(Duration::from_millis(500));
        }
        counted
    });
    if !counted {
        fail!(
            "time does not count instructions: {} for {}; boot with QEMU's -icount \
             shift=0,sleep=off and one CPU",
            known(),
            2 * TURNS
        );
    }
    Ok(())
}

/// How the names of devices' workers begin: of work queues, and of the C simulator.
const WORKERS: [&str; 2] = ["kworker/", "vDPA sim"];

/// Workers of devices that have the processor at once and until they sleep, until the value
/// goes: what the caller does meanwhile costs nothing.
pub struct Ahead(Vec<libc::pid_t>);

impl Ahead {
    /// Takes the workers that are there by now. Keeps the memory of this process where it
    /// is, too.
    pub fn new() -> Outcome<Self> {
        nix::sys::mman::mlockall(MlockAllFlags::MCL_CURRENT).when("mlockall")?;
        let mut workers = Vec::new();
        for name in sys::names("/proc") {
            let Ok(process) = name.parse() else {
                continue;
            };
            let comm = sys::read_line(format!("/proc/{process}/comm")).unwrap_or_default();
            if WORKERS.iter().any(|worker| comm.starts_with(worker)) {
                schedule(process, libc::SCHED_FIFO, 1);
                workers.push(process);
            }
        }
        Ok(Self(workers))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        for &process in &self.0 {
            schedule(process, libc::SCHED_OTHER, 0);
        }
    }
}

/// Sets how a process is scheduled. One that has ended meanwhile is no worry.
fn schedule(process: libc::pid_t, policy: libc::c_int, priority: libc::c_int) {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: The parameters are valid for the call.
    unsafe { libc::sched_setscheduler(process, policy, &parameters) };
}
