//! The usage book in a SQLite file of its own, which may be deleted alone. How a file is opened, examined and set aside is
//! shared with the store's; what is damaged inside a row counts as not there.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    path::Path,
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use usage::{Cell, Days, Family, Labels, NONE, OTHER, Query, Report, StepSize, Sums, fold};

use super::{
    failed, integrity,
    open_file::OpenFile,
    opening::{self, Layout},
};
use crate::{
    Opened, StoreError,
    usage_book::{
        BookAnswer, BookError, BookOverview, FoldReport, JournalRow, Pruned, Retention, UsageBook,
        refuse_too_much,
    },
};

/// The schema, as the list of steps that lead to it. A step that was released is never edited.
const STEPS: &[&str] = &[
    // 1. `usage` has the truth; `part` is the step of time and the family of the labels in one (see `part`), so that a
    // question reads the rows of its own families only. 0 stands for a label that is not told. Ids are never used again,
    // so that a reader's are right whatever is removed meanwhile.
    "CREATE TABLE meta (
        name TEXT NOT NULL PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE row_counts (usage_rows INTEGER NOT NULL) STRICT;
    INSERT INTO row_counts VALUES (0);
    CREATE TABLE names (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind INTEGER NOT NULL,
        text TEXT NOT NULL,
        UNIQUE (kind, text)
    ) STRICT;
    CREATE TABLE cells (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        caller INTEGER NOT NULL,
        key INTEGER NOT NULL,
        project INTEGER NOT NULL,
        model INTEGER NOT NULL,
        UNIQUE (caller, key, project, model)
    ) STRICT;
    CREATE TABLE usage (
        part INTEGER NOT NULL,
        at INTEGER NOT NULL,
        cell INTEGER NOT NULL,
        counters BLOB NOT NULL,
        PRIMARY KEY (part, at, cell)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE journal (
        node TEXT NOT NULL,
        seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (node, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE folded (
        node TEXT NOT NULL PRIMARY KEY,
        seq INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;",
];

const LAYOUT: Layout = Layout {
    steps: STEPS,
    first: "PRAGMA auto_vacuum = INCREMENTAL",
    check: |path, connection| {
        integrity::check_parts(path, connection, &["meta", "names", "cells", "journal", "folded"])
    },
    straighten: |_| Ok(()),
    repair: |_, _| Ok(None),
};

/// What a former node has folded is forgotten after so many seconds: nobody repeats a write that long.
const FORGET_NODES_AFTER: i64 = 7 * 86_400;

const READ_ID: &str = "SELECT value FROM meta WHERE name = 'id'";

/// The kinds of names.
const CALLER: i64 = 1;
const KEY: i64 = 2;
const PROJECT: i64 = 3;
const MODEL: i64 = 4;

/// The step of time and the family in one number.
fn part(step: StepSize, family: Family) -> i64 {
    step as i64 * 8 + family as i64
}

/// A usage book in a SQLite file.
pub struct UsageFile {
    file: OpenFile,
}

impl UsageFile {
    /// Opens the file, and makes it where there is none, as [`Sqlite::open`](crate::Sqlite::open) does.
    pub fn open(path: &Path) -> Result<Opened<Self>, StoreError> {
        let mut opened = opening::open(path, &LAYOUT)?.map(|file| Self { file });
        opened.store.be_named()?;
        Ok(opened)
    }

    /// Sees to it that the book has an id.
    fn be_named(&mut self) -> Result<(), StoreError> {
        let named = self.file.connection.query_row(READ_ID, [], |_| Ok(())).optional();
        if named.map_err(|error| self.failed(&error))?.is_some() {
            return Ok(());
        }
        self.write(|transaction| {
            // Another process may have done it meanwhile.
            let sql =
                "INSERT INTO meta VALUES ('id', lower(hex(randomblob(8)))) ON CONFLICT (name) DO NOTHING";
            transaction.execute(sql, []).map(drop)
        })
    }

    /// What an error means to the caller. After damage the next opening looks more closely.
    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        let error = failed(&self.file.path, error);
        if matches!(error, StoreError::Damaged { .. }) {
            integrity::suspect(&self.file.path);
        }
        error
    }

    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        // Immediate: a transaction that turns to writing only later fails at once if another wrote meanwhile.
        let done = self.file.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(
            |transaction| {
                let done = work(&transaction)?;
                transaction.commit()?;
                Ok(done)
            },
        );
        done.map_err(|error| self.failed(&error))
    }
}

impl fmt::Debug for UsageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageFile").field("path", &self.file.path).finish_non_exhaustive()
    }
}

