// SPDX-License-Identifier: GPL-2.0

//! A driver of `/dev/vhost-vdpa-*`.
//!
//! [`Client`] does what concerns the whole device: negotiation, memory, configuration.
//! [`Net`] is a network driver on top of it: queues of either format in an
//! [`arena`](crate::arena), frames, commands. What it wants is its [`Plan`]; what the
//! device is to offer, a [`NewDevice`].

mod bell;
pub mod control;
mod device;
mod frames;
mod migrate;
mod net;
mod plan;
mod queue;
mod ring;

pub use bell::Bell;
pub use device::{supported, NewDevice, BASIC, SWITCH};
pub use frames::{LoopPlan, Received};
pub use migrate::{Destination, Manner, State};
pub use net::{mapped, Net, RX, TX};
pub use plan::{Plan, IOVA};
pub use queue::Queue;
pub use ring::{Format, Ring};

use frames::PATIENCE;

use crate::{
    arena::View,
    ioctl::{self, backend, Permission},
    outcome::{Outcome, Stop, While},
    sys::{self, scaled, wait_for, SOON},
};
use nix::errno::Errno;
use rvdpa_virtio::{
    features::Features,
    layout::QueueLayout,
    net::{MacAddress, NetConfig},
    status::Status,
};
use std::{
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::Duration,
};
use vhost::{
    vdpa::VhostVdpa,
    vhost_kern::{vdpa::VhostKernVdpa, VhostKernFeatures},
    VhostBackend, VringConfigData,
};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

/// The crate's handle. It wants to know a guest's memory, of which there is none.
pub type Kernel = VhostKernVdpa<Arc<GuestMemoryMmap>>;

/// An open device.
pub struct Client {
    kernel: Kernel,
    /// What was negotiated.
    features: Features,
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.kernel.as_raw_fd()
    }
}

/// Loads `vhost_vdpa` with room for so many mappings in an address space: to no avail if it is
/// loaded.
pub fn load(mappings: u64) -> Outcome {
    let parameter = format!("max_iotlb_entries={mappings}");
    sys::run(&["modprobe", "vhost_vdpa", &parameter]).map(drop)
}

/// The errno of an error of the crate.
pub fn errno(error: &vhost::Error) -> Option<Errno> {
    match error {
        vhost::Error::VhostOpen(e) | vhost::Error::IoctlError(e) | vhost::Error::IOError(e) => {
            e.raw_os_error().map(Errno::from_raw)
        }
        _ => None,
    }
}

/// The errno that something was refused with; `EOK`, as it were, if it was not.
pub fn refused<T>(result: Result<T, vhost::Error>) -> Option<Errno> {
    result.err().and_then(|error| errno(&error))
}

impl Client {
    /// Opens a device without further ado.
    pub fn open_only(path: &str) -> Result<Kernel, vhost::Error> {
        VhostKernVdpa::new(path, Arc::new(GuestMemoryMmap::default()))
    }

    /// Opens a device, becomes its owner and accepts the backend features that every device
    /// has.
    pub fn open(path: &str) -> Outcome<Self> {
        Self::open_with(path, backend::ALWAYS)
    }

    /// Opens a device, becomes its owner and accepts these backend features.
    pub fn open_with(path: &str, wanted: u64) -> Outcome<Self> {
        ioctl::unlimited_pinning()?;
        let mut kernel = Self::open_only(path).when(path)?;
        kernel.set_owner().when("SET_OWNER")?;
        let offered = kernel.get_backend_features().when("GET_BACKEND_FEATURES")?;
        if offered & wanted != wanted {
            return Err(Stop::Failed(format!(
                "backend features {offered:#x} lack {:#x}",
                wanted & !offered
            )));
        }
        kernel
            .set_backend_features(wanted)
            .when("SET_BACKEND_FEATURES")?;
        Ok(Self {
            kernel,
            features: Features::NONE,
        })
    }

