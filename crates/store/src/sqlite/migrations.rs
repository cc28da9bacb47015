//! The schema, as the list of steps that lead to it. A step that was released is never edited: a change is a new step.

use rusqlite::{Connection, TransactionBehavior};

/// Step n, counted from 1, turns version n - 1 into version n. The version is SQLite's `user_version`.
pub(super) const STEPS: &[&str] = &[
    // 1: the records. Without a rowid there is one tree, in which the key is kept once; the body stands last, since a
    // long one continues on other pages. `tally` has one row.
    "CREATE TABLE records (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        updated_us INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tally (
        row_count INTEGER NOT NULL,
        checksum_sum INTEGER NOT NULL
    ) STRICT;
    INSERT INTO tally VALUES (0, 0);",
    // 2: the ledger.
    LEDGER,
];

/// The ledger's tables. `holdings` has the truth, the other two the orders in which it is walked; see `holdings.rs` for
/// why they are no indexes. The address, which alone may be long, stands last.
pub(super) const LEDGER: &str = "CREATE TABLE holdings (
        name TEXT NOT NULL PRIMARY KEY,
        checksum INTEGER NOT NULL,
        made_us INTEGER NOT NULL,
        expires_us INTEGER,
        key TEXT NOT NULL,
        project TEXT,
        caller TEXT,
        address TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE holdings_by_expiry (
        expires_us INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (expires_us, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE holdings_by_making (
        made_us INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (made_us DESC, name)
    ) STRICT, WITHOUT ROWID;";

/// The version the steps lead to.
pub(super) fn newest(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// The version of a file.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Takes the steps that are still to be taken, each in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    for (reached, step) in (1_i64..).zip(steps) {
        if version(connection)? >= reached {
            continue;
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Asked again: another process may have taken the step while this one waited for the lock.
        if version(&transaction)? < reached {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", reached)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

/// Whether the file has the schema of its version, neither more nor less: its tables as SQLite would write them down.
pub(super) fn has_schema_of(connection: &Connection, steps: &[&str]) -> rusqlite::Result<bool> {
    let mut model = Connection::open_in_memory()?;
    migrate(&mut model, steps)?;
    Ok(schema(connection)? == schema(&model)?)
}

fn schema(connection: &Connection) -> rusqlite::Result<Vec<(String, String, String)>> {
    // SQLite's own entries (`sqlite_stat1` of an ANALYZE) change nothing for us.
    let sql = "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               ORDER BY type, name";
    connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[&str] = &[
        "CREATE TABLE birds (name TEXT); INSERT INTO birds VALUES ('wren');",
        "ALTER TABLE birds ADD COLUMN wings INTEGER NOT NULL DEFAULT 2;",
    ];

    fn wings(connection: &Connection) -> rusqlite::Result<i64> {
        connection.query_row("SELECT wings FROM birds WHERE name = 'wren'", [], |row| row.get(0))
    }

    #[test]
    fn a_file_of_version_1_takes_only_the_later_steps() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &TWO[..1]).unwrap();
        assert!(wings(&connection).is_err());
        migrate(&mut connection, TWO).unwrap();
        migrate(&mut connection, TWO).unwrap();
        assert_eq!((version(&connection).unwrap(), wings(&connection).unwrap()), (2, 2));
        assert!(has_schema_of(&connection, TWO).unwrap());
        assert!(!has_schema_of(&connection, &TWO[..1]).unwrap());
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before_it_whole() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = [TWO[0], "DROP TABLE birds; CREATE TABLE oops (;"];
        migrate(&mut connection, &broken).unwrap_err();
        assert_eq!(version(&connection).unwrap(), 1);
        migrate(&mut connection, TWO).unwrap();
        assert_eq!(wings(&connection).unwrap(), 2);
    }
}
