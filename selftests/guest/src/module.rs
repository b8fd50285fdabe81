// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading the module.

use crate::{
    outcome::{Outcome, Stop, While},
    sys::{read_line, wait_for, SOON},
};
use nix::{
    errno::Errno,
    kmod::{delete_module, finit_module, DeleteModuleFlags, ModuleInitFlags},
};
use std::{env, ffi::CString, fs::File, path::Path};

/// Its name.
pub const NAME: &str = "rvdpa_sim";

/// Whether the module is loaded.
pub fn is_loaded() -> bool {
    Path::new("/sys/module").join(NAME).exists()
}

/// Loads the module that `RVDPA_KO` names.
pub fn try_load(parameters: &str) -> Outcome<Result<(), Errno>> {
    let Some(path) = env::var_os("RVDPA_KO") else {
        return Err(Stop::Failed("RVDPA_KO does not name the module".into()));
    };
    let file = File::open(&path).when(path.to_string_lossy())?;
    let parameters = CString::new(parameters).expect("parameters of tests have no NUL");
    Ok(finit_module(&file, &parameters, ModuleInitFlags::empty()))
}

/// Loads the module, which must work.
pub fn load(parameters: &str) -> Outcome {
    try_load(parameters)?.when(format_args!("insmod {NAME} {parameters}"))
}

/// Tries to unload the module, without waiting for its users.
pub fn try_unload() -> Result<(), Errno> {
    delete_module(
        &CString::new(NAME).expect("no NUL"),
        DeleteModuleFlags::O_NONBLOCK,
    )
}

/// How many hold the module.
pub fn users() -> Outcome<i32> {
    let text = read_line(Path::new("/sys/module").join(NAME).join("refcnt"))?;
    text.parse().when(text)
}

/// Unloads the module, when the last device is really gone, which must be soon.
pub fn unload() -> Outcome {
    wait_for("nobody uses the module", SOON, || {
        Ok((users()? == 0).then_some(()))
    })?;
    try_unload().when("rmmod")
}
