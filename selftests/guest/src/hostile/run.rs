// SPDX-License-Identifier: GPL-2.0

//! Runs cases, a few in a process, and tells how each ended.
//!
//! A process has its devices for all its cases. One that does not end, or dies, is no harm to
//! the cases that follow, unless the kernel does not end it either: then this program ends,
//! with [`REBOOT`], and who has started it starts it again in a new guest, behind that case.

use super::{
    beside::Beside,
    case::Case,
    cases, judge,
    judge::End,
    scene::{new_device, Room, NAME},
};
use crate::{
    arena::Kind,
    harness::{run_one, say, Context, Test},
    outcome::{Outcome, Stop, While},
    parent::Parent,
    vhost::Format,
};
use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

/// How many cases a process has: the module says no more than ten things in five seconds.
const BATCH: usize = 9;

/// What a process says when it starts a case.
const STARTED: &str = "started";

/// What the program's exit status is when the kernel is of no more use.
pub const REBOOT: u8 = 3;

/// A case with rings of a format and a mode of memory.
#[derive(Clone, Copy)]
pub struct Run {
    pub number: usize,
    pub case: Case,
    pub format: Format,
    pub va: bool,
}

impl Run {
    /// What comes before the verdict, in a line of results.
    fn key(&self, parent: Parent) -> String {
        format!(
            "{}|{}|{}|{}|{}|{}",
            self.number,
            self.case.class,
            self.case.name,
            self.format.name(),
            if self.va { "va" } else { "pa" },
            match parent {
                Parent::Rvdpa => "rvdpa_sim",
                Parent::Peer => "vdpa_sim",
            }
        )
    }
}

/// All runs, in their order.
pub fn runs() -> Vec<Run> {
    let mut all = Vec::new();
    for va in [false, true] {
        for format in Format::ALL {
            for case in cases() {
                if case.suits(format, va) {
                    all.push(Run {
                        number: all.len() + 1,
                        case,
                        format,
                        va,
                    });
                }
            }
        }
    }
    all
}

/// Each case once: with rings of either format and in either mode by turns.
pub fn quick(all: &[Run]) -> Vec<Run> {
    let mut places = BTreeMap::<&str, Vec<Run>>::new();
    for run in all {
        places.entry(run.case.name).or_default().push(*run);
    }
    let mut some: Vec<Run> = places
        .values()
        .enumerate()
        .map(|(turn, runs)| runs[turn % runs.len()])
        .collect();
    some.sort_by_key(|run| run.number);
    some
}

/// How it ended, as the line of results says it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    word: &'static str,
    text: String,
}

impl Verdict {
    fn new(word: &'static str, text: impl Into<String>) -> Self {
        Self {
            word,
            text: text.into(),
        }
    }

    fn of(outcome: Outcome<End>) -> Self {
        match outcome {
            Ok(End::Held) => Self::new("held", ""),
            Ok(End::NotTold) => Self::new("not told", "the driver is not told of it"),
            Err(Stop::Skipped(what)) => Self::new("not offered", what),
            Err(Stop::Failed(text)) => Self::new("wrong", text.replace('\n', " ")),
        }
    }
}

/// What the next process has to do.
static NEXT: Mutex<Vec<Run>> = Mutex::new(Vec::new());

/// How the runs went.
#[derive(Default)]
pub struct Totals {
    pub held: usize,
    pub not_offered: usize,
    pub failed: usize,
    /// Whether the kernel can go on.
    pub reboot: bool,
}

impl Totals {
    fn count(&mut self, word: &str) {
        match word {
            "held" => self.held += 1,
            "not offered" => self.not_offered += 1,
            _ => self.failed += 1,
        }
    }
}

