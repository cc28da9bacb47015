//! Databases of other programs, from which an import reads: SQLite files, opened for reading alone, or their bytes. Knows no table by name; who
//! asks says which columns, and how many rows at most. Nothing beside the file is made or changed.

use std::{
    error, fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, types::ValueRef};

use super::{BUSY_TIMEOUT, sidecars};

/// What a SQLite file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Where its header says how it is written and read, by <https://www.sqlite.org/fileformat2.html#the_database_header>, and what
/// it says there when a log belongs to the file, or none.
const WRITE_VERSION: usize = 18;
const READ_VERSION: usize = 19;
const WITH_LOG: u8 = 2;
const WITHOUT_LOG: u8 = 1;
/// The most bytes of one value.
const MAX_VALUE_BYTES: usize = 8 * 1024 * 1024;

/// A row: the text of each column that was asked for, `None` where there is none.
pub type ForeignRow = Vec<Option<String>>;

/// A database of another program's.
#[derive(Debug)]
pub struct ForeignDatabase {
    connection: Connection,
}

/// Why it cannot be read. Shows nothing of what is in it.
#[derive(Debug)]
pub enum ForeignError {
    /// The file cannot be read.
    Io(io::Error),
    /// SQLite cannot make sense of it, or may not.
    Sqlite(rusqlite::Error),
    /// A table has more rows than are read: how many these are.
    TooManyRows(usize),
    /// A value is longer than any that is read.
    TooLong,
}

impl fmt::Display for ForeignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Sqlite(error) => write!(f, "SQLite cannot read it: {}", message_of(error)),
            Self::TooManyRows(most) => write!(f, "it has more than {most} rows"),
            Self::TooLong => write!(f, "it holds a value of more than {} MiB", MAX_VALUE_BYTES >> 20),
        }
    }
}

impl error::Error for ForeignError {}

impl From<rusqlite::Error> for ForeignError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Says what SQLite says, without the statement.
fn message_of(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => message.clone().unwrap_or_else(|| code.to_string()),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

/// Tells whether a file with this beginning is one of SQLite's.
pub fn is_sqlite(beginning: &[u8]) -> bool {
    beginning.starts_with(MAGIC)
}

impl ForeignDatabase {
    /// Opens a file for reading.
    pub fn open(path: &Path) -> Result<Self, ForeignError> {
        let path = std::path::absolute(path).map_err(ForeignError::Io)?;
        let mut header = [0; 20];
        File::open(&path).and_then(|mut file| file.read_exact(&mut header)).map_err(ForeignError::Io)?;
        let log = std::fs::metadata(sidecars::beside(&path, "-wal"));
        // Where no log is, all is in the file; and SQLite, which would begin one, is told that nothing changes.
        let is_whole = header[READ_VERSION] == WITH_LOG && log.map_or(0, |log| log.len()) == 0;
        let name = path.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(path.clone()))?;
        let address = format!("file:{}?{}", escaped(name), if is_whole { "immutable=1" } else { "mode=ro" });
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        Self::guarded(Connection::open_with_flags(address, flags)?)
    }

    /// Takes the bytes of a file, which is whole without a log.
    pub fn of_bytes(mut bytes: Vec<u8>) -> Result<Self, ForeignError> {
        let mut connection = Connection::open_in_memory()?;
        if bytes.get(READ_VERSION) == Some(&WITH_LOG) {
            // What is in memory has no place for a log.
            bytes[WRITE_VERSION] = WITHOUT_LOG;
            bytes[READ_VERSION] = WITHOUT_LOG;
        }
        connection.deserialize_read_exact("main", bytes.as_slice(), bytes.len(), true)?;
        Self::guarded(connection)
    }

    /// Trusts nothing that is in the database.
    fn guarded(connection: Connection) -> Result<Self, ForeignError> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        Ok(Self { connection })
    }

    /// Returns whether there is a table of this name. A view is none: what it takes to read one has no bound.
    pub fn has_table(&self, table: &str) -> Result<bool, ForeignError> {
        let query = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 AND sql LIKE 'CREATE TABLE%')";
        Ok(self.connection.query_row(query, [table], |row| row.get(0))?)
    }

    /// Returns the rows of a table in the order in which they were made. A column that the table does not have has no text.
    pub fn rows(&self, table: &str, columns: &[&str], most: usize) -> Result<Vec<ForeignRow>, ForeignError> {
        let mut statement = self.connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let there: Vec<String> = statement.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let wanted: Vec<String> = columns
            .iter()
            .map(
                |column| {
                    if there.iter().any(|name| name == column) { quoted(column) } else { "NULL".to_owned() }
                },
            )
            .collect();
        let limit = i64::try_from(most.saturating_add(1)).unwrap_or(i64::MAX);
        let query = format!("SELECT {} FROM {} LIMIT ?1", wanted.join(", "), quoted(table));
        let mut statement = self.connection.prepare(&query)?;
        let mut found = statement.query([limit])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            if rows.len() == most {
                return Err(ForeignError::TooManyRows(most));
            }
            let mut texts = Vec::with_capacity(columns.len());
            for column in 0..columns.len() {
                texts.push(text_of(row.get_ref(column)?)?);
            }
            rows.push(texts);
        }
        Ok(rows)
    }
}

fn text_of(value: ValueRef<'_>) -> Result<Option<String>, ForeignError> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number.to_string())),
        ValueRef::Real(number) => Ok(Some(number.to_string())),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) if bytes.len() > MAX_VALUE_BYTES => {
            Err(ForeignError::TooLong)
        }
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes a path as part of a URI.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}
