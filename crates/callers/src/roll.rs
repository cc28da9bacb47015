//! Who is let in by which secret, made anew from the sources with every change of them, and the accounts, which go on by name: a
//! token that is removed and made again goes on where it was, and one that is new begins with what the usage book says of its
//! name. The directory makes the changes.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use meter::Now;

use crate::account::{Account, PoolKey, Provenance, Registered};
use crate::counts::Seed;
use crate::kept::KeptToken;
use crate::spec::{CallerSpec, Visibility};
use crate::token::TokenHash;

/// Of how many removed tokens the accounts are kept.
const MOST_LEFT: usize = 1_000;

/// What callers have used before, by the usage book.
#[derive(Clone, Debug)]
pub struct FormerUse {
    /// When it was asked.
    pub now: Now,
    /// By the callers' names; those who have used nothing are left out.
    pub by_name: HashMap<Arc<str>, Seed>,
}

/// Asks what callers of these names have used before.
pub type AskFormer = Box<dyn Fn(&[Arc<str>]) -> FormerUse + Send + Sync>;

/// Who is let in, made anew from the sources with every change of them.
#[derive(Default)]
pub(crate) struct Roll {
    pub(crate) by_secret: HashMap<TokenHash, Entry>,
    pub(crate) by_name: HashMap<Arc<str>, Arc<Registered>>,
}

pub(crate) struct Entry {
    pub(crate) caller: Arc<Registered>,
    /// Of a secret that a newer one has replaced: until when it is let in.
    pub(crate) until: Option<DateTime<Utc>>,
}

pub(crate) struct Sources {
    pub(crate) zone: Tz,
    pub(crate) given: Vec<(CallerSpec, TokenHash)>,
    pub(crate) made: BTreeMap<Arc<str>, KeptToken>,
    pub(crate) pool_keys: Arc<[PoolKey]>,
    /// Of each of them, in their order.
    pub(crate) pool_secrets: Vec<TokenHash>,
    /// Whether a token was ever made while the service ran.
    pub(crate) ever_made: bool,
    /// Whether other gateways count the same callers.
    pub(crate) is_shared: bool,
    pub(crate) accounts: HashMap<Arc<str>, Arc<Account>>,
    /// Those of callers that have been removed, the one that left last at the end.
    left: VecDeque<(Arc<str>, Arc<Account>)>,
    /// Says what was used before, once that can be asked.
    former: Option<AskFormer>,
}

impl Sources {
    pub(crate) fn new(zone: Tz) -> Self {
        Self {
            zone,
            given: Vec::new(),
            made: BTreeMap::new(),
            pool_keys: [].into(),
            pool_secrets: Vec::new(),
            ever_made: false,
            is_shared: false,
            accounts: HashMap::new(),
            left: VecDeque::new(),
            former: None,
        }
    }

    /// Whether the configuration gives a token of this name.
    pub(crate) fn gives(&self, name: &str) -> bool {
        self.given.iter().any(|(spec, _)| &*spec.name == name)
    }

    pub(crate) fn opens_to_pool_keys(&self) -> bool {
        self.given.is_empty() && !self.ever_made
    }

