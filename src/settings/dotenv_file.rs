//! `.env` in the working folder: read once, before anything else, into this process's own environment, where libraries
//! find what is theirs (`HTTPS_PROXY`, `SSL_CERT_FILE`) as well. What is set already stays.

use super::{
    SettingsError,
    dotenv::{self, Assignment},
    text_file::text_of,
};
use std::{fs, io, path::Path};

/// The file's name, in the working folder.
pub(super) const NAME: &str = ".env";

/// Reads the file, if there is one, into the environment.
pub(crate) fn read_dotenv() -> Result<(), SettingsError> {
    let bytes = match fs::read(Path::new(NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SettingsError::said(NAME, format!(" cannot be read: {error}"))),
    };
    let text = text_of(bytes).map_err(|why| SettingsError::said(NAME, format!(" cannot be read: {why}")))?;
    let assignments = dotenv::parse(&text, |name| std::env::var(name).ok())
        .map_err(|line| SettingsError::said(NAME, format!(": {line}")))?;
    // Only unsafe code may change the environment, since other threads might read it; there are none yet. dotenvy does so.
    dotenvy::from_read(spelt(&assignments).as_bytes())
        .map_err(|_| SettingsError::said(NAME, " cannot be taken into the environment"))
}

/// Spells assignments so that dotenvy's own grammar says the same. Names that it has no spelling for are names of nothing
/// that the gateway or its libraries would ask for.
fn spelt(assignments: &[Assignment]) -> String {
    let mut text = String::new();
    for Assignment { name, value } in assignments {
        let Some(value) = value else { continue };
        let is_name = name.starts_with(|sign: char| sign.is_ascii_alphabetic() || sign == '_')
            && name.chars().all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '.'));
        if !is_name || std::env::var_os(name).is_some() {
            continue;
        }
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
        let assignments: Vec<Assignment> = (0..)
            .zip(values)
            .map(|(n, value)| Assignment { name: format!("GB_SPELT_{n}"), value: Some(value.to_owned()) })
            .collect();
        let read: Vec<(String, String)> =
            dotenvy::Iter::new(spelt(&assignments).as_bytes()).collect::<Result<_, _>>().unwrap();
        let wanted: Vec<(String, String)> =
            assignments.into_iter().map(|a| (a.name, a.value.unwrap_or_default())).collect();
        assert_eq!(read, wanted);
    }
}
