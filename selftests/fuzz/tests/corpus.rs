// SPDX-License-Identifier: GPL-2.0

//! What fuzzers have found worth while, tried again; and inputs of random bytes, for what
//! a corpus says nothing about.

use rvdpa_fuzz::{
    pack::{
        pack,
        unpack, //
    },
    TARGETS,
};
use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf, //
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The next number of SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[test]
fn every_corpus_is_that_of_a_target() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    let there: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(known, there);
}

#[test]
fn the_corpora_are_small() {
    let files = fs::read_dir(folder()).unwrap();
    let all: u64 = files
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(all <= 200 << 10, "{all} bytes: see make fuzz-keep");
}

#[test]
fn every_corpus_is_passed() {
    for (name, run) in TARGETS {
        let file = fs::read(folder().join(name)).unwrap();
        let inputs = unpack(&file).unwrap_or_else(|| panic!("the corpus of {name} is damaged"));
        assert!(!inputs.is_empty(), "the corpus of {name} is empty");
        for input in inputs {
            println!("{name}: {input:02x?}");
            run(input);
        }
    }
}

#[test]
fn random_inputs_are_passed() {
    for (name, run) in TARGETS {
        let mut state = 1;
        for _ in 0..300 {
            let len = next(&mut state) % 400;
            let input: Vec<u8> = (0..len).map(|_| next(&mut state) as u8).collect();
            println!("{name}: {input:02x?}");
            run(&input);
        }
    }
}

#[test]
fn a_packed_corpus_is_unpacked() {
    let inputs = vec![vec![3, 4], vec![], vec![1], vec![1]];
    let file = pack(inputs);
    assert_eq!(unpack(&file).unwrap(), [&[][..], &[1], &[3, 4]]);
    assert_eq!(unpack(&file[..file.len() - 1]), None);
}
