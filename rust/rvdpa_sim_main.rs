// SPDX-License-Identifier: GPL-2.0

//! vDPA devices made of software.
//!
//! See `Documentation/architecture.rst`.

mod bindings;
mod compat;
mod sim;
pub mod vdpa;
#[path = "virtio/lib.rs"]
pub mod virtio;

use kernel::prelude::*;
use sim::{
    Loopback,
    Parameters, //
};
use vdpa::{
    workqueue::OwnedQueue,
    ManagementDevice, //
};

module! {
    type: RvdpaSim,
    name: "rvdpa_sim",
    authors: ["The rvdpa_sim developers"],
    description: "vDPA device simulator",
    license: "GPL",
    params: {
        use_va: u8 {
            default: 0,
            description: "Reach clients' memory by their virtual addresses, not by pinned pages (0 or 1)",
        },
        strict: u8 {
            default: 0,
            description: "Let the device reach only what a driver of this kernel has mapped (0 or 1)",
        },
        vq_num_max: u16 {
            default: 1024,
            description: "Greatest size of a virtqueue, a power of two from 2 to 32768 (1024)",
        },
    },
}

/// What is there while the module is loaded. Dropped in this order.
#[pin_data]
struct RvdpaSim {
    #[pin]
    loopback: ManagementDevice<Loopback>,
    _workers: OwnedQueue,
}

impl kernel::InPlaceModule for RvdpaSim {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let parameters = Parameters::new(
                compat::parameter(module_parameters::use_va.value()),
                compat::parameter(module_parameters::strict.value()),
                compat::parameter(module_parameters::vq_num_max.value()),
            )?;
            let workers = OwnedQueue::new(c"rvdpa_sim")?;
            let loopback = Loopback::new(parameters, workers.handle());
            Ok(try_pin_init!(Self {
                loopback <- ManagementDevice::register(c"rvdpasim_net", module, loopback),
                _workers: workers,
            }? Error))
        })
    }
}
