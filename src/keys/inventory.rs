//! Which keys there are: those of the configuration, which goes first, and those that were added. A value; each change makes
//! another. What is written down of it, and what the pool makes of it, is not known here.

use super::{KeysError, Secrets};
use crate::{import::ImportedKey, printable::acts_on_a_terminal};
use chrono::{DateTime, SubsecRound as _, Utc};
use gemini::pasted::{self, KeyForm};
use gemini_balance_actors::{
    Secret,
    key_ring::{Key, KeyRing, UnusableKey, fingerprint},
};
use gemini_balance_store::vault::KeptKey;
use keypool::{KeyId, KeySpec, Project};
use std::{collections::HashSet, sync::Arc};

/// The longest label of a key or a project, in characters.
const LONGEST_LABEL: usize = 100;

/// The keys. See the module.
#[derive(Clone)]
pub(crate) struct KeyInventory {
    configured: KeyRing,
    added: Vec<AddedKey>,
}

/// A key that was added while the service ran.
#[derive(Clone)]
pub(crate) struct AddedKey {
    kept: KeptKey,
    id: KeyId,
    fingerprint: String,
    /// Whether another key that goes first has its secret or its id: then it is not used.
    is_shadowed: bool,
}

/// Where a key is named.
#[derive(Clone, Copy)]
pub(crate) enum KeySource<'a> {
    /// In the configuration.
    Configuration,
    /// It was added.
    Runtime(&'a AddedKey),
}

/// What can be said anew of a key that was added.
#[derive(Clone, Debug)]
pub(crate) enum KeyChange {
    Label(Option<String>),
    Project(Option<String>),
    Weight(u32),
}

impl AddedKey {
    pub(crate) fn id(&self) -> &KeyId {
        &self.id
    }

    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn project(&self) -> Option<&str> {
        self.kept.project.as_deref()
    }

    pub(crate) fn weight(&self) -> u32 {
        self.kept.weight
    }

    pub(crate) fn added(&self) -> DateTime<Utc> {
        self.kept.added
    }

    fn spec(&self) -> (KeySpec, Secret) {
        let project = self.kept.project.as_deref().map(Project::from);
        let spec = KeySpec { id: self.id.clone(), project, weight: self.kept.weight };
        (spec, Secret::new(self.kept.secret.as_str()))
    }
}

impl KeyInventory {
    /// Puts those that are kept beside those of the configuration.
    pub(crate) fn new(configured: KeyRing, kept: Vec<KeptKey>) -> Self {
        let mut ids: HashSet<KeyId> = configured.keys().iter().map(|key| key.id().clone()).collect();
        let added = kept.into_iter().map(|kept| {
            let fingerprint = fingerprint(&Secret::new(kept.secret.as_str()));
            let id = KeyId::from(kept.label.as_deref().unwrap_or(&fingerprint));
            AddedKey { kept, id, fingerprint, is_shadowed: false }
        });
        let mut added: Vec<_> = added.collect();
        let mut fingerprints = HashSet::new();
        for key in &mut added {
            let is_here = configured.with_fingerprint(&key.fingerprint).is_some();
            key.is_shadowed = is_here || ids.contains(&key.id) || fingerprints.contains(&key.fingerprint);
            if !key.is_shadowed {
                ids.insert(key.id.clone());
                fingerprints.insert(key.fingerprint.clone());
            }
        }
        Self { configured, added }
    }

    /// Puts those that were added beside another configuration's.
    pub(crate) fn beside(&self, configured: KeyRing) -> Self {
        Self::new(configured, self.kept())
    }

