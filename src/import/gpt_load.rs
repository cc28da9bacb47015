//! What gpt-load has: its database of groups and keys, and the texts into which it exports a group's keys. Groups of other
//! vendors' keys are left.

use super::{
    ImportError, NamedValues,
    imported::{Import, KeyDetails},
    keys_text,
    sealed::{SealKey, looks_sealed},
};
use crate::{counted::counted, settings::secret_entries};
use gemini::pasted::MAX_PASTED_KEYS;
use gemini_balance_actors::Secret;
use gemini_balance_store::foreign::{ForeignDatabase, ForeignError, ForeignRow};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const KEYS: &str = "api_keys";
const GROUPS: &str = "groups";
const SETTINGS: &str = "system_settings";
/// The vendor whose keys are taken.
const GEMINI: &str = "gemini";
/// The state of a key that the vendor has refused.
const INVALID: &str = "invalid";
/// Under which variable sealed keys are opened.
const ENCRYPTION_KEY: &str = "ENCRYPTION_KEY";
/// The most groups and settings.
const MAX_GROUPS: usize = 10_000;

/// The tables, as they stand there.
#[derive(Default)]
pub(super) struct Tables {
    /// `id`, `name`, `channel_type`, `upstreams`, `proxy_keys`.
    pub(super) groups: Vec<ForeignRow>,
    /// `group_id`, `key_value`, `status`, `notes`.
    pub(super) keys: Vec<ForeignRow>,
    /// `setting_key`, `setting_value`.
    pub(super) settings: Vec<ForeignRow>,
}

impl Tables {
    /// Tells whether a database has them.
    pub(super) fn are_in(database: &ForeignDatabase) -> Result<bool, ForeignError> {
        Ok(database.has_table(KEYS)? && database.has_table(GROUPS)?)
    }

    /// Reads the tables that are of use.
    pub(super) fn read(database: &ForeignDatabase) -> Result<Self, ForeignError> {
        Ok(Self {
            groups: database.rows(
                GROUPS,
                &["id", "name", "channel_type", "upstreams", "proxy_keys"],
                MAX_GROUPS,
            )?,
            // Keys of other vendors among them.
            keys: database.rows(KEYS, &["group_id", "key_value", "status", "notes"], 10 * MAX_PASTED_KEYS)?,
            settings: if database.has_table(SETTINGS)? {
                database.rows(SETTINGS, &["setting_key", "setting_value"], MAX_GROUPS)?
            } else {
                Vec::new()
            },
        })
    }
}

