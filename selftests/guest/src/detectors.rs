// SPDX-License-Identifier: GPL-2.0

//! Whether what this kernel looks for would be found, and the tests fail then: a module of its
//! own (`selftests/mistakes`) makes one mistake of each kind.
//!
//! In a guest of its own: after its first complaint a kernel looks for less.

use crate::{
    check,
    harness::{run_one, say, Kmemleak, Lockdep, Test, Totals, Verdict},
    outcome::{Outcome, Stop, While},
    skip, sys,
};
use std::{env, fs, path::PathBuf};

/// What finds one kind of mistakes.
struct Detector {
    /// Makes the mistake.
    test: Test,
    /// Says so if this kernel has it not.
    here: fn() -> Outcome,
    /// The first line of its complaint.
    complaint: &'static [&'static str],
}

/// In this order: the last two have the kernel look at the order of locks no more.
const DETECTORS: &[Detector] = &[
    Detector {
        test: test("detectors.schedule_in_atomic", |_| {
            make("schedule_in_atomic")
        }),
        // Every kernel looks.
        here: || Ok(()),
        complaint: &["BUG: scheduling while atomic: ", "detectors"],
    },
    Detector {
        test: test("detectors.sleep_in_atomic", |_| make("sleep_in_atomic")),
        here: || symbol("__might_resched", "CONFIG_DEBUG_ATOMIC_SLEEP"),
        complaint: &["BUG: sleeping function called from invalid context"],
    },
    Detector {
        test: test("detectors.lock_inversion", |_| make("lock_inversion")),
        here: order_of_locks,
        complaint: &["WARNING: possible circular locking dependency detected"],
    },
    Detector {
        test: test("detectors.use_after_free", |_| make("use_after_free")),
        here: || symbol("kasan_report", "CONFIG_KASAN"),
        complaint: &[
            "BUG: KASAN: slab-use-after-free",
            "make_use_after_free",
            "[rvdpa_mistakes]",
        ],
    },
];

const LEAK: &str = "detectors.leak";

const fn test(name: &'static str, run: fn(&mut crate::harness::Context) -> Outcome) -> Test {
    Test::new(name, run).without_module()
}

const MODULE: &str = "rvdpa_mistakes";

/// Makes a mistake.
fn make(mistake: &str) -> Outcome {
    sys::write(format!("/sys/module/{MODULE}/parameters/make"), mistake)
}

/// Whether the kernel has a function that it is built with for one option only.
fn symbol(name: &str, option: &str) -> Outcome {
    let symbols = fs::read_to_string("/proc/kallsyms").when("/proc/kallsyms")?;
    if !symbols
        .lines()
        .any(|line| line.split_whitespace().nth(2) == Some(name))
    {
        skip!("this kernel is built without {option}");
    }
    Ok(())
}

fn order_of_locks() -> Outcome {
    match Lockdep::now() {
        None => skip!("this kernel is built without CONFIG_PROVE_LOCKING"),
        Some(lockdep) => check!(lockdep.is_on()?, "lockdep has stopped already"),
    }
    Ok(())
}

/// What the log check has to find: one complaint, and the right one.
fn judge(detector: &Detector, verdict: &Verdict) -> Outcome {
    check!(
        verdict.failures.len() == verdict.complaints.len(),
        "it failed for another reason: {:?}",
        verdict.failures
    );
    // All that is a complaint of its own; the rest of a report has a trace.
    let first: Vec<_> = verdict
        .complaints
        .iter()
        .filter(|line| !line.contains("Call Trace"))
        .collect();
    match first[..] {
        [line] => check!(
            detector.complaint.iter().all(|part| line.contains(part)),
            "another complaint: {line}"
        ),
        [] => crate::fail!("the kernel did not complain, or the log check did not see it"),
        _ => crate::fail!("more than one complaint: {first:?}"),
    }
    Ok(())
}

fn complains(detector: &Detector) -> Outcome {
    (detector.here)()?;
    let verdict = run_one(&detector.test)?;
    judge(detector, &verdict)
}

/// What was lost is found, with who has lost it.
fn leak() -> Outcome {
    let Some(kmemleak) = Kmemleak::start()? else {
        skip!("this kernel is built without CONFIG_DEBUG_KMEMLEAK");
    };
    make("leak")?;
    let verdict = kmemleak.verdict()?;
    for line in &verdict.failures {
        say(&format!("# {LEAK}: {line}"));
    }
    let has = |parts: &[&str]| {
        verdict
            .failures
            .iter()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    };
    check!(
        has(&["unreferenced object", "(size 1024)"]),
        "the objects are not found: {:?}",
        verdict.failures
    );
    check!(
        has(&["make_leak", MODULE]),
        "it is not said who lost them: {:?}",
        verdict.failures
    );
    Ok(())
}

/// Loads the module, which lies beside the one under test.
fn load() -> Outcome {
    let path = env::var_os("RVDPA_KO").when("RVDPA_KO")?;
    let path = PathBuf::from(path).with_file_name(format!("{MODULE}.ko"));
    sys::run(&["insmod", &path.to_string_lossy()]).map(drop)
}

/// Has each mistake made, and looks that it is found.
pub fn run_all() -> Outcome<Totals> {
    load()?;
    let mut totals = Totals::default();
    say("KTAP version 1");
    say(&format!("1..{}", DETECTORS.len() + 1));
    count(&mut totals, 1, LEAK, leak());
    for (at, detector) in DETECTORS.iter().enumerate() {
        count(&mut totals, at + 2, detector.test.name, complains(detector));
    }
    sys::run(&["rmmod", MODULE])?;
    Ok(totals)
}

fn count(totals: &mut Totals, number: usize, name: &str, outcome: Outcome) {
    let mut verdict = Verdict::default();
    match outcome {
        Ok(()) => {}
        Err(Stop::Skipped(reason)) => verdict.skip = Some(reason),
        Err(Stop::Failed(text)) => {
            say(&format!("# {name}: {text}"));
            verdict.failures.push(text);
        }
    }
    totals.count(number, name, &verdict);
}
