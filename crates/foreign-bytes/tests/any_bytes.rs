//! Every reader, fed with its seeds and with variations of them. The same in each run: what is found here is found again.
//! `fuzz/run` looks for more; where there is no nightly compiler, so does `FOREIGN_BYTES_ROUNDS=100`, which feeds so many times as much.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use foreign_bytes::{READERS, Reader};
use std::{
    collections::BTreeSet,
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

/// How many variations of its seeds each reader is fed with.
const VARIATIONS: usize = 3_000;
/// As much, of readers that take their time.
const OF_SLOW_ONES: &[(&str, usize)] = &[("chunks", 1_500), ("settings", 75)];
/// No input is longer.
const MOST_BYTES: usize = 4_096;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The seeds of a reader, in the order of their names.
fn seeds(reader: &Reader) -> Vec<Vec<u8>> {
    let folder = fuzz().join("seeds").join(reader.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths: BTreeSet<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!paths.is_empty(), "{} has no seeds", reader.name);
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn feed(reader: &Reader, input: &[u8]) {
    let run = reader.run;
    let fed = catch_unwind(|| run(input));
    assert!(fed.is_ok(), "{} broke its promise of {:?}", reader.name, String::from_utf8_lossy(input));
}

/// Changes an input in a few places: bits, bytes, pieces cut out, doubled, moved or taken from another.
fn vary(random: &mut fastrand::Rng, input: &mut Vec<u8>, other: &[u8]) {
    const ODD: [&[u8]; 14] = [
        b"\0",
        b"\xff",
        b"\xe2\x80\xa8",
        b"\r\n",
        b"\n\n",
        b"\\u0000",
        b"\\",
        b"\"",
        b"%2f",
        b"%00",
        b"-1",
        b"18446744073709551616",
        b"1e999",
        b"{\"a\":[",
    ];
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(0..=input.len());
        let end = (at + random.usize(0..16)).min(input.len());
        match random.u8(0..8) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(0..8),
            1 if at < input.len() => input[at] = random.u8(..),
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].to_vec();
                let place = random.usize(0..=input.len());
                input.splice(place..place, piece);
            }
            4 if !other.is_empty() => {
                let from = random.usize(0..other.len());
                let to = (from + random.usize(1..64)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            5 => input.truncate(at),
            6 => drop(input.splice(at..at, random.choice(ODD).unwrap().iter().copied())),
            _ => input.insert(at, random.u8(b' '..=b'~')),
        }
    }
    input.truncate(MOST_BYTES);
}

fn every_seed_and_its_variations(name: &str) {
    let reader = READERS.iter().find(|reader| reader.name == name).unwrap();
    let seeds = seeds(reader);
    for seed in &seeds {
        feed(reader, seed);
    }
    let mut random = fastrand::Rng::with_seed(name.bytes().map(u64::from).sum());
    let mut before = seeds[0].clone();
    let slow = OF_SLOW_ONES.iter().find(|(slow, _)| *slow == name);
    let rounds = std::env::var("FOREIGN_BYTES_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    for _ in 0..rounds * slow.map_or(VARIATIONS, |(_, variations)| *variations) {
        // Now and then a variation of a variation.
        let mut input = if random.u8(0..4) == 0 { before } else { random.choice(&seeds).unwrap().clone() };
        let other = random.usize(0..seeds.len());
        vary(&mut random, &mut input, &seeds[other]);
        feed(reader, &input);
        before = input;
    }
}

macro_rules! readers {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            every_seed_and_its_variations(stringify!($name));
        })*

        #[test]
        fn every_reader_is_fed_here_and_by_the_fuzzer() {
            let fed: BTreeSet<_> = [$(stringify!($name)),*].into();
            let all: BTreeSet<_> = READERS.iter().map(|reader| reader.name).collect();
            assert_eq!(fed, all);
            let targets: BTreeSet<_> = fs::read_dir(fuzz().join("fuzz_targets"))
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
                .collect();
            assert_eq!(targets, all.iter().map(|name| (*name).to_owned()).collect());
            let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
            for name in all {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no target of fuzz/Cargo.toml");
            }
        }
    };
}

readers! { chunks dotenv errors events facts framing headers imports listings live messages names pastes paths queries responses settings usages }