impl UsageBook for UsageFile {
    fn overview(&mut self) -> Result<BookOverview, StoreError> {
        let read = |connection: &Connection| -> rusqlite::Result<BookOverview> {
            let transaction = connection.unchecked_transaction()?;
            let rows: i64 =
                transaction.query_row("SELECT usage_rows FROM row_counts", [], |row| row.get(0))?;
            let mut statement =
                transaction.prepare("SELECT text FROM names WHERE kind = ?1 ORDER BY text")?;
            let models = statement.query_map([MODEL], |row| row.get::<_, String>(0))?;
            let models = models.filter(|name| name.as_ref().is_ok_and(|name| name != NONE && name != OTHER));
            Ok(BookOverview {
                id: transaction.query_row(READ_ID, [], |row| row.get(0))?,
                days: read_days(&transaction)?,
                rows: u64::try_from(rows).unwrap_or(0),
                models: models.collect::<Result<_, _>>()?,
            })
        };
        read(&self.file.connection).map_err(|error| self.failed(&error))
    }

    fn set_days(&mut self, days: &Days, now: i64) -> Result<Days, StoreError> {
        self.write(|transaction| {
            let anything = "SELECT EXISTS (SELECT 1 FROM usage) OR EXISTS (SELECT 1 FROM journal)";
            let fresh = !transaction.query_row(anything, [], |row| row.get::<_, bool>(0))?;
            let days = if fresh { *days } else { days.after(read_days(transaction)?, now) };
            let sql = "INSERT INTO meta VALUES ('days', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            transaction.execute(sql, [days.to_text()])?;
            Ok(days)
        })
    }

    fn append(&mut self, row: &JournalRow) -> Result<bool, StoreError> {
        let body = sealed(row.sums.encode());
        self.write(|transaction| {
            let seq = row.seq.cast_signed();
            let sql = "SELECT EXISTS (SELECT 1 FROM folded WHERE node = ?1 AND seq >= ?2)";
            if transaction.prepare_cached(sql)?.query_row(params![row.node, seq], |row| row.get(0))? {
                return Ok(false);
            }
            let sql = "INSERT OR IGNORE INTO journal (node, seq, at, body) VALUES (?1, ?2, ?3, ?4)";
            Ok(transaction.prepare_cached(sql)?.execute(params![row.node, seq, row.sums.at(), body])? == 1)
        })
    }

    fn fold(&mut self, before: i64) -> Result<FoldReport, StoreError> {
        self.write(|transaction| {
            let days = read_days(transaction)?;
            let (journal, mut damaged) = read_journal(transaction, Some(before))?;
            let mut names = Names::new(transaction);
            let mut added = 0_i64;
            for ((step, at, labels), mut cell) in fold(&journal, &days) {
                let place = (part(step, labels.family()), at, names.cell(&labels)?);
                let sql = "SELECT counters FROM usage WHERE part = ?1 AND at = ?2 AND cell = ?3";
                let there: Option<Vec<u8>> =
                    transaction.prepare_cached(sql)?.query_row(place, |row| row.get(0)).optional()?;
                added += i64::from(there.is_none());
                match there.map(|body| unsealed(&body).and_then(|body| Cell::decode(body).ok())) {
                    None => {}
                    Some(Some(there)) => cell.merge(&there),
                    Some(None) => damaged += 1,
                }
                let sql = "INSERT OR REPLACE INTO usage (part, at, cell, counters) VALUES (?1, ?2, ?3, ?4)";
                let (part, at, id) = place;
                transaction.prepare_cached(sql)?.execute(params![part, at, id, sealed(cell.encode())])?;
            }
            let sql = "INSERT INTO folded (node, seq, at) SELECT node, max(seq), ?1 FROM journal WHERE at < ?1 GROUP BY node
                       ON CONFLICT (node) DO UPDATE SET seq = max(seq, excluded.seq), at = excluded.at";
            transaction.prepare_cached(sql)?.execute([before])?;
            transaction.prepare_cached("DELETE FROM journal WHERE at < ?1")?.execute([before])?;
            count_rows(transaction, added)?;
            Ok(FoldReport { folded: journal.len(), damaged })
        })
    }

