// SPDX-License-Identifier: GPL-2.0

//! The process that counts.

use super::{
    kmemleak::Kmemleak,
    lockdep::Lockdep,
    report::{Line, Report},
    tidy::Before,
    Context, Test,
};
use crate::{
    kmsg::Log,
    module,
    outcome::{Outcome, Stop, While},
    parent::{peer, Parent},
    sys::{scaled, SOON},
};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{poll, PollFd, PollFlags, PollTimeout},
    sys::{
        signal::{kill, Signal},
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::{fork, pipe2, ForkResult, Pid},
};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::AsFd,
    panic::{self, AssertUnwindSafe},
    process,
    time::{Duration, Instant},
};

/// How many lines of the kernel log are shown with a failure.
const SHOWN: usize = 60;

/// How the tests went.
#[derive(Default)]
pub struct Totals {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

/// How one test went.
#[derive(Default)]
pub struct Verdict {
    pub failures: Vec<String>,
    pub skip: Option<String>,
    /// Whether its process could not be ended.
    pub stuck: bool,
    /// The version of the client that it used.
    pub version: Option<String>,
    /// What the client did.
    pub exercised: Vec<String>,
    /// What the kernel complained of; a failure too.
    pub complaints: Vec<String>,
}

/// Runs tests one after the other and prints how they went.
pub fn run_all(tests: &[Test]) -> Outcome<Totals> {
    let mut totals = Totals::default();
    let mut stuck = None;
    let kmemleak = Kmemleak::start()?;
    let lockdep = Lockdep::now().is_some();
    say("KTAP version 1");
    say(&format!(
        "1..{}",
        tests.len() + usize::from(kmemleak.is_some()) + usize::from(lockdep)
    ));
    for (number, test) in tests.iter().enumerate().map(|(at, test)| (at + 1, test)) {
        if let Some(name) = stuck {
            totals.skipped += 1;
            say(&format!(
                "ok {number} {} # SKIP {name} did not end",
                test.name
            ));
            continue;
        }
        let verdict = run_one(test)?;
        totals.count(number, test.name, &verdict);
        stuck = verdict.stuck.then_some(test.name);
    }
    let mut number = tests.len();
    let mut last = |name: &str, verdict: &Verdict| {
        number += 1;
        for failure in &verdict.failures {
            say(&format!("# {failure}"));
        }
        totals.count(number, name, verdict);
    };
    if let Some(kmemleak) = kmemleak {
        last(Kmemleak::NAME, &kmemleak.verdict()?);
    }
    if lockdep {
        let lockdep = Lockdep::now().when("lockdep")?;
        for table in lockdep.tables() {
            say(&format!("# lockdep: {table}"));
        }
        last(Lockdep::NAME, &lockdep.verdict()?);
    }
    Ok(totals)
}

impl Totals {
    /// Counts a test, and prints its result.
    pub fn count(&mut self, number: usize, name: &str, verdict: &Verdict) {
        match verdict {
            Verdict {
                failures,
                skip: Some(reason),
                ..
            } if failures.is_empty() => {
                self.skipped += 1;
                say(&format!("ok {number} {name} # SKIP {reason}"));
            }
            Verdict { failures, .. } if failures.is_empty() => {
                self.passed += 1;
                say(&format!("ok {number} {name}"));
            }
            _ => {
                self.failed += 1;
                say(&format!("not ok {number} {name}"));
            }
        }
    }
}

/// Runs a test, and prints how long it took and what was wrong.
pub fn run_one(test: &Test) -> Outcome<Verdict> {
    let start = Instant::now();
    let verdict = run(test)?;
    say(&format!(
        "# time {} {:.2} s",
        test.name,
        start.elapsed().as_secs_f32()
    ));
    for failure in &verdict.failures {
        say(&format!("# {}: {failure}", test.name));
    }
    Ok(verdict)
}

/// Prints a line at once.
pub fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Runs one test.
fn run(test: &Test) -> Outcome<Verdict> {
    let (mut from, to) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .when("a pipe")
        .map(|(from, to)| (File::from(from), File::from(to)))?;
    let mut log = Log::from_now()?.without_memory(test.without_memory);

    // SAFETY: There is only one thread.
    let child = match unsafe { fork() }.when("fork")? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(from);
            in_child(test, &Report::new(to));
            process::exit(0);
        }
    };
    drop(to);

    let mut verdict = Verdict::default();
    let mut step = String::from("starting");
    let status = supervise(child, test.limit, || {
        // Before the kernel needs the room for newer lines.
        log.lines()?;
        collect(&mut from, test.name, &mut step, &mut verdict)
    })?;
    match status {
        Some(WaitStatus::Exited(_, 0)) => {}
        Some(status) => verdict
            .failures
            .push(format!("the test's process died at '{step}': {status:?}")),
        None => {
            verdict.failures.push(format!(
                "not done within {} s; it was at '{step}'",
                scaled(test.limit).as_secs()
            ));
            verdict.failures.extend(where_is(child));
            let _ = kill(child, Signal::SIGKILL);
            verdict.stuck = supervise(child, SOON, || Ok(()))?.is_none();
            collect(&mut from, test.name, &mut step, &mut verdict)?;
            if verdict.stuck {
                verdict
                    .failures
                    .push("its process cannot be killed; the tests end here".into());
            } else {
                clean_up(&mut verdict)?;
            }
        }
    }
    match log.bad() {
        Ok(lines) => {
            verdict
                .failures
                .extend(lines.iter().map(|line| format!("kernel log: {line}")));
            verdict.complaints = lines;
        }
        Err(error) => verdict.failures.push(error.text().to_owned()),
    }
    if !verdict.failures.is_empty() {
        let lines = log.lines().unwrap_or_default();
        if lines.len() > SHOWN {
            say(&format!("# kmsg: ({} lines left out)", lines.len() - SHOWN));
        }
        for line in &lines[lines.len().saturating_sub(SHOWN)..] {
            say(&format!("# kmsg: {line}"));
        }
    }
    Ok(verdict)
}

