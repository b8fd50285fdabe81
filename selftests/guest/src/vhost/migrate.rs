// SPDX-License-Identifier: GPL-2.0

//! Moving a network driver in userspace from one device to another.
//!
//! The driver, its rings and its buffers stay what they are; what the device knew of them is
//! a [`State`], which is read from the one that was suspended and given to the other one. What
//! was asked for by the control queue the driver has to ask for again.

use super::{errno, Client, Net, Queue, RX, TX};
use crate::{
    fail, ioctl,
    outcome::{Outcome, While},
};
use nix::errno::Errno;
use rvdpa_virtio::{features::Features, net::NetConfig, status::Status};
use vhost::{vdpa::VhostVdpa, VhostBackend};

/// What a suspended device knew of its driver.
#[derive(Clone, Debug)]
pub struct State {
    /// What was negotiated.
    pub features: Features,
    pub status: Status,
    pub config: NetConfig,
    /// How many descriptors each virtqueue has, by its index.
    pub sizes: Vec<u32>,
    /// Where each of them goes on.
    pub bases: Vec<u32>,
}

/// How a driver is moved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Whether its memory is copied: the new device gets other pages than the old one had.
    pub copied: bool,
    /// Whether the new device gets a new control queue, instead of the one that goes on.
    pub new_control: bool,
}

/// A device that has accepted a driver which is still at another one.
pub struct Destination(Client);

impl Destination {
    /// Opens a device and negotiates exactly what the driver has negotiated elsewhere.
    /// Returns the errno if the device refuses that.
    pub fn open(path: &str, state: &State) -> Outcome<Result<Self, Errno>> {
        let mut client = Client::open(path)?;
        client.reset()?;
        client.add_status(Status::ACKNOWLEDGE)?;
        client.add_status(Status::DRIVER)?;
        match client.kernel().set_features(state.features.0) {
            Ok(()) => {}
            Err(error) => return Ok(Err(errno(&error).when(error)?)),
        }
        client.add_status(Status::FEATURES_OK)?;
        client.features = state.features;
        let (here, there) = (client.config()?, &state.config);
        if here.max_virtqueue_pairs() != there.max_virtqueue_pairs() || here.mtu() != there.mtu() {
            fail!("the other device's configuration is {here:?}, not {there:?}");
        }
        Ok(Ok(Self(client)))
    }
}

impl Net {
    /// All virtqueues, the control queue last.
    fn queues(&mut self) -> impl Iterator<Item = &mut Queue> {
        let more = self.more.iter_mut().flat_map(|(rx, tx)| [rx, tx]);
        [&mut self.rx, &mut self.tx]
            .into_iter()
            .chain(more)
            .chain(self.control.as_mut())
    }

    /// Suspends the device, and asks it for all that it knows of its driver.
    pub fn leave(&mut self) -> Outcome<State> {
        self.client.suspend()?;
        self.state()
    }

    /// What the device knows of its driver.
    pub fn state(&mut self) -> Outcome<State> {
        let count = self.client.kernel().get_vqs_count().when("GET_VQS_COUNT")? as usize;
        let mut state = State {
            features: self.client.features(),
            status: self.client.status()?,
            config: self.client.config()?,
            sizes: vec![0; count],
            bases: vec![0; count],
        };
        let indices: Vec<usize> = self.queues().map(|queue| queue.index).collect();
        for index in indices {
            let size = ioctl::vring_size(&self.client, index as u32).when("GET_VRING_SIZE")?;
            let base = self.client.base(index)?;
            *state.sizes.get_mut(index).when("a virtqueue")? = size;
            *state.bases.get_mut(index).when("a virtqueue")? = base;
        }
        Ok(state)
    }

    /// Goes on at another device: first with the control queue alone, by which `settings`
    /// asks again for what the driver wants, then with all virtqueues. Returns the old device,
    /// which is as it was.
    pub fn go_on(
        &mut self,
        destination: Destination,
        state: &State,
        manner: Manner,
        settings: impl FnOnce(&mut Self) -> Outcome,
    ) -> Outcome<Client> {
        let Destination(client) = destination;
        let asid = self.plan.control_asid;
        ioctl::set_group_asid(&client, 1, asid).when("SET_GROUP_ASID")?;
        if manner.copied {
            self.memory.renew()?;
            self.control_memory.renew()?;
        }
        client.map_all(0, &self.memory)?;
        client.map_all(asid, &self.control_memory)?;

        for queue in self.queues() {
            let (size, base) = (state.sizes.get(queue.index), state.bases.get(queue.index));
            let (size, base) = (size.when("a size")?, base.when("a base")?);
            if *size != u32::from(queue.layout.size) {
                fail!("virtqueue {} has {size} descriptors", queue.index);
            }
            queue.move_to(&client, *base)?;
        }
        match &mut self.control {
            Some(control) if manner.new_control => {
                let (index, places) = (control.index, control.places());
                let start = client.format().start();
                *control = Queue::new(&client, &self.control_memory, index, places, start, false)?;
            }
            Some(control) => client.enable(control.index, true)?,
            None => {}
        }
        self.config_call = client.config_interrupt()?;
        let old = std::mem::replace(&mut self.client, client);
        self.client.add_status(Status::DRIVER_OK)?;
        settings(self)?;
        for pair in 0..self.plan.pairs {
            self.client.enable(RX + 2 * pair, true)?;
            self.client.enable(TX + 2 * pair, true)?;
        }
        Ok(old)
    }
}