    /// The crate's handle.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What was negotiated.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The format of the rings.
    pub fn format(&self) -> Format {
        Format::of(self.features)
    }

    /// Where the control queue is, if there is one (5.1.2).
    pub fn control_index(&self) -> Outcome<Option<usize>> {
        if !self.features.contains(Features::NET_CTRL_VQ) {
            return Ok(None);
        }
        if !self
            .features
            .intersects(Features::NET_MQ | Features::NET_RSS)
        {
            return Ok(Some(2));
        }
        let pairs = self.config()?.max_virtqueue_pairs();
        Ok(Some(2 * usize::from(pairs)))
    }

    pub fn status(&self) -> Outcome<Status> {
        self.kernel.get_status().map(Status).when("GET_STATUS")
    }

    /// Adds bits to the status, and fails unless they are there then.
    pub fn add_status(&self, bits: Status) -> Outcome {
        let wanted = self.status()?.with(bits);
        self.kernel
            .set_status(wanted.0)
            .when(format_args!("status {wanted}"))?;
        let status = self.status()?;
        if status != wanted {
            return Err(Stop::Failed(format!(
                "status {status} after {wanted} was set"
            )));
        }
        Ok(())
    }

    pub fn reset(&mut self) -> Outcome {
        self.features = Features::NONE;
        self.kernel.set_status(0).when("reset")?;
        let status = self.status()?;
        if status != Status::RESET {
            return Err(Stop::Failed(format!("status {status} after a reset")));
        }
        Ok(())
    }

    /// Goes from reset to `FEATURES_OK`, with those of `features` that are offered.
    pub fn negotiate(&mut self, features: Features) -> Outcome {
        self.reset()?;
        self.add_status(Status::ACKNOWLEDGE)?;
        self.add_status(Status::DRIVER)?;
        let offered = Features(self.kernel.get_features().when("GET_FEATURES")?);
        let accepted = Features(offered.0 & features.0);
        self.kernel
            .set_features(accepted.0)
            .when(format_args!("SET_FEATURES {accepted}"))?;
        self.add_status(Status::FEATURES_OK)?;
        self.features = accepted;
        Ok(())
    }

    /// The network configuration.
    pub fn config(&self) -> Outcome<NetConfig> {
        let mut bytes = [0; NetConfig::LEN];
        self.kernel.get_config(0, &mut bytes).when("GET_CONFIG")?;
        let [m0, m1, m2, m3, m4, m5, s0, s1, p0, p1, t0, t1, v0, v1, v2, v3, duplex, key, i0, i1, h0, h1, h2, h3] =
            bytes;
        let mut config = NetConfig::new();
        config.set_mac(MacAddress([m0, m1, m2, m3, m4, m5]));
        config.set_status(u16::from_le_bytes([s0, s1]));
        config.set_max_virtqueue_pairs(u16::from_le_bytes([p0, p1]));
        config.set_mtu(u16::from_le_bytes([t0, t1]));
        config.set_speed(u32::from_le_bytes([v0, v1, v2, v3]));
        config.set_duplex(duplex);
        config.set_rss_max_key_size(key);
        config.set_rss_max_indirection_table_length(u16::from_le_bytes([i0, i1]));
        config.set_supported_hash_types(u32::from_le_bytes([h0, h1, h2, h3]));
        Ok(config)
    }

    /// Shows an address space all of an arena, for reading and writing.
    pub fn map_all(&self, asid: u32, view: &View) -> Outcome {
        self.map(asid, view, view.iova(), view.len(), Permission::Both)
    }

    /// Shows an address space a part of an arena.
    pub fn map(
        &self,
        asid: u32,
        view: &View,
        iova: u64,
        len: usize,
        permission: Permission,
    ) -> Outcome {
        let pointer = view.pointer(iova, len);
        ioctl::map(self, asid, iova, len as u64, pointer, permission)
            .when(format_args!("mapping {len:#x} bytes at {iova:#x}"))
    }

