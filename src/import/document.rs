//! A document that is to be imported: its name, what is in it, and which gateway has written it. Databases are read here, by way
//! of the store; everything else is text.

use super::{ImportError, gpt_load, mysql_dump, snailyp, source::Source};
use crate::settings::{parse_dotenv, text_of};
use gemini_balance_actors::Secret;
use gemini_balance_store::foreign::{ForeignDatabase, is_sqlite};
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The longest text that is read, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 256 * 1024 * 1024;

/// Whose documents can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vendor {
    /// snailyp's gemini-balance: its .env, its SQLite file or a dump of its MySQL database
    Snailyp,
    /// gpt-load: an export of a group's keys, or its SQLite file
    GptLoad,
    /// LiteLLM: its config.yaml
    #[value(name = "litellm")]
    #[serde(rename = "litellm")]
    LiteLlm,
    /// Any text that holds keys
    Keys,
}

/// What is in a document.
pub(super) enum DocumentContent {
    Text(Secret),
    /// The settings in a database of snailyp's: names and values.
    SnailypSettings(Vec<(String, String)>),
    /// The tables of a database of gpt-load's.
    GptLoad(gpt_load::Tables),
}

/// See the module.
pub struct Document {
    name: String,
    content: DocumentContent,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Document {
    /// Reads a file: a SQLite database or a text.
    pub fn of_file(path: &Path) -> Result<Self, ImportError> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let unreadable = |error: io::Error| ImportError::new(&path.display().to_string(), error);
        let mut file = File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.by_ref().take(16).read_to_end(&mut bytes).map_err(unreadable)?;
        if is_sqlite(&bytes) {
            let database = ForeignDatabase::open(path).map_err(|error| ImportError::new(&name, error))?;
            return Self::of_database(name, &database);
        }
        read_rest(&name, &mut file, &mut bytes)?;
        Self::of_bytes(name, bytes)
    }

    /// Reads a text from where it comes.
    pub fn of_reader(name: &str, reader: &mut impl Read) -> Result<Self, ImportError> {
        let mut bytes = Vec::new();
        read_rest(name, reader, &mut bytes)?;
        Self::of_bytes(name.to_owned(), bytes)
    }

    /// Takes a text, or a SQLite file.
    pub fn of_bytes(name: String, bytes: Vec<u8>) -> Result<Self, ImportError> {
        if is_sqlite(&bytes) {
            let database =
                ForeignDatabase::of_bytes(bytes).map_err(|error| ImportError::new(&name, error))?;
            return Self::of_database(name, &database);
        }
        let text = if mysql_dump::may_be_one(&bytes, snailyp::TABLE) {
            // Other tables of a dump may hold bytes of any kind.
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
        } else {
            text_of(bytes).map_err(|why| ImportError::new(&name, why))?
        };
        Ok(Self { name, content: DocumentContent::Text(Secret::new(text)) })
    }

    fn of_database(name: String, database: &ForeignDatabase) -> Result<Self, ImportError> {
        let refused = |error| ImportError::new(&name, error);
        let content = if database.has_table(snailyp::TABLE).map_err(refused)? {
            DocumentContent::SnailypSettings(snailyp::settings_in_database(database).map_err(refused)?)
        } else if gpt_load::Tables::are_in(database).map_err(refused)? {
            DocumentContent::GptLoad(gpt_load::Tables::read(database).map_err(refused)?)
        } else {
            let why = "is a database of neither snailyp's gemini-balance (t_settings) nor gpt-load (api_keys, groups)";
            return Err(ImportError::new(&name, why));
        };
        Ok(Self { name, content })
    }

    /// Returns what the person called it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn content(&self) -> &DocumentContent {
        &self.content
    }

    /// Tells what it is; whose it is may have been said.
    pub(super) fn source(&self, vendor: Option<Vendor>) -> Result<Source, ImportError> {
        let (text, found) = match &self.content {
            DocumentContent::SnailypSettings(_) => (None, Source::SnailypDatabase),
            DocumentContent::GptLoad(_) => (None, Source::GptLoadDatabase),
            DocumentContent::Text(text) => (Some(text.expose()), self.source_of_text(text.expose())),
        };
        let said = match (vendor, text) {
            (None, _) => found,
            (Some(Vendor::Snailyp), Some(_)) if found == Source::SnailypDump => found,
            (Some(Vendor::Snailyp), Some(_)) => Source::SnailypVariables,
            (Some(Vendor::GptLoad | Vendor::LiteLlm), Some(_)) if self.is_called_env() => Source::Variables,
            (Some(Vendor::GptLoad), Some(_)) => Source::GptLoadKeys,
            (Some(Vendor::LiteLlm), Some(_)) => Source::LiteLlm,
            (Some(Vendor::Keys), Some(_)) => Source::Keys,
            (Some(Vendor::Snailyp), None) if found == Source::SnailypDatabase => found,
            (Some(Vendor::GptLoad), None) if found == Source::GptLoadDatabase => found,
            (Some(_), None) => {
                let why = format!("is {}: leave --from out, or say whose it is", found.words());
                return Err(ImportError::new(&self.name, why));
            }
        };
        Ok(said)
    }

    fn source_of_text(&self, text: &str) -> Source {
        if mysql_dump::may_be_one(text.as_bytes(), snailyp::TABLE) {
            Source::SnailypDump
        } else if text.lines().any(|line| line.starts_with("model_list:")) {
            Source::LiteLlm
        } else if text.lines().any(snailyp::is_telling_line) {
            Source::SnailypVariables
        } else if gpt_load::is_export(&self.name) {
            Source::GptLoadKeys
        } else {
            Source::Keys
        }
    }

    /// Tells whether it has the name of a file of variables.
    pub(super) fn is_called_env(&self) -> bool {
        self.name.starts_with(".env") || Path::new(&self.name).extension().is_some_and(|end| end == "env")
    }

    /// Returns its variables as `.env` gives them.
    pub(super) fn variables(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<String, String>, ImportError> {
        let DocumentContent::Text(text) = &self.content else { return Ok(BTreeMap::new()) };
        let assignments =
            parse_dotenv(text.expose(), environment).map_err(|line| ImportError::new(&self.name, line))?;
        Ok(assignments.into_iter().filter_map(|one| Some((one.name, one.value?))).collect())
    }
}

fn read_rest(name: &str, reader: &mut impl Read, bytes: &mut Vec<u8>) -> Result<(), ImportError> {
    reader
        .take(MAX_TEXT_BYTES as u64 + 1)
        .read_to_end(bytes)
        .map_err(|error| ImportError::new(name, format!("cannot be read: {error}")))?;
    if bytes.len() > MAX_TEXT_BYTES {
        let why = format!("is longer than {} MiB; of a database dump t_settings alone", MAX_TEXT_BYTES >> 20);
        return Err(ImportError::new(name, why));
    }
    Ok(())
}
