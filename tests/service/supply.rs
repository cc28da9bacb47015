//! What the program is made of and how it is built: nothing is resolved anew on the way to a release, the release is the one
//! that was measured, and the bill of materials names what is in it and nothing else.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below a folder that are text.
fn files_below(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_left_out = ["target", "node_modules", "corpus", "artifacts", "seeds"]
            .iter()
            .any(|name| path.ends_with(name));
        if path.is_dir() && !is_left_out {
            files_below(&path, into);
        } else if path.is_file() {
            into.push(path);
        }
    }
}

#[test]
fn whoever_calls_cargo_takes_the_locked_versions() {
    // `cargo fuzz` knows no such argument: `fuzz/run` has the lock file looked at before. `cargo mutants` is told in its settings.
    const RESOLVING: [&str; 10] =
        ["bench", "build", "check", "clippy", "deny", "install", "metadata", "run", "test", "tree"];
    let mut files = vec![root().join("README.md"), root().join("README.zh-CN.md")];
    for folder in [".ci", "docker", "docs", "fuzz", "tests"] {
        files_below(&root().join(folder), &mut files);
    }
    let mut calls = 0;
    for file in files.iter().filter(|file| file.extension().is_none_or(|kind| kind != "rs")) {
        let Ok(text) = fs::read_to_string(file) else { continue };
        for line in text.lines() {
            let words: Vec<_> =
                line.split(|sign: char| sign.is_whitespace() || "`\"'(".contains(sign)).collect();
            let mut rest = words.iter().skip_while(|word| !matches!(**word, "cargo" | "cargo-deny")).skip(1);
            let Some(called) = rest.find(|word| !word.is_empty() && !word.starts_with(['+', '-'])) else {
                continue;
            };
            if RESOLVING.contains(called) && !line.contains("--version") {
                calls += 1;
                assert!(line.contains("--locked"), "{}: {line}", file.display());
            }
        }
    }
    assert!(calls > 15, "{calls}");
    assert!(text(".cargo/mutants.toml").contains("additional_cargo_args = [\"--locked\"]"));
    for (manifest, lock) in [("Cargo.toml", "Cargo.lock"), ("fuzz/Cargo.toml", "fuzz/Cargo.lock")] {
        assert!(root().join(manifest).exists() && root().join(lock).exists());
    }
}

#[test]
fn the_release_is_built_as_it_was_measured() {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let expected: toml::Table = r#"
        lto = "fat"
        codegen-units = 1
        panic = "unwind"
        debug = 1
    "#
    .parse()
    .unwrap();
    assert_eq!(manifest["profile"]["release"].as_table(), Some(&expected));
    // Nothing lies above this folder in the image that could say otherwise.
    let dockerfile = text("docker/Dockerfile");
    assert!(!dockerfile.contains("CARGO_PROFILE") && !root().join(".cargo/config.toml").exists());
}

#[test]
fn what_is_built_to_be_shipped_is_built_on_images_by_digest() {
    let pinned: BTreeMap<_, _> = text("docker/pinned.env")
        .lines()
        .filter_map(|line| line.split_once('=').filter(|_| !line.starts_with('#')))
        .map(|(name, image)| (name.to_owned(), image.to_owned()))
        .collect();
    for image in pinned.values() {
        let (_, digest) = image.split_once("@sha256:").unwrap_or_else(|| panic!("{image}"));
        assert!(digest.len() == 64 && digest.bytes().all(|sign| sign.is_ascii_hexdigit()), "{image}");
    }
    let dockerfile = text("docker/Dockerfile");
    let bases: Vec<_> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(bases, ["${RUST_IMAGE} AS build", "scratch"]);
    let default = |file: &str, start: &str| {
        let text = text(file);
        let line = text.lines().find_map(|line| line.split_once(start).map(|(_, rest)| rest.to_owned()));
        line.unwrap_or_else(|| panic!("{start} in {file}")).trim_end_matches('}').to_owned()
    };
    // What is pinned is of the same name as what is taken without it.
    for (file, start, name) in [
        ("docker/Dockerfile", "ARG RUST_IMAGE=", "RUST_IMAGE"),
        ("docker/compose.yaml", "${RUST_IMAGE:-", "RUST_IMAGE"),
        ("docker/compose.cluster.yaml", "${RUST_IMAGE:-", "RUST_IMAGE"),
        ("docker/compose.cluster.yaml", "${REDIS_IMAGE:-", "REDIS_IMAGE"),
    ] {
        let (image, pinned) = (default(file, start), &pinned[name]);
        assert_eq!(image.split(':').next(), pinned.split(':').next(), "{file}");
    }
}

#[test]
fn the_bill_of_materials_names_what_is_in_the_program_and_nothing_else() {
    let output = Command::new(root().join("docker/sbom")).arg("x86_64-unknown-linux-gnu").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bill: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((bill["bomFormat"].as_str(), bill["specVersion"].as_str()), (Some("CycloneDX"), Some("1.5")));
    assert_eq!(bill["metadata"]["component"]["version"], env!("CARGO_PKG_VERSION"));

    let lock: toml::Table = text("Cargo.lock").parse().unwrap();
    let locked: BTreeMap<_, _> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let text = |name: &str| package.get(name).and_then(toml::Value::as_str);
            ((text("name").unwrap(), text("version").unwrap()), text("checksum"))
        })
        .collect();
    let mut names = BTreeSet::new();
    for component in bill["components"].as_array().unwrap() {
        let (name, version) = (component["name"].as_str().unwrap(), component["version"].as_str().unwrap());
        let checksum =
            locked.get(&(name, version)).unwrap_or_else(|| panic!("{name} {version} is not locked"));
        assert_eq!(component["hashes"][0]["content"].as_str(), *checksum, "{name}");
        assert!(component["licenses"][0]["expression"].as_str().is_some_and(|it| !it.is_empty()), "{name}");
        // Our own are nowhere but here.
        assert_eq!(component["purl"].is_string(), checksum.is_some(), "{name}");
        names.insert(name);
    }
    for there in
        ["actix-web", "gemini-balance-actors", "keypool", "libsqlite3-sys", "mimalloc", "ring", "rustls"]
    {
        assert!(names.contains(there), "{there}");
    }
    for of_tests in ["criterion", "foreign-bytes", "libfuzzer-sys", "proptest", "windows-sys"] {
        assert!(!names.contains(of_tests), "{of_tests}");
    }
}