    fn query(&mut self, query: &Query, node: &str) -> Result<BookAnswer, BookError> {
        let families = query.families()?;
        let days = self.file.connection.unchecked_transaction().and_then(|transaction| {
            // The whole answer is read in this transaction: it shows one moment.
            let days = read_days(&transaction)?;
            Ok((transaction, days))
        });
        let (transaction, days) = days.map_err(|error| self.failed(&error))?;
        let count = |query: &Query| -> Result<usize, BookError> {
            let (from, to) = query.span(&days);
            let mut count = 0;
            for &family in query.families()? {
                count += count_up_to(
                    &transaction,
                    part(query.stored_step(), family),
                    from,
                    to,
                    query.most_rows.saturating_add(1),
                )
                .map_err(|error| self.failed(&error))?;
            }
            Ok(count)
        };
        refuse_too_much(query, count)?;
        let mut report = Report::new(query.clone(), days)?;
        let (from, to) = query.span(&days);
        let mut read = || -> rusqlite::Result<u64> {
            let mut labels = LabelsById::default();
            for &family in families {
                let sql = "SELECT at, cell, counters FROM usage WHERE part = ?1 AND at >= ?2 AND at < ?3";
                let mut statement = transaction.prepare_cached(sql)?;
                let mut rows = statement.query((part(query.stored_step(), family), from, to))?;
                while let Some(row) = rows.next()? {
                    let body = row.get_ref(2)?.as_bytes().unwrap_or_default();
                    let cell = unsealed(body).and_then(|body| Cell::decode(body).ok());
                    if let (Some(cell), Some(labels)) = (cell, labels.find(&transaction, row.get(1)?)?) {
                        report.add(row.get(0)?, labels, &cell);
                    }
                }
            }
            let (journal, _) = read_journal(&transaction, None)?;
            report.add_unfolded(&journal);
            let sql = "SELECT max(coalesce((SELECT max(seq) FROM journal WHERE node = ?1), 0),
                                  coalesce((SELECT seq FROM folded WHERE node = ?1), 0))";
            let last: i64 = transaction.prepare_cached(sql)?.query_row([node], |row| row.get(0))?;
            Ok(last.cast_unsigned())
        };
        let last_seq = read().map_err(|error| self.failed(&error))?;
        Ok(BookAnswer { report, last_seq })
    }

    fn prune(&mut self, now: i64, retention: &Retention, at_most: usize) -> Result<Pruned, StoreError> {
        let pruned = self.write(|transaction| {
            let mut pruned = Pruned::default();
            let mut days_went = false;
            for step in StepSize::ALL {
                for family in Family::ALL {
                    // A day may have 25 hours and more; the rest of one that is cut off here goes an hour later.
                    let length = match step {
                        StepSize::Minute => 60,
                        StepSize::Hour => 3_600,
                        StepSize::Day => 26 * 3_600,
                    };
                    let before = now.saturating_sub(retention.of(step, family)).saturating_sub(length - 1);
                    let room = at_most.saturating_sub(pruned.removed);
                    let removed = remove(transaction, part(step, family), before, room)?;
                    days_went |= step == StepSize::Day && removed > 0;
                    pruned.removed += removed;
                }
            }
            let rows: i64 =
                transaction.query_row("SELECT usage_rows FROM row_counts", [], |row| row.get(0))?;
            let mut rows = rows - i64::try_from(pruned.removed).unwrap_or(0);
            let most = i64::try_from(retention.max_rows).unwrap_or(i64::MAX);
            'cap: for step in StepSize::ALL {
                while rows > most {
                    let oldest = oldest(transaction, step)?;
                    let (Some(oldest), true) = (oldest, pruned.removed < at_most) else { break };
                    for family in Family::ALL {
                        let removed = remove(transaction, part(step, family), oldest + 1, usize::MAX)?;
                        days_went |= step == StepSize::Day && removed > 0;
                        rows -= i64::try_from(removed).unwrap_or(0);
                        pruned.removed += removed;
                        pruned.by_cap += removed;
                    }
                }
                if rows <= most {
                    break 'cap;
                }
            }
            count_rows(transaction, -i64::try_from(pruned.removed).unwrap_or(0))?;
            pruned.more = pruned.removed >= at_most || rows > most;
            if days_went && !pruned.more {
                forget_unused(transaction)?;
            }
            let sql = "DELETE FROM folded WHERE at < ?1 AND node NOT IN (SELECT node FROM journal)";
            transaction.execute(sql, [now.saturating_sub(FORGET_NODES_AFTER)])?;
            Ok(pruned)
        })?;
        if pruned.removed > 0 {
            let freed =
                self.file.connection.prepare("PRAGMA incremental_vacuum(2000)").and_then(|mut statement| {
                    let mut rows = statement.query([])?;
                    while rows.next()?.is_some() {}
                    Ok(())
                });
            freed.map_err(|error| self.failed(&error))?;
        }
        Ok(pruned)
    }

    fn reader(&self) -> Result<Box<dyn UsageBook>, StoreError> {
        let connection = opening::connect(&self.file.path).and_then(|connection| {
            connection.pragma_update(None, "query_only", true)?;
            opening::tidy_on_close(&connection)?;
            Ok(connection)
        });
        let connection = connection.map_err(|error| self.failed(&error))?;
        Ok(Box::new(Self { file: OpenFile::new(self.file.path.clone(), connection) }))
    }

    fn check_place(&self) -> Result<(), StoreError> {
        self.file.check_place()
    }
}