    /// Every account that there is, of callers that have been removed as well.
    pub(crate) fn all_accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.values().chain(self.left.iter().map(|(_, account)| account))
    }

    /// Has all accounts, those that there are and those to come, begin with what was used before.
    pub(crate) fn begin_with(&mut self, former: AskFormer, roll: &Roll) {
        let is_token = |caller: &&Arc<Registered>| caller.provenance != Provenance::PoolKey;
        let callers = roll.by_name.values().filter(is_token);
        seed(&former, &callers.map(|caller| (Arc::clone(caller), true)).collect::<Vec<_>>());
        self.former = Some(former);
    }

    /// Makes the roll. A name or a secret of the configuration comes before one that was made.
    pub(crate) fn roll(&mut self) -> Roll {
        let mut roll = Roll::default();
        let mut known = std::mem::take(&mut self.accounts);
        known.extend(self.left.iter().cloned());
        let names: HashSet<Arc<str>> = self.given.iter().map(|(spec, _)| Arc::clone(&spec.name)).collect();
        let secrets: HashSet<TokenHash> = self.given.iter().map(|(_, secret)| *secret).collect();
        let (zone, is_shared) = (self.zone, self.is_shared);
        let mut accounts = HashMap::<Arc<str>, Arc<Account>>::new();
        let mut unseeded = Vec::new();
        let mut register = |spec: CallerSpec, provenance| {
            let known = known.get(&spec.name);
            let begun = accounts.get(&spec.name).or(known).map(Arc::clone);
            let account = begun.clone().unwrap_or_else(|| Arc::new(Account::new(zone, is_shared)));
            accounts.insert(Arc::clone(&spec.name), Arc::clone(&account));
            let pool_keys = Arc::clone(&self.pool_keys);
            let caller = Registered { spec, provenance, account, pool_keys, served_by: OnceLock::new() };
            let caller = Arc::new(caller);
            let is_new = begun.is_none();
            if provenance != Provenance::PoolKey && (is_new || caller.lacks_minute()) {
                unseeded.push((Arc::clone(&caller), is_new));
            }
            caller
        };
        for (spec, secret) in &self.given {
            let caller = register(spec.clone(), Provenance::Given);
            roll.enter(*secret, None, &caller);
        }
        for token in self.made.values() {
            let mut own =
                std::iter::once(&token.secret).chain(token.former.iter().map(|former| &former.secret));
            if names.contains(&token.spec.name) || own.any(|secret| secrets.contains(secret)) {
                continue;
            }
            let caller = register(token.spec.clone(), Provenance::Made);
            for former in &token.former {
                roll.enter(former.secret, Some(former.until), &caller);
            }
            roll.enter(token.secret, None, &caller);
        }
        if self.opens_to_pool_keys() {
            for (key, secret) in self.pool_keys.iter().zip(&self.pool_secrets) {
                // With one key, everyone shares what is made.
                let spec = CallerSpec { resources: Visibility::All, ..CallerSpec::new(&key.id) };
                roll.enter(*secret, None, &register(spec, Provenance::PoolKey));
            }
        }
        // Before anybody is let in on them.
        if let Some(former) = self.former.as_ref().filter(|_| !unseeded.is_empty()) {
            seed(former, &unseeded);
        }
        self.keep_left(known, &accounts);
        self.accounts = accounts;
        roll
    }

    /// Keeps the accounts of those who have left: what they have used is not forgotten if they come back.
    fn keep_left(
        &mut self,
        known: HashMap<Arc<str>, Arc<Account>>,
        accounts: &HashMap<Arc<str>, Arc<Account>>,
    ) {
        self.left.retain(|(name, _)| !accounts.contains_key(name));
        let had_left: HashSet<Arc<str>> = self.left.iter().map(|(name, _)| Arc::clone(name)).collect();
        let leaves = |(name, account): &(Arc<str>, Arc<Account>)| {
            !accounts.contains_key(name) && !had_left.contains(name) && account.lock().has_used()
        };
        self.left.extend(known.into_iter().filter(leaves));
        while self.left.len() > MOST_LEFT {
            self.left.pop_front();
        }
    }
}

/// Gives accounts what was used before: those that are new all of it, others what counts for a minute that was not limited so far.
fn seed(former: &AskFormer, callers: &[(Arc<Registered>, bool)]) {
    let names: Vec<_> = callers.iter().map(|(caller, _)| Arc::clone(&caller.spec.name)).collect();
    let FormerUse { now, by_name } = former(&names);
    for (caller, is_new) in callers {
        match by_name.get(&caller.spec.name) {
            Some(seed) if *is_new => caller.seed(seed, now),
            _ if *is_new => {}
            seed => {
                let seconds = seed.map_or(&[][..], |seed| &seed.seconds);
                caller.account.lock().begin_minute(seconds, now);
            }
        }
    }
}

impl Roll {
    fn enter(&mut self, secret: TokenHash, until: Option<DateTime<Utc>>, caller: &Arc<Registered>) {
        self.by_secret.insert(secret, Entry { caller: Arc::clone(caller), until });
        self.by_name.entry(Arc::clone(&caller.spec.name)).or_insert_with(|| Arc::clone(caller));
    }
}
