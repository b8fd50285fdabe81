// SPDX-License-Identifier: GPL-2.0

//! The net device: what its bus operations do.

use super::{
    device::NetDevice,
    provision::{
        Short,
        REQUIRED, //
    },
    slots::Slot,
    stats, //
};
use crate::{
    vdpa::{
        self,
        iommu::{
            MapRequest,
            Region, //
        },
        Device,
        Doorbell,
        ExtAck,
        IovaRange,
        MapTable,
        PackedState,
        ResetFlags,
        Shape,
        StatsWriter,
        VqAddress,
        VqState, //
    },
    virtio::{
        features::Features,
        layout::{
            notification::Notification,
            packed::Slot as RingSlot,
            QueueLayout, //
        },
        net,
        packed,
        ring::State,
        status::Status, //
    },
};
use kernel::{
    cpumask::Cpumask,
    mm::Mm,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed, //
    },
};

/// The group of receive and transmit queues.
const GROUP_DATA: u32 = 0;
/// The group of the control queue.
const GROUP_CONTROL: u32 = 1;
/// The group of the rings of receive and transmit queues, where they have one.
const GROUP_RINGS: u32 = 2;

/// How many groups a device of this shape has.
pub(super) const fn groups(shape: Shape) -> u32 {
    if shape.desc_groups {
        3
    } else {
        2
    }
}

/// Where a virtqueue stands, as the bus says it.
///
/// DPDK leaves out the used half of a new packed virtqueue. What it says then is that all
/// descriptors are with the device. No virtqueue could ever go on from there, so that is
/// taken as none.
fn from_bus(state: &VqState, packed: bool) -> State {
    if !packed {
        return State::Split(state.split());
    }
    let state = state.packed();
    let available = RingSlot {
        index: state.last_avail_idx,
        wrap: state.last_avail_counter,
    };
    if state.last_used_idx == available.index && state.last_used_counter != available.wrap {
        return State::Packed(packed::State::at(available));
    }
    State::Packed(packed::State {
        available,
        used: RingSlot {
            index: state.last_used_idx,
            wrap: state.last_used_counter,
        },
    })
}

/// Where a virtqueue stands, for the bus.
fn to_bus(state: State) -> VqState {
    match state {
        State::Split(index) => VqState::from_split(index),
        State::Packed(state) => VqState::from_packed(PackedState {
            last_avail_idx: state.available.index,
            last_avail_counter: state.available.wrap,
            last_used_idx: state.used.index,
            last_used_counter: state.used.wrap,
        }),
    }
}

#[vtable]
impl vdpa::Operations for NetDevice {
    fn set_vq_address(dev: &Device<Self>, idx: u16, address: VqAddress) -> Result {
        let features = dev.control.lock().features;
        let result = dev
            .with_vq(idx, |vq| vq.set_address(address, features))
            .ok_or(EINVAL)?;
        result.map_err(|e| {
            dev.shared.refused(format_args!("virtqueue {idx}: {e}"));
            EINVAL
        })
    }

    fn set_vq_num(dev: &Device<Self>, idx: u16, num: u32) {
        let max = Self::get_vq_num_max(dev);
        let num = u16::try_from(num).unwrap_or(max).min(max);
        dev.with_vq(idx, |vq| vq.set_num(num));
    }

    #[inline]
    fn kick_vq(dev: &Device<Self>, idx: u16) {
        if let Some(slot) = dev.slot(idx) {
            slot.kick();
        }
    }

    fn kick_vq_with_data(dev: &Device<Self>, data: u32) {
        // How far the driver is, is in its ring, too: that is what counts.
        let queue = Notification::from_bits(data, Features::NOTIFICATION_DATA).queue;
        Self::kick_vq(dev, queue);
    }

    fn set_vq_ready(dev: &Device<Self>, idx: u16, ready: bool) {
        let control = dev.control.lock();
        dev.with_vq(idx, |vq| vq.set_ready(ready));
        if ready {
            dev.start_vq(&control, idx);
        } else if let Some(slot) = dev.slot(idx) {
            slot.stop();
        }
    }

    fn get_vq_ready(dev: &Device<Self>, idx: u16) -> bool {
        dev.with_vq(idx, |vq| vq.is_ready()).unwrap_or(false)
    }

    fn set_vq_state(dev: &Device<Self>, idx: u16, state: &VqState) -> Result {
        let state = from_bus(state, dev.is_packed());
        let slot = dev.slot(idx).ok_or(EINVAL)?;
        let elsewhere = slot.with(|vq| {
            let before = vq.state();
            vq.set_state(state).map(|()| before != Some(state))
        })?;
        if let (true, Slot::Transmit(worker)) = (elsewhere, slot) {
            worker.attachment().state().go_elsewhere();
        }
        Ok(())
    }

