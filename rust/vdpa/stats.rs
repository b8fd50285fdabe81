// SPDX-License-Identifier: GPL-2.0

//! Statistics for `vdpa dev vstats show`.

use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::c_int,
    prelude::*,
    str::CStr, //
};

/// Writes statistics into a netlink message, each as a name and a number.
pub struct StatsWriter<'a> {
    skb: NonNull<kernel::bindings::sk_buff>,
    _message: PhantomData<&'a mut ()>,
}

impl StatsWriter<'_> {
    /// # Safety
    ///
    /// `skb` is a netlink message under construction, which nobody else uses while the
    /// value exists.
    pub(super) unsafe fn from_raw(skb: *mut kernel::bindings::sk_buff) -> Option<Self> {
        Some(Self {
            skb: NonNull::new(skb)?,
            _message: PhantomData,
        })
    }

    /// Says how many queue pairs the device has at most, before any number is added.
    ///
    /// The user's tool names queues by it. The core says it only where MQ or RSS were
    /// negotiated; without it, the tool takes the first queue for the control queue.
    ///
    /// Fails with `EMSGSIZE` if the message is full.
    pub fn put_max_vqp(&mut self, pairs: u16) -> Result {
        // SAFETY: `skb` is ours by the requirement of `from_raw`.
        to_result(unsafe { bindings::rvdpa_nla_put_max_vqp(self.skb.as_ptr(), pairs) })
    }

    /// Adds one number.
    ///
    /// Fails with `EMSGSIZE` if the message is full.
    pub fn put(&mut self, name: &CStr, value: u64) -> Result {
        // SAFETY: `skb` is ours by the requirement of `from_raw`, and `name` is copied.
        to_result(unsafe {
            bindings::rvdpa_nla_put_string(
                self.skb.as_ptr(),
                bindings::vdpa_attr_VDPA_ATTR_DEV_VENDOR_ATTR_NAME as c_int,
                name.as_char_ptr(),
            )
        })?;
        // SAFETY: `skb` is ours by the requirement of `from_raw`.
        to_result(unsafe {
            bindings::rvdpa_nla_put_u64(
                self.skb.as_ptr(),
                bindings::vdpa_attr_VDPA_ATTR_DEV_VENDOR_ATTR_VALUE as c_int,
                value,
                bindings::vdpa_attr_VDPA_ATTR_PAD as c_int,
            )
        })
    }
}

/// Tells the user of a netlink request in words why it failed.
pub struct ExtAck<'a> {
    raw: *mut kernel::bindings::netlink_ext_ack,
    _request: PhantomData<&'a mut ()>,
}

impl ExtAck<'_> {
    /// # Safety
    ///
    /// `raw` is NULL or valid while the value exists.
    pub(super) unsafe fn from_raw(raw: *mut kernel::bindings::netlink_ext_ack) -> Self {
        Self {
            raw,
            _request: PhantomData,
        }
    }

    /// Sets the message.
    pub fn set(&mut self, message: &'static CStr) {
        // SAFETY: `raw` is NULL or valid by the requirement of `from_raw`, and `message`
        // is never freed. The message is sent before the module can go, because the
        // device that is being asked holds a reference to it.
        unsafe { bindings::rvdpa_extack_set(self.raw, message.as_char_ptr()) };
    }
}
