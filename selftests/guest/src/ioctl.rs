// SPDX-License-Identifier: GPL-2.0

//! What of vhost-vdpa the `vhost` crate lacks, or gets wrong.

use crate::outcome::{Outcome, While};
use nix::{errno::Errno, ioctl_none, ioctl_readwrite, ioctl_write_ptr};
use std::os::fd::{AsRawFd, RawFd};

/// `struct vhost_vring_state`
#[repr(C)]
pub struct VringState {
    index: u32,
    num: u32,
}

/// `struct vhost_vring_file`
#[repr(C)]
pub struct VringFile {
    index: u32,
    fd: RawFd,
}

const VHOST_VIRTIO: u8 = 0xaf;

// The crate knows only 16 bits of base.
ioctl_write_ptr!(vhost_set_vring_base, VHOST_VIRTIO, 0x12, VringState);
// The crate sends VHOST_VDPA_GET_VRING_GROUP for it.
ioctl_write_ptr!(vdpa_set_group_asid, VHOST_VIRTIO, 0x7c, VringState);
// The crate knows no descriptor that stands for none.
ioctl_write_ptr!(vhost_set_vring_call, VHOST_VIRTIO, 0x21, VringFile);
ioctl_write_ptr!(vdpa_set_config_call, VHOST_VIRTIO, 0x77, RawFd);
// For another thread than the one that has the crate's handle.
ioctl_readwrite!(vhost_get_vring_base, VHOST_VIRTIO, 0x12, VringState);
ioctl_write_ptr!(vdpa_set_vring_enable, VHOST_VIRTIO, 0x75, VringState);
ioctl_none!(vdpa_suspend, VHOST_VIRTIO, 0x7d);
ioctl_none!(vdpa_resume, VHOST_VIRTIO, 0x7e);
ioctl_readwrite!(vdpa_get_vring_desc_group, VHOST_VIRTIO, 0x7f, VringState);
ioctl_readwrite!(vdpa_get_vring_size, VHOST_VIRTIO, 0x82, VringState);

/// Attaches a group of virtqueues to an address space.
pub fn set_group_asid(fd: &impl AsRawFd, group: u32, asid: u32) -> Result<(), Errno> {
    let state = VringState {
        index: group,
        num: asid,
    };
    // SAFETY: The argument is valid for the call.
    unsafe { vdpa_set_group_asid(fd.as_raw_fd(), &state) }.map(drop)
}

/// Tells the device where a virtqueue goes on.
pub fn set_vring_base(fd: &impl AsRawFd, index: u32, base: u32) -> Result<(), Errno> {
    let state = VringState { index, num: base };
    // SAFETY: The argument is valid for the call.
    unsafe { vhost_set_vring_base(fd.as_raw_fd(), &state) }.map(drop)
}

/// The event for the interrupt of a virtqueue; -1 for none.
pub fn set_vring_call(fd: &impl AsRawFd, index: u32, event: RawFd) -> Result<(), Errno> {
    let file = VringFile { index, fd: event };
    // SAFETY: The argument is valid for the call.
    unsafe { vhost_set_vring_call(fd.as_raw_fd(), &file) }.map(drop)
}

/// The event for the config interrupt; -1 for none.
pub fn set_config_call(fd: &impl AsRawFd, event: RawFd) -> Result<(), Errno> {
    // SAFETY: The argument is valid for the call.
    unsafe { vdpa_set_config_call(fd.as_raw_fd(), &event) }.map(drop)
}

/// Where a virtqueue stands.
pub fn vring_base(fd: &impl AsRawFd, index: u32) -> Result<u32, Errno> {
    let mut state = VringState { index, num: 0 };
    // SAFETY: The argument is valid for the call.
    unsafe { vhost_get_vring_base(fd.as_raw_fd(), &mut state) }?;
    Ok(state.num)
}

/// Enables or disables a virtqueue.
pub fn enable_vring(fd: &impl AsRawFd, index: u32, enabled: bool) -> Result<(), Errno> {
    let num = enabled.into();
    let state = VringState { index, num };
    // SAFETY: The argument is valid for the call.
    unsafe { vdpa_set_vring_enable(fd.as_raw_fd(), &state) }.map(drop)
}

/// Has the device stop where it is.
pub fn suspend(fd: &impl AsRawFd) -> Result<(), Errno> {
    // SAFETY: There is no argument.
    unsafe { vdpa_suspend(fd.as_raw_fd()) }.map(drop)
}

/// Lets a suspended device go on.
pub fn resume(fd: &impl AsRawFd) -> Result<(), Errno> {
    // SAFETY: There is no argument.
    unsafe { vdpa_resume(fd.as_raw_fd()) }.map(drop)
}