    fn get_vq_state(dev: &Device<Self>, idx: u16) -> Result<VqState> {
        let start = State::start(dev.control.lock().features);
        let state = dev.with_vq(idx, |vq| vq.state()).ok_or(EINVAL)?;
        Ok(to_bus(state.unwrap_or(start)))
    }

    fn get_vendor_vq_stats(
        dev: &Device<Self>,
        idx: u16,
        stats: &mut StatsWriter<'_>,
        _extack: &mut ExtAck<'_>,
    ) -> Result {
        let slot = dev.slot(idx).ok_or(EINVAL)?;
        let kicks = slot.notify().kicks();
        let counters = slot.with(|vq| vq.counters);
        // The tool names the queues by it.
        stats.put_max_vqp(dev.shared.control_index() / 2)?;
        match slot {
            Slot::Control(_) => stats::control(stats, &counters, kicks),
            Slot::Transmit(_) => stats::transmit(stats, &counters, kicks),
            Slot::Receive(_) => {
                let filtered = if idx == 0 {
                    dev.port.filtered.load(Relaxed)
                } else {
                    0
                };
                stats::receive(stats, &counters, filtered, kicks)
            }
        }
    }

    fn get_vq_notification(dev: &Device<Self>, idx: u16) -> Option<&Doorbell> {
        dev.doorbells.as_ref()?.get(idx)
    }

    fn get_vq_size(dev: &Device<Self>, idx: u16) -> u16 {
        if dev.control.lock().status.contains(Status::DRIVER_OK) {
            dev.with_vq(idx, |vq| vq.num()).unwrap_or(0)
        } else {
            Self::get_vq_num_max(dev)
        }
    }

    fn get_vq_align(_dev: &Device<Self>) -> u32 {
        // Of rings in the layout of legacy devices, which some drivers use for any: it
        // aligns all parts as either format needs.
        const { assert!(kernel::page::PAGE_SIZE as u64 % QueueLayout::MAX_ALIGNMENT == 0) };
        kernel::page::PAGE_SIZE as u32
    }

    fn get_vq_group(dev: &Device<Self>, idx: u16) -> u32 {
        if idx == dev.shared.control_index() {
            GROUP_CONTROL
        } else {
            GROUP_DATA
        }
    }

    fn get_vq_desc_group(dev: &Device<Self>, idx: u16) -> u32 {
        if idx == dev.shared.control_index() {
            GROUP_CONTROL
        } else {
            GROUP_RINGS
        }
    }

    fn get_device_features(dev: &Device<Self>) -> u64 {
        dev.control.lock().provision.features.0
    }

    fn get_backend_features(_dev: &Device<Self>) -> u64 {
        vdpa::BACKEND_F_ENABLE_AFTER_DRIVER_OK
    }

    fn set_driver_features(dev: &Device<Self>, features: u64) -> Result {
        let mut control = dev.control.lock();
        if control.status.contains(Status::FEATURES_OK) {
            return Err(EBUSY);
        }
        let features = Features(features);
        control.accepted = false;
        dev.set_features(&mut control, Features::NONE);
        if features.is_empty() {
            // The bus does so for drivers that read the configuration first.
            return Err(EINVAL);
        }
        let unknown = features.without(control.provision.features);
        let missing = REQUIRED.without(features);
        if !unknown.is_empty() {
            dev.shared.refused(format_args!(
                "the driver wants {}, which is not offered",
                Short(unknown)
            ));
            return Err(EINVAL);
        }
        if !missing.is_empty() {
            dev.shared
                .refused(format_args!("the driver does not accept {missing}"));
            return Err(EINVAL);
        }
        if let Some((bit, needs)) = features.missing_dependency() {
            dev.shared
                .refused(format_args!("the driver wants {bit} without {needs}"));
            return Err(EINVAL);
        }
        dev.set_features(&mut control, features);
        control.accepted = true;
        Ok(())
    }

    fn get_driver_features(dev: &Device<Self>) -> u64 {
        dev.control.lock().features.0
    }

    fn get_vq_num_max(dev: &Device<Self>) -> u16 {
        let features = dev.control.lock().features;
        dev.parameters.vq_num_max(features)
    }

    fn get_vq_num_min(_dev: &Device<Self>) -> u16 {
        1
    }

    fn get_device_id(_dev: &Device<Self>) -> u32 {
        net::DEVICE_ID
    }

    fn get_vendor_id(_dev: &Device<Self>) -> u32 {
        // As the C simulator has it.
        0
    }

    fn get_status(dev: &Device<Self>) -> u8 {
        dev.status(&dev.control.lock()).0
    }

    fn set_status(dev: &Device<Self>, status: u8) {
        let mut control = dev.control.lock();
        let old = control.status;
        match Status::next(dev.status(&control), Status(status), control.accepted) {
            Ok(new) => control.status = new.without(Status::NEEDS_RESET),
            Err(e) => {
                dev.shared
                    .refused(format_args!("status {} refused: {e}", Status(status)));
                return;
            }
        }
        if control.status.contains(Status::DRIVER_OK) && !old.contains(Status::DRIVER_OK) {
            dev.driver_ok(&control);
        }
    }

