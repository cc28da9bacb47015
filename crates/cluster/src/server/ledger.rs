//! The ledger on Redis: one key for each holding, with its expiry, so that nobody has to sweep. Found by name with one
//! question, written with one transaction.

use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use gemini_balance_store::{Holding, Ledger, LedgerChange, StoreError};
use redis::{Cmd, Value, cmd};
use serde::{Deserialize, Serialize};

use super::{
    Redis,
    connection::{RedisConnection, read},
};
use crate::{away::Away, node::NodeId, settings::RedisSettings};

/// How much longer than other calls it may take for each name or change: batches of many thousands occur after an outage.
const FOR_EACH: Duration = Duration::from_micros(100);

/// A ledger that all nodes share, over a connection of its own.
pub struct RedisLedger {
    redis: Redis,
    /// What stands in errors where other ledgers name their file.
    place: PathBuf,
}

impl RedisLedger {
    /// Returns a handle that has not connected yet.
    pub fn new(settings: Arc<RedisSettings>, node: NodeId) -> Self {
        let place = settings.address.to_string().into();
        Self { redis: Redis::new(settings, node), place }
    }

    fn failed(&self, away: Away) -> StoreError {
        let path = self.place.clone();
        match away {
            Away::Full => StoreError::Full { path },
            Away::Newer { found, known } => {
                let version = |number| i64::try_from(number).unwrap_or(i64::MAX);
                StoreError::Newer { path, found: version(found), known: version(known) }
            }
            other => StoreError::Unusable { path, reason: other.to_string() },
        }
    }
}

impl Ledger for RedisLedger {
    fn find(&mut self, names: &[&str], now: DateTime<Utc>) -> Result<Vec<Option<Holding>>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.redis.call(extra(names.len()), |redis, connection| {
            let mut question = cmd("MGET");
            for name in names {
                question.arg(redis.names.holding(name));
            }
            connection.ask::<Vec<Option<Vec<u8>>>>(&question)
        });
        let values = values.map_err(|away| self.failed(away))?;
        let held = |(name, value): (&&str, Option<Vec<u8>>)| HoldingValue::read(name, &value?);
        let found = names.iter().zip(values).map(held);
        Ok(found.map(|held| held.filter(|held| !held.has_expired(now))).collect())
    }

    fn record(&mut self, batch: &[LedgerChange]) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let written = self.redis.call(extra(batch.len()), |redis, connection| {
            let changes = batch.iter().map(|change| redis.change(change)).collect::<Result<_, _>>()?;
            transact(connection, changes)
        });
        written.map_err(|away| self.failed(away))
    }
}

impl Redis {
    fn change(&self, change: &LedgerChange) -> Result<Cmd, Away> {
        let remove = |name: &str| {
            let mut removal = cmd("DEL");
            removal.arg(self.names.holding(name));
            removal
        };
        let holding = match change {
            LedgerChange::Put(holding) => holding,
            LedgerChange::Forget(name) => return Ok(remove(name)),
        };
        let value = serde_json::to_string(&HoldingValue::of(holding)).map_err(|_| Away::Garbled)?;
        let mut put = cmd("SET");
        put.arg(self.names.holding(&holding.name)).arg(value);
        if let Some(expires) = holding.expires {
            // Rounded up: readers compare to the microsecond, and the server must not drop it before.
            let at = expires.trunc_subsecs(6).timestamp_micros().div_euclid(1_000) + 1;
            if at <= 0 {
                return Ok(remove(&holding.name));
            }
            put.arg("PXAT").arg(at);
        }
        Ok(put)
    }
}

/// Has the commands carried out as one: all of them, or, on an error, none.
fn transact(connection: &mut RedisConnection, mut changes: Vec<Cmd>) -> Result<(), Away> {
    changes.insert(0, cmd("MULTI"));
    changes.push(cmd("EXEC"));
    let mut answers = connection.send(&changes)?;
    let done = answers.pop().unwrap_or_default();
    // One that was refused says why; the transaction then says only that it was not carried out.
    for queued in answers {
        read::<Value>(queued)?;
    }
    read::<Vec<Value>>(done)?.into_iter().try_for_each(|answer| read::<Value>(answer).map(|_| ()))
}

fn extra(count: usize) -> Duration {
    FOR_EACH * u32::try_from(count).unwrap_or(u32::MAX)
}

/// A holding as it is written, JSON. Times are microseconds since 1970; the name is in the key. Fields of later versions are
/// passed over.
#[derive(Serialize, Deserialize)]
struct HoldingValue {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    made: i64,
}

impl HoldingValue {
    fn of(holding: &Holding) -> Self {
        Self {
            key: holding.key.clone(),
            project: holding.project.clone(),
            caller: holding.caller.clone(),
            expires: holding.expires.map(|expires| expires.timestamp_micros()),
            address: holding.address.clone(),
            made: holding.made.timestamp_micros(),
        }
    }

    /// A value that cannot be read counts as not there.
    fn read(name: &str, value: &[u8]) -> Option<Holding> {
        let value: Self = serde_json::from_slice(value).ok()?;
        let expires = match value.expires {
            Some(expires) => Some(DateTime::from_timestamp_micros(expires)?),
            None => None,
        };
        Some(Holding {
            name: name.to_owned(),
            key: value.key,
            project: value.project,
            caller: value.caller,
            expires,
            address: value.address,
            made: DateTime::from_timestamp_micros(value.made)?,
        })
    }
}
