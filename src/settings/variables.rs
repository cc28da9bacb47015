//! Environment variables as settings: the names of the original Python service, and names of our own. A variable has no
//! types, so what its text means is decided by the default of the setting that it is for: a text setting takes the text as it
//! stands, though it may look like a number or a list.

use super::{SettingsError, environment::Environment};
use figment::{
    Figment, Metadata, Profile, Provider,
    value::{Dict, Map, Num, Value},
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

/// Puts the variables over what there is: the original's first, then ours.
pub(super) fn merge_into(
    mut figment: Figment,
    defaults: &Figment,
    environment: &Environment,
) -> Result<Figment, SettingsError> {
    for (variable, setting) in ORIGINAL {
        let text = environment.text(variable)?;
        if !text.trim().is_empty() {
            let source = format!("the environment variable {variable}");
            figment = figment.merge(Variables { source, values: nested(setting, &text, defaults) });
        }
    }
    let mut ours: Vec<(String, std::ffi::OsString)> = environment
        .all()
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
pub(super) fn that_holds(setting: &str, environment: &Environment) -> String {
    let wanted = format!("{PREFIX}{}", setting.to_uppercase().replace('.', "__"));
    let reaches = |name: &str, other: &str| {
        name.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with("__"))
    };
    environment
        .all()
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
    let value = typed(setting, text, defaults);
    figment::util::nest(setting, value).into_dict().unwrap_or_default()
}

/// The fields of lists' entries that are text: entries have no defaults to tell.
const TEXTS: [&str; 7] = ["secret", "secret_file", "name", "label", "project", "model", "resources"];

/// The text as a value of the setting's type; as text where it can be none. `docker run --env-file` keeps the quotes
/// around a value, and no setting has any.
fn typed(setting: &str, text: &str, defaults: &Figment) -> Value {
    let bare = text.trim();
    let bare = ['"', '\'']
        .into_iter()
        .find_map(|quote| bare.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(bare);
    match defaults.find_value(setting).ok() {
        Some(Value::Bool(..)) => match bare.to_ascii_lowercase().as_str() {
            // As the original's library reads them.
            "true" | "1" | "yes" | "on" | "t" | "y" => Value::from(true),
            "false" | "0" | "no" | "off" | "f" | "n" => Value::from(false),
            _ => Value::from(bare),
        },
        Some(Value::Num(_, Num::F32(_) | Num::F64(_))) => {
            bare.parse::<f64>().map_or_else(|_| Value::from(bare), Value::from)
        }
        Some(Value::Num(..)) => number(bare),
        Some(Value::Array(..) | Value::Dict(..)) => listed(setting, bare, defaults),
        None if bare.starts_with(['[', '{']) => listed(setting, bare, defaults),
        _ => Value::from(bare),
    }
}

fn number(text: &str) -> Value {
    text.trim().parse::<u64>().map_or_else(|_| Value::from(text), Value::from)
}

/// A list or a section, written as in TOML, but that text needs no quotes.
fn listed(setting: &str, text: &str, defaults: &Figment) -> Value {
    match with_quotes(text).parse::<Value>() {
        Ok(value @ (Value::Array(..) | Value::Dict(..))) => retyped(setting, value, defaults),
        _ => Value::from(text),
    }
}

/// Gives each text in a list or a section the type of its own setting.
fn retyped(setting: &str, value: Value, defaults: &Figment) -> Value {
    match value {
        Value::String(_, text) => typed_entry(setting, text, defaults),
        Value::Array(tag, entries) => {
            Value::Array(tag, entries.into_iter().map(|entry| retyped(setting, entry, defaults)).collect())
        }
        Value::Dict(tag, fields) => {
            let field = |(name, value)| {
                let value = retyped(&format!("{setting}.{name}"), value, defaults);
                (name, value)
            };
            Value::Dict(tag, fields.into_iter().map(field).collect())
        }
        other => other,
    }
}

/// Text between quotes, or without any, in a list or a section.
fn typed_entry(setting: &str, text: String, defaults: &Figment) -> Value {
    let (parent, field) = setting.rsplit_once('.').unwrap_or(("", setting));
    match defaults.find_value(setting).ok() {
        Some(Value::Bool(..) | Value::Num(..)) => typed(setting, &text, defaults),
        // An entry of a list of texts, or of a table of names.
        Some(_) => Value::from(text),
        None if TEXTS.contains(&field) || matches!(defaults.find_value(parent), Ok(Value::Dict(..))) => {
            Value::from(text)
        }
        None => match text.parse::<Value>() {
            Ok(value @ (Value::Num(..) | Value::Bool(..))) => value,
            _ => Value::from(text),
        },
    }
}

/// Puts quotes around the values of a list or a section that have none, so that nothing is taken for a number or a switch
/// which is to be text.
fn with_quotes(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 16);
    let mut open: Vec<char> = Vec::new();
    let mut is_value = true;
    let mut rest = text;
    while let Some(sign) = rest.chars().next() {
        let mut taken = sign.len_utf8();
        match sign {
            '[' | '{' => {
                open.push(sign);
                is_value = sign == '[';
                quoted.push(sign);
            }
            ']' | '}' => {
                open.pop();
                is_value = false;
                quoted.push(sign);
            }
            ',' => {
                is_value = open.last() == Some(&'[');
                quoted.push(sign);
            }
            '=' if !is_value => {
                is_value = true;
                quoted.push(sign);
            }
            '"' => {
                taken = end_of_quote(rest);
                quoted.push_str(&rest[..taken]);
            }
            '\'' if is_value && rest[1..].contains('\'') => {
                let inside = rest[1..].split('\'').next().unwrap_or_default();
                taken = inside.len() + 2;
                put_in_quotes(inside, &mut quoted);
            }
            _ if is_value && !sign.is_whitespace() => {
                taken = rest.find([',', '[', ']', '{', '}']).unwrap_or(rest.len());
                put_in_quotes(rest[..taken].trim(), &mut quoted);
                is_value = false;
            }
            _ => quoted.push(sign),
        }
        rest = &rest[taken..];
    }
    quoted
}

/// Where the text in double quotes that `text` begins with ends.
fn end_of_quote(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, sign)| {
        let ends = *sign == '"' && !is_escaped;
        is_escaped = *sign == '\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

fn put_in_quotes(text: &str, quoted: &mut String) {
    quoted.push('"');
    for sign in text.chars() {
        if matches!(sign, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(sign);
    }
    quoted.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Figment {
        use figment::providers::{Format, Toml};
        let text = "[x]\ntext = ''\nnumber = 1\nswitch = false\nlist = []\nmap = {}\n";
        Figment::from(Toml::string(text))
    }

    fn of(setting: &str, text: &str) -> Value {
        typed(setting, text, &defaults())
    }

    #[test]
    fn a_text_setting_takes_the_text_whatever_it_looks_like() {
        for text in
            ["12345678", "007", "1e5", "true", "[a]", "{a=b}", "[::1]", "2024", "-1", "a,b", "0x10", "'"]
        {
            assert_eq!(of("x.text", text).into_string().as_deref(), Some(text));
        }
        for (text, taken) in [("\"12345678\"", "12345678"), ("'logs'", "logs"), (" x ", "x"), ("", "")] {
            assert_eq!(of("x.text", text).into_string().as_deref(), Some(taken));
        }
    }

    #[test]
    fn numbers_and_switches_are_what_the_setting_is() {
        for text in ["8000", " 8000 ", "\"8000\"", "'8000'"] {
            assert_eq!(of("x.number", text).to_u128(), Some(8000), "{text:?}");
        }
        for text in ["1.5", "many", "-1", ""] {
            assert_eq!(of("x.number", text).to_u128(), None, "{text:?}");
        }
        let switches = [
            ("true", true),
            ("True", true),
            ("1", true),
            ("YES", true),
            ("'on'", true),
            ("FALSE", false),
            ("0", false),
            ("off", false),
        ];
        for (text, is_on) in switches {
            assert_eq!(of("x.switch", text).to_bool(), Some(is_on), "{text:?}");
        }
        assert_eq!(of("x.switch", "maybe").to_bool(), None);
    }

    #[test]
    fn the_entries_of_a_list_are_text_whatever_they_look_like() {
        for (text, entries) in [
            ("[a, b]", &["a", "b"][..]),
            ("[\"a\", 'b']", &["a", "b"]),
            ("'[a,b]'", &["a", "b"]),
            ("[12345678, 007]", &["12345678", "007"]),
            ("[true, trueish]", &["true", "trueish"]),
            ("[1.5, 10.0.0.0/8, ::1]", &["1.5", "10.0.0.0/8", "::1"]),
            ("[\"a,b\", \"c\\\"]d\"]", &["a,b", "c\"]d"]),
            ("[]", &[]),
        ] {
            let list = of("x.list", text).into_array().unwrap_or_else(|| panic!("{text:?}"));
            let texts: Vec<_> = list.into_iter().filter_map(Value::into_string).collect();
            assert_eq!(texts, entries, "{text:?}");
        }
        for text in ["a", "[a", "[a]]", "5"] {
            assert!(of("x.list", text).into_array().is_none(), "{text:?}");
        }
        let keys = of("keys", "[{secret=0123, weight=3, label = true}, {secret=\"a=b\",project=p}]")
            .into_array()
            .unwrap();
        let field = |n: usize, name: &str| keys[n].as_dict().unwrap().get(name).cloned().unwrap();
        assert_eq!(field(0, "secret").into_string().as_deref(), Some("0123"));
        assert_eq!(field(0, "weight").to_u128(), Some(3));
        assert_eq!(field(0, "label").into_string().as_deref(), Some("true"));
        assert_eq!(field(1, "secret").into_string().as_deref(), Some("a=b"));
        let tokens = of("x.list", "[{name=7, secret=0123, rpm=3}]").into_array().unwrap();
        let fields = tokens[0].as_dict().unwrap();
        assert_eq!((fields["name"].as_str(), fields["secret"].as_str()), (Some("7"), Some("0123")));
        assert_eq!(fields["rpm"].to_u128(), Some(3));
        let section = of("x", "{text = 5, number = 5, switch = on}").into_dict().unwrap();
        assert_eq!(section["text"].as_str(), Some("5"));
        assert_eq!((section["number"].to_u128(), section["switch"].to_bool()), (Some(5), Some(true)));
        let map = of("x.map", "{\"gemini-3.7-pro\" = gemini-3.7-flash}").into_dict().unwrap();
        assert_eq!(map["gemini-3.7-pro"].as_str(), Some("gemini-3.7-flash"));
    }
}
