//! The ledger's rows: how they are written, read and removed, one at a time. A row is checked when it is read, not when the
//! file is opened: there may be tens of millions of them.
//!
//! The two orders in which the ledger is walked are tables, not indexes: an index that contradicts a damaged row lets
//! SQLite neither replace nor remove that row. An entry of theirs to which no row answers says nothing, and goes when it
//! is met.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};

use crate::Holding;

/// What is under a name.
pub(super) enum Lookup {
    Nothing,
    Damaged,
    Right(Holding),
}

/// The columns that `read` reads, in its order.
macro_rules! columns {
    () => {
        "h.name, h.checksum, h.made_us, h.expires_us, h.key, h.project, h.caller, h.address"
    };
}

pub(super) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Lookup> {
    let mut statement =
        connection.prepare_cached(concat!("SELECT ", columns!(), " FROM holdings AS h WHERE h.name = ?1"))?;
    let mut rows = statement.query([name])?;
    Ok(match rows.next()? {
        None => Lookup::Nothing,
        Some(row) => read(row)?.map_or(Lookup::Damaged, Lookup::Right),
    })
}

/// Puts the holding in the place of any other with its name.
pub(super) fn put(connection: &Connection, holding: &Holding) -> rusqlite::Result<()> {
    let Holding { name, key, project, caller, address, .. } = holding;
    let made_us = holding.made.timestamp_micros();
    let expires_us = holding.expires.as_ref().map(DateTime::timestamp_micros);
    remove(connection, name)?;
    connection
        .prepare_cached(
            "INSERT INTO holdings (name, checksum, made_us, expires_us, key, project, caller, address) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![name, checksum_of(holding), made_us, expires_us, key, project, caller, address])?;
    // Or ignore: a damaged row that was replaced may have left its entry behind.
    connection
        .prepare_cached("INSERT OR IGNORE INTO holdings_by_making (made_us, name) VALUES (?1, ?2)")?
        .execute(params![made_us, name])?;
    if let Some(expires_us) = expires_us {
        connection
            .prepare_cached("INSERT OR IGNORE INTO holdings_by_expiry (expires_us, name) VALUES (?1, ?2)")?
            .execute(params![expires_us, name])?;
    }
    Ok(())
}

/// Removes what is under a name, right or damaged; whether there was anything.
pub(super) fn remove(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let gone = connection
        .prepare_cached("DELETE FROM holdings WHERE name = ?1 RETURNING made_us, expires_us")?
        .query_row([name], |row| Ok((integer(row, 0)?, integer(row, 1)?)))
        .optional()?;
    let Some((made_us, expires_us)) = gone else { return Ok(false) };
    if let Some(made_us) = made_us {
        connection
            .prepare_cached("DELETE FROM holdings_by_making WHERE made_us = ?1 AND name = ?2")?
            .execute(params![made_us, name])?;
    }
    if let Some(expires_us) = expires_us {
        connection
            .prepare_cached("DELETE FROM holdings_by_expiry WHERE expires_us = ?1 AND name = ?2")?
            .execute(params![expires_us, name])?;
    }
    Ok(true)
}

/// Removes those that expired first, looking at no more than `at_most` entries; how many holdings it removed.
pub(super) fn expire(connection: &Connection, now: DateTime<Utc>, at_most: usize) -> rusqlite::Result<usize> {
    let due: Vec<(i64, Vec<u8>)> = connection
        .prepare_cached(
            "SELECT expires_us, CAST(name AS BLOB) FROM holdings_by_expiry WHERE expires_us <= ?1 \
             ORDER BY expires_us, name LIMIT ?2",
        )?
        .query_map(params![now.timestamp_micros(), limit(at_most)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut removed = 0;
    for (expires_us, name) in due {
        if let Ok(name) = str::from_utf8(&name) {
            let is_over = match find(connection, name)? {
                Lookup::Nothing => false,
                Lookup::Damaged => true,
                Lookup::Right(holding) => holding.has_expired(now),
            };
            removed += usize::from(is_over && remove(connection, name)?);
        }
        // What is left of an entry to which no row answered. The cast keeps bytes that are no UTF-8.
        connection
            .prepare_cached(
                "DELETE FROM holdings_by_expiry WHERE expires_us = ?1 AND name = CAST(?2 AS TEXT)",
            )?
            .execute(params![expires_us, name])?;
    }
    Ok(removed)
}

/// The newest that have not expired, newest first. Damaged rows are passed over.
pub(super) fn newest(
    connection: &Connection,
    at_most: usize,
    now: DateTime<Utc>,
) -> rusqlite::Result<Vec<Holding>> {
    // A cross join is carried out in the order it is written in: along the one table, with a look into the other.
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM holdings_by_making AS m CROSS JOIN holdings AS h ON h.name = m.name AND h.made_us = m.made_us \
         WHERE h.expires_us IS NULL OR h.expires_us > ?1 ORDER BY m.made_us DESC, m.name"
    ))?;
    let mut rows = statement.query([now.timestamp_micros()])?;
    let mut newest = Vec::new();
    while newest.len() < at_most {
        let Some(row) = rows.next()? else { break };
        newest.extend(read(row)?);
    }
    Ok(newest)
}

/// Writes the whole ledger anew from its good rows: for one whose rows are out of order. Of two good ones with one name
/// the one made later stays.
pub(super) fn rewrite(connection: &Connection, tables: &str) -> rusqlite::Result<()> {
    connection.execute_batch(
        "ALTER TABLE holdings RENAME TO old_holdings; DROP TABLE holdings_by_expiry; DROP TABLE holdings_by_making;",
    )?;
    connection.execute_batch(tables)?;
    {
        let mut statement = connection.prepare(concat!("SELECT ", columns!(), " FROM old_holdings AS h"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some(holding) = read(row)? else { continue };
            match find(connection, &holding.name)? {
                Lookup::Right(other) if other.made >= holding.made => {}
                _ => put(connection, &holding)?,
            }
        }
    }
    connection.execute_batch("DROP TABLE old_holdings;")
}

/// The holding, or `None` if the row is not as it was written.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<Holding>> {
    let (Some(sum), Some(made_us)) = (integer(row, 1)?, integer(row, 2)?) else { return Ok(None) };
    let expires_us = match row.get_ref(3)? {
        ValueRef::Null => None,
        ValueRef::Integer(us) => Some(us),
        _ => return Ok(None),
    };
    let mut texts = [None; 5];
    for (text, column) in texts.iter_mut().zip([0, 4, 5, 6, 7]) {
        *text = match row.get_ref(column)? {
            ValueRef::Null => None,
            ValueRef::Text(bytes) => Some(bytes),
            _ => return Ok(None),
        };
    }
    if checksum(texts, made_us, expires_us) != sum {
        return Ok(None);
    }
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec())).transpose();
    let [Ok(Some(name)), Ok(Some(key)), Ok(project), Ok(caller), Ok(address)] = texts.map(text) else {
        return Ok(None);
    };
    let time = DateTime::from_timestamp_micros;
    let Some(made) = time(made_us) else { return Ok(None) };
    let expires = expires_us.and_then(time);
    if expires.is_none() && expires_us.is_some() {
        return Ok(None);
    }
    Ok(Some(Holding { name, key, project, caller, expires, address, made }))
}

