// SPDX-License-Identifier: GPL-2.0

//! What the modelled files use of `rust/vdpa`.

use crate::prelude::Result;
use loom::sync::{
    Arc,
    Mutex, //
};

/// What a bus driver registers: a function that uses memory of the driver's.
pub(crate) type Function = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    registered: Option<Function>,
    masked: bool,
}

/// `rust/vdpa/callback.rs`.
#[derive(Default)]
pub(crate) struct Callback {
    state: Mutex<State>,
}

impl Callback {
    pub(crate) fn raise(&self) -> bool {
        let state = self.state.lock().unwrap();
        if state.masked {
            return false;
        }
        let Some(registered) = &state.registered else {
            return false;
        };
        registered();
        true
    }

    pub(crate) fn mask(&self) {
        self.state.lock().unwrap().masked = true;
    }

    pub(crate) fn unmask(&self) {
        self.state.lock().unwrap().masked = false;
    }

    pub(crate) fn register(&self, function: Function) {
        self.state.lock().unwrap().registered = Some(function);
    }

    pub(crate) fn clear(&self) {
        self.state.lock().unwrap().registered = None;
    }
}

/// Parameters that are zero.
#[derive(Clone, Copy)]
pub(crate) struct CoalescingParameters;

/// `rust/vdpa/coalescing.rs`, of parameters that are zero: each interrupt is raised at once.
pub(crate) struct Coalescer(Arc<Callback>);

impl Coalescer {
    pub(crate) fn new(callback: Arc<Callback>) -> Result<Self> {
        Ok(Self(callback))
    }

    pub(crate) fn callback(&self) -> &Arc<Callback> {
        &self.0
    }

    pub(crate) fn raise(&self, _packets: u32) -> bool {
        self.0.raise()
    }

    pub(crate) fn add(&self, _packets: u32) -> bool {
        false
    }

    pub(crate) fn set_parameters(&self, _parameters: CoalescingParameters) {}

    pub(crate) fn parameters(&self) -> CoalescingParameters {
        CoalescingParameters
    }

    pub(crate) fn reset(&self) {}
}

/// No model asks for processors.
pub(crate) struct Affinity;

impl Affinity {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self)
    }
}
