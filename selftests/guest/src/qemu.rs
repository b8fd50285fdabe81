// SPDX-License-Identifier: GPL-2.0

//! QEMU as a client of `/dev/vhost-vdpa-*`, with this program as the processor of its machine.
//!
//! The machine's firmware halts its processor, and there is nothing else in it. What a guest
//! would do is done here: PCI and virtio registers through QEMU's qtest protocol, rings and
//! buffers in the machine's memory, which is a file that both have mapped.
//! All of QEMU's own work for the device (vhost-vdpa, shadow virtqueues, the control queue,
//! migration) is as it always is, and takes seconds where a guest that boots takes minutes.
//!
//! With `RVDPA_STRACE` in the environment QEMU runs under `strace`, and tests show which ioctls
//! were refused.
//!
//! [`Machine`] is QEMU, [`Net`] a driver of the network card in it, and [`Flow`] frames that
//! one station sends to another one.

mod flow;
mod machine;
mod net;
mod pci;
mod qmp;
mod qtest;
mod queue;
mod ram;
mod virtio_pci;

pub use flow::{finish, Flow, Station};
pub use machine::{Machine, Setup, RAM};
pub use net::{Net, DRIVER};
pub use qmp::Qmp;
pub use qtest::Qtest;
pub use queue::Queue;
pub use ram::Ram;
pub use virtio_pci::VirtioPci;
