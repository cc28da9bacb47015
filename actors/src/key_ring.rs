//! The keys with their secrets, found by their ids. The pool itself knows ids only; a secret is looked up when a lease
//! is made and written into one upstream request.

use crate::{secret::Secret, upstream::Provider};
use http::HeaderValue;
use keypool::{KeyId, KeySet, KeySpec, Project};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fmt::Write as _, sync::Arc};

/// One key: its id, which may be shown, and its secret, which may not.
#[derive(Debug)]
pub struct Key {
    spec: KeySpec,
    provider: Provider,
    fingerprint: String,
    secret: Secret,
    goog_header: HeaderValue,
    bearer_header: HeaderValue,
}

impl Key {
    /// What logs and people call it.
    pub fn id(&self) -> &KeyId {
        &self.spec.id
    }

    /// What tells the secret from others, and from which it cannot be found again.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns what the pool is told of it.
    pub fn spec(&self) -> &KeySpec {
        &self.spec
    }

    /// The operator's label of its project.
    pub fn project(&self) -> Option<&str> {
        self.spec.project.as_ref().map(Project::as_str)
    }

    /// The same, to be kept by others.
    pub(crate) fn project_label(&self) -> Option<&keypool::Project> {
        self.spec.project.as_ref()
    }

    /// The secret itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns whose API it opens.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The value of `x-goog-api-key`.
    pub fn goog_header(&self) -> HeaderValue {
        self.goog_header.clone()
    }

    /// The value of `Authorization` for the OpenAI-compatible layer.
    pub fn bearer_header(&self) -> HeaderValue {
        self.bearer_header.clone()
    }
}

/// Six bytes of a hash: enough to tell the keys of a pool apart, and no way back to one.
pub fn fingerprint(secret: &Secret) -> String {
    let mut text = String::from("key-");
    for byte in &Sha256::digest(secret.expose().as_bytes())[..6] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A key's text cannot be sent in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableKey {
    /// The key whose secret no header can carry.
    pub id: KeyId,
}

/// All keys, in the order of the configuration.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: Vec<Arc<Key>>,
    by_id: HashMap<KeyId, Arc<Key>>,
    by_fingerprint: HashMap<String, Arc<Key>>,
    /// The first key with each label.
    by_project: HashMap<Project, Arc<Key>>,
}

impl KeyRing {
    /// Takes the keys over. Refuses a secret that holds bytes no header may carry.
    pub fn new(keys: Vec<(KeySpec, Secret)>) -> Result<Self, UnusableKey> {
        let keys: Vec<Arc<Key>> = keys
            .into_iter()
            .map(|(spec, secret)| {
                let unusable = || UnusableKey { id: spec.id.clone() };
                let header = |text: &str| {
                    let mut value = HeaderValue::from_str(text).map_err(|_| unusable())?;
                    value.set_sensitive(true);
                    Ok(value)
                };
                if secret.expose().is_empty() || secret.expose().contains(char::is_whitespace) {
                    return Err(unusable());
                }
                Ok(Arc::new(Key {
                    goog_header: header(secret.expose())?,
                    bearer_header: header(&format!("Bearer {}", secret.expose()))?,
                    spec,
                    provider: Provider::Gemini,
                    fingerprint: fingerprint(&secret),
                    secret,
                }))
            })
            .collect::<Result<_, _>>()?;
        let by_id = keys.iter().map(|key| (key.id().clone(), Arc::clone(key))).collect();
        let (mut by_fingerprint, mut by_project) = (HashMap::with_capacity(keys.len()), HashMap::new());
        for key in &keys {
            by_fingerprint.entry(key.fingerprint.clone()).or_insert_with(|| Arc::clone(key));
            if let Some(project) = &key.spec.project {
                by_project.entry(project.clone()).or_insert_with(|| Arc::clone(key));
            }
        }
        Ok(Self { keys, by_id, by_fingerprint, by_project })
    }

    /// Returns the key of this name. One that the pool has named may have left the ring since.
    pub fn find(&self, id: &KeyId) -> Option<&Arc<Key>> {
        self.by_id.get(id)
    }

    /// Returns the key with this fingerprint.
    pub fn with_fingerprint(&self, fingerprint: &str) -> Option<&Arc<Key>> {
        self.by_fingerprint.get(fingerprint)
    }

    /// Returns the first key with this project label.
    pub fn first_of(&self, project: &str) -> Option<&Arc<Key>> {
        self.by_project.get(&Project::from(project))
    }

    /// Returns every key, in the order of the configuration.
    pub fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// Returns the keys as the pool takes them: whatever a key is called, its fingerprint tells it apart.
    pub fn key_set(&self) -> KeySet {
        let identity = |key: &Arc<Key>| {
            let named = key.id().as_str() != key.fingerprint();
            named.then(|| (key.id().clone(), KeyId::from(key.fingerprint())))
        };
        let identities = self.keys.iter().filter_map(identity).collect();
        KeySet { identities, ..KeySet::from(self.specs()) }
    }

    /// What the pool is told of the keys.
    pub fn specs(&self) -> Vec<KeySpec> {
        self.keys.iter().map(|key| key.spec.clone()).collect()
    }
}
