// SPDX-License-Identifier: GPL-2.0

//! Results as a table for people: each case, what became of it with devices of ours, and with
//! the kernel's own simulator.

use super::{case::Case, cases, class_name};
use crate::{
    harness::say,
    outcome::{Outcome, While},
};
use std::{collections::BTreeMap, fs};

/// Where a case was run: rings, memory.
type Place = (String, String);

/// How it ended there: a word, and more of it.
type Ending = (String, String);

/// The results of one of the two, by the names of cases.
type Results = BTreeMap<String, Vec<(Place, Ending)>>;

/// Reads lines of results. The last one of a run counts.
fn read(path: &str, parent: &str) -> Outcome<Results> {
    let text = fs::read_to_string(path).when(path)?;
    let mut results = Results::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let &["case", _, _, name, rings, memory, whose, word, more] = &fields[..] else {
            continue;
        };
        if whose != parent {
            continue;
        }
        let place = (rings.to_owned(), memory.to_owned());
        let all = results.entry(name.to_owned()).or_default();
        all.retain(|(other, _)| *other != place);
        all.push((place, (word.to_owned(), more.to_owned())));
    }
    Ok(results)
}

/// What the table says of a case.
fn cell(case: &Case, results: &Results) -> String {
    let Some(all) = results.get(case.name) else {
        return "not run".into();
    };
    let tried: Vec<_> = all
        .iter()
        .filter(|(_, (word, _))| word != "not offered")
        .collect();
    let Some((_, (first, _))) = tried.first() else {
        return "not offered".into();
    };
    if tried.iter().all(|(_, (word, _))| word == first) {
        return match tried.iter().find(|(_, (_, more))| !more.is_empty()) {
            Some((_, (word, more))) if word != "held" && word != "not told" => {
                format!("{word}: {}", short(more))
            }
            _ => first.clone(),
        };
    }
    let mut parts = Vec::new();
    for ((rings, memory), (word, more)) in tried {
        let what = match &word[..] {
            "held" | "not told" => word.clone(),
            _ => format!("{word}: {}", short(more)),
        };
        parts.push(format!("{rings}, {memory}: {what}"));
    }
    parts.join("; ")
}

/// A failure without the places in our source where it was found, and not too long.
fn short(text: &str) -> String {
    let parts: Vec<_> = text
        .split(": ")
        .filter(|part| !part.contains(".rs:"))
        .collect();
    let text = parts.join(": ");
    match text.char_indices().nth(160) {
        Some((at, _)) => format!("{} ...", &text[..at]),
        None => text,
    }
}

/// What has a meaning in reStructuredText has none in a cell.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if matches!(c, '\\' | '*' | '`' | '_' | '|') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// How many cases ended in which way.
fn summary(cells: &[String]) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for cell in cells {
        let mixed = cell.contains("; ") && cell.contains(", pa: ");
        let word = match cell.split(':').next() {
            Some(_) if mixed => "differs",
            Some(word) => word,
            None => "",
        };
        *counts.entry(word).or_default() += 1;
    }
    let parts: Vec<_> = counts
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    parts.join(", ")
}

/// Prints the table, with what lines of results in a file say.
pub fn print(path: &str) -> Outcome {
    let (ours, theirs) = (read(path, "rvdpa_sim")?, read(path, "vdpa_sim")?);
    let cases = cases();
    let cells: Vec<(String, String)> = cases
        .iter()
        .map(|case| (cell(case, &ours), cell(case, &theirs)))
        .collect();
    let (left, right): (Vec<_>, Vec<_>) = cells.iter().cloned().unzip();
    say(".. SPDX-License-Identifier: GPL-2.0\n");
    say(&format!(
        "{} cases. ``rvdpa_sim``: {}. C simulator: {}.\n",
        cases.len(),
        summary(&left),
        summary(&right)
    ));
    say(".. list-table::\n   :header-rows: 1\n   :widths: 40 25 35\n");
    say("   * - Case\n     - ``rvdpa_sim``\n     - C simulator");
    let mut class = 0;
    for (case, (ours, theirs)) in cases.iter().zip(&cells) {
        if case.class != class {
            class = case.class;
            let title = escape(class_name(class));
            say(&format!("   * - **{class}. {title}**\n     -\n     -"));
        }
        say(&format!(
            "   * - {}\n     - {}\n     - {}",
            escape(case.name),
            escape(ours),
            escape(theirs)
        ));
    }
    Ok(())
}
