//! What snailyp's gemini-balance has in its `.env` and in the table of its database that overrules it: keys, tokens and the few
//! settings that have a counterpart here.

use super::{
    ImportError,
    imported::{Import, KeyDetails},
    mysql_dump,
    toml_string::quoted,
};
use crate::{counted::counted, settings::secret_entries};
use gemini_balance_store::foreign::{ForeignDatabase, ForeignError};
use std::collections::BTreeMap;

/// The table with the settings.
pub(super) const TABLE: &str = "t_settings";
/// Its columns, where a dump does not say them.
const COLUMNS: [&str; 6] = ["id", "key", "value", "description", "created_at", "updated_at"];
/// The most settings that are read.
const MAX_SETTINGS: usize = 10_000;

const KEYS: &str = "API_KEYS";
const TOKENS: &str = "ALLOWED_TOKENS";
/// Opens the pages of the operator there, and the API as well.
const OPERATOR: &str = "AUTH_TOKEN";
const VERTEX_KEYS: &str = "VERTEX_API_KEYS";
const PROXIES: &str = "PROXIES";
const BASE_URL: &str = "BASE_URL";
const LOG_LEVEL: &str = "LOG_LEVEL";
/// Whole numbers, what they set here, and what it is there.
const NUMBERS: [(&str, &str); 3] = [
    ("MAX_FAILURES", "pool.failure_threshold"),
    ("MAX_RETRIES", "retry.max_attempts"),
    ("TIME_OUT", "upstream.head_timeout_s"),
];

/// Tells whether a line is one that no other gateway's `.env` has.
pub(super) fn is_telling_line(line: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let name = line.split_once('=').map_or("", |(name, _)| name.trim_end());
    [KEYS, TOKENS, VERTEX_KEYS].contains(&name)
}

/// Reads the settings of the database.
pub(super) fn settings_in_database(
    database: &ForeignDatabase,
) -> Result<Vec<(String, String)>, ForeignError> {
    let rows = database.rows(TABLE, &["key", "value"], MAX_SETTINGS)?;
    let pair = |mut row: Vec<Option<String>>| Some((row.first_mut()?.take()?, row.get_mut(1)?.take()?));
    Ok(rows.into_iter().filter_map(pair).collect())
}

/// Reads the settings out of a dump.
pub(super) fn settings_in_dump(document: &str, text: &str) -> Result<Vec<(String, String)>, ImportError> {
    let rows = mysql_dump::rows(text, TABLE, ["key", "value"], &COLUMNS, MAX_SETTINGS);
    let rows = rows.map_err(|error| ImportError::new(document, format!("{TABLE}: {error}")))?;
    Ok(rows.into_iter().filter_map(|[name, value]| Some((name?, value?))).collect())
}

/// All settings, each with the document that says it last.
#[derive(Default)]
pub(super) struct Settings(BTreeMap<String, (String, String)>);

impl Settings {
    /// Puts a document's settings over what there is.
    pub(super) fn add(&mut self, document: &str, settings: impl IntoIterator<Item = (String, String)>) {
        self.0.extend(settings.into_iter().map(|(name, value)| (name, (value, document.to_owned()))));
    }

    /// Removes a setting; its value and its place, if it has one.
    fn take(&mut self, name: &str) -> Option<(String, String)> {
        let (value, document) = self.0.remove(name)?;
        (!value.trim().is_empty()).then(|| (value, format!("{name} in {document}")))
    }

    /// Takes over what has a counterpart, and says what has none.
    pub(super) fn take_into(mut self, import: &mut Import) -> Result<(), ImportError> {
        if let Some((list, place)) = self.take(KEYS) {
            for (position, key) in strings(&list) {
                import.add_key(format!("entry {position} of {place}"), &key, KeyDetails::default())?;
            }
        }
        if let Some((list, place)) = self.take(TOKENS) {
            for (position, token) in strings(&list) {
                import.add_token(format!("entry {position} of {place}"), &token)?;
            }
        }
        if let Some((token, place)) = self.take(OPERATOR) {
            import.has_operator = true;
            for (_, token) in strings(&token) {
                import.add_operators_token(place.clone(), &token)?;
            }
        }
        if let Some((list, place)) = self.take(VERTEX_KEYS) {
            let count = strings(&list).len();
            if count > 0 {
                import
                    .leave(format!("{place}: {} of Vertex, which is not served yet", counted(count, "key")));
            }
        }
        for (name, setting) in NUMBERS {
            if let Some((number, place)) = self.take(name) {
                match number.trim().parse::<u32>() {
                    Ok(number) if number > 0 => import.set(setting, number.to_string(), place),
                    _ => import.leave(format!(
                        "{place}: is not a whole number of at least 1, which {setting} must be"
                    )),
                }
            }
        }
        self.take_base_url(import);
        self.take_proxy(import);
        self.take_log_level(import);
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, (_, document)) in &self.0 {
            names.entry(document).or_default().push(name);
        }
        for (document, names) in names {
            import.leave_names(document, names.into_iter());
        }
        Ok(())
    }

    fn take_base_url(&mut self, import: &mut Import) {
        let Some((value, place)) = self.take(BASE_URL) else { return };
        let Some((_, url)) = strings(&value).into_iter().next() else { return };
        let url = url.trim_end_matches('/');
        let url = ["/v1beta", "/v1alpha", "/v1"]
            .iter()
            .find_map(|version| url.strip_suffix(version))
            .unwrap_or(url);
        import.set_base_url(url, place);
    }

    fn take_proxy(&mut self, import: &mut Import) {
        let Some((value, place)) = self.take(PROXIES) else { return };
        let proxies = strings(&value);
        if let Some((position, first)) = proxies.first() {
            import.set_proxy(first, format!("entry {position} of {place}"));
        }
        if let Some(more) = proxies.len().checked_sub(1).filter(|more| *more > 0) {
            import.leave(format!("{place}: {more} more, since one proxy is used for all keys"));
        }
    }

    fn take_log_level(&mut self, import: &mut Import) {
        const LEVELS: [(&str, &str); 8] = [
            ("trace", "trace"),
            ("debug", "debug"),
            ("info", "info"),
            ("warn", "warn"),
            ("warning", "warn"),
            ("error", "error"),
            ("critical", "error"),
            ("fatal", "error"),
        ];
        let Some((value, place)) = self.take(LOG_LEVEL) else { return };
        let value = value.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
        match LEVELS.iter().find(|(name, _)| *name == value) {
            Some((_, "info")) => {}
            Some((_, level)) => import.set("log.level", quoted(level), place),
            None => import.leave(format!("{place}: is no level that is known here")),
        }
    }
}

/// Reads a list with the places of its entries: JSON, or what people write for it.
fn strings(value: &str) -> Vec<(usize, String)> {
    match serde_json::from_str::<serde_json::Value>(value) {
        Ok(serde_json::Value::Array(entries)) => {
            let text = |entry: serde_json::Value| match entry {
                serde_json::Value::String(text) => {
                    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
                }
                _ => None,
            };
            (1..).zip(entries).filter_map(|(position, entry)| Some((position, text(entry)?))).collect()
        }
        _ => secret_entries(value).map(|entry| (entry.place, entry.text.to_owned())).collect(),
    }
}
