// SPDX-License-Identifier: GPL-2.0

//! Features that do not go together, status bits in any order, the configuration space.

use super::{
    case::{Case, Expect::*},
    meanwhile::Dice,
    scene::Room,
};
use crate::{
    check, check_eq, fail,
    outcome::{Outcome, Stop, While},
    vhost::{refused, Client},
};
use nix::errno::Errno;
use rvdpa_virtio::{features::Features, status::Status};
use vhost::{vdpa::VhostVdpa, VhostBackend};

type F = Features;

pub const CASES: &[Case] = &[
    Case::others(21, "bits that are not offered", |room| {
        let offered = offered(room)?;
        features(room, Features(!offered.0 | BASE.0))?;
        features(room, Features(u64::MAX))
    }),
    Case::others(21, "not version 1", |room| {
        features(room, F::ACCESS_PLATFORM)
    }),
    Case::others(21, "no translation of addresses", |room| {
        features(room, F::VERSION_1)
    }),
    Case::others(21, "no features at all", |room| features(room, F::NONE)),
    Case::others(21, "large packets without checksums", |room| {
        wanted(room, F::NET_GUEST_TSO4)?;
        features(room, BASE.union(F::NET_GUEST_TSO4))?;
        features(room, BASE.union(F::NET_HOST_TSO4))
    }),
    Case::others(21, "queue pairs without commands", |room| {
        wanted(room, F::NET_MQ)?;
        features(room, BASE.union(F::NET_MQ))
    }),
    Case::others(21, "commands without their queue", |room| {
        wanted(room, F::NET_CTRL_MAC_ADDR)?;
        features(room, BASE.union(F::NET_CTRL_MAC_ADDR))
    }),
    Case::others(21, "features that change after FEATURES_OK", |room| {
        let mut client = Client::open(&room.path)?;
        client.negotiate(BASE)?;
        let offered = client.kernel().get_features().when("GET_FEATURES")?;
        let set = client.kernel().set_features(offered);
        check!(set.is_err(), "they were taken");
        client.reset()
    }),
    Case::others(21, "DRIVER_OK without FEATURES_OK", |room| {
        let mut client = Client::open(&room.path)?;
        client.reset()?;
        let _ = client
            .kernel()
            .set_status(Status::DRIVER_OK.with(Status(3)).0);
        let status = client.status()?;
        check!(!status.contains(Status::DRIVER_OK), "status {status}");
        client.reset()
    }),
    Case::others(21, "FEATURES_OK before any features", |room| {
        let mut client = Client::open(&room.path)?;
        client.reset()?;
        let _ = client
            .kernel()
            .set_status(Status::FEATURES_OK.with(Status(3)).0);
        let status = client.status()?;
        check!(!status.contains(Status::FEATURES_OK), "status {status}");
        client.reset()
    }),
    Case::run(21, "status bits that are taken back", Harmless, |s| {
        let status = s.net.client.status()?;
        for bit in [
            Status::ACKNOWLEDGE,
            Status::DRIVER,
            Status::FEATURES_OK,
            Status::DRIVER_OK,
        ] {
            let less = status.without(bit);
            let _ = s.net.client.kernel().set_status(less.0);
            s.send_plain(1)?;
        }
        Ok(())
    }),
    Case::run(21, "the driver says that it failed", Harmless, |s| {
        s.send_plain(1)?;
        let failed = s.net.client.status()?.with(Status::FAILED);
        let _ = s.net.client.kernel().set_status(failed.0);
        s.send_plain(2)
    }),
    Case::run(
        21,
        "the driver says that the device needs a reset",
        Harmless,
        |s| {
            let status = s.net.client.status()?.with(Status::NEEDS_RESET);
            let _ = s.net.client.kernel().set_status(status.0);
            s.send_plain(2)
        },
    ),
    Case::others(21, "any status after any other", |room| {
        let mut client = Client::open(&room.path)?;
        let mut dice = Dice(4711);
        for _ in 0..400 {
            let _ = client.kernel().set_status(dice.throw() as u8);
            if dice.throw() % 4 == 0 {
                let features = dice.throw();
                let _ = client.kernel().set_features(features | BASE.0);
            }
        }
        client.reset()
    }),
    Case::others(21, "DRIVER_OK without a single ring", |room| {
        let mut client = Client::open(&room.path)?;
        client.negotiate(Features(u64::MAX))?;
        for index in 0..3 {
            let _ = client.enable(index, true);
            client.kick_event(index)?.write(1)?;
        }
        let _ = client
            .kernel()
            .set_status(client.status()?.with(Status::DRIVER_OK).0);
        for index in 0..3 {
            client.kick_event(index)?.write(1)?;
        }
        client.reset()
    }),
];

