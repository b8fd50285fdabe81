// SPDX-License-Identifier: GPL-2.0

//! The words after a command: `--name value`, or `--name a,b` for lists.

use crate::outcome::{Outcome, Stop, While};
use std::{collections::BTreeMap, fmt::Display, str::FromStr};

/// What the user said.
#[derive(Default)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Takes words apart; only options of `known` will do.
    pub fn parse(words: impl Iterator<Item = String>, known: &[&str]) -> Outcome<Self> {
        let mut options = BTreeMap::new();
        let mut words = words;
        while let Some(word) = words.next() {
            let name = word
                .strip_prefix("--")
                .filter(|name| known.contains(name))
                .when(format_args!("option {word}; known are {}", known.join(" ")))?;
            let value = words.next().when(format_args!("value of --{name}"))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    /// The list of an option, or what is meant without a word.
    pub fn list<T: FromStr>(&self, name: &str, default: &str) -> Outcome<Vec<T>> {
        let text = self.0.get(name).map_or(default, String::as_str);
        let each = text.split(',').map(|word| {
            word.parse()
                .map_err(|_| Stop::Failed(format!("--{name}: what is '{word}'?")))
        });
        each.collect()
    }

    /// The value of an option, or what is meant without a word.
    pub fn get<T: FromStr + Display>(&self, name: &str, default: T) -> Outcome<T> {
        let all = self.list(name, &default.to_string())?;
        all.into_iter().next().when(format_args!("--{name}"))
    }
}

/// An enumeration whose members users call by names.
#[macro_export]
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$member_doc])* $member),* }

        impl $name {
            /// As users call it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$member => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                match text { $($text => Ok(Self::$member),)* _ => Err(()) }
            }
        }
    };
}