fn column(row: &ForeignRow, at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

/// Takes the keys of Gemini's groups, and the tokens of their clients.
pub(super) fn take_tables(
    document: &str,
    tables: &Tables,
    values: &NamedValues<'_>,
    import: &mut Import,
) -> Result<(), ImportError> {
    let (taken, others): (Vec<&ForeignRow>, Vec<&ForeignRow>) =
        tables.groups.iter().partition(|group| column(group, 2) == GEMINI);
    let names: HashMap<&str, &str> = taken.iter().map(|group| (column(group, 0), column(group, 1))).collect();
    let mut seal = Seal { document, values, key: None, unopened: 0, opened: 0 };
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    let mut disabled = 0;
    for (position, row) in (1..).zip(&tables.keys) {
        let Some(group) = names.get(column(row, 0)) else {
            *left.entry(column(row, 0)).or_default() += 1;
            continue;
        };
        let place = format!("key {position} of {document} (group {group})");
        let Some(key) = seal.open(column(row, 1))? else {
            import.leave(format!("{place}: sealed under another {ENCRYPTION_KEY}"));
            continue;
        };
        let enabled = column(row, 2) != INVALID;
        disabled += usize::from(!enabled);
        let label = Some(column(row, 3)).filter(|notes| !notes.trim().is_empty());
        import.add_key(place, key.expose().trim(), KeyDetails { label, enabled, ..KeyDetails::default() })?;
    }
    seal.finish()?;
    if disabled > 0 {
        let (keys, are) = (counted(disabled, "key"), if disabled == 1 { "is" } else { "are" });
        import.warn(format!("{document}: {keys} {are} invalid there, and disabled here"));
    }
    for group in others {
        let count = left.remove(column(group, 0)).unwrap_or_default();
        let (name, vendor) = (column(group, 1), column(group, 2));
        import.leave(format!(
            "{document}: group {name} with {}, {vendor}'s and not Gemini's",
            counted(count, "key")
        ));
    }
    let orphans: usize = left.values().sum();
    if orphans > 0 {
        import.leave(format!("{document}: {} of no group", counted(orphans, "key")));
    }
    for group in &taken {
        let place = format!("the proxy keys of group {} in {document}", column(group, 1));
        take_tokens(&place, column(group, 4), import)?;
    }
    for setting in tables.settings.iter().filter(|setting| column(setting, 0) == "proxy_keys") {
        take_tokens(&format!("proxy_keys in {document}"), column(setting, 1), import)?;
    }
    take_upstream(document, &taken, import);
    Ok(())
}

fn take_tokens(place: &str, list: &str, import: &mut Import) -> Result<(), ImportError> {
    for entry in secret_entries(list) {
        import.add_token(format!("entry {} of {place}", entry.place), entry.text)?;
    }
    Ok(())
}

/// Takes over where the groups send requests, if that is one place, and not Google's own.
fn take_upstream(document: &str, groups: &[&ForeignRow], import: &mut Import) {
    let mut urls = BTreeSet::new();
    for group in groups {
        let upstreams: serde_json::Value = serde_json::from_str(column(group, 3)).unwrap_or_default();
        let found =
            upstreams.as_array().into_iter().flatten().filter_map(|upstream| upstream["url"].as_str());
        urls.extend(found.map(|url| url.trim().trim_end_matches('/').to_owned()));
    }
    let place = format!("upstreams in {document}");
    match (urls.pop_first(), urls.len()) {
        (Some(url), 0) => import.set_base_url(&url, place),
        (Some(_), more) => {
            import.leave(format!("{place}: {} addresses, since all keys are sent to one", more + 1));
        }
        (None, _) => {}
    }
}

/// Opens what is sealed; derives the key when it first needs it.
struct Seal<'a> {
    document: &'a str,
    values: &'a NamedValues<'a>,
    key: Option<SealKey>,
    unopened: usize,
    opened: usize,
}

impl Seal<'_> {
    /// Returns the key itself; `None` where it cannot be opened.
    fn open(&mut self, text: &str) -> Result<Option<Secret>, ImportError> {
        if !looks_sealed(text) {
            return Ok(Some(Secret::new(text)));
        }
        if self.key.is_none() {
            let why =
                "its keys are sealed: set ENCRYPTION_KEY as it is for gpt-load, or name its .env as well";
            let refused = || ImportError::new(self.document, why);
            let password = self.values.find(ENCRYPTION_KEY).ok_or_else(refused)?;
            self.key = SealKey::derive(&password);
        }
        let opened = self.key.as_ref().and_then(|key| key.open(text));
        let count = if opened.is_some() { &mut self.opened } else { &mut self.unopened };
        *count += 1;
        Ok(opened)
    }

    /// Refuses a variable that opens nothing.
    fn finish(&self) -> Result<(), ImportError> {
        if self.unopened > 0 && self.opened == 0 {
            return Err(ImportError::new(
                self.document,
                "ENCRYPTION_KEY opens none of its keys: it is another one",
            ));
        }
        Ok(())
    }
}

/// The states whose keys an export's name says that it holds.
const EXPORTED: [&str; 3] = ["all", "active", INVALID];

/// Tells whether a file has the name of an export: `keys-GROUP-all.txt`.
pub(super) fn is_export(name: &str) -> bool {
    state_in(name).is_some()
}

fn state_in(name: &str) -> Option<&str> {
    let (group, state) = name.strip_prefix("keys-")?.strip_suffix(".txt")?.rsplit_once('-')?;
    (!group.is_empty() && EXPORTED.contains(&state)).then_some(state)
}

/// Takes the keys of an export.
pub(super) fn take_export(document: &str, text: &str, import: &mut Import) -> Result<(), ImportError> {
    let enabled = state_in(document) != Some(INVALID);
    if !enabled {
        import.warn(format!("{document}: its keys are invalid there, and disabled here"));
    }
    keys_text::take(document, text, enabled, import)
}
