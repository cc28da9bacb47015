//! What tokens cost, while the service runs: the configuration's prices, after them those set at runtime, after them the
//! built-in list. A price that was set gives way to the configuration: to an entry for the same model, and to another currency.
//! The operator's listener changes them, a reload tells what the configuration says.

use crate::{http::SharedSettings, tokens::Done};
use gemini_balance_actors::{
    accounting::Accounts,
    store::{KeptPrices, Store},
};
use serde::Serialize;
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use usage::{PriceEntry, PriceError, PriceTable, Prices};

/// How long a change may take to be written before its maker is told that it is not.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// How many prices can be set at runtime.
const MOST: usize = 1_000;

/// The longest model of one, in bytes.
const LONGEST_MODEL: usize = 200;

/// The prices in use, and who needs to know them. See the module.
pub(crate) struct RuntimePrices {
    kept: Arc<KeptPrices>,
    store: Store,
    accounts: Option<Accounts>,
    current: SharedSettings,
    /// What the configuration says, and how many times anything has changed. Held while the prices are put to use, so
    /// that the newest are the last.
    configured: Mutex<Configured>,
}

struct Configured {
    entries: Vec<PriceEntry>,
    revision: u64,
}

/// Where a price is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PriceOrigin {
    Configuration,
    Runtime,
    BuiltIn,
}

/// A price as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ListedPrice {
    #[serde(flatten)]
    pub(crate) entry: PriceEntry,
    pub(crate) origin: PriceOrigin,
    /// Whether it does not count, since the configuration says otherwise.
    pub(crate) shadowed: bool,
}

/// All prices, in the order in which they are looked through.
#[derive(Debug)]
pub(crate) struct PriceList {
    pub(crate) currency: String,
    /// The day on which the built-in ones were read.
    pub(crate) read: String,
    pub(crate) revision: u64,
    pub(crate) prices: Vec<ListedPrice>,
}

/// Why a price is not set.
#[derive(Debug)]
pub(crate) enum PriceRefusal {
    /// Another revision is in use than the one that was named.
    Stale(u64),
    /// The configuration has a price for this model.
    Configured,
    Unknown,
    TooMany,
    BadModel,
    /// Sums are in one currency.
    Currency(String),
    Bad(PriceError),
}

impl fmt::Display for PriceRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(revision) => {
                write!(f, "the prices have changed meanwhile: revision {revision} is in use")
            }
            Self::Configured => f.write_str("the configuration has a price for this model ([[prices]])"),
            Self::Unknown => f.write_str("no price was set for this model"),
            Self::TooMany => write!(f, "at most {MOST} prices can be set"),
            Self::BadModel => write!(
                f,
                "model must be a name of at most {LONGEST_MODEL} letters, digits and . _ - : / , with * and ? for others"
            ),
            Self::Currency(currency) => write!(f, "prices are in {currency} here: one currency for all"),
            Self::Bad(error) => error.fmt(f),
        }
    }
}

impl RuntimePrices {
    /// Puts what was kept to use, beside what the configuration says.
    pub(crate) fn new(
        kept: Arc<KeptPrices>,
        store: Store,
        accounts: Option<Accounts>,
        current: SharedSettings,
        entries: Vec<PriceEntry>,
    ) -> Arc<Self> {
        let configured = Mutex::new(Configured { entries, revision: 1 });
        let prices = Arc::new(Self { kept, store, accounts, current, configured });
        if !prices.kept.all().is_empty() {
            prices.put_to_use(&prices.lock());
        }
        prices
    }

    /// Puts to use what a store has that could be opened late only.
    pub(crate) async fn follow_store(self: Arc<Self>) {
        let mut loaded = self.kept.loaded();
        while loaded.changed().await.is_ok() {
            let mut configured = self.lock();
            configured.revision += 1;
            self.put_to_use(&configured);
        }
    }

    /// Returns what is to hold beside another configuration's prices, and the revision that it is made of. Nothing changes.
    pub(crate) fn plan(&self, entries: &[PriceEntry]) -> (Option<Prices>, u64) {
        let revision = self.lock().revision;
        (self.beside(entries), revision)
    }

    /// Hears that such a plan is put to use. Should a price have been set since, all is put to use once more.
    pub(crate) fn configured(&self, entries: &[PriceEntry], planned: u64) {
        let mut configured = self.lock();
        let is_stale = configured.revision != planned;
        if configured.entries != entries {
            configured.entries = entries.to_vec();
            configured.revision += 1;
        }
        if is_stale {
            self.put_to_use(&configured);
        }
    }

    /// Lists all prices.
    pub(crate) fn list(&self) -> Result<PriceList, PriceError> {
        let configured = self.lock();
        let table = PriceTable::built_in()?;
        let currency = currency_of(&configured.entries, &table);
        let of = |origin| move |entry: PriceEntry| ListedPrice { entry, origin, shadowed: false };
        let mut prices: Vec<ListedPrice> =
            configured.entries.iter().cloned().map(of(PriceOrigin::Configuration)).collect();
        prices.extend(self.set_at_runtime().into_iter().map(|entry| {
            let shadowed = !counts(&entry, &configured.entries, &currency);
            ListedPrice { entry, origin: PriceOrigin::Runtime, shadowed }
        }));
        let is_other = currency != table.currency;
        prices.extend(table.prices.into_iter().map(|entry| ListedPrice {
            shadowed: is_other,
            entry,
            origin: PriceOrigin::BuiltIn,
        }));
        Ok(PriceList { currency, read: table.read.to_string(), revision: configured.revision, prices })
    }

