//! Rows and their checksums. A row's checksum finds a bit that flipped inside it; the tally of rows and checksums finds a
//! row that is missing, or that is there again after it was replaced. SQLite's own check sees neither.

use chrono::DateTime;
use rusqlite::{Connection, Row, TransactionBehavior, types::ValueRef};

use crate::{RecordId, Stored};

/// What the file holds.
pub(super) struct Scan {
    /// The good rows, ordered by id.
    pub(super) records: Vec<Stored>,
    /// The id columns of the bad ones.
    pub(super) bad: Vec<BadRow>,
    /// How many rows the tally counts.
    pub(super) rows_expected: i64,
    /// The sum of the good rows' checksums.
    checksum_sum: i64,
    checksum_sum_expected: i64,
}

/// A row whose checksum is wrong. What its id columns hold may be no text any more.
pub(super) struct BadRow {
    kind: Vec<u8>,
    key: Vec<u8>,
}

impl Scan {
    /// Whether every row is right and none is missing.
    pub(super) fn is_sound(&self) -> bool {
        self.bad.is_empty()
            && self.rows_expected == self.rows_kept()
            && self.checksum_sum == self.checksum_sum_expected
    }

    /// How many good rows there are.
    pub(super) fn rows_kept(&self) -> i64 {
        i64::try_from(self.records.len()).unwrap_or(i64::MAX)
    }
}

impl BadRow {
    pub(super) fn id(&self) -> RecordId {
        RecordId::new(String::from_utf8_lossy(&self.kind), String::from_utf8_lossy(&self.key))
    }
}

/// CRC-32 of everything a row says. Lengths go in first, so that no two rows join to the same bytes.
pub(super) fn checksum(kind: &[u8], key: &[u8], updated_us: i64, body: &[u8]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    for part in [kind, key, body] {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
    }
    hasher.update(&updated_us.to_le_bytes());
    for part in [kind, key, body] {
        hasher.update(part);
    }
    i64::from(hasher.finalize())
}

/// Reads and checks every row, in one transaction.
pub(super) fn scan(connection: &Connection) -> rusqlite::Result<Scan> {
    let transaction = connection.unchecked_transaction()?;
    let (rows_expected, checksum_sum_expected) = transaction
        .prepare_cached("SELECT row_count, checksum_sum FROM tally")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut scan =
        Scan { records: Vec::new(), bad: Vec::new(), rows_expected, checksum_sum: 0, checksum_sum_expected };
    let mut statement = transaction
        .prepare_cached("SELECT kind, key, checksum, updated_us, body FROM records ORDER BY kind, key")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match read(row)? {
            Some((stored, checksum)) => {
                scan.checksum_sum += checksum;
                scan.records.push(stored);
            }
            None => scan.bad.push(BadRow { kind: bytes(row, 0)?.to_vec(), key: bytes(row, 1)?.to_vec() }),
        }
    }
    Ok(scan)
}

/// The record and its checksum, or `None` if the row is not as it was written.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<(Stored, i64)>> {
    let (kind, key, body) = (bytes(row, 0)?, bytes(row, 1)?, bytes(row, 4)?);
    let (ValueRef::Integer(sum), ValueRef::Integer(updated_us)) = (row.get_ref(2)?, row.get_ref(3)?) else {
        return Ok(None);
    };
    if checksum(kind, key, updated_us, body) != sum {
        return Ok(None);
    }
    let text = |bytes| str::from_utf8(bytes).ok();
    let (Some(kind), Some(key), Some(body), Some(updated)) =
        (text(kind), text(key), text(body), DateTime::from_timestamp_micros(updated_us))
    else {
        return Ok(None);
    };
    Ok(Some((Stored { id: RecordId::new(kind, key), body: body.to_owned(), updated }, sum)))
}

fn bytes<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r [u8]> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        _ => &[],
    })
}

/// Deletes the bad rows and counts the others anew. Returns whether the file is sound now.
pub(super) fn drop_bad(connection: &mut Connection, scan: &Scan) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for BadRow { kind, key } in &scan.bad {
        // The cast keeps bytes that are no UTF-8, which cannot be bound as text.
        let sql = "DELETE FROM records WHERE kind = CAST(?1 AS TEXT) AND key = CAST(?2 AS TEXT)";
        transaction.execute(sql, (kind, key))?;
    }
    let sql = "UPDATE tally SET (row_count, checksum_sum) = (SELECT count(*), coalesce(sum(checksum), 0) FROM records)";
    transaction.execute(sql, [])?;
    transaction.commit()?;
    Ok(self::scan(connection)?.is_sound())
}
