//! What other gateways have written down, read as keys, tokens, limits and settings of this one. Reading is pure and bounded:
//! documents and variables in, an [`Import`] out, which says what was taken, what was left and why. One file a source; what is
//! written of it is `written`. `command::import` reads the files, shows, asks and writes.

mod document;
mod gpt_load;
mod imported;
mod keys_text;
mod litellm;
mod mysql_dump;
mod sealed;
mod snailyp;
mod source;
#[cfg(test)]
mod tests;
mod toml_string;
mod written;

pub use document::{Document, Vendor};
pub use imported::{Import, ImportedKey, ImportedSetting, ImportedToken};
pub(crate) use written::{SECRETS, SecretText, write_folder};

use document::DocumentContent;
use source::Source;
use std::{collections::BTreeMap, fmt};

/// Why documents are not read: one line that shows nothing of what is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// What the person called it.
    document: String,
    why: String,
}

impl ImportError {
    pub(crate) fn new(document: &str, why: impl fmt::Display) -> Self {
        Self { document: document.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.document, self.why)
    }
}

impl std::error::Error for ImportError {}

/// The variables that documents refer to: those of `.env` files among them, then those of the environment.
struct NamedValues<'a> {
    of_documents: BTreeMap<String, String>,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl NamedValues<'_> {
    fn find(&self, name: &str) -> Option<String> {
        let found = self.of_documents.get(name).cloned().or_else(|| (self.environment)(name));
        found.filter(|value| !value.trim().is_empty())
    }
}

/// Reads documents that belong together. `vendor` is whose they are, where that was said; `environment` knows the variables
/// that the process was started with.
pub fn read(
    documents: &[Document],
    vendor: Option<Vendor>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Import, ImportError> {
    let mut import = Import::default();
    let mut sources: Vec<(&Document, Source)> = documents
        .iter()
        .map(|document| Ok((document, document.source(vendor)?)))
        .collect::<Result<_, ImportError>>()?;
    if sources.iter().any(|(_, source)| matches!(source, Source::LiteLlm | Source::GptLoadDatabase)) {
        for (document, source) in &mut sources {
            if *source == Source::Keys && document.is_called_env() {
                *source = Source::Variables;
            }
        }
    }
    let mut values = NamedValues { of_documents: BTreeMap::new(), environment };
    for (document, source) in &sources {
        import.note_source(document.name(), *source);
        if *source == Source::Variables {
            values.of_documents.extend(document.variables(environment)?);
        }
    }
    // The database goes before the file there.
    let mut settings = snailyp::Settings::default();
    for (document, source) in &sources {
        if *source == Source::SnailypVariables {
            settings.add(document.name(), document.variables(environment)?);
        }
    }
    for (document, source) in &sources {
        match (source, document.content()) {
            (Source::SnailypDatabase, DocumentContent::SnailypSettings(rows)) => {
                settings.add(document.name(), rows.iter().cloned());
            }
            (Source::SnailypDump, DocumentContent::Text(text)) => {
                settings.add(document.name(), snailyp::settings_in_dump(document.name(), text.expose())?);
            }
            _ => {}
        }
    }
    settings.take_into(&mut import)?;
    for (document, source) in &sources {
        match (source, document.content()) {
            (Source::GptLoadDatabase, DocumentContent::GptLoad(tables)) => {
                gpt_load::take_tables(document.name(), tables, &values, &mut import)?;
            }
            (Source::GptLoadKeys, DocumentContent::Text(text)) => {
                gpt_load::take_export(document.name(), text.expose(), &mut import)?;
            }
            (Source::LiteLlm, DocumentContent::Text(text)) => {
                litellm::take(document.name(), text.expose(), &values, &mut import)?;
            }
            (Source::Keys, DocumentContent::Text(text)) => {
                keys_text::take(document.name(), text.expose(), true, &mut import)?;
            }
            _ => {}
        }
    }
    Ok(import)
}