fn read_days(connection: &Connection) -> rusqlite::Result<Days> {
    let text: Option<String> = connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'days'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| Days::from_text(&text).ok()).unwrap_or_default())
}

/// The journal's rows before a second, or all, and how many of them are damaged.
fn read_journal(connection: &Connection, before: Option<i64>) -> rusqlite::Result<(Vec<Sums>, usize)> {
    let mut statement = connection.prepare_cached("SELECT body FROM journal WHERE at < ?1")?;
    let mut rows = statement.query([before.unwrap_or(i64::MAX)])?;
    let (mut journal, mut damaged) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_bytes().unwrap_or_default();
        match unsealed(body).and_then(|body| Sums::decode(body).ok()) {
            Some(sums) => journal.push(sums),
            None => damaged += 1,
        }
    }
    Ok((journal, damaged))
}

fn count_up_to(
    connection: &Connection,
    part: i64,
    from: i64,
    to: i64,
    most: usize,
) -> rusqlite::Result<usize> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM usage WHERE part = ?1 AND at >= ?2 AND at < ?3 LIMIT ?4)";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let count: i64 = connection.prepare_cached(sql)?.query_row((part, from, to, most), |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn count_rows(transaction: &Transaction<'_>, more: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE row_counts SET usage_rows = usage_rows + ?1";
    transaction.prepare_cached(sql)?.execute([more]).map(drop)
}

/// When the oldest rows of a step begin.
fn oldest(transaction: &Transaction<'_>, step: StepSize) -> rusqlite::Result<Option<i64>> {
    let mut oldest: Option<i64> = None;
    for family in Family::ALL {
        let found: Option<i64> = transaction
            .prepare_cached("SELECT min(at) FROM usage WHERE part = ?1")?
            .query_row([part(step, family)], |row| row.get(0))?;
        oldest = oldest.into_iter().chain(found).min();
    }
    Ok(oldest)
}

/// Removes rows that begin before a time, the oldest first: so many, and those that begin with the last of them.
fn remove(transaction: &Transaction<'_>, part: i64, before: i64, at_most: usize) -> rusqlite::Result<usize> {
    if at_most == 0 {
        return Ok(0);
    }
    let last: Option<i64> = transaction
        .prepare_cached("SELECT at FROM usage WHERE part = ?1 AND at < ?2 ORDER BY at LIMIT 1 OFFSET ?3")?
        .query_row((part, before, i64::try_from(at_most - 1).unwrap_or(i64::MAX)), |row| row.get(0))
        .optional()?;
    let before = last.map_or(before, |last| last + 1);
    transaction.prepare_cached("DELETE FROM usage WHERE part = ?1 AND at < ?2")?.execute((part, before))
}