fn checksum_of(holding: &Holding) -> i64 {
    let Holding { name, key, project, caller, expires, address, made } = holding;
    let texts = [Some(name), Some(key), project.as_ref(), caller.as_ref(), address.as_ref()];
    checksum(
        texts.map(|text| text.map(String::as_bytes)),
        made.timestamp_micros(),
        expires.as_ref().map(DateTime::timestamp_micros),
    )
}

/// CRC-32 of everything a row says. What is there and how long it is goes in first, so that no two rows join to the same
/// bytes. The texts are name, key, project, caller and address.
fn checksum(texts: [Option<&[u8]>; 5], made_us: i64, expires_us: Option<i64>) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    for text in texts {
        hasher.update(&[u8::from(text.is_some())]);
        hasher.update(&text.map_or(0, |text| u64::try_from(text.len()).unwrap_or(u64::MAX)).to_le_bytes());
    }
    hasher.update(&made_us.to_le_bytes());
    hasher.update(&[u8::from(expires_us.is_some())]);
    hasher.update(&expires_us.unwrap_or(0).to_le_bytes());
    for text in texts.into_iter().flatten() {
        hasher.update(text);
    }
    i64::from(hasher.finalize())
}

fn integer(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => Some(number),
        _ => None,
    })
}

fn limit(at_most: usize) -> i64 {
    i64::try_from(at_most).unwrap_or(i64::MAX)
}