    fn reset(dev: &Device<Self>) -> Result {
        dev.do_reset(&mut dev.control.lock());
        // Whatever driver of this kernel had the device has it no longer.
        dev.iommu().detach_driver_memory();
        Ok(())
    }

    fn compat_reset(dev: &Device<Self>, flags: ResetFlags) -> Result {
        Self::reset(dev)?;
        if flags.clean_map() {
            for asid in 0..dev.iommu().spaces() {
                dev.iommu().unmap_all(asid)?;
            }
        }
        Ok(())
    }

    fn suspend(dev: &Device<Self>) -> Result {
        let mut control = dev.control.lock();
        control.suspended = true;
        for slot in dev.slots.all() {
            slot.suspend();
        }
        Ok(())
    }

    fn resume(dev: &Device<Self>) -> Result {
        let mut control = dev.control.lock();
        control.suspended = false;
        dev.start_all(&control);
        Ok(())
    }

    fn get_config_size(_dev: &Device<Self>) -> usize {
        net::NetConfig::LEN
    }

    fn get_config(dev: &Device<Self>, offset: usize, buf: &mut [u8]) {
        let shared = &dev.shared;
        let control = dev.control.lock();
        let config = control.provision.config(shared.mac(), shared.net_status());
        let from = config.as_bytes().get(offset..).unwrap_or(&[]);
        for (to, from) in buf.iter_mut().zip(from) {
            *to = *from;
        }
    }

    fn set_config(_dev: &Device<Self>, _offset: usize, _buf: &[u8]) {
        // Since version 1 of the specification, nothing in it is for the driver to write.
    }

    fn get_generation(dev: &Device<Self>) -> u32 {
        dev.shared.generation()
    }

    fn get_iova_range(dev: &Device<Self>) -> IovaRange {
        // The bus asks when a client opens the device, and at no other time: no page is mapped,
        // for that would keep the device open for the client before.
        if let Some(bells) = &dev.doorbells {
            bells.forget();
        }
        dev.parameters.iova
    }

    fn set_vq_affinity(dev: &Device<Self>, idx: u16, mask: Option<&Cpumask>) -> Result {
        // Two at a time would leave a mixture.
        let _control = dev.control.lock();
        let slot = dev.slot(idx).ok_or(EINVAL)?;
        slot.notify().affinity.set(mask);
        Ok(())
    }

    fn get_vq_affinity(dev: &Device<Self>, idx: u16) -> Option<&Cpumask> {
        match dev.slot(idx)? {
            Slot::Receive(worker) => worker.notify.affinity.get(),
            Slot::Transmit(worker) => worker.notify.affinity.get(),
            Slot::Control(worker) => worker.notify.affinity.get(),
        }
    }

    fn set_map(dev: &Device<Self>, asid: u32, table: &MapTable<'_>) -> Result {
        dev.iommu().set(asid, table).inspect_err(|_| {
            // The bus does not tell the client at the end of a batch.
            dev.shared.refused(format_args!(
                "address space {asid}: new mappings failed, some memory cannot be reached"
            ));
        })
    }

    fn dma_map(dev: &Device<Self>, asid: u32, request: &MapRequest<'_>) -> Result {
        dev.iommu().map(asid, request)
    }

    fn dma_unmap(dev: &Device<Self>, asid: u32, iova: u64, size: u64) -> Result {
        dev.iommu().unmap(asid, iova, size)
    }

    fn reset_map(dev: &Device<Self>, asid: u32) -> Result {
        dev.iommu().unmap_all(asid)
    }

    fn set_group_asid(dev: &Device<Self>, group: u32, asid: u32) -> Result {
        let shape = dev.parameters.shape;
        if group >= groups(shape) {
            return Err(EINVAL);
        }
        for slot in dev.slots.all() {
            let (buffers, rings) = match slot {
                Slot::Control(_) => (GROUP_CONTROL, GROUP_CONTROL),
                Slot::Receive(_) | Slot::Transmit(_) if shape.desc_groups => {
                    (GROUP_DATA, GROUP_RINGS)
                }
                Slot::Receive(_) | Slot::Transmit(_) => (GROUP_DATA, GROUP_DATA),
            };
            if group == buffers {
                slot.set_asid(Region::Buffers, asid)?;
            }
            if group == rings {
                slot.set_asid(Region::Rings, asid)?;
            }
        }
        Ok(())
    }

    fn bind_mm(dev: &Device<Self>, mm: ARef<Mm>) -> Result {
        dev.iommu().bind_mm(Some(mm));
        Ok(())
    }

    fn unbind_mm(dev: &Device<Self>) {
        dev.iommu().bind_mm(None);
    }
}