    /// Takes memory away from an address space.
    pub fn unmap(&self, asid: u32, iova: u64, len: usize) -> Outcome {
        ioctl::unmap(self, asid, iova, len as u64)
            .when(format_args!("unmapping {len:#x} bytes at {iova:#x}"))
    }

    /// Tells the device where a virtqueue is.
    pub fn set_queue(&self, index: usize, layout: &QueueLayout, base: u32) -> Outcome {
        self.kernel
            .set_vring_num(index, layout.size)
            .when(format_args!("SET_VRING_NUM {}", layout.size))?;
        self.set_addresses(index, layout)?;
        self.set_base(index, base)
    }

    /// Tells the device where a virtqueue goes on: the available index; if it is packed, two
    /// slots' bits, of the used one above that of the available one.
    pub fn set_base(&self, index: usize, base: u32) -> Outcome {
        ioctl::set_vring_base(self, index as u32, base)
            .when(format_args!("SET_VRING_BASE {base:#x}"))
    }

    /// Where a virtqueue stands, as in [`set_base`](Self::set_base).
    pub fn base(&self, index: usize) -> Outcome<u32> {
        self.kernel.get_vring_base(index).when("GET_VRING_BASE")
    }

    /// Tells the device the addresses of a virtqueue.
    pub fn set_addresses(&self, index: usize, layout: &QueueLayout) -> Outcome {
        let config = VringConfigData {
            queue_max_size: layout.size,
            queue_size: layout.size,
            flags: 0,
            desc_table_addr: layout.descriptor,
            used_ring_addr: layout.device,
            avail_ring_addr: layout.driver,
            log_addr: None,
        };
        self.kernel
            .set_vring_addr(index, &config)
            .when("SET_VRING_ADDR")
    }

    /// Enables or disables a virtqueue.
    pub fn enable(&self, index: usize, enabled: bool) -> Outcome {
        self.kernel
            .set_vring_enable(index, enabled)
            .when("SET_VRING_ENABLE")
    }

    /// Suspends the device.
    pub fn suspend(&self) -> Outcome {
        self.kernel.suspend().when("SUSPEND")
    }

    /// Lets the suspended device go on.
    pub fn resume(&self) -> Outcome {
        ioctl::resume(self).when("RESUME")
    }

    /// Waits until the device says that it needs a reset.
    pub fn wait_for_needs_reset(&self) -> Outcome {
        wait_for("NEEDS_RESET", SOON, || {
            let status = self.status()?;
            Ok(status.contains(Status::NEEDS_RESET).then_some(()))
        })
    }

    /// An event by which the device is told to look at a virtqueue.
    pub fn kick_event(&self, index: usize) -> Outcome<EventFd> {
        let event = event()?;
        self.kernel
            .set_vring_kick(index, &event)
            .when("SET_VRING_KICK")?;
        Ok(event)
    }

    /// An event for the config interrupt.
    pub fn config_interrupt(&self) -> Outcome<EventFd> {
        let event = event()?;
        self.kernel
            .set_config_call(&event)
            .when("SET_CONFIG_CALL")?;
        Ok(event)
    }
}

/// A new event that does not block.
pub fn event() -> Outcome<EventFd> {
    EventFd::new(EFD_NONBLOCK).when("eventfd")
}

/// How often an event has come since this was last asked.
pub fn count_events(event: &EventFd) -> Outcome<u64> {
    match event.read() {
        Ok(count) => Ok(count),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error).when("eventfd"),
    }
}

/// Waits until an event comes. Returns whether one did.
pub fn wait_event(event: &EventFd, limit: Duration) -> Outcome<bool> {
    use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
    use std::os::fd::BorrowedFd;

    // SAFETY: The descriptor is the event's, which outlives the call.
    let fd = unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) };
    let mut ready = [PollFd::new(fd, PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(scaled(limit)).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut ready, limit) {
            Ok(0) => return Ok(false),
            Ok(_) => {
                event.read().when("eventfd")?;
                return Ok(true);
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).when("poll"),
        }
    }
}
