// SPDX-License-Identifier: GPL-2.0

//! How a test ends.

use std::fmt::Display;

/// Why a test did not pass.
#[derive(Debug)]
pub enum Stop {
    /// Something is not as it should be.
    Failed(String),
    /// What the test needs is not there.
    Skipped(String),
}

/// What a test returns.
pub type Outcome<T = ()> = Result<T, Stop>;

impl Stop {
    /// The words, whichever it is.
    pub fn text(&self) -> &str {
        match self {
            Self::Failed(text) | Self::Skipped(text) => text,
        }
    }
}

/// Every error that a test does not expect is a failure.
impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Says what was being done when an error came.
pub trait While<T> {
    /// Puts `what` before the error.
    fn when(self, what: impl Display) -> Outcome<T>;
}

impl<T, E: Into<Stop>> While<T> for Result<T, E> {
    fn when(self, what: impl Display) -> Outcome<T> {
        self.map_err(|error| match error.into() {
            Stop::Failed(text) => Stop::Failed(format!("{what}: {text}")),
            Stop::Skipped(text) => Stop::Skipped(text),
        })
    }
}

impl<T> While<T> for Option<T> {
    fn when(self, what: impl Display) -> Outcome<T> {
        self.ok_or_else(|| Stop::Failed(format!("{what}: there is none")))
    }
}

/// Ends the test as failed, with a formatted text.
#[macro_export]
macro_rules! fail {
    ($($arg:tt)+) => {
        return Err($crate::outcome::Stop::Failed(format!(
            "{}:{}: {}", file!(), line!(), format_args!($($arg)+)
        )))
    };
}

/// Ends the test as skipped, with a formatted reason.
#[macro_export]
macro_rules! skip {
    ($($arg:tt)+) => {
        return Err($crate::outcome::Stop::Skipped(format!($($arg)+)))
    };
}

/// Ends the test as failed unless a condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($arg:tt)+) => {
        if !$condition {
            $crate::fail!($($arg)+);
        }
    };
}

/// Ends the test as failed unless two values are equal. The text after them says what
/// they are.
#[macro_export]
macro_rules! check_eq {
    ($got:expr, $want:expr, $($arg:tt)+) => {
        match (&$got, &$want) {
            (got, want) => {
                if *got != *want {
                    $crate::fail!(
                        "{}: got {:?}, want {:?}", format_args!($($arg)+), got, want
                    );
                }
            }
        }
    };
}
