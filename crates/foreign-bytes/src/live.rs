//! Live sessions: what a client's first message names is what a whole parse finds, no message of the upstream's passes the key
//! on, one without it passes as it is, and the reason of a close fits one.

use crate::{SECRET, reference::Tree};
use gemini::live::{MAX_REASON_BYTES, Setup, close_fault, fitting_reason, new_handle};
use gemini_balance_actors::{
    Secret,
    key_ring::{Key, KeyRing},
    live::MessageScanner,
};
use keypool::KeySpec;
use std::sync::{Arc, LazyLock};
use tokio_tungstenite::tungstenite::Message;

static KEY: LazyLock<Arc<Key>> = LazyLock::new(|| {
    let ring = KeyRing::new(vec![(KeySpec::new("k"), Secret::new(SECRET.to_owned()))]).unwrap();
    ring.find(&"k".into()).unwrap().clone()
});

/// The values of these members of an object, in order.
fn of<'t>(tree: &'t Tree, names: &'static [&'static str]) -> impl Iterator<Item = &'t Tree> {
    let members = if let Tree::Object(members) = tree { members.as_slice() } else { &[] };
    members.iter().filter(move |(name, _)| names.contains(&name.as_str())).map(|(_, value)| value)
}

fn setup(message: &[u8]) {
    // Deeper than a tree can be read, what does not matter is passed over.
    let Ok(tree) = serde_json::from_slice::<Tree>(message) else { return };
    let setups: Vec<_> = of(&tree, &["setup"]).filter(|setup| matches!(setup, Tree::Object(_))).collect();
    let handles: Vec<_> = setups
        .iter()
        .flat_map(|setup| of(setup, &["sessionResumption", "session_resumption"]))
        .flat_map(|resumption| of(resumption, &["handle"]))
        .filter_map(|handle| if let Tree::Text(text) = handle { Some(text.clone()) } else { None })
        .filter(|handle| !handle.is_empty())
        .collect();
    match Setup::read(message) {
        Ok(read) => {
            assert_eq!(read.handles, handles);
            if let Some(model) = read.model {
                let is_named = setups
                    .iter()
                    .flat_map(|setup| of(setup, &["model"]))
                    .any(|it| matches!(it, Tree::Text(text) if text.strip_prefix("models/").unwrap_or(text) == model));
                assert!(is_named, "{model}");
                assert!(!model.chars().any(char::is_control), "{model:?}");
            }
        }
        Err(_) => assert!(setups.is_empty(), "a setup was not read"),
    }
}

fn bytes(message: &Message) -> &[u8] {
    match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => &[],
    }
}

/// See the module.
pub fn run(input: &[u8]) {
    let [at, message @ ..] = input else { return };
    setup(message);
    let at = usize::from(*at).min(message.len());
    let with_key = [&message[..at], SECRET.as_bytes(), &message[at..]].concat();
    let mut scanner = MessageScanner::new(&KEY);
    for bytes_in in [message, &with_key] {
        let holds = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        let text = std::str::from_utf8(bytes_in).ok().map(Message::text);
        for message in text.into_iter().chain([Message::binary(bytes_in.to_vec())]) {
            assert_eq!(scanner.handle(&message), new_handle(bytes_in));
            let is_text = message.is_text();
            let passed = scanner.pass(message);
            assert_eq!(passed.is_text(), is_text);
            assert!(!holds(bytes(&passed)), "the key passed");
            assert!(holds(bytes_in) || bytes(&passed) == bytes_in, "changed for nothing");
        }
    }
    let reason = String::from_utf8_lossy(message);
    let fitting = fitting_reason(&reason);
    assert!(fitting.len() <= MAX_REASON_BYTES && reason.starts_with(fitting));
    assert!(fitting.len() + 4 > MAX_REASON_BYTES || fitting == reason, "more would fit");
    let _ = close_fault(&reason);
}
