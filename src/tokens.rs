//! The clients' tokens while the service runs: who is let in at the start, and the operator's verbs, each of which ends with
//! the change written down.

use crate::{
    configuration::Configuration,
    settings::{SettingsError, Token},
};
use callers::{
    CallerSpec, Directory, DirectoryError, InstanceKey, NewToken, PoolKey, TokenChange, TokenListing,
};
use gemini_balance_actors::{
    Secret,
    accounting::CallerNames,
    caller_cuts::CallerCuts,
    clock::Clock,
    cluster::Cluster,
    key_ring::KeyRing,
    store::{KeptTokens, Store},
};
use gemini_balance_store::instance_key::{self, InstanceKeyError};
use ring::rand::{SecureRandom, SystemRandom};
use std::{
    collections::HashSet,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a change may take to be written before its maker is told that it is not.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// The directory with its instance key, before the store is open.
pub(crate) struct Enrolment {
    pub(crate) directory: Arc<Directory>,
    pub(crate) kept: Arc<KeptTokens>,
    key: InstanceKeyFile,
}

/// The instance key, and where its file is to be; `None` where nothing outlives the process.
struct InstanceKeyFile {
    key: [u8; instance_key::INSTANCE_KEY_BYTES],
    path: Option<PathBuf>,
    is_written: Mutex<bool>,
}

/// The operator's verbs on tokens.
pub(crate) struct Tokens {
    enrolment: Enrolment,
    store: Store,
    clock: Clock,
    cuts: CallerCuts,
    /// The other gateways, which are to know.
    cluster: Option<Cluster>,
}

/// What becomes of the requests under way of a caller whose token is disabled or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestsUnderWay {
    GoOn,
    End,
}

/// Why a verb was not carried out.
#[derive(Debug)]
pub(crate) enum TokensError {
    Directory(DirectoryError),
    /// The instance key cannot be written, so the tokens made under it could not be known again.
    InstanceKey(InstanceKeyError),
    /// The system has no randomness to give.
    NoRandomness,
}

impl fmt::Display for TokensError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::InstanceKey(error) => write!(f, "store.instance_key_file: {error}"),
            Self::NoRandomness => f.write_str("the system gives no random numbers"),
        }
    }
}

impl From<DirectoryError> for TokensError {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(error)
    }
}

/// What a verb leaves.
pub(crate) struct Done<T> {
    pub(crate) result: T,
    /// Whether it is written down, so that it outlives the process.
    pub(crate) is_kept: bool,
}

impl Enrolment {
    /// Returns who callers are, as far as usage is concerned.
    pub(crate) fn caller_names(&self) -> CallerNames {
        if self.directory.opens_to_pool_keys() { CallerNames::PoolKeys } else { CallerNames::Tokens }
    }

    /// Reads the instance key, and enrols those whom the configuration names. `ring` holds the pool's keys.
    pub(crate) fn new(configuration: &Configuration, ring: &KeyRing) -> Result<Self, SettingsError> {
        let Configuration { settings, tokens, zone, .. } = configuration;
        let refused =
            |why: String| settings.name_source(SettingsError::refused("store.instance_key_file", why));
        let path = (!settings.store.path.as_os_str().is_empty())
            .then(|| settings.store.instance_key_file.clone())
            .filter(|path| !path.as_os_str().is_empty());
        let found = path.as_deref().map_or(Ok(None), instance_key::read);
        let found = found.map_err(|error| refused(format!("cannot be used: {error}")))?;
        let key = match found {
            Some(key) => key,
            None => random().map_err(|error| refused(format!("cannot be made: {error}")))?,
        };
        let directory = Arc::new(Directory::new(InstanceKey::new(&key), *zone));
        if configuration.cluster.is_some() {
            directory.share();
        }
        configure(&directory, tokens, ring);
        if found.is_some() {
            // It is made with the first token: though the store may be gone, there was one.
            directory.close_to_pool_keys();
        }
        let kept = Arc::new(KeptTokens::new(Arc::clone(&directory)));
        let is_written = Mutex::new(found.is_some());
        Ok(Self { directory, kept, key: InstanceKeyFile { key, path, is_written } })
    }
}

