//! An import as files: `config.toml` and a folder of secrets, one a file, in a new folder for its owner alone. Nothing that is
//! there is written over; a folder that cannot be finished is taken away again.

use super::{
    imported::{Import, ImportedSetting},
    toml_string::quoted,
};
use crate::printable::Printable;
use gemini_balance_actors::Secret;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

/// The folder of the secrets.
pub(crate) const SECRETS: &str = "secrets";
/// The file with the operator's token.
const OPERATOR: &str = "admin-token";

/// Where the secrets of a configuration stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretText {
    /// In files that it names.
    InFiles,
    /// In the text itself, which is then read and never written.
    InPlace,
}

impl Import {
    /// Lists the secrets, each with the name of its file. `operator` is the new token of the operator, if there is to be one.
    fn secrets<'a>(&'a self, operator: Option<&'a Secret>) -> impl Iterator<Item = (String, &'a Secret)> {
        let keys = self.keys.iter().enumerate().map(|(position, key)| (key_file(position), &key.secret));
        let tokens = self.tokens.iter().map(|token| (token_file(&token.name), &token.secret));
        keys.chain(tokens).chain(operator.map(|token| (OPERATOR.to_owned(), token)))
    }

    /// Writes the configuration.
    pub(crate) fn config_text(&self, operator: Option<&Secret>, secrets: SecretText) -> Secret {
        let mut text = String::from(
            "# Written by `gemini-balance import`. Start the gateway in this folder: the names of files are relative to it.\n",
        );
        for source in &self.sources {
            comment(&mut text, source);
        }
        let mut sections: BTreeMap<&str, Vec<&ImportedSetting>> = BTreeMap::new();
        for setting in &self.settings {
            let section = setting.setting.split_once('.').map_or("", |(section, _)| section);
            sections.entry(section).or_default().push(setting);
        }
        for (section, settings) in sections {
            let _ = writeln!(text, "\n[{section}]");
            for ImportedSetting { setting, value, origin, .. } in settings {
                let field = setting.split_once('.').map_or(*setting, |(_, field)| field);
                let _ = writeln!(text, "{field} = {value} # {}", Printable(origin));
            }
        }
        let secret = |field: &str, file: &str, secret: &Secret| match secrets {
            SecretText::InFiles => format!("{field}_file = {}", quoted(&format!("{SECRETS}/{file}"))),
            SecretText::InPlace => format!("{field} = {}", quoted(secret.expose())),
        };
        if let Some(token) = operator {
            let _ = writeln!(
                text,
                "\n[admin]\n{} # made new: `gemini-balance keys`",
                secret("token", OPERATOR, token)
            );
        }
        if !self.tokens.is_empty() {
            text.push_str("\n[auth]\ntokens = [\n");
            for token in &self.tokens {
                let entry = secret("secret", &token_file(&token.name), &token.secret);
                let _ = writeln!(
                    text,
                    "  {{ name = {}, {entry} }}, # {}",
                    quoted(&token.name),
                    Printable(&token.place)
                );
            }
            text.push_str("]\n");
        }
        for (position, key) in self.keys.iter().enumerate() {
            let _ = writeln!(text, "\n[[keys]] # {}", Printable(&key.place));
            if let Some(label) = &key.label {
                let _ = writeln!(text, "label = {}", quoted(label));
            }
            let _ = writeln!(text, "{}", secret("secret", &key_file(position), &key.secret));
            if key.weight != 1 {
                let _ = writeln!(text, "weight = {}", key.weight);
            }
            if !key.enabled {
                text.push_str("enabled = false\n");
            }
        }
        for limit in &self.limits {
            text.push_str("\n[[limits]]\n");
            if let Some(model) = &limit.model {
                let _ = writeln!(text, "model = {}", quoted(model));
            }
            for (name, figure) in [("rpm", limit.rpm), ("tpm", limit.tpm), ("rpd", limit.rpd)] {
                if let Some(figure) = figure {
                    let _ = writeln!(text, "{name} = {figure}");
                }
            }
        }
        for (title, notes) in [("To be looked at", &self.warnings), ("Not taken over", &self.left)] {
            if !notes.is_empty() {
                let _ = write!(text, "\n# {title}:\n");
                for note in notes {
                    comment(&mut text, note);
                }
            }
        }
        Secret::new(text)
    }
}

fn key_file(position: usize) -> String {
    format!("key-{:04}", position + 1)
}

fn token_file(name: &str) -> String {
    format!("token-{name}")
}

fn comment(text: &mut String, line: &str) {
    let _ = writeln!(text, "# {}", Printable(line));
}

/// Writes an import into a new folder.
pub(crate) fn write_folder(folder: &Path, import: &Import, operator: Option<&Secret>) -> io::Result<()> {
    let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
    make(folder)?;
    let write = || {
        let secrets = folder.join(SECRETS);
        make(&secrets)?;
        for (file, secret) in import.secrets(operator) {
            drop(create(&secrets.join(file), &format!("{}\n", secret.expose()))?);
        }
        // Last: without it the folder is no configuration.
        let text = import.config_text(operator, SecretText::InFiles);
        create(&folder.join("config.toml"), text.expose())?.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_dir_all(folder)))
}

fn create(path: &Path, text: &str) -> io::Result<fs::File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}