/// What every driver has to accept.
const BASE: Features = Features(F::VERSION_1.0 | F::ACCESS_PLATFORM.0);

fn offered(room: &Room<'_>) -> Outcome<Features> {
    let client = Client::open(&room.path)?;
    Ok(Features(
        client.kernel().get_features().when("GET_FEATURES")?,
    ))
}

/// The case is for devices that offer this.
fn wanted(room: &Room<'_>, features: Features) -> Outcome {
    match offered(room)?.contains(features) {
        true => Ok(()),
        false => Err(Stop::Skipped(features.to_string())),
    }
}

/// A device does not accept these features, at the latest with FEATURES_OK.
fn features(room: &Room<'_>, features: Features) -> Outcome {
    let mut client = Client::open(&room.path)?;
    client.reset()?;
    client.add_status(Status::ACKNOWLEDGE)?;
    client.add_status(Status::DRIVER)?;
    if client.kernel().set_features(features.0).is_ok() {
        let wanted = client.status()?.with(Status::FEATURES_OK);
        let _ = client.kernel().set_status(wanted.0);
        let status = client.status()?;
        if status.contains(Status::FEATURES_OK) {
            fail!("they were taken: {features}");
        }
    }
    client.reset()
}

pub const CONFIG: &[Case] = &[
    Case::run(22, "reading behind the end", GoesOn, |s| {
        let kernel = s.net.client.kernel();
        for (offset, len) in [
            (24_u32, 1),
            (23, 2),
            (0, 25),
            (0, 4096),
            (4096, 1),
            (u32::MAX, 1),
            (u32::MAX, 2),
            (u32::MAX - 7, 16),
        ] {
            let mut bytes = vec![0xee; len];
            let got = kernel.get_config(offset, &mut bytes);
            check!(
                got.is_err() || bytes.iter().all(|byte| matches!(byte, 0xee | 0)),
                "{len} bytes at {offset} were read"
            );
        }
        Ok(())
    }),
    Case::run(22, "writing behind the end", GoesOn, |s| {
        let before = s.net.client.config()?;
        let kernel = s.net.client.kernel();
        for (offset, len) in [(24_u32, 1), (23, 2), (0, 4096), (u32::MAX, 2)] {
            let _ = kernel.set_config(offset, &vec![0xee; len]);
        }
        check_eq!(s.net.client.config()?, before, "configuration");
        Ok(())
    }),
    Case::run(22, "writing what is only to be read", GoesOn, |s| {
        let before = s.net.client.config()?;
        let kernel = s.net.client.kernel();
        for offset in 0..24 {
            let _ = kernel.set_config(offset, &[0xee]);
        }
        let _ = kernel.set_config(0, &[0xee; 24]);
        check_eq!(s.net.client.config()?, before, "configuration");
        Ok(())
    }),
    Case::others(22, "reading before there are features", |room| {
        let client = Client::open(&room.path)?;
        client.kernel().set_status(0).when("reset")?;
        let mut bytes = [0xee; 24];
        let got = client.kernel().get_config(0, &mut bytes);
        // It is refused, or what it gives is the configuration, and no memory of others.
        match refused(got) {
            None | Some(Errno::EINVAL | Errno::EPERM | Errno::EAGAIN) => Ok(()),
            Some(errno) => fail!("{errno}"),
        }
    }),
    Case::run(22, "reading while it changes", GoesOn, |s| {
        let own = s.net.mac;
        for _ in 0..20 {
            let now = s.net.client.config()?;
            check_eq!(now.mac().0[..3], own[..3], "half of an address");
            s.net.do_command(1, 1, &own)?;
        }
        Ok(())
    }),
];
