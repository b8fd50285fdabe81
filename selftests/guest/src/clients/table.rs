// SPDX-License-Identifier: GPL-2.0

//! Clients, and what became of each, as a table.

use super::ClientTest;
use crate::harness::say;

/// One test.
#[derive(Default)]
pub struct Row {
    pub test: String,
    pub client: String,
    pub version: String,
    pub exercised: String,
    pub rvdpa: String,
    pub peer: String,
}

const HEADINGS: [&str; 6] = [
    "test",
    "client",
    "version",
    "exercised",
    "rvdpa_sim",
    "C simulator",
];

impl Row {
    fn cells(&self) -> [&str; 6] {
        let cells = [
            &self.test,
            &self.client,
            &self.version,
            &self.exercised,
            &self.rvdpa,
            &self.peer,
        ];
        cells.map(|text| if text.is_empty() { "-" } else { text })
    }
}

/// What is shown at the end.
pub struct Table {
    pub rows: Vec<Row>,
}

impl Table {
    pub fn new(tests: &[ClientTest]) -> Self {
        let row = |test: &ClientTest| Row {
            test: test.name.to_owned(),
            client: test.client.to_owned(),
            ..Row::default()
        };
        Self {
            rows: tests.iter().map(row).collect(),
        }
    }

    /// Prints it for people, and as a `list-table` of reStructuredText between two marks.
    pub fn print(&self) {
        for row in &self.rows {
            say("");
            for (heading, cell) in HEADINGS.iter().zip(row.cells()) {
                say(&format!("{heading:<12} {cell}"));
            }
        }
        say("");
        say("-- list-table");
        say(".. list-table::\n   :header-rows: 1\n");
        entry(&HEADINGS);
        for row in &self.rows {
            entry(&row.cells().map(escape).each_ref().map(String::as_str));
        }
        say("-- end");
    }
}

/// One entry of a `list-table`.
fn entry(cells: &[&str]) {
    for (at, cell) in cells.iter().enumerate() {
        say(&format!("   {} - {cell}", if at == 0 { "*" } else { " " }));
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
