// SPDX-License-Identifier: GPL-2.0

//! What runs in a guest: the tests of the module, and tools to try it out.
//!
//! From the bottom up:
//!
//! | module | what it holds |
//! |---|---|
//! | [`outcome`] | how a test ends, and the macros that end it |
//! | [`sys`] | small things of the operating system |
//! | [`kmsg`] | the kernel log |
//! | [`module`] | loading and unloading `rvdpa_sim` |
//! | [`parent`] | whose devices a test uses: ours, or those of the kernel's own simulator |
//! | [`netlink`], [`tool`] | talking to the vDPA bus: directly, and by the `vdpa` tool |
//! | [`device`] | a vDPA device, and which bus driver has it |
//! | [`cpus`], [`trace`] | processors, and what the kernel says that it did on them |
//! | [`cgroup`] | processes with little memory |
//! | [`netdev`], [`packet`] | the network interface that virtio_vdpa makes, and its frames |
//! | [`netns`], [`wire`] | two hosts in namespaces, with two devices of a switch between them |
//! | [`stream`], [`iperf`], [`pcap`], [`toeplitz`] | what they send, and what is seen of it |
//! | [`bpf`], [`xsk`] | XDP programs and the sockets behind them |
//! | [`arena`], [`ioctl`], [`vhost`] | a driver of `/dev/vhost-vdpa-*` |
//! | [`testpmd`] | DPDK's program, by its console |
//! | [`qemu`] | QEMU as a driver of `/dev/vhost-vdpa-*`, with a driver in its machine |
//! | [`frame`], [`inet`], [`meter`] | what is in a frame, and in a packet; how long they took |
//! | [`bench`] | measurements |
//! | [`random`] | a driver that does anything |
//! | [`harness`] | runs tests, each in a process of its own |
//! | [`detectors`] | whether what kernels look for would be found |
//! | [`tests`] | the tests |
//! | [`soak`] | everything at random |
//! | [`clients`] | tests with clients that others wrote |

pub mod arena;
pub mod bench;
pub mod bpf;
pub mod cgroup;
pub mod clients;
pub mod cpus;
pub mod detectors;
pub mod device;
pub mod frame;
pub mod harness;
pub mod hostile;
pub mod inet;
pub mod ioctl;
pub mod iperf;
pub mod kmsg;
pub mod meter;
pub mod module;
pub mod netdev;
pub mod netlink;
pub mod netns;
#[macro_use]
pub mod outcome;
pub mod packet;
pub mod parent;
pub mod pcap;
pub mod qemu;
pub mod random;
pub mod soak;
pub mod stream;
pub mod sys;
pub mod testpmd;
pub mod tests;
pub mod toeplitz;
pub mod tool;
pub mod trace;
pub mod vhost;
pub mod wire;
pub mod xsk;
