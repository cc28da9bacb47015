//! All callers there are: those of files and the environment, those made while the service runs, and the pool's keys while
//! neither exists. Finds who shows a token, in a map whose cost does not grow with their number, and changes what was
//! made at runtime. Writes nothing: what is to be kept is handed back.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::account::{PoolKey, Provenance, Registered};
use crate::counts::AccountReading;
use crate::denial::Denial;
use crate::globs::Globs;
use crate::kept::{FormerSecret, KeptToken, MAX_FORMER, TokenChange};
use crate::roll::{AskFormer, Roll, Sources};
use crate::spec::{CallerSpec, SpecError};
use crate::token::{InstanceKey, NewToken, TokenHash};
use meter::Now;

/// The most tokens that can be made.
pub const MAX_TOKENS: usize = 100_000;
/// The shortest secret that may be taken over from elsewhere, in bytes: a shorter one can be guessed.
pub const MIN_CHOSEN_BYTES: usize = 16;
/// What is hashed to tell one instance key from another.
const KEY_CHECK: &[u8] = b"gemini-balance instance key";

/// All callers. See the module.
pub struct Directory {
    key: InstanceKey,
    roll: ArcSwap<Roll>,
    sources: Mutex<Sources>,
}

/// Who shows a token.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The caller whose token was shown.
    pub caller: Arc<Registered>,
    /// Whether it may call at this time.
    pub standing: Result<(), Denial>,
}

/// Why a token cannot be made or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryError {
    /// There is none of this name.
    Unknown,
    /// A file or the environment gives it, and only they can change it.
    Given,
    /// There is one of this name already.
    NameTaken,
    /// There are [`MAX_TOKENS`].
    TooMany,
    /// A secret that is to be taken over has fewer than [`MIN_CHOSEN_BYTES`].
    TooShort,
    /// A secret that is to be taken over is another token's.
    SecretTaken,
    /// It cannot be as it is asked for.
    Spec(SpecError),
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no token of this name"),
            Self::Given => f.write_str(
                "the configuration gives a token of this name; change it there, or take another name",
            ),
            Self::NameTaken => f.write_str("there is a token of this name already"),
            Self::TooMany => write!(f, "there are {MAX_TOKENS} tokens already"),
            Self::TooShort => write!(f, "a token of fewer than {MIN_CHOSEN_BYTES} characters can be guessed"),
            Self::SecretTaken => f.write_str("another client has this token already"),
            Self::Spec(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DirectoryError {}

impl From<SpecError> for DirectoryError {
    fn from(error: SpecError) -> Self {
        Self::Spec(error)
    }
}

/// How a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It is let in.
    Active,
    /// The operator has disabled it.
    Disabled,
    /// Its time is over.
    Expired,
    /// It was made while the service ran, and the configuration now gives another of its name or with its secret, which
    /// is the one let in.
    Shadowed,
}

/// A token in a list.
#[derive(Clone, Debug)]
pub struct TokenListing {
    /// What the token may do.
    pub spec: CallerSpec,
    /// Where it comes from.
    pub provenance: Provenance,
    /// How it stands.
    pub state: TokenState,
    /// When it was made, if that was while the service ran.
    pub made: Option<DateTime<Utc>>,
    /// Until when the last of its replaced secrets is let in.
    pub former_until: Option<DateTime<Utc>>,
    /// What it has used; nothing is known of a shadowed one.
    pub reading: Option<AccountReading>,
}

impl Directory {
    /// Nobody is let in yet. Days and months are those of the zone.
    pub fn new(key: InstanceKey, zone: Tz) -> Self {
        Self { key, roll: ArcSwap::default(), sources: Mutex::new(Sources::new(zone)) }
    }

    /// Takes what was kept by a former process, but for the names of tokens that were made meanwhile. `false` when that
    /// had another instance key, so that none of its tokens will be known again until it is rotated.
    pub fn restore(&self, kept: impl IntoIterator<Item = TokenChange>) -> bool {
        let check = self.key.hash(KEY_CHECK);
        let mut is_same_key = true;
        self.change(|sources| {
            let meanwhile = std::mem::take(&mut sources.made);
            for change in kept {
                match change {
                    TokenChange::Put(token) => {
                        sources.ever_made = true;
                        sources.made.insert(Arc::clone(&token.spec.name), *token);
                    }
                    TokenChange::Forget(name) => {
                        sources.made.remove(&name);
                    }
                    TokenChange::EverMade(hash) => {
                        sources.ever_made = true;
                        is_same_key = hash == check;
                    }
                }
            }
            sources.made.extend(meanwhile);
        });
        is_same_key
    }