    /// Sets a price; the newest revision. It holds for requests that end from now on.
    pub(crate) async fn set(
        &self,
        mut entry: PriceEntry,
        known: Option<u64>,
    ) -> Result<Done<u64>, PriceRefusal> {
        let revision = {
            let mut configured = self.changeable(known)?;
            let table = PriceTable::built_in().map_err(PriceRefusal::Bad)?;
            let currency = currency_of(&configured.entries, &table);
            if !is_model(&entry.model) {
                return Err(PriceRefusal::BadModel);
            }
            if entry.currency.as_ref().is_some_and(|other| *other != currency) {
                return Err(PriceRefusal::Currency(currency));
            }
            entry.currency = Some(currency);
            Prices::new(std::slice::from_ref(&entry)).map_err(PriceRefusal::Bad)?;
            if configured.entries.iter().any(|other| other.model == entry.model) {
                return Err(PriceRefusal::Configured);
            }
            let all = self.kept.all();
            if all.len() >= MOST && !all.contains_key(&entry.model) {
                return Err(PriceRefusal::TooMany);
            }
            self.kept.put(entry);
            self.changed(&mut configured)
        };
        Ok(Done { result: revision, is_kept: self.store.flush(WRITTEN_WITHIN).await })
    }

    /// Forgets a price that was set; the newest revision.
    pub(crate) async fn forget(&self, model: &str, known: Option<u64>) -> Result<Done<u64>, PriceRefusal> {
        let revision = {
            let mut configured = self.changeable(known)?;
            if !self.kept.forget(model) {
                let is_configured = configured.entries.iter().any(|entry| entry.model == model);
                return Err(if is_configured { PriceRefusal::Configured } else { PriceRefusal::Unknown });
            }
            self.changed(&mut configured)
        };
        Ok(Done { result: revision, is_kept: self.store.flush(WRITTEN_WITHIN).await })
    }

    fn lock(&self) -> MutexGuard<'_, Configured> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changeable(&self, known: Option<u64>) -> Result<MutexGuard<'_, Configured>, PriceRefusal> {
        let configured = self.lock();
        match known {
            Some(known) if known != configured.revision => Err(PriceRefusal::Stale(configured.revision)),
            _ => Ok(configured),
        }
    }

    fn changed(&self, configured: &mut Configured) -> u64 {
        configured.revision += 1;
        self.put_to_use(configured);
        configured.revision
    }

    /// Returns the prices that were set, a whole name before a pattern, and a longer one before a shorter.
    fn set_at_runtime(&self) -> Vec<PriceEntry> {
        let mut entries: Vec<PriceEntry> = self.kept.all().into_values().collect();
        entries.sort_by_key(|entry| {
            let is_pattern = entry.model.contains(['*', '?']);
            (is_pattern, std::cmp::Reverse(entry.model.len()))
        });
        entries
    }

    /// Returns what holds beside these prices of a configuration.
    fn beside(&self, entries: &[PriceEntry]) -> Option<Prices> {
        let combined = PriceTable::built_in().and_then(|table| {
            let currency = currency_of(entries, &table);
            let mut set = self.set_at_runtime();
            set.retain(|entry| counts(entry, entries, &currency));
            Prices::new(&[entries, &set].concat())
        });
        // Each was looked at when it was set.
        combined
            .inspect_err(|error| log::error!(target: "service", "the prices cannot be used: {error}"))
            .ok()
    }

    fn put_to_use(&self, configured: &Configured) {
        let Some(prices) = self.beside(&configured.entries) else { return };
        if let Some(accounts) = &self.accounts {
            accounts.reprice(prices.clone());
        }
        self.current.rcu(|current| {
            let mut newer = (**current).clone();
            newer.prices = prices.clone();
            newer
        });
    }
}

/// The currency of all sums: that of the configuration's prices, else the built-in list's.
fn currency_of(configured: &[PriceEntry], table: &PriceTable) -> String {
    let named = configured.first().and_then(|entry| entry.currency.as_ref());
    named.unwrap_or(&table.currency).clone()
}

/// Whether a price that was set at runtime counts beside the configuration's.
fn counts(entry: &PriceEntry, configured: &[PriceEntry], currency: &str) -> bool {
    entry.currency.as_deref().is_none_or(|own| own == currency)
        && !configured.iter().any(|other| other.model == entry.model)
}

fn is_model(text: &str) -> bool {
    let is_part = |sign: char| sign.is_ascii_alphanumeric() || "._-:/*?".contains(sign);
    !text.is_empty() && text.len() <= LONGEST_MODEL && text.chars().all(is_part)
}
