//! The program that is tested: the one built with the tests, or the one that `GEMINI_BALANCE_BIN` names, as
//! `GEMINI_BALANCE_BIN=target/release/gemini-balance cargo test --test service` does. The second has none of the doors through
//! which tests cause panics, so that what needs them is left out, each by name and aloud.

use crate::binary;
use std::{io::Write, path::PathBuf};

const VARIABLE: &str = "GEMINI_BALANCE_BIN";

/// What cannot be tested without the doors that debug builds alone have.
const NEED_DOORS: [&str; 7] = [
    "counters_only_grow_while_components_die_and_come_back",
    "under_load_a_panicking_key_manager_fails_no_request_and_forgets_no_cooldown",
    "leases_of_a_former_life_are_settled_in_the_next",
    "a_crash_loop_ends_the_process",
    "a_panicking_request_gets_a_500_in_its_dialect_and_takes_nobody_along",
    "without_the_tests_variable_there_is_nothing_to_panic",
    "a_panicking_store_actor_costs_no_request_and_no_record",
];

/// What can be tested of a program without doors only.
const NEED_NO_DOORS: [&str; 3] =
    ["a_release_build_has_no_switch_to_panic_by", "the_program_unwinds", "memory_is_not_shown_to_others"];

/// The program.
pub(crate) fn path() -> PathBuf {
    match std::env::var_os(VARIABLE) {
        // Relative to the folder that the tests are run from, not to the one that a gateway is started in.
        Some(given) => std::fs::canonicalize(&given)
            .unwrap_or_else(|error| panic!("{VARIABLE}={}: {error}", given.display())),
        None => PathBuf::from(env!("CARGO_BIN_EXE_gemini-balance")),
    }
}

/// Whether the program can be made to panic.
pub(crate) fn doors() -> bool {
    std::env::var_os(VARIABLE).is_none() && cfg!(debug_assertions)
}

/// Says so on standard error itself: what a test prints is shown only if it fails.
fn left_out(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {test}: {why}");
}

/// Whether this test, which needs doors, can run.
pub(crate) fn has_doors(test: &str) -> bool {
    assert!(NEED_DOORS.contains(&test), "{test} is not in the list");
    if !doors() {
        left_out(test, "the program has no door to panic through");
    }
    doors()
}

/// Whether this test, which needs a program as it is shipped, can run.
pub(crate) fn has_no_doors(test: &str) -> bool {
    assert!(NEED_NO_DOORS.contains(&test), "{test} is not in the list");
    if doors() {
        left_out(test, "it is about a release build: GEMINI_BALANCE_BIN names one");
    }
    !doors()
}

/// The text of every file of these tests.
fn sources() -> String {
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service"))];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                text.push_str(&std::fs::read_to_string(entry).unwrap());
            }
        }
    }
    text
}

/// The lists above would be worth nothing if a test asked by another's name, or did not ask.
#[test]
fn what_is_left_out_is_what_the_lists_say() {
    let sources = sources();
    for (question, names) in [("has_doors", &NEED_DOORS[..]), ("has_no_doors", &NEED_NO_DOORS[..])] {
        for name in names {
            let (_, test) =
                sources.split_once(&format!("fn {name}() {{")).unwrap_or_else(|| panic!("no test {name}"));
            let asked = format!("if !binary::{question}(\"{name}\")");
            assert!(test.trim_start().starts_with(&asked), "{name} does not ask first");
        }
        assert_eq!(sources.matches(&format!("if !binary::{question}(\"")).count(), names.len());
    }
}

/// The supervisor learns of an actor's death, and the server of a request's, by unwinding.
#[test]
fn the_release_profile_unwinds() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let (_, release) = manifest.split_once("\n[profile.release]\n").unwrap();
    let release = release.split("\n[").next().unwrap();
    assert!(release.lines().any(|line| line.starts_with("panic = \"unwind\"")), "{release}");
    assert!(!manifest.contains("panic = \"abort\""));
}

/// A program that aborts when it panics never raises an exception, and so does not know of the function that does.
#[test]
fn the_program_unwinds() {
    if !binary::has_no_doors("the_program_unwinds") {
        return;
    }
    let program = std::fs::read(path()).unwrap();
    assert!(memchr::memmem::find(&program, b"_Unwind_RaiseException").is_some());
}
