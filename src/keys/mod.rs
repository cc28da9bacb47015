//! The pool's keys while the service runs: those of the configuration beside those that were added, the operator's verbs on
//! them, and that each change is written down before it holds. The pool's rules are the key manager's; what may be pasted,
//! and what is shown of it, is in `preview`.

mod error;
mod inventory;
mod preview;

pub(crate) use error::KeysError;
pub(crate) use inventory::{AddedKey, KeyChange, KeyInventory, KeySource};
pub(crate) use preview::{Paste, Preview};

use crate::{
    configuration::Configuration,
    import::ImportedKey,
    settings::SettingsError,
    tokens::{Done, let_in},
};
use callers::Directory;
use chrono::Utc;
use gemini_balance_actors::{
    KeyManager, Secret,
    key_checker::{CheckError, KeyChecker},
    key_manager::{Reconcile, ReconcileError, Verb, VerbKind},
    key_ring::{Key, KeyRing, fingerprint},
    store::Store,
    upstream::probe::KeyHealth,
};
use gemini_balance_store::vault::Vault;
use keypool::{KeyId, PoolError};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long the key manager may take for a change.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a change may take to be written before its maker is told that it is not.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);
/// How many keys are checked for one question.
pub(crate) const CHECKED_AT_ONCE: usize = 100;
/// How long a check of so many may take.
const CHECKED_WITHIN: Duration = Duration::from_secs(120);

/// The keys there are, before the pool is.
pub(crate) struct KeySources {
    inventory: KeyInventory,
    vault: Option<Box<dyn Vault>>,
    ring: KeyRing,
}

/// The keys that an import has added.
#[derive(Debug, Default)]
pub(crate) struct KeysTaken {
    pub(crate) added: Vec<KeyId>,
    /// Those of them that are not used until an operator enables them.
    pub(crate) disabled: Vec<KeyId>,
}

impl KeySources {
    /// Reads the keys of the vault, beside those of the configuration.
    pub(crate) fn read(configuration: &Configuration) -> Result<Self, SettingsError> {
        let settings = &configuration.settings;
        let mut vault = settings.vault()?;
        let kept = match &mut vault {
            Some(vault) => vault.load().map_err(|error| settings.vault_refused(&error))?,
            None => Vec::new(),
        };
        let inventory = KeyInventory::new(configuration.ring.clone(), kept);
        if inventory.is_empty() {
            return Err(settings.no_key());
        }
        let ring = inventory.ring().map_err(|unusable| settings.vault_refused(&KeysError::from(unusable)))?;
        Ok(Self { inventory, vault, ring })
    }

    /// Returns the pool's keys.
    pub(crate) fn ring(&self) -> KeyRing {
        self.ring.clone()
    }
}

/// The operator's verbs on keys.
pub(crate) struct RuntimeKeys {
    inventory: Mutex<Arc<KeyInventory>>,
    vault: Option<Arc<Mutex<Box<dyn Vault>>>>,
    /// Whether what is put there outlives the process.
    is_lasting: bool,
    /// One change after another.
    turn: tokio::sync::Mutex<()>,
    keys: KeyManager,
    checker: KeyChecker,
    store: Store,
    directory: Arc<Directory>,
}

/// What became of a paste.
pub(crate) struct Added {
    pub(crate) preview: Preview,
    pub(crate) added: Vec<KeyId>,
}

impl RuntimeKeys {
    pub(crate) fn new(
        sources: KeySources,
        keys: KeyManager,
        checker: KeyChecker,
        store: Store,
        directory: Arc<Directory>,
    ) -> Self {
        let KeySources { inventory, vault, .. } = sources;
        Self {
            inventory: Mutex::new(Arc::new(inventory)),
            is_lasting: vault.as_ref().is_some_and(|vault| vault.outlives_the_process()),
            vault: vault.map(|vault| Arc::new(Mutex::new(vault))),
            turn: tokio::sync::Mutex::new(()),
            keys,
            checker,
            store,
            directory,
        }
    }

