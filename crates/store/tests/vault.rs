//! The vault: what every kind of it promises, what its file is for others, and what becomes of it under a wrong master key,
//! a foreign hand, and damage.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::DateTime;
use gemini_balance_store::{
    PrivateFileError,
    conformance::{self, VaultPlace},
    vault::{KeptKey, MasterKey, Vault, VaultError, VaultFile, VaultMemory},
};
use proptest::{collection::vec, option, prelude::*};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

fn master(byte: u8) -> MasterKey {
    MasterKey::parse(&STANDARD.encode([byte; 32])).unwrap()
}

struct File(TempDir, Option<u8>);

impl VaultPlace for File {
    type Vault = VaultFile;

    fn open(&self) -> VaultFile {
        VaultFile::new(&self.0.path().join("data/keys.json"), self.1.map(master))
    }
}

struct SharedVault(VaultMemory);

impl VaultPlace for SharedVault {
    type Vault = VaultMemory;

    fn open(&self) -> VaultMemory {
        self.0.clone()
    }
}

#[test]
fn every_kind_keeps_the_rules() {
    conformance::vault(|| File(folder(), None));
    conformance::vault(|| File(folder(), Some(7)));
    conformance::vault(|| SharedVault(VaultMemory::default()));
}

const SECRETS: [&str; 2] = ["AIzaSyVaultCanary0123456789-abcdefghijk", "AQ.Ab8RVaultCanary9876543210"];

fn two() -> Vec<KeptKey> {
    SECRETS
        .map(|secret| KeptKey {
            secret: secret.to_owned().into(),
            label: Some(format!("label {}", secret.len())),
            project: None,
            weight: 1,
            added: DateTime::from_timestamp(1_767_225_600, 0).unwrap(),
        })
        .to_vec()
}

