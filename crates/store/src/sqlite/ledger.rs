//! The ledger in a SQLite file: its calls, each one transaction, and what they remember of damaged rows.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, TransactionBehavior};

use super::{
    Sqlite,
    holdings::{self, Lookup},
};
use crate::{Holding, Ledger, LedgerChange, StoreError, Upkeep};

/// How many names of damaged rows are remembered, at most. Rows beyond count as not there all the same.
const DAMAGED_AT_MOST: usize = 1_000;

impl Ledger for Sqlite {
    fn find(&mut self, names: &[&str], now: DateTime<Utc>) -> Result<Vec<Option<Holding>>, StoreError> {
        let (found, damaged) = find(&self.file.connection, names, now).map_err(|e| self.failed(&e))?;
        let room = DAMAGED_AT_MOST.saturating_sub(self.damaged.len());
        self.damaged.extend(damaged.into_iter().take(room));
        Ok(found)
    }

    fn record(&mut self, batch: &[LedgerChange]) -> Result<(), StoreError> {
        if batch.is_empty() && self.damaged.is_empty() {
            return Ok(());
        }
        record(&mut self.file.connection, &self.damaged, batch).map_err(|e| self.failed(&e))?;
        self.damaged.clear();
        Ok(())
    }
}

impl Upkeep for Sqlite {
    fn expire(&mut self, now: DateTime<Utc>, at_most: usize) -> Result<usize, StoreError> {
        expire(&mut self.file.connection, now, at_most).map_err(|e| self.failed(&e))
    }

    fn newest(&mut self, at_most: usize, now: DateTime<Utc>) -> Result<Vec<Holding>, StoreError> {
        holdings::newest(&self.file.connection, at_most, now).map_err(|e| self.failed(&e))
    }
}

/// The holdings asked for, and the names of those that are damaged.
fn find(
    connection: &Connection,
    names: &[&str],
    now: DateTime<Utc>,
) -> rusqlite::Result<(Vec<Option<Holding>>, Vec<String>)> {
    let transaction = connection.unchecked_transaction()?;
    let (mut found, mut damaged) = (Vec::with_capacity(names.len()), Vec::new());
    for &name in names {
        found.push(match holdings::find(&transaction, name)? {
            Lookup::Right(holding) if !holding.has_expired(now) => Some(holding),
            Lookup::Right(_) | Lookup::Nothing => None,
            Lookup::Damaged => {
                damaged.push(name.to_owned());
                None
            }
        });
    }
    Ok((found, damaged))
}

fn record(connection: &mut Connection, damaged: &[String], batch: &[LedgerChange]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for name in damaged {
        // Asked again: another handle may have put a right one there.
        if matches!(holdings::find(&transaction, name)?, Lookup::Damaged) {
            holdings::remove(&transaction, name)?;
        }
    }
    for change in batch {
        match change {
            LedgerChange::Put(holding) => holdings::put(&transaction, holding)?,
            LedgerChange::Forget(name) => {
                holdings::remove(&transaction, name)?;
            }
        }
    }
    transaction.commit()
}

fn expire(connection: &mut Connection, now: DateTime<Utc>, at_most: usize) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let removed = holdings::expire(&transaction, now, at_most)?;
    transaction.commit()?;
    Ok(removed)
}
