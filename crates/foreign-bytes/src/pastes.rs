//! Pasted texts: whatever a person pastes is read without a panic, and what is found in it has the form of a key and stands
//! where it is said to stand.

use crate::SECRET;
use gemini::pasted::read;
use std::collections::HashSet;

/// See the module.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(pasted) = read(&text) else { return };
    let mut seen = HashSet::new();
    for key in &pasted.keys {
        assert!((20..=256).contains(&key.text.len()));
        assert!(key.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)));
        assert_eq!(key.is_repeated, !seen.insert(key.text));
        let line = text.split('\n').nth(key.line - 1).expect("its line");
        assert!(line.contains(key.text));
    }
    assert!(pasted.others.len() <= pasted.other_count);
    // A key on a line of its own is found after anything.
    let with_key = format!("{text}\n{SECRET}");
    if let Ok(pasted) = read(&with_key) {
        assert_eq!(pasted.keys.last().map(|key| key.text), Some(SECRET));
    }
}