/// Has the directory know whom the configuration names, and the keys that stand in for tokens where it names nobody.
fn configure(directory: &Directory, tokens: &[Token], ring: &KeyRing) {
    let given = tokens.iter().map(|token| (token.spec.clone(), token.secret.expose().as_bytes()));
    directory.set_configured(given, pool_keys(ring));
}

/// Tells the directory which keys are the pool's: they are credentials while no token was ever made.
pub(crate) fn let_in(directory: &Directory, ring: &KeyRing) {
    directory.set_pool_keys(pool_keys(ring));
}

fn pool_keys(ring: &KeyRing) -> impl Iterator<Item = (PoolKey, &[u8])> {
    ring.keys().iter().map(|key| {
        let pool_key = PoolKey { id: key.id().as_str().into(), project: key.project().map(Into::into) };
        (pool_key, key.secret().expose().as_bytes())
    })
}

/// Warns of a gateway that is open to whoever knows a pool key, or to nobody.
pub(crate) fn tell_who_is_let_in(directory: &Directory, given: usize) {
    if directory.opens_to_pool_keys() {
        log::warn!(target: "service", "no client token is configured: whoever knows a pool key may call; set ACCESS_TOKENS or auth.tokens, or make one with `gemini-balance tokens add`");
    } else if given == 0 && directory.callers().is_empty() {
        log::warn!(target: "service", "nobody may call: tokens were made once, so pool keys open nothing, and there is none now; make one with `gemini-balance tokens add`");
    }
}

impl InstanceKeyFile {
    fn ensure(&self) -> Result<(), TokensError> {
        let mut is_written = self.is_written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = self.path.as_deref().filter(|_| !*is_written) {
            instance_key::create(path, &self.key).map_err(TokensError::InstanceKey)?;
        }
        *is_written = true;
        Ok(())
    }
}

impl Tokens {
    pub(crate) fn new(
        enrolment: Enrolment,
        store: Store,
        clock: Clock,
        cuts: CallerCuts,
        cluster: Option<Cluster>,
    ) -> Self {
        Self { enrolment, store, clock, cuts, cluster }
    }

    /// Takes over another configuration's tokens and keys. Counts go on by name; those who are gone are let in no more.
    pub(crate) fn configure(&self, tokens: &[Token], ring: &KeyRing) {
        let directory = &self.enrolment.directory;
        let before = (directory.opens_to_pool_keys(), directory.callers().is_empty());
        configure(directory, tokens, ring);
        if (directory.opens_to_pool_keys(), directory.callers().is_empty()) != before {
            tell_who_is_let_in(directory, tokens.len());
        }
    }

    /// Returns who callers are, as far as usage is concerned.
    pub(crate) fn caller_names(&self) -> CallerNames {
        self.enrolment.caller_names()
    }

    /// Makes a token, which is shown this once.
    pub(crate) async fn add(&self, spec: CallerSpec) -> Result<Done<NewToken>, TokensError> {
        self.enrolment.key.ensure()?;
        let random = random()?;
        let (token, changes) = self.enrolment.directory.add(spec, &random, self.clock.now())?;
        Ok(Done { result: token, is_kept: self.keep(changes).await })
    }

    /// Takes over tokens that were chosen elsewhere, as callers of free names; returns the names. Those that somebody has
    /// already are left out.
    pub(crate) async fn take_over(&self, secrets: &[Secret]) -> Result<Done<Vec<String>>, TokensError> {
        self.enrolment.key.ensure()?;
        let directory = &self.enrolment.directory;
        let now = self.clock.now();
        let taken: HashSet<String> =
            directory.list(now).into_iter().map(|token| token.spec.name.to_string()).collect();
        let free = (1..).map(|n| format!("import-{n}")).filter(|name| !taken.contains(name));
        let is_new = |secret: &&Secret| directory.identify(secret.expose().as_bytes(), now.wall).is_none();
        let tokens: Vec<(String, &Secret)> = free.zip(secrets.iter().filter(is_new)).collect();
        let specs = tokens.iter().map(|(name, secret)| (CallerSpec::new(name), secret.expose().as_bytes()));
        let changes = directory.take_over(specs, now)?;
        let names = tokens.into_iter().map(|(name, _)| name).collect();
        Ok(Done { result: names, is_kept: self.keep(changes).await })
    }

