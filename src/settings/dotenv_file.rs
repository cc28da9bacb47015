//! `.env` in the working folder: what variables it holds, and at the start of the process how they come into its own
//! environment, where libraries find what is theirs (`HTTPS_PROXY`, `SSL_CERT_FILE`). What goes before it is said in
//! `environment`.

use super::{
    SettingsError,
    dotenv::{self, Assignment},
    text_file::text_of,
};
use std::{collections::BTreeMap, fs, io, path::Path};

/// The file's name, in the working folder.
pub(super) const NAME: &str = ".env";

/// Reads the file in the folder, if there is one: its variables, as far as anything would ask for their names. `given` knows
/// the variables that the process was started with.
pub(super) fn read(
    folder: &Path,
    given: impl Fn(&str) -> Option<String>,
) -> Result<Option<BTreeMap<String, String>>, SettingsError> {
    let bytes = match fs::read(folder.join(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SettingsError::said(NAME, format!(" cannot be read: {error}"))),
    };
    let text = text_of(bytes).map_err(|why| SettingsError::said(NAME, format!(" cannot be read: {why}")))?;
    variables_of(&text, given).map(Some)
}

/// Reads what a file's text assigns, as far as anything would ask for the names.
pub fn variables_of(
    text: &str,
    given: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, SettingsError> {
    let assignments =
        dotenv::parse(text, given).map_err(|line| SettingsError::said(NAME, format!(": {line}")))?;
    let asked_for = assignments.into_iter().filter(|assignment| is_name(&assignment.name));
    Ok(asked_for.filter_map(|Assignment { name, value }| Some((name, value?))).collect())
}

/// Takes variables over into the process's environment.
pub(super) fn export(variables: &BTreeMap<String, String>) -> Result<(), SettingsError> {
    // Only unsafe code may change the environment, since other threads might read it; there are none yet. dotenvy does so.
    dotenvy::from_read(spelt(variables).as_bytes())
        .map_err(|_| SettingsError::said(NAME, " cannot be taken into the environment"))
}

/// Whether dotenvy has a spelling for a name. The others are names of nothing that the gateway or its libraries would ask
/// for.
fn is_name(name: &str) -> bool {
    name.starts_with(|sign: char| sign.is_ascii_alphabetic() || sign == '_')
        && name.chars().all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '.'))
}

/// Spells variables so that dotenvy's own grammar says the same.
pub fn spelt(variables: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        text.push_str(name);
        text.push_str("=\"");
        for sign in value.chars() {
            match sign {
                '\n' => text.push_str("\\n"),
                '\\' | '"' | '$' => text.extend(['\\', sign]),
                _ => text.push(sign),
            }
        }
        text.push_str("\"\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotenvy_reads_back_every_value() {
        let values = [
            "",
            "plain",
            "a b",
            " a ",
            "it's",
            "\"",
            "\\",
            "\\n",
            "a\nb\n",
            "$A ${B}",
            "#c",
            "a # b",
            "\t",
            "\r",
            "a\r\nb",
            "é🦀",
            "export A=b",
            "'a' \"b\" \\\" $",
            "[\"k-1\", \"k-2\"]",
        ];
        let variables: BTreeMap<String, String> =
            (10..).zip(values).map(|(n, value)| (format!("GB_SPELT_{n}"), value.to_owned())).collect();
        let read: BTreeMap<String, String> =
            dotenvy::Iter::new(spelt(&variables).as_bytes()).collect::<Result<_, _>>().unwrap();
        assert_eq!(read, variables);
    }
}
