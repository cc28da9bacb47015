//! Every setting by its full name with the text of its value, whatever source it came from: what a reload compares, and what
//! people are shown. Keys, tokens and the certificate are not here: what they are is known once their files are read.

use figment::{
    Figment,
    value::{Dict, Num, Value},
};
use std::{collections::BTreeMap, fmt::Write as _};

/// Settings that are not compared as text.
const LEFT_OUT: [&str; 6] = ["keys", "auth", "admin.tls", "admin.token", "metrics.token", "server.tls"];

/// Sections whose names are people's own: each is one value.
const TABLES: [&str; 3] = ["formats.callers", "formats.models", "models.fallback"];

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EffectiveSettings(BTreeMap<String, String>);

impl EffectiveSettings {
    pub(super) fn of(figment: &Figment) -> Self {
        let mut settings = Self::default();
        settings.add(None, figment.extract::<Dict>().unwrap_or_default());
        settings
    }

    fn add(&mut self, section: Option<&str>, fields: Dict) {
        for (field, value) in fields {
            let name = section.map_or_else(|| field.clone(), |section| format!("{section}.{field}"));
            if LEFT_OUT.contains(&name.as_str()) {
                continue;
            }
            match value {
                Value::Dict(_, fields) if !TABLES.contains(&name.as_str()) => self.add(Some(&name), fields),
                value => {
                    self.0.insert(name, text_of(&value));
                }
            }
        }
    }

    /// Lists the settings with their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

/// Writes a value as in TOML, the same whichever source it came from.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, sign) => format!("{:?}", sign.to_string()),
        Value::Bool(_, is_on) => is_on.to_string(),
        Value::Num(_, number) => number_text(*number),
        Value::Empty(..) => String::new(),
        Value::Array(_, entries) => format!("[{}]", joined(entries.iter().map(text_of))),
        Value::Dict(_, fields) => {
            format!(
                "{{{}}}",
                joined(fields.iter().map(|(name, value)| format!("{name} = {}", text_of(value))))
            )
        }
    }
}

fn joined(texts: impl Iterator<Item = String>) -> String {
    let mut all = String::new();
    for (place, text) in texts.enumerate() {
        let _ = write!(all, "{}{text}", if place == 0 { "" } else { ", " });
    }
    all
}

fn number_text(number: Num) -> String {
    match (number.to_u128(), number.to_i128(), number.to_f64()) {
        (Some(number), ..) => number.to_string(),
        (_, Some(number), _) => number.to_string(),
        (.., Some(number)) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use figment::providers::{Format, Toml};

    fn settings(text: &str) -> EffectiveSettings {
        EffectiveSettings::of(&Figment::from(Toml::string(text)))
    }

    #[test]
    fn each_setting_stands_by_its_name_and_no_secret_among_them() {
        let text = "[a]\nn = 1\nx = 1.5\non = true\ns = 'x\"'\nlist = ['a', 'b']\n[a.b]\nn = 2\n[models.fallback]\n\"a.b\" = 'c'\n\
                    [[keys]]\nsecret = 'CANARY'\n[auth]\ntokens = [{ secret = 'CANARY' }]\n[admin]\ntoken = 'CANARY'\nport = 1\n";
        let found = settings(text);
        let expected = [
            ("a.b.n", "2"),
            ("a.list", r#"["a", "b"]"#),
            ("a.n", "1"),
            ("a.on", "true"),
            ("a.s", r#""x\"""#),
            ("a.x", "1.5"),
            ("admin.port", "1"),
            ("models.fallback", r#"{a.b = "c"}"#),
        ];
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_number_is_the_same_from_a_file_and_from_a_variable() {
        let of_variable = Figment::from(("a.n", 10_u64));
        assert_eq!(EffectiveSettings::of(&of_variable), settings("[a]\nn = 10\n"));
    }
}