/// Runs cases and prints a line for each.
pub fn run_all(selected: &[Run], parent: Parent) -> Outcome<Totals> {
    let mut totals = Totals::default();
    let mut rest = selected;
    while let Some(first) = rest.first() {
        let alike = |run: &&Run| run.va == first.va && run.format == first.format;
        let count = rest.iter().take_while(alike).take(BATCH).count();
        let (batch, _) = rest.split_at(count);
        *NEXT.lock().expect("one thread") = batch.to_vec();
        let verdict = run_one(&test(batch, parent))?;
        // A process says when it starts a case and how it ended.
        let ended = || verdict.exercised.iter().filter(|word| *word != STARTED);
        let mut done = ended().count();
        let started = verdict.exercised.len() - done;
        ended().for_each(|word| totals.count(word));
        let trouble = verdict.failures.join("; ");
        if let (0, Some(why), true) = (started, &verdict.skip, trouble.is_empty()) {
            for run in batch {
                tell(run, parent, &Verdict::new("not offered", why.as_str()));
                totals.count("not offered");
            }
            done = count;
        } else if started > done || started == 0 {
            let end = match verdict.complaints.first() {
                Some(line) => Verdict::new("complaint", line.as_str()),
                None if trouble.contains("not done within") => Verdict::new("hang", trouble),
                None => Verdict::new("wrong", trouble),
            };
            tell(&batch[done], parent, &end);
            totals.count(end.word);
            done += 1;
        } else if !trouble.is_empty() {
            // The cases are told of, and what they left behind is not well.
            let last = batch[done - 1].key(parent);
            say(&format!("after|{last}|{}", trouble.replace('|', "/")));
            totals.failed += 1;
        }
        // What the simulator has done to the kernel is not to be blamed on the next case.
        let harmed = parent == Parent::Peer && !verdict.complaints.is_empty();
        if verdict.stuck || harmed {
            totals.reboot = true;
            return Ok(totals);
        }
        rest = &rest[done..];
    }
    Ok(totals)
}

fn tell(run: &Run, parent: Parent, verdict: &Verdict) {
    let text = verdict.text.replace('|', "/");
    say(&format!("case|{}|{}|{text}", run.key(parent), verdict.word));
}

fn test(batch: &[Run], parent: Parent) -> Test {
    let first = batch[0];
    let name = format!(
        "{}_to_{}",
        first.number,
        batch.last().map_or(first.number, |run| run.number)
    );
    let parameters = if first.va { "use_va=1" } else { "" };
    Test {
        limit: Duration::from_secs(60 + 10 * batch.len() as u64),
        parent,
        ..Test::new(Box::leak(name.into_boxed_str()), process).with(parameters)
    }
}

/// What a process does.
fn process(context: &mut Context) -> Outcome {
    let batch = std::mem::take(&mut *NEXT.lock().expect("one thread"));
    let first = batch.first().when("a case")?;
    let parent = context.parent;
    let (device, path) = new_device(parent, first.format, NAME)?;
    let (other, other_path) = new_device(parent, first.format, "beside")?;
    let kind = if first.va {
        Kind::Shared
    } else {
        Kind::Anonymous
    };
    let beside = Beside::start(&other_path, kind)?;
    let room = Room {
        parent,
        format: first.format,
        va: first.va,
        device,
        path,
        beside: &beside,
    };
    for run in &batch {
        say(&format!("start|{}", run.key(parent)));
        context.step(run.case.name);
        context.exercised(STARTED);
        let start = Instant::now();
        let outcome = judge::run(context, &room, &run.case);
        let took = start.elapsed();
        // A complaint is told by who started this process, with more of the log.
        if !context.log.bad()?.is_empty() {
            break;
        }
        let mut verdict = Verdict::of(outcome);
        if verdict.word == "held" {
            verdict.text = format!("{} ms", took.as_millis());
        }
        tell(run, parent, &verdict);
        let broken = verdict.word == "wrong";
        context.exercised(verdict.word);
        if broken {
            // The next one has devices of its own.
            break;
        }
    }
    let Room { device, .. } = room;
    device.delete()?;
    drop(beside);
    other.delete()
}
