// SPDX-License-Identifier: GPL-2.0

//! Users who are not root: none of it is theirs.

use super::{case::Case, processes::Process, scene::Room};
use crate::{
    check, fail,
    netlink::{Bus, Refusal},
    outcome::Outcome,
    parent::Parent,
};
use nix::{
    errno::Errno,
    unistd::{setgid, setgroups, setuid, Gid, Uid},
};
use std::{fs, io::ErrorKind};

pub const CASES: &[Case] = &[
    nobody("an ordinary user opens the device", |room| {
        refused(
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&room.path),
        )
    }),
    nobody("an ordinary user makes a device", |room| {
        if room.parent.device("theirs").add().is_ok() {
            fail!("it was made");
        }
        Ok(())
    }),
    nobody("an ordinary user deletes a device", |room| {
        denied(Bus::new()?.delete(room.device.name()))
    }),
    nobody("an ordinary user sets the address of a device", |room| {
        denied(Bus::new()?.set_mac(room.device.name(), [2, 0, 0, 0, 0, 1]))
    }),
    nobody(
        "an ordinary user reads statistics",
        |room| match Bus::new()?.statistics(room.device.name(), 0) {
            Ok(_) => fail!("they were told"),
            Err(_) => Ok(()),
        },
    ),
    nobody("an ordinary user looks at debugfs", |room| {
        let path = match room.parent {
            Parent::Rvdpa => "/sys/kernel/debug/rvdpa_sim",
            Parent::Peer => "/sys/kernel/debug",
        };
        refused(fs::read_dir(path))
    }),
    nobody(
        "an ordinary user takes the device from its driver",
        |room| {
            let path = room.device.path().join("driver/unbind");
            refused(fs::write(path, room.device.name()))?;
            refused(fs::write(
                room.device.path().join("driver_override"),
                "virtio_vdpa",
            ))
        },
    ),
    nobody("an ordinary user changes a parameter", |room| {
        let module = match room.parent {
            Parent::Rvdpa => "rvdpa_sim",
            Parent::Peer => "vdpa_sim",
        };
        for name in ["use_va", "batch_mapping"] {
            let path = format!("/sys/module/{module}/parameters/{name}");
            match fs::OpenOptions::new().write(true).open(path) {
                // There is no such file.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                opened => refused(opened)?,
            }
        }
        Ok(())
    }),
];

/// What a user does who has no rights.
const fn nobody(name: &'static str, act: fn(&Room<'_>) -> Outcome) -> Case {
    Case {
        act: super::case::Act::Nobody(act),
        ..Case::others(25, name, act)
    }
}

/// Does something as such a user.
pub fn as_nobody(room: &Room<'_>, act: fn(&Room<'_>) -> Outcome) -> Outcome {
    Process::start(|| {
        setgroups(&[])?;
        setgid(Gid::from_raw(65534))?;
        setuid(Uid::from_raw(65534))?;
        check!(!Uid::effective().is_root(), "still root");
        act(room)
    })?
    .end()
}

fn refused<T>(result: Result<T, std::io::Error>) -> Outcome {
    match result {
        Ok(_) => fail!("it was done"),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => fail!("{error}"),
    }
}

fn denied(result: Result<(), Refusal>) -> Outcome {
    match result {
        Ok(()) => fail!("it was done"),
        Err(refusal) if refusal.errno == Errno::EPERM => Ok(()),
        Err(refusal) => fail!("{refusal}"),
    }
}