/// The group that holds a virtqueue's rings.
pub fn vring_desc_group(fd: &impl AsRawFd, index: u32) -> Result<u32, Errno> {
    let mut state = VringState { index, num: 0 };
    // SAFETY: The argument is valid for the call.
    unsafe { vdpa_get_vring_desc_group(fd.as_raw_fd(), &mut state) }?;
    Ok(state.num)
}

/// The size of a virtqueue.
pub fn vring_size(fd: &impl AsRawFd, index: u32) -> Result<u32, Errno> {
    let mut state = VringState { index, num: 0 };
    // SAFETY: The argument is valid for the call.
    unsafe { vdpa_get_vring_size(fd.as_raw_fd(), &mut state) }?;
    Ok(state.num)
}

/// What a mapping permits the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Permission {
    /// Nothing, which is no mapping.
    None = 0,
    Read = 1,
    Write = 2,
    Both = 3,
}

/// `struct vhost_msg_v2` with a `struct vhost_iotlb_msg` in it.
#[repr(C)]
#[derive(Default)]
struct IotlbMessage {
    kind: u32,
    asid: u32,
    iova: u64,
    size: u64,
    address: u64,
    permission: u8,
    what: u8,
    padding: [u8; 6],
    rest: [u64; 4],
}

const IOTLB_MSG_V2: u32 = 2;
const IOTLB_UPDATE: u8 = 2;
const IOTLB_INVALIDATE: u8 = 3;
const IOTLB_BATCH_BEGIN: u8 = 5;
const IOTLB_BATCH_END: u8 = 6;

/// Backend features.
pub mod backend {
    pub const IOTLB_MSG_V2: u64 = 1 << 1;
    pub const IOTLB_BATCH: u64 = 1 << 2;
    pub const IOTLB_ASID: u64 = 1 << 3;
    pub const SUSPEND: u64 = 1 << 4;
    pub const RESUME: u64 = 1 << 5;
    pub const ENABLE_AFTER_DRIVER_OK: u64 = 1 << 6;
    pub const DESC_ASID: u64 = 1 << 7;
    pub const IOTLB_PERSIST: u64 = 1 << 8;

    /// What every device offers.
    pub const ALWAYS: u64 = IOTLB_MSG_V2
        | IOTLB_BATCH
        | IOTLB_ASID
        | SUSPEND
        | RESUME
        | ENABLE_AFTER_DRIVER_OK
        | IOTLB_PERSIST;
}

fn send(fd: RawFd, message: &IotlbMessage) -> Result<(), Errno> {
    // SAFETY: The message is valid for the call and has no uninitialised bytes.
    let written =
        unsafe { libc::write(fd, (&raw const *message).cast(), size_of::<IotlbMessage>()) };
    Errno::result(written).map(drop)
}

/// Shows an address space of the device some memory of this process.
///
/// The crate's `dma_map` knows only address space 0, and no mapping for writing only.
pub fn map(
    fd: &impl AsRawFd,
    asid: u32,
    iova: u64,
    size: u64,
    pointer: *const u8,
    permission: Permission,
) -> Result<(), Errno> {
    send(
        fd.as_raw_fd(),
        &IotlbMessage {
            kind: IOTLB_MSG_V2,
            asid,
            iova,
            size,
            address: pointer as u64,
            permission: permission as u8,
            what: IOTLB_UPDATE,
            ..Default::default()
        },
    )
}

/// Takes memory away from an address space of the device.
pub fn unmap(fd: &impl AsRawFd, asid: u32, iova: u64, size: u64) -> Result<(), Errno> {
    send(
        fd.as_raw_fd(),
        &IotlbMessage {
            kind: IOTLB_MSG_V2,
            asid,
            iova,
            size,
            what: IOTLB_INVALIDATE,
            ..Default::default()
        },
    )
}

/// Begins a batch of changes of an address space.
pub fn batch_begin(fd: &impl AsRawFd, asid: u32) -> Result<(), Errno> {
    batch(fd, asid, IOTLB_BATCH_BEGIN)
}

/// Ends a batch: the changes are in force then.
pub fn batch_end(fd: &impl AsRawFd, asid: u32) -> Result<(), Errno> {
    batch(fd, asid, IOTLB_BATCH_END)
}

fn batch(fd: &impl AsRawFd, asid: u32, what: u8) -> Result<(), Errno> {
    send(
        fd.as_raw_fd(),
        &IotlbMessage {
            kind: IOTLB_MSG_V2,
            asid,
            what,
            ..Default::default()
        },
    )
}

/// Lets this process have as much memory pinned as it wants: vhost-vdpa counts it.
pub fn unlimited_pinning() -> Outcome {
    let all = libc::RLIM_INFINITY;
    let limit = libc::rlimit {
        rlim_cur: all,
        rlim_max: all,
    };
    // SAFETY: The argument is valid for the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) };
    Errno::result(result).when("RLIMIT_MEMLOCK")?;
    Ok(())
}