    /// Whether the pool would have no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.configured.keys().is_empty() && self.added.iter().all(|key| key.is_shadowed)
    }

    /// Returns the pool's keys: the configuration's, and after them those that were added.
    pub(crate) fn ring(&self) -> Result<KeyRing, UnusableKey> {
        let configured =
            self.configured.keys().iter().map(|key| (key.spec().clone(), Secret::clone(key.secret())));
        let added = self.added.iter().filter(|key| !key.is_shadowed).map(AddedKey::spec);
        KeyRing::new(configured.chain(added).collect())
    }

    /// Returns what is to be written down.
    pub(crate) fn kept(&self) -> Vec<KeptKey> {
        self.added.iter().map(|key| key.kept.clone()).collect()
    }

    /// Returns where the pool's key of this name is named.
    pub(crate) fn source(&self, id: &KeyId) -> Option<KeySource<'_>> {
        if self.configured.find(id).is_some() {
            return Some(KeySource::Configuration);
        }
        self.added.iter().find(|key| key.id == *id && !key.is_shadowed).map(KeySource::Runtime)
    }

    /// Returns the keys that were added and are not used, since the configuration has their secret or their id.
    pub(crate) fn shadowed(&self) -> impl Iterator<Item = &AddedKey> {
        self.added.iter().filter(|key| key.is_shadowed)
    }

    /// Returns the id of the key with this fingerprint.
    pub(crate) fn with_fingerprint(&self, fingerprint: &str) -> Option<&KeyId> {
        let configured = self.configured.with_fingerprint(fingerprint).map(|key: &Arc<Key>| key.id());
        configured.or_else(|| Some(&self.added.iter().find(|key| key.fingerprint == fingerprint)?.id))
    }

    /// Adds keys that are not here yet; returns their ids too.
    pub(crate) fn adding(
        &self,
        secrets: Secrets,
        project: Option<&str>,
        now: DateTime<Utc>,
    ) -> (Self, Vec<KeyId>) {
        let mut kept = self.kept();
        kept.extend(secrets.into_iter().map(|secret| KeptKey {
            secret: secret.expose().to_owned().into(),
            label: None,
            project: project.map(str::to_owned),
            weight: 1,
            added: now.trunc_subsecs(0),
        }));
        let inventory = Self::new(self.configured.clone(), kept);
        let added = inventory.added[self.added.len()..].iter().map(|key| key.id.clone()).collect();
        (inventory, added)
    }

    /// Adds keys with what was said of them elsewhere, but for those that are here already; returns their ids too. A label
    /// that another key has, or that cannot be shown, is left out.
    pub(crate) fn importing(&self, keys: &[ImportedKey], now: DateTime<Utc>) -> (Self, Vec<KeyId>) {
        let mut kept = self.kept();
        let mut fingerprints = HashSet::new();
        let mut labels = HashSet::new();
        for key in keys {
            let fingerprint = fingerprint(&key.secret);
            if self.with_fingerprint(&fingerprint).is_some() || !fingerprints.insert(fingerprint) {
                continue;
            }
            let label = key.label.as_deref().and_then(|text| checked_label("label", text).ok().flatten());
            let label = label.filter(|label| !self.is_taken(label) && labels.insert(label.clone()));
            kept.push(KeptKey {
                secret: key.secret.expose().to_owned().into(),
                label,
                project: None,
                weight: key.weight,
                added: now.trunc_subsecs(0),
            });
        }
        let inventory = Self::new(self.configured.clone(), kept);
        let added = inventory.added[self.added.len()..].iter().map(|key| key.id.clone()).collect();
        (inventory, added)
    }

    /// Removes a key. Where the configuration has another one of this id, the one that it shadows is meant.
    pub(crate) fn removing(&self, id: &KeyId) -> Result<Self, KeysError> {
        let used = self.added.iter().position(|key| key.id == *id && !key.is_shadowed);
        let position = used.or_else(|| self.added.iter().position(|key| key.id == *id));
        let mut kept = self.kept();
        kept.remove(position.ok_or_else(|| self.not_added(id))?);
        Ok(Self::new(self.configured.clone(), kept))
    }

    /// Says something anew of a key; returns its id too.
    pub(crate) fn changing(&self, id: &KeyId, change: KeyChange) -> Result<(Self, KeyId), KeysError> {
        let position = self.added.iter().position(|key| key.id == *id && !key.is_shadowed);
        let position = position.ok_or_else(|| self.not_added(id))?;
        let mut kept = self.kept();
        match change {
            KeyChange::Label(label) => {
                let label = label.map_or(Ok(None), |text| checked_label("label", &text))?;
                let own = &self.added[position];
                if let Some(label) = &label
                    && *label != own.fingerprint
                    && *label != *own.id.as_str()
                    && self.is_taken(label)
                {
                    return Err(KeysError::LabelTaken);
                }
                kept[position].label = label;
            }
            KeyChange::Project(project) => {
                kept[position].project = project.map_or(Ok(None), |text| checked_label("project", &text))?;
            }
            KeyChange::Weight(weight) => {
                kept[position].weight =
                    Some(weight).filter(|weight| *weight > 0).ok_or(KeysError::BadWeight)?;
            }
        }
        let inventory = Self::new(self.configured.clone(), kept);
        let id = inventory.added[position].id.clone();
        Ok((inventory, id))
    }

    /// Whether a key has this label, or a fingerprint that reads the same.
    fn is_taken(&self, label: &str) -> bool {
        let id = KeyId::from(label);
        self.configured.find(&id).is_some()
            || self.configured.with_fingerprint(label).is_some()
            || self.added.iter().any(|key| key.id == id || key.fingerprint == label)
    }

    fn not_added(&self, id: &KeyId) -> KeysError {
        if self.configured.find(id).is_some() { KeysError::Configured } else { KeysError::Unknown }
    }
}

