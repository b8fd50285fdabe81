// SPDX-License-Identifier: GPL-2.0

//! Clients that die, or become two, in the middle of what they do. Others see nothing of it,
//! and the next one has the device as new.

use super::MANY;
use crate::{
    arena::Kind,
    check, check_eq,
    harness::{Context, Test},
    outcome::{Outcome, Stop, While},
    sys::{scaled, wait_for},
    tests::rings::{plan, ring_device, FEW},
    vhost::{Format, LoopPlan, Net, Plan},
};
use nix::{
    sys::{
        signal::{kill, Signal},
        wait::{waitpid, WaitStatus},
    },
    unistd::{alarm, fork, getppid, pipe, ForkResult, Pid},
};
use rvdpa_virtio::status::Status;
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

pub const TESTS: &[Test] = &[
    Test::new("client.pa.killed", killed).seconds(60),
    Test::new("client.va.killed", killed)
        .with("use_va=1")
        .seconds(60),
    Test::new("client.set_map.va.killed", killed)
        .with("batch_mapping=1 use_va=1")
        .seconds(60),
    Test::new("client.pa.child_goes_on", child_goes_on).seconds(60),
    Test::new("client.va.child_goes_on", child_goes_on)
        .with("use_va=1")
        .seconds(60),
    Test::new("client.pa.child_closes", child_closes).seconds(60),
    Test::new("client.va.child_closes", child_closes)
        .with("use_va=1")
        .seconds(60),
];

/// How long a client may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// After how long it ends whatever it does.
const LIFE: Duration = Duration::from_secs(60);

/// A client in a process of its own, which is killed when the value goes.
pub struct Process {
    pid: Pid,
    /// What it has to say, one byte for each step, or why it failed.
    said: File,
    gone: AtomicBool,
}

impl Process {
    /// Starts a process. It ends with what it does, or after its life.
    pub fn start(run: impl FnOnce(&mut File) -> Outcome) -> Outcome<Self> {
        let (from, to) = pipe().when("a pipe")?;
        // SAFETY: There is only one thread.
        match unsafe { fork() }.when("fork")? {
            ForkResult::Parent { child } => Ok(Self {
                pid: child,
                said: File::from(from),
                gone: AtomicBool::new(false),
            }),
            ForkResult::Child => {
                drop(from);
                alarm::set(scaled(LIFE).as_secs() as u32);
                let mut to = File::from(to);
                let code = match run(&mut to) {
                    Ok(()) => 0,
                    Err(stop) => {
                        let _ = write!(to, "!{}", stop.text());
                        1
                    }
                };
                // What is left goes with the process.
                process::exit(code);
            }
        }
    }

    /// One that has frames looped until it is killed.
    pub fn flooding(path: &str, plan: Plan) -> Outcome<Self> {
        Self::start(|ready| {
            let mut net = Net::new(path, plan)?;
            net.loop_frames(FEW)?;
            ready.write_all(b"r")?;
            loop {
                net.loop_frames(MANY)?;
            }
        })
    }

    /// Waits until it has done a step.
    pub fn ready(&self) -> Outcome {
        check_eq!(self.step()?, b'r', "what a client says");
        Ok(())
    }