/// In memory where there is such a place: what a disk keeps is not the question here, and waiting for it takes long.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A file with two keys in it.
fn made(master: Option<MasterKey>) -> (TempDir, PathBuf) {
    let folder = self::folder();
    let path = folder.path().join("data/keys.json");
    VaultFile::new(&path, master).replace(&two()).unwrap();
    (folder, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn files(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Whether a piece of a secret is in there, as it is or in base64.
fn tells(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let in_base64 = |piece: &str| {
        // Whichever byte of three it begins at.
        (0..3).any(|skipped| {
            let coded = STANDARD.encode(&piece.as_bytes()[skipped..]);
            text.contains(&coded[..8])
        })
    };
    SECRETS.iter().any(|secret| {
        let pieces = secret.as_bytes().windows(8).map(|piece| std::str::from_utf8(piece).unwrap());
        pieces.clone().any(|piece| text.contains(piece)) || in_base64(secret)
    })
}

#[test]
fn the_file_belongs_to_its_owner_and_nothing_is_left_beside_it() {
    let (_folder, path) = made(None);
    let data = path.parent().unwrap();
    assert_eq!((mode(&path), mode(data)), (0o600, 0o700));
    // What a process that was killed has left is in nobody's way.
    fs::write(data.join("keys.json.new"), "half").unwrap();
    let mut vault = VaultFile::new(&path, None);
    assert_eq!(vault.load().unwrap(), two());
    vault.replace(&two()[..1]).unwrap();
    assert_eq!(files(data), ["keys.json"]);
    for exposed in [0o640, 0o604, 0o644, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(exposed)).unwrap();
        let error = VaultFile::new(&path, None).load().unwrap_err();
        let found = matches!(error, VaultError::File(PrivateFileError::Exposed(_, mode)) if mode == exposed);
        assert!(found && error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn what_cannot_be_written_leaves_what_was_there() {
    let (_folder, path) = made(None);
    let data = path.parent().unwrap();
    let mut vault = VaultFile::new(&path, None);
    vault.load().unwrap();
    // A folder in the way of the new file: root is stopped by it as well.
    fs::create_dir_all(data.join("keys.json.new/x")).unwrap();
    let error = vault.replace(&[]).unwrap_err();
    assert!(matches!(error, VaultError::File(PrivateFileError::Io(..))), "{error}");
    assert_eq!(vault.load().unwrap(), two());
    fs::remove_dir_all(data.join("keys.json.new")).unwrap();
    vault.replace(&two()[1..]).unwrap();
    assert_eq!(VaultFile::new(&path, None).load().unwrap(), two()[1..]);
}

#[test]
fn a_link_stays_a_link_to_where_the_keys_are() {
    let (folder, path) = made(None);
    let link = folder.path().join("linked.json");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    VaultFile::new(&link, None).replace(&two()[..1]).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(VaultFile::new(&path, None).load().unwrap(), two()[..1]);
}

#[test]
fn a_sealed_file_tells_nothing_and_each_write_has_a_salt_of_its_own() {
    let (_folder, path) = made(Some(master(1)));
    let first = fs::read(&path).unwrap();
    assert!(!tells(&first));
    let (_plain_folder, plain) = made(None);
    assert!(tells(&fs::read(plain).unwrap()));
    let mut vault = VaultFile::new(&path, Some(master(1)));
    vault.replace(&two()).unwrap();
    let second = fs::read(&path).unwrap();
    let field = |bytes: &[u8], name: &str| {
        serde_json::from_slice::<serde_json::Value>(bytes).unwrap()[name].as_str().unwrap().to_owned()
    };
    for name in ["salt", "check", "sealed"] {
        assert_ne!(field(&first, name), field(&second, name), "{name}");
    }
    assert_eq!(vault.load().unwrap(), two());
    assert!(!format!("{vault:?} {:?}", two()).contains("Canary"));
}

#[test]
fn a_wrong_master_key_or_none_is_one_line_and_leaves_the_file_as_it_is() {
    let (_folder, path) = made(Some(master(1)));
    let before = fs::read(&path).unwrap();
    for (given, word) in [(Some(master(2)), "another master key"), (None, "sealed")] {
        let mut vault = VaultFile::new(&path, given);
        for error in
            [vault.load().unwrap_err(), vault.replace(&[]).unwrap_err(), vault.rekey(None).unwrap_err()]
        {
            let line = error.to_string();
            assert!(
                line.contains(word) && line.contains("MASTER_KEY") && line.lines().count() == 1,
                "{line}"
            );
            assert!(line.contains("keys.json"), "{line}");
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    assert_eq!(VaultFile::new(&path, Some(master(1))).load().unwrap(), two());
}

#[test]
fn a_plain_file_is_sealed_by_the_next_write_and_a_rekey_goes_both_ways() {
    let (_folder, path) = made(None);
    let mut vault = VaultFile::new(&path, Some(master(1)));
    assert_eq!(vault.load().unwrap(), two());
    assert!(tells(&fs::read(&path).unwrap()), "reading changes nothing");
    vault.replace(&two()).unwrap();
    assert!(!tells(&fs::read(&path).unwrap()));
    let mut vault = VaultFile::new(&path, Some(master(1)));
    assert_eq!(vault.rekey(Some(master(2))).unwrap(), 2);
    assert!(VaultFile::new(&path, Some(master(1))).load().is_err());
    assert_eq!(VaultFile::new(&path, Some(master(2))).load().unwrap(), two());
    assert_eq!(vault.load().unwrap(), two());
    assert_eq!(vault.rekey(None).unwrap(), 2);
    assert!(tells(&fs::read(&path).unwrap()));
    assert_eq!(VaultFile::new(&path, None).load().unwrap(), two());
}

#[test]
fn what_somebody_else_has_written_meanwhile_is_not_written_over() {
    let (_folder, path) = made(None);
    let mut vault = VaultFile::new(&path, None);
    vault.load().unwrap();
    VaultFile::new(&path, None).rekey(Some(master(1))).unwrap();
    let line = vault.replace(&[]).unwrap_err().to_string();
    assert!(line.contains("another program") && line.contains("restart"), "{line}");
    assert_eq!(VaultFile::new(&path, Some(master(1))).load().unwrap(), two());
    // Nor what somebody has put where nothing was.
    fs::remove_file(&path).unwrap();
    let mut vault = VaultFile::new(&path, None);
    assert_eq!(vault.load().unwrap(), []);
    VaultFile::new(&path, None).replace(&two()).unwrap();
    assert!(matches!(vault.replace(&[]), Err(VaultError::Changed(_))));
}

#[test]
fn a_file_may_be_written_by_hand() {
    let (_folder, path) = made(None);
    let text = r#"{ "gemini-balance": "keys", "version": 1, "keys": [{ "secret": "AIza-by-hand" }] }"#;
    fs::write(&path, text).unwrap();
    let keys = VaultFile::new(&path, None).load().unwrap();
    assert_eq!((keys.len(), keys[0].secret.as_str(), keys[0].weight), (1, "AIza-by-hand", 1));
}

#[test]
fn a_foreign_file_and_one_of_a_newer_version_are_refused_without_being_repeated() {
    let (_folder, path) = made(None);
    let newer = r#"{"gemini-balance":"keys","version":2,"keys":[],"more":"canary"}"#;
    for (text, word) in [
        ("", "does not hold keys"),
        ("canary", "does not hold keys"),
        ("{}", "does not hold keys"),
        (r#"{"keys":["canary"]}"#, "does not hold keys"),
        (r#"["canary"]"#, "does not hold keys"),
        (r#"{"gemini-balance":"canary","version":1}"#, "does not hold keys"),
        (newer, "newer program"),
        (r#"{"gemini-balance":"keys","version":1,"keys":["canary"]}"#, "damaged"),
        (r#"{"gemini-balance":"keys","version":1,"keys":[],"canary":1}"#, "damaged"),
        (r#"{"gemini-balance":"keys","version":1}"#, "a part is missing"),
        (r#"{"gemini-balance":"sealed keys","version":1,"salt":"","check":""}"#, "a part is missing"),
    ] {
        fs::write(&path, text).unwrap();
        let mut vault = VaultFile::new(&path, Some(master(1)));
        for error in [vault.load().unwrap_err(), vault.replace(&[]).unwrap_err()] {
            let line = error.to_string();
            assert!(
                line.contains(word) && line.contains("keys.json") && line.lines().count() == 1,
                "{text}: {line}"
            );
            assert!(!line.contains("canary"), "{line}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

/// Reads a damaged file: an error, or the keys as they were.
fn survives(path: &Path, master_key: Option<MasterKey>, bytes: &[u8], how: &str) {
    fs::write(path, bytes).unwrap();
    match VaultFile::new(path, master_key).load() {
        Ok(keys) => assert!(keys == two(), "{how}: other keys"),
        Err(error) => {
            let line = error.to_string();
            assert!(line.lines().count() == 1 && !tells(line.as_bytes()), "{how}: {line}");
        }
    }
    assert_eq!(fs::read(path).unwrap(), bytes, "{how}: the file was touched");
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed_or_harmless() {
    for given in [None, Some(master(9))] {
        let (_folder, path) = made(given.clone());
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            survives(&path, given.clone(), &whole[..at], &format!("cut at {at}"));
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                survives(&path, given.clone(), &bytes, &format!("bit {bit} of byte {at}"));
            }
        }
        for end in ["x", "\0\0\0\0", "{}"] {
            survives(&path, given.clone(), &[&whole, end.as_bytes()].concat(), "longer");
        }
    }
}

fn any_key() -> impl Strategy<Value = KeptKey> {
    let text = || "\\PC{0,40}";
    ("[ -~]{1,256}", option::of(text()), option::of(text()), any::<u32>(), 0_i64..4_000_000_000).prop_map(
        |(secret, label, project, weight, added)| KeptKey {
            secret: secret.into(),
            label,
            project,
            weight,
            added: DateTime::from_timestamp(added, 0).unwrap(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_put_comes_back(keys in vec(any_key(), 0..20), seal in option::of(any::<u8>()), next in option::of(any::<u8>())) {
        let folder = self::folder();
        let path = folder.path().join("keys.json");
        let mut vault = VaultFile::new(&path, seal.map(master));
        vault.replace(&keys).unwrap();
        prop_assert_eq!(&VaultFile::new(&path, seal.map(master)).load().unwrap(), &keys);
        vault.rekey(next.map(master)).unwrap();
        prop_assert_eq!(&VaultFile::new(&path, next.map(master)).load().unwrap(), &keys);
        if next.is_some() {
            let other = next.map(|byte| master(byte.wrapping_add(1)));
            prop_assert!(VaultFile::new(&path, other).load().is_err());
        }
    }
}
