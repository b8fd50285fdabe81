// SPDX-License-Identifier: GPL-2.0

//! Which CPU works for a virtqueue: the one that the driver asks for, or any.

use crate::{
    check, check_eq,
    cpus::{self, Offline},
    device::Device,
    harness::{Context, Test},
    netdev,
    netlink::attribute,
    outcome::{Outcome, While},
    packet, skip, sys,
    trace::{Event, Trace},
    vhost::{LoopPlan, Net, Plan},
};

/// Workers do all: it is about them.
const WORKERS: &str = "in_place=0";

pub const TESTS: &[Test] = &[
    Test::new("affinity.each_pair_on_its_cpu", pairs).with(WORKERS),
    Test::new("affinity.one_pair_on_any_cpu", one_pair).with(WORKERS),
    Test::new("affinity.changed_with_the_channels", channels).with(WORKERS),
    Test::new("affinity.cpu_goes_offline_and_comes_back", offline).with(WORKERS),
    Test::new("affinity.userspace_on_any_cpu", userspace),
];

/// How many frames are sent to see who works for them.
const FRAMES: u64 = 200;

/// A device with a queue pair for each CPU, and what its workers do.
struct Setup {
    device: Device,
    interface: String,
    trace: Trace,
}

impl Setup {
    fn new() -> Outcome<Self> {
        let pairs = cpus::online()?.len() as u16;
        if pairs < 2 {
            skip!("there is one CPU only");
        }
        let (device, interface) = Device::for_virtio_with("cpus", |attributes| {
            attributes.put(attribute::NET_CFG_MAX_VQP, &pairs.to_ne_bytes())
        })?;
        let trace = Trace::new("workqueue/workqueue_execute_start")?;
        Ok(Self {
            device,
            interface,
            trace,
        })
    }

    /// Has frames that a CPU sends go out of a transmit queue.
    fn send_from(&self, cpu: u32, pair: usize) -> Outcome {
        let queue = |pair: usize| {
            format!(
                "/sys/class/net/{}/queues/tx-{pair}/xps_cpus",
                self.interface
            )
        };
        for other in 0..cpus::online()?.len() {
            sys::write(queue(other), "0")?;
        }
        sys::write(queue(pair), &format!("{:x}", 1_u64 << cpu))
    }

    /// Has frames looped. Returns who worked for the transmit queue.
    fn workers(&self) -> Outcome<Vec<Event>> {
        let mac = netdev::mac(&self.interface)?;
        self.trace.clear()?;
        let flood = packet::flood(&self.interface, mac, FRAMES, 100, 4)?;
        check_eq!(flood.received, FRAMES, "frames that came back");
        let workers = transmitters(&self.trace)?;
        check!(!workers.is_empty(), "nobody worked for the transmit queue");
        Ok(workers)
    }

    fn channels(&self, count: usize) -> Outcome {
        let count = count.to_string();
        sys::run(&["ethtool", "-L", &self.interface, "combined", &count]).map(drop)
    }

    fn done(self) -> Outcome {
        drop(self.trace);
        self.device.delete()
    }
}

/// Who worked for transmit queues.
fn transmitters(trace: &Trace) -> Outcome<Vec<Event>> {
    trace.events(&["[rvdpa_sim]", "Transmit"])
}

/// Whether all worked on this CPU, and were to.
fn on_cpu(workers: &[Event], cpu: u32) -> Outcome {
    let thread = format!("kworker/{cpu}:");
    for worker in workers {
        check!(
            worker.cpu == cpu && worker.thread.starts_with(&thread),
            "not on CPU {cpu}: {worker:?}"
        );
    }
    Ok(())
}

/// Whether all could have worked on any CPU.
fn on_any_cpu(workers: &[Event]) -> Outcome {
    for worker in workers {
        check!(
            worker.thread.starts_with("kworker/u"),
            "on a certain CPU: {worker:?}"
        );
    }
    Ok(())
}

/// The driver gives each pair a CPU, which works for it wherever the sender is.
fn pairs(context: &mut Context) -> Outcome {
    let setup = Setup::new()?;
    let cpus = cpus::online()?;
    for (pair, &cpu) in cpus.iter().enumerate() {
        for &sender in &cpus {
            context.step(format_args!("pair {pair}, sender on CPU {sender}"));
            setup.send_from(sender, pair)?;
            cpus::pin(&[sender])?;
            let queue = 2 * pair as u32 + 1;
            let sent = || setup.device.statistics(queue)?.get("tx packets");
            let before = sent()?;
            let workers = setup.workers()?;
            check_eq!(sent()? - before, FRAMES, "frames sent by pair {pair}");
            on_cpu(&workers, cpu).when(format_args!("pair {pair}, sender on CPU {sender}"))?;
        }
    }
    cpus::pin(&cpus)?;
    setup.done()
}

/// One pair is for all CPUs, so the scheduler chooses.
fn one_pair(_: &mut Context) -> Outcome {
    let (device, interface) = Device::for_virtio("cpus")?;
    let setup = Setup {
        device,
        interface,
        trace: Trace::new("workqueue/workqueue_execute_start")?,
    };
    on_any_cpu(&setup.workers()?)?;
    setup.done()
}

fn channels(_: &mut Context) -> Outcome {
    let setup = Setup::new()?;
    let cpus = cpus::online()?;
    let one_cpu = |setup: &Setup| {
        let last = cpus.len() - 1;
        setup.send_from(cpus[0], last)?;
        cpus::pin(&cpus[..1])?;
        let result = setup.workers().and_then(|all| on_cpu(&all, cpus[last]));
        cpus::pin(&cpus)?;
        result
    };
    for round in 0..3 {
        one_cpu(&setup).when(format_args!("all pairs, round {round}"))?;
        setup.channels(1)?;
        let any = setup.workers().and_then(|all| on_any_cpu(&all));
        any.when(format_args!("one pair, round {round}"))?;
        setup.channels(cpus.len())?;
    }
    setup.done()
}

/// Frames pass while the CPU of a pair is away, and it is the pair's again when it is back.
fn offline(context: &mut Context) -> Outcome {
    let setup = Setup::new()?;
    let cpus = cpus::online()?;
    let last = cpus[cpus.len() - 1];
    for round in 0..2 {
        context.step(format_args!("CPU {last} goes, round {round}"));
        let away = Offline::new(last)?;
        for worker in setup.workers()? {
            check!(worker.cpu != last, "on a CPU that is offline: {worker:?}");
        }
        context.step(format_args!("CPU {last} comes back, round {round}"));
        away.end()?;
        setup.send_from(cpus[0], cpus.len() - 1)?;
        cpus::pin(&cpus[..1])?;
        let workers = setup.workers();
        cpus::pin(&cpus)?;
        on_cpu(&workers?, last).when("the CPU is back")?;
    }
    setup.done()
}

/// Drivers in userspace do not say which CPUs they want.
fn userspace(_: &mut Context) -> Outcome {
    let (device, path) = Device::for_vhost("cpus")?;
    let trace = Trace::new("workqueue/workqueue_execute_start")?;
    let mut net = Net::new(&path, Plan::default())?;
    net.loop_frames(LoopPlan {
        count: FRAMES,
        size: 100,
        in_flight: 4,
    })?;
    let workers = transmitters(&trace)?;
    check!(!workers.is_empty(), "nobody worked for the transmit queue");
    on_any_cpu(&workers)?;
    drop(net);
    device.delete()
}