    /// Waits for what it says next.
    pub fn step(&self) -> Outcome<u8> {
        use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
        let limit = PollTimeout::try_from(scaled(PATIENCE)).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(self.said.as_fd(), PollFlags::POLLIN)];
        check!(poll(&mut ready, limit)? > 0, "a client says nothing");
        let mut byte = [0];
        let read = (&self.said).read(&mut byte)?;
        if read == 0 {
            crate::fail!("a client has ended");
        }
        if byte[0] == b'!' {
            let mut text = String::new();
            (&self.said).read_to_string(&mut text)?;
            return Err(Stop::Failed(format!("a client: {text}")));
        }
        Ok(byte[0])
    }

    /// Kills it, and waits until it is dead.
    pub fn kill(&self) -> Outcome {
        kill(self.pid, Signal::SIGKILL).when("kill")?;
        let status = waitpid(self.pid, None).when("waitpid")?;
        self.gone.store(true, Ordering::Relaxed);
        check!(
            matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)),
            "a client ended before it was killed: {status:?}"
        );
        Ok(())
    }

    /// Waits until somebody else has killed it.
    pub fn killed(&self) -> Outcome {
        let status = waitpid(self.pid, None).when("waitpid")?;
        self.gone.store(true, Ordering::Relaxed);
        if !matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)) {
            let mut text = String::new();
            (&self.said).read_to_string(&mut text)?;
            crate::fail!("a client was not killed, but ended with {status:?}: {text}");
        }
        Ok(())
    }

    /// Waits until it has ended well.
    pub fn end(&self) -> Outcome {
        let status = waitpid(self.pid, None).when("waitpid")?;
        self.gone.store(true, Ordering::Relaxed);
        if status != WaitStatus::Exited(self.pid, 0) {
            let mut text = String::new();
            (&self.said).read_to_string(&mut text)?;
            crate::fail!("a client ended with {status:?}: {text}");
        }
        Ok(())
    }

    /// Waits until all that hold the pipe have ended: it, and its children.
    pub fn end_of_all(&self) -> Outcome {
        let mut rest = Vec::new();
        (&self.said).read_to_end(&mut rest)?;
        check!(
            rest.is_empty(),
            "a client said {}",
            String::from_utf8_lossy(&rest)
        );
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.gone.load(Ordering::Relaxed) {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

/// Does something while another device has traffic, which must not suffer.
pub fn undisturbed<T: Send>(
    other: &mut Net,
    action: impl FnOnce() -> Outcome<T> + Send,
) -> Outcome<T> {
    let done = thread::scope(|scope| -> Outcome<T> {
        let thread = scope.spawn(action);
        let mut looped = Ok(());
        while looped.is_ok() && !thread.is_finished() {
            let what = LoopPlan { count: 50, ..MANY };
            looped = other.loop_frames(what).map(drop);
        }
        let done = thread.join().expect("it does not panic");
        looped.when("another device")?;
        done
    })?;
    super::runs(other).when("another device")?;
    Ok(done)
}

/// The next client has the device as new.
pub fn next_client(path: &str, plan: Plan) -> Outcome {
    let mut net = wait_for(
        "the device is free",
        PATIENCE,
        || match crate::vhost::Client::open_only(path) {
            Ok(_) => Ok(Some(())),
            Err(error) if crate::vhost::errno(&error) == Some(nix::errno::Errno::EBUSY) => Ok(None),
            Err(error) => Err(error.into()),
        },
    )
    .and_then(|()| Net::new(path, plan))
    .when("the next client")?;
    net.loop_frames(FEW).when("the next client")?;
    super::command(&mut net).when("the next client")
}

fn killed(context: &mut Context) -> Outcome {
    for format in Format::ALL {
        let (device, path) = ring_device("client", format)?;
        let (other, other_path) = ring_device("other", Format::Split)?;
        let plan = plan(context);
        let mut traffic = Net::new(&other_path, plan)?;
        for round in 0..8 {
            context.step(format_args!("{format:?}, round {round}"));
            let client = Process::flooding(&path, plan)?;
            client.ready()?;
            let delay = Duration::from_millis(9 * round);
            undisturbed(&mut traffic, || {
                thread::sleep(delay);
                client.kill()
            })?;
            next_client(&path, plan).when(format_args!("round {round}"))?;
        }
        drop(traffic);
        device.delete()?;
        other.delete()?;
    }
    Ok(())
}

/// Waits until this process has another parent.
fn orphaned(parent: Pid) -> Outcome {
    wait_for("the parent dies", PATIENCE, || {
        Ok((getppid() != parent).then_some(()))
    })
}

/// What the child of a dead client sees: with `use_va=1`, the memory that the device knows
/// was that of its parent, and is gone; else it is pinned, and stays. Where the parent was
/// `busy` to the end, its child does not know where the rings are.
fn inherit(net: &mut Net, says: &mut File, parent: Pid, va: bool, busy: bool) -> Outcome {
    orphaned(parent)?;
    if busy {
        net.tx.kick()?;
    } else if va {
        for number in 0..10 {
            net.add_frame(&crate::frame::make(100, net.mac, net.mac, number));
        }
        net.tx.driver.publish();
        net.tx.kick()?;
        net.client.wait_for_needs_reset()?;
    } else {
        net.loop_frames(MANY)?;
    }
    net.client.reset()?;
    net.tx.kick()?;
    check_eq!(net.client.status()?, Status::RESET, "status");
    says.write_all(b"c")?;
    Ok(())
}

fn child_goes_on(context: &mut Context) -> Outcome {
    let va = context.has("use_va=1");
    let (device, path) = ring_device("client", Format::Split)?;
    let (other, other_path) = ring_device("other", Format::Split)?;
    // Private memory would not be the same for both.
    let plan = Plan {
        kind: Kind::Shared,
        ..plan(context)
    };
    let mut traffic = Net::new(&other_path, plan)?;
    for round in 0..4 {
        context.step(format_args!("round {round}"));
        let busy = round % 2 == 1;
        let client = Process::start(|says| {
            let mut net = Net::new(&path, plan)?;
            net.loop_frames(FEW)?;
            let parent = Pid::this();
            // SAFETY: There is only one thread.
            if let ForkResult::Child = unsafe { fork() }.when("fork")? {
                alarm::set(scaled(PATIENCE).as_secs() as u32);
                return inherit(&mut net, says, parent, va, busy);
            }
            says.write_all(b"r")?;
            // Until it is killed; with and without traffic.
            loop {
                if busy {
                    net.loop_frames(FEW)?;
                } else {
                    thread::sleep(PATIENCE);
                }
            }
        })?;
        client.ready()?;
        client.kill()?;
        undisturbed(&mut traffic, || {
            check_eq!(client.step()?, b'c', "what the child says");
            client.end_of_all()
        })
        .when(format_args!("round {round}"))?;
        next_client(&path, plan).when(format_args!("round {round}"))?;
    }
    drop(traffic);
    device.delete()?;
    other.delete()
}

/// The child goes, the client goes on.
fn child_closes(context: &mut Context) -> Outcome {
    let (device, path) = ring_device("client", Format::Split)?;
    let plan = Plan {
        kind: Kind::Shared,
        ..plan(context)
    };
    for round in 0..4 {
        context.step(format_args!("round {round}"));
        let mut net = Net::new(&path, plan)?;
        net.loop_frames(FEW)?;
        let child = Process::start(|says| {
            says.write_all(b"r")?;
            Ok(())
        })?;
        child.ready()?;
        child.end()?;
        net.loop_frames(MANY).when("after the child has ended")?;
        // One that closes last.
        let child = Process::start(|says| {
            says.write_all(b"r")?;
            thread::sleep(Duration::from_millis(100));
            Ok(())
        })?;
        child.ready()?;
        drop(net);
        child.end()?;
        next_client(&path, plan).when(format_args!("round {round}"))?;
    }
    device.delete()
}