    /// Gives a token a new secret; the old one is let in for `grace`.
    pub(crate) async fn rotate(&self, name: &str, grace: Duration) -> Result<Done<NewToken>, TokensError> {
        self.enrolment.key.ensure()?;
        let random = random()?;
        let (token, changes) = self.enrolment.directory.rotate(name, &random, grace, self.clock.now())?;
        Ok(Done { result: token, is_kept: self.keep(changes).await })
    }

    /// Lets a disabled token in again.
    pub(crate) async fn enable(&self, name: &str) -> Result<Done<()>, TokensError> {
        let changes = self.enrolment.directory.enable(name, true)?;
        Ok(Done { result: (), is_kept: self.keep(changes).await })
    }

    /// Lets a token in no more.
    pub(crate) async fn disable(
        &self,
        name: &str,
        under_way: RequestsUnderWay,
    ) -> Result<Done<()>, TokensError> {
        let changes = self.enrolment.directory.enable(name, false)?;
        let under_way = self.end_requests(name, under_way);
        Ok(Done { result: (), is_kept: self.keep_and_end(changes, under_way).await })
    }

    /// Changes what a token says of its caller.
    pub(crate) async fn revise(&self, spec: CallerSpec) -> Result<Done<()>, TokensError> {
        let changes = self.enrolment.directory.revise(spec)?;
        Ok(Done { result: (), is_kept: self.keep(changes).await })
    }

    /// Removes a token.
    pub(crate) async fn remove(
        &self,
        name: &str,
        under_way: RequestsUnderWay,
    ) -> Result<Done<()>, TokensError> {
        let changes = self.enrolment.directory.remove(name)?;
        let under_way = self.end_requests(name, under_way);
        Ok(Done { result: (), is_kept: self.keep_and_end(changes, under_way).await })
    }

    /// Returns what of the projects that a token may be served from fits no key of the pool.
    pub(crate) fn projects_without_keys(&self, spec: &CallerSpec) -> Vec<String> {
        self.enrolment.directory.projects_without_keys(spec)
    }

    /// Lists all tokens.
    pub(crate) fn list(&self) -> Vec<TokenListing> {
        self.enrolment.directory.list(self.clock.now())
    }

    /// Ends a caller's requests, unless somebody of its name may still call: a token of the configuration, which goes before
    /// one that was made. Returns what becomes of them.
    fn end_requests(&self, name: &str, under_way: RequestsUnderWay) -> RequestsUnderWay {
        let of_name = self.enrolment.directory.named(name, self.clock.now().wall);
        let may_call = of_name.is_some_and(|identity| identity.standing.is_ok());
        if under_way == RequestsUnderWay::GoOn || may_call {
            return RequestsUnderWay::GoOn;
        }
        self.cuts.cut(name);
        RequestsUnderWay::End
    }

    async fn keep(&self, changes: Vec<TokenChange>) -> bool {
        self.keep_and_end(changes, RequestsUnderWay::GoOn).await
    }

    /// Has changes written down, and tells the other gateways of them.
    async fn keep_and_end(&self, changes: Vec<TokenChange>, under_way: RequestsUnderWay) -> bool {
        if let Some(cluster) = &self.cluster {
            cluster.tell_tokens(&changes, under_way == RequestsUnderWay::End);
        }
        self.enrolment.kept.keep(changes);
        self.store.flush(WRITTEN_WITHIN).await
    }
}

/// 256 bits from the system's generator.
fn random() -> Result<[u8; 32], TokensError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| TokensError::NoRandomness)?;
    Ok(bytes)
}
