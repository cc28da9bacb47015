//! What would become of a pasted text, before anything is done: each key by its line, length and fingerprint, sorted by
//! whether it is new. The text itself is read here and goes no further.

use super::{KeyInventory, KeysError, Secrets, inventory::checked_label};
use gemini::pasted::{self, KeyForm};
use gemini_balance_actors::{Secret, key_ring::fingerprint};
use serde::Serialize;
use std::collections::HashSet;

/// A text that an operator has pasted.
#[derive(Debug)]
pub(crate) struct Paste {
    /// The text, which may hold secrets in any place.
    pub(crate) text: Secret,
    /// The project that its keys belong to.
    pub(crate) project: Option<String>,
    /// The fingerprints of the keys that are meant; without, all that are new and look as Google's do.
    pub(crate) choose: Option<HashSet<String>>,
}

impl Paste {
    /// Refuses a project that cannot be shown.
    pub(crate) fn new(
        text: Secret,
        project: Option<&str>,
        choose: Option<HashSet<String>>,
    ) -> Result<Self, KeysError> {
        let project = project.map_or(Ok(None), |text| checked_label("project", text))?;
        Ok(Self { text, project, choose })
    }
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Preview {
    /// Keys that are not here yet.
    pub(crate) new: Vec<FoundKey>,
    /// Words that are not here yet and do not look as Google's keys do, so that they need to be chosen.
    pub(crate) unusual: Vec<FoundKey>,
    /// Keys that are here already.
    pub(crate) here: Vec<KnownKey>,
    /// Keys that the text has before.
    pub(crate) repeated: Vec<FoundKey>,
    /// The first of the words that can be no keys.
    pub(crate) others: Vec<OtherWord>,
    /// How many of those there are.
    pub(crate) other_count: usize,
}

/// A key in the text.
#[derive(Debug, Serialize)]
pub(crate) struct FoundKey {
    pub(crate) line: usize,
    pub(crate) length: usize,
    pub(crate) fingerprint: String,
}

/// A key in the text that is here.
#[derive(Debug, Serialize)]
pub(crate) struct KnownKey {
    #[serde(flatten)]
    found: FoundKey,
    id: String,
}

/// Another word of the text.
#[derive(Debug, Serialize)]
pub(crate) struct OtherWord {
    line: usize,
    length: usize,
}

/// The preview, and the secrets of those that are meant.
pub(super) struct ReadPaste {
    pub(super) preview: Preview,
    pub(super) chosen: Secrets,
}

/// Reads a text beside the keys that are here.
pub(super) fn read(paste: &Paste, inventory: &KeyInventory) -> Result<ReadPaste, KeysError> {
    let pasted = pasted::read(paste.text.expose())?;
    let (mut preview, mut chosen) = (Preview::default(), Vec::new());
    for key in &pasted.keys {
        let secret = Secret::new(key.text);
        let found = FoundKey { line: key.line, length: key.text.len(), fingerprint: fingerprint(&secret) };
        if key.is_repeated {
            preview.repeated.push(found);
        } else if let Some(id) = inventory.with_fingerprint(&found.fingerprint) {
            preview.here.push(KnownKey { found, id: id.to_string() });
        } else {
            let is_meant = match &paste.choose {
                Some(chosen) => chosen.contains(&found.fingerprint),
                None => key.form == KeyForm::Usual,
            };
            if is_meant {
                chosen.push(secret);
            }
            match key.form {
                KeyForm::Usual => preview.new.push(found),
                KeyForm::Unusual => preview.unusual.push(found),
            }
        }
    }
    preview.others =
        pasted.others.iter().map(|word| OtherWord { line: word.line, length: word.length }).collect();
    preview.other_count = pasted.other_count;
    Ok(ReadPaste { preview, chosen })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gemini_balance_actors::key_ring::KeyRing;
    use keypool::KeySpec;

    const HERE: &str = "AIzaSyPreviewHere0123456789";
    const NEW: &str = "AIzaSyPreviewNew0123456789";
    const ODD: &str = "odd-preview-key-0123456789";

    fn inventory() -> KeyInventory {
        let ring = KeyRing::new(vec![(KeySpec::new("mine"), Secret::new(HERE))]).unwrap();
        KeyInventory::new(ring, Vec::new())
    }

    #[test]
    fn a_paste_is_sorted_and_told_by_lines_lengths_and_fingerprints_alone() {
        let text = format!("# mine\n{HERE}\n{NEW} {NEW}\n{ODD}\nshort");
        let paste = Paste::new(Secret::new(text.as_str()), Some(" p "), None).unwrap();
        let read = super::read(&paste, &inventory()).unwrap();
        let chosen: Vec<_> = read.chosen.iter().map(Secret::expose).collect();
        assert_eq!((chosen, paste.project.as_deref()), (vec![NEW], Some("p")));
        let told = serde_json::to_value(&read.preview).unwrap();
        let lines = |part: &str| {
            let keys = told[part].as_array().unwrap().iter();
            keys.map(|key| (key["line"].as_u64().unwrap(), key["length"].as_u64().unwrap()))
                .collect::<Vec<_>>()
        };
        let length = |text: &str| text.len() as u64;
        assert_eq!(lines("new"), [(3, length(NEW))]);
        assert_eq!(lines("repeated"), [(3, length(NEW))]);
        assert_eq!(lines("unusual"), [(4, length(ODD))]);
        assert_eq!(lines("here"), [(2, length(HERE))]);
        assert_eq!(lines("others"), [(1, 4), (5, 5)]);
        assert_eq!((&told["here"][0]["id"], &told["other_count"]), (&"mine".into(), &2.into()));
        assert_eq!(told["new"][0]["fingerprint"], fingerprint(&Secret::new(NEW)));
        let printed = format!("{told} {:?} {paste:?}", read.preview);
        for word in ["Preview", "preview-key", "short"] {
            assert!(!printed.replace("Preview {", "").contains(word), "{printed}");
        }
    }

    #[test]
    fn what_is_chosen_by_its_fingerprint_is_meant_and_nothing_else() {
        let text = format!("{HERE} {NEW} {ODD}");
        let choose = |secrets: &[&str]| {
            let choose = secrets.iter().map(|text| fingerprint(&Secret::new(*text))).collect();
            let paste = Paste::new(Secret::new(text.as_str()), None, Some(choose)).unwrap();
            let chosen = super::read(&paste, &inventory()).unwrap().chosen;
            chosen.iter().map(|secret| secret.expose().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(choose(&[ODD]), [ODD]);
        assert_eq!(choose(&[ODD, NEW, HERE]), [NEW, ODD], "what is here is not added");
        assert!(choose(&[]).is_empty());
    }
}
