// SPDX-License-Identifier: GPL-2.0

//! Clients of devices, each in a process of its own, which do as they are told line by line:
//! between two lines they have frames looped, and look at each.

use crate::{
    arena::Kind,
    check, check_eq, fail, frame,
    outcome::{Outcome, Stop, While},
    packet::{self, Socket},
    sys::{wait_for, SOON},
    vhost::{Destination, LoopPlan, Manner, Net, Plan},
};
use nix::{
    errno::Errno,
    sys::{
        signal::{kill, Signal},
        wait::{waitpid, WaitStatus},
    },
    unistd::{fork, ForkResult, Pid},
};
use rvdpa_virtio::net::NetHeader;
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    process,
};

/// What a client uses.
#[derive(Clone, Debug)]
pub enum Of {
    /// An interface of the kernel's driver.
    Interface(String, [u8; 6]),
    /// A character device, with this kind of memory.
    Vhost(String, Kind),
}

/// Frames that are sent while there is no link.
pub const LOST: u64 = 20;

/// A client, which is killed when the value goes.
pub struct Client {
    pid: Pid,
    lines: BufReader<UnixStream>,
    alive: bool,
    pub frozen: bool,
}

impl Client {
    /// Starts one, which has had its first frames when this returns.
    pub fn start(of: &Of) -> Outcome<Self> {
        let (here, there) = UnixStream::pair()?;
        // SAFETY: There is only one thread.
        match unsafe { fork() }.when("fork")? {
            ForkResult::Parent { child } => {
                drop(there);
                // A command waits for frames, more than once.
                here.set_read_timeout(Some(3 * SOON))?;
                let mut client = Self {
                    pid: child,
                    lines: BufReader::new(here),
                    alive: true,
                    frozen: false,
                };
                client.answer().when("a client's start")?;
                Ok(client)
            }
            ForkResult::Child => {
                drop(here);
                // SAFETY: There are no pointers.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let mut to = there;
                if let Err(stop) = obey(of, &to) {
                    let _ = writeln!(to, "!{}", stop.text().replace('\n', " | "));
                }
                process::exit(0);
            }
        }
    }

    /// Has it do something, and waits until it is done.
    pub fn tell(&mut self, line: &str) -> Outcome {
        writeln!(self.lines.get_mut(), "{line}").when(line)?;
        self.answer()
            .when(format_args!("a client that was told '{line}'"))
    }

    fn answer(&mut self) -> Outcome {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).when("no answer")?;
        if read == 0 {
            fail!("the client has ended");
        }
        match line.strip_prefix('!') {
            Some(text) => Err(Stop::Failed(text.trim_end().to_owned())),
            None => Ok(()),
        }
    }

    fn signal(&self, signal: Signal) -> Outcome {
        kill(self.pid, signal).when(signal)
    }

    /// Lets it stand still, wherever it is.
    pub fn freeze(&mut self) -> Outcome {
        self.frozen = true;
        self.signal(Signal::SIGSTOP)
    }

    pub fn thaw(&mut self) -> Outcome {
        self.frozen = false;
        self.signal(Signal::SIGCONT)
    }

    /// Kills it, wherever it is. It must not have failed before.
    pub fn kill(mut self) -> Outcome {
        self.signal(Signal::SIGKILL)?;
        let status = waitpid(self.pid, None).when("waitpid")?;
        self.alive = false;
        if !matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)) {
            self.answer()?;
            fail!("a client ended before it was killed: {status:?}");
        }
        Ok(())
    }

    /// Has it end.
    pub fn quit(mut self) -> Outcome {
        self.tell("quit")?;
        let status = waitpid(self.pid, None).when("waitpid")?;
        self.alive = false;
        check_eq!(status, WaitStatus::Exited(self.pid, 0), "a client's end");
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.alive {
            let _ = self.signal(Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

/// What a client is told.
struct Orders<'a>(BufReader<&'a UnixStream>);

impl Orders<'_> {
    /// The next order; where it is not `waiting`, only if there is one.
    fn next(&mut self, waiting: bool) -> Outcome<Option<String>> {
        use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
        use std::os::fd::AsFd;
        let limit = if waiting {
            PollTimeout::NONE
        } else {
            PollTimeout::ZERO
        };
        let mut ready = [PollFd::new(self.0.get_ref().as_fd(), PollFlags::POLLIN)];
        // Each order is answered before the next one is given, so none is in the buffer.
        loop {
            match poll(&mut ready, limit) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).when("poll"),
            }
        }
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            fail!("nobody gives orders any more");
        }
        Ok(Some(line.trim_end().to_owned()))
    }
}

