//! Environment variables as settings: the names of the original Python service, and names of our own. A variable has no
//! types, so what its text means is decided by the default of the setting that it is for: a text setting takes the text as it
//! stands, though it may look like a number or a list.

use super::SettingsError;
use figment::{
    Figment, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

/// The original's variables, and what they set here.
const ORIGINAL: &[(&str, &str)] = &[
    ("GEMINI_API_BASE_URL", "upstream.gemini_base_url"),
    ("OPENAI_API_BASE_URL", "upstream.openai_base_url"),
    ("LOG_LEVEL", "log.level"),
    ("DEBUG_LOG_ENABLED", "log.debug_enabled"),
    ("DEBUG_LOG_FILE", "log.debug_file"),
    ("API_KEY_COOL_DOWN_SECONDS", "pool.cooldown_initial_s"),
    ("API_KEY_FAILURE_THRESHOLD", "pool.failure_threshold"),
    ("MAX_COOL_DOWN_SECONDS", "pool.cooldown_max_s"),
    ("RATE_LIMIT_DEFAULT_WAIT_SECONDS", "pool.rate_limit_wait_s"),
];

/// What begins the names of our own variables.
const PREFIX: &str = "GEMINI_BALANCE__";

/// The name of the source that is our own variables.
pub(super) const OURS: &str = "variables of our own";

/// Returns a variable's text; empty when it is not set.
pub(super) fn variable_text(name: &str) -> Result<String, SettingsError> {
    match std::env::var(name) {
        Ok(text) => Ok(text),
        Err(std::env::VarError::NotPresent) => Ok(String::new()),
        Err(std::env::VarError::NotUnicode(_)) => Err(SettingsError::refused(name, "is not UTF-8")),
    }
}

/// Puts the variables over what there is: the original's first, then ours.
pub(super) fn merge_into(mut figment: Figment, defaults: &Figment) -> Result<Figment, SettingsError> {
    for (variable, setting) in ORIGINAL {
        let text = variable_text(variable)?;
        if !text.trim().is_empty() {
            let source = format!("the environment variable {variable}");
            figment = figment.merge(Variables { source, values: nested(setting, &text, defaults) });
        }
    }
    let mut ours: Vec<(String, std::ffi::OsString)> = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text)))
        .filter(|(name, _)| name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)))
        .collect();
    ours.sort(); // A section goes before what is in it.
    for (name, text) in ours {
        let text = text.into_string().map_err(|_| SettingsError::refused(&name, "is not UTF-8"))?;
        let setting = name[PREFIX.len()..].to_lowercase().replace("__", ".");
        figment =
            figment.merge(Variables { source: OURS.to_owned(), values: nested(&setting, &text, defaults) });
    }
    Ok(figment)
}

/// Returns the variable of ours that holds `setting`, or the part of it that is set, or parts of what it holds.
pub(super) fn that_holds(setting: &str) -> String {
    let wanted = format!("{PREFIX}{}", setting.to_uppercase().replace('.', "__"));
    let reaches = |name: &str, other: &str| {
        name.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with("__"))
    };
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .find(|name| {
            let name = name.to_uppercase();
            name.starts_with(PREFIX) && (reaches(&name, &wanted) || reaches(&wanted, &name))
        })
        .unwrap_or(wanted)
}

/// Values from one or more variables.
struct Variables {
    source: String,
    values: Dict,
}

impl Provider for Variables {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The text as the value of `setting`, in the sections that this is in.
fn nested(setting: &str, text: &str, defaults: &Figment) -> Dict {
    let value = typed(text, defaults.find_value(setting).ok().as_ref());
    figment::util::nest(setting, value).into_dict().unwrap_or_default()
}

/// The text as a value of the default's type; as text where it can be none. `docker run --env-file` keeps the quotes
/// around a value, and no setting has any.
fn typed(text: &str, default: Option<&Value>) -> Value {
    let bare = text.trim();
    let bare = ['"', '\'']
        .into_iter()
        .find_map(|quote| bare.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(bare);
    match default {
        Some(Value::Bool(..)) => match bare.to_ascii_lowercase().as_str() {
            // As the original's library reads them.
            "true" | "1" | "yes" | "on" | "t" | "y" => Value::from(true),
            "false" | "0" | "no" | "off" | "f" | "n" => Value::from(false),
            _ => Value::from(bare),
        },
        Some(Value::Num(..)) => bare.trim().parse::<u64>().map_or_else(|_| Value::from(bare), Value::from),
        Some(Value::Array(..) | Value::Dict(..)) => listed(bare),
        None if bare.starts_with(['[', '{']) => listed(bare),
        _ => Value::from(bare),
    }
}

/// A list or a section, written as in TOML.
fn listed(text: &str) -> Value {
    match text.parse::<Value>() {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, default: impl Into<Value>) -> Value {
        typed(text, Some(&default.into()))
    }

    #[test]
    fn a_text_setting_takes_the_text_whatever_it_looks_like() {
        for text in
            ["12345678", "007", "1e5", "true", "[a]", "{a=b}", "[::1]", "2024", "-1", "a,b", "0x10", "'"]
        {
            assert_eq!(of(text, "").into_string().as_deref(), Some(text));
        }
        for (text, taken) in [("\"12345678\"", "12345678"), ("'logs'", "logs"), (" x ", "x"), ("", "")] {
            assert_eq!(of(text, "").into_string().as_deref(), Some(taken));
        }
    }

    #[test]
    fn numbers_and_switches_and_lists_are_what_the_setting_is() {
        for text in ["8000", " 8000 ", "\"8000\"", "'8000'"] {
            assert_eq!(of(text, 0_u64).to_u128(), Some(8000), "{text:?}");
        }
        for text in ["1.5", "many", "-1", ""] {
            assert_eq!(of(text, 0_u64).to_u128(), None, "{text:?}");
        }
        for (text, is_on) in [
            ("true", true),
            ("True", true),
            ("1", true),
            ("YES", true),
            ("'on'", true),
            ("FALSE", false),
            ("0", false),
            ("off", false),
        ] {
            assert_eq!(of(text, false).to_bool(), Some(is_on), "{text:?}");
        }
        assert_eq!(of("maybe", false).to_bool(), None);
        for text in ["[a, b]", "[\"a\", \"b\"]", "'[a,b]'"] {
            let list = of(text, Vec::<String>::new()).into_array().unwrap();
            let texts: Vec<_> = list.into_iter().filter_map(Value::into_string).collect();
            assert_eq!(texts, ["a", "b"], "{text:?}");
        }
        assert!(typed("[{secret=\"x\"}]", None).into_array().is_some());
    }
}