    /// Replaces the tokens of files and the environment.
    pub fn set_given<'a>(&self, tokens: impl IntoIterator<Item = (CallerSpec, &'a [u8])>) {
        let given = tokens.into_iter().map(|(spec, secret)| (spec, self.key.hash(secret))).collect();
        self.change(|sources| sources.given = given);
    }

    /// Replaces the pool's keys.
    pub fn set_pool_keys<'a>(&self, keys: impl IntoIterator<Item = (PoolKey, &'a [u8])>) {
        let (keys, secrets): (Vec<_>, Vec<_>) =
            keys.into_iter().map(|(key, secret)| (key, self.key.hash(secret))).unzip();
        self.change(|sources| {
            sources.pool_keys = keys.into();
            sources.pool_secrets = secrets;
        });
    }

    /// Replaces both at once, so that nobody is let in by half of a change.
    pub fn set_configured<'a>(
        &self,
        tokens: impl IntoIterator<Item = (CallerSpec, &'a [u8])>,
        keys: impl IntoIterator<Item = (PoolKey, &'a [u8])>,
    ) {
        let given = tokens.into_iter().map(|(spec, secret)| (spec, self.key.hash(secret))).collect();
        let (keys, secrets): (Vec<_>, Vec<_>) =
            keys.into_iter().map(|(key, secret)| (key, self.key.hash(secret))).unzip();
        self.change(|sources| {
            sources.given = given;
            sources.pool_keys = keys.into();
            sources.pool_secrets = secrets;
        });
    }

    /// Counts from now on together with the other gateways of a cluster. To be called before anything is counted.
    pub fn share(&self) {
        self.change(|sources| {
            sources.is_shared = true;
            sources.all_accounts().for_each(|account| account.lock().share());
        });
    }

    /// Has every account begin with what was used before: those that there are, and, before anybody is let in on it, each that
    /// comes. `former` may wait for the disk, and so may then whatever enters callers.
    pub fn begin_with(&self, former: AskFormer) {
        let mut sources = self.lock();
        let roll = self.roll.load_full();
        sources.begin_with(former, &roll);
    }

    /// Closes the gateway to the pool's keys: there is a sign that a token was made once.
    pub fn close_to_pool_keys(&self) {
        self.change(|sources| sources.ever_made = true);
    }

    /// Takes over what another gateway has said of a token that was made there: how it is now, or that it is no more. Returns what
    /// is to be kept; nothing where that was known. Where there are [`MAX_TOKENS`], a further one is left out, and so is one
    /// that could not have been made here.
    pub fn hear(&self, change: TokenChange) -> Vec<TokenChange> {
        if let TokenChange::Put(token) = &change
            && (token.spec.check_name().is_err()
                || token.spec.check().is_err()
                || token.former.len() > MAX_FORMER)
        {
            return Vec::new();
        }
        let mut kept = Vec::new();
        self.change(|sources| {
            let is_news = match &change {
                TokenChange::Put(token) => match sources.made.get(&token.spec.name) {
                    Some(known) => known != &**token,
                    None => sources.made.len() < MAX_TOKENS,
                },
                TokenChange::Forget(name) => sources.made.contains_key(name),
                TokenChange::EverMade(_) => false,
            };
            if !std::mem::replace(&mut sources.ever_made, true) {
                kept.push(TokenChange::EverMade(self.key.hash(KEY_CHECK)));
            }
            if is_news {
                match &change {
                    TokenChange::Put(token) => {
                        sources.made.insert(Arc::clone(&token.spec.name), (**token).clone());
                    }
                    TokenChange::Forget(name) => drop(sources.made.remove(name)),
                    TokenChange::EverMade(_) => {}
                }
                kept.push(change);
            }
        });
        kept
    }

    /// Returns a hash by which gateways tell whether they have the same instance key; `None` while no token was ever made, so
    /// that none was hashed under it.
    pub fn instance(&self) -> Option<TokenHash> {
        self.lock().ever_made.then(|| self.key.hash(KEY_CHECK))
    }

    /// Returns all that is to be kept.
    pub fn kept(&self) -> Vec<TokenChange> {
        let sources = self.lock();
        let marker = sources.ever_made.then(|| TokenChange::EverMade(self.key.hash(KEY_CHECK)));
        let tokens = sources.made.values().map(|token| TokenChange::Put(Box::new(token.clone())));
        marker.into_iter().chain(tokens).collect()
    }

    /// Changes the zone of days and months; it holds from the next ones on.
    pub fn set_zone(&self, zone: Tz) {
        let mut sources = self.lock();
        sources.zone = zone;
        sources.all_accounts().for_each(|account| account.lock().set_zone(zone));
    }

    /// Whether the pool's keys are what opens the gateway.
    pub fn opens_to_pool_keys(&self) -> bool {
        self.lock().opens_to_pool_keys()
    }

    /// Finds who shows this.
    pub fn identify(&self, credential: &[u8], wall: DateTime<Utc>) -> Option<Identity> {
        let roll = self.roll.load();
        let entry = roll.by_secret.get(&self.key.hash(credential))?;
        let standing = match entry.until {
            Some(until) if until <= wall => Err(Denial::Expired),
            _ => entry.caller.spec.may_call(wall),
        };
        Some(Identity { caller: Arc::clone(&entry.caller), standing })
    }

    /// Returns what of the projects that a token may be served from fits no key of the pool.
    pub fn projects_without_keys(&self, spec: &CallerSpec) -> Vec<String> {
        let keys = Arc::clone(&self.lock().pool_keys);
        let fits_none = |glob: &&str| {
            let glob = Globs::from_iter([glob]);
            !keys.iter().any(|key| glob.fit(key.project_or_id()))
        };
        spec.projects.iter().filter(fits_none).map(str::to_owned).collect()
    }

    /// Finds a caller by its name.
    pub fn named(&self, name: &str, wall: DateTime<Utc>) -> Option<Identity> {
        let caller = Arc::clone(self.roll.load().by_name.get(name)?);
        let standing = caller.spec.may_call(wall);
        Some(Identity { caller, standing })
    }

    /// Makes a token from 32 random bytes.
    pub fn add(
        &self,
        spec: CallerSpec,
        random: &[u8; 32],
        now: Now,
    ) -> Result<(NewToken, Vec<TokenChange>), DirectoryError> {
        spec.check_name()?;
        spec.check()?;
        let token = NewToken::from_random(random);
        let kept = KeptToken {
            spec,
            made: now.wall,
            secret: self.key.hash(token.expose().as_bytes()),
            former: Vec::new(),
        };
        self.try_change(|sources| {
            let name = &kept.spec.name;
            if sources.gives(name) {
                return Err(DirectoryError::Given);
            }
            if sources.made.contains_key(name) {
                return Err(DirectoryError::NameTaken);
            }
            if sources.made.len() >= MAX_TOKENS {
                return Err(DirectoryError::TooMany);
            }
            sources.made.insert(Arc::clone(name), kept.clone());
            sources.ever_made = true;
            let marker = TokenChange::EverMade(self.key.hash(KEY_CHECK));
            Ok((token, vec![marker, TokenChange::Put(Box::new(kept))]))
        })
    }

    /// Takes over tokens whose secrets were chosen elsewhere: all of them, or none.
    pub fn take_over<'a>(
        &self,
        tokens: impl IntoIterator<Item = (CallerSpec, &'a [u8])>,
        now: Now,
    ) -> Result<Vec<TokenChange>, DirectoryError> {
        let mut taken = Vec::new();
        for (spec, secret) in tokens {
            spec.check_name()?;
            spec.check()?;
            if secret.len() < MIN_CHOSEN_BYTES {
                return Err(DirectoryError::TooShort);
            }
            taken.push(KeptToken { spec, made: now.wall, secret: self.key.hash(secret), former: Vec::new() });
        }
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        self.try_change(|sources| {
            let given = sources.given.iter().map(|(spec, secret)| (&spec.name, *secret));
            let made = sources.made.values().flat_map(|token| {
                let former = token.former.iter().map(|former| former.secret);
                former.chain([token.secret]).map(|secret| (&token.spec.name, secret))
            });
            let (mut names, mut secrets): (HashSet<&Arc<str>>, HashSet<TokenHash>) =
                given.chain(made).unzip();
            for token in &taken {
                if !names.insert(&token.spec.name) {
                    let gives = sources.gives(&token.spec.name);
                    return Err(if gives { DirectoryError::Given } else { DirectoryError::NameTaken });
                }
                if !secrets.insert(token.secret) {
                    return Err(DirectoryError::SecretTaken);
                }
            }
            if sources.made.len() + taken.len() > MAX_TOKENS {
                return Err(DirectoryError::TooMany);
            }
            sources.ever_made = true;
            sources.made.extend(taken.iter().map(|token| (Arc::clone(&token.spec.name), token.clone())));
            let marker = TokenChange::EverMade(self.key.hash(KEY_CHECK));
            let puts = taken.into_iter().map(|token| TokenChange::Put(Box::new(token)));
            Ok(std::iter::once(marker).chain(puts).collect())
        })
    }

    /// Gives a token a new secret, from 32 random bytes. The old one is let in for so much longer, and none that it has
    /// replaced in its turn is for more: who rotates without a grace has a leak to end.
    pub fn rotate(
        &self,
        name: &str,
        random: &[u8; 32],
        grace: Duration,
        now: Now,
    ) -> Result<(NewToken, Vec<TokenChange>), DirectoryError> {
        let new = NewToken::from_random(random);
        let secret = self.key.hash(new.expose().as_bytes());
        let grace = TimeDelta::from_std(grace).unwrap_or(TimeDelta::MAX);
        let until = now.wall.checked_add_signed(grace).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let changes = self.edit(name, |token| {
            let old = std::mem::replace(&mut token.secret, secret);
            token.former.insert(0, FormerSecret { secret: old, until });
            token.former.iter_mut().for_each(|former| former.until = former.until.min(until));
            token.former.retain(|former| now.wall < former.until);
            token.former.truncate(MAX_FORMER);
        })?;
        Ok((new, changes))
    }

    /// Disables a token, or enables it again.
    pub fn enable(&self, name: &str, enabled: bool) -> Result<Vec<TokenChange>, DirectoryError> {
        self.edit(name, |token| token.spec.enabled = enabled)
    }

    /// Changes what a token says of its caller, all but the name.
    pub fn revise(&self, spec: CallerSpec) -> Result<Vec<TokenChange>, DirectoryError> {
        spec.check()?;
        let name = Arc::clone(&spec.name);
        self.edit(&name, |token| token.spec = spec)
    }

    /// Removes a token.
    pub fn remove(&self, name: &str) -> Result<Vec<TokenChange>, DirectoryError> {
        self.try_change(|sources| match sources.made.remove(name) {
            Some(token) => {
                let marker = TokenChange::EverMade(self.key.hash(KEY_CHECK));
                Ok(vec![marker, TokenChange::Forget(token.spec.name)])
            }
            None if sources.gives(name) => Err(DirectoryError::Given),
            None => Err(DirectoryError::Unknown),
        })
    }

    /// Lists the tokens: those that are given, then those that were made, each by name. No keys of the pool.
    pub fn list(&self, now: Now) -> Vec<TokenListing> {
        let roll = self.roll.load_full();
        let sources = self.lock();
        let state = |spec: &CallerSpec| match spec.may_call(now.wall) {
            Err(Denial::Disabled) => TokenState::Disabled,
            Err(_) => TokenState::Expired,
            Ok(()) => TokenState::Active,
        };
        let reading = |spec: &CallerSpec| {
            let account = sources.accounts.get(&spec.name)?;
            Some(account.lock().read(&spec.limits, now))
        };
        let mut given: Vec<_> = sources.given.iter().map(|(spec, _)| spec).collect();
        given.sort_by(|one, other| one.name.cmp(&other.name));
        let given = given.into_iter().map(|spec| TokenListing {
            spec: spec.clone(),
            provenance: Provenance::Given,
            state: state(spec),
            made: None,
            former_until: None,
            reading: reading(spec),
        });
        let made = sources.made.values().map(|token| {
            let spec = &token.spec;
            let is_shadowed = roll.by_secret.get(&token.secret).is_none_or(|entry| {
                entry.caller.provenance != Provenance::Made || entry.caller.spec.name != spec.name
            });
            let formers = token.former.iter().map(|former| former.until);
            TokenListing {
                spec: spec.clone(),
                provenance: Provenance::Made,
                state: if is_shadowed { TokenState::Shadowed } else { state(spec) },
                made: Some(token.made),
                former_until: formers.filter(|until| now.wall < *until).max(),
                reading: if is_shadowed { None } else { reading(spec) },
            }
        });
        given.chain(made).collect()
    }

    /// Every caller that is let in, but for the pool's keys.
    pub fn callers(&self) -> Vec<Arc<Registered>> {
        let roll = self.roll.load();
        let named = roll.by_name.values().filter(|caller| caller.provenance != Provenance::PoolKey);
        named.cloned().collect()
    }

    /// Every caller of which there is something to tell the other gateways, or to hear of them.
    pub fn with_news(&self, now: Now) -> Vec<Arc<Registered>> {
        let roll = self.roll.load();
        roll.by_name.values().filter(|caller| caller.has_news(now)).cloned().collect()
    }

    /// Tells all of every caller anew: what the other gateways were told may be lost.
    pub fn tell_anew(&self, now: Now) {
        let roll = self.roll.load();
        roll.by_name
            .values()
            .filter(|caller| caller.is_limited_by_all())
            .for_each(|caller| caller.tell_anew(now));
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Sources)) {
        let mut sources = self.lock();
        change(&mut sources);
        self.roll.store(Arc::new(sources.roll()));
    }

    fn try_change<T>(
        &self,
        change: impl FnOnce(&mut Sources) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        let mut sources = self.lock();
        let done = change(&mut sources)?;
        self.roll.store(Arc::new(sources.roll()));
        Ok(done)
    }

    /// Changes a token that was made. One that is shadowed can be changed as well.
    fn edit(
        &self,
        name: &str,
        change: impl FnOnce(&mut KeptToken),
    ) -> Result<Vec<TokenChange>, DirectoryError> {
        self.try_change(|sources| {
            let gives = sources.gives(name);
            let unknown = if gives { DirectoryError::Given } else { DirectoryError::Unknown };
            let token = sources.made.get_mut(name).ok_or(unknown)?;
            change(token);
            Ok(vec![TokenChange::Put(Box::new(token.clone()))])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Door;
    use crate::counts::{Ending, Estimate};
    use crate::spec::ModelShown;
    use crate::token::tests::COMPARISONS;
    use gemini::path::Surface;

    /// How many hashes are compared while each of ten callers, and ten strangers, ask once.
    fn comparisons(tokens: u32) -> u64 {
        let directory = Directory::new(InstanceKey::new(&[5; 32]), Tz::UTC);
        let named = |number: u32| (CallerSpec::new(&format!("caller-{number}")), format!("secret-{number}"));
        let given: Vec<_> = (0..tokens).map(named).collect();
        directory.set_given(given.iter().map(|(spec, secret)| (spec.clone(), secret.as_bytes())));
        let now = Now { mono: Duration::ZERO, wall: DateTime::UNIX_EPOCH };
        COMPARISONS.set(0);
        for number in 0..10 {
            let caller = directory.identify(format!("secret-{number}").as_bytes(), now.wall).unwrap().caller;
            let door = Door { surface: Surface::Native, model: ModelShown::None, spends: true };
            let mut pass = caller.admit(door, now).unwrap();
            pass.reserve(Estimate { model: None, input_tokens: 1, price: &|_, _| 0 }, now).unwrap();
            pass.settle(Ending::Unknown, now);
            assert!(directory.identify(format!("stranger-{number}").as_bytes(), now.wall).is_none());
        }
        COMPARISONS.get()
    }

    #[test]
    fn ten_thousand_tokens_cost_a_request_what_ten_do() {
        let (few, many) = (comparisons(10), comparisons(10_000));
        // A map compares once for who is known, and by chance with one in 128 of the up to sixteen neighbours it looks at: one
        // or two in twenty questions, and thirty in no run that anybody will see.
        assert!((10..30).contains(&few), "{few}");
        assert!((10..30).contains(&many), "{many}");
    }
}
