//! Other gateways' documents: whatever a file holds is read without a panic, as whichever gateway's it is taken; what is said of
//! it shows no key; and a key that is put beside it is found.

use crate::SECRET;
use gemini_balance::import::{Document, Import, Vendor, read};

fn told(import: &Import) -> String {
    let places = import.keys.iter().map(|key| format!("{} {:?}", key.place, key.label));
    let settings = import.settings.iter().map(|one| format!("{} {}", one.shown, one.origin));
    let notes = import.left.iter().chain(&import.warnings).cloned();
    places.chain(settings).chain(notes).collect::<Vec<_>>().join("\n")
}

/// See the module.
pub fn run(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else { return };
    let name = [".env", "config.yaml", "keys-a-all.txt", "dump.sql"][usize::from(kind % 4)];
    let vendor =
        [None, Some(Vendor::Snailyp), Some(Vendor::GptLoad), Some(Vendor::LiteLlm), Some(Vendor::Keys)]
            [usize::from(kind / 4 % 5)];
    let nothing = |_: &str| None;
    for bytes in [input.to_vec(), [input, b"\n", SECRET.as_bytes()].concat()] {
        let Ok(document) = Document::of_bytes(name.to_owned(), bytes) else { continue };
        match read(&[document], vendor, &nothing) {
            Ok(import) => assert!(!told(&import).contains(SECRET), "{}", told(&import)),
            Err(error) => assert!(!error.to_string().contains(SECRET), "{error}"),
        }
    }
    // Beside it, another document is read as ever.
    let documents = [(name, input), ("keys.txt", SECRET.as_bytes())]
        .map(|(name, bytes)| Document::of_bytes(name.to_owned(), bytes.to_vec()));
    if let [Ok(one), Ok(other)] = documents
        && let Ok(import) = read(&[one, other], None, &nothing)
    {
        assert!(import.keys.iter().any(|key| key.secret.expose() == SECRET));
    }
}