/// Removes what a test left that was killed.
fn clean_up(verdict: &mut Verdict) -> Outcome {
    let (from, to) = pipe2(OFlag::O_CLOEXEC).when("a pipe")?;
    // SAFETY: There is only one thread.
    let child = match unsafe { fork() }.when("fork")? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            Before::new().tidy(&Report::new(File::from(to)));
            process::exit(0);
        }
    };
    drop((from, to));
    if supervise(child, SOON, || Ok(()))?.is_none() {
        verdict.failures.extend(where_is(child));
        verdict.stuck = true;
    }
    Ok(())
}

/// Waits for a process, and does something meanwhile. Returns nothing if it takes longer
/// than `limit` (see [`scaled`]).
fn supervise(
    child: Pid,
    limit: Duration,
    mut meanwhile: impl FnMut() -> Outcome,
) -> Outcome<Option<WaitStatus>> {
    let end = Instant::now() + scaled(limit);
    loop {
        meanwhile()?;
        let status = waitpid(child, Some(WaitPidFlag::WNOHANG)).when("waitpid")?;
        if status != WaitStatus::StillAlive {
            meanwhile()?;
            return Ok(Some(status));
        }
        if Instant::now() > end {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads what a test's process has said.
fn collect(from: &mut File, name: &str, step: &mut String, verdict: &mut Verdict) -> Outcome {
    let mut ready = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
    if poll(&mut ready, PollTimeout::ZERO).when("poll")? == 0 {
        return Ok(());
    }
    // Lines are written at once and are shorter than what a pipe keeps together.
    let mut text = Vec::new();
    match from.read_to_end(&mut text) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
        _ => {}
    }
    for line in String::from_utf8_lossy(&text).lines() {
        match Line::decode(line) {
            Some(Line::Step(text)) => *step = text,
            Some(Line::Note(text)) => say(&format!("# {name}: {text}")),
            Some(Line::Failure(text)) => verdict.failures.push(text),
            Some(Line::Skip(text)) => verdict.skip = Some(text),
            Some(Line::Version(text)) => verdict.version = Some(text),
            Some(Line::Exercised(text)) => verdict.exercised.push(text),
            None => verdict.failures.push(format!("said '{line}'")),
        }
    }
    Ok(())
}

/// Where the threads of a process are, and everyone who waits for what may never come.
fn where_is(process: Pid) -> Vec<String> {
    let mut found = Vec::new();
    let of = |folder: &str, whose: &str| {
        let read = |name: &str| fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
        let stack: Vec<_> = read("stack").lines().map(str::to_owned).collect();
        format!("{whose} {}: {}", read("comm").trim(), stack.join(" < "))
    };
    for thread in crate::sys::names(format!("/proc/{process}/task")) {
        found.push(of(&format!("/proc/{process}/task/{thread}"), "thread"));
    }
    for other in crate::sys::names("/proc") {
        let folder = format!("/proc/{other}");
        let status = fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
        if status.contains("State:\tD") {
            found.push(of(&folder, "blocked"));
        }
    }
    found
}

/// The test's process.
fn in_child(test: &Test, report: &Report) {
    let panics = report.clone();
    panic::set_hook(Box::new(move |info| panics.failure(&info.to_string())));
    let before = Before::new();
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        report.outcome(whole(test, report));
    }));
    // The hook has reported it.
    drop(result);
    before.tidy(report);
}

fn whole(test: &Test, report: &Report) -> Outcome {
    let mut context = Context {
        report: report.clone(),
        log: Log::from_now()?,
        parameters: test.parameters.unwrap_or_default(),
        parent: test.parent,
    };
    if test.parent == Parent::Peer {
        context.step("loading the peer");
        peer::load(context.parameters)?;
    } else if let Some(parameters) = test.parameters {
        context.step("loading the module");
        match module::try_load(parameters)? {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                return Err(Stop::Failed("the module is loaded already".into()));
            }
            Err(errno) => return Err(errno).when(format_args!("insmod {parameters}")),
        }
    }
    context.step("the test");
    (test.run)(&mut context)
}