    /// Returns the keys as they are now.
    pub(crate) fn inventory(&self) -> Arc<KeyInventory> {
        Arc::clone(&self.inventory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says what would become of a paste.
    pub(crate) fn preview(&self, paste: &Paste) -> Result<Preview, KeysError> {
        Ok(preview::read(paste, &self.inventory())?.preview)
    }

    /// Asks Google about the keys of a paste that would be added, by their fingerprints.
    pub(crate) async fn check_paste(&self, paste: &Paste) -> Result<Vec<(String, KeyHealth)>, KeysError> {
        self.check_secrets(preview::read(paste, &self.inventory())?.chosen).await
    }

    /// Asks Google about the keys of an import that are not here yet, by their fingerprints.
    pub(crate) async fn check_import(
        &self,
        keys: &[ImportedKey],
    ) -> Result<Vec<(String, KeyHealth)>, KeysError> {
        let inventory = self.inventory();
        let is_new = |key: &&ImportedKey| inventory.with_fingerprint(&fingerprint(&key.secret)).is_none();
        self.check_secrets(keys.iter().filter(is_new).map(|key| key.secret.clone()).collect()).await
    }

    async fn check_secrets(&self, secrets: Secrets) -> Result<Vec<(String, KeyHealth)>, KeysError> {
        if secrets.len() > CHECKED_AT_ONCE {
            return Err(KeysError::TooManyToCheck);
        }
        let keys: Vec<Arc<Key>> = inventory::bare_ring(secrets)?.keys().to_vec();
        let names: Vec<String> = keys.iter().map(|key| key.fingerprint().to_owned()).collect();
        let health = self.checker.ask(keys, Instant::now() + CHECKED_WITHIN).await?;
        Ok(names.into_iter().zip(health).collect())
    }

    /// Asks Google about a key of the pool. One that is retired and well again is used again.
    pub(crate) async fn check(&self, id: &KeyId) -> Result<KeyHealth, KeysError> {
        Ok(self.checker.check(id, Instant::now() + CHECKED_WITHIN).await?)
    }

    /// Adds the chosen keys of a paste.
    pub(crate) async fn add(self: &Arc<Self>, paste: Paste) -> Result<Done<Added>, KeysError> {
        self.change(move |inventory| {
            let read = preview::read(&paste, inventory)?;
            let (inventory, added) = inventory.adding(read.chosen, paste.project.as_deref(), Utc::now());
            Ok((inventory, Added { preview: read.preview, added }))
        })
        .await
    }

    /// Adds the keys of an import that are not here yet; those that are not to be used are disabled.
    pub(crate) async fn import(
        self: &Arc<Self>,
        keys: Vec<ImportedKey>,
    ) -> Result<Done<KeysTaken>, KeysError> {
        let unused: HashSet<String> =
            keys.iter().filter(|key| !key.enabled).map(|key| fingerprint(&key.secret)).collect();
        let done = self.change(move |inventory| Ok(inventory.importing(&keys, Utc::now()))).await?;
        let inventory = self.inventory();
        let Done { result: added, is_kept } = done;
        let mut disabled = Vec::new();
        for id in &added {
            if let Some(KeySource::Runtime(key)) = inventory.source(id)
                && unused.contains(key.fingerprint())
            {
                self.verb(VerbKind::Disable, id.clone()).await?;
                disabled.push(id.clone());
            }
        }
        Ok(Done { result: KeysTaken { added, disabled }, is_kept })
    }

    /// Removes a key. It is leased no more; what runs on it goes on.
    pub(crate) async fn remove(self: &Arc<Self>, id: KeyId) -> Result<Done<()>, KeysError> {
        self.change(move |inventory| Ok((inventory.removing(&id)?, ()))).await
    }

    /// Changes what was said of a key when it was added; returns its id, which a label changes.
    pub(crate) async fn revise(
        self: &Arc<Self>,
        id: KeyId,
        change: KeyChange,
    ) -> Result<Done<KeyId>, KeysError> {
        self.change(move |inventory| inventory.changing(&id, change)).await
    }

    /// Disables, enables or resets a key, wherever it is named.
    pub(crate) async fn verb(&self, kind: VerbKind, key: KeyId) -> Result<Done<()>, KeysError> {
        match self.keys.verb(Verb { kind, key }, Instant::now() + PATIENCE).await {
            Ok(Ok(())) => Ok(Done { result: (), is_kept: self.store.flush(WRITTEN_WITHIN).await }),
            Ok(Err(PoolError::UnknownKey(_))) => Err(KeysError::Unknown),
            Ok(Err(error)) => Err(KeysError::Refused(error)),
            Err(_) => Err(KeysError::Unanswered),
        }
    }

    /// Takes over another configuration's keys and rules. An error says that nothing has changed.
    pub(crate) async fn reconfigure(
        &self,
        configured: KeyRing,
        rules: keypool::Settings,
    ) -> Result<(), KeysError> {
        let _turn = self.turn.lock().await;
        let inventory = self.inventory().beside(configured);
        if inventory.is_empty() {
            return Err(KeysError::LastKey);
        }
        let ring = inventory.ring()?;
        self.put(inventory, ring, Some(rules)).await
    }

    /// Makes another inventory of the one there is, writes it down, and gives it to the pool. Not given up half-way, should
    /// whoever asked for it leave.
    async fn change<T: 'static>(
        self: &Arc<Self>,
        make: impl FnOnce(&KeyInventory) -> Result<(KeyInventory, T), KeysError> + 'static,
    ) -> Result<Done<T>, KeysError> {
        let this = Arc::clone(self);
        let done = actix_rt::spawn(async move {
            let _turn = this.turn.lock().await;
            let former = this.inventory();
            let (inventory, result) = make(&former)?;
            if inventory.is_empty() {
                return Err(KeysError::LastKey);
            }
            let ring = inventory.ring()?;
            this.write(&inventory).await?;
            match this.put(inventory, ring, None).await {
                Err(KeysError::Refused(error)) => {
                    this.write(&former).await?;
                    Err(KeysError::Refused(error))
                }
                other => other,
            }?;
            Ok(Done { result, is_kept: this.is_lasting })
        });
        done.await.unwrap_or(Err(KeysError::Unanswered))
    }

    /// Gives the pool its keys, and perhaps other rules.
    async fn put(
        &self,
        inventory: KeyInventory,
        ring: KeyRing,
        rules: Option<keypool::Settings>,
    ) -> Result<(), KeysError> {
        let ring = Arc::new(ring);
        let change = Reconcile { ring: Arc::clone(&ring), rules };
        match self.keys.reconcile(change, Instant::now() + PATIENCE).await {
            Ok(_) => {}
            Err(ReconcileError::Refused(error)) => return Err(KeysError::Refused(error)),
            // It may take the keys all the same; the next change, or the next process, will.
            Err(ReconcileError::Unanswered(_)) => return Err(KeysError::Unanswered),
        }
        let_in(&self.directory, &ring);
        *self.inventory.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(inventory);
        Ok(())
    }

    async fn write(&self, inventory: &KeyInventory) -> Result<(), KeysError> {
        let vault = self.vault.clone().ok_or(KeysError::Off)?;
        let kept = inventory.kept();
        let write = move || vault.lock().unwrap_or_else(PoisonError::into_inner).replace(&kept);
        // On a thread that may wait for the disk.
        actix_web::web::block(write).await.map_err(|_| KeysError::Unanswered)?.map_err(KeysError::Vault)
    }
}

impl From<CheckError> for KeysError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::UnknownKey => Self::Unknown,
            CheckError::Upstream(error) => Self::NoWay(error.to_string()),
            CheckError::Unanswered(_) => Self::CheckUnanswered,
        }
    }
}

/// Secrets, each with nothing else said of it.
type Secrets = Vec<Secret>;
