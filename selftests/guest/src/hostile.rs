// SPDX-License-Identifier: GPL-2.0

//! A driver that plays foul, and users that do.
//!
//! A case ([`Case`]) is data: a good ring, one thing that is changed about it or done to it,
//! and what has to come of that. It is run with rings of either format and in both modes of
//! memory, as far as it makes sense there. Whatever it expects ([`Expect`]), [`judge`] looks
//! at more:
//!
//! - the kernel has nothing to complain of;
//! - what lies around the driver's memory was neither written nor shown to it;
//! - another device, of another process, has traffic all the time;
//! - the device's workers come to rest;
//! - after a reset the device has frames looped as ever.
//!
//! Classes are those of [`class_name`]. A class has a file, or a few do.
//!
//! The same cases are run with the kernel's own simulator, to compare.

mod avail;
mod beside;
mod case;
mod chains;
mod commands;
mod events;
mod headers;
mod judge;
mod kicks;
mod lengths;
mod limits;
mod look;
mod meanwhile;
mod memory;
mod negotiation;
mod packed;
mod permissions;
mod places;
mod plane;
mod processes;
mod races;
mod receive;
mod run;
mod scene;
mod table;
mod tables;
mod users;
mod workers;

pub use case::Case;
pub use run::{quick, run_all, runs, Run, REBOOT};
pub use table::print as print_table;

/// The classes of attacks, by number.
pub fn class_name(class: u8) -> &'static str {
    match class {
        1 => "The available index",
        2 => "Heads",
        3 => "Chains",
        4 => "Indirect tables",
        5 => "Lengths and places of indirect tables",
        6 => "Directions of buffers",
        7 => "Short and empty buffers",
        8 => "Addresses",
        9 => "Permissions of mappings",
        10 => "Places of rings",
        11 => "Memory that changes while the device looks",
        12 => "Mappings that change while the device looks",
        13 => "Changes of state while the device works",
        14 => "Kicks",
        15 => "Packed rings",
        16 => "Places where rings go on",
        17 => "Event suppression",
        18 => "Commands",
        19 => "Headers of frames",
        20 => "Receive buffers that do not suffice",
        21 => "Features and status",
        22 => "The configuration space",
        23 => "Exhaustion",
        24 => "Indices of queues, groups and address spaces",
        25 => "Users and administrators",
        _ => "",
    }
}

/// All cases, in the order of their classes.
pub fn cases() -> Vec<Case> {
    let mut all = [
        avail::CASES,
        chains::CASES,
        tables::CASES,
        tables::LENGTHS,
        lengths::DIRECTIONS,
        lengths::CASES,
        memory::CASES,
        permissions::CASES,
        places::CASES,
        meanwhile::CASES,
        races::MAPPINGS,
        processes::CASES,
        races::STATES,
        kicks::CASES,
        packed::CASES,
        packed::BASES,
        events::CASES,
        commands::CASES,
        commands::ANSWERS,
        headers::CASES,
        receive::CASES,
        negotiation::CASES,
        negotiation::CONFIG,
        limits::CASES,
        limits::INDICES,
        plane::CASES,
        users::CASES,
    ]
    .concat();
    all.sort_by_key(|case| case.class);
    all
}