/// Forgets labels under which nothing counts any more, so that names leave with their last sums.
fn forget_unused(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "DELETE FROM cells WHERE id NOT IN (SELECT cell FROM usage);
         DELETE FROM names WHERE id NOT IN (
             SELECT caller FROM cells UNION SELECT key FROM cells UNION SELECT project FROM cells UNION SELECT model FROM cells
         );",
    )
}

/// The ids of names and cells, made where there are none.
struct Names<'t, 'c> {
    transaction: &'t Transaction<'c>,
    ids: HashMap<(i64, Arc<str>), i64>,
    cells: HashMap<Labels, i64>,
}

impl<'t, 'c> Names<'t, 'c> {
    fn new(transaction: &'t Transaction<'c>) -> Self {
        Self { transaction, ids: HashMap::new(), cells: HashMap::new() }
    }

    fn name(&mut self, kind: i64, text: Option<&Arc<str>>) -> rusqlite::Result<i64> {
        let Some(text) = text else { return Ok(0) };
        if let Some(&id) = self.ids.get(&(kind, Arc::clone(text))) {
            return Ok(id);
        }
        self.transaction
            .prepare_cached("INSERT INTO names (kind, text) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![kind, &**text])?;
        let id = self
            .transaction
            .prepare_cached("SELECT id FROM names WHERE kind = ?1 AND text = ?2")?
            .query_row(params![kind, &**text], |row| row.get(0))?;
        self.ids.insert((kind, Arc::clone(text)), id);
        Ok(id)
    }

    fn cell(&mut self, labels: &Labels) -> rusqlite::Result<i64> {
        if let Some(&id) = self.cells.get(labels) {
            return Ok(id);
        }
        let parts = (
            self.name(CALLER, labels.caller.as_ref())?,
            self.name(KEY, labels.key.as_ref())?,
            self.name(PROJECT, labels.project.as_ref())?,
            self.name(MODEL, labels.model.as_ref())?,
        );
        let sql =
            "INSERT INTO cells (caller, key, project, model) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        self.transaction.prepare_cached(sql)?.execute(parts)?;
        let sql = "SELECT id FROM cells WHERE caller = ?1 AND key = ?2 AND project = ?3 AND model = ?4";
        let id = self.transaction.prepare_cached(sql)?.query_row(parts, |row| row.get(0))?;
        self.cells.insert(labels.clone(), id);
        Ok(id)
    }
}

/// The labels of cells, read as they are met.
#[derive(Default)]
struct LabelsById {
    known: HashMap<i64, Option<Labels>>,
}

impl LabelsById {
    /// `None` of a cell of which nothing is known: damaged.
    fn find(&mut self, connection: &Connection, id: i64) -> rusqlite::Result<Option<&Labels>> {
        let labels = match self.known.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(read_labels(connection, id)?),
        };
        Ok(labels.as_ref())
    }
}

fn read_labels(connection: &Connection, id: i64) -> rusqlite::Result<Option<Labels>> {
    let sql = "SELECT
            (SELECT text FROM names WHERE id = caller), (SELECT text FROM names WHERE id = key),
            (SELECT text FROM names WHERE id = project), (SELECT text FROM names WHERE id = model)
        FROM cells WHERE id = ?1";
    let read = |row: &Row<'_>| {
        let text = |column| row.get::<_, Option<String>>(column).map(|text| text.map(Arc::from));
        Ok(Labels { caller: text(0)?, key: text(1)?, project: text(2)?, model: text(3)? })
    };
    connection.prepare_cached(sql)?.query_row([id], read).optional()
}

/// With its checksum behind it.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&body);
    body.extend_from_slice(&checksum.to_le_bytes());
    body
}

/// What stands before a checksum that is right.
fn unsealed(body: &[u8]) -> Option<&[u8]> {
    let (body, checksum) = body.split_last_chunk()?;
    (crc32fast::hash(body).to_le_bytes() == *checksum).then_some(body)
}