/// Makes a ring of secrets alone, which are called by their fingerprints.
pub(super) fn bare_ring(secrets: Secrets) -> Result<KeyRing, UnusableKey> {
    KeyRing::new(secrets.into_iter().map(|secret| (KeySpec::new(fingerprint(&secret)), secret)).collect())
}

/// Returns a label that can be shown, or `None` for one of nothing.
pub(crate) fn checked_label(what: &'static str, text: &str) -> Result<Option<String>, KeysError> {
    let text = text.trim();
    let looks_like_a_key =
        || pasted::read(text).is_ok_and(|found| found.keys.iter().any(|key| key.form == KeyForm::Usual));
    let why = if text.chars().count() > LONGEST_LABEL {
        "is longer than 100 characters"
    } else if text.chars().any(acts_on_a_terminal) {
        "holds an invisible or control character"
    } else if looks_like_a_key() {
        "looks like a key; labels are shown"
    } else {
        return Ok(Some(text.to_owned()).filter(|text| !text.is_empty()));
    };
    Err(KeysError::BadText(what, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(n: u32) -> Secret {
        Secret::new(format!("AIzaSyKeySet{n:08}"))
    }

    fn configured(keys: &[(&str, u32)]) -> KeyRing {
        let keys = keys.iter().map(|(id, n)| (KeySpec::new(*id), secret(*n)));
        KeyRing::new(keys.collect()).unwrap()
    }

    fn kept(label: Option<&str>, n: u32) -> KeptKey {
        let label = label.map(str::to_owned);
        let secret = secret(n).expose().to_owned().into();
        KeptKey { secret, label, project: None, weight: 1, added: DateTime::UNIX_EPOCH }
    }

    fn ids(inventory: &KeyInventory) -> Vec<String> {
        inventory.ring().unwrap().keys().iter().map(|key| key.id().to_string()).collect()
    }

    #[test]
    fn what_the_configuration_says_goes_first_and_what_it_shadows_stays_kept() {
        let all = vec![kept(Some("b"), 1), kept(Some("a"), 2), kept(Some("c"), 3), kept(Some("d"), 3)];
        let inventory = KeyInventory::new(configured(&[("a", 1)]), all.clone());
        assert_eq!(ids(&inventory), ["a", "c"], "one has its secret, one its id, and one is there twice");
        assert_eq!(inventory.shadowed().map(|key| key.id().as_str()).collect::<Vec<_>>(), ["b", "a", "d"]);
        assert_eq!(inventory.kept(), all);
        // Once the configuration has it no more, it is used.
        assert_eq!(ids(&KeyInventory::new(configured(&[]), all)), ["b", "a", "c"]);
        let removed = inventory.removing(&"a".into()).unwrap();
        assert_eq!((removed.kept().len(), ids(&removed)), (3, vec!["a".to_owned(), "c".to_owned()]));
        assert!(matches!(removed.removing(&"a".into()), Err(KeysError::Configured)));
        assert!(matches!(removed.removing(&"x".into()), Err(KeysError::Unknown)));
        let empty = KeyInventory::new(configured(&[]), Vec::new());
        assert!(empty.is_empty() && !inventory.is_empty());
    }

    #[test]
    fn keys_are_added_once_and_changed_by_their_ids() {
        let inventory = KeyInventory::new(configured(&[("a", 1)]), Vec::new());
        let (inventory, added) = inventory.adding(vec![secret(2), secret(3)], Some("p"), Utc::now());
        let (two, three) = (fingerprint(&secret(2)), fingerprint(&secret(3)));
        assert_eq!(added, [KeyId::from(two.as_str()), KeyId::from(three.as_str())]);
        assert_eq!(ids(&inventory), ["a", &two, &three]);
        let change = |inventory: &KeyInventory, id: &str, change| inventory.changing(&id.into(), change);
        let label = |text: &str| KeyChange::Label(Some(text.to_owned()));
        let (inventory, id) = change(&inventory, &two, label(" team-b ")).unwrap();
        assert_eq!(id.as_str(), "team-b");
        assert!(
            matches!(change(&inventory, &two, label("x")), Err(KeysError::Unknown)),
            "it has another name now"
        );
        for taken in ["a", "team-b", two.as_str(), fingerprint(&secret(1)).as_str()] {
            assert!(
                matches!(change(&inventory, &three, label(taken)), Err(KeysError::LabelTaken)),
                "{taken}"
            );
        }
        let (same, id) = change(&inventory, "team-b", label("team-b")).unwrap();
        assert_eq!((id.as_str(), same.kept()), ("team-b", inventory.kept()));
        let (inventory, _) = change(&inventory, "team-b", KeyChange::Project(Some(String::new()))).unwrap();
        let (inventory, _) = change(&inventory, "team-b", KeyChange::Weight(7)).unwrap();
        let spec = inventory.ring().unwrap().find(&"team-b".into()).unwrap().spec().clone();
        assert_eq!((spec.project, spec.weight), (None, 7));
        assert!(matches!(change(&inventory, "team-b", KeyChange::Weight(0)), Err(KeysError::BadWeight)));
        assert!(matches!(change(&inventory, "a", KeyChange::Weight(2)), Err(KeysError::Configured)));
        let (inventory, id) = change(&inventory, "team-b", KeyChange::Label(None)).unwrap();
        assert_eq!((id.as_str(), ids(&inventory)), (two.as_str(), vec!["a".to_owned(), two.clone(), three]));
    }

    #[test]
    fn imported_keys_are_added_once_under_labels_that_are_free() {
        let (inventory, _) =
            KeyInventory::new(configured(&[("a", 1)]), Vec::new()).adding(vec![secret(2)], None, Utc::now());
        let imported = |n: u32, label: Option<&str>, weight| ImportedKey {
            secret: secret(n),
            place: String::new(),
            label: label.map(str::to_owned),
            weight,
            enabled: true,
        };
        let keys = [
            imported(1, Some("x"), 1),
            imported(2, Some("y"), 1),
            imported(3, Some("a"), 2),
            imported(4, Some("b"), 3),
            imported(5, Some("b"), 1),
            imported(4, Some("c"), 1),
            imported(6, Some(secret(7).expose()), 1),
        ];
        let (inventory, added) = inventory.importing(&keys, Utc::now());
        let name = |n: u32| fingerprint(&secret(n));
        let expected = [name(3), "b".to_owned(), name(5), name(6)];
        assert_eq!(added.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>(), expected);
        assert_eq!(inventory.ring().unwrap().find(&"b".into()).unwrap().spec().weight, 3);
        assert_eq!(ids(&inventory).len(), 6);
    }

    #[test]
    fn a_label_can_be_shown_and_is_no_key() {
        for (text, label) in
            [("", None), ("  ", None), (" a b ", Some("a b")), ("\u{5f20}\u{4e09}", Some("\u{5f20}\u{4e09}"))]
        {
            assert_eq!(checked_label("label", text).unwrap().as_deref(), label);
        }
        for text in ["a\nb", "a\u{202e}b", "\u{1b}[2J", &"x".repeat(101), secret(1).expose()] {
            let line = checked_label("label", text).unwrap_err().to_string();
            assert!(
                line.starts_with("label ") && line.lines().count() == 1 && !line.contains("AIza"),
                "{line}"
            );
        }
    }
}
