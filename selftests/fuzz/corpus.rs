// SPDX-License-Identifier: GPL-2.0

//! The corpora: what the scripts do with them.
//!
//! ```text
//! corpus list                    the names of the targets
//! corpus unpack FILE FOLDER      a file for each input
//! corpus pack FOLDER FILE        and back
//! corpus run TARGET FILE...      gives inputs to a target
//! ```

use rvdpa_fuzz::{
    pack::{
        pack,
        unpack, //
    },
    target,
    TARGETS, //
};
use std::{
    env,
    fs,
    io,
    process::ExitCode, //
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["list"] => {
            for (name, _) in TARGETS {
                println!("{name}");
            }
            Ok(())
        }
        ["unpack", file, folder] => unpack_to(file, folder),
        ["pack", folder, file] => pack_from(folder, file),
        ["run", name, ref files @ ..] => run(name, files),
        _ => {
            eprintln!(
                "usage: corpus list | unpack FILE FOLDER | pack FOLDER FILE | run TARGET FILE..."
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("corpus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn unpack_to(file: &str, folder: &str) -> io::Result<()> {
    let bytes = fs::read(file)?;
    let inputs = unpack(&bytes).ok_or_else(|| io::Error::other(format!("{file} is damaged")))?;
    fs::create_dir_all(folder)?;
    for (at, input) in inputs.into_iter().enumerate() {
        fs::write(format!("{folder}/{at:04}"), input)?;
    }
    Ok(())
}

fn pack_from(folder: &str, file: &str) -> io::Result<()> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?);
    }
    fs::write(file, pack(inputs))
}

fn run(name: &str, files: &[&str]) -> io::Result<()> {
    let target = target(name).ok_or_else(|| io::Error::other(format!("no target {name}")))?;
    for file in files {
        target(&fs::read(file)?);
        println!("{file}: nothing found");
    }
    Ok(())
}