/// The client's process.
fn obey(of: &Of, stream: &UnixStream) -> Outcome {
    let mut user = User::new(of)?;
    user.frames()?;
    let mut orders = Orders(BufReader::new(stream));
    let mut says = stream;
    says.write_all(b"ready\n")?;
    let mut paused = false;
    loop {
        match orders.next(paused)?.as_deref() {
            None => {
                user.frames()?;
                continue;
            }
            Some("pause") => paused = true,
            Some("run") => paused = false,
            Some("quit") => {
                drop(user);
                says.write_all(b"bye\n")?;
                return Ok(());
            }
            Some(order) => user.carry_out(order)?,
        }
        says.write_all(b"done\n")?;
    }
}

enum User {
    Interface(String, [u8; 6]),
    Vhost(Option<Net>),
}

impl User {
    fn new(of: &Of) -> Outcome<Self> {
        Ok(match of {
            Of::Interface(name, mac) => Self::Interface(name.clone(), *mac),
            Of::Vhost(path, kind) => {
                let plan = Plan {
                    kind: *kind,
                    ..Plan::default()
                };
                Self::Vhost(Some(Net::new(path, plan)?))
            }
        })
    }

    fn net(&mut self) -> Outcome<&mut Net> {
        match self {
            Self::Vhost(Some(net)) => Ok(net),
            _ => fail!("this client has no character device"),
        }
    }

    /// Has some frames looped, and looks at each.
    fn frames(&mut self) -> Outcome {
        if let Self::Interface(name, mac) = self {
            let flood = packet::flood(name, *mac, 100, 300, 32)?;
            check_eq!(flood.received, 100, "frames that came back");
            check_eq!(flood.disordered, 0, "frames out of order");
            return Ok(());
        }
        let what = LoopPlan {
            count: 100,
            size: 300,
            in_flight: 32,
        };
        self.net()?.loop_frames(what).map(drop)
    }

    fn carry_out(&mut self, order: &str) -> Outcome {
        let (order, rest) = order.split_once(' ').unwrap_or((order, ""));
        match (order, self) {
            ("lose", Self::Interface(name, mac)) => {
                let socket = Socket::open(name, 2048)?;
                for number in 0..LOST {
                    // Without carrier, the kernel refuses or drops.
                    let _ = socket.try_send(&frame::make(100, *mac, *mac, number));
                }
                Ok(())
            }
            ("lose", user) => {
                let net = user.net()?;
                for number in 0..LOST {
                    let sent = frame::make(100, net.mac, net.mac, number);
                    net.send_frame(0, NetHeader::default(), &sent)?;
                }
                check!(net.receive()?.is_none(), "a frame came without a link");
                Ok(())
            }
            ("suspend", user) => suspend(user.net()?),
            ("restart", Self::Vhost(slot)) => {
                let net = slot.take().when("a driver")?.restart()?;
                *slot = Some(net);
                Ok(())
            }
            ("migrate", user) => migrate(user.net()?, rest),
            (order, _) => fail!("no client knows '{order}'"),
        }
    }
}

/// Suspends the device, gives it frames, and lets it go on.
fn suspend(net: &mut Net) -> Outcome {
    const FRAMES: u64 = 10;
    net.client.suspend()?;
    let used = net.tx.used();
    net.fill_rx()?;
    for number in 0..FRAMES {
        let sent = frame::make(100, net.mac, net.mac, number);
        check!(net.add_frame(&sent), "no room in the transmit queue");
    }
    net.tx.driver.publish();
    net.tx.kick()?;
    check_eq!(net.tx.used(), used, "chains used while suspended");
    net.client.resume()?;
    for number in 0..FRAMES {
        let got = net.wait_receive()?;
        check_eq!(frame::number(&got), Some(number), "frame after RESUME");
    }
    wait_for("frames given back", SOON, || {
        net.reap()?;
        Ok((net.tx.posted() == 0).then_some(()))
    })
}

/// Goes on at another device.
fn migrate(net: &mut Net, path: &str) -> Outcome {
    let state = net.leave()?;
    let destination = Destination::open(path, &state)?.when("negotiating at the other device")?;
    drop(net.go_on(destination, &state, Manner::default(), |_| Ok(()))?);
    Ok(())
}
