// SPDX-License-Identifier: GPL-2.0

//! vDPA devices made of software.
//!
//! See `Documentation/architecture.rst`.

mod bindings;
mod compat;
#[path = "net/lib.rs"]
pub mod net;
mod sim;
pub mod vdpa;
#[path = "virtio/lib.rs"]
pub mod virtio;

use kernel::prelude::*;
use kernel::str::CString;
use sim::{
    Folders,
    Given,
    NetDevices,
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
            description: "Greatest size of a virtqueue, from 2 to 32768 (1024)",
        },
        switches: u8 {
            default: 1,
            description: "Number of switches, rvdpasim_switch0 and so on (0 to 64)",
        },
        ageing: u16 {
            default: 300,
            description: "Seconds for which a switch remembers an address it does not see",
        },
        batch_mapping: u8 {
            default: 0,
            description: "Take clients' mappings as whole tables, not one by one (0 or 1)",
        },
        iova_first: u64 {
            default: 0,
            description: "First address that clients can map",
        },
        iova_last: u64 {
            default: 0xffffffffffffffff,
            description: "Last address that clients can map",
        },
        address_spaces: u8 {
            default: 2,
            description: "Number of address spaces of a device (1 to 64)",
        },
        desc_group: u8 {
            default: 0,
            description: "Give the rings of receive and transmit queues a group of their own (0 or 1)",
        },
        in_place: u8 {
            default: 1,
            description: "Serve kicks in the driver's place where few frames come (0 or 1)",
        },
        busy_poll: u16 {
            default: 0,
            description: "For how long workers look for more before they sleep, in microseconds (0 to 10000)",
        },
        doorbells: u8 {
            default: 0,
            description: "Let clients kick by writing to a page, which is polled (0 or 1)",
        },
    },
}

/// What is there while the module is loaded. Dropped in this order.
#[pin_data]
struct RvdpaSim {
    #[pin]
    loopback: ManagementDevice<NetDevices>,
    switches: KVec<Pin<KBox<ManagementDevice<NetDevices>>>>,
    _workers: OwnedQueue,
}

impl kernel::InPlaceModule for RvdpaSim {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let parameters = Parameters::new(&Given {
                use_va: compat::parameter(module_parameters::use_va.value()),
                strict: compat::parameter(module_parameters::strict.value()),
                vq_num_max: compat::parameter(module_parameters::vq_num_max.value()),
                switches: compat::parameter(module_parameters::switches.value()),
                ageing: compat::parameter(module_parameters::ageing.value()),
                batch_mapping: compat::parameter(module_parameters::batch_mapping.value()),
                iova_first: compat::parameter(module_parameters::iova_first.value()),
                iova_last: compat::parameter(module_parameters::iova_last.value()),
                address_spaces: compat::parameter(module_parameters::address_spaces.value()),
                desc_group: compat::parameter(module_parameters::desc_group.value()),
                in_place: compat::parameter(module_parameters::in_place.value()),
                busy_poll: compat::parameter(module_parameters::busy_poll.value()),
                doorbells: compat::parameter(module_parameters::doorbells.value()),
            })?;
            let workers = OwnedQueue::new(c"rvdpa_sim")?;
            let folders = Folders::new();
            let mut switches = KVec::new();
            for number in 0..parameters.switches {
                let name = CString::try_from_fmt(fmt!("rvdpasim_switch{number}"))?;
                let devices = NetDevices::switch(&name, parameters, workers.handle(), &folders)?;
                let switch = ManagementDevice::register(&name, module, devices);
                switches.push(KBox::pin_init(switch, GFP_KERNEL)?, GFP_KERNEL)?;
            }
            let loopback = NetDevices::loopback(parameters, workers.handle(), &folders);
            Ok(try_pin_init!(Self {
                loopback <- ManagementDevice::register(c"rvdpasim_net", module, loopback),
                switches,
                _workers: workers,
            }? Error))
        })
    }
}
